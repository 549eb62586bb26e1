package worker

import (
	"sync"
	"time"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// clock is what a lab's time is paced by: sim's pacer, or nothing.
type clock struct {
	pacer *sim.Pacer // nil: the virtual clock
	pace  float64    // lab seconds in a wall second; 0: the virtual clock

	mu     sync.Mutex // guards closed: calls wake the pacer from goroutines of their own
	closed bool
}

// newClock makes a lab's clock. Its wall is the system's unless there is another.
func newClock(spec *labv1.LabSpec, wall func() sim.WallClock) *clock {
	if spec.GetClock() != labv1.Clock_CLOCK_REAL {
		return &clock{}
	}
	conf := sim.PacerConfig{Pace: spec.GetPace()}
	if wall != nil {
		conf.Clock = wall()
	}
	c := &clock{pacer: sim.NewPacer(conf, 0), pace: spec.GetPace()}
	if c.pace == 0 {
		c.pace = 1
	}
	return c
}

// followedClock is the clock of a shard that does as the head says.
func followedClock(spec *labv1.LabSpec) *clock {
	c := &clock{}
	if spec.GetClock() == labv1.Clock_CLOCK_REAL {
		c.pace = max(spec.GetPace(), 0)
	}
	return c
}

// setPace changes the real clock's pace from now on.
func (c *clock) setPace(pace float64) {
	c.pace = pace
	c.pacer.SetPace(pace)
}

// virtual says that nothing holds events back.
func (c *clock) virtual() bool { return c.pacer == nil }

// now is the lab time whose wall time it is.
func (c *clock) now() sim.Time {
	if c.virtual() {
		return 0
	}
	return c.pacer.Due()
}

// reach is how far a window may go that begins at a time whose turn has come.
func (c *clock) reach(at sim.Time) sim.Time {
	if c.virtual() {
		return at + virtualSlice
	}
	return max(at, c.pacer.Due()) + 1
}

// restart makes lab time at due now.
func (c *clock) restart(at sim.Time) {
	if !c.virtual() {
		c.pacer.Restart(at)
	}
}

// wake ends a wait.
func (c *clock) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.virtual() && !c.closed {
		c.pacer.Wake()
	}
}

// lag tells how far lab time is behind, and how much of that has been given up.
func (c *clock) lag() (lag, slip time.Duration) {
	if c.virtual() {
		return 0, 0
	}
	return c.pacer.Lag(), c.pacer.Slip()
}

func (c *clock) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.virtual() && !c.closed {
		c.pacer.Close()
	}
	c.closed = true
}
