package worker

import (
	"labd.dev/node/exchange"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// direct decides, at the head, whether a round may begin, and how far it may go. Where it may not yet, it waits for the
// wall clock or answers a call.
func (s *split) direct() (limit sim.Time, flags uint8, ok bool) {
	l := s.l
	if l.rebuilding && l.x.now() >= l.replayTo && !l.due() && len(s.fresh) == 0 {
		l.rebuilt()
	}
	switch {
	case s.stopping:
		return l.x.now(), exchange.FlagStop, true
	case l.rebuilding:
		l.recovery.at(l.x.now())
		return max(l.replayTo, l.x.now()), exchange.FlagReplaying, true
	case l.control.paused:
		limit, ok = s.directPaused()
	case len(s.fresh) > 0, !s.known:
		limit, ok = s.reach(l.x.now()), true
	default:
		limit, ok = s.directRunning()
	}
	if hold, held := l.stamps.hold(); held {
		limit = min(limit, hold)
	}
	return limit, 0, ok
}

// committed has an input go to all shards with the next message.
func (s *split) committed(e *labv1.JournalEntry) {
	s.fresh = append(s.fresh, e)
	s.part.Here(s.l.plan) // who comes lives where its neighbours do, and may bring links over the cut
	s.moved = s.holds(s.l.journal)
}

// reach is how far a round may go that begins at a time whose turn has come.
func (s *split) reach(at sim.Time) sim.Time {
	if s.l.clock.virtual() {
		return forEver
	}
	return s.l.clock.reach(at)
}

// directRunning waits until the next thing's time has come. What that is is known.
func (s *split) directRunning() (limit sim.Time, ok bool) {
	l := s.l
	at, _ := l.nextStop()
	if hold, held := l.stamps.hold(); held && at >= hold || l.asleep() || at == sim.Never {
		// Until the input is committed or abandoned, or there is something to pass time for.
		s.idle()
		return 0, false
	}
	if !l.clock.virtual() && !l.wait(at) {
		return 0, false
	}
	return s.reach(at), true
}

// directPaused lets a paused lab take its steps.
func (s *split) directPaused() (limit sim.Time, ok bool) {
	l := s.l
	now := l.x.now()
	if !s.known || len(s.fresh) > 0 || now < s.pausedAt {
		return max(now, s.pausedAt), true
	}
	at, _ := l.nextStop()
	limit, stepping := l.stepTo(at)
	if hold, held := l.stamps.hold(); !stepping || held && min(at, limit) >= hold {
		s.idle()
		return 0, false
	}
	return limit, true
}
