package sim

import (
	"errors"
	"testing"
)

type handlerFunc func(now Time)

func (f handlerFunc) Fire(now Time) { f(now) }

// log is a loop with timers that write down when they fire.
type log struct {
	*Loop
	fired []Time
}

func newLog() *log { return &log{Loop: NewLoop(LoopConfig{Name: "test"})} }

func (g *log) timer() *Timer {
	return &Timer{H: handlerFunc(func(now Time) { g.fired = append(g.fired, now) })}
}

func (g *log) run(t *testing.T, end Time) {
	t.Helper()
	if err := g.RunBefore(end); err != nil {
		t.Fatal(err)
	}
}

func (g *log) want(t *testing.T, want ...Time) {
	t.Helper()
	if len(g.fired) != len(want) {
		t.Fatalf("fired at %v, want %v", g.fired, want)
	}
	for i := range want {
		if g.fired[i] != want[i] {
			t.Fatalf("fired at %v, want %v", g.fired, want)
		}
	}
	g.fired = nil
}

// "A run to time T stops inside a slot exactly at T."
func TestRunStopsInsideASlot(t *testing.T) {
	g, src := newLog(), &Source{ID: 1}
	for _, at := range []Time{100, 101, 102} {
		g.Arm(g.timer(), src, at)
	}
	g.run(t, 101)
	g.want(t, 100)
	if g.Now() != 101 {
		t.Fatalf("now %v, want 101", g.Now())
	}
	// An input at 101 arms timers in the slot that is already being run.
	g.Arm(g.timer(), &Source{ID: 9}, 101)
	g.Arm(g.timer(), &Source{ID: 9}, 500)
	g.run(t, 1000)
	g.want(t, 101, 101, 102, 500)
}

// "The early wake is no event and takes no sequence number."
func TestEarlyWakeIsNoEvent(t *testing.T) {
	g, src := newLog(), &Source{ID: 1}
	tm := g.timer()
	for i := range 100 {
		g.Arm(tm, src, Time(10*Millisecond+Time(i)*Millisecond))
	}
	g.run(t, Second)
	g.want(t, 109*Millisecond)
	if g.Events() != 1 || src.Seq != 100 {
		t.Fatalf("%d events, sequence %d, want 1 and 100", g.Events(), src.Seq)
	}
}

// A timer whose wake lies ahead of the loop's time pulls the wheel there; what is armed before it still runs in order.
func TestArmingBehindTheWheel(t *testing.T) {
	g, src := newLog(), &Source{ID: 1}
	early := g.timer()
	g.Arm(early, src, Second)
	g.Arm(early, src, Never)
	g.run(t, Never)
	g.Arm(g.timer(), src, 3*Millisecond)
	g.Arm(g.timer(), src, 2*Second)
	g.Arm(g.timer(), src, 2*Millisecond)
	g.run(t, Never)
	g.want(t, 2*Millisecond, 3*Millisecond, 2*Second)
}

// Timers beyond the wheel's range wait outside it.
func TestBeyondTheRange(t *testing.T) {
	g, src := newLog(), &Source{ID: 1}
	const day = 86400 * Second
	far := g.timer()
	g.Arm(far, src, 100*day)
	g.Arm(g.timer(), src, 1000*day)
	stopped := g.timer()
	g.Arm(stopped, src, 50*day)
	g.Stop(stopped)
	if stopped.Armed() || !far.Armed() || g.Armed() != 2 || g.Next() > 100*day {
		t.Fatalf("stopped %v, far %v, %d armed, next %v", stopped.Armed(), far.Armed(), g.Armed(), g.Next())
	}
	g.run(t, 100*day)
	g.want(t)
	g.run(t, 100*day+1)
	g.want(t, 100*day)
	g.run(t, 2000*day)
	g.want(t, 1000*day)
	if g.Next() != Never {
		t.Fatalf("next %v, want never", g.Next())
	}
}

// A slot with thousands of timers is sorted in time that does not grow with their square.
func TestCrowdedSlot(t *testing.T) {
	l := NewLoop(LoopConfig{})
	const n = 200_000
	dice := NewStream(1, "crowd")
	last := Key{At: -1}
	src := Source{ID: 1}
	timers := make([]Timer, n)
	for i := range timers {
		k := Key{At: 5*Millisecond + Time(dice.Below(uint64(i), 1000)), Origin: Origin(1 + i%7), Seq: src.Next()}
		timers[i].H = handlerFunc(func(now Time) {
			if k.Before(last) || now != k.At {
				t.Fatalf("%v ran after %v", k, last)
			}
			last = k
		})
		l.ArmKey(&timers[i], k)
	}
	if err := l.RunBefore(Second); err != nil || l.Events() != n {
		t.Fatalf("%d events, want %d (%v)", l.Events(), n, err)
	}
}

func TestArmingInThePastPanics(t *testing.T) {
	g, src := newLog(), &Source{ID: 1}
	g.run(t, 10)
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	g.Arm(g.timer(), src, 9)
}

// storm re-arms itself, step by step.
type storm struct {
	Timer
	l    *Loop
	src  Source
	step Time
}

func newStorm(l *Loop, id Origin, step Time) *storm {
	s := &storm{l: l, src: Source{ID: id}, step: step}
	s.H = s
	l.Arm(&s.Timer, &s.src, 0)
	return s
}

func (s *storm) Fire(now Time) { s.l.Arm(&s.Timer, &s.src, now+s.step) }

// "An event budget per lab and per simulated second stops storms with an error that names the loop."
func TestBudget(t *testing.T) {
	for _, c := range []struct {
		name   string
		budget Budget
		step   Time
		end    Time
		fails  bool
		second bool
	}{
		{"a storm at one instant", Budget{PerSecond: 10_000}, 0, Second, true, true},
		{"within the second's", Budget{PerSecond: 11_000}, 100 * Microsecond, 20 * Second, false, false},
		{"beyond the second's", Budget{PerSecond: 9_000}, 100 * Microsecond, 20 * Second, true, true},
		{"beyond the lab's", Budget{PerLab: 50_000}, 100 * Microsecond, 20 * Second, true, false},
		{"within the lab's", Budget{PerLab: 500_000}, 100 * Microsecond, 20 * Second, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := NewLoop(LoopConfig{Name: "loop-3", Budget: c.budget})
			newStorm(l, 7, c.step)
			newStorm(l, 8, 100*Millisecond)
			err := l.RunBefore(c.end)
			var be *BudgetError
			if !c.fails {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.As(err, &be) {
				t.Fatalf("error %v, want a BudgetError", err)
			}
			if be.Loop != "loop-3" || be.Busiest != 7 || be.Share < 0.9 || be.PerSecond != c.second {
				t.Fatalf("%+v", be)
			}
			if limit := max(c.budget.PerLab, c.budget.PerSecond); be.Limit != limit || l.Events() > 2*limit {
				t.Fatalf("limit %d, want %d; %d events ran", be.Limit, limit, l.Events())
			}
		})
	}
}

// Zero allocations per event in steady state.
func TestEventsDoNotAllocate(t *testing.T) {
	l := NewLoop(LoopConfig{})
	for i := range 1000 {
		newStorm(l, Origin(i+1), Time(1000+i*37))
	}
	end := Time(0)
	run := func() {
		end += Millisecond
		if err := l.RunBefore(end); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// BenchmarkEvent is one event that arms the next: with few and many timers, near and far.
func BenchmarkEvent(b *testing.B) {
	for _, c := range []struct {
		name   string
		timers int
		step   Time
	}{
		{"1-timer-12us", 1, 12 * Microsecond},
		{"16-timers-12us", 16, 12 * Microsecond},
		{"1000-timers-1ms", 1000, Millisecond},
		{"10000-timers-40ms", 10_000, 40 * Millisecond},
	} {
		b.Run(c.name, func(b *testing.B) {
			l := NewLoop(LoopConfig{})
			for i := range c.timers {
				s := newStorm(l, Origin(i+1), c.step+Time(i*7919%10007))
				l.Arm(&s.Timer, &s.src, Time(i)*c.step/Time(c.timers))
			}
			b.ReportAllocs()
			b.ResetTimer()
			for l.Events() < uint64(b.N) {
				if err := l.RunBefore(l.Now() + c.step); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMove is a timer that is moved later at each event, as a retransmission timer is.
func BenchmarkMove(b *testing.B) {
	l := NewLoop(LoopConfig{})
	src, tm := Source{ID: 1}, Timer{H: handlerFunc(func(Time) {})}
	for i := range b.N {
		l.Arm(&tm, &src, 200*Millisecond+Time(i))
	}
}
