package tcpstack

import "labd.dev/tcpstack/congestion"

// Proportional rate reduction, RFC 9937: during a recovery segments leave in proportion to those delivered, so that the
// window has come down to ssthresh when the recovery ends, without a pause before it.

// prrState is RFC 9937 5's variables, and what undoing needs.
type prrState struct {
	delivered, out uint32 // prr_delivered, prr_out, segments
	priorSSThresh  uint32 // ssthresh to go back to if the reduction proves needless; 0: it must not be undone
}

// initReduction begins a reduction (Linux: tcp_init_cwnd_reduction). ecn: a mark is the reason.
//
// RFC 9937 6.1: "ssthresh = CongCtrlAlg()", "prr_delivered = 0", "prr_out = 0"; RecoverFS is SND.NXT - SND.UNA,
// corrected for what had been SACKed.
func (c *Conn) initReduction(ecn bool) {
	rec := c.rec
	rec.highSeq = c.sndNxt
	rec.tlp.out = false
	c.win.Count = 0
	c.cc.PriorCwnd = c.win.Cwnd
	rec.prr.delivered, rec.prr.out = 0, 0
	c.win.SSThresh = c.caSsthresh(ecn)
	c.queueCWR()
	if !c.set.prr && !c.set.cc.OwnsCwnd() {
		// RFC 5681 3.2 (2) and RFC 6675 5 (4.2): "ssthresh = cwnd = (FlightSize / 2)", at once.
		c.win.Cwnd = min(c.win.Cwnd, c.win.SSThresh)
	}
}

// reduceCwnd sets the window by what an ACK has delivered and shown to be lost (Linux: tcp_cwnd_reduction).
//
// RFC 9937 6.2, on every ACK, in short: if (pipe > ssthresh) { sndcnt = CEIL(prr_delivered * ssthresh / RecoverFS) -
// prr_out } else { sndcnt = MAX(prr_delivered - prr_out, DeliveredData); if (SafeACK) { sndcnt += SMSS }; sndcnt =
// MIN(ssthresh - pipe, sndcnt) }; if (prr_out is 0 AND sndcnt is 0) { sndcnt = SMSS }; cwnd = pipe + sndcnt. SafeACK:
// "SND.UNA advances and no further loss indicated".
func (c *Conn) reduceCwnd(delivered, lost int, flags ackFlags) {
	p := &c.rec.prr
	if delivered <= 0 || c.cc.PriorCwnd == 0 {
		return
	}
	pipe := c.rtx.inFlight()
	p.delivered += uint32(delivered)
	force := 0
	if p.out == 0 {
		force = 1 // the fast retransmit goes, whatever the window says
	}
	if !c.set.prr {
		c.win.Cwnd = max(c.win.SSThresh, uint32(pipe+force))
		if c.caState == caCWR {
			c.win.Cwnd = c.win.SSThresh
		}
		return
	}
	var n int
	if room := int(c.win.SSThresh) - pipe; room < 0 {
		n = int((uint64(c.win.SSThresh)*uint64(p.delivered)+uint64(c.cc.PriorCwnd)-1)/uint64(c.cc.PriorCwnd)) - int(p.out)
	} else {
		n = max(int(p.delivered)-int(p.out), delivered)
		if flags&ackAdvanced != 0 && lost == 0 {
			n++
		}
		n = min(room, n)
	}
	c.win.Cwnd = uint32(max(pipe+max(n, force), 0))
}

// countPRR counts segments sent in a reduction.
func (c *Conn) countPRR(n int) {
	if c.inCwndReduction() {
		c.rec.prr.out += uint32(n)
	}
}

// endReduction leaves the window at ssthresh (Linux: tcp_end_cwnd_reduction). RFC 9937 6.4: "On the completion of a PRR
// episode, PRR executes the following: cwnd = ssthresh".
func (c *Conn) endReduction() {
	if c.set.cc.OwnsCwnd() {
		return
	}
	if c.win.SSThresh < ssthreshUnset && (c.caState == caCWR || c.rec.undo.on) {
		c.win.Cwnd = c.win.SSThresh
		c.cc.use.stamp = c.stack.loop.Now()
	}
	c.caEvent(congestion.EventCompleteCWR)
}

// enterCWR begins a reduction for a reason other than loss (Linux: tcp_enter_cwr): the peer echoes congestion, or the host
// itself is congested. It is held until what is out has been acknowledged.
func (c *Conn) enterCWR() {
	rec := c.rec
	rec.prr.priorSSThresh = 0
	if c.caState < caCWR {
		before := c.win.Cwnd
		rec.undo.on = false
		c.initReduction(true)
		c.setCAState(caCWR)
		c.recordRecovery(KindTCPRecoveryEntered, RecoveryECN, before, uint8(ByECN))
		c.setCCState(WindowReduction, CCECN)
	}
}
