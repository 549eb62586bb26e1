package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// arrivesSynSent is 3.10.7.3, SYN-SENT STATE.
func (c *Conn) arrivesSynSent(g *segment) {
	ack := c.synSent(g)
	saved := ack && c.savesACK()
	if saved {
		c.ackPending = false // until it is known that nothing carries it
	} else if ack {
		c.sendACK(SendACK)
	}
	id, sent := c.id, c.segsOut
	c.conclude()
	if saved && c.id == id && c.segsOut == sent && !c.gone() { // it is another's if it was released meanwhile
		c.ackPending = true
		c.enterQuickACK(maxQuickACKs)
		c.setDelackTimer(maxDelACK)
	}
}

// savesACK says whether the ACK of the SYN,ACK waits for data to carry it: a write waits for the handshake, or the
// application has asked for it by TCP_DEFER_ACCEPT or by TCP_QUICKACK off (Linux: tcp_rcv_synsent_state_process).
func (c *Conn) savesACK() bool {
	if c.set.personality == PersonalityFreeBSD {
		return false
	}
	return c.odd != nil && c.odd.writeWaits || c.set.deferAccept != 0 || c.inPingPong()
}

// synSent works on a segment in SYN-SENT. It reports whether it is a SYN,ACK that is to be acknowledged.
func (c *Conn) synSent(g *segment) (ack bool) {
	// "First, check the ACK bit: If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset (unless the RST bit is set, if so
	// drop the segment and return) <SEQ=SEG.ACK><CTL=RST> and discard the segment. Return."
	if g.has(wire.FlagACK) && (g.ack.lessEq(c.iss) || c.sndNxt.less(g.ack)) {
		if !g.has(wire.FlagRST) {
			c.stack.replyRST(g, &c.tuple)
		}
		c.synAgainSoon()
		return false
	}
	if g.has(wire.FlagACK) && c.tsOK && g.opt.HasTimestamps && g.opt.TSEcr != 0 && !c.echoesOurs(g.opt.TSEcr) {
		// Linux (PAWSActiveRejected): it answers a SYN that was never sent.
		c.stack.tcp.count.pawsActiveRejected++
		c.recordDropped(g, DropPAWS)
		if !g.has(wire.FlagRST) {
			c.stack.replyRST(g, &c.tuple)
		}
		return false
	}
	// "Second, check the RST bit": "If the ACK was acceptable, then signal to the user 'error: connection reset', drop the
	// segment, enter CLOSED state, delete TCB, and return. Otherwise (no ACK), drop the segment and return."
	if g.has(wire.FlagRST) {
		if g.has(wire.FlagACK) {
			c.terminate(ErrRefused, ClosedRefused, RxRST)
		}
		return false
	}
	// "Fourth, check the SYN bit". "Fifth, if neither of the SYN or RST bits is set, then drop the segment and return."
	if !g.has(wire.FlagSYN) {
		return false
	}
	c.acceptSYN(g)
	c.ecnAnswered(g)
	if !g.has(wire.FlagACK) {
		// "Otherwise, enter SYN-RECEIVED, form a SYN,ACK segment <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK> and send it."
		c.recordAlias(g.f.Conn)
		c.setState(StateSynRcvd, RxSYN)
		c.sendSYN(SendSYN)
		return false
	}
	// "SND.UNA should be advanced to equal SEG.ACK ... If SND.UNA > ISS (our SYN has been ACKed), change the connection
	// state to ESTABLISHED, form an ACK segment <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK> and send it."
	c.sndUna = g.ack
	c.lastAckRcv = c.stack.loop.Now()
	c.setState(StateEstablished, RxSYNACK)
	c.establish(g)
	c.events |= evEstablished
	c.rcvAdv = c.rcvNxt + seqNum(c.set.synWindow(c.rt, false)) // what the SYN has offered
	fast, resent := false, false
	if c.fo != nil {
		fast, resent = c.fastOpenAnswered(g)
	}
	// "If there are other controls or text in the segment, then continue processing at the sixth step". Linux takes text and
	// FIN of a SYN,ACK only where Fast Open was asked for (tcp_rcv_fastopen_synack); else they are left to come again.
	c.arrivesUrgent(g)
	g.flags &^= wire.FlagSYN
	g.seq++
	if (fast && !resent || c.set.personality == PersonalityFreeBSD) && (g.length == 0 || c.arrivesText(g)) && g.has(wire.FlagFIN) {
		c.arrivesFIN(g)
	}
	return !resent // what is sent again acknowledges the SYN,ACK
}

// synAgain is how soon a SYN is sent again whose answer was for another connection (TCP_TIMEOUT_MIN): our reset has cleared
// the peer's half-open connection meanwhile (RFC 9293 3.5.1).
const synAgain = 2 * sim.Millisecond

// synAgainSoon hurries the SYN's first repetition (Linux: tcp_rcv_synsent_state_process).
func (c *Conn) synAgainSoon() {
	if c.retransmits == 0 && c.timerAt != sim.Never {
		c.setRetransTimer(TimerRTO, synAgain)
	}
}

// echoesOurs says whether a timestamp is one that our SYNs can have had.
func (c *Conn) echoesOurs(ecr uint32) bool {
	first := uint32(c.lastDataSent/sim.Millisecond) + c.tsOffset
	return ecr-first <= c.tsNow()-first
}
