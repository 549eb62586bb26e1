package sim

import (
	"sync/atomic"
	"time"
)

// The pacer is where lab time meets wall time, the one file group of this package that may touch the outside. It decides
// nothing in a lab: only when an event runs by the wall, never which or in what order.

// DefaultCatchUp is how much wall time a lab makes up for after a stall; what it is late beyond that is given up, so that
// a laptop that slept an hour does not replay the hour in a burst.
const DefaultCatchUp = 50 * time.Millisecond

// Bounds of the pace: a nanosecond of lab time may take a millisecond, or the reverse.
const (
	minPace = 1e-6
	maxPace = 1e6
)

// WallClock is the wall's time and how to wait for it.
type WallClock interface {
	// Now is monotonic, from an arbitrary beginning.
	Now() time.Duration
	// Sleep waits so long, or until Interrupt. It may return early.
	Sleep(d time.Duration)
	// Interrupt, called by any goroutine, ends the present Sleep, or else the next.
	Interrupt()
	// Close frees what the clock holds. Nothing is called after it.
	Close()
}

// PacerConfig configures a Pacer; the zero value runs in real time.
type PacerConfig struct {
	Pace    float64       // lab seconds in a wall second; 0: 1; slow motion below 1
	CatchUp time.Duration // 0: DefaultCatchUp
	Clock   WallClock     // nil: the system's; the pacer closes it
}

// SystemClock is the best clock that the system has.
func SystemClock() WallClock { return newWallClock() }

// TimerClock is a clock that is right to about a millisecond, and holds nothing of the kernel's.
func TimerClock() WallClock { return newTimerClock() }

// Pacer holds the events of a lab until their wall time. One goroutine calls Wait, Due, SetPace and Restart; any may call
// Wake and read Lag, Worst and Slip.
//
// The owner's round: Wait(time of the next event); if it was woken, see to the inputs; else run all events up to Due.
type Pacer struct {
	clock   WallClock
	catchUp time.Duration
	pace    float64

	// At the anchor, lab time anchorLab was due at wall time anchorWall.
	anchorLab  Time
	anchorWall time.Duration

	woken            atomic.Bool
	lag, worst, slip atomic.Int64 // wall ns
}

// NewPacer makes a pacer for which lab time at is due now.
func NewPacer(cfg PacerConfig, at Time) *Pacer {
	p := &Pacer{clock: cfg.Clock, catchUp: cfg.CatchUp, pace: clampPace(cfg.Pace)}
	if p.clock == nil {
		p.clock = SystemClock()
	}
	if p.catchUp <= 0 {
		p.catchUp = DefaultCatchUp
	}
	p.Restart(at)
	return p
}

func clampPace(pace float64) float64 {
	if !(pace > 0) {
		return 1
	}
	return min(max(pace, minPace), maxPace)
}

// Restart makes lab time at due now, after a pause.
func (p *Pacer) Restart(at Time) { p.anchorLab, p.anchorWall = at, p.clock.Now() }

// SetPace changes the pace from now on.
func (p *Pacer) SetPace(pace float64) {
	p.Restart(p.Due())
	p.pace = clampPace(pace)
}

// Pace is the lab seconds in a wall second.
func (p *Pacer) Pace() float64 { return p.pace }

// Due is the lab time whose wall time it is now.
func (p *Pacer) Due() Time {
	lab := float64(p.clock.Now()-p.anchorWall) * p.pace
	if lab >= float64(Never-p.anchorLab) {
		return Never - 1
	}
	return p.anchorLab + Time(lab)
}

// wall is how much wall time a span of lab time takes.
func (p *Pacer) wall(span Time) time.Duration {
	w := float64(span) / p.pace
	if w >= float64(Never) {
		return time.Duration(Never)
	}
	return time.Duration(w)
}

// Wait sleeps until the wall time of lab time next has come (with Never: until it is woken) and reports true; or reports
// false at once when Wake is called, or was since the last Wait. If next is overdue by more than the catch-up, the anchor
// slips, so that lab time goes on from where it was.
func (p *Pacer) Wait(next Time) bool {
	for {
		if p.woken.Swap(false) {
			return false
		}
		left := p.Left(next)
		if left <= 0 {
			p.late(-left)
			return true
		}
		p.clock.Sleep(left)
	}
}

// Left is the wall time that is left until lab time at is due; it is overdue where that is negative.
func (p *Pacer) Left(at Time) time.Duration {
	if at == Never {
		return time.Duration(Never)
	}
	return p.wall(at-p.anchorLab) - (p.clock.Now() - p.anchorWall)
}

// Begin is for an owner who has waited for the wall time of lab time at by other means than Wait: it notes what Wait would.
func (p *Pacer) Begin(at Time) { p.late(max(0, -p.Left(at))) }

// late notes how much later than its wall time an event runs.
func (p *Pacer) late(by time.Duration) {
	p.lag.Store(int64(by))
	if int64(by) > p.worst.Load() {
		p.worst.Store(int64(by))
	}
	if over := by - p.catchUp; over > 0 {
		p.anchorWall += over
		p.slip.Add(int64(over))
	}
}

// Wake makes the present Wait, or the next, return false: there is an input to see to, or an end.
func (p *Pacer) Wake() {
	p.woken.Store(true)
	p.clock.Interrupt()
}

// Lag is how much later than its wall time the last event ran that Wait let go, in wall time.
func (p *Pacer) Lag() time.Duration { return time.Duration(p.lag.Load()) }

// Worst is the greatest Lag so far.
func (p *Pacer) Worst() time.Duration { return time.Duration(p.worst.Load()) }

// Slip is the wall time that has been given up in all, because it could not be caught up.
func (p *Pacer) Slip() time.Duration { return time.Duration(p.slip.Load()) }

// Close frees the clock. No Wait may be under way, and no Wake may follow.
func (p *Pacer) Close() { p.clock.Close() }
