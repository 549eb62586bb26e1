package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Header prediction: what nearly every segment of a connection under way is goes straight through, with what
// arrivesOtherwise and acknowledge come to for it and without asking what cannot be so. Jacobson's of 4.3BSD-Reno, and
// Linux's fast path in tcp_rcv_established, whose conditions (tcp_fast_path_check) these are: the next segment in order, no
// flags but ACK and PSH, no options but timestamps, a window to receive in, nothing urgent, nothing out of order. Unlike
// Linux's it asks nothing of the window announced.
//
// TestPlainWayIsTheGeneralWay holds that it changes nothing.

// predicted takes a segment in, if it is what was expected.
func (c *Conn) predicted(g *segment) bool {
	if !g.plain || c.state != StateEstablished || g.flags&^wire.FlagPSH != wire.FlagACK || g.seq != c.rcvNxt ||
		c.odd != nil || c.fo != nil || c.urg != nil || g.opt.HasTimestamps != c.tsOK ||
		g.ack.less(c.sndUna) || c.sndNxt.less(g.ack) {
		return false
	}
	now := c.stack.loop.Now()
	if c.tsOK {
		if int32(g.opt.TSVal-c.tsRecent) < 0 {
			return false
		}
		if g.seq == c.rcvWup {
			c.tsRecent, c.tsRecentAge = g.opt.TSVal, c.ageNow()
		}
	}
	c.lastAckRcv = now
	c.probesOut = 0
	if c.cc == nil && c.rtx == nil && c.rec == nil && g.ack == c.sndUna {
		c.acknowledgedOnly(g)
	} else if !c.acknowledgesInOrder(g) {
		c.acknowledge(g)
	}
	if c.pendingTimer == TimerPersist && c.timerAt != sim.Never && c.sndNxt == c.sndUna {
		c.probeAnswered()
	}
	if g.length > 0 && !c.textInOrder(g) {
		c.arrivesText(g)
	}
	return true
}

// acknowledgedOnly is acknowledge for an end that only receives, of whose segments an ACK can tell nothing: its window counts.
func (c *Conn) acknowledgedOnly(g *segment) {
	if uint32(g.wnd)<<(c.sndWscale&maskWscale) == c.sndWnd {
		c.sndWl1 = maxSeq(c.sndWl1, g.seq)
	} else {
		c.setSndWnd(g)
	}
	if c.undrained || c.wantWrite || c.clock != nil {
		c.progress(0)
	}
}

// textInOrder takes a segment's text in, if it is new, fits the window, and nothing is known of what comes after it.
func (c *Conn) textInOrder(g *segment) bool {
	b, m := c.rcv, &c.stack.tcp.mem
	if c.appClosed || m.limit != 0 || c.ecn&ecnOK != 0 || int32(c.rcvAdv-c.rcvNxt) < int32(g.length) ||
		b != nil && (len(b.ooo) > 0 || b.hasFIN) {
		return false
	}
	if b == nil {
		b = c.inbox()
	}
	m.take(int(g.length))
	b.push(c.stack.loop, g.f.Chunk(), g.f.Payload)
	c.rcvNxt += seqNum(g.length)
	c.bytesReceived += uint64(g.length)
	c.dataReady()
	c.dataReceived(g)
	return true
}

// acknowledgesInOrder takes an ACK in that covers whole segments which nothing has ever befallen, while no loss is repaired
// or suspected, if it is one.
func (c *Conn) acknowledgesInOrder(g *segment) bool {
	q, cc := c.rtx, c.cc
	if q == nil || cc == nil || c.caState != caOpen || !c.sackOK || c.ecn&ecnOK != 0 || c.rec.tlp.out ||
		q.sackedOut|q.lostOut|q.retransOut != 0 {
		return false
	}
	n := q.coveredInOrder(g.ack)
	if n == 0 {
		return false
	}
	before := c.win
	r := ackResult{flags: ackAdvanced | ackAcked | ackTimed | ackSetTimer, acked: n, priorUna: c.sndUna,
		priorDelivered: cc.Delivered, priorLost: cc.Lost, sackRTT: -1, rtt: -1}
	cc.rs.Begin()
	cc.PriorInFlight = uint32(q.n)
	c.rec.sawTS, c.rec.tsEcr = c.tsOK && g.opt.TSEcr != 0, g.opt.TSEcr
	c.setSndWnd(g)
	c.retransmits = 0
	c.advanceUna(g.ack, &r)
	last := q.at(n - 1)
	r.firstAckedAt, r.lastAckedAt = q.at(0).sentAt, last.sentAt
	cc.Delivered += uint32(n)
	c.delivered(last)
	q.popInOrder(n)
	c.updateRTT(&r)
	c.tellAlgorithm(&r)
	c.adaptReoWnd()
	c.dupAcks = 0
	if c.stack.loop.Rec == nil {
		c.setXmitTimer()
		c.congControl(&r)
	} else {
		c.recordAck(&r)
		c.setXmitTimer()
		c.congControl(&r)
		c.recordMetrics(before, r.rtt)
	}
	if q.n == 0 {
		c.releaseRtx()
	}
	c.progress(r.bytes)
	return true
}

// coveredInOrder is how many segments an ACK covers, if it ends with one of them and nothing has befallen any; else 0.
func (q *txQueue) coveredInOrder(ack seqNum) int {
	for n := range q.n {
		x := q.at(n)
		if x.flags&txMarks != 0 {
			return 0
		}
		if end := x.end(); !end.less(ack) {
			if end == ack {
				return n + 1
			}
			return 0
		}
	}
	return 0
}

// popInOrder takes the n oldest entries out, which have no marks.
func (q *txQueue) popInOrder(n int) {
	q.head = (q.head + n) & (len(q.ring) - 1)
	q.n -= n
	q.rtxHint = max(0, q.rtxHint-n)
	q.rackHint = max(0, q.rackHint-n)
	q.highSacked = max(-1, q.highSacked-n)
}
