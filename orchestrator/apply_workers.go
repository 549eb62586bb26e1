package orchestrator

import (
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// maxWorkers bounds the workers that are known, those that are down included: each that is up keeps a stream with the
// leader open.
const maxWorkers = 1_000

// workerUp makes a worker known, or up again. A worker that has another name now leaves no other behind: its old entry
// could never come up again.
func (a *applier) workerUp(c *controlv1.WorkerUp) (*controlv1.RequestOutcome, *Refusal) {
	was := a.view.worker(c.GetName())
	if was.GetUp() && was.GetWorkerId() != c.GetWorkerId() {
		return nil, nameInUse(was)
	}
	for _, w := range a.view.workers() {
		if w.GetName() == c.GetName() || w.GetWorkerId() != c.GetWorkerId() {
			continue
		}
		if w.GetUp() {
			return nil, refuse(labv1.ErrorReason_ERROR_REASON_WORKER_ID_IN_USE,
				"worker %q, at %s, has the same id; a data directory that was copied has it twice", w.GetName(), w.GetAddress())
		}
		a.remove(tableWorkers, w)
		a.count(counterWorkers, -1, maxWorkers)
	}
	if was == nil && !a.count(counterWorkers, +1, maxWorkers) {
		return nil, overQuota("workers", maxWorkers)
	}
	switch {
	case was.GetUp() && was.GetInstance() != c.GetInstance():
		a.died(was.GetName(), was.GetInstance(), c.GetSuspects())
	case was != nil && was.GetInstance() == c.GetInstance():
		a.lives(c.GetInstance())
	}
	a.insert(tableWorkers, &controlv1.WorkerState{Name: c.GetName(), WorkerId: c.GetWorkerId(), Instance: c.GetInstance(),
		Address: c.GetAddress(), Version: c.GetVersion(), MemoryBytes: c.GetMemoryBytes(), Cores: c.GetCores(),
		Up: true, Draining: was.GetDraining(), ChangedUnixNs: a.now})
	return &controlv1.RequestOutcome{}, nil
}

func (a *applier) workerDown(c *controlv1.WorkerDown) (*controlv1.RequestOutcome, *Refusal) {
	w := a.view.worker(c.GetName())
	if w == nil || w.GetInstance() != c.GetInstance() || !w.GetUp() {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_WORKER_NOT_FOUND, "worker %q is gone, or is back", c.GetName())
	}
	a.died(c.GetName(), c.GetInstance(), c.GetSuspects())
	a.insert(tableWorkers, with(w, func(w *controlv1.WorkerState) { w.Up, w.Reason, w.ChangedUnixNs = false, c.GetReason(), a.now }))
	return &controlv1.RequestOutcome{}, nil
}

func (a *applier) drainWorker(c *controlv1.DrainWorker) (*controlv1.RequestOutcome, *Refusal) {
	w := a.view.worker(c.GetName())
	if w == nil {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_WORKER_NOT_FOUND, "there is no worker %q", c.GetName())
	}
	if c.GetDrain() && !c.GetForce() && !a.othersTakeLabs(c.GetName()) {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAST_WORKER,
			"no other worker is up to take the labs of %q; with --force it takes no new ones, and keeps those it has", c.GetName())
	}
	a.insert(tableWorkers, with(w, func(w *controlv1.WorkerState) { w.Draining = c.GetDrain() }))
	return &controlv1.RequestOutcome{}, nil
}

func (a *applier) othersTakeLabs(name string) bool {
	for _, w := range a.view.workers() {
		if w.GetName() != name && w.GetUp() && !w.GetDraining() {
			return true
		}
	}
	return false
}

// foundCluster gives the cluster its id. A leader that did not know that it has one changes nothing.
func (a *applier) foundCluster(c *controlv1.FoundCluster) (*controlv1.RequestOutcome, *Refusal) {
	if a.view.clusterID() == "" {
		a.insert(tableCluster, &controlv1.ClusterState{ClusterId: c.GetClusterId(), LeaseNs: c.GetLeaseNs()})
	}
	return &controlv1.RequestOutcome{}, nil
}

func nameInUse(w *controlv1.WorkerState) *Refusal {
	return refuse(labv1.ErrorReason_ERROR_REASON_WORKER_NAME_IN_USE,
		"another worker named %q is up, at %s; give this one another name", w.GetName(), w.GetAddress())
}
