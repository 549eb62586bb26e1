package sim

import "fmt"

// Handler is what an event runs.
type Handler interface {
	// Fire runs the event at its time. It may arm and stop timers, its own included; one armed at now runs at this same
	// instant, in its place by key.
	Fire(now Time)
}

// Timer is an event that its owner keeps and re-arms: embed it, set H once. The zero Timer is stopped. It must not be
// copied while it is armed.
type Timer struct {
	H Handler

	// The key, from the last arming.
	at     Time
	seq    uint64
	origin Origin

	slot       int32 // of the wheel, plus one; 0: stopped
	wake       Time  // where the wheel has it: not after at
	next, prev *Timer
}

// Armed reports whether the timer will fire.
func (t *Timer) Armed() bool { return t.slot != 0 }

// At is the time the timer will fire, if it is armed.
func (t *Timer) At() Time { return t.at }

// before orders timers as Key.Before orders keys.
func (t *Timer) before(o *Timer) bool {
	if t.at != o.at {
		return t.at < o.at
	}
	if t.origin != o.origin {
		return t.origin < o.origin
	}
	return t.seq < o.seq
}

// LoopConfig configures a Loop; the zero value is usable.
type LoopConfig struct {
	Name   string // names the loop in errors
	Budget Budget
}

// Loop runs the events of the origins that live in it, one at a time, in the order of their keys. One owner calls it.
type Loop struct {
	Rec *Recorder // nil: nothing is recorded

	now    Time
	end    Time // of the run under way
	ran    uint64
	watch  uint64 // ran beyond this is looked at by the budget
	pool   pool
	wheel  wheel
	cfg    LoopConfig
	budget meter
}

// NewLoop makes an empty loop at lab time 0.
func NewLoop(cfg LoopConfig) *Loop {
	l := &Loop{cfg: cfg}
	l.budget.start(l)
	return l
}

// Name names the loop in errors.
func (l *Loop) Name() string { return l.cfg.Name }

// Now is the time of the event being run, or where the loop has come to.
func (l *Loop) Now() Time { return l.now }

// Events counts the events run so far.
func (l *Loop) Events() uint64 { return l.ran }

// Armed counts the timers that are armed, for the leak tests: it walks the whole wheel.
func (l *Loop) Armed() (n int) {
	for _, head := range l.wheel.slot {
		for t := head; t != nil; {
			n++
			if t = t.next; t == head {
				break
			}
		}
	}
	return n
}

// Arm sets the timer to fire at time at (not before now), under a fresh key of src. An armed timer is moved.
func (l *Loop) Arm(t *Timer, src *Source, at Time) {
	src.Seq++
	l.arm(t, at, src.ID, src.Seq)
}

// ArmKey sets the timer to fire under a key made elsewhere (a frame's arrival keeps the key its sender gave it).
func (l *Loop) ArmKey(t *Timer, k Key) { l.arm(t, k.At, k.Origin, k.Seq) }

func (l *Loop) arm(t *Timer, at Time, origin Origin, seq uint64) {
	if at < l.now {
		panic(fmt.Sprintf("sim: event of origin %d armed at %v, before now %v", origin, at, l.now))
	}
	if t.slot != 0 {
		if at >= t.wake && !l.wheel.present(int(t.slot)-1) {
			// Moved later: it stays where it is and is put in its place when the wheel comes there.
			t.at, t.origin, t.seq = at, origin, seq
			return
		}
		l.wheel.remove(t)
	}
	t.at, t.origin, t.seq = at, origin, seq
	l.wheel.insert(t)
}

// Stop keeps the timer from firing; stopping a stopped timer does nothing.
func (l *Loop) Stop(t *Timer) {
	if t.slot != 0 {
		l.wheel.remove(t)
	}
}

// Next is a time that no event of the loop precedes; Never if it holds none. It may be earlier than the next event.
func (l *Loop) Next() Time {
	w := &l.wheel
	s, tick, ok := w.nextSlot()
	if !ok {
		return Never
	}
	at := Time(tick << tickBits)
	if head := w.slot[s]; w.present(s) {
		at = head.at
	} else if s < slots {
		// A timer moved later may be due beyond this slot, and another slot's before it.
		at = Time((tick + 1) << tickBits)
		for t, more := head, true; more; more = t != head {
			at = min(at, t.at)
			t = t.next
		}
	}
	return max(at, l.now)
}

// RunBefore runs every event before end, in order, and leaves Now at end (with end Never: at the last event). An input
// with time T is applied between RunBefore(T) and the next call, so that it comes first at its instant. The error is a
// *BudgetError; the loop may not be run on after it.
func (l *Loop) RunBefore(end Time) error {
	w := &l.wheel
	l.end = end
	for more := true; more; more = w.advance(end) {
		if !w.sorted {
			continue
		}
		for slot := &w.slot[w.tick&slotMask]; *slot != nil; {
			if (*slot).at >= end {
				l.arrive(end)
				return nil
			}
			t := w.pop(slot)
			l.now = t.at
			if l.ran++; l.ran > l.watch {
				if err := l.budget.look(l, t); err != nil {
					return err
				}
			}
			t.H.Fire(t.at)
		}
	}
	l.arrive(end)
	return nil
}

// Proceed is for a handler that holds a queue of events of its own and has just run the first: it reports whether the
// next, of key k, is the one that the loop would run now. Then it counts as run, Now is its time, and the handler runs it
// itself; else the handler arms a timer with k. It looks no further than the wheel's present slot.
func (l *Loop) Proceed(k Key) bool {
	w := &l.wheel
	if uint64(k.At)>>tickBits != w.tick || k.At >= l.end || l.ran >= l.watch {
		return false
	}
	if t := w.slot[w.tick&slotMask]; t != nil && !k.Before(Key{At: t.at, Origin: t.origin, Seq: t.seq}) {
		return false
	}
	l.now = k.At
	l.ran++
	return true
}

// arrive ends a run.
func (l *Loop) arrive(end Time) {
	if end != Never {
		l.now = max(l.now, end)
	}
}
