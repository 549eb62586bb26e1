package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/congestion"
)

// cwndUse is how much of the congestion window is used.
//
// RFC 7661 4: a window that is not what holds the sender back says nothing about the path: it is not validated, and does
// not grow. Linux's tcp_cwnd_validate, with its names.
type cwndUse struct {
	limited bool     // the window was full in the current window of data
	maxOut  uint32   // else: most segments that were in flight in it (max_packets_out)
	seq     seqNum   // end of that window (cwnd_usage_seq)
	used    uint32   // most segments in flight since stamp (snd_cwnd_used)
	stamp   sim.Time // when the window was last full or changed (snd_cwnd_stamp)
}

// isCwndLimited says whether the window may grow. In slow start that is so as long as it is less than twice what was used,
// so that it can double (Linux: tcp_is_cwnd_limited).
func (c *Conn) isCwndLimited(cc *control) bool {
	return cc.use.limited || !c.set.cwndValidation || c.win.InSlowStart() && c.win.Cwnd < 2*cc.use.maxOut
}

// validateCwnd notes, after segments were sent or could not be, whether the window was full.
func (c *Conn) validateCwnd(limited bool) {
	cc := c.control()
	u, out := &cc.use, uint32(0)
	if c.rtx != nil {
		out = uint32(c.rtx.n)
	}
	if !c.sndUna.less(u.seq) || limited || !u.limited && out > u.maxOut {
		u.limited, u.maxOut, u.seq = limited, out, c.sndNxt
	}
	now := c.stack.loop.Now()
	if c.isCwndLimited(cc) {
		u.used, u.stamp = 0, now
		return
	}
	u.used = max(u.used, out)
	if c.wantWrite && c.unsent() == 0 && c.state.sends() {
		c.chronoStart(chronoSndbuf) // the application would have had more to send
	}
	if c.set.slowStartAfterIdle && now-u.stamp >= c.rto && !c.set.cc.OwnsCwnd() {
		c.shrinkUnused(cc)
	}
}

// shrinkUnused lets a window that the application has not used for a timeout go half the way to what it has used.
//
// RFC 2861 3.2: ssthresh keeps 3/4 of the window in memory, which becomes (win + W_used) / 2 for each RTO not fully used (Linux:
// tcp_cwnd_application_limited).
func (c *Conn) shrinkUnused(cc *control) {
	u := &cc.use
	if c.caState == caOpen && !c.wantWrite {
		if used := max(u.used, c.set.iw); used < c.win.Cwnd {
			c.win.SSThresh = c.currentSsthresh()
			c.win.Cwnd = (c.win.Cwnd + used) / 2
		}
		u.used = 0
	}
	u.stamp = c.stack.loop.Now()
}

// currentSsthresh keeps what the window has reached in memory: RFC 2861 3.1: ssthresh is at least 3/4 of
// cwnd from then on (Linux: tcp_current_ssthresh).
func (c *Conn) currentSsthresh() uint32 {
	if c.inCwndReduction() {
		return c.win.SSThresh
	}
	return max(c.win.SSThresh, c.win.Cwnd>>1+c.win.Cwnd>>2)
}

// restartAfterIdle shrinks the window for the time that nothing was sent, before new data is queued (Linux:
// tcp_slow_start_after_idle_check, tcp_cwnd_restart).
//
// RFC 5681 4.1: "a TCP SHOULD set cwnd to no more than RW before beginning transmission if the TCP has not sent data in an
// interval exceeding the retransmission timeout"; RFC 2861 3.1 halves it for each RTO that has passed.
func (c *Conn) restartAfterIdle() {
	if !c.set.slowStartAfterIdle || c.cc == nil || c.rtx != nil && c.rtx.n > 0 || c.set.cc.OwnsCwnd() {
		return
	}
	idle := c.stack.loop.Now() - c.lastDataSent
	if idle <= c.rto {
		return
	}
	c.caEvent(congestion.EventCwndRestart)
	c.win.SSThresh = c.currentSsthresh()
	cwnd := c.win.Cwnd
	restart := min(c.set.iw, cwnd)
	for idle -= c.rto; idle > 0 && cwnd > restart; idle -= c.rto {
		cwnd >>= 1
	}
	c.win.Cwnd = max(cwnd, restart)
	c.cc.use.stamp, c.cc.use.used = c.stack.loop.Now(), 0
}

// inCwndReduction says whether the window is being brought down to ssthresh (Linux: tcp_in_cwnd_reduction).
func (c *Conn) inCwndReduction() bool { return c.caState == caCWR || c.caState == caRecovery }
