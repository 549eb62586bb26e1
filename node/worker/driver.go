package worker

import (
	"container/heap"
	"math"
	"runtime"
	"sync"
	"time"

	"labd.dev/sim"
)

// Labs on the real clock that have little to do at a time are driven together: one thread waits for whichever is due next, and
// passes its time itself. So none of them waits for the Go scheduler, which knows no priorities, and no more than one thread
// sits in the kernel with a processor of the scheduler's, for the end of a wait. A lab that takes more than its part goes back
// to a goroutine of its own. What a lab computes does not depend on who drives it.

const (
	// patience is by how much a lab may be late before the next driver takes it: the ones before are held up, by a disk or a
	// long window of another lab.
	patience = time.Millisecond
	// drivenSlice bounds how much lab time a driven lab makes up for at once: of a flood it is a few milliseconds' work.
	drivenSlice = 50 * sim.Microsecond
	// drivenShare is the part of a core that a driven lab may take, and drivenBurst how far it may be ahead of that.
	drivenShare = 8
	drivenBurst = 3 * time.Millisecond
	// drivenNot is for how long a lab that has taken more drives itself.
	drivenNot = time.Second
	// leastDrivers is one to drive and one to go on when it is held up.
	leastDrivers = 2
)

// goCores is how many cores the Go scheduler was given when the first worker began.
var goCores = sync.OnceValue(func() int { return runtime.GOMAXPROCS(0) })

// spareProcessor gives the Go scheduler one processor more than that, so that a driver that comes back from the kernel finds one
// that no lab with a turn has.
var spareProcessor = sync.OnceFunc(func() { runtime.GOMAXPROCS(goCores() + 1) })

// drivers pass the time of labs that keep up with the real clock. Any goroutine may call them.
type drivers struct {
	began time.Time
	wall  func() sim.WallClock // makes their clocks; nil: the system's
	n     int
	ended sync.WaitGroup

	mu      sync.Mutex // guards all below, and what seats and drivers say is guarded by it
	started []*driver  // with the first lab that rides
	seats   seats
	closed  bool
}

// driver is one thread's part.
type driver struct {
	clock    sim.WallClock
	patience time.Duration // it takes labs that are so late
	until    time.Duration // it sleeps till then; 0: it does not. Guarded by the drivers
}

// seat is a lab's place with the drivers. What is not run is guarded by the drivers.
type seat struct {
	run    func() (left time.Duration, again bool) // passes its time once; what is left until it is due again
	due    time.Duration                           // since the drivers began
	index  int                                     // among the seats, plus one; 0: it is not there
	called bool                                    // it is wanted in its own goroutine
	back   chan struct{}                           // holds a token when it may go on there
}

func newSeat(run func() (time.Duration, bool)) *seat {
	return &seat{run: run, back: make(chan struct{}, 1)}
}

func newDrivers(n int, wall func() sim.WallClock) *drivers {
	return &drivers{began: time.Now(), n: max(n, leastDrivers), wall: wall}
}

// start starts the drivers. The caller holds the lock.
func (d *drivers) start() {
	spareProcessor()
	for i := range d.n {
		t := &driver{patience: time.Duration(i) * patience}
		switch {
		case d.wall != nil:
			t.clock = d.wall()
		case i == 0:
			t.clock = sim.SystemClock()
		default:
			t.clock = sim.TimerClock()
		}
		d.started = append(d.started, t)
		d.ended.Go(func() {
			if i == 0 {
				runtime.LockOSThread() // for good: the thread ends with the goroutine, as nobody else is to be preferred
				preferThread()
			}
			d.drive(t)
		})
	}
}

// close ends the drivers. No lab rides, nor will.
func (d *drivers) close() {
	d.mu.Lock()
	d.closed = true
	for _, t := range d.started {
		t.clock.Interrupt()
	}
	d.mu.Unlock()
	d.ended.Wait()
	for _, t := range d.started {
		t.clock.Close()
	}
}

func (d *drivers) now() time.Duration { return time.Since(d.began) }

// ride has the drivers run a lab that is due after left, until it does not want to any more or is called.
func (d *drivers) ride(s *seat, left time.Duration) {
	d.mu.Lock()
	if s.called {
		s.called = false
		d.mu.Unlock()
		return
	}
	if d.started == nil {
		d.start()
	}
	d.add(s, left)
	d.mu.Unlock()
	<-s.back
}

// call has a lab that rides, or is about to, come back.
func (d *drivers) call(s *seat) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.index == 0 {
		s.called = true
		return
	}
	heap.Remove(&d.seats, s.index-1)
	s.back <- struct{}{}
}

// add seats a lab. The caller holds the lock.
func (d *drivers) add(s *seat, left time.Duration) {
	s.due = d.now() + min(left, math.MaxInt64/2)
	heap.Push(&d.seats, s)
	if s.index != 1 {
		return
	}
	for _, t := range d.started {
		if t.until > s.due+t.patience {
			t.until = 0
			t.clock.Interrupt()
		}
	}
}

// drive runs labs as they become due.
func (d *drivers) drive(t *driver) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.closed {
		wait := time.Duration(math.MaxInt64)
		if len(d.seats) > 0 {
			wait = d.seats[0].due + t.patience - d.now()
		}
		if wait > 0 {
			t.until = math.MaxInt64
			if len(d.seats) > 0 {
				t.until = d.seats[0].due + t.patience
			}
			d.mu.Unlock()
			t.clock.Sleep(wait)
			d.mu.Lock()
			t.until = 0
			continue
		}
		s := heap.Pop(&d.seats).(*seat)
		d.mu.Unlock()
		left, again := s.run()
		d.mu.Lock()
		if again && !s.called {
			d.add(s, left)
			continue
		}
		s.called = false
		s.back <- struct{}{}
	}
}

// seats is a heap by due.
type seats []*seat

func (h seats) Len() int           { return len(h) }
func (h seats) Less(i, j int) bool { return h[i].due < h[j].due }
func (h seats) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

func (h *seats) Push(s any) {
	*h = append(*h, s.(*seat))
	s.(*seat).index = len(*h)
}

func (h *seats) Pop() any {
	last := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = nil
	*h = (*h)[:len(*h)-1]
	last.index = 0
	return last
}
