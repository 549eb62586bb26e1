package sim

import "time"

// timerClock waits by the Go runtime's timers: right to about a millisecond in an idle process. It serves where the
// system has nothing better.
type timerClock struct {
	began time.Time
	timer *time.Timer
	wake  chan struct{}
}

func newTimerClock() *timerClock {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &timerClock{began: time.Now(), timer: t, wake: make(chan struct{}, 1)}
}

func (c *timerClock) Now() time.Duration { return time.Since(c.began) }

func (c *timerClock) Sleep(d time.Duration) {
	c.timer.Reset(d)
	select {
	case <-c.timer.C:
	case <-c.wake:
	}
	c.timer.Stop()
}

func (c *timerClock) Interrupt() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *timerClock) Close() { c.timer.Stop() }
