package orchestrator

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

const (
	// workerTimeout bounds a call to a worker that answers at once.
	workerTimeout = 30 * time.Second
	// askTimeout bounds the question what a worker holds: one that is stuck must not hold up the others' labs.
	askTimeout = 5 * time.Second
	// retryPause is the wait before a step that failed is tried again.
	retryPause = time.Second
	// progressInterval is how often, in wall time, a run is looked at.
	progressInterval = 50 * time.Millisecond
)

// leadership is what only a leading server has: its workers, what they host, and the goroutines that see to it.
type leadership struct {
	c      *Controller
	term   uint64          // in Raft, or an earlier one of this server's
	ctx    context.Context // ends with the leadership
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	wake   chan struct{} // holds a token when there is something to reconcile
	grade  chan struct{} // holds a token when there may be something to grade
	began  time.Time
	fleet  *fleet
	views  *labViews
	idle   *idleness

	inherited map[string]uint64 // epochs of the labs and runs that a leader before gave away

	inputs underWay   // between their stamp and their commit
	mu     sync.Mutex // guards hosted
	hosted map[string]*hosting
}

func newLeadership(c *Controller, term uint64) *leadership {
	l := &leadership{c: c, term: term, wake: make(chan struct{}, 1), grade: make(chan struct{}, 1), began: time.Now(), fleet: newFleet(c.lease(), c.conf.DialWorker),
		inherited: make(map[string]uint64), hosted: make(map[string]*hosting), views: newLabViews(), idle: newIdleness()}
	l.ctx, l.cancel = context.WithCancel(c.ctx)
	return l
}

// takeOver takes note of what the leader before has left: the cluster's id, the workers whose leases may still run, and
// the labs that they may host.
func (l *leadership) takeOver() error {
	v := l.c.store.view()
	if v.clusterID() == "" {
		id := l.c.ClusterID()
		if id == "" { // a server of its own
			id = rand.Text()
		}
		_, err := l.c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_FoundCluster{
			FoundCluster: &controlv1.FoundCluster{ClusterId: id, LeaseNs: int64(l.c.lease())}}})
		if err != nil {
			return fmt.Errorf("found the cluster: %w", err)
		}
		v = l.c.store.view()
	}
	l.fleet.lease = v.lease()
	if l.c.conf.Worker == nil && l.c.lease() != l.fleet.lease {
		l.c.log.Warn("workers are granted the lease with which the cluster was founded, not this server's", "lease", l.fleet.lease, "own", l.c.lease())
	}
	if err := l.makeFirst(); err != nil {
		return err
	}
	for _, lab := range v.labs() {
		l.inherited[lab.GetId()] = lab.GetEpoch()
	}
	for _, run := range v.runs() {
		if live(run) {
			l.inherited[run.GetId()] = run.GetEpoch()
		}
	}
	if l.c.conf.Worker != nil {
		if err := l.joinLocal(); err != nil {
			return fmt.Errorf("take in worker %s: %w", l.c.conf.WorkerName, err)
		}
	}
	l.fleet.expect(v.workers())
	return nil
}

// joinLocal takes in the worker in this process. It shares this server's fate, so that it needs no lease.
func (l *leadership) joinLocal() error {
	name, id := l.c.conf.WorkerName, l.c.conf.ServerID
	if was := l.c.store.view().worker(name); was.GetUp() && was.GetWorkerId() != id {
		// The state is a snapshot of another labd's, whose worker was in that one's process.
		_, err := l.c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_WorkerDown{
			WorkerDown: &controlv1.WorkerDown{Name: name, Instance: was.GetInstance(), Reason: "the state was restored in another labd"}}})
		if err != nil {
			return err
		}
	}
	if err := l.workerUp(&controlv1.WorkerUp{Name: name, WorkerId: id, Instance: l.c.instance}); err != nil {
		return err
	}
	l.fleet.joinLocal(name, l.c.instance, l.c.conf.Worker)
	return nil
}

func (l *leadership) start() {
	l.tasks.Go(l.reconcileLoop)
	l.tasks.Go(l.watchLeases)
	l.tasks.Go(l.keepReached)
	l.tasks.Go(l.keepBounds)
	l.tasks.Go(l.lookAfterIdle)
	l.tasks.Go(l.keepFiles)
	l.tasks.Go(l.noteRefusals)
	l.tasks.Go(l.showLabs)
	l.tasks.Go(l.gradeLoop)
	if l.c.conf.Cluster != nil {
		l.tasks.Go(l.promoteLoop)
	}
}

func (l *leadership) close() {
	l.cancel()
	// No input that was stamped in this leadership's time is committed after it: the next one settles what is left.
	l.inputs.end()
	l.fleet.close()
	l.tasks.Wait()
}

// hosts gives the way to the workers that have a lab or a run, as one.
func (l *leadership) hosts(labID string) (workerv1.WorkerServiceClient, error) {
	v := l.c.store.view()
	if _, there := v.epochOf(labID); !there {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "the lab is gone")
	}
	return l.fleet.group(v.workersOf(labID))
}

// choose places what a lab needs. Where none is up yet that takes labs it waits a while for workers that may come.
func (l *leadership) choose(ctx context.Context, n need) ([]string, error) {
	if err := l.awaitWorkers(ctx); err != nil {
		return nil, err
	}
	workers, err := place(n, l.fleet.candidates(l.c.store.view()))
	l.fleet.given(workers)
	return workers, err
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
