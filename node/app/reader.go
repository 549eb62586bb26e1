package app

import (
	"errors"
	"io"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// Sizes of read calls.
const (
	defaultReadSize = 64 << 10
	maxReadSize     = 1 << 20 // the buffer is the application's own memory
)

// reader is an application that reads its connection as its settings say: a call's size, a rate, a delay at the start, a
// pause. While it does not read, the receive buffer fills and the window closes.
type reader struct {
	env  *Env
	conn *tcpstack.Conn
	data func([]byte) // is given each piece; the slice is valid within the call
	eof  func()       // called once, at the peer's FIN

	size       int
	rate       uint64
	pauseAfter uint64 // bytes; 0: no pause
	pause      sim.Time

	timer     sim.Timer
	next      sim.Time // not before this
	total     uint64
	idleSince sim.Time
	buf       []byte
	stopped   bool
}

// newReader makes the reader of a connection that has just opened. cfg may be nil.
func newReader(env *Env, c *tcpstack.Conn, cfg *labv1.Reader, data func([]byte), eof func()) *reader {
	now := env.Loop.Now()
	r := &reader{
		env: env, conn: c, data: data, eof: eof,
		size: min(int(cfg.GetReadSizeBytes()), maxReadSize), rate: cfg.GetRateBps(),
		pauseAfter: uint64(max(0, cfg.GetPauseAfterBytes())), pause: sim.Time(cfg.GetPauseNs()),
		next: now + sim.Time(cfg.GetStartDelayNs()), idleSince: now,
	}
	if r.size == 0 {
		r.size = defaultReadSize
	}
	r.timer.H = r
	return r
}

// Fire goes on when a delay, a pause or the rate is over.
func (r *reader) Fire(now sim.Time) {
	r.idleSince = now
	r.step()
}

// step reads until nothing is there or the settings forbid more.
func (r *reader) step() {
	for !r.stopped && !r.timer.Armed() {
		now := r.env.Loop.Now()
		if now < r.next {
			r.env.arm(&r.timer, r.next)
			return
		}
		n, err := r.read(now)
		if n > 0 {
			r.account(now, n)
			r.data(r.buf[:n])
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				r.stop()
				r.eof()
			}
			return
		}
	}
}

func (r *reader) read(now sim.Time) (int, error) {
	n := r.size
	if r.pauseAfter > r.total {
		n = int(min(uint64(n), r.pauseAfter-r.total))
	}
	there := min(n, r.conn.Buffered())
	if there > 0 {
		if len(r.buf) < there {
			r.buf = make([]byte, min(2*there, r.size))
		}
		r.env.record(KindRead, r.conn, uint64(there), now-r.idleSince, 0)
	}
	r.idleSince = now
	return r.conn.Read(r.buf[:min(there, len(r.buf))])
}

// account finds when the next read may be.
func (r *reader) account(now sim.Time, n int) {
	r.total += uint64(n)
	if r.rate > 0 {
		r.next = max(now, r.next) + sendTime(n, r.rate)
	}
	if r.pauseAfter > 0 && r.total == r.pauseAfter {
		r.next = max(r.next, now+r.pause)
	}
}

// stop ends the reading at once.
func (r *reader) stop() {
	if r != nil && !r.stopped {
		r.stopped = true
		r.env.Loop.Stop(&r.timer)
		r.buf = nil
	}
}
