package orchestrator

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// followRecovery waits until a lab that its workers have been given has replayed its journal. Until then the lab takes no
// input and is not asked how it stands: it would tell of what was long ago. A run may be watched meanwhile.
func (l *leadership) followRecovery(host *hosting) {
	if l.c.store.view().run(host.labID) == nil {
		enough := func(m *workerv1.WatchLabResponse) bool { return !m.GetProgress().GetRecovering() }
		if !l.watchHost(host, enough) {
			return
		}
	}
	host.open(nil)
	l.watchIfRun(host)
}

// watchHost follows a lab at its head until what it tells is enough; false: it has gone from there, or this leadership has
// ended. A worker that does not answer is asked again.
func (l *leadership) watchHost(host *hosting, enough func(*workerv1.WatchLabResponse) bool) bool {
	for {
		err := l.watchHostOnce(host, enough)
		if err == nil {
			return true
		}
		epoch, there := l.c.store.view().epochOf(host.labID)
		switch {
		case l.ctx.Err() != nil || !there || epoch != host.epoch:
			return false
		case status.Code(err) == codes.NotFound:
			l.reconcileSoon() // the worker has lost it
			return false
		}
		pause(l.ctx, retryPause)
	}
}

func (l *leadership) watchHostOnce(host *hosting, enough func(*workerv1.WatchLabResponse) bool) error {
	client, err := l.hosts(host.labID)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	stream, err := client.WatchLab(ctx, &workerv1.WatchLabRequest{LabId: host.labID, IntervalMs: progressInterval.Milliseconds()})
	for err == nil {
		var m *workerv1.WatchLabResponse
		m, err = stream.Recv()
		switch {
		case m.GetBroken() != "": // it has ended where it was, and is rebuilt
			return status.Error(codes.NotFound, m.GetBroken())
		case err == nil && enough(m):
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
	cmd := &controlv1.Command{Kind: &controlv1.Command_EndRun{
		EndRun: &controlv1.EndRun{RunId: host.labID, Epoch: host.epoch, Result: result}}}
	if run := l.c.store.view().run(host.labID); run.GetRemaking() {
		l.checkRemade(run, result)
		cmd = &controlv1.Command{Kind: &controlv1.Command_RunRemade{
			RunRemade: &controlv1.RunRemade{RunId: host.labID, Epoch: host.epoch}}}
	}
	_, err := l.c.proposeOwn(cmd)
	var refused *Refusal
	if err != nil && !errors.As(err, &refused) { // refused: it was deleted, or given away, meanwhile
		l.c.log.Error("a run's end could not be recorded", "run", host.labID, "error", err)
	}
	l.reconcileSoon()
}

// checkRemade tells where a run did not come to the same when it was made again: a fault of ours.
func (l *leadership) checkRemade(run *controlv1.RunState, again *controlv1.RunResult) {
	was, is := run.GetResult().GetProgress(), again.GetProgress()
	if was.GetNowNs() != is.GetNowNs() || was.GetRecords() != is.GetRecords() || was.GetError() != is.GetError() {
		l.c.log.Error("a run that was made again is not what it was", "run", run.GetId(),
			"end_ns", was.GetNowNs(), "again_end_ns", is.GetNowNs(), "records", was.GetRecords(), "again_records", is.GetRecords(),
			"error", was.GetError(), "again_error", is.GetError())
	}
}

// untilEnded fills in the result of a run that has ended; false: the leadership ended first, or the run has gone from its
// worker.
func (l *leadership) untilEnded(host *hosting, result *controlv1.RunResult) bool {
	for l.watchHost(host, func(m *workerv1.WatchLabResponse) bool { return m.GetProgress().GetEnded() }) {
		client, err := l.hosts(host.labID)
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(l.ctx, workerTimeout)
		lab, err := client.GetLab(ctx, &workerv1.GetLabRequest{LabId: host.labID})
		cancel()
		if err != nil {
			pause(l.ctx, retryPause)
			continue
		}
		result.Progress = lab.GetProgress()
		result.Transfers = lab.GetTransfers()[:min(len(lab.GetTransfers()), keptResults)]
		result.Execs = lab.GetExecs()[:min(len(lab.GetExecs()), keptResults)]
		result.Faults = lab.GetFaults()[:min(len(lab.GetFaults()), keptResults)]
		return true
	}
	return false
}

// reachedEvery is how often how far labs have come is committed, all labs of all workers in one entry. Whoever's worker is
// lost for good gets back to at most so much wall time before, and a report's; but never before an acknowledged input.
const reachedEvery = 2 * time.Second

// keepReached commits how far the labs have come, as their workers report.
func (l *leadership) keepReached() {
	tick := time.NewTicker(reachedEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.ctx.Done():
			return
		}
		if err := l.commitReached(l.fleet.reached(l.c.store.view())); err != nil && l.ctx.Err() == nil {
			l.c.log.Warn("how far labs have come could not be recorded", "error", err)
		}
	}
}

func (l *leadership) commitReached(marks []*controlv1.LabMark) error {
	if len(marks) == 0 {
		return nil
	}
	_, err := l.c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_MarkReached{MarkReached: &controlv1.MarkReached{Marks: marks}}})
	return err
}

// reached lists the labs that are further than Raft knows, by what their heads have reported.
func (f *fleet) reached(v view) []*controlv1.LabMark {
	f.mu.Lock()
	defer f.mu.Unlock()
	var marks []*controlv1.LabMark
	for _, w := range v.workers() {
		s := f.sites[w.GetName()]
		if s == nil {
			continue
		}
		for _, r := range s.report.GetLabs() {
			if epoch, reached, head := v.markOf(r.GetLabId()); head == w.GetName() && epoch == r.GetEpoch() && r.GetReachedNs() > reached {
				marks = append(marks, &controlv1.LabMark{LabId: r.GetLabId(), Epoch: epoch, TNs: r.GetReachedNs()})
			}
		}
	}
	return marks
}

// markOf is how far a lab is known to have come, under which epoch, and the worker that leads it.
func (v view) markOf(labID string) (epoch uint64, reached int64, head string) {
	var workers []string
	if lab := v.lab(labID); lab != nil {
		epoch, reached, workers = lab.GetEpoch(), lab.GetReachedNs(), lab.GetWorkers()
	} else if run := v.run(labID); run != nil && run.GetEndedUnixNs() == 0 {
		epoch, reached, workers = run.GetEpoch(), run.GetReachedNs(), run.GetWorkers()
	}
	if len(workers) > 0 {
		head = workers[0]
	}
	return epoch, reached, head
}

// markReached records how far the standing labs have come by now, so that a restart takes them there again.
func (l *leadership) markReached(ctx context.Context) {
	var marks []*controlv1.LabMark
	for _, lab := range l.c.store.view().labs() {
		if opened, err := l.host(lab.GetId(), lab.GetEpoch()).opened(); !opened || err != nil {
			continue
		}
		client, err := l.hosts(lab.GetId())
		if err != nil {
			continue // its worker goes on without this server
		}
		resp, err := client.GetLab(ctx, &workerv1.GetLabRequest{LabId: lab.GetId()})
		if err != nil {
			l.c.log.Error("a lab does not tell its time", "lab", lab.GetSpec().GetName(), "error", err)
			continue
		}
		marks = append(marks, &controlv1.LabMark{LabId: lab.GetId(), Epoch: lab.GetEpoch(), TNs: resp.GetProgress().GetNowNs()})
	}
	if err := l.commitReached(marks); err != nil {
		l.c.log.Error("the labs' time could not be recorded", "error", err)
	}
}
