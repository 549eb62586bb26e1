package tcpstack

import "labd.dev/sim"

// ackFlags say what an acknowledgement has brought; the names in brackets are those of Linux's tcp_input.c.
type ackFlags uint16

const (
	ackData          ackFlags = 1 << iota // the segment carries data (FLAG_DATA)
	ackWindow                             // it changed the window (FLAG_WIN_UPDATE)
	ackAcked                              // segments are covered by SEG.ACK (FLAG_DATA_ACKED)
	ackAdvanced                           // SND.UNA moved (FLAG_SND_UNA_ADVANCED)
	ackSacked                             // segments are newly SACKed (FLAG_DATA_SACKED)
	ackRetransmitted                      // of those covered some had been retransmitted (FLAG_RETRANS_DATA_ACKED)
	ackOriginal                           // of those (S)ACKed some, sent before highSeq, never were (FLAG_ORIG_SACK_ACKED)
	ackLostRetrans                        // a retransmission was lost (FLAG_LOST_RETRANS)
	ackDSACK                              // it reports a duplicate (FLAG_DSACKING_ACK)
	ackDSACKTLP                           // and that of a loss probe (FLAG_DSACK_TLP)
	ackReneging                           // the first segment left had been SACKed (FLAG_SACK_RENEGING)
	ackSetTimer                           // the retransmission timer or the probe's is due to be set (FLAG_SET_XMIT_TIMER)
	ackECE                                // the peer echoes congestion (FLAG_ECE)
	ackMaybeDelayed                       // it may have been delayed (FLAG_ACK_MAYBE_DELAYED)
	ackTimed                              // firstAckedAt and lastAckedAt are set
	ackSackTimed                          // firstSackedAt and lastSackedAt are set

	ackNotDup   = ackData | ackWindow | ackAcked
	ackAlert    = ackSacked | ackECE | ackDSACK
	ackProgress = ackAcked | ackSacked
)

// ackResult is what an acknowledgement has told.
type ackResult struct {
	flags  ackFlags
	acked  int    // segments newly covered by SEG.ACK
	sacked int    // segments newly covered by SACK blocks
	bytes  uint32 // data bytes newly covered by SEG.ACK
	part   bool   // SEG.ACK ends within a segment
	dup    bool   // a duplicate ACK in RFC 5681 2's sense

	priorUna       seqNum
	priorFack      seqNum // end of what was SACKed, before this ACK
	priorSacked    int
	priorDelivered uint32 // congestion.Rate's Delivered and Lost, before this ACK
	priorLost      uint32
	reord          seqNum // start of the lowest segment that it shows to be displaced

	firstAckedAt, lastAckedAt   sim.Time // when the first and the last segment covered were sent; of those never retransmitted
	firstSackedAt, lastSackedAt sim.Time // the same of those SACKed
	sackRTT                     int64    // us; -1: none
	rtt                         int64    // us, of the last segment (S)ACKed; -1: none

	looked bool // what the algorithm sees is up to date but for the window
	resend resendMode
}

// resendMode is what the recovery wants sent after an ACK.
type resendMode uint8

const (
	resendNone resendMode = iota
	resendLost            // what is lost, as far as the window lets it
	resendNew             // F-RTO's new data, and what is lost if there is none
)

// acknowledge takes an acceptable ACK in, in the order of Linux's tcp_ack: the send window, SACK blocks, what SEG.ACK
// covers, the round-trip time, loss probes, the recovery, the timer, the congestion window, and what the recovery sends.
func (c *Conn) acknowledge(g *segment) {
	if c.acknowledgesNothing(g) {
		c.setSndWnd(g)
		c.progress(0)
		return
	}
	before := c.win
	oldWnd, q := c.sndWnd, c.rtx
	r := ackResult{priorUna: c.sndUna, sackRTT: -1, rtt: -1}
	if cc := c.cc; cc != nil {
		r.priorDelivered, r.priorLost = cc.Delivered, cc.Lost
		cc.rs.Begin()
		cc.PriorInFlight = uint32(q.inFlight())
		if c.ecnEchoed(g) {
			r.flags |= ackECE
		}
	}
	if rec := c.rec; rec != nil {
		rec.sawTS, rec.tsEcr = c.tsOK && g.opt.HasTimestamps && g.opt.TSEcr != 0, g.opt.TSEcr
	}
	if g.ack.less(c.sndUna) {
		c.acknowledgedBefore(g, &r)
		return
	}
	if q != nil {
		r.priorFack, r.priorSacked = c.highestSack(), q.sackedOut
	}
	if g.segLen() > 0 {
		r.flags |= ackData
	}
	if c.setSndWnd(g) {
		r.flags |= ackWindow
	}
	if c.sndUna.less(g.ack) {
		r.flags |= ackAdvanced
		c.retransmits = 0
		c.advanceUna(g.ack, &r)
	}
	if c.sackOK && g.opt.NSACK > 0 {
		c.takeSACK(g, &r)
	}
	if q == nil {
		c.acknowledgedNothing(g, &r)
	} else {
		c.acknowledgedInFlight(g, &r, oldWnd)
		if c.stack.loop.Rec != nil {
			c.recordMetrics(before, r.rtt)
		}
		if c.rtx != nil && c.rtx.n == 0 {
			c.releaseRtx()
		}
	}
	c.progress(r.bytes)
}

// acknowledgesNothing is the header prediction of an end that only receives: the ACK repeats SND.UNA, nothing was ever sent
// that it could tell of, and only its window counts (Linux has its own in tcp_rcv_established).
func (c *Conn) acknowledgesNothing(g *segment) bool {
	return g.ack == c.sndUna && c.rtx == nil && c.rec == nil && c.cc == nil && g.opt.NSACK == 0
}

// acknowledgedInFlight is acknowledge's part for a connection that has segments in flight.
func (c *Conn) acknowledgedInFlight(g *segment, r *ackResult, oldWnd uint32) {
	c.cleanQueue(r)
	c.tellAlgorithm(r)
	c.adaptReoWnd()
	if c.rec.tlp.out {
		c.probeAcked(g.ack, r)
		r.looked = false
	}
	r.dup = r.flags&(ackAdvanced|ackNotDup|ackDSACK) == 0
	switch {
	case r.flags&ackAdvanced != 0:
		c.dupAcks = 0
	case (r.dup || r.sacked > 0) && c.dupAcks < 255:
		c.dupAcks++
	}
	if r.flags&(ackAcked|ackAdvanced|ackSacked) != 0 || r.dup || c.sndWnd != oldWnd {
		c.recordAck(r) // what a segment with data repeats of the last ACK is no event
	}
	// Linux's tcp_ack_is_dubious.
	if r.flags&ackNotDup == 0 || r.flags&ackAlert != 0 || c.caState != caOpen {
		c.fastRetransAlert(r)
		r.looked = false
	}
	if r.flags&ackSetTimer != 0 {
		c.setXmitTimer()
	}
	c.congControl(r)
	c.xmitRecovery(r)
}

// acknowledgedNothing: nothing was in flight. A DSACK may still show that what was retransmitted before had not been lost.
func (c *Conn) acknowledgedNothing(g *segment, r *ackResult) {
	if r.flags&ackDSACK != 0 {
		c.fastRetransAlert(r)
	}
	if c.rec != nil && c.rec.tlp.out {
		c.probeAcked(g.ack, r)
	}
}

// acknowledgedBefore: RFC 9293 3.10.7.4: "If the ACK is a duplicate (SEG.ACK =< SND.UNA), it can be ignored", but for what
// its SACK blocks tell.
func (c *Conn) acknowledgedBefore(g *segment, r *ackResult) {
	if !c.sackOK || g.opt.NSACK == 0 || c.rec == nil {
		return
	}
	c.takeSACK(g, r)
	c.fastRetransAlert(r)
	c.xmitRecovery(r)
}

// advanceUna moves SND.UNA and frees what was written below it.
func (c *Conn) advanceUna(ack seqNum, r *ackResult) {
	was := c.dataUna()
	c.sndUna = ack
	r.bytes = uint32(c.dataUna() - was)
	c.stack.tcp.mem.give(int(r.bytes))
	c.bytesAcked += uint64(r.bytes)
	if c.urg != nil {
		c.urgentAcked()
	}
	c.rt.confirm()
	if c.snd != nil && r.bytes > 0 {
		c.snd.acked(c.dataUna())
		c.releaseSnd()
	}
}

// cleanQueue takes off the queue what SEG.ACK covers (Linux: tcp_clean_rtx_queue).
//
// RFC 9293 3.10.7.4: "If SND.UNA < SEG.ACK =< SND.NXT, then set SND.UNA <- SEG.ACK. Any segments on the retransmission
// queue that are thereby entirely acknowledged are removed."
func (c *Conn) cleanQueue(r *ackResult) {
	q := c.rtx
	reord := c.sndNxt
	var plain *txSeg // the last of those covered that were sent once, whose rate and time are yet to be taken in
	for q.n > 0 {
		x := q.at(0)
		if c.sndUna.less(x.end()) {
			if x.seq.less(c.sndUna) {
				x.length -= uint16(c.sndUna - x.seq)
				x.seq = c.sndUna
				r.part = true
			}
			if x.flags&txSacked != 0 {
				r.flags |= ackReneging
			}
			break
		}
		if x.flags&txMarks == 0 && c.sackOK {
			c.coveredPlain(x, r, &reord)
			plain = x
		} else {
			c.delivered(plain)
			plain = nil
			c.covered(x, r, &reord)
		}
		q.pop()
		r.acked++
	}
	c.delivered(plain)
	timed := c.updateRTT(r)
	if r.acked == 0 {
		// Linux: the timer is not put off by a SACK of what was sent before the first segment was sent again.
		if timed && q.n > 0 && r.sackRTT >= 0 && r.sackRTT > c.elapsed(q.at(0).sentAt) {
			r.flags |= ackSetTimer
		}
		return
	}
	r.flags |= ackSetTimer
	if c.mtup() != nil {
		c.probeMTUAcked()
	}
	if !c.sackOK {
		c.removeRenoSacks(r.acked)
		if r.flags&ackRetransmitted != 0 {
			r.flags &^= ackOriginal
		}
	} else if reord.less(r.priorFack) {
		// A hole that was never retransmitted is filled: its segment was displaced.
		c.checkReordering(reord)
	}
}

// coveredPlain accounts for a segment that SEG.ACK covers and that nothing has ever befallen: covered's part for those. Of
// several in a row the last alone tells RACK and the rate sample something: it was sent last.
func (c *Conn) coveredPlain(x *txSeg, r *ackResult, reord *seqNum) {
	r.lastAckedAt = x.sentAt
	if r.flags&ackTimed == 0 {
		r.firstAckedAt = x.sentAt
	}
	r.flags |= ackAcked | ackTimed
	if x.seq.less(*reord) {
		*reord = x.seq
	}
	if !c.rec.highSeq.less(x.end()) {
		r.flags |= ackOriginal
	}
	c.cc.Delivered++
}

// delivered tells RACK and the rate sample of the last plain segment of a row; x may be nil.
func (c *Conn) delivered(x *txSeg) {
	if x != nil {
		c.rackAdvance(x)
		c.rateDelivered(x)
	}
}

// covered accounts for a segment that SEG.ACK covers.
func (c *Conn) covered(x *txSeg, r *ackResult, reord *seqNum) {
	rec := c.rec
	r.flags |= ackAcked
	if x.flags&txRexmit != 0 {
		r.flags |= ackRetransmitted
	} else if x.flags&txSacked == 0 {
		r.lastAckedAt = x.sentAt
		if r.flags&ackTimed == 0 {
			r.firstAckedAt = x.sentAt
			r.flags |= ackTimed
		}
		if x.seq.less(*reord) {
			*reord = x.seq
		}
		if !rec.highSeq.less(x.end()) {
			r.flags |= ackOriginal
		}
	}
	if x.flags&txSacked == 0 && c.sackOK {
		c.cc.Delivered++
		if x.flags&txRexmit == 0 || !c.echoesBefore(x.sentAt) {
			c.rackAdvance(x)
		}
	}
	if x.flags&txSacked == 0 {
		c.rateDelivered(x)
	}
}

// tellAlgorithm tells the congestion control of the ACK, once what it delivered is counted.
func (c *Conn) tellAlgorithm(r *ackResult) {
	cc := c.cc
	if r.flags&ackECE != 0 {
		cc.DeliveredCE += cc.Delivered - r.priorDelivered
	}
	c.lookAround(cc)
	r.looked = true
	cc.alg.InAck(&cc.Sender)
	cc.alg.PktsAcked(&cc.Sender, cc.rs.RTT)
}

// progress notes what the application waits for once so many bytes more are acknowledged, and what the FIN's
// acknowledgement means.
func (c *Conn) progress(bytes uint32) {
	if c.sndUna == c.sndNxt && c.unsent() == 0 && c.undrained && (!c.finQueued || c.finSent) {
		c.undrained = false
		c.events |= evDrained
	}
	// Linux (sk_stream_is_writeable): a third of the buffer is free.
	if bytes > 0 {
		c.spaceFreed()
	}
	if c.wantWrite && c.Room() >= int(c.sndBuf)/3 && !c.notsentFull(1) {
		c.wantWrite = false
		c.events |= evWritable
		c.chronoStop(chronoSndbuf)
	}
	if c.clock != nil && c.sndUna == c.sndNxt {
		c.chronoStop(chronoBusy)
	}
	if c.finSent && c.sndUna == c.sndNxt {
		c.finAcknowledged()
	}
}
