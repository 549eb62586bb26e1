package sim

import (
	"sync/atomic"
	"testing"
	"time"
)

// fakeWall is a wall clock that only Sleep moves.
type fakeWall struct {
	now    time.Duration
	slept  []time.Duration
	over   time.Duration // each sleep takes so much longer
	during func()        // runs within the next sleep
	halves bool          // sleeps end early
}

func (f *fakeWall) Now() time.Duration { return f.now }
func (f *fakeWall) Interrupt()         {}
func (f *fakeWall) Close()             {}
func (f *fakeWall) Sleep(d time.Duration) {
	f.slept = append(f.slept, d)
	if during := f.during; during != nil {
		f.during = nil
		during()
		return
	}
	if f.halves {
		d = (d + 1) / 2
	}
	f.now += d + f.over
}

func wantDue(t *testing.T, p *Pacer, want Time) {
	t.Helper()
	if got := p.Due(); got != want {
		t.Errorf("due %v, want %v", got, want)
	}
}

func wantWait(t *testing.T, p *Pacer, next Time, want bool) {
	t.Helper()
	if got := p.Wait(next); got != want {
		t.Errorf("Wait(%v) = %v, want %v", next, got, want)
	}
}

func TestPaceStretchesTime(t *testing.T) {
	for _, c := range []struct {
		pace float64
		wall time.Duration // of a lab second
	}{{0, time.Second}, {1, time.Second}, {0.1, 10 * time.Second}, {4, 250 * time.Millisecond}} {
		w := &fakeWall{now: time.Hour, halves: true}
		p := NewPacer(PacerConfig{Pace: c.pace, Clock: w}, 5*Second)
		wantDue(t, p, 5*Second)
		wantWait(t, p, 6*Second, true)
		if w.now != time.Hour+c.wall || p.Lag() != 0 {
			t.Errorf("pace %v: %v of wall time, lag %v, want %v", c.pace, w.now-time.Hour, p.Lag(), c.wall)
		}
		wantDue(t, p, 6*Second)
	}
}

// An idle lab sleeps in one piece; an input wakes it, and lab time has gone on meanwhile.
func TestWake(t *testing.T) {
	w := &fakeWall{}
	p := NewPacer(PacerConfig{Clock: w}, 0)
	w.during = func() { w.now += 3 * time.Second; p.Wake() }
	wantWait(t, p, Never, false)
	wantDue(t, p, 3*Second)
	if len(w.slept) != 1 || p.Slip() != 0 {
		t.Errorf("slept %v, slip %v; want one sleep, no slip", w.slept, p.Slip())
	}
	// A wake between two waits is not lost, and counts once.
	p.Wake()
	p.Wake()
	wantWait(t, p, 4*Second, false)
	wantWait(t, p, 4*Second, true)
}

// "It catches up by at most 50 ms, beyond that the anchor slips and the slip is counted and shown."
func TestStall(t *testing.T) {
	w := &fakeWall{}
	p := NewPacer(PacerConfig{Clock: w}, 0)
	w.over = 30 * time.Millisecond
	wantWait(t, p, Second, true)
	wantDue(t, p, Second+30*Millisecond) // caught up
	if p.Lag() != 30*time.Millisecond || p.Slip() != 0 {
		t.Errorf("lag %v, slip %v; want 30ms and 0", p.Lag(), p.Slip())
	}
	w.over = 2 * time.Second
	wantWait(t, p, 2*Second, true)
	wantDue(t, p, 2*Second+50*Millisecond)
	if p.Lag() != 2*time.Second || p.Slip() != 1950*time.Millisecond {
		t.Errorf("lag %v, slip %v; want 2s and 1.95s", p.Lag(), p.Slip())
	}
	// A lab that cannot keep up slips on, and never runs more than 50 ms of lab time at a time.
	w.over = 0
	for range 10 {
		next := p.Due() + 1
		w.now += 80 * time.Millisecond // the run took so long
		wantWait(t, p, next, true)
		wantDue(t, p, next+50*Millisecond)
	}
	if p.Worst() != 2*time.Second {
		t.Errorf("worst lag %v, want 2s", p.Worst())
	}
}

func TestSetPace(t *testing.T) {
	w := &fakeWall{}
	p := NewPacer(PacerConfig{Clock: w}, 0)
	w.now = time.Second
	p.SetPace(0.5)
	w.now += time.Second
	wantDue(t, p, 1500*Millisecond)
	w.now += time.Hour
	p.Restart(1500 * Millisecond)
	wantDue(t, p, 1500*Millisecond)
}

// The system's clock wakes when asked to, from another goroutine, and does not wait much beyond its time. (How close it
// comes is measured by BenchmarkPacerPrecision: a busy host may be late by any amount.)
func TestWallClock(t *testing.T) {
	for _, c := range []struct {
		name  string
		clock WallClock
	}{{"system", newWallClock()}, {"portable", newTimerClock()}} {
		t.Run(c.name, func(t *testing.T) {
			p := NewPacer(PacerConfig{Clock: c.clock}, 0)
			defer p.Close()
			for _, d := range []Time{300 * Microsecond, 3 * Millisecond} {
				next := p.Due() + d
				wantWait(t, p, next, true)
				if due := p.Due(); due < next {
					t.Errorf("woke at %v, before %v", due, next)
				}
			}
			for _, next := range []Time{Never, p.Due() + Second, p.Due() + 1500*Microsecond} {
				var woke atomic.Bool
				go func() { woke.Store(true); p.Wake() }()
				for p.Wait(next) { // the last may be reached before the wake
					next = Never
				}
				if !woke.Load() {
					t.Error("returned without a wake")
				}
			}
		})
	}
}

// BenchmarkPacerPrecision reports how late waits of 700 us end, on average.
func BenchmarkPacerPrecision(b *testing.B) {
	p := NewPacer(PacerConfig{}, 0)
	defer p.Close()
	var late time.Duration
	for range b.N {
		p.Wait(p.Due() + 700*Microsecond)
		late += p.Lag()
	}
	b.ReportMetric(float64(late.Nanoseconds())/float64(b.N), "late-ns")
}
