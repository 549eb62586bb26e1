package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"labd.dev/node/cut"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

func (l *leadership) reconcileSoon() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *leadership) reconcileLoop() {
	for {
		if silent := l.reconcileOnce(); silent && l.ctx.Err() == nil {
			time.AfterFunc(retryPause, l.reconcileSoon)
		}
		select {
		case <-l.wake:
		case <-l.ctx.Done():
			return
		}
	}
}

// reconcileOnce takes the steps that can be taken now; true: it is to be called again after a while.
func (l *leadership) reconcileOnce() (again bool) {
	// First what is under way: a step that ends while the workers are asked is then still taken to be, and looked at again.
	done := l.standings()
	sites, silent := l.survey()
	v := l.c.store.view()
	var desired []assignment
	for _, lab := range v.labs() {
		if parked(lab) {
			l.host(lab.GetId(), lab.GetEpoch()) // who waits for it under an older epoch is answered
		}
		desired = append(desired, assignment{labID: lab.GetId(), epoch: lab.GetEpoch(), workers: lab.GetWorkers(),
			held: parked(lab), suspect: len(lab.GetDeaths()) >= suspectAfter})
	}
	for _, run := range v.runs() {
		desired = append(desired, assignment{labID: run.GetId(), epoch: run.GetEpoch(), workers: run.GetWorkers(), ended: !live(run),
			suspect: len(run.GetDeaths()) >= suspectAfter})
	}
	all := l.fleet.candidates(v)
	for _, step := range reconcile(desired, done, sites) {
		var to []string
		if step.kind == actionAssign || step.kind == actionMove {
			var err error
			if to, err = l.placeAgain(v, step, all); err != nil {
				again = true
				continue
			}
		}
		if host, ok := l.begin(step); ok {
			l.tasks.Go(func() { l.carryOut(step, host, to) })
		}
	}
	return again || silent
}

// placeAgain chooses workers for a lab that is to go elsewhere. What it takes where it is counts as free.
func (l *leadership) placeAgain(v view, step action, all []candidate) ([]string, error) {
	spec := v.lab(step.labID).GetSpec()
	if run := v.run(step.labID); run != nil {
		spec = run.GetSpec()
	}
	n := needOf(spec, v.inputs(step.labID, 0, 0))
	n.again = true
	was := v.workersOf(step.labID)
	fit := slices.Clone(all)
	for i := range fit {
		if slices.Contains(was, fit[i].name) {
			fit[i].used -= min(fit[i].used, n.memory/uint64(len(was)))
		}
	}
	to, err := place(n, fit)
	l.noteWaiting(l.host(step.labID, step.epoch), err)
	for i := range all {
		if slices.Contains(to, all[i].name) {
			all[i].fresh++
			all[i].used += n.memory / uint64(len(to))
		}
	}
	return to, err
}

// survey asks the workers what they hold; silent tells that one did not answer, which is asked again.
func (l *leadership) survey() (sites map[string]siteView, silent bool) {
	sites = make(map[string]siteView)
	for _, w := range l.c.store.view().workers() {
		sites[w.GetName()] = siteView{up: w.GetUp(), draining: w.GetDraining()}
	}
	var mu sync.Mutex // guards sites and silent while the workers answer
	var asked sync.WaitGroup
	for name, client := range l.fleet.present() {
		asked.Go(func() {
			held, err := l.held(client)
			mu.Lock()
			defer mu.Unlock()
			site, is := sites[name]
			switch {
			case err != nil:
				silent = true
				if l.ctx.Err() == nil {
					l.c.log.Error("worker does not tell what it hosts", "worker", name, "error", err)
				}
			case is:
				site.known, site.held = true, held
				sites[name] = site
			}
		})
	}
	asked.Wait()
	return sites, silent
}

// held asks a worker what it has.
func (l *leadership) held(client workerv1.WorkerServiceClient) (map[string]holding, error) {
	ctx, cancel := context.WithTimeout(l.ctx, askTimeout)
	defer cancel()
	resp, err := client.ListLabs(ctx, &workerv1.ListLabsRequest{})
	if err != nil {
		return nil, err
	}
	held := make(map[string]holding, len(resp.GetLabs()))
	for _, lab := range resp.GetLabs() {
		held[lab.GetLabId()] = holding{epoch: lab.GetEpoch(), running: lab.GetRunning(), broken: lab.GetBroken() != "", pending: lab.GetPendingIndex(), journaled: lab.GetJournaled()}
	}
	return held, nil
}

func (l *leadership) carryOut(step action, host *hosting, to []string) {
	defer l.stepDone(host)
	var err error
	switch step.kind {
	case actionStart:
		err = l.startLab(host)
	case actionAdopt:
		err = l.adopt(host)
	case actionAssign:
		err = l.assign(step, to, 0)
	case actionMove:
		err = l.move(step, host, to)
	case actionStop, actionRemove:
		err = l.stopAt(step.worker, step.labID, step.epoch, step.kind == actionStop)
		if _, there := l.c.store.view().epochOf(step.labID); !there && err == nil {
			l.forget(host)
		}
	}
	if err != nil && l.ctx.Err() == nil {
		l.c.log.Error("a step was not taken", "step", step.kind, "lab", step.labID, "epoch", step.epoch, "error", err)
		pause(l.ctx, retryPause)
	}
}

// assign gives a lab to workers under the next epoch.
func (l *leadership) assign(step action, to []string, reached int64) error {
	_, err := l.c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_AssignLab{
		AssignLab: &controlv1.AssignLab{LabId: step.labID, Epoch: step.epoch, Workers: to, ReachedNs: reached}}})
	var refused *Refusal
	if errors.As(err, &refused) {
		return nil // it was deleted, or given away, meanwhile
	}
	if err == nil {
		l.fleet.given(to)
		l.c.log.Info("lab is given to another worker, or anew", "lab", step.labID, "epoch", step.epoch+1, "workers", to)
	}
	return err
}

// move stops a lab between two inputs and gives it to others, who replay it up to where it was.
func (l *leadership) move(step action, host *hosting, to []string) error {
	return l.stopBetween(host, func(reached int64) error { return l.assign(step, to, reached) })
}

// stopBetween stops a lab between two inputs, and has that recorded before another input can be stamped.
func (l *leadership) stopBetween(host *hosting, record func(reached int64) error) error {
	select {
	case <-host.gate:
	case <-host.over:
		return nil
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
	defer func() { host.gate <- struct{}{} }()
	client, err := l.fleet.group(l.c.store.view().workersOf(host.labID))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(l.ctx, workerTimeout)
	defer cancel()
	// Its files stay until they are no longer its only ones; the reconciler removes them.
	resp, err := client.StopLab(ctx, &workerv1.StopLabRequest{LabId: host.labID, Epoch: host.epoch, KeepFiles: true})
	if err != nil && status.Code(err) != codes.NotFound {
		return err
	}
	return record(resp.GetNowNs())
}

// stopAt ends a lab at a worker.
func (l *leadership) stopAt(worker, labID string, epoch uint64, keep bool) error {
	client, err := l.fleet.client(worker)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(l.ctx, workerTimeout)
	defer cancel()
	_, err = client.StopLab(ctx, &workerv1.StopLabRequest{LabId: labID, Epoch: epoch, KeepFiles: keep})
	if status.Code(err) == codes.NotFound {
		return nil
	}
	return err
}

// startLab builds a lab at its workers, which replay its journal there. An error of its own ends its way up; one of the
// way to its workers is tried again.
func (l *leadership) startLab(host *hosting) error {
	workers := l.c.store.view().workersOf(host.labID)
	err := l.buildAt(workers, host.labID, host.epoch)
	switch {
	case err == nil:
		l.follow(host)
	case l.ctx.Err() != nil:
	case transient(err):
		return err
	case noRoomThere(err):
		return l.startElsewhere(host, workers, err)
	default:
		l.c.log.Error("lab could not be started", "lab", host.labID, "epoch", host.epoch, "error", err)
		host.open(err)
		l.watchIfRun(host)
	}
	return nil
}

// follow begins to see to a lab that its workers have.
func (l *leadership) follow(host *hosting) {
	l.mu.Lock()
	host.begun, host.waiting = true, nil
	l.mu.Unlock()
	l.tasks.Go(func() { l.followRecovery(host) })
}

// transient tells whether an error is of the way to a worker, and not of the lab.
func transient(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted:
		return true
	}
	var refused *Refusal
	return errors.As(err, &refused) && refused.Reason == labv1.ErrorReason_ERROR_REASON_WORKER_AWAY
}

// noRoomThere tells whether a worker has no room for one more lab.
func noRoomThere(err error) bool {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetReason() == reasonName(labv1.ErrorReason_ERROR_REASON_WORKER_FULL) {
			return true
		}
	}
	return false
}

// startElsewhere gives a lab, for which its workers have no room, to others; where there are none it cannot be started.
func (l *leadership) startElsewhere(host *hosting, workers []string, why error) error {
	for _, name := range workers {
		l.fleet.isFull(name)
	}
	v := l.c.store.view()
	step := action{kind: actionAssign, labID: host.labID, epoch: host.epoch}
	to, err := l.placeAgain(v, step, l.fleet.candidates(v))
	if err != nil {
		l.c.log.Error("no worker has room for a lab", "lab", host.labID, "epoch", host.epoch, "error", why)
		host.open(why)
		l.watchIfRun(host)
		return nil
	}
	return l.assign(step, to, 0)
}

// buildAt gives a lab to its workers.
func (l *leadership) buildAt(workers []string, labID string, epoch uint64) error {
	req, err := startRequest(l.c.store.view(), labID, epoch)
	if err != nil {
		return err
	}
	req.Term = l.term
	files := specFiles(req.GetSpec())
	for _, e := range req.GetJournal() {
		files = append(files, inputFiles(e.GetInput())...)
	}
	for _, name := range workers {
		client, err := l.fleet.client(name)
		if err != nil {
			return err
		}
		if err := l.c.pushFiles(l.ctx, client, files); err != nil {
			return err
		}
	}
	if req.Shards, err = l.shardsOf(req, workers); err != nil {
		return err
	}
	client, err := l.fleet.group(workers)
	if err != nil {
		return err
	}
	_, err = client.StartLab(l.ctx, req)
	return err
}

// shardsOf cuts a lab for the workers that it is split over; none: it is whole.
func (l *leadership) shardsOf(req *workerv1.StartLabRequest, workers []string) ([]*workerv1.Shard, error) {
	if len(workers) < 2 {
		return nil, nil
	}
	parts, err := cut.Shards(req.GetSpec(), req.GetJournal(), len(workers))
	if err != nil {
		return nil, err
	}
	v := l.c.store.view()
	var list []*workerv1.Shard
	for i, name := range workers {
		list = append(list, &workerv1.Shard{Worker: name, Address: v.worker(name).GetAddress(), Nodes: parts[i]})
	}
	return list, nil
}

func startRequest(v view, labID string, epoch uint64) (*workerv1.StartLabRequest, error) {
	journal := v.inputs(labID, 0, 0)
	if lab := v.lab(labID); lab != nil {
		replayTo := lab.GetReachedNs()
		if n := len(journal); n > 0 {
			replayTo = max(replayTo, journal[n-1].GetTNs())
		}
		return &workerv1.StartLabRequest{LabId: labID, Epoch: epoch, Spec: lab.GetSpec(), Mode: workerv1.Mode_MODE_STANDING,
			Journal: journal, ReplayToNs: replayTo, Owner: lab.GetOwner(),
			Bounds: startBounds(v, lab.GetOwner(), lab.GetWorkers()), ConnectionsAtMost: lab.GetConnectionsAtMost()}, nil
	}
	if run := v.run(labID); run != nil {
		return &workerv1.StartLabRequest{LabId: labID, Epoch: epoch, Spec: run.GetSpec(), Mode: workerv1.Mode_MODE_RUN,
			Journal: journal, EndNs: run.GetEndNs(), Capture: run.GetCapture(), Manifest: run.GetManifest(),
			LabYaml: run.GetLabYaml(), ReplayToNs: replayRunTo(run), Owner: run.GetOwner(),
			Bounds: startBounds(v, run.GetOwner(), run.GetWorkers()), ConnectionsAtMost: run.GetConnectionsAtMost()}, nil
	}
	return nil, errors.New("it was deleted meanwhile")
}

// startBounds is what the owner of a lab may use of the workers that begin with it; nil: as much as there is room for. Each is
// told its own part soon after.
func startBounds(v view, owner string, workers []string) *workerv1.OwnerBounds {
	rates := v.ratesOf(owner)
	if len(rates) == 0 || len(workers) == 0 {
		return nil
	}
	return &workerv1.OwnerBounds{Owner: owner, EventsPerS: rates[workers[0]]}
}

// replayRunTo is up to where a run is run at full speed: it was there before. One that has ended is made again as a whole.
func replayRunTo(run *controlv1.RunState) int64 {
	if run.GetRemaking() {
		return run.GetResult().GetProgress().GetNowNs()
	}
	return run.GetReachedNs()
}

// adopt goes on with a lab that its workers run under its epoch. An input that a leader before stamped there takes effect,
// or not, as the log says.
func (l *leadership) adopt(host *hosting) error {
	v := l.c.store.view()
	workers := v.workersOf(host.labID)
	if len(workers) == 0 {
		return nil
	}
	client, err := l.fleet.client(workers[0])
	if err != nil {
		return err
	}
	held, err := l.held(client)
	if err != nil {
		return fmt.Errorf("worker %s does not tell what it hosts: %w", workers[0], err)
	}
	has, err := l.settle(client, v, host, held[host.labID])
	if err != nil {
		return err
	}
	if journaled := v.journaled(host.labID); has != journaled {
		l.c.log.Warn("a worker lacks journaled inputs; the lab is rebuilt", "lab", host.labID, "has", has, "journaled", journaled)
		l.rebuild(target{labID: host.labID, epoch: host.epoch})
		return nil
	}
	l.follow(host)
	return nil
}

// settle lets the input that waits at a worker for its commit take effect if the log has it, and be forgotten if not, as is
// what a leader before may have sent and comes late. It gives how many inputs the lab has had then.
func (l *leadership) settle(client workerv1.WorkerServiceClient, v view, host *hosting, h holding) (has uint64, err error) {
	ctx, cancel := context.WithTimeout(l.ctx, workerTimeout)
	defer cancel()
	has = h.journaled
	if entry := v.input(host.labID, h.pending); entry != nil {
		_, err = client.CommitInput(ctx, &workerv1.CommitInputRequest{LabId: host.labID, Epoch: host.epoch, Entry: entry})
		if err != nil {
			return 0, err
		}
		has = h.pending
	}
	return has, l.endTurn(ctx, client, host, l.turnsSoFar())
}
