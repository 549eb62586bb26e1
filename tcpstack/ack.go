package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// ackResult is what an acknowledgement has told.
type ackResult struct {
	acked  int      // segments newly covered by SEG.ACK
	sacked int      // segments newly covered by SACK blocks
	bytes  uint32   // data bytes newly covered by SEG.ACK
	rtt    sim.Time // 0: no sample
	dup    bool     // a duplicate ACK in RFC 5681 2's sense
	exited bool     // it ended a fast recovery: RFC 6582 3.2 (3) leaves cwnd at ssthresh
}

// acknowledge takes an acceptable ACK: the send window, what it covers, the round-trip time, losses, the congestion
// window, and the timers.
func (c *Conn) acknowledge(g *segment) {
	oldUna, oldWnd := c.sndUna, c.sndWnd
	c.setSndWnd(g)
	if g.ack.less(c.sndUna) {
		return // "If the ACK is a duplicate (SEG.ACK =< SND.UNA), it can be ignored", but for what it says of the window
	}
	var r ackResult
	ece := c.ecnEchoed(g)
	if cc := c.cc; cc != nil {
		cc.rs.Begin()
		cc.PriorInFlight = uint32(c.rtx.inFlight())
	}
	if c.sndUna.less(g.ack) {
		c.cover(g, &r)
	}
	q := c.rtx
	if q != nil && c.sackOK && g.opt.NSACK > 0 {
		c.takeSACK(g, &r)
	}
	// RFC 5681 2: "DUPLICATE ACKNOWLEDGMENT: An acknowledgment is considered a "duplicate" ... when (a) the receiver of the
	// ACK has outstanding data, (b) the incoming acknowledgment carries no data, (c) the SYN and FIN bits are both off, (d)
	// the acknowledgment number is equal to the greatest acknowledgment received on the given connection ... and (e) the
	// advertised window in the incoming acknowledgment equals the advertised window in the last incoming acknowledgment."
	// With SACK, RFC 6675 2 asks for a block with news instead.
	if g.ack == oldUna && oldUna != c.sndNxt {
		if c.sackOK {
			r.dup = r.sacked > 0
		} else {
			r.dup = g.length == 0 && !g.has(wire.FlagFIN) && c.sndWnd == oldWnd
		}
	}
	if r.rtt == 0 && r.acked > 0 && c.tsOK && g.opt.HasTimestamps && g.opt.TSEcr != 0 {
		// RFC 7323 4.1: timestamps make retransmitted segments measurable.
		if d := int32(c.tsNow() - g.opt.TSEcr); d >= 0 {
			r.rtt = max(sim.Time(d)*sim.Millisecond, sim.Millisecond)
		}
	}
	if r.rtt > 0 {
		c.sampleRTT(r.rtt)
	}
	if r.acked > 0 {
		c.retransmits, c.backoff = 0, 0
	}
	if c.snd != nil && r.bytes > 0 {
		c.snd.acked(c.dataUna())
		c.releaseSnd()
	}
	if r.acked > 0 || r.bytes > 0 || r.sacked > 0 || r.dup || c.sndWnd != oldWnd {
		c.recordAck(&r) // what a segment with data repeats of the last ACK is no event
	}
	before := c.win
	if cc := c.cc; cc != nil {
		newly := uint32(r.acked + r.sacked)
		cc.Delivered += newly
		if ece {
			cc.DeliveredCE += newly
		}
		c.lookAround(cc)
		cc.alg.InAck(&cc.Sender)
		cc.alg.PktsAcked(&cc.Sender, cc.rs.RTT)
	}
	c.detectLoss(&r)
	if r.acked > 0 || r.sacked > 0 {
		c.grow(&r)
	}
	if r.acked > 0 {
		c.restartRTO()
	}
	if c.rtx != nil && c.rtx.n == 0 {
		c.releaseRtx()
	}
	if c.stack.loop.Rec != nil {
		c.recordMetrics(before, r.rtt)
	}
	c.progress(&r)
}

// cover advances SND.UNA and takes what it covers off the queue.
//
// RFC 9293 3.10.7.4: "If SND.UNA < SEG.ACK =< SND.NXT, then set SND.UNA <- SEG.ACK. Any segments on the retransmission
// queue that are thereby entirely acknowledged are removed."
func (c *Conn) cover(g *segment, r *ackResult) {
	was := c.dataUna()
	c.sndUna = g.ack
	r.bytes = uint32(c.dataUna() - was)
	c.bytesAcked += uint64(r.bytes)
	c.rt.confirm()
	q := c.rtx
	now := c.stack.loop.Now()
	clean := true
	for q != nil && q.n > 0 {
		x := q.at(0)
		if g.ack.less(x.end()) {
			if x.seq.less(g.ack) { // part of it
				x.length -= uint16(g.ack - x.seq)
				x.seq = g.ack
			}
			break
		}
		// RFC 6298 3, Karn's algorithm: "RTT samples MUST NOT be made using segments that were retransmitted".
		switch {
		case x.flags&txRexmit != 0:
			clean = false
		case x.flags&txSacked == 0 && r.rtt == 0:
			r.rtt = now - x.sentAt
		}
		if x.flags&txSacked == 0 {
			c.rateDelivered(x)
		}
		if x.flags&(txRexmit|txSacked) == 0 {
			c.cc.rs.RTT = now - x.sentAt
		}
		q.pop()
		r.acked++
	}
	if !clean {
		r.rtt = 0
	}
	if !c.sackOK && q != nil && r.acked > 0 {
		// Each segment that SEG.ACK covers, but for the one that filled the gap, had made a duplicate ACK.
		q.sackedOut = max(0, q.sackedOut-max(0, r.acked-1))
		if q.n == 0 || q.sackedOut > q.n {
			q.sackedOut = min(q.sackedOut, q.n)
		}
	}
}

// grow lets the algorithm set the congestion window.
func (c *Conn) grow(r *ackResult) {
	n := uint32(r.acked)
	if c.sackOK && c.caState != caLoss {
		n += uint32(r.sacked)
	}
	lost := uint32(0)
	if c.rtx != nil {
		lost, c.rtx.newlyLost = c.rtx.newlyLost, 0
	}
	c.cc.Lost += lost
	slow := c.win.InSlowStart()
	c.congControl(n, lost, c.caState != caRecovery && !r.exited && r.acked > 0 && n > 0)
	if slow && !c.win.InSlowStart() && c.caState != caLoss {
		c.setCCState(CongestionAvoidance, CCSSThreshReached)
	}
}

// progress notes what the application waits for, and what the FIN's acknowledgement means.
func (c *Conn) progress(r *ackResult) {
	if c.sndUna == c.sndNxt && c.unsent() == 0 && c.undrained && (!c.finQueued || c.finSent) {
		c.undrained = false
		c.events |= evDrained
	}
	// Linux (sk_stream_is_writeable): a third of the buffer is free.
	if c.wantWrite && c.Room() >= int(c.set.sndBuf)/3 {
		c.wantWrite = false
		c.events |= evWritable
	}
	if c.finSent && c.sndUna == c.sndNxt {
		c.finAcknowledged()
	}
}
