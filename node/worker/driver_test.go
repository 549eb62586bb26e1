package worker

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// bubbleClock is a wall clock for bubbles.
type bubbleClock struct {
	began time.Time
	wake  chan struct{}
}

func newBubbleClock() sim.WallClock { return &bubbleClock{time.Now(), make(chan struct{}, 1)} }

func (c *bubbleClock) Now() time.Duration { return time.Since(c.began) }
func (c *bubbleClock) Close()             {}

func (c *bubbleClock) Sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.wake:
	}
}

func (c *bubbleClock) Interrupt() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// told is what seats have done, in order.
type told struct {
	mu  sync.Mutex
	all []string
}

func (l *told) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, s)
}

func (l *told) want(t *testing.T, all ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.all, all) {
		t.Errorf("%q, want %q", l.all, all)
	}
}

// Whoever is due next is run next, also one that came later; who wants no more goes back.
func TestDriversRunWhoIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDrivers(1, newBubbleClock)
		var did told
		var labs sync.WaitGroup
		ride := func(name string, first, then time.Duration, times int) {
			labs.Go(func() {
				d.ride(newSeat(func() (time.Duration, bool) {
					did.add(name)
					times--
					return then, times > 0
				}), first)
				did.add(name + " back")
			})
			synctest.Wait()
		}
		ride("slow", 30*time.Millisecond, 30*time.Millisecond, 2)
		ride("quick", 10*time.Millisecond, 15*time.Millisecond, 2)
		ride("once", 0, 0, 1)
		labs.Wait()
		did.want(t, "once", "once back", "quick", "quick", "quick back", "slow", "slow", "slow back")
		d.close()
	})
}

// While one driver is held up another goes on, once the next lab has waited for as long as it may, and no earlier.
func TestDriverIsHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDrivers(2, newBubbleClock)
		held := make(chan struct{})
		var labs sync.WaitGroup
		labs.Go(func() { d.ride(newSeat(func() (time.Duration, bool) { <-held; return 0, false }), 0) })
		synctest.Wait()
		begin := time.Now()
		d.ride(newSeat(func() (time.Duration, bool) { return 0, false }), 5*time.Millisecond)
		if late := time.Since(begin) - 5*time.Millisecond; late != patience {
			t.Errorf("late by %v, want %v", late, patience)
		}
		close(held)
		labs.Wait()
		d.close()
	})
}

// A lab that is called comes back: while it waits, while it is run, and before it has sat down.
func TestDriversGiveBackWhoIsCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDrivers(1, newBubbleClock)
		begin := time.Now()
		s := newSeat(nil)
		s.run = func() (time.Duration, bool) { d.call(s); return time.Hour, true }
		d.call(s)
		d.ride(s, time.Hour) // called before
		if len(d.started) != 0 {
			t.Error("it sat down")
		}
		go d.call(s)
		d.ride(s, time.Hour)
		if time.Since(begin) != 0 {
			t.Errorf("back after %v", time.Since(begin))
		}
		s.called = false // the call may have come first
		d.ride(s, time.Second)
		if time.Since(begin) != time.Second || s.called || len(d.seats) != 0 {
			t.Errorf("called while it was run: back after %v, %d seats are taken", time.Since(begin), len(d.seats))
		}
		d.close()
	})
}

// A lab may take an eighth of a core, and for a while more; then it drives itself.
func TestWhoMayRide(t *testing.T) {
	var d driven
	now := time.Now()
	for range 1000 {
		if d.took(now, now.Add(100*time.Microsecond)) {
			t.Fatal("a tenth of a core was too much")
		}
		now = now.Add(time.Millisecond)
	}
	n := 0
	for ; !d.took(now, now.Add(time.Millisecond)); n++ {
		now = now.Add(2 * time.Millisecond)
	}
	if n < 2 || n > 10 {
		t.Errorf("half a core was too much after %d ms", n)
	}
	if !d.notTil.After(now) {
		t.Error("it may ride again at once")
	}
}

// A lab on the real clock rides while it waits for what comes next, answers all the while, and is in its own goroutine when
// nothing is to come.
func TestLabRides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.wall, b.drivers.wall = newBubbleClock, newBubbleClock
		l := b.start(standing("l", labv1.Clock_CLOCK_REAL))
		seated := func() bool {
			synctest.Wait()
			b.drivers.mu.Lock()
			defer b.drivers.mu.Unlock()
			return l.driven.seat.index > 0
		}
		b.input("l", ping("p1"))
		for range 10 {
			if !seated() {
				t.Fatal("it waits for the next request by itself")
			}
			time.Sleep(10 * time.Millisecond)
			if now := b.get("l").GetProgress().GetNowNs(); now < 10*ms {
				t.Errorf("at %d ns", now)
			}
		}
		time.Sleep(time.Minute)
		if seated() {
			t.Error("it rides though nothing is to come")
		}
		if !settled(b.get("l")) {
			t.Error("the ping has not ended")
		}
		b.input("l", ping("p2"))
		if !seated() {
			t.Error("it does not ride again")
		}
	})
}
