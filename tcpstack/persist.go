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
	// RFC 9293 3.8.6.1 (MUST-37): "As long as the receiving TCP peer continues to send acknowledgments in response to the
	// probe segments, the sending TCP peer MUST allow the connection to stay open." probesOut is reset by each ACK.
	if c.probesOut >= c.set.dataRetries {
		c.stack.tcp.count.abortOnTimeout++
		c.terminate(ErrTimeout, ClosedTimeout, TriggerTimer)
		return
	}
	c.probesOut++
	c.backoff = min(c.backoff+1, maxBackoff)
	if usable := int(int32(c.sndUna + seqNum(c.sndWnd) - c.sndNxt)); usable > 0 && c.unsent() > 0 {
		n := min(usable, int(c.snd.queue.head().end-c.sndNxt), c.segmentRoom())
		c.sendData(n, c.finFits(n), true, SendZWP) // Linux (tcp_write_wakeup) pushes it
		c.armAfterSending()
		return
	}
	// As Linux does (tcp_xmit_probe_skb) the probe is an old sequence number without data: it is not acceptable, so the
	// peer answers with its window, and no octet is in doubt.
	c.sendControl(wire.FlagACK, c.sndUna-1, SendZWP)
	c.setRetransTimer(TimerPersist, c.probeInterval())
}

// probeInterval backs off like the retransmission timer does (Linux: inet_csk_rto_backoff).
func (c *Conn) probeInterval() sim.Time { return c.backedOff() }
