package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// The persist timer. RFC 9293 3.8.6.1: "The sending TCP peer must regularly transmit at least one octet of new data (if
// available), or retransmit to the receiving TCP peer even if the send window is zero". "The transmitting host SHOULD
// send the first zero-window probe when a zero window has existed for the retransmission timeout period (SHLD-29), and
// SHOULD increase exponentially the interval between successive probes (SHLD-30)."

// armPersist starts the timer when data waits, nothing is in flight and so no ACK will come by itself. It is also the
// override timeout of the sender's silly window avoidance (RFC 9293 3.8.6.2.1).
func (c *Conn) armPersist() {
	if c.timerAt == sim.Never && c.sndNxt == c.sndUna && c.waiting() {
		c.setRetransTimer(TimerPersist, c.probeInterval())
	}
}

// waiting says whether there is data or a FIN that was never sent.
func (c *Conn) waiting() bool { return c.unsent() > 0 || c.finQueued && !c.finSent }

// persistTimeout probes the window.
func (c *Conn) persistTimeout() {
	if !c.waiting() || c.sndNxt != c.sndUna {
		c.transmit()
		return
	}
	if c.probedForGood() {
		c.timedOut()
		return
	}
	c.probesOut++
	c.stack.tcp.count.winProbes++
	if c.backoff < c.set.dataRetries {
		c.backoff = min(c.backoff+1, maxBackoff)
	}
	if usable := int(int32(c.sndUna + seqNum(c.sndWnd) - c.sndNxt)); usable > 0 && c.unsent() > 0 {
		n := min(usable, int(c.snd.queue.head().end-c.sndNxt), c.segmentRoom())
		c.sendData(n, c.finFits(n), true, SendZWP) // Linux (tcp_write_wakeup) pushes it
		c.probesOut, c.backoff = 0, 0              // the retransmission timer sees to it now
		c.probingEnded()
		c.armAfterSending()
		return
	}
	// As Linux does (tcp_xmit_probe_skb) the probe is an old sequence number without data: it is not acceptable, so the
	// peer answers with its window, and no octet is in doubt.
	c.probeUrgent()
	c.sendControl(wire.FlagACK, c.sndUna-1, SendZWP)
	c.armProbe()
}

// probedForGood says whether the probes have gone without an answer for too long (Linux: tcp_probe_timer).
//
// RFC 9293 3.8.6.1 (MUST-37): "As long as the receiving TCP peer continues to send acknowledgments in response to the
// probe segments, the sending TCP peer MUST allow the connection to stay open." probesOut is reset by each ACK; but the
// user timeout, and a connection that nobody owns, have an end.
func (c *Conn) probedForGood() bool {
	now := c.stack.loop.Now()
	if o := c.oddities(); o.probesAt == 0 {
		o.probesAt = max(now, 1)
	} else if t := c.set.userTimeout; t != 0 && now-o.probesAt >= t {
		return true
	}
	if c.orphaned() {
		alive := c.backedOff() < c.set.maxRTO
		return !alive && c.backoff >= c.set.orphanRetries || c.probesOut >= c.set.orphanRetries
	}
	return c.probesOut >= c.set.dataRetries
}

// armProbe sets the timer for the next probe (Linux: tcp_send_probe0, tcp_ack_probe).
func (c *Conn) armProbe() {
	since := sim.Time(0)
	if at := c.probesAt(); at != 0 {
		since = c.stack.loop.Now() - at
	}
	c.setRetransTimer(TimerPersist, c.untilUserTimeout(c.probeInterval(), since))
}

// probeInterval backs off like the retransmission timer does (Linux: tcp_probe0_when).
func (c *Conn) probeInterval() sim.Time {
	t := max(c.rto, c.set.minRTO) << min(c.backoff, maxBackoff)
	if c.set.personality == PersonalityFreeBSD {
		t = c.persistval()
	}
	return min(max(t, c.set.persistMin), c.set.persistMax)
}

// probeAnswered takes an ACK while nothing is in flight and the window is too small for what waits: if it has opened the
// probing ends, else the next probe goes a whole interval later (Linux: tcp_ack_probe).
func (c *Conn) probeAnswered() {
	end := c.sndNxt + 1 // the FIN's
	if c.snd != nil && c.snd.queue.len() > 0 {
		end = c.snd.queue.head().end
	}
	if end.lessEq(c.sndUna + seqNum(c.sndWnd)) {
		c.backoff = 0
		c.probingEnded()
		c.cancelRetransTimer()
		return
	}
	c.armProbe()
}
