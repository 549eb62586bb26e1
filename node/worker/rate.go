package worker

import (
	"fmt"
	"sync"
	"time"

	workerv1 "labd.dev/proto/worker/v1"
)

// How many events a person's labs may run here in a second of wall time. A lab whose owner has had more is held back before its
// next window, and goes on when that has been made up for: what it computes is the same, only later. A replay that takes a lab
// where it was before is not held back, for nobody has asked for it.

const (
	// rateBurst is how much of what was not used may be used at once later: more than a window of a busy lab takes, and so
	// little that whoever shares the worker does not notice.
	rateBurst = 100 * time.Millisecond
	// rateLook is how often a lab that is held back looks whether it still is: the bound may have been raised.
	rateLook = 100 * time.Millisecond
	// heldLately is for how long a lab that was held back says so: it is, for moments at a time.
	heldLately = time.Second
)

// rates are the bounds of all who have labs here. Any goroutine may call them.
type rates struct {
	mu   sync.Mutex // guards all below
	term uint64     // of the leader that has set them
	of   map[string]*rate
}

// rate is a person's.
type rate struct {
	owner string
	mu    sync.Mutex // guards all below
	most  float64    // events a second; 0: not bounded
	owed  float64    // events that were run before they were due; negative: that may be run at once
	at    time.Time  // when owed was so
}

func newRates() *rates { return &rates{of: make(map[string]*rate)} }

// rate is a person's rate, which stays one and the same; nil: of nobody in particular.
func (r *rates) rate(owner string) *rate {
	if owner == "" {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entry(owner)
}

// entry finds or makes a rate. The caller holds the lock.
func (r *rates) entry(owner string) *rate {
	if r.of[owner] == nil {
		r.of[owner] = &rate{owner: owner, at: time.Now()}
	}
	return r.of[owner]
}

// set bounds a person.
func (r *rates) set(b *workerv1.OwnerBounds) {
	if to := r.rate(b.GetOwner()); to != nil {
		to.bound(b.GetEventsPerS())
	}
}

// setAll bounds these persons and nobody else. What an earlier leader says after a later one counts for nothing.
func (r *rates) setAll(term uint64, bounds []*workerv1.OwnerBounds) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if term < r.term {
		return
	}
	r.term = term
	most := make(map[string]uint64, len(bounds))
	for _, b := range bounds {
		most[b.GetOwner()] = b.GetEventsPerS()
		r.entry(b.GetOwner())
	}
	for owner, to := range r.of {
		to.bound(most[owner])
	}
}

func (r *rate) bound(perS uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settle(time.Now())
	r.most = float64(perS)
}

// settle takes off what has become due since it was last done. The caller holds the lock.
func (r *rate) settle(now time.Time) {
	r.owed = max(r.owed-r.most*now.Sub(r.at).Seconds(), -r.most*rateBurst.Seconds())
	r.at = now
	if r.most == 0 {
		r.owed = 0
	}
}

// ran notes events that were run.
func (r *rate) ran(events uint64) {
	if r == nil || events == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.most > 0 {
		r.settle(time.Now())
		r.owed += float64(events)
	}
}

// wait is how long nothing more is due.
func (r *rate) wait() time.Duration {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.most == 0 {
		return 0
	}
	r.settle(time.Now())
	return time.Duration(max(r.owed, 0) / r.most * float64(time.Second))
}

// why is what holds a lab back, for people.
func (r *rate) why() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("event-rate: what %s has on this worker may run %.0f events a second together; see `labctl quota get`", r.owner, r.most)
}

// withinRate tells whether the lab may run on, as far as what its owner may run goes. While it may not, it answers calls.
func (l *lab) withinRate() bool {
	wait := l.rate.wait()
	if wait == 0 {
		return true
	}
	l.giveWay()
	l.heldAt = ticks()
	timer := time.NewTimer(min(wait, rateLook))
	defer timer.Stop()
	select {
	case <-timer.C:
	case call := <-l.calls:
		call()
	case <-l.quit:
	}
	return false
}

// heldBy is what has held the lab back of late; empty: nothing has.
func (l *lab) heldBy() string {
	if l.heldAt == 0 || l.ended || ticks()-l.heldAt > int64(heldLately) {
		return ""
	}
	return l.rate.why()
}
