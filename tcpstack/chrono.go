package tcpstack

import "labd.dev/sim"

// limitClock adds up for how long a connection was busy, and what held it back then: tcp_info's busy_time, rwnd_limited
// and sndbuf_limited (Linux: tcp_chrono). One of them runs at a time, the one that counts most.
type limitClock struct {
	running chronoKind
	since   sim.Time
	total   [chronoKinds]sim.Time
}

type chronoKind uint8

// What a connection may be busy with, in ascending order of importance.
const (
	chronoIdle   chronoKind = iota
	chronoBusy              // data in flight or to be sent
	chronoRwnd              // and the peer's window has no room for it
	chronoSndbuf            // all was sent, and the application waits for room in the send buffer
	chronoKinds
)

// chronoStart: Linux's tcp_chrono_start.
func (c *Conn) chronoStart(k chronoKind) {
	if c.clock == nil {
		c.clock = c.stack.blankClock()
	}
	if k > c.clock.running {
		c.clock.set(k, c.stack.loop.Now())
	}
}

// chronoStop ends what k held: the connection is busy on, unless nothing is left to be acknowledged (Linux:
// tcp_chrono_stop).
func (c *Conn) chronoStop(k chronoKind) {
	switch {
	case c.clock == nil || c.clock.running == chronoIdle:
	case (c.rtx == nil || c.rtx.n == 0) && !c.waiting():
		c.clock.set(chronoIdle, c.stack.loop.Now())
	case k == c.clock.running:
		c.clock.set(chronoBusy, c.stack.loop.Now())
	}
}

func (t *limitClock) set(k chronoKind, now sim.Time) {
	t.total[t.running] += now - t.since
	t.running, t.since = k, now
}

// spent is how long k has run; busy is all of them together.
func (c *Conn) spent(k chronoKind) sim.Time {
	t := c.clock
	if t == nil {
		return 0
	}
	d := t.total[k]
	if k == chronoBusy {
		d += t.total[chronoRwnd] + t.total[chronoSndbuf]
		if t.running == chronoIdle {
			return d
		}
	} else if t.running != k {
		return d
	}
	return d + c.stack.loop.Now() - t.since
}

// windowHolds says whether the peer's window has no room for what is to be sent next.
func (c *Conn) windowHolds() bool {
	if c.snd == nil || c.snd.queue.len() == 0 {
		return false
	}
	n := min(int(c.snd.queue.head().end-c.sndNxt), c.segmentRoom())
	return n > int(int32(c.sndUna+seqNum(c.sndWnd)-c.sndNxt))
}
