package tcpstack

// Tail loss probes: RFC 8985 7. A segment sent soon after the last one of a flight draws an ACK that tells what of the
// flight is missing, so that fast recovery repairs it and not a timeout.

// tlpState is RFC 8985 7.1's variables.
type tlpState struct {
	highSeq seqNum // TLP.end_seq, if out
	out     bool   // a probe is not yet answered
	retrans bool   // TLP.is_retrans: it was a retransmission
}

// scheduleProbe sets the probe's timer, if a probe is in order. advancing: the RTO is to run anew from now; else it stands
// as the first segment in flight has it.
//
// RFC 8985 7.2, TLP_calc_PTO: "If SRTT is available: PTO = 2 * SRTT; If FlightSize is one segment: PTO +=
// TLP.max_ack_delay; Else: PTO = 1 sec; If Now() + PTO > TCP_RTO_expiration(): PTO = TCP_RTO_expiration() - Now()".
// Only if "The connection supports SACK", "The connection has no SACKed sequences in the SACK scoreboard" and "The
// connection is not in loss recovery". Linux (tcp_schedule_loss_probe) allows the least RTO for a delayed ACK.
func (c *Conn) scheduleProbe(advancing bool) bool {
	if !c.set.tlp || !c.sackOK || c.rtx == nil || c.rtx.n == 0 || c.caState != caOpen && c.caState != caCWR || c.halfAccepted() {
		return false
	}
	left := us(c.backedOff())
	if !advancing {
		left = c.rtoLeft()
	}
	pto := c.set.initialRTO
	if c.srtt8 != 0 {
		t := int64(c.srtt8 >> 2)
		if c.rtx.n == 1 {
			t += us(c.set.minRTO)
		} else {
			t += timerSlackUs
		}
		if left > 0 {
			t = min(t, left)
		}
		pto = ceilMs(t)
	} else if left > 0 {
		pto = min(pto, ceilMs(left))
	}
	c.setRetransTimer(TimerTLP, pto)
	return true
}

// probeTimeout sends a probe: new data if there is any that the peer's window takes, else the last segment once more.
//
// RFC 8985 7.3, TLP_send_probe: "If an unsent segment exists AND the receive window allows new data to be sent:
// Transmit the lowest-sequence unsent segment of up to SMSS ... Retransmit the highest-sequence segment sent so far";
// one probe a flight.
func (c *Conn) probeTimeout() {
	q := c.rtx
	if q == nil || q.n == 0 {
		return
	}
	t := &c.rec.tlp
	switch {
	case t.out:
		c.rearmFromHead()
		return
	case c.unsent() > 0 && c.probeFits():
		head := c.snd.queue.head()
		n := min(int(head.end-c.sndNxt), c.segmentRoom())
		t.retrans = false
		c.sendData(n, c.finFits(n), head.push && c.sndNxt+seqNum(n) == head.end, SendTLP)
		c.countPRR(1)
	case c.unsent() == 0 && c.finFits(0):
		t.retrans = false
		c.sendData(0, true, false, SendFIN)
		c.countPRR(1)
	default:
		if !c.sendAgain(q.at(q.n-1), SendTLP) {
			c.rearmFromHead()
			return
		}
		t.retrans = true
	}
	c.stack.tcp.count.lossProbes++
	t.out, t.highSeq = true, c.sndNxt
	c.rearmRTO()
}

// probeFits says whether the next segment of new data lies within the peer's window.
func (c *Conn) probeFits() bool {
	n := min(int(c.snd.queue.head().end-c.sndNxt), int(c.sndMSS))
	return int(int32(c.sndUna+seqNum(c.sndWnd)-c.sndNxt)) >= n
}

// probeAcked interprets an ACK while a probe is out (Linux: tcp_process_tlp_ack).
//
// RFC 8985 7.4.2, TLP_process_ack: "If not TLP.is_retrans: TLP.end_seq = None ... Else if ACK has a DSACK option
// matching TLP.end_seq: TLP.end_seq = None ... Else If ACK's ack. number > TLP.end_seq: TLP.end_seq = None ... (Invoke
// congestion control to react to the loss event the probe has repaired) Else If ACK is a DupAck without any SACK
// option: TLP.end_seq = None".
func (c *Conn) probeAcked(ack seqNum, r *ackResult) {
	t := &c.rec.tlp
	switch {
	case ack.less(t.highSeq):
	case !t.retrans, r.flags&ackDSACKTLP != 0:
		t.out = false
	case t.highSeq.less(ack):
		c.stack.tcp.count.lossProbeRecoveries++
		before := c.win.Cwnd
		c.initReduction(false)
		c.setCAState(caCWR)
		c.endReduction()
		c.recordRecovery(KindTCPRecoveryEntered, RecoveryTLP, before, uint8(ByTLP))
		c.recordRecovery(KindTCPRecoveryExited, RecoveryTLP, before, 0)
		c.tryKeepOpen()
	case r.flags&(ackAdvanced|ackNotDup|ackSacked) == 0:
		t.out = false
	}
}
