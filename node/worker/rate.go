package worker

import (
	"fmt"
	"sync"
	"time"

	workerv1 "labd.dev/proto/worker/v1"
)

// What a person's labs may use here: how many events they may run in a second of wall time, and how much they may record. A lab
// whose owner has had more is held back before its next window, and goes on when that has been made up for, or there is room:
// what it computes is the same, only later. A replay that takes a lab where it was before is not held back, for nobody has asked
// for it.

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
	spare *uint64    // bytes that may yet be recorded; nil: not bounded
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
		to.bound(b)
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
	bound := make(map[string]*workerv1.OwnerBounds, len(bounds))
	for _, b := range bounds {
		bound[b.GetOwner()] = b
		r.entry(b.GetOwner())
	}
	for owner, to := range r.of {
		to.bound(bound[owner])
	}
}

func (r *rate) bound(b *workerv1.OwnerBounds) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settle(time.Now())
	r.most, r.spare = float64(b.GetEventsPerS()), nil
	if b != nil && b.TraceBytesLeft != nil {
		left := b.GetTraceBytesLeft()
		r.spare = &left
	}
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

// recorded notes bytes by which what is recorded has grown.
func (r *rate) recorded(bytes uint64) {
	if r == nil || bytes == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spare != nil {
		*r.spare -= min(*r.spare, bytes)
	}
}

// full tells whether nothing more may be recorded.
func (r *rate) full() bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spare != nil && *r.spare == 0
}

// tooMany and tooMuch are what holds a lab back, for people.
func (r *rate) tooMany() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("event-rate: what %s has on this worker may run %.0f events a second together; see `labctl quota get`", r.owner, r.most)
}

func (r *rate) tooMuch() string {
	return fmt.Sprintf("trace-bytes: what %s has recorded takes all the room it may; it goes on once there is some: "+
		"labctl get runs, labctl delete run NAME", r.owner)
}

// bounded is how long the lab may not run on, as far as what its owner may use goes, and why.
func (l *lab) bounded() (wait time.Duration, by func(*rate) string) {
	if wait = l.rate.wait(); wait > 0 {
		return wait, (*rate).tooMany
	}
	if l.rate.full() && l.recording() {
		return rateLook, (*rate).tooMuch
	}
	return 0, nil
}

// isBounded tells whether the lab may not run on just now.
func (l *lab) isBounded() bool {
	wait, _ := l.bounded()
	return wait > 0
}

// withinBounds tells whether the lab may run on. While it may not, it answers calls.
func (l *lab) withinBounds() bool {
	wait, by := l.bounded()
	if wait == 0 {
		return true
	}
	l.giveWay()
	l.back = heldBack{at: ticks(), by: by}
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

// heldBack is what has held a lab back last.
type heldBack struct {
	at int64 // ticks; 0: nothing has
	by func(*rate) string
}

// heldBy is what has held the lab back of late; empty: nothing has.
func (l *lab) heldBy() string {
	if l.back.at == 0 || l.ended || ticks()-l.back.at > int64(heldLately) {
		return ""
	}
	return l.back.by(l.rate)
}
