package worker

import (
	"time"

	"labd.dev/sim"
)

// driven is what a lab's rides with the drivers need. The lab's goroutine owns it; while the lab rides, that is in the
// drivers' hands.
type driven struct {
	seat *seat
	at   sim.Time // what is to be done when the lab is due: step's
	over bool
	err  error

	load   time.Duration // taken beyond its part of a core
	begun  time.Time     // when that was worked out last
	notTil time.Time     // until then the lab drives itself
}

// rides tells whether the lab goes with the drivers now.
func (l *lab) rides() bool {
	return l.drivers != nil && l.split == nil && len(l.x.loops) == 1 && !time.Now().Before(l.driven.notTil)
}

// ride passes the lab's time with the drivers from at on, until there is something that they do not do.
func (l *lab) ride(at sim.Time, over bool) error {
	l.driven.at, l.driven.over = at, over
	l.reach.waits(max(l.clock.now(), l.x.now()), at, l.clock.pacer.Pace())
	l.drivers.ride(l.driven.seat, l.clock.pacer.Left(at))
	l.reach.busy()
	err := l.driven.err
	l.driven.err = nil
	return err
}

// driveOnce runs the window of a lab that is due. Inputs and a run's end, which may take long, are left to the lab's goroutine, and
// so is a lab that is held back.
func (l *lab) driveOnce() (left time.Duration, again bool) {
	l.reach.busy()
	if l.driven.over || l.isBounded() || len(l.waiting) > 0 && sim.Time(l.waiting[0].GetTNs()) <= l.driven.at {
		return 0, false
	}
	begin := time.Now()
	l.clock.pacer.Begin(l.driven.at)
	l.late.note(l.clock.pacer.Lag())
	l.place.share.keptUp()
	err := guard(func() error {
		return l.pass(l.driven.at, min(l.clock.reach(l.driven.at), l.driven.at+drivenSlice), false)
	})
	if err == nil && !l.ended && l.tenure.holds() && !l.driven.took(begin, time.Now()) {
		l.driven.at, l.driven.over = l.upcoming()
		again = l.driven.at != sim.Never
	}
	if l.driven.err = err; !again {
		return 0, false
	}
	l.reach.waits(max(l.clock.now(), l.x.now()), l.driven.at, l.clock.pacer.Pace())
	return l.clock.pacer.Left(l.driven.at), true
}

// took notes what a lab has taken of a driver, and tells whether it was too much.
func (d *driven) took(from, to time.Time) bool {
	if d.begun.IsZero() {
		d.begun = from
	}
	d.load = max(0, d.load-to.Sub(d.begun)/drivenShare) + to.Sub(from)
	d.begun = to
	if d.load <= drivenBurst {
		return false
	}
	d.load = 0
	d.notTil = to.Add(drivenNot)
	return true
}
