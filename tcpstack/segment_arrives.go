package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Bits of Conn.events: what the application is to be told when a segment has been worked through.
const (
	evEstablished = 1 << iota
	evReadable
	evWritable
	evDrained
	evUrgent
)

// arrives is RFC 9293 3.10.7, SEGMENT ARRIVES, step by step in its order.
func (c *Conn) arrives(g *segment) {
	c.segsIn++
	if g.length > 0 {
		c.dataSegsIn++
	}
	if c.stack.loop.Rec != nil {
		if g.plain && g.opt.HasTimestamps && !g.has(wire.FlagSYN) &&
			c.state == StateEstablished && g.seq == c.rcvNxt && !g.ack.less(c.sndUna) {
			c.recordPlainReceived(g)
		} else {
			c.recordReceived(g, c.judge(g))
		}
	}
	c.processing = true
	switch {
	case c.predicted(g):
	case c.state == StateSynSent:
		c.arrivesSynSent(g)
		return
	default:
		c.arrivesOtherwise(g)
	}
	c.conclude()
}

// conclude tells the application what happened and sends what is due. Data that the application writes now carries the
// ACK; only what is still owed is sent by itself.
func (c *Conn) conclude() {
	if c.events != 0 && (c.events&evEstablished == 0 || c.accepted()) {
		c.tell()
	}
	c.processing = false
	if c.gone() {
		c.farewell()
		return
	}
	if c.waiting() || c.odd != nil {
		c.transmit()
	}
	if c.state != StateClosed {
		c.flushACK()
	}
}

// tell calls the application for each event; it may cause further ones.
func (c *Conn) tell() {
	for c.events != 0 && c.h != nil && c.closeErr() == nil {
		ev := c.events & -c.events
		c.events &^= ev
		switch {
		case ev == evEstablished:
			c.h.Established(c)
		case c.appClosed:
		case ev == evUrgent:
			if h, ok := c.h.(UrgentHandler); ok {
				h.Urgent(c)
			}
		case ev == evReadable:
			c.h.Readable(c)
		case ev == evWritable:
			c.h.Writable(c)
		case ev == evDrained:
			c.h.Drained(c)
		}
	}
	c.events = 0
}

// ackReason says why an ACK that goes out at once does.
func (c *Conn) ackReason() SendReason {
	if c.challengeDue {
		c.challengeDue, c.dupAckDue = false, false
		return SendChallenge
	}
	if c.dupAckDue {
		c.dupAckDue = false
		return SendDupACK
	}
	return SendACK
}

// judge tells what a segment is to the connection, before anything is done about it.
func (c *Conn) judge(g *segment) Verdict {
	switch {
	case c.state == StateSynSent:
		return InOrder
	case !c.acceptable(g):
		if g.end().lessEq(c.rcvNxt) {
			return Duplicate
		}
		return OutOfWindow
	case g.length > 0 && c.rcvNxt.less(g.seq):
		return OutOfOrder
	case g.length == 0 && g.has(wire.FlagACK) && g.ack.less(c.sndUna):
		return Old
	}
	return InOrder
}

// arrivesOtherwise is 3.10.7.4, OTHER STATES.
func (c *Conn) arrivesOtherwise(g *segment) {
	// In a simultaneous open the peer's SYN,ACK repeats its SYN: what follows the SYN is what counts (RFC 9293 3.5,
	// Figure 7, lines 5 and 6). Linux (tcp_data_queue) acknowledges the SYN once more, as what came twice.
	crossed := c.state == StateSynRcvd && g.has(wire.FlagSYN) && g.has(wire.FlagACK) && g.seq == c.irs && g.ack == c.sndNxt
	if crossed {
		g.flags &^= wire.FlagSYN
		g.seq++
	}
	if c.halfAccepted() && !c.checkHalfAccepted(g) {
		return
	}
	// "If the ACK bit is off, drop the segment and return": where neither SYN nor RST explains that, before anything else
	// (Linux: tcp_rcv_established).
	if g.flags&(wire.FlagACK|wire.FlagSYN|wire.FlagRST) == 0 {
		c.stack.tcp.count.noACKBit++
		c.recordDropped(g, DropMalformed)
		return
	}
	if !c.checkSequence(g) {
		return
	}
	// "Second, check the RST bit".
	if g.has(wire.FlagRST) {
		c.arrivesRST(g)
		return
	}
	// "Fourth, check the SYN bit".
	if g.has(wire.FlagSYN) {
		c.arrivesSYN(g)
		return
	}
	// "Fifth, check the ACK field: if the ACK bit is off, drop the segment and return".
	if !g.has(wire.FlagACK) || !c.arrivesACK(g) {
		return
	}
	if crossed && c.state == StateEstablished && c.set.personality == PersonalityLinux {
		c.reportDup(c.irs, c.irs+1)
		c.enterQuickACK(maxQuickACKs)
		c.ackPending = true
	}
	if g.has(wire.FlagURG) || c.urg != nil {
		c.arrivesUrgent(g)
	}
	// "Seventh, process the segment text". "Eighth, check the FIN bit".
	if g.length > 0 && !c.arrivesText(g) {
		return
	}
	if g.has(wire.FlagFIN) {
		c.arrivesFIN(g)
	}
}

// acceptable: RFC 9293 3.10.7.4: "There are four cases for the acceptability test for an incoming segment". Like Linux
// (tcp_sequence) it takes what ends at the last acknowledgement sent or later, so that the ACK of a segment whose data came
// before still counts, and what begins at the window's edge: arrivesText sees to the data.
func (c *Conn) acceptable(g *segment) bool {
	return !g.end().less(c.rcvWup) && !(c.rcvNxt + seqNum(c.rcvWnd())).less(g.seq)
}

// rcvWnd is RCV.WND: what is left of the window announced.
func (c *Conn) rcvWnd() uint32 {
	if c.rcvAdv.lessEq(c.rcvNxt) {
		return 0
	}
	return uint32(c.rcvAdv - c.rcvNxt)
}

// checkSequence is "First, check sequence number", with PAWS before it.
func (c *Conn) checkSequence(g *segment) bool {
	if c.tsOK && g.opt.HasTimestamps && !g.has(wire.FlagRST) && c.oldTimestamp(g.opt.TSVal) && !c.displacedACK(g) {
		c.rejectOld(g)
		return false
	}
	if c.acceptable(g) {
		return true
	}
	if c.state == StateSynRcvd && g.has(wire.FlagSYN) && g.seq == c.irs && !g.has(wire.FlagRST) {
		// The peer repeats its SYN: our SYN,ACK was lost (Linux: tcp_check_req).
		c.sendSYN(SendSYN)
		return false
	}
	// "If an incoming segment is not acceptable, an acknowledgment should be sent in reply (unless the RST bit is set, if so
	// drop the segment and return)".
	switch {
	case g.has(wire.FlagRST):
		if g.seq == c.rcvNxt-1 && c.resets(g) {
			c.arrivesRST(g)
			return false
		}
	case g.has(wire.FlagSYN):
		c.arrivesSYN(g)
	default:
		c.answer(g, &c.stack.tcp.count.skippedSeq)
		c.repeats(g)
	}
	if g.end().less(c.rcvNxt) || g.segLen() == 0 {
		return false
	}
	if c.rcvNxt.less(g.end()) {
		c.stack.tcp.count.beyondWindow++
	}
	c.recordDropped(g, DropOutOfWindow)
	return false
}

// repeats: a segment whose data came before shows that its ACK was lost or late (Linux: tcp_send_dupack): the next ones go
// at once.
func (c *Conn) repeats(g *segment) {
	if g.segLen() == 0 {
		return
	}
	c.dupAckDue = true
	if g.seq.less(c.rcvNxt) {
		c.reportDup(g.seq, minSeq(g.end(), c.rcvNxt))
		c.enterQuickACK(maxQuickACKs)
	}
}

// arrivesRST is "Second, check the RST bit", with RFC 5961 3.2.
func (c *Conn) arrivesRST(g *segment) {
	if !c.resets(g) {
		// "If the RST bit is set and the sequence number does not exactly match the next expected sequence value, yet is
		// within the current receive window, TCP endpoints MUST send an acknowledgment (challenge ACK)".
		if c.fo != nil && c.state == StateEstablished {
			c.fastOpenReset()
		}
		c.challenge()
		return
	}
	switch {
	case c.state == StateSynRcvd && c.passive:
		// SYN-RECEIVED: "If this connection was initiated with a passive OPEN (i.e., came from the LISTEN state), then
		// return this connection to LISTEN state and return. The user need not be informed."
		c.terminate(nil, ClosedReset, RxRST)
	case c.state == StateSynRcvd:
		// "... then the connection was refused; signal the user 'connection refused'".
		c.terminate(ErrRefused, ClosedRefused, RxRST)
	case c.state == StateClosing || c.state == StateLastAck:
		// CLOSING, LAST-ACK, TIME-WAIT: "If the RST bit is set, then enter the CLOSED state, delete the TCB, and return."
		c.terminate(nil, ClosedReset, RxRST)
	default:
		// ESTABLISHED, FIN-WAIT-1, FIN-WAIT-2, CLOSE-WAIT: "Users should also receive an unsolicited general 'connection
		// reset' signal. Enter the CLOSED state, delete the TCB, and return."
		c.terminate(ErrReset, ClosedReset, RxRST)
	}
}

// arrivesACK is "Fifth, check the ACK field". It reports whether the segment is to be worked on further.
func (c *Conn) arrivesACK(g *segment) bool {
	if c.halfAccepted() {
		c.takeTimestamp(g)
		return c.handshakeAcked(g)
	}
	if c.state == StateSynRcvd {
		// "If SND.UNA < SEG.ACK =< SND.NXT, then enter ESTABLISHED state"; "If the segment acknowledgment is not
		// acceptable, form a reset segment <SEQ=SEG.ACK><CTL=RST> and send it."
		if !c.sndUna.less(g.ack) || c.sndNxt.less(g.ack) {
			c.stack.replyRST(g, &c.tuple)
			return false
		}
		c.takeTimestamp(g)
		c.sndUna = g.ack
		// "SND.WND <- SEG.WND, SND.WL1 <- SEG.SEQ, SND.WL2 <- SEG.ACK".
		c.maxSndWnd = 0 // the SYN's was not scaled
		c.setSndWnd(g)
		c.setState(StateEstablished, RxACK)
		c.establish(g)
		if c.fo != nil && c.fo.synData > 0 { // both ends opened fast
			if c.settleSYNData(g.ack); c.rtx != nil && c.rtx.n > 0 {
				c.setXmitTimer()
			}
		}
		c.events |= evEstablished
		if c.finQueued {
			c.closeStates()
		}
		return true
	}
	c.lastAckRcv = c.stack.loop.Now()
	if !c.ackAcceptable(g) {
		return false
	}
	if !g.ack.less(c.sndUna) {
		c.takeTimestamp(g)
	}
	c.probesOut = 0
	if g.opt.HasUserTimeout {
		c.heardUserTimeout(g.opt.UserTimeout)
	}
	if !g.plain && g.f.Header()[0]&15 > wire.IPv4MinLen/4 {
		c.routeArrives(g)
	}
	if c.odd != nil {
		c.odd.lastICMP, c.odd.synOut = nil, false
	}
	c.acknowledge(g)
	if c.pendingTimer == TimerPersist && c.timerAt != sim.Never && c.sndNxt == c.sndUna && !c.gone() {
		c.probeAnswered()
	}
	if c.state == StateFinWait2 && c.appClosed && c.set.finTimeout == 0 {
		c.stack.replyRST(g, &c.tuple)
		c.terminate(ErrReset, ClosedReset, AppClose)
	}
	return !c.gone()
}

// updatesWindow says whether a segment's window is news (Linux: tcp_may_update_window).
func (c *Conn) updatesWindow(g *segment) bool {
	wnd := uint32(g.wnd) << (c.sndWscale & maskWscale)
	return c.sndUna.less(g.ack) || c.sndWl1.less(g.seq) || g.seq == c.sndWl1 && (wnd > c.sndWnd || wnd == 0)
}

// setSndWnd: RFC 9293 3.10.7.4: "If (SND.WL1 < SEG.SEQ or (SND.WL1 = SEG.SEQ and SND.WL2 =< SEG.ACK)), set SND.WND <-
// SEG.WND, set SND.WL1 <- SEG.SEQ, and set SND.WL2 <- SEG.ACK." Like Linux (tcp_may_update_window) it takes the window of
// an ACK that is not new in any other way only if it is larger, or closed. It reports that the ACK counts as a window
// update; SND.UNA is still what it was.
func (c *Conn) setSndWnd(g *segment) bool {
	wnd := uint32(g.wnd) << (c.sndWscale & maskWscale)
	if !c.updatesWindow(g) {
		return false
	}
	// RFC 9293 3.8.6: "A TCP receiver SHOULD NOT shrink the window" and (MUST-34) a sender bears it. What rounding to
	// the scale takes off is no shrinking.
	if edge := c.sndUna + seqNum(c.sndWnd); (g.ack + seqNum(wnd) + 1<<(c.sndWscale&maskWscale)).lessEq(edge) {
		c.stack.tcp.count.windowShrunk++
	}
	was := c.sndWnd
	c.sndWnd, c.sndWl1 = wnd, g.seq
	if wnd != was && c.waiting() {
		c.restartAfterIdle() // what waited for the window is new data after an idle time
	}
	if wnd > c.maxSndWnd {
		c.maxSndWnd = wnd
		c.syncMSS()
	}
	return true
}

// arrivesText is "Seventh, process the segment text".
func (c *Conn) arrivesText(g *segment) bool {
	if !c.state.receives() {
		// CLOSE-WAIT and later: "This should not occur since a FIN has been received from the remote side. Ignore the
		// segment text."
		return !g.seq.less(c.rcvNxt) || !c.outOfWindow(g)
	}
	if c.refusesText() && c.rcvNxt.less(g.seq+seqNum(g.length)) {
		// RFC 9293 3.6.1: "if new data is received after CLOSE is called, its TCP implementation SHOULD send a RST to show
		// that data was lost." Linux answers the segment (tcp_rcv_state_process): <SEQ=SEG.ACK><CTL=RST>.
		c.stack.replyRST(g, &c.tuple)
		c.terminate(ErrReset, ClosedReset, AppClose)
		return false
	}
	if c.outOfWindow(g) {
		return false
	}
	c.ecnReceived(g)
	p, seq := g.f.Payload, g.seq
	// "segments are trimmed": what came before is cut off the front, what lies beyond the window off the end.
	if seq.less(c.rcvNxt) {
		c.reportDup(seq, minSeq(seq+seqNum(len(p)), c.rcvNxt))
		p, seq = p[min(len(p), int(c.rcvNxt-seq)):], c.rcvNxt
	}
	if over := int(int32(seq + seqNum(len(p)) - c.rcvAdv)); over > 0 {
		c.stack.tcp.count.beyondWindow++
		p = p[:len(p)-min(len(p), over)]
		g.flags &^= wire.FlagFIN
	}
	if len(p) == 0 {
		return true
	}
	m := &c.stack.tcp.mem
	fits, pruned := c.recvFits(seq, len(p))
	if !fits {
		c.stack.tcp.count.memoryDrops++
		c.recordDropped(g, DropMemory)
		if pruned {
			c.recordReassembly()
		}
		c.ackPending, c.ackNow = true, true
		return false
	}
	b := c.inbox()
	if seq != c.rcvNxt {
		// RFC 5681 3.2: "A TCP receiver SHOULD send an immediate duplicate ACK when an out-of-order segment arrives."
		if b.compressed > 0 && b.farBlock(seq, seq+seqNum(len(p))) {
			c.sendACK(SendDupACK)
		}
		c.ackPending, c.dupAckDue = true, true
		held := b.oooLen
		twice := b.insert(c.stack.loop, seq, g.f.Chunk(), p)
		c.reportDup(twice.left, twice.right)
		m.take(b.oooLen - held)
		c.flow()
		c.growWindow(g.length)
		c.recordReassembly()
		return true
	}
	m.take(len(p))
	before := c.rcvNxt
	b.push(c.stack.loop, g.f.Chunk(), p)
	c.rcvNxt += seqNum(len(p))
	gap := len(b.ooo) > 0
	if gap {
		// RFC 5681 4.2: "the receiver SHOULD send an immediate ACK when it receives a data segment that fills in all or
		// part of a gap in the sequence space." Like Linux, at once if no gap is left; else it is one more duplicate.
		held := b.oooLen + b.inOrder
		var twice sackRange
		c.rcvNxt, twice = b.advance(c.stack.loop, c.rcvNxt)
		c.reportDup(twice.left, twice.right)
		m.give(held - b.oooLen - b.inOrder)
		if len(b.ooo) == 0 {
			c.ackNow = true
		}
	}
	c.bytesReceived += uint64(c.rcvNxt - before)
	if gap || pruned {
		c.recordReassembly()
	}
	c.dataReady()
	c.dataReceived(g)
	if b.hasFIN && b.finSeq == c.rcvNxt {
		b.reached(c.rcvNxt)
		c.ackNow = true // the gap is filled
		c.finArrived()
		return false
	}
	return true
}

// outOfWindow says whether a segment's ACK counts but none of its data: all of it came before, or the window is closed. It
// is answered at once (Linux: tcp_data_queue).
func (c *Conn) outOfWindow(g *segment) bool {
	bareFIN := g.length == 0 && g.seq == c.rcvNxt // it takes no memory
	old := g.end().lessEq(c.rcvNxt)
	if !old && (bareFIN || c.rcvWnd() > 0 && g.seq.less(c.rcvAdv)) {
		return false
	}
	if !old {
		c.stack.tcp.count.beyondWindow++
		c.recordDropped(g, DropOutOfWindow)
	}
	if g.seq.less(c.rcvNxt) {
		c.reportDup(g.seq, minSeq(g.end(), c.rcvNxt))
	}
	c.enterQuickACK(maxQuickACKs)
	c.ackPending, c.ackNow, c.dupAckDue = true, true, true
	return true
}

// arrivesFIN is "Eighth, check the FIN bit".
func (c *Conn) arrivesFIN(g *segment) {
	if g.length == 0 && c.outOfWindow(g) {
		return
	}
	if c.rcvFIN || !c.state.receives() {
		return
	}
	at := g.seq + seqNum(g.length)
	if at != c.rcvNxt {
		switch {
		case at.less(c.rcvNxt):
		case c.appClosed: // the text before it is refused, so that it would wait forever (Linux: tcp_rcv_state_process)
			if c.fo != nil && c.fo.asked {
				c.pauseFastOpen()
			}
			c.stack.replyRST(g, &c.tuple)
			c.terminate(ErrReset, ClosedReset, AppClose)
		default: // beyond a gap: it waits like the text before it
			c.inbox().finBeyond(at)
			c.ackPending, c.dupAckDue = true, true
		}
		return
	}
	c.finArrived()
}

// finArrived: "If the FIN bit is set, signal the user 'connection closing' and return any pending RECEIVEs with same
// message, advance RCV.NXT over the FIN, and send an acknowledgment for the FIN."
func (c *Conn) finArrived() {
	c.rcvFIN = true
	c.rcvNxt++
	c.rcvAdv = maxSeq(c.rcvAdv, c.rcvNxt)
	c.ackPending = true
	c.events |= evReadable
	// Linux (tcp_fin): the ACK of a FIN in ESTABLISHED may wait for the application's own FIN or data; in the states in
	// which this end has closed it goes at once.
	if c.state == StateEstablished {
		c.pingPong = c.set.pingPong
	} else {
		c.ackNow = true
	}
	switch c.state {
	case StateEstablished:
		c.setState(StateCloseWait, RxFIN)
	case StateFinWait1:
		// "If our FIN has been ACKed (perhaps in this segment), then enter TIME-WAIT ...; otherwise, enter the CLOSING
		// state." (An acknowledged FIN has led to FIN-WAIT-2 before.)
		c.setState(StateClosing, RxFIN)
	case StateFinWait2:
		c.enterTimeWait(RxFIN)
	}
}

// finAcknowledged is the part of arrivesACK that depends on the state, once our FIN has been acknowledged.
func (c *Conn) finAcknowledged() {
	switch c.state {
	case StateFinWait1:
		c.setState(StateFinWait2, RxACK)
		if c.appClosed {
			c.armFinWait2()
			if c.fo != nil { // Linux keeps no socket from here on
				c.fastOpenEnded()
			}
		}
	case StateClosing:
		c.enterTimeWait(RxACK)
	case StateLastAck:
		// "The only thing that can arrive in this state is an acknowledgment of our FIN. If our FIN is now acknowledged,
		// delete the TCB, enter the CLOSED state, and return."
		c.saveMetrics()
		c.terminate(nil, ClosedOrderly, RxACK)
	}
}
