package worker

import (
	"runtime"
	"sync"
)

// background runs what labs do in turns in threads of its own, which the kernel lets run only when those of labs that keep
// up with the real clock have nothing to do. Any goroutine may call it.
type background struct {
	work  chan func()
	ended sync.WaitGroup

	mu      sync.Mutex // guards all below
	most    int
	threads int // started
	idle    int // of them, not taken
	closed  bool
}

func newBackground(most int) *background { return &background{most: most, work: make(chan func())} }

// run runs f in such a thread and waits for it. Where all are taken, or there are none, it runs here.
func (b *background) run(f func()) {
	if !b.take() {
		f()
		return
	}
	done := make(chan struct{})
	b.work <- func() {
		defer close(done)
		f()
	}
	<-done
	b.mu.Lock()
	b.idle++
	b.mu.Unlock()
}

// take takes a thread, and starts one if need be.
func (b *background) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return false
	case b.idle > 0:
		b.idle--
	case b.threads < b.most:
		b.threads++
		b.ended.Go(b.serve)
	default:
		return false
	}
	return true
}

func (b *background) serve() {
	// It is never unlocked: the thread ends with the goroutine, as its priority cannot be raised again without a privilege.
	runtime.LockOSThread()
	yieldThread()
	for f := range b.work {
		f()
	}
}

// close ends the threads, once nothing runs in them.
func (b *background) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	close(b.work)
	b.ended.Wait()
}

// yields tells whether what can wait is run in the background: there are labs that keep up with the real clock.
func (s *share) yields() bool { return s.low != nil && s.anyPaced() }

// yielding runs f, in the background if that is where it belongs. It must not panic.
func (s *share) yielding(f func()) {
	if !s.yields() {
		f()
		return
	}
	s.low.run(f)
}

// stepInTurn takes steps as long as the lab's turn lasts, in the background while there are labs that keep up with the real clock.
func (l *lab) stepInTurn() (err error) {
	s := l.place.share
	if rank, asks := l.rank(); !l.asking || !asks || rank != inBatch || !s.yields() || !l.place.holds() {
		return guard(l.step)
	}
	s.low.run(func() {
		l.x.alone = true
		defer func() { l.x.alone = false }()
		for {
			if err = guard(l.step); err != nil || !s.yields() || !l.goesOn() {
				return
			}
		}
	})
	return err
}

// goesOn tells whether the lab has its turn still, and something to do with it at once.
func (l *lab) goesOn() bool {
	select {
	case <-l.quit:
		return false
	default:
	}
	if l.ended || len(l.calls) > 0 || l.control.paused || !l.tenure.holds() || !l.place.holds() || !l.rebuilding && l.isBounded() {
		return false
	}
	at, _ := l.upcoming()
	return l.rebuilding || at <= l.clock.now() || l.clock.virtual() && at < forEver
}
