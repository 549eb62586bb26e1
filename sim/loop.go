package sim

import (
	"container/heap"
	"fmt"
)

// Handler is what an event runs.
type Handler interface {
	// Fire runs the event at its time. It may arm and stop timers, its own included.
	Fire(now Time)
}

// Timer is an event that its owner keeps and re-arms: embed it, set H once. The zero Timer is stopped. It must not be
// copied while it is armed.
type Timer struct {
	H Handler

	key   Key  // place in the order, from the last arming
	armed bool // will fire
	index int  // position in the heap
}

// Armed reports whether the timer will fire.
func (t *Timer) Armed() bool { return t.armed }

// At is the time the timer will fire, if it is armed.
func (t *Timer) At() Time { return t.key.At }

// Budget stops event storms. Zero fields mean the defaults.
type Budget struct {
	PerLab    uint64 // events in the whole lab; 0: unlimited
	PerSecond uint64 // events in one simulated second; 0: 200 million
}

// LoopConfig configures a Loop; the zero value is usable.
type LoopConfig struct {
	Name   string // names the loop in errors
	Budget Budget
}

// Loop runs the events of the origins that live in it, one at a time, in the order of their keys. One owner calls it.
type Loop struct {
	Rec *Recorder // nil: nothing is recorded

	cfg  LoopConfig
	now  Time
	heap timerHeap
	pool pool
	ran  uint64
}

// NewLoop makes an empty loop at lab time 0.
func NewLoop(cfg LoopConfig) *Loop { return &Loop{cfg: cfg} }

// Now is the time of the event being run, or where the loop has come to.
func (l *Loop) Now() Time { return l.now }

// Events counts the events run so far.
func (l *Loop) Events() uint64 { return l.ran }

// Arm sets the timer to fire at time at (not before now), under a fresh key of src. An armed timer is moved.
func (l *Loop) Arm(t *Timer, src *Source, at Time) {
	l.ArmKey(t, Key{At: at, Origin: src.ID, Seq: src.Next()})
}

// ArmKey sets the timer to fire under a key made elsewhere (a frame's arrival keeps the key its sender gave it).
func (l *Loop) ArmKey(t *Timer, k Key) {
	if k.At < l.now {
		panic(fmt.Sprintf("sim: event of origin %d armed at %v, before now %v", k.Origin, k.At, l.now))
	}
	l.Stop(t)
	t.key, t.armed = k, true
	heap.Push(&l.heap, t)
}

// Stop keeps the timer from firing; stopping a stopped timer does nothing.
func (l *Loop) Stop(t *Timer) {
	if t.armed {
		t.armed = false
		heap.Remove(&l.heap, t.index)
	}
}

// Next is a time that no event of the loop precedes; Never if it holds none. It may be earlier than the next event.
func (l *Loop) Next() Time {
	if len(l.heap) == 0 {
		return Never
	}
	return l.heap[0].key.At
}

// RunBefore runs every event before end, in order, and leaves Now at end. An input with time T is applied between
// RunBefore(T) and the next call, so that it comes first at its instant.
func (l *Loop) RunBefore(end Time) error {
	for len(l.heap) > 0 && l.heap[0].key.At < end {
		t := heap.Pop(&l.heap).(*Timer)
		t.armed = false
		l.now = t.key.At
		l.ran++
		t.H.Fire(l.now)
	}
	l.now = max(l.now, end)
	return nil
}

type timerHeap []*Timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].key.Before(h[j].key) }
func (h timerHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i, j }
func (h *timerHeap) Push(x any)        { t := x.(*Timer); t.index = len(*h); *h = append(*h, t) }
func (h *timerHeap) Pop() any {
	o := *h
	t := o[len(o)-1]
	*h = o[:len(o)-1]
	return t
}
