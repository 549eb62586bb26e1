package app

import (
	"errors"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// Sizes of write calls.
const (
	defaultWriteSize = 64 << 10
	maxWriteSize     = 1 << 20 // beyond, a write call would only be split again
)

// writer is an application that writes content to its connection: calls of a size, at most at a rate.
type writer struct {
	env  *Env
	conn *tcpstack.Conn
	src  *source
	size int
	rate uint64 // bits a second; 0: unlimited
	done func() // called once, when all has been written

	timer     sim.Timer
	next      sim.Time // when the rate allows the next call
	idleSince sim.Time // since when the application has had something to write and could not
	finished  bool
	stopped   bool
}

func newWriter(env *Env, c *tcpstack.Conn, what content, size uint32, rate uint64, done func()) *writer {
	w := &writer{env: env, conn: c, src: newSource(env.Loop, what), size: min(int(size), maxWriteSize), rate: rate, done: done}
	if w.size == 0 {
		w.size = defaultWriteSize
	}
	w.idleSince = env.Loop.Now()
	w.timer.H = w
	return w
}

// Fire goes on when the rate allows it.
func (w *writer) Fire(now sim.Time) {
	w.idleSince = now
	w.step()
}

// step writes until the connection takes no more, the rate forbids it or nothing is left.
func (w *writer) step() {
	for !w.stopped && !w.finished && !w.timer.Armed() {
		now := w.env.Loop.Now()
		// First, because the end waits for no rate: all may be acknowledged before the rate would allow another call.
		if n := w.src.read(w.size); n > 0 {
			w.env.record(KindFileRead, w.conn, uint64(n), 0, 0)
		}
		ch, off, n := w.src.block()
		if n == 0 {
			w.finished = true
			w.src.release()
			w.done()
			return
		}
		if w.rate > 0 && now < w.next {
			w.env.arm(&w.timer, w.next)
			return
		}
		if k := min(n, w.conn.Room()); k > 0 {
			w.env.recordWrite(w.conn, k, n, now-w.idleSince)
			w.idleSince = now
			w.src.advance(k)
		}
		k, err := w.conn.WriteChunk(ch, off, n)
		w.next = max(now, w.next) + sendTime(k, w.rate)
		if err != nil {
			if !errors.Is(err, tcpstack.ErrWouldBlock) {
				w.stop() // the connection is gone, as Closed tells
			}
			return
		}
	}
}

// stop ends the writing at once.
func (w *writer) stop() {
	if w != nil && !w.stopped {
		w.stopped = true
		w.env.Loop.Stop(&w.timer)
		w.src.release()
	}
}

// sendTime is how long n bytes take at rate bits a second.
func sendTime(n int, rate uint64) sim.Time {
	if rate == 0 {
		return 0
	}
	return sim.Time(uint64(n) * 8 * uint64(sim.Second) / rate) // n is a call's size: far below 2^31
}
