package tcpstack

// caState is Linux's tcp_ca_state: what the sender thinks of the path.
type caState uint8

const (
	caOpen     caState = iota // nothing unusual
	caDisorder                // duplicate ACKs or SACK blocks, too few to act on
	caRecovery                // fast retransmit: RFC 6675 with SACK, RFC 6582 without
	caLoss                    // after a retransmission timeout
)

var caStateNames = [...]string{"open", "disorder", "recovery", "loss"}

func (s caState) String() string { return nameOf(caStateNames[:], uint8(s)) }

// detectLoss moves the recovery on with what an ACK has told.
func (c *Conn) detectLoss(r *ackResult) {
	q := c.rtx
	if c.caState <= caDisorder && c.recover.less(c.sndUna) {
		c.recover = c.sndUna - 1 // it keeps up, so that the comparison holds however much is sent
	}
	if q == nil {
		return
	}
	if r.dup {
		if c.dupAcks < 255 {
			c.dupAcks++
		}
		if !c.sackOK && q.sackedOut < q.n-1 {
			q.sackedOut++ // a segment has left the network (RFC 6582 3.2 step 3 inflates the window for it)
		}
	} else if r.acked > 0 {
		c.dupAcks = 0
	}
	switch c.caState {
	case caRecovery, caLoss:
		c.goOn(r)
	default:
		if !c.set.fastRtx {
			return
		}
		if c.shouldRecover() {
			c.enterRecovery()
		} else if q.sackedOut > 0 {
			c.caState = caDisorder
		} else {
			c.caState = caOpen
		}
	}
}

// shouldRecover decides on fast retransmit. RFC 5681 3.2: "The TCP sender SHOULD use the "fast retransmit" algorithm to
// detect and repair loss, based on incoming duplicate ACKs." RFC 6675 5: "(1) If DupAcks >= DupThresh, go to step (4)";
// "(2) If DupAcks < DupThresh but IsLost (HighACK + 1) returns true ... go to step (4)".
func (c *Conn) shouldRecover() bool {
	if c.sackOK {
		return c.rtx.sackedOut > 0 && (c.markLostBySACK() || c.dupAcks >= dupThresh)
	}
	// RFC 6582 3.2 (2): "If the Cumulative Acknowledgment field covers more than recover": else the duplicates are answers
	// to our own retransmissions.
	return c.dupAcks >= dupThresh && c.recover.less(c.sndUna)
}

// enterRecovery begins fast recovery. RFC 6675 5 (4): "(4.1) RecoveryPoint = HighData"; "(4.2) ssthresh = cwnd =
// (FlightSize / 2)", with the algorithm's own factor; "(4.3) Retransmit the first data segment presumed dropped".
func (c *Conn) enterRecovery() {
	q := c.rtx
	before := c.win.Cwnd
	c.recover = c.sndNxt
	c.reduce()
	c.win.Cwnd = c.win.SSThresh
	c.caState = caRecovery
	c.recordRecovery(KindTCPRecoveryEntered, RecoveryFast, before)
	c.setCCState(FastRecovery, CCDupACK)
	i := 0
	for i < q.n-1 && q.at(i).flags&txSacked != 0 {
		i++
	}
	x := q.at(i)
	if x.flags&txLost == 0 {
		q.markLost(x)
		trigger := LossDupACK
		if c.sackOK {
			trigger = LossSACK
		}
		c.recordLost(x, trigger)
	}
	q.rtxHint, q.forwardHint = 0, 0
	// RFC 6675 5 (4.3): "To prevent repeated retransmission of the same data or a premature rescue retransmission, set both
	// HighRxt and RescueRxt to the highest sequence number in the retransmitted segment."
	c.rescueRxt = x.end()
	c.resend(x, SendFastRtx)
	// RFC 6675 5 (4.3) and RFC 6298 5.1: the timer covers the retransmission.
	c.setRetransTimer(TimerRTO, c.backedOff())
}

// reduce asks the algorithm for the new threshold.
func (c *Conn) reduce() {
	c.win.SSThresh = c.caSsthresh(false)
	c.win.Count = 0
}

// goOn continues a recovery. It ends with an ACK of all that was sent before it began.
func (c *Conn) goOn(r *ackResult) {
	q := c.rtx
	if c.recover.lessEq(c.sndUna) {
		r.exited = c.caState == caRecovery
		c.exitRecovery()
		return
	}
	if c.sackOK {
		if c.caState == caRecovery && q.sackedOut > 0 {
			c.markLostBySACK()
		}
		return
	}
	if c.caState == caRecovery && r.acked > 0 && q.n > 0 {
		// RFC 6582 3.2 (3), partial acknowledgments: "retransmit the first unacknowledged segment".
		if x := q.at(0); x.flags&txLost == 0 {
			q.markLost(x)
			c.recordLost(x, LossDupACK)
			c.resend(x, SendFastRtx)
		}
	}
}

// exitRecovery ends fast recovery or the recovery after a timeout.
//
// RFC 6582 3.2 (3), full acknowledgments: "Set cwnd to ... ssthresh", which it is since the recovery began.
func (c *Conn) exitRecovery() {
	kind := RecoveryFast
	if c.caState == caLoss {
		kind = c.lossKind()
	}
	c.caState = caOpen
	c.dupAcks = 0
	if q := c.rtx; !c.sackOK {
		q.sackedOut = 0
	}
	c.recordRecovery(KindTCPRecoveryExited, kind, c.win.Cwnd)
	if c.win.InSlowStart() {
		c.setCCState(SlowStart, CCRecovered)
	} else {
		c.setCCState(CongestionAvoidance, CCRecovered)
	}
}

// enterLoss answers a retransmission timeout. RFC 5681 3.1: "When a TCP sender detects segment loss using the
// retransmission timer and the given segment has not yet been resent by way of the retransmission timer, the value of
// ssthresh MUST be set to no more than" half of FlightSize; "upon a timeout ... cwnd MUST be set to no more than the loss
// window, LW, which equals 1 full-sized segment".
func (c *Conn) enterLoss() {
	q := c.rtx
	if q == nil || q.n == 0 {
		return
	}
	before := c.win.Cwnd
	first := c.caState != caLoss || !c.sndUna.less(c.recover)
	if c.caState <= caDisorder || c.caState == caLoss && (first || c.retransmits <= 1) {
		c.reduce()
	}
	c.win.Cwnd, c.win.Count = 1, 0
	reneged := q.at(0).flags&txSacked != 0
	for i := range q.n {
		x := q.at(i)
		if reneged && x.flags&txSacked != 0 {
			// RFC 2018 8: "the data sender SHOULD turn off all of the SACKed bits, since the timeout might indicate that the
			// data receiver has reneged"; like Linux, when the first segment itself had been SACKed.
			q.sackedOut--
			x.flags &^= txSacked
		}
		if x.flags&txSacked == 0 {
			if x.flags&txLost == 0 || x.flags&txRetrans != 0 { // the retransmission is lost as well
				c.recordLost(x, LossRTO)
			}
			q.markLost(x)
		}
	}
	if reneged {
		q.highSacked = -1
		clear(q.blocks[:])
	}
	if !c.sackOK {
		q.sackedOut = 0
	}
	c.dupAcks = 0
	q.rtxHint, q.lostBelow = 0, q.n
	if c.caState != caLoss {
		c.caState = caLoss
		c.recordRecovery(KindTCPRecoveryEntered, RecoveryRTO, before)
		c.setCCState(RTORecovery, CCRTO)
	}
	c.recover = c.sndNxt
	c.resend(q.at(0), SendRTORtx)
}

// retransmitLost resends what was taken for lost, as far as the window lets it. RFC 6675 5 (C): "If cwnd - pipe >= 1
// SMSS, the sender SHOULD transmit one or more segments".
func (c *Conn) retransmitLost() {
	q := c.rtx
	why := SendFastRtx
	if c.caState == caLoss {
		why = SendRTORtx
	}
	for ; q.rtxHint < q.n; q.rtxHint++ {
		x := q.at(q.rtxHint)
		if x.flags&(txLost|txRetrans|txSacked) != txLost {
			continue
		}
		if q.inFlight() >= int(c.win.Cwnd) {
			return
		}
		c.resend(x, why)
	}
}

// retransmitForward uses room in the window that neither lost segments nor new data take: rules (3) and (4) of RFC 6675's
// NextSeg. What it resends may be on its way still, so it is not counted as lost.
func (c *Conn) retransmitForward() {
	q := c.rtx
	// "(3) If the conditions for rules (1) and (2) fail, but there exists an unSACKed sequence number 'S3' that meets the
	// criteria for detecting loss given in steps (1.a) and (1.b) above (specifically excluding step (1.c)), then one segment
	// ... starting with S3 SHOULD be returned."
	for ; q.forwardHint < q.highSacked; q.forwardHint++ {
		x := q.at(q.forwardHint)
		if x.flags&(txSacked|txRetrans) != 0 {
			continue
		}
		if q.inFlight() >= int(c.win.Cwnd) {
			return
		}
		c.resend(x, SendFastRtx)
	}
	// "(4) If the conditions for (1), (2), and (3) fail, but there exists outstanding unSACKed data, we provide the
	// opportunity for a single "rescue" retransmission per entry into loss recovery. If HighACK is greater than RescueRxt
	// ..., then one segment ... that MUST include the highest outstanding unSACKed sequence number SHOULD be returned, and
	// RescueRxt set to RecoveryPoint."
	if !c.rescueRxt.less(c.sndUna) || q.inFlight() >= int(c.win.Cwnd) {
		return
	}
	for i := q.n - 1; i >= 0; i-- {
		if x := q.at(i); x.flags&txSacked == 0 {
			if x.flags&txRetrans == 0 {
				c.rescueRxt = c.recover
				c.resend(x, SendFastRtx)
			}
			return
		}
	}
}

// setCCState notes what governs the congestion window.
func (c *Conn) setCCState(s CCState, why CCTrigger) {
	if s != c.ccState {
		c.recordCCState(s, why)
		c.ccState = s
	}
}

// updateCCState notes whether the window or the application holds the sender back, outside of recovery.
func (c *Conn) updateCCState(blocked bool) {
	switch {
	case c.caState == caRecovery || c.caState == caLoss:
	case !c.isCwndLimited(c.control()):
		c.setCCState(AppLimited, CCAppLimited)
	case c.ccState == AppLimited && blocked:
		if c.win.InSlowStart() {
			c.setCCState(SlowStart, CCWindowLimited)
		} else {
			c.setCCState(CongestionAvoidance, CCWindowLimited)
		}
	}
}
