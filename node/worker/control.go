package worker

import (
	"context"
	"fmt"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
)

// Bounds of what may be asked of a clock.
const (
	minPace       = 1e-6 // sim.Pacer's
	maxPace       = 1e6
	maxStepNs     = int64(maxRunTime)
	maxStepEvents = 1_000_000_000
	// maxSteps is how many steps are remembered, so that one whose answer was lost is not taken twice.
	maxSteps = 64
)

// control is what somebody has asked of a lab's clock. It decides when by the wall the lab's events run, and not which or
// in what order: it is no input, no part of the digest, and a replay knows nothing of it.
type control struct {
	paused bool
	step   *clockStep // under way
	taken  []*clockStep
}

// clockStep passes some lab time.
type clockStep struct {
	id     string
	forNs  sim.Time // its length; 0: by events
	count  uint64   // its length, events; 0: by time
	begun  bool     // what follows is known
	to     sim.Time // where it ends; sim.Never: by events
	events uint64   // it ends when so many events have been run in all loops since the lab began; 0: by time
	from   uint64   // events run before it
	ran    uint64
	err    error
	done   chan struct{}
}

// ControlClock implements the service.
func (w *Worker) ControlClock(ctx context.Context, req *workerv1.ControlClockRequest) (*workerv1.ControlClockResponse, error) {
	l, err := w.labAt(req.GetLabId(), req.GetEpoch())
	if err != nil {
		return nil, grpcError(err)
	}
	resp := &workerv1.ControlClockResponse{}
	var step *clockStep
	err = l.do(ctx, func() (err error) {
		switch a := req.GetAction().(type) {
		case *workerv1.ControlClockRequest_Pause:
			err = l.pause()
		case *workerv1.ControlClockRequest_Resume:
			err = l.resume()
		case *workerv1.ControlClockRequest_Step:
			step, err = l.beginStep(req.GetRequestId(), a.Step)
		case *workerv1.ControlClockRequest_Pace:
			err = l.setPace(a.Pace.GetPace())
		default:
			err = fmt.Errorf("%w: nothing is asked of the clock", errBadRequest)
		}
		resp.Progress = l.progress()
		return err
	})
	if err == nil && step != nil {
		err = l.awaitStep(ctx, step, resp)
	}
	if err != nil {
		return nil, grpcError(err)
	}
	return resp, nil
}

// awaitStep waits for a step. One that nobody waits for any more is broken off where it is.
func (l *lab) awaitStep(ctx context.Context, s *clockStep, resp *workerv1.ControlClockResponse) error {
	select {
	case <-s.done:
	case <-l.done:
		return l.stopped()
	case <-l.overC:
		return l.breakStep(ctx, s, nil)
	case <-ctx.Done():
		return l.breakStep(ctx, s, ctx.Err())
	}
	if s.err != nil {
		return s.err
	}
	return l.do(ctx, func() error {
		resp.Progress, resp.Events = l.progress(), s.ran
		return nil
	})
}

// breakStep ends a step before it has got where it was to get: its lab has ended, or err.
func (l *lab) breakStep(ctx context.Context, s *clockStep, err error) error {
	return l.do(context.WithoutCancel(ctx), func() error {
		if err == nil {
			err = l.ending()
		}
		if l.control.step == s {
			l.endStep(err)
		}
		return err
	})
}

// wallTime is the lab time that it is by the wall: where the lab stands, while it is paused.
func (l *lab) wallTime() sim.Time {
	if l.control.paused {
		return l.x.now()
	}
	return l.clock.now()
}

// controllable says why the lab's clock takes no orders.
func (l *lab) controllable() error {
	switch {
	case l.ended:
		return l.ending()
	case l.split != nil && !l.split.head():
		return errNotHead
	case l.rebuilding:
		return fmt.Errorf("%w: the lab is being rebuilt", errRefused)
	}
	return nil
}

// pause stops lab time where the wall clock has brought it: events before that have been run.
func (l *lab) pause() error {
	if err := l.controllable(); err != nil || l.control.paused {
		return err
	}
	if l.split != nil {
		l.split.pausedAt = l.passed()
		l.control.paused = true
		return nil
	}
	// On the real clock idle time has passed too; the loops are brought there, where nothing is left to run.
	if now := l.passed(); now > l.x.now() {
		if err := l.advance(now); err != nil {
			return err
		}
	}
	l.control.paused = true
	return nil
}

// resume lets lab time go on from where it is.
func (l *lab) resume() error {
	if err := l.controllable(); err != nil || !l.control.paused {
		return err
	}
	if l.control.step != nil {
		l.endStep(fmt.Errorf("%w: the lab was resumed before the step had ended", errRefused))
	}
	l.control.paused = false
	l.clock.restart(l.x.now())
	return nil
}

func (l *lab) setPace(pace float64) error {
	if err := l.controllable(); err != nil {
		return err
	}
	switch {
	case !(pace >= minPace && pace <= maxPace):
		return fmt.Errorf("%w: a pace of %g; it is between %g and %g lab seconds in a wall second", errBadRequest, pace, minPace, maxPace)
	case l.clock.virtual():
		return fmt.Errorf("%w: the lab is on the virtual clock, which goes as fast as it can; only the real clock has a pace", errRefused)
	}
	l.clock.setPace(pace)
	return nil
}

// beginStep starts a step, or finds the one that was asked for under the same id.
func (l *lab) beginStep(id string, req *labv1.StepClock) (*clockStep, error) {
	for _, s := range l.control.taken {
		if id != "" && s.id == id {
			return s, nil
		}
	}
	if err := l.controllable(); err != nil {
		return nil, err
	}
	if l.control.step != nil {
		return nil, fmt.Errorf("%w: another step is under way", errRefused)
	}
	s := &clockStep{id: id, forNs: sim.Time(req.GetForNs()), count: req.GetEvents(), done: make(chan struct{})}
	switch size := req.GetSize().(type) {
	case *labv1.StepClock_ForNs:
		if size.ForNs <= 0 || size.ForNs > maxStepNs {
			return nil, fmt.Errorf("%w: a step of %d ns; it is between 1 ns and %v", errBadRequest, size.ForNs, sim.Time(maxStepNs))
		}
	case *labv1.StepClock_Events:
		if size.Events == 0 || size.Events > maxStepEvents {
			return nil, fmt.Errorf("%w: a step of %d events; it is between 1 and %d", errBadRequest, size.Events, maxStepEvents)
		}
	default:
		return nil, fmt.Errorf("%w: how far is a step? Give a time or a number of events", errBadRequest)
	}
	if err := l.pause(); err != nil {
		return nil, err
	}
	l.control.step = s
	if l.control.taken = append(l.control.taken, s); len(l.control.taken) > maxSteps {
		l.control.taken = l.control.taken[1:]
	}
	return s, nil
}

// stepTo is how far a paused lab may go now: nowhere without a step, else to its end, or over the next event. It ends a
// step that has got there.
func (l *lab) stepTo(next sim.Time) (limit sim.Time, stepping bool) {
	s := l.control.step
	if s != nil && !s.begun {
		s.begin(l.x.now(), l.events())
	}
	switch {
	case s == nil:
		return 0, false
	case s.events == 0 && l.x.now() >= s.to, s.events > 0 && (l.events() >= s.events || next == sim.Never):
		l.endStep(nil)
		return 0, false
	case s.events == 0:
		return s.to, true
	}
	return next + 1, true
}

// stepOn does the next thing of a step, or waits to be told what to do. at is what comes next in the lab, and over that
// it is the end of a run.
func (l *lab) stepOn(at sim.Time, over bool) error {
	limit, stepping := l.stepTo(at)
	hold, held := l.stamps.hold()
	switch {
	case !stepping, held && min(at, limit) >= hold:
		// Until the clock is told something, or the input is committed or abandoned.
		l.idle()
		return nil
	case at >= limit:
		at, over = limit, false // nothing is left before the step's end
	}
	if !l.withinBounds() {
		return nil
	}
	return l.pass(at, limit, over)
}

// begin fixes where the step ends, once the lab stands where it was paused.
func (s *clockStep) begin(now sim.Time, events uint64) {
	s.begun, s.from, s.to = true, events, sim.Never
	if s.forNs > 0 {
		s.to = now + s.forNs
	} else {
		s.events = events + s.count
	}
}

func (l *lab) endStep(err error) {
	s := l.control.step
	l.control.step = nil
	if s.err = err; s.begun {
		s.ran = l.events() - s.from
	}
	close(s.done)
}
