package tcpstack

import "labd.dev/sim"

// Where a host's network card cuts segments, one burst costs it little more than one segment: Linux lets what the window
// cuts short of a burst wait for the ACK that is about to open it (tcp_tso_should_defer).

// deferAtMost is how long a burst may wait: only if the last one left as recently, and the next ACK is as near.
const deferAtMost = sim.Millisecond

// defersBurst says whether the n bytes at the head of the write queue, of which quota segments may go, wait for more room, and
// whether it is the congestion window that they wait for.
func (c *Conn) defersBurst(n, quota int, fin bool) (cwnd, wait bool) {
	mss, now := int(c.sndMSS), c.stack.loop.Now()
	if n <= mss || c.caState >= caRecovery || c.lastDataSent == 0 || now-c.lastDataSent > deferAtMost || c.rtx.out() == 0 {
		return false, false
	}
	window, room := int(int32(c.sndUna+seqNum(c.sndWnd)-c.sndNxt)), quota*mss
	limit := min(window, room)
	last := c.snd.queue.len() == 1
	switch {
	case limit >= c.burst()*mss,
		!last && limit >= n,
		limit >= min(int(c.sndWnd), int(c.win.Cwnd)*mss)/int(c.set.burstShare):
		return false, false
	}
	srtt := c.srtt()
	if c.rtx.at(0).sentAt+srtt-now > min(srtt/2, deferAtMost) {
		return false, false // the next ACK is too far off
	}
	switch {
	case room < window && room <= n:
		return true, true
	case room >= window && window <= n:
		return false, true
	}
	return false, !fin && !c.snd.queue.head().eor
}
