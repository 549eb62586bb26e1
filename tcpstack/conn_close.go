package tcpstack

import "labd.dev/sim"

// armFinWait2 bounds the FIN-WAIT-2 of a connection whose application has closed: nobody would hear the peer's FIN
// (tcp_fin_timeout, tcp_fin_time: at least three and a half retransmission timeouts). With a bound of 0 there is none of it:
// who closes resets (TCP_LINGER2 below 0).
func (c *Conn) armFinWait2() {
	if c.set.finTimeout == 0 {
		if !c.processing {
			c.Abort()
		}
		return
	}
	c.saveMetrics()
	c.setRetransTimer(TimerTimeWait, max(c.set.finTimeout, c.rto*7/2))
}

// closeEarly sends the FIN of a connection that is closed in SYN-RECEIVED (Linux: tcp_close_state): of one whose SYN's data
// was accepted with it, as there is nothing to wait for, and of a simultaneous open.
//
// RFC 9293 3.10.4, SYN-RECEIVED: "If no SENDs have been issued and there is no pending data to send, then form a FIN
// segment and send it, and enter FIN-WAIT-1 state; otherwise, queue for processing after entering ESTABLISHED state."
func (c *Conn) closeEarly() {
	switch {
	case c.halfAccepted():
	case c.unsent() > 0 || c.rtx != nil && c.rtx.n > 0:
		return
	default:
		c.oddities().synOut = true
		c.sndUna = c.iss + 1
	}
	c.closeStates()
	c.transmit()
}

// synOut says whether the SYN of a connection that closeEarly has closed is yet to be acknowledged: it is what goes again.
func (c *Conn) synOut() bool { return c.odd != nil && c.odd.synOut }

// setState moves the state machine.
func (c *Conn) setState(s State, why StateTrigger) {
	old := c.state
	c.state = s
	c.recordState(old, why)
}

// Bits of Conn.end.
const (
	endTold     = 1 << iota // Closed was called
	endReleased             // the application has called Release
)

// dead says whether the application has been told of the end.
func (c *Conn) dead() bool { return c.end&endTold != 0 }

// gone says whether the connection is over as far as this end is concerned.
func (c *Conn) gone() bool { return c.state == StateClosed || c.state == StateTimeWait }

// terminate makes the connection CLOSED.
func (c *Conn) terminate(err error, reason CloseReason, why StateTrigger) {
	if c.gone() {
		return
	}
	c.setState(StateClosed, why)
	c.retire(err, reason)
}

// retire takes a connection that is over out of the demultiplexer, lets go of what it holds, and tells the application.
func (c *Conn) retire(err error, reason CloseReason) {
	s := c.stack
	if err != nil {
		c.oddities().closeErr = err
	}
	c.recordClosed(reason)
	if c.appClosed {
		s.tcp.orphans.n--
	}
	s.forgetName(c)
	if c.fo != nil {
		if c.halfAccepted() {
			c.leaveFastOpen(false)
		}
		c.fastOpenEnded()
	}
	c.timerAt, c.delackAt = sim.Never, sim.Never
	if c.odd != nil {
		c.odd.keepAt = sim.Never
	}
	c.ackPending, c.ackNow = false, false
	s.loop.Stop(&c.timer)
	c.stopPacing()
	c.dropSend()
	if !c.processing {
		c.farewell()
	}
}

// farewell calls Closed, once, after an orderly end only when all has been read.
func (c *Conn) farewell() {
	if c.lsn != nil && c.lsn.queue != nil { // it waits to be accepted
		return
	}
	if c.dead() || c.processing || c.closeErr() == nil && c.Buffered() > 0 && !c.appClosed && c.h != nil {
		return
	}
	c.end |= endTold
	c.stack.loop.Stop(&c.timer)
	c.stack.unlist(c)
	if h := c.h; h != nil {
		c.h = nil
		h.Closed(c, c.closeErr())
	}
	c.dropRecv()
	c.releaseControl()
	c.reuse()
}

// free lets go of all that a connection holds.
func (c *Conn) free() {
	c.stack.loop.Stop(&c.timer)
	c.dropSend()
	c.dropRecv()
	c.releaseControl()
}

func (c *Conn) dropSend() {
	if c.snd != nil {
		una := minSeq(maxSeq(c.sndUna, c.iss+1), c.sndEnd) // whatever state it was left in
		c.stack.tcp.mem.give(int(c.sndEnd - una))
		c.sndEnd = una
		c.snd.drop()
		c.releaseSnd()
	}
	if c.rtx != nil {
		c.rtx.n = 0
		c.releaseRtx()
	}
	c.releaseRec()
}

func (c *Conn) dropRecv() {
	c.releaseFlow()
	if c.rcv != nil {
		c.stack.tcp.mem.give(c.rcv.inOrder + c.rcv.oooLen)
		c.rcv.drop()
		c.rcv.hasFIN = false
		c.releaseRcv()
	}
}
