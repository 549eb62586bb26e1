package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/congestion"
)

// enterLoss answers a retransmission timeout (Linux: tcp_enter_loss). RFC 5681 3.1: "When a TCP sender detects segment loss
// using the retransmission timer and the given segment has not yet been resent by way of the retransmission timer, the
// value of ssthresh MUST be set to no more than" half of FlightSize; "upon a timeout ... cwnd MUST be set to no more than
// the loss window, LW, which equals 1 full-sized segment": Linux lets one more go than it still takes to be in flight.
func (c *Conn) enterLoss() {
	rec, q, before := c.rec, c.rtx, c.win.Cwnd
	fresh := c.caState < caRecovery
	c.markTimedOut()
	if c.caState <= caDisorder || rec.highSeq.lessEq(c.sndUna) || c.caState == caLoss && c.retransmits == 0 {
		rec.prr.priorSSThresh = c.currentSsthresh()
		c.cc.PriorCwnd = c.win.Cwnd
		c.win.SSThresh = c.caSsthresh(false)
		c.caEvent(congestion.EventLoss)
		c.initUndo()
	}
	c.win.Cwnd, c.win.Count = uint32(q.inFlight()+1), 0
	c.cc.use.stamp = c.stack.loop.Now()
	// So many reports and still a timeout: the path does not displace segments as far as was thought.
	if c.caState <= caDisorder && q.sackedOut >= int(c.set.reordering) {
		rec.reordering = min(rec.reordering, c.set.reordering)
	}
	was := c.caState
	c.setCAState(caLoss)
	rec.highSeq = c.sndNxt
	rec.tlp.out = false
	c.queueCWR()
	c.armFRTO(fresh)
	c.dupAcks = 0
	if was != caLoss {
		rec.spurious = false
		c.recordRecovery(KindTCPRecoveryEntered, RecoveryRTO, before, uint8(ByRTO))
		c.setCCState(RTORecovery, CCRTO)
	}
}

// markTimedOut takes what is in flight for lost, but with RACK what was sent so lately that its ACK may be on its way
// (Linux: tcp_timeout_mark_lost).
//
// RFC 8985 6.3, RACK_mark_losses_on_RTO: "For each segment, Segment, not acknowledged yet: If SEG.SEQ == SND.UNA OR
// Segment.xmit_ts + RACK.rtt + RACK.reo_wnd - Now() <= 0: Segment.lost = TRUE".
func (c *Conn) markTimedOut() {
	q := c.rtx
	reneged := q.at(0).flags&txSacked != 0
	if reneged {
		c.forgetSACKs()
	} else if !c.sackOK {
		c.resetRenoSack()
	}
	for i := range q.n {
		if !reneged && c.set.rack && i > 0 && c.rackTimeout(q.at(i), 0) > 0 {
			continue
		}
		c.markLost(i, LossRTO)
	}
	q.rtxHint = 0
}

// forgetSACKs: RFC 2018 5: "the data sender SHOULD turn off all of the SACKed bits, since the timeout might indicate
// that the data receiver has reneged"; like Linux, when the first segment itself had been SACKed.
func (c *Conn) forgetSACKs() {
	q := c.rtx
	c.stack.tcp.count.sackReneging++
	for i := range q.n {
		q.at(i).flags &^= txSacked
	}
	q.sackedOut, q.highSacked, q.nblocks, q.rackHint = 0, -1, 0, 0
	c.rec.reneged = true
}

// renegingDelay is the least time given to an ACK that would show that the peer has not reneged.
const renegingDelay = 10 * sim.Millisecond

// checkReneging: the first segment in flight was SACKed and yet the cumulative ACK stops before it. If the next ACKs do not
// cover it, a timeout sends all again (Linux: tcp_check_sack_reneging).
func (c *Conn) checkReneging(r *ackResult) bool {
	if r.flags&ackReneging == 0 || r.flags&ackAdvanced == 0 {
		return false
	}
	c.setRetransTimer(TimerRTO, max(ceilMs(int64(c.srtt8>>4)), renegingDelay))
	r.flags &^= ackSetTimer
	return true
}

// closedWindowSilence is after how many of the largest timeouts without any segment from the peer a connection ends whose
// window was closed over data in flight (Linux: tcp_rtx_probe0_timed_out).
const closedWindowSilence = 2

// retransmitIntoClosedWindow: the peer has taken back the window that data in flight was sent into. The retransmissions are
// probes then, and do not count towards the end of the connection as long as the peer answers (Linux:
// tcp_retransmit_timer).
//
// RFC 9293 3.8.6: "a sending TCP peer MUST be robust against window shrinking, which may cause the 'usable window' ...
// to become negative (MUST-34)."
func (c *Conn) retransmitIntoClosedWindow() {
	if c.stack.loop.Now()-c.lastAckRcv > closedWindowSilence*c.set.maxRTO {
		c.stack.tcp.count.abortOnTimeout++
		c.terminate(ErrTimeout, ClosedTimeout, TriggerTimer)
		return
	}
	c.enterLoss()
	c.resend(c.rtx.at(0), SendRTORtx)
	c.backoff = min(c.backoff+1, maxBackoff)
	c.setRetransTimer(TimerRTO, c.backedOff())
}
