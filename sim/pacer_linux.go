package sim

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// fineSpan is the end of a wait that is left to the thread: more than the millisecond by which the Go runtime's timers
// are late in an idle process.
const fineSpan = 2 * time.Millisecond

// threadClock waits coarsely by the runtime's timer and finishes in a thread of its own, whose timer slack is 1 ns. The
// thread waits in ppoll for the time or for a byte in an eventfd, so that it neither spins nor needs to be waited for.
type threadClock struct {
	*timerClock
	event    int // eventfd
	requests chan time.Duration
	done     chan struct{}
}

// newWallClock falls back to the portable clock where the process may open no more files.
func newWallClock() WallClock {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return newTimerClock()
	}
	c := &threadClock{
		timerClock: newTimerClock(), event: fd, requests: make(chan time.Duration), done: make(chan struct{}),
	}
	go c.thread()
	return c
}

func (c *threadClock) thread() {
	// Never unlocked: the thread, with the slack set on it, ends with the goroutine.
	runtime.LockOSThread()
	// Without it (a sandbox may forbid prctl) the kernel adds 50 us to each wait.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	fds := []unix.PollFd{{Fd: int32(c.event), Events: unix.POLLIN}}
	for d := range c.requests {
		ts := unix.NsecToTimespec(int64(d))
		// Any error, a signal for one, only ends the wait early.
		_, _ = unix.Ppoll(fds, &ts, nil)
		c.done <- struct{}{}
	}
	close(c.done)
}

func (c *threadClock) Sleep(d time.Duration) {
	if d > fineSpan {
		c.timerClock.Sleep(d - fineSpan)
		return
	}
	c.requests <- d
	select {
	case <-c.done:
	case <-c.wake:
		c.poke()
		<-c.done
		c.drain()
	}
}

// poke ends the thread's wait.
func (c *threadClock) poke() { _, _ = unix.Write(c.event, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (c *threadClock) drain() {
	var b [8]byte
	_, _ = unix.Read(c.event, b[:])
}

func (c *threadClock) Close() {
	c.timerClock.Close()
	close(c.requests)
	<-c.done
	_ = unix.Close(c.event)
}
