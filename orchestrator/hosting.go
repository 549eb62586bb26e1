package orchestrator

import (
	"context"
	"errors"
	"slices"
	"sync"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// hosting is a lab or a run at its workers under one epoch.
type hosting struct {
	labID string
	epoch uint64
	ready chan struct{} // closed when it runs and has recovered, or could not be started, or has a newer epoch
	over  chan struct{} // closed when it has a newer epoch
	once  sync.Once     // closes ready
	err   error         // why it does not run; read after ready is closed
	gate  chan struct{} // holds a token while no input of the lab is between its stamp and its commit

	// What is below is guarded by leadership.mu.
	busy    bool   // a step is under way
	begun   bool   // it has been started, or found running
	waiting error  // why no worker takes it; nil: one does, or it has not been asked
	turn    uint64 // the last in which an input was stamped, or was to be
	void    uint64 // what this one and those before it stamped is not to take effect
	ending  bool   // its worker is being told so
}

// errMoved is a hosting's error when its lab has a newer epoch.
var errMoved = errors.New("the lab was given to another worker")

func newHosting(labID string, epoch uint64) *hosting {
	h := &hosting{labID: labID, epoch: epoch, ready: make(chan struct{}), over: make(chan struct{}), gate: make(chan struct{}, 1)}
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

// opened tells whether the lab runs, or why it does not; false: that is open yet.
func (h *hosting) opened() (bool, error) {
	select {
	case <-h.ready:
		return true, h.err
	default:
		return false, nil
	}
}

// suspects lists the labs and runs that a worker may have died of: those that were on their way up there, and if none was,
// all that it had.
func (l *leadership) suspects(worker string) (ids []string) {
	v := l.c.store.view()
	var all, rising []string
	note := func(id string, epoch uint64, workers []string) {
		if !slices.Contains(workers, worker) {
			return
		}
		all = append(all, id)
		if opened, _ := l.host(id, epoch).opened(); !opened {
			rising = append(rising, id)
		}
	}
	for _, lab := range v.labs() {
		note(lab.GetId(), lab.GetEpoch(), lab.GetWorkers())
	}
	for _, run := range v.runs() {
		if live(run) {
			note(run.GetId(), run.GetEpoch(), run.GetWorkers())
		}
	}
	if len(rising) > 0 {
		return rising
	}
	return all
}

// host gives the hosting of a lab under an epoch, made on first use. It takes the place of an older epoch's; for an epoch
// that is older itself it gives one that tells so.
func (l *leadership) host(labID string, epoch uint64) *hosting {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hosted[labID]
	switch {
	case h == nil || h.epoch < epoch:
		if h != nil {
			h.open(errMoved)
			close(h.over)
		}
		h = newHosting(labID, epoch)
		l.hosted[labID] = h
	case h.epoch > epoch:
		h = newHosting(labID, epoch)
		h.open(errMoved)
		close(h.over)
	}
	return h
}

// begin marks a lab's hosting busy; false: a step on it is under way, or it has a newer epoch. What is stopped or removed
// may be of an older one.
func (l *leadership) begin(step action) (*hosting, bool) {
	h := l.host(step.labID, step.epoch)
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.hosted[step.labID]; step.kind == actionStop || step.kind == actionRemove {
		h = now
	}
	if h.busy || l.hosted[step.labID] != h {
		return nil, false
	}
	h.busy = true
	return h, true
}

func (l *leadership) stepDone(h *hosting) {
	l.mu.Lock()
	h.busy = false
	l.mu.Unlock()
	l.reconcileSoon()
}

// noteWaiting keeps why no worker takes a lab, for those who ask.
func (l *leadership) noteWaiting(h *hosting, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.waiting = why
}

func (l *leadership) waitingFor(h *hosting) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return h.waiting
}

// standings is what has been done about each lab.
func (l *leadership) standings() map[string]standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := make(map[string]standing, len(l.hosted))
	for id, h := range l.hosted {
		opened, err := h.opened()
		done[id] = standing{busy: h.busy, epoch: h.epoch, begun: h.begun, mine: h.begun, rising: h.begun && !opened, failed: opened && err != nil}
	}
	for id, epoch := range l.inherited {
		if s := done[id]; s.epoch <= epoch {
			s.epoch, s.begun = epoch, true
			done[id] = s
		}
	}
	return done
}

func (l *leadership) forget(h *hosting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosted[h.labID] == h {
		delete(l.hosted, h.labID)
	}
}

// epochOf is the epoch that a lab or a run has now.
func (v view) epochOf(labID string) (uint64, bool) {
	if lab := v.lab(labID); lab != nil {
		return lab.GetEpoch(), true
	}
	if run := v.run(labID); run != nil {
		return run.GetEpoch(), true
	}
	return 0, false
}

// workersOf names the workers that a lab or a run is assigned to, the head first.
func (v view) workersOf(labID string) []string {
	if lab := v.lab(labID); lab != nil {
		return lab.GetWorkers()
	}
	return v.run(labID).GetWorkers()
}

// await waits until a lab runs, under whatever epoch it comes to, and tells why if it cannot.
func (l *leadership) await(ctx context.Context, labID string) error {
	for {
		epoch, there := l.c.store.view().epochOf(labID)
		if !there {
			return refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "it was deleted meanwhile")
		}
		if lab := l.c.store.view().lab(labID); parked(lab) {
			return l.isParked(lab)
		}
		h := l.host(labID, epoch)
		l.reconcileSoon()
		select {
		case <-h.ready:
			if !errors.Is(h.err, errMoved) {
				return h.err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ctx.Done():
			return notLeading()
		}
	}
}

// isParked refuses what a lab is asked that no worker is given.
func (l *leadership) isParked(lab *controlv1.LabState) *Refusal {
	reason, why := labv1.ErrorReason_ERROR_REASON_LAB_QUARANTINED, quarantineReason(lab)
	if lab.GetStopped() {
		reason, why = labv1.ErrorReason_ERROR_REASON_LAB_STOPPED, stoppedReason(l.c.store.view(), lab)
	}
	return refuse(reason, "lab %q is %s", lab.GetSpec().GetName(), why)
}

// running gives a lab's hosting if the lab runs.
func (l *leadership) running(labID string, epoch uint64) (*hosting, error) {
	if lab := l.c.store.view().lab(labID); parked(lab) {
		return nil, l.isParked(lab)
	}
	h := l.host(labID, epoch)
	opened, err := h.opened()
	switch {
	case !opened || errors.Is(err, errMoved):
		l.reconcileSoon()
		if why := l.waitingFor(h); why != nil {
			return nil, why
		}
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_STARTING, "the lab is being built, or rebuilt from its journal; try again soon")
	case err != nil:
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_FAILED, "the lab could not be built: %v", err)
	}
	return h, nil
}
