package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/congestion"
)

// caState is Linux's tcp_ca_state: what the sender thinks of the path.
type caState uint8

const (
	caOpen     caState = iota // nothing unusual
	caDisorder                // duplicate ACKs or SACK blocks, too few to act on
	caCWR                     // the window is being reduced, and nothing is lost: congestion was echoed
	caRecovery                // fast retransmit: RFC 6675 with SACK, RFC 6582 without
	caLoss                    // after a retransmission timeout
)

var caStateNames = [...]string{"open", "disorder", "cwr", "recovery", "loss"}

func (s caState) String() string { return nameOf(caStateNames[:], uint8(s)) }

// setCAState moves that state.
func (c *Conn) setCAState(s caState) {
	c.caSet(congestion.State(s))
	c.caState = s
}

// fastRetransAlert moves the recovery on with an ACK that tells of something unusual, or comes in an unusual state (Linux:
// tcp_fastretrans_alert).
func (c *Conn) fastRetransAlert(r *ackResult) {
	rec, q := c.rec, c.rtx
	countLost := r.dup || r.flags&ackSacked != 0 && c.sackReachesFar()
	if q != nil && q.n == 0 {
		q.sackedOut = 0
	}
	if r.flags&ackECE != 0 {
		rec.prr.priorSSThresh = 0 // a reduction for a mark is not undone
	}
	if c.checkReneging(r) {
		return
	}
	if c.caState == caOpen {
		rec.undo.retransAt = sim.Never
	} else if rec.highSeq.lessEq(c.sndUna) && c.leavesState() {
		return
	}
	byCount := false
	switch c.caState {
	case caRecovery:
		if r.flags&ackAdvanced == 0 {
			if !c.sackOK && r.dup {
				c.addRenoSack()
			}
		} else if c.tryUndoPartial(r) {
			return
		} else {
			countLost = c.sackReachesFar()
		}
		if c.tryUndoDSACK() {
			c.tryToOpen(r)
		}
		c.identifyLoss(r)
		if c.caState != caRecovery {
			if !c.timeToRecover() {
				return
			}
			c.enterRecovery(r.flags&ackECE != 0, c.recoveryTrigger())
		}
	case caLoss:
		c.processLoss(r)
		if c.caState != caLoss {
			c.endRTOTime()
		}
		c.identifyLoss(r)
		if c.caState != caOpen && r.flags&ackLostRetrans == 0 {
			return
		}
		if byCount = c.mayRecover(r); !byCount {
			return
		}
	default:
		if byCount = c.mayRecover(r); !byCount {
			return
		}
	}
	if !c.set.rack && countLost && q != nil && q.n > 0 {
		c.markCountedLost(byCount)
	}
	r.resend = resendLost
}

// mayRecover enters fast recovery if it is time to, and else the state that what is in flight calls for.
func (c *Conn) mayRecover(r *ackResult) bool {
	if !c.sackOK && c.rtx != nil {
		if r.flags&ackAdvanced != 0 {
			c.resetRenoSack()
		}
		if r.dup {
			c.addRenoSack()
		}
	}
	if c.caState <= caDisorder {
		c.tryUndoDSACK()
	}
	c.identifyLoss(r)
	if !c.timeToRecover() {
		c.tryToOpen(r)
		return false
	}
	if c.probeMTULost() {
		return false
	}
	c.enterRecovery(r.flags&ackECE != 0, c.recoveryTrigger())
	return true
}

// leavesState ends a state whose highSeq is acknowledged. It reports that the ACK is dealt with.
func (c *Conn) leavesState() bool {
	switch c.caState {
	case caCWR:
		// RFC 3168 6.1.2: the CWR flag rides on data above highSeq: it has to arrive first.
		if c.sndUna != c.rec.highSeq {
			before := c.win.Cwnd
			c.endReduction()
			c.setCAState(caOpen)
			c.recordRecovery(KindTCPRecoveryExited, RecoveryECN, before, 0)
			c.resumeCCState(CCRecovered)
		}
	case caRecovery:
		if !c.sackOK {
			c.resetRenoSack()
		}
		return c.tryUndoRecovery()
	}
	return false
}

// identifyLoss takes for lost what the ACK shows to be (Linux: tcp_identify_packet_loss).
func (c *Conn) identifyLoss(r *ackResult) {
	if c.rtx == nil || c.rtx.n == 0 || !c.set.fastRtx {
		return
	}
	switch {
	case !c.sackOK:
		c.newRenoMarkLost(r.flags&ackAdvanced != 0)
	case c.set.rack:
		was := c.rtx.retransOut
		if c.rackMarkLost() {
			r.flags &^= ackSetTimer
		}
		if c.rtx.retransOut < was {
			r.flags |= ackLostRetrans
		}
	}
}

// timeToRecover says whether losses call for fast recovery (Linux: tcp_time_to_recover).
func (c *Conn) timeToRecover() bool {
	if c.rtx == nil || c.rtx.n == 0 || !c.set.fastRtx {
		return false
	}
	return c.rtx.lostOut > 0 || !c.set.rack && c.countedLost()
}

// recoveryTrigger says what kind of evidence fast recovery begins on.
func (c *Conn) recoveryTrigger() RecoveryTrigger {
	switch {
	case !c.sackOK:
		return ByDupACK
	case c.set.rack:
		return ByRACK
	}
	return BySACK
}

// enterRecovery begins fast recovery (Linux: tcp_enter_recovery). RFC 6675 5 (4): "(4.1) RecoveryPoint = HighData"; "(4.2)
// ssthresh = cwnd = (FlightSize / 2)", with the algorithm's own factor, and by RFC 9937's steps.
func (c *Conn) enterRecovery(ece bool, why RecoveryTrigger) {
	rec, before := c.rec, c.win.Cwnd
	if c.sackOK {
		c.stack.tcp.count.sackRecoveries++
	} else {
		c.stack.tcp.count.renoRecoveries++
	}
	c.cleanRetransStamp()
	rec.prr.priorSSThresh = 0
	rec.spurious = false
	c.initUndo()
	if !c.inCwndReduction() {
		if !ece {
			rec.prr.priorSSThresh = c.currentSsthresh()
		}
		c.initReduction(ece)
	}
	c.setCAState(caRecovery)
	c.recordRecovery(KindTCPRecoveryEntered, RecoveryFast, before, uint8(why))
	c.setCCState(FastRecovery, CCDupACK)
}

// leaveRecovery makes the state Open after fast recovery or a timeout.
func (c *Conn) leaveRecovery() {
	was, before := c.caState, c.win.Cwnd
	if was != caLoss {
		c.endReduction()
	}
	c.setCAState(caOpen)
	c.dupAcks = 0
	c.recordLeft(was, before)
}

// recordLeft records the end of fast recovery or of the recovery after a timeout.
func (c *Conn) recordLeft(was caState, before uint32) {
	kind, spurious := RecoveryFast, uint8(0)
	if was == caLoss {
		kind = c.lossKind()
	}
	if c.rec.spurious {
		spurious = 1
	}
	c.rec.spurious = false
	c.recordRecovery(KindTCPRecoveryExited, kind, before, spurious)
	c.resumeCCState(CCRecovered)
}

// tryKeepOpen makes the state Open, or Disorder while something is amiss (Linux: tcp_try_keep_open).
func (c *Conn) tryKeepOpen() {
	s := caOpen
	if q := c.rtx; q != nil && q.sackedOut+q.lostOut > 0 || c.anyRetransmitted() {
		s = caDisorder
	}
	if c.caState != s {
		was := c.caState
		c.setCAState(s)
		c.rec.highSeq = c.sndNxt
		if was >= caRecovery {
			c.recordLeft(was, c.win.Cwnd)
		}
	}
}

// tryToOpen is Linux's tcp_try_to_open.
func (c *Conn) tryToOpen(r *ackResult) {
	c.cleanRetransStamp()
	if r.flags&ackECE != 0 {
		c.enterCWR()
	}
	if c.caState != caCWR {
		c.tryKeepOpen()
	}
}

// setCCState notes what governs the congestion window.
func (c *Conn) setCCState(s CCState, why CCTrigger) {
	if s != c.ccState {
		c.recordCCState(s, why)
		c.ccState = s
	}
}

// resumeCCState notes that the algorithm governs it again.
func (c *Conn) resumeCCState(why CCTrigger) {
	if c.win.InSlowStart() {
		c.setCCState(SlowStart, why)
	} else {
		c.setCCState(CongestionAvoidance, why)
	}
}

// updateCCState notes whether the window or the application holds the sender back, outside of recovery.
func (c *Conn) updateCCState(blocked bool) {
	switch {
	case c.caState >= caCWR:
	case !c.isCwndLimited(c.control()):
		c.setCCState(AppLimited, CCAppLimited)
	case c.ccState == AppLimited && blocked:
		c.resumeCCState(CCWindowLimited)
	}
}
