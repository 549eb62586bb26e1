package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/congestion"
)

const (
	ssthreshUnset = congestion.Unset
	// maxBackoff keeps the shift below the width of a sim.Time; the largest timeout is reached long before.
	maxBackoff = 16
)

// fallbackRTO: RFC 6298 5.7: "If the timer expires awaiting the ACK of a SYN segment and the TCP implementation is using an
// RTO less than 3 seconds, the RTO MUST be re-initialized to 3 seconds when data transmission begins" (Linux:
// TCP_TIMEOUT_FALLBACK).
func (c *Conn) fallbackRTO() {
	c.rto = 3 * sim.Second
	c.rttvar4 = uint32(us(c.rto))
	c.mdev4, c.mdevMax4 = c.rttvar4, c.rttvar4
}

// backedOff is the timeout with the backoff in force. RFC 6298 5.5: "The host MUST set RTO <- RTO * 2 ("back off the
// timer")."
func (c *Conn) backedOff() sim.Time {
	return min(c.rto<<min(c.backoff, maxBackoff), c.set.maxRTO)
}

// rtoLeft is when the first segment in flight times out, us from now; it may be past.
func (c *Conn) rtoLeft() int64 { return us(c.backedOff()) - c.elapsed(c.rtx.at(0).sentAt) }

// setXmitTimer sets the timer after an ACK of new data: for a loss probe, or for the retransmission.
func (c *Conn) setXmitTimer() {
	if !c.scheduleProbe(true) {
		c.rearmRTO()
	}
}

// rearmRTO: RFC 6298 5.2: "When all outstanding data has been acknowledged, turn off the retransmission timer." 5.3: "When
// an ACK is received that acknowledges new data, restart the retransmission timer so that it will expire after RTO
// seconds". Where another timer ran in its place, it counts from when the first segment was sent (Linux: tcp_rearm_rto).
func (c *Conn) rearmRTO() {
	if c.halfAccepted() {
		return // the timer is the SYN,ACK's
	}
	if c.rtx == nil || c.rtx.n == 0 {
		if c.timerAt != sim.Never && c.pendingTimer.repairs() {
			c.cancelRetransTimer()
		}
		return
	}
	if c.timerAt != sim.Never && (c.pendingTimer == TimerReorder || c.pendingTimer == TimerTLP) {
		c.rearmFromHead()
		return
	}
	c.setRetransTimer(TimerRTO, c.backedOff())
}

// rearmFromHead sets the retransmission timer for when the first segment in flight times out.
func (c *Conn) rearmFromHead() { c.setRetransTimer(TimerRTO, ceilMs(max(c.rtoLeft(), 1))) }

// repairs says whether a timer is one of those that find losses: they exclude each other.
func (t TimerKind) repairs() bool { return t == TimerRTO || t == TimerTLP || t == TimerReorder }

// retransmissionTimeout: RFC 6298 5.4: "When the retransmission timer expires, ... Retransmit the earliest segment that
// has not been acknowledged by the TCP receiver."
func (c *Conn) retransmissionTimeout() {
	if c.halfAccepted() {
		c.halfAcceptedTimeout()
		return
	}
	syn := !c.state.synchronized()
	if !syn && (c.rtx == nil || c.rtx.n == 0) {
		return
	}
	if !syn && c.sndWnd == 0 && !c.appClosed {
		c.retransmitIntoClosedWindow()
		return
	}
	over := c.timedOutForGood()
	c.fastOpenTimeout(over)
	if over {
		c.timedOut()
		return
	}
	c.stack.tcp.count.timeouts++
	if !syn {
		c.suspectBlackHole()
		c.enterLoss()
	}
	c.countRTO()
	if syn {
		c.totalRetrans++
		c.stack.tcp.count.retransSegs++
		c.stack.tcp.count.synRetrans++
		c.sendSYN(SendSYN)
	} else if c.synOut() {
		c.sendSYN(SendSYN)
	} else {
		c.resend(c.rtx.at(0), SendRTORtx)
	}
	// RFC 6298 5.5 doubles the timeout; that of a SYN stays for some times (tcp_syn_linear_timeouts).
	switch {
	case c.thin():
		c.backoff = 0
	case c.state != StateSynSent || c.rec.totalRTO > uint32(c.set.synLinear):
		c.backoff = min(c.backoff+1, maxBackoff)
	}
	// RFC 6298 5.6: "Start the retransmission timer, such that it expires after RTO seconds (for the value of RTO after
	// the doubling operation outlined in 5.5)."
	c.setRetransTimer(TimerRTO, c.untilUserTimeout(c.backedOff(), c.retransmitting()))
	c.reportR1()
}

// Thin flows (Linux: tcp_stream_is_thin, TCP_THIN_LINEAR_RETRIES).
const (
	thinBelow   = 4 // segments in flight, too few for fast retransmit
	thinRetries = 6
)

// thin says whether the timeout stays as it is: of a flow with so little in flight that nothing but timeouts repairs its
// losses, in the beginning (tcp_thin_linear_timeouts).
func (c *Conn) thin() bool {
	return c.set.thinLinear && c.state == StateEstablished && c.rtx.out() < thinBelow && c.retransmits <= thinRetries &&
		c.win.SSThresh != ssthreshUnset
}

// timedOutForGood says whether the peer has not answered for so long that the connection ends (Linux: tcp_write_timeout).
func (c *Conn) timedOutForGood() bool {
	if !c.state.synchronized() {
		return c.synUnansweredForGood()
	}
	return c.unansweredForGood()
}

// countRTO keeps tcp_info's account of timeouts (Linux: tcp_update_rto_stats).
func (c *Conn) countRTO() {
	rec := c.recovery()
	if c.retransmits == 0 {
		rec.rtoRecoveries++
		rec.rtoStamp = c.stack.loop.Now()
	}
	if c.retransmits < 255 {
		c.retransmits++
	}
	rec.totalRTO++
}

// endRTOTime adds up how long a recovery from a timeout took.
func (c *Conn) endRTOTime() {
	if rec := c.rec; rec.rtoStamp != sim.Never {
		rec.rtoTime += c.stack.loop.Now() - rec.rtoStamp
		rec.rtoStamp = sim.Never
	}
}
