package worker

import (
	"errors"
	"fmt"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// run is the lab's goroutine: it answers calls, and between them passes lab time as the clock allows.
func (l *lab) run() {
	defer close(l.done)
	defer l.shutDown()
	for {
		select {
		case <-l.quit:
			return
		default:
		}
		if !l.applicable() && l.answer() {
			continue
		}
		if l.ended {
			l.giveWay()
			l.idle()
		} else if err := l.stepInTurn(); err != nil {
			l.fail(err)
		}
	}
}

// applicable says that the next step of a lab on the virtual clock applies an input, at the time where the lab stands. That
// goes before any call, so that who has been told that an input is committed finds its effect.
func (l *lab) applicable() bool {
	if l.ended || l.control.paused || !l.clock.virtual() || !l.due() {
		return false
	}
	hold, held := l.stamps.hold()
	return !held || hold > l.x.now()
}

// answer answers a call, if there is one.
func (l *lab) answer() bool {
	select {
	case call := <-l.calls:
		call()
		return true
	default:
		return false
	}
}

// idle waits for a call, and answers it.
func (l *lab) idle() {
	select {
	case <-l.quit:
	case call := <-l.calls:
		call()
	}
}

// shutDown ends what still runs and lets everything go.
func (l *lab) shutDown() {
	if !l.ended && l.split != nil {
		l.split.stop()
	}
	if !l.ended {
		if l.due() {
			if err := l.applyAt(l.x.now()); err != nil {
				l.fail(err)
			}
		}
		l.partial = !l.standing()
		l.end(l.x.now())
	}
	l.giveWay()
	l.clock.close()
	l.x.close()
	if err := guard(func() error { l.net.Close(); return nil }); err != nil && l.err == nil {
		l.err = err
	}
	l.leak = l.books()
}

// books says what a lab that has let everything go still holds: a frame, a chunk or a timer that nothing owns any more is
// a fault of ours, which in a standing lab would grow. After a panic nothing can be said.
func (l *lab) books() error {
	if _, panicked := errors.AsType[*panicError](l.err); panicked {
		return nil
	}
	var err error
	for _, loop := range l.x.loops {
		if f, c, t := loop.LiveFrames(), loop.LiveChunks(), loop.Armed(); f != 0 || c != 0 || t != 0 {
			err = errors.Join(err, fmt.Errorf("%s leaked %d frames, %d chunks and %d timers", loop.Name(), f, c, t))
		}
	}
	return err
}

// step waits until something is to be done, or for a call; then it passes lab time once: it applies the inputs that are
// due or runs one window.
func (l *lab) step() error {
	if !l.tenure.holds() {
		l.giveWay()
		l.idle() // the lab may run elsewhere from now on; the worker stops it
		return nil
	}
	if l.split != nil {
		return l.split.step()
	}
	if l.rebuilding && l.x.now() >= l.replayTo && !l.due() {
		l.rebuilt()
		if l.stopAt > 0 {
			l.partial = !l.standing()
			l.end(l.stopAt)
			return nil
		}
	}
	if l.control.paused && !l.rebuilding {
		l.giveWay()
		return l.stepOn(l.nextStop())
	}
	at, over := l.upcoming()
	switch {
	case l.rebuilding:
		l.recovery.at(l.x.now())
		if at > l.replayTo {
			at, over = l.replayTo, false
		}
	case at == sim.Never:
		l.giveWay()
		l.idle()
		return nil
	case !l.clock.virtual() && l.rides() && l.clock.now() < at:
		l.giveWay()
		return l.ride(at, over)
	case !l.clock.virtual() && !l.wait(at):
		return nil
	}
	if !l.rebuilding && !l.withinBounds() || !l.itsTurn() {
		return nil
	}
	// A recovery stops now and then as well, to answer calls.
	upTo := min(l.replayTo, at+virtualSlice)
	if !l.rebuilding {
		upTo = l.clock.reach(at)
	}
	if !l.asking {
		return l.pass(at, upTo, over)
	}
	defer l.place.ran()
	return l.pass(at, min(upTo, at+virtualSlice), over) // others may wait
}

// upcoming is when the lab goes on by itself, and whether that is the run's end; sim.Never: it has to be told something.
func (l *lab) upcoming() (at sim.Time, over bool) {
	at, over = l.nextStop()
	// In real time what an input has brought about is told as soon as its instant is over, also where nothing else happens.
	if l.untold && l.standing() && !l.clock.virtual() && at > l.x.now() {
		at, over = l.x.now()+1, false
	}
	if hold, held := l.stamps.hold(); held && at >= hold || l.asleep() {
		// Until the input is committed or abandoned, or there is something to pass time for.
		return sim.Never, false
	}
	return at, over
}

// rebuilt ends a recovery: the lab is where it was.
func (l *lab) rebuilt() {
	l.rebuilding = false
	l.recovery.done(l.x.now(), l.events())
	l.clock.restart(l.x.now())
}

// pass passes lab time once, not beyond upTo: it ends the run at that time, or applies the inputs of that time, or runs
// the window that begins there.
func (l *lab) pass(at, upTo sim.Time, over bool) error {
	if over {
		return l.finishRun(at)
	}
	if len(l.waiting) > 0 && sim.Time(l.waiting[0].GetTNs()) <= at {
		return l.applyAt(sim.Time(l.waiting[0].GetTNs()))
	}
	if err := l.x.window(l.limit(at, upTo)); err != nil {
		return err
	}
	l.lookAfter(at)
	if err := errors.Join(l.overMemory(), l.overConns()); err != nil {
		return err
	}
	return l.advanced()
}

// advance brings all loops to a time before which nothing is left to happen.
func (l *lab) advance(t sim.Time) error {
	if err := l.x.window(t); err != nil {
		return err
	}
	return l.advanced()
}

// advanced tells those who keep account that the lab has gone on.
func (l *lab) advanced() error {
	l.untold = false
	l.reach.ran(l.x.now())
	l.note()
	return l.files.advance(l.x.now())
}

// lookAfter has a run without a duration look whether it is over once the quantum of a time has passed in which something
// happens.
func (l *lab) lookAfter(at sim.Time) {
	if !l.standing() {
		l.checkAt = max(l.checkAt, (at/quantum+1)*quantum)
	}
}

// wait waits for the wall time of at; false: there is a call to answer.
func (l *lab) wait(at sim.Time) bool {
	if now := l.clock.now(); now < at {
		l.giveWay() // it has caught up, and may have nothing to do for minutes: others wait for the turn
		l.reach.waits(max(now, l.x.now()), at, l.clock.pacer.Pace())
		defer l.reach.busy()
	}
	if !l.clock.pacer.Wait(at) {
		return false
	}
	l.late.note(l.clock.pacer.Lag())
	return true
}

// due says that an input's time has come.
func (l *lab) due() bool {
	return len(l.waiting) > 0 && sim.Time(l.waiting[0].GetTNs()) <= l.x.now()
}

// nextStop is the lab time of what comes next, and whether that is the run's end.
func (l *lab) nextStop() (at sim.Time, over bool) {
	at = l.next()
	if len(l.waiting) > 0 {
		at = min(at, sim.Time(l.waiting[0].GetTNs()))
	}
	if l.standing() {
		return at, false
	}
	if end := sim.Time(l.req.GetEndNs()); end > 0 {
		return min(at, end), at >= end
	}
	if at >= l.checkAt && (at == sim.Never || at > maxRunTime || l.over()) {
		return l.checkAt, true
	}
	return at, false
}

// over says that a run without a duration has come to its end: its workload has ended and every connection is closed or
// in TIME-WAIT. It is asked only when everything before a multiple of the quantum has happened and nothing after, so that
// the answer does not depend on the clock or the split.
func (l *lab) over() bool {
	for _, e := range l.waiting {
		if in := e.GetInput(); in.GetFault() == nil && in.GetClearFault() == nil && in.GetInterrupt() == nil {
			return false
		}
	}
	return !l.busy() && !l.connected()
}

// next is a time that no event of the lab precedes.
func (l *lab) next() sim.Time {
	if l.split != nil {
		return l.split.next
	}
	return l.net.Next()
}

// busy reports whether anything that an input started still runs.
func (l *lab) busy() bool {
	if l.split != nil {
		return l.split.busy
	}
	return l.net.Busy()
}

// connected reports whether a connection is neither closed nor in TIME-WAIT.
func (l *lab) connected() bool {
	if l.split != nil {
		return l.split.connected
	}
	return l.net.Connected()
}

func (l *lab) finishRun(at sim.Time) error {
	if err := l.x.window(at); err != nil {
		return err
	}
	if l.req.GetEndNs() == 0 && l.next() != sim.Never && !l.over() {
		return fmt.Errorf("the workload has not ended within %v of lab time", maxRunTime.Duration())
	}
	l.end(at)
	return nil
}

// applyAt brings all loops to t and applies the inputs of that time.
func (l *lab) applyAt(t sim.Time) error {
	if err := l.x.window(t); err != nil {
		return err
	}
	l.lookAfter(t)
	if err := l.files.advance(t); err != nil {
		return err
	}
	l.untold = true
	for len(l.waiting) > 0 && sim.Time(l.waiting[0].GetTNs()) == t {
		e := l.waiting[0]
		l.waiting = l.waiting[1:]
		if err := guard(func() error { l.net.Apply(e); return nil }); err != nil {
			return err
		}
		if e.GetInput().GetApply() != nil {
			if err := l.changed(); err != nil {
				return err
			}
		}
		if _, interrupt := e.GetInput().GetKind().(*labv1.Input_Interrupt); interrupt {
			l.partial = true
			l.end(t)
			return nil
		}
	}
	return l.x.ship() // what leaves for other shards goes with the next message
}

// limit is how far a window that begins at a time may go: not past upTo, which is what the clock allows, nor an input, nor
// where the run's end is looked for.
func (l *lab) limit(at, upTo sim.Time) sim.Time {
	limit := upTo
	if len(l.waiting) > 0 {
		limit = min(limit, sim.Time(l.waiting[0].GetTNs()))
	}
	if hold, held := l.stamps.hold(); held {
		limit = min(limit, hold)
	}
	if l.standing() {
		return limit
	}
	if end := sim.Time(l.req.GetEndNs()); end > 0 {
		return min(limit, end)
	}
	return min(limit, (at/quantum+1)*quantum)
}

// asleep says that a standing lab on the virtual clock has nothing to pass time for.
func (l *lab) asleep() bool {
	replaying := l.rebuilding || l.split != nil && l.split.replaying
	return l.standing() && l.onVirtual() && !replaying && len(l.waiting) == 0 && !l.busy()
}

// onVirtual says that the lab's clock is the virtual one, in whichever shard it is.
func (l *lab) onVirtual() bool { return l.req.GetSpec().GetClock() != labv1.Clock_CLOCK_REAL }
