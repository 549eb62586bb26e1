package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

const (
	// workerTimeout bounds a call to a worker that answers at once.
	workerTimeout = 30 * time.Second
	// retryPause is the wait before a step that failed is tried again.
	retryPause = time.Second
	// progressInterval is how often, in wall time, a run is looked at.
	progressInterval = 50 * time.Millisecond
)

// leadership is what only a leading server has: what its worker hosts, and the goroutines that see to it.
type leadership struct {
	c      *Controller
	ctx    context.Context // ends with the leadership
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	wake   chan struct{} // holds a token when there is something to reconcile

	mu     sync.Mutex // guards hosted
	hosted map[string]*hosting
}

// hosting is a lab or a run at the worker under one epoch.
type hosting struct {
	labID string
	epoch uint64
	ready chan struct{} // closed when it runs and has recovered, or could not be started
	once  sync.Once     // closes ready
	err   error         // why it could not; read after ready is closed
	gate  chan struct{} // holds a token while no input of the lab is between its stamp and its commit
	busy  bool          // a step is under way; guarded by leadership.mu
}

func newHosting(labID string, epoch uint64) *hosting {
	h := &hosting{labID: labID, epoch: epoch, ready: make(chan struct{}), gate: make(chan struct{}, 1)}
	h.gate <- struct{}{}
	return h
}

// open lets the calls go on that wait for the lab.
func (h *hosting) open(err error) {
	h.once.Do(func() {
		h.err = err
		close(h.ready)
	})
}

// started tells whether the lab runs or could not be started.
func (h *hosting) started() bool {
	select {
	case <-h.ready:
		return true
	default:
		return false
	}
}

func newLeadership(c *Controller) *leadership {
	l := &leadership{c: c, wake: make(chan struct{}, 1), hosted: make(map[string]*hosting)}
	l.ctx, l.cancel = context.WithCancel(c.ctx)
	return l
}

func (l *leadership) start() { l.tasks.Go(l.reconcileLoop) }

func (l *leadership) close() {
	l.cancel()
	l.tasks.Wait()
}

// adoptAll takes over every lab, and every run that has not ended.
func (l *leadership) adoptAll() error {
	held, err := l.held(l.ctx)
	if err != nil {
		return err
	}
	v := l.c.store.view()
	for _, lab := range v.labs() {
		if err := l.adopt(held, lab.GetId(), lab.GetEpoch()); err != nil {
			return err
		}
	}
	for _, run := range v.runs() {
		if run.GetEndedUnixNs() != 0 {
			continue
		}
		if err := l.adopt(held, run.GetId(), run.GetEpoch()); err != nil {
			return err
		}
	}
	return nil
}

// adopt takes over a lab as the worker has it, or gives it to the worker under a new epoch.
func (l *leadership) adopt(held map[string]holding, labID string, epoch uint64) error {
	if h := held[labID]; h.running && h.epoch == epoch {
		l.tasks.Go(func() { l.followRecovery(l.host(labID, epoch)) })
		return nil
	}
	_, err := l.c.propose("", &controlv1.Command{Kind: &controlv1.Command_AssignLab{
		AssignLab: &controlv1.AssignLab{LabId: labID, Epoch: epoch, Worker: l.c.conf.WorkerName}}})
	if err != nil {
		return fmt.Errorf("assign %s: %w", labID, err)
	}
	return nil
}

// host gives the hosting of a lab under an epoch, made on first use. One of another epoch is replaced.
func (l *leadership) host(labID string, epoch uint64) *hosting {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hosted[labID]
	if h == nil || h.epoch != epoch {
		h = newHosting(labID, epoch)
		l.hosted[labID] = h
	}
	return h
}

// hostForStep marks a lab's hosting busy. One that ran before, and that the worker no longer has, begins anew.
func (l *leadership) hostForStep(step action) *hosting {
	h := l.host(step.labID, step.epoch)
	l.mu.Lock()
	defer l.mu.Unlock()
	if step.kind == actionStart && h.started() {
		h = newHosting(step.labID, step.epoch)
		l.hosted[step.labID] = h
	}
	h.busy = true
	return h
}

// await waits until a lab runs, and tells why if it cannot.
func (l *leadership) await(ctx context.Context, labID string, epoch uint64) (*hosting, error) {
	h := l.host(labID, epoch)
	l.reconcileSoon()
	select {
	case <-h.ready:
		return h, h.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.ctx.Done():
		return nil, notLeading()
	}
}

// running gives a lab's hosting if the lab runs.
func (l *leadership) running(labID string, epoch uint64) (*hosting, error) {
	h := l.host(labID, epoch)
	switch {
	case !h.started():
		l.reconcileSoon()
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_STARTING, "the lab is being built, or rebuilt from its journal; try again soon")
	case h.err != nil:
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_FAILED, "the lab could not be built: %v", h.err)
	}
	return h, nil
}

func (l *leadership) reconcileSoon() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *leadership) reconcileLoop() {
	for {
		if err := l.reconcileOnce(); err != nil && l.ctx.Err() == nil {
			l.c.log.Error("worker does not tell what it hosts", "error", err)
			time.AfterFunc(retryPause, l.reconcileSoon)
		}
		select {
		case <-l.wake:
		case <-l.ctx.Done():
			return
		}
	}
}

func (l *leadership) reconcileOnce() error {
	// First what is under way: a step that ends while the worker is asked is then still taken to be, and looked at again.
	underWay := l.underWay()
	held, err := l.held(l.ctx)
	if err != nil {
		return err
	}
	v := l.c.store.view()
	var desired []assignment
	for _, lab := range v.labs() {
		desired = append(desired, assignment{labID: lab.GetId(), epoch: lab.GetEpoch()})
	}
	for _, run := range v.runs() {
		desired = append(desired, assignment{labID: run.GetId(), epoch: run.GetEpoch(), ended: run.GetEndedUnixNs() != 0})
	}
	for _, step := range reconcile(desired, actual(held, underWay)) {
		host := l.hostForStep(step)
		l.tasks.Go(func() { l.carryOut(step, host) })
	}
	return nil
}

// held asks the worker what it has.
func (l *leadership) held(ctx context.Context) (map[string]holding, error) {
	ctx, cancel := context.WithTimeout(ctx, workerTimeout)
	defer cancel()
	resp, err := l.c.conf.Worker.ListLabs(ctx, &workerv1.ListLabsRequest{})
	if err != nil {
		return nil, fmt.Errorf("list the worker's labs: %w", err)
	}
	held := make(map[string]holding)
	for _, lab := range resp.GetLabs() {
		held[lab.GetLabId()] = holding{labID: lab.GetLabId(), epoch: lab.GetEpoch(), running: lab.GetRunning()}
	}
	return held, nil
}

// underWay lists the labs that steps are on, or could not be started.
func (l *leadership) underWay() []holding {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []holding
	for id, h := range l.hosted {
		switch {
		case h.busy:
			list = append(list, holding{labID: id, busy: true})
		case h.started() && h.err != nil:
			list = append(list, holding{labID: id, epoch: h.epoch, failed: true})
		}
	}
	return list
}

// actual joins what the worker has with what is under way or has failed here.
func actual(held map[string]holding, underWay []holding) []holding {
	joined := maps.Clone(held)
	for _, h := range underWay {
		have := joined[h.labID]
		have.labID, have.busy, have.failed = h.labID, h.busy, h.failed
		if h.failed {
			have.epoch = h.epoch
		}
		joined[h.labID] = have
	}
	return slices.Collect(maps.Values(joined))
}

func (l *leadership) stepDone(h *hosting) {
	l.mu.Lock()
	h.busy = false
	l.mu.Unlock()
	l.reconcileSoon()
}

func (l *leadership) carryOut(step action, host *hosting) {
	defer l.stepDone(host)
	switch step.kind {
	case actionStart:
		if err := l.startLab(step.labID, step.epoch); err != nil {
			l.c.log.Error("lab could not be started", "lab", step.labID, "epoch", step.epoch, "error", err)
			host.open(err)
			l.watchIfRun(host)
			return
		}
		l.tasks.Go(func() { l.followRecovery(host) })
	case actionStop, actionRemove:
		ctx, cancel := context.WithTimeout(l.ctx, workerTimeout)
		defer cancel()
		req := &workerv1.StopLabRequest{LabId: step.labID, Epoch: step.epoch, KeepFiles: step.kind == actionStop}
		if _, err := l.c.conf.Worker.StopLab(ctx, req); err != nil && status.Code(err) != codes.NotFound {
			l.c.log.Error("lab could not be stopped", "lab", step.labID, "error", err)
			pause(l.ctx, retryPause)
		}
		l.forget(host)
	}
}

func (l *leadership) forget(h *hosting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosted[h.labID] == h {
		delete(l.hosted, h.labID)
	}
}

// startLab builds a lab at the worker and replays its journal there.
func (l *leadership) startLab(labID string, epoch uint64) error {
	v := l.c.store.view()
	req, err := startRequest(v, labID, epoch)
	if err != nil {
		return err
	}
	files := specFiles(req.GetSpec())
	for _, e := range req.GetJournal() {
		files = append(files, inputFiles(e.GetInput())...)
	}
	if err := l.c.pushFiles(l.ctx, files); err != nil {
		return err
	}
	_, err = l.c.conf.Worker.StartLab(l.ctx, req)
	return err
}

func startRequest(v view, labID string, epoch uint64) (*workerv1.StartLabRequest, error) {
	journal := v.inputs(labID, 0, 0)
	if lab := v.lab(labID); lab != nil {
		replayTo := lab.GetReachedNs()
		if n := len(journal); n > 0 {
			replayTo = max(replayTo, journal[n-1].GetTNs())
		}
		return &workerv1.StartLabRequest{LabId: labID, Epoch: epoch, Spec: lab.GetSpec(), Mode: workerv1.Mode_MODE_STANDING,
			Journal: journal, ReplayToNs: replayTo}, nil
	}
	if run := v.run(labID); run != nil {
		return &workerv1.StartLabRequest{LabId: labID, Epoch: epoch, Spec: run.GetSpec(), Mode: workerv1.Mode_MODE_RUN,
			Journal: journal, EndNs: run.GetEndNs(), Capture: run.GetCapture(), Manifest: run.GetManifest(),
			LabYaml: run.GetLabYaml()}, nil
	}
	return nil, errors.New("it was deleted meanwhile")
}

// followRecovery waits until a lab that the worker has been given has replayed its journal. Until then the lab takes no
// input and is not asked how it stands: it would tell of what was long ago. A run may be watched meanwhile.
func (l *leadership) followRecovery(host *hosting) {
	if l.c.store.view().run(host.labID) == nil {
		if err := l.untilRecovered(host.labID); l.ctx.Err() != nil {
			return
		} else if err != nil {
			// It has gone from the worker; the reconciler sees to it.
			l.c.log.Warn("a lab's recovery cannot be followed", "lab", host.labID, "error", err)
		}
	}
	host.open(nil)
	l.watchIfRun(host)
}

func (l *leadership) untilRecovered(labID string) error {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	stream, err := l.c.conf.Worker.WatchLab(ctx, &workerv1.WatchLabRequest{LabId: labID, IntervalMs: progressInterval.Milliseconds()})
	for err == nil {
		var m *workerv1.WatchLabResponse
		if m, err = stream.Recv(); err == nil && !m.GetProgress().GetRecovering() {
			return nil
		}
	}
	return err
}

// watchIfRun follows a run to its end.
func (l *leadership) watchIfRun(host *hosting) {
	if l.c.store.view().run(host.labID) == nil {
		return
	}
	l.tasks.Go(func() { l.followRun(host) })
}

// followRun waits for a run's end and records it.
func (l *leadership) followRun(host *hosting) {
	result := &controlv1.RunResult{Progress: &labv1.LabProgress{Ended: true}}
	if host.err != nil {
		result.Progress.Error = host.err.Error()
	} else if !l.untilEnded(host, result) {
		return
	}
	_, err := l.c.propose("", &controlv1.Command{Kind: &controlv1.Command_EndRun{
		EndRun: &controlv1.EndRun{RunId: host.labID, Result: result}}})
	var refused *Refusal
	if err != nil && !(errors.As(err, &refused) && refused.Reason == labv1.ErrorReason_ERROR_REASON_RUN_NOT_FOUND) {
		l.c.log.Error("a run's end could not be recorded", "run", host.labID, "error", err)
	}
	l.reconcileSoon()
}

// untilEnded fills in the result of a run that has ended; false: the leadership ended first, or the run was deleted.
func (l *leadership) untilEnded(host *hosting, result *controlv1.RunResult) bool {
	stream, err := l.c.conf.Worker.WatchLab(l.ctx, &workerv1.WatchLabRequest{
		LabId: host.labID, IntervalMs: progressInterval.Milliseconds()})
	for err == nil {
		var m *workerv1.WatchLabResponse
		if m, err = stream.Recv(); err == nil && m.GetProgress().GetEnded() {
			break
		}
	}
	if l.ctx.Err() != nil || l.c.store.view().run(host.labID) == nil {
		return false
	}
	lab, err := l.c.conf.Worker.GetLab(l.ctx, &workerv1.GetLabRequest{LabId: host.labID})
	if err != nil {
		result.Progress.Error = fmt.Sprintf("the worker lost the run: %v", err)
		return l.ctx.Err() == nil
	}
	result.Progress = lab.GetProgress()
	result.Transfers = lab.GetTransfers()[:min(len(lab.GetTransfers()), keptResults)]
	result.Execs = lab.GetExecs()[:min(len(lab.GetExecs()), keptResults)]
	result.Faults = lab.GetFaults()[:min(len(lab.GetFaults()), keptResults)]
	return true
}

// markReached records how far the standing labs have come, so that a restart takes them there again.
func (l *leadership) markReached(ctx context.Context) {
	for _, lab := range l.c.store.view().labs() {
		if h := l.host(lab.GetId(), lab.GetEpoch()); !h.started() || h.err != nil {
			continue
		}
		resp, err := l.c.conf.Worker.GetLab(ctx, &workerv1.GetLabRequest{LabId: lab.GetId()})
		if err == nil {
			_, err = l.c.propose("", &controlv1.Command{Kind: &controlv1.Command_MarkReached{
				MarkReached: &controlv1.MarkReached{LabId: lab.GetId(), TNs: resp.GetProgress().GetNowNs()}}})
		}
		if err != nil {
			l.c.log.Error("a lab's time could not be recorded", "lab", lab.GetSpec().GetName(), "error", err)
		}
	}
}

// pause waits, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
