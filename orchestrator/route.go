package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// labWorker is the running lab that a call was granted, and the way to the worker that is asked about it.
func (c *Controller) labWorker(ctx context.Context) (*grant, workerv1.WorkerServiceClient, error) {
	g, l, err := c.runningLab(ctx)
	if err != nil {
		return nil, nil, err
	}
	client, err := l.hosts(g.lab.GetId())
	return g, client, err
}

// movedMeanwhile tells a caller whose call broke because the lab went to another worker that this is why.
func (c *Controller) movedMeanwhile(lab *controlv1.LabState, err error) error {
	switch status.Code(err) {
	case codes.NotFound, codes.Unavailable, codes.Aborted, codes.Canceled:
	default:
		return err
	}
	l, now := c.leading(), c.store.view().lab(lab.GetId())
	if l == nil || now == nil {
		return err
	}
	if now.GetEpoch() != lab.GetEpoch() || l.beingMoved(lab.GetId()) {
		return labMoves()
	}
	return err
}

// movedFrom tells whether a lab has been given away under another epoch since it was as told, or is gone: what its worker of then
// still tells may be of a lab that did not go on so.
func (v view) movedFrom(lab *controlv1.LabState) bool {
	return v.lab(lab.GetId()).GetEpoch() != lab.GetEpoch()
}

// beingMoved tells whether a step on a lab is under way.
func (l *leadership) beingMoved(labID string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hosted[labID]
	return h == nil || h.busy
}

// runWorker finds the way to the worker that has a run's files. Where an ended run's files are lost with their worker, the
// run is run again first, which makes them again to the byte; the call waits for it.
func (l *leadership) runWorker(ctx context.Context, id string) (workerv1.WorkerServiceClient, error) {
	for {
		v := l.c.store.view()
		run := v.run(id)
		switch {
		case run == nil:
			return nil, noRun(id)
		case run.GetRemaking():
			if err := l.untilRemade(ctx, id); err != nil {
				return nil, err
			}
			continue
		case run.GetEndedUnixNs() == 0:
			return l.hosts(id)
		}
		lost, err := l.filesLost(ctx, v, run)
		if err != nil {
			return nil, err
		}
		if !lost {
			return l.hosts(id)
		}
		if err := l.remake(ctx, run); err != nil {
			return nil, err
		}
	}
}

// filesLost tells whether no worker has an ended run's files any more: the one that had them is down, or came back without.
func (l *leadership) filesLost(ctx context.Context, v view, run *controlv1.RunState) (bool, error) {
	for _, name := range run.GetWorkers() {
		if !v.worker(name).GetUp() {
			return true, nil
		}
		client, err := l.fleet.client(name)
		if err != nil {
			return false, err
		}
		_, err = client.ListRunFiles(ctx, &workerv1.ListRunFilesRequest{LabId: run.GetId()})
		if status.Code(err) == codes.NotFound {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return len(run.GetWorkers()) == 0, nil
}

// remake gives an ended run to workers that run it again.
func (l *leadership) remake(ctx context.Context, run *controlv1.RunState) error {
	v := l.c.store.view()
	workers, err := l.choose(ctx, needOf(run.GetSpec(), v.inputs(run.GetId(), 0, 0)))
	if err != nil {
		return fmt.Errorf("the files of run %s are lost with worker %v and cannot be made again: %w", run.GetId(), run.GetWorkers(), err)
	}
	_, err = l.c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_RemakeRun{
		RemakeRun: &controlv1.RemakeRun{RunId: run.GetId(), Epoch: run.GetEpoch(), Workers: workers}}})
	var refused *Refusal
	if errors.As(err, &refused) && refused.Reason == labv1.ErrorReason_ERROR_REASON_REMAKING {
		return nil
	}
	if err == nil {
		l.c.log.Info("a run's files were lost; it is run again", "run", run.GetId(), "was", run.GetWorkers(), "workers", workers)
		l.reconcileSoon()
	}
	return err
}

// untilRemade waits until a run has run again.
func (l *leadership) untilRemade(ctx context.Context, id string) error {
	for {
		run, changed := l.c.store.watchRun(id)
		if run == nil {
			return noRun(id)
		}
		if !run.GetRemaking() {
			return nil
		}
		both, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(l.ctx, cancel)
		err := changed.WatchCtx(both)
		stop()
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case l.ctx.Err() != nil:
			return notLeading()
		case err != nil:
			return err
		}
	}
}

// progress asks all workers how far their labs are: one call each, however many labs there are. A worker that does not
// answer leaves its labs out.
func (l *leadership) progress(ctx context.Context) map[string]*labv1.LabProgress {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	v := l.c.store.view()
	var mu sync.Mutex // guards all while the workers answer
	all := make(map[string]*labv1.LabProgress)
	var asked sync.WaitGroup
	for name, client := range l.fleet.present() {
		asked.Go(func() {
			held, err := client.ListLabs(ctx, &workerv1.ListLabsRequest{Progress: true})
			if err != nil && ctx.Err() == nil {
				l.c.log.Warn("worker does not tell how far its labs are", "worker", name, "error", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, h := range held.GetLabs() {
				if _, _, head := v.markOf(h.GetLabId()); head == name {
					all[h.GetLabId()] = h.GetProgress()
				}
			}
		})
	}
	asked.Wait()
	return all
}

// whyWaiting tells why a lab is nowhere at the moment; empty: it is on its way up.
func (l *leadership) whyWaiting(h *hosting, workers []string) string {
	l.mu.Lock()
	why := h.waiting
	l.mu.Unlock()
	if why != nil {
		return why.Error()
	}
	for _, name := range workers {
		if _, there := l.fleet.present()[name]; !there {
			return fmt.Sprintf("worker %s does not answer", name)
		}
	}
	return ""
}
