package sim

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// fineSpan is the end of a wait that is left to the kernel: more than the millisecond by which the Go runtime's timers
	// are late in an idle process.
	fineSpan = 2 * time.Millisecond
	// maxEarly bounds by how much earlier than asked for the kernel is to wake us, and so what is spun through at a time.
	maxEarly = 150 * time.Microsecond
	// spinShare bounds what is spun through in all: a 32nd of the time. Events that lie closer are a little later for it.
	spinShare = 32
	// After a wake that came too late the next is asked for so much earlier; after one in time, so much later. Nine of ten
	// come in time then.
	earlierBy, laterBy = 9 * time.Microsecond, time.Microsecond
)

// kernelClock waits coarsely by the runtime's timer and finishes in ppoll, with a timer slack of 1 ns, for the time or for a
// byte in an eventfd. It is the waiting goroutine's own thread that polls: to be woken by another would take as long
// again as the kernel takes. What the kernel is late by is learnt, asked for in advance, and the rest of it spun through.
type kernelClock struct {
	*timerClock
	event   int         // eventfd
	polling atomic.Bool // ppoll may be under way: Interrupt has to write to event

	early  time.Duration // by which the kernel is to wake us before the time
	budget time.Duration // that may be spun through now
	paid   time.Duration // when the budget was last added to
}

// newWallClock falls back to the portable clock where the process may open no more files.
func newWallClock() WallClock {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return newTimerClock()
	}
	return &kernelClock{timerClock: newTimerClock(), event: fd}
}

func (c *kernelClock) Sleep(d time.Duration) {
	if d > fineSpan {
		c.timerClock.Sleep(d - fineSpan)
		return
	}
	begin := c.Now()
	end := begin + d
	c.budget = min(c.budget+(begin-c.paid)/spinShare, maxEarly)
	c.paid = begin
	early := min(c.early, c.budget)
	now := begin
	if d > early {
		interrupted := c.poll(d - early)
		now = c.Now()
		switch {
		case interrupted:
		case now > end:
			c.early = min(c.early+earlierBy, maxEarly)
		default:
			c.early = max(c.early-laterBy, 0)
		}
	}
	// Where more is left an interrupt or a signal has ended the wait: Pacer.Wait sees to it.
	if end-now <= early {
		spun := now
		for now < end && len(c.wake) == 0 {
			now = c.Now()
		}
		c.budget -= now - spun
	}
	select {
	case <-c.wake:
	default:
	}
}

// poll waits in the kernel, and reports whether it was interrupted.
func (c *kernelClock) poll(d time.Duration) (interrupted bool) {
	c.polling.Store(true)
	defer c.polling.Store(false)
	if len(c.wake) > 0 { // from before polling was set
		return true
	}
	// The slack is the thread's, and other goroutines are to find it as it was. Without it (a sandbox may forbid prctl) the
	// kernel adds 50 us to each wait; 0 gives back what the thread began with.
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	ts := unix.NsecToTimespec(int64(d))
	// Any error, a signal for one, only ends the wait early.
	n, _ := unix.Ppoll([]unix.PollFd{{Fd: int32(c.event), Events: unix.POLLIN}}, &ts, nil)
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
	runtime.UnlockOSThread()
	if n <= 0 {
		return false
	}
	// A byte that was written after the wait before had ended comes here too: then this one ends early, as it may.
	var b [8]byte
	_, _ = unix.Read(c.event, b[:])
	return true
}

func (c *kernelClock) Interrupt() {
	c.timerClock.Interrupt()
	if c.polling.Load() {
		_, _ = unix.Write(c.event, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

func (c *kernelClock) Close() {
	c.timerClock.Close()
	_ = unix.Close(c.event)
}
