package tcpstack

import (
	"encoding/binary"
	"math"

	"labd.dev/sim"
	"labd.dev/tcpstack/congestion"
	"labd.dev/tcpstack/wire"
)

// What connections put into the trace. Nothing here is worked out unless a recorder listens. What each segment makes is
// written word by word: a literal of several words is built aside and copied in pieces wider than its words were written
// in, and such a load waits for the stores before it.

// side is the side bit of the connection's records.
func sideOf(passive bool) uint8 {
	if passive {
		return sideBit
	}
	return 0
}

// record starts a record of the connection; nil if nothing is recorded.
func (c *Conn) record(kind sim.Kind, reason uint8) *sim.Record {
	if c.stack.loop.Rec == nil { // here, too, so that nothing is called for nothing
		return nil
	}
	return c.stack.recordFor(kind, reason, c.id, c.passive)
}

func (s *Stack) recordFor(kind sim.Kind, reason uint8, id sim.ConnID, passive bool) *sim.Record {
	if s.loop.Rec == nil {
		return nil
	}
	r := s.id.Record(s.loop.Rec, s.loop.Now(), kind)
	r.Conn, r.Cause, r.Reason = id, s.tcp.cause, reason|sideOf(passive)
	return r
}

// moreWords is what a KindMore record holds: Cause, Conn and Pkt in two words each, high first, then W.
type moreWords [11]uint32

// recordMore continues the record head.
func (s *Stack) recordMore(head *sim.Record, w *moreWords) {
	r := s.more(head)
	r.Cause = w[0]
	r.Conn = sim.ConnID(uint64(w[1])<<32 | uint64(w[2]))
	r.Pkt = sim.PacketID(uint64(w[3])<<32 | uint64(w[4]))
	r.W[0], r.W[1], r.W[2], r.W[3], r.W[4], r.W[5] = w[5], w[6], w[7], w[8], w[9], w[10]
}

// more starts the record that continues head, in the places of moreWords.
func (s *Stack) more(head *sim.Record) *sim.Record {
	t, eseq := head.T, head.ESeq // before Next, as head's slot may be gone with it
	r := s.loop.Rec.Next()
	r.T, r.Node, r.ESeq, r.Kind = t, uint32(s.id.Src.ID), eseq, sim.KindMore
	return r
}

func words(r *sim.Record) moreWords {
	w := moreWords{r.Cause, uint32(r.Conn >> 32), uint32(r.Conn), uint32(r.Pkt >> 32), uint32(r.Pkt)}
	copy(w[5:], r.W[:])
	return w
}

// offsetOf is the stream offset of a sequence number near SND.UNA: 0 for the first byte of data.
func (c *Conn) offsetOf(seq seqNum) uint64 {
	return c.bytesAcked + uint64(int64(int32(seq-c.dataUna())))
}

// rcvOffset is the stream offset of a sequence number near RCV.NXT.
func (c *Conn) rcvOffset(seq seqNum) uint64 {
	at := c.rcvNxt
	if c.rcvFIN {
		at--
	}
	return c.bytesReceived + uint64(int64(int32(seq-at)))
}

// putSegment fills the words that segments sent and received share.
func putSegment(r *sim.Record, h *wire.TCP, opt *wire.TCPOptions, n int, off, ackOff uint64, tx, shift, ecn uint8) bool {
	r.Flags = uint8(h.Flags)
	bits := uint32(ecn) << segECNShift
	if opt.HasTimestamps {
		bits |= segTS
	}
	more := opt.MSS != 0 || opt.HasWindowScale || opt.SACKPermitted || opt.NSACK > 0 || opt.FastOpen.Present
	if more {
		bits |= segMore
	}
	if h.Flags&wire.FlagSYN != 0 {
		shift = 0
	}
	r.W[0], r.W[1], r.W[2], r.W[3], r.W[4] = h.Seq, h.Ack, uint32(n)<<16|uint32(h.Window), opt.TSVal, opt.TSEcr
	r.W[5] = segmentBits(off, ackOff, tx, shift, bits)
	return more
}

// segmentBits is a segment's last word: what of its stream offsets its sequence numbers do not tell, and what else is small.
func segmentBits(off, ackOff uint64, tx, shift uint8, bits uint32) uint32 {
	return uint32(off>>8)&0xff000000 | uint32(ackOff>>16)&0x00ff0000 | uint32(tx)<<8 | uint32(shift)<<4 | bits
}

// Bits of the second of optionWords.
const (
	optWscale = 1 << iota
	optSACKPermitted
	optFastOpen
	optFastOpenExp
)

// optionWords is the More record of a segment: MSS<<16 | shift<<8 | number of SACK blocks<<4 | opt* bits, then the
// blocks' edges. A Fast Open option, which segments with SACK blocks do not have, has its cookie in the first four words of
// them and the cookie's length in the last.
func optionWords(opt *wire.TCPOptions) (w moreWords) {
	w[0] = uint32(opt.MSS)<<16 | uint32(opt.WindowScale)<<8 | uint32(opt.NSACK)<<4
	if opt.HasWindowScale {
		w[0] |= optWscale
	}
	if opt.SACKPermitted {
		w[0] |= optSACKPermitted
	}
	for i, b := range opt.SACK[:opt.NSACK] {
		w[1+2*i], w[2+2*i] = b.Left, b.Right
	}
	if fo := &opt.FastOpen; fo.Present && opt.NSACK == 0 {
		w[0] |= optFastOpen
		if fo.Exp {
			w[0] |= optFastOpenExp
		}
		for i := range 4 {
			w[1+i] = binary.BigEndian.Uint32(fo.Cookie[4*i:])
		}
		w[len(w)-1] = uint32(fo.Len)
	}
	return w
}

func (c *Conn) recordSent(f *sim.Frame, h *wire.TCP, opt *wire.TCPOptions, n int, why SendReason, tx int, cp ECN) {
	r := c.record(KindTCPSegmentSent, uint8(why))
	if r == nil {
		return
	}
	r.Pkt, r.Aux = f.Pkt, uint8(c.state)
	if putSegment(r, h, opt, n, c.offsetOf(seqNum(h.Seq)), c.rcvOffset(seqNum(h.Ack)), uint8(min(tx, 255)), c.rcvWscale, uint8(cp)) {
		w := optionWords(opt)
		c.stack.recordMore(r, &w)
	}
}

func (c *Conn) recordReceived(g *segment, v Verdict) {
	r := c.record(KindTCPSegmentReceived, uint8(v))
	if r == nil {
		return
	}
	r.Pkt, r.Aux = g.f.Pkt, uint8(c.state)
	c.stack.tcp.cause = r.ESeq
	h := g.header()
	if putSegment(r, &h, &g.opt, int(g.length), c.rcvOffset(g.seq), c.offsetOf(g.ack), 0, c.sndWscale, g.ecn()) {
		w := optionWords(&g.opt)
		c.stack.recordMore(r, &w)
	}
}

func (g *segment) header() wire.TCP {
	return wire.TCP{Seq: uint32(g.seq), Ack: uint32(g.ack), Flags: g.flags, Window: g.wnd}
}

// ecn is the ECN codepoint that the segment arrived with.
//
// RFC 3168 5: "Bits 6 and 7 in the IPv4 TOS octet are designated as the ECN field."
func (g *segment) ecn() uint8 { return trafficClass(g.f.Header()) & 3 }

// recordBare records a segment that is sent for no connection or for one in TIME-WAIT.
func (s *Stack) recordBare(f *sim.Frame, h *wire.TCP, opt *wire.TCPOptions, why SendReason, in State, wscale uint8) {
	if r := s.recordFor(KindTCPSegmentSent, uint8(why), f.Conn, f.Conn.Node() != uint32(s.id.Src.ID)); r != nil {
		r.Pkt, r.Aux = f.Pkt, uint8(in)
		putSegment(r, h, opt, 0, 0, 0, 1, wscale, 0)
	}
}

// dropSegment records a segment that meets no connection.
func (s *Stack) dropSegment(g *segment, why DropReason) {
	if why == DropNoSocket {
		s.tcp.count.noSocket++
	}
	if r := s.recordFor(KindTCPSegmentDropped, uint8(why), g.f.Conn, g.f.Conn.Node() != uint32(s.id.Src.ID)); r != nil {
		g.putDropped(r)
		s.tcp.cause = r.ESeq
	}
}

func (c *Conn) recordDropped(g *segment, why DropReason) {
	if r := c.record(KindTCPSegmentDropped, uint8(why)); r != nil {
		g.putDropped(r)
	}
}

func (g *segment) putDropped(r *sim.Record) {
	r.Pkt, r.Flags = g.f.Pkt, uint8(g.flags)
	r.W[0], r.W[1], r.W[2] = uint32(g.seq), uint32(g.ack), g.length
}

func (c *Conn) recordStarted() {
	r := c.record(KindTCPConnectionStarted, uint8(c.set.cc))
	if r == nil {
		return
	}
	if !c.passive {
		r.Flags |= startedInitiator
	}
	if c.sackOK {
		r.Flags |= startedSACK
	}
	if c.tsOK {
		r.Flags |= startedTS
	}
	if c.ecn&ecnOK != 0 {
		r.Flags |= startedECN
	}
	r.W = [6]uint32{uint32(c.iss), uint32(c.irs), uint32(c.localPort)<<16 | uint32(c.remotePort),
		uint32(c.sndMSS)<<16 | uint32(c.sndWscale)<<8 | uint32(c.rcvWscale)}
	c.stack.recordMore(r, &moreWords{
		uint32(c.local.hi >> 32), uint32(c.local.hi), uint32(c.local.lo >> 32), uint32(c.local.lo),
		uint32(c.remote.hi >> 32), uint32(c.remote.hi), uint32(c.remote.lo >> 32), uint32(c.remote.lo)})
}

func (c *Conn) recordState(old State, why StateTrigger) {
	if r := c.record(KindTCPStateUpdated, uint8(why)); r != nil {
		r.Flags, r.Aux = uint8(old), uint8(c.state)
	}
}

// recordListen records a listener's state; it belongs to no connection.
func (s *Stack) recordListen(old, state State, why StateTrigger) {
	if r := s.recordFor(KindTCPStateUpdated, uint8(why), 0, true); r != nil {
		r.Flags, r.Aux = uint8(old), uint8(state)
	}
}

func (c *Conn) recordAlias(theirs sim.ConnID) {
	if theirs == 0 || theirs == c.id {
		return
	}
	if r := c.record(KindTCPConnAlias, 0); r != nil {
		r.Pkt = sim.PacketID(theirs)
	}
}

func putOffset(r *sim.Record, off uint64) { r.W[0], r.W[1] = uint32(off>>32), uint32(off) }

func (c *Conn) recordAck(a *ackResult) {
	r := c.record(KindTCPAckProcessed, 0)
	if r == nil {
		return
	}
	putOffset(r, c.bytesAcked)
	r.W[2], r.W[3], r.W[4], r.W[5] = a.bytes, uint32(a.sacked)*uint32(c.sndMSS), ^uint32(0), c.sndWnd
	if a.rtt >= 0 {
		r.W[4] = uint32(a.rtt)
	}
	r.Aux = c.dupAcks
}

func (c *Conn) recordLost(x *txSeg, why LossTrigger) {
	if r := c.record(KindTCPSegmentLost, uint8(why)); r != nil {
		putOffset(r, c.offsetOf(x.seq))
		r.W[2] = uint32(x.length)
	}
}

// recordRecovery records that a recovery began or ended; aux: its RecoveryTrigger, or whether it was spurious.
func (c *Conn) recordRecovery(kind sim.Kind, what RecoveryKind, before uint32, aux uint8) {
	if r := c.record(kind, uint8(what)); r != nil {
		r.Aux = aux
		r.W[0], r.W[1], r.W[2] = before, c.win.Cwnd, c.win.SSThresh
	}
}

func (c *Conn) recordUndone(why UndoReason, before uint32) {
	if r := c.record(KindTCPRecoveryUndone, uint8(why)); r != nil {
		r.W[0], r.W[1], r.W[2] = before, c.win.Cwnd, c.win.SSThresh
	}
}

func (c *Conn) recordUrgent(what UrgentChange, off uint64) {
	if r := c.record(KindTCPUrgentUpdated, uint8(what)); r != nil {
		putOffset(r, off)
	}
}

func (c *Conn) recordPathMTU(what MTUChange, mtu int) {
	if r := c.record(KindTCPPathMTUUpdated, uint8(what)); r != nil {
		r.W[0], r.W[1] = uint32(mtu), uint32(c.sndMSS)
	}
}

func (c *Conn) recordCCState(s CCState, why CCTrigger) {
	if r := c.record(KindTCPCCStateUpdated, uint8(why)); r != nil {
		r.Flags, r.Aux = uint8(c.ccState), uint8(s)
	}
}

// recordMetrics records the figures that changed with an ACK.
func (c *Conn) recordMetrics(before congestion.Window, rtt int64) {
	if rtt < 0 && before.Cwnd == c.win.Cwnd && before.SSThresh == c.win.SSThresh {
		return
	}
	r := c.record(KindTCPMetricsUpdated, uint8(c.limitedBy()))
	r.W[0], r.W[1], r.W[2] = c.win.Cwnd, c.win.SSThresh, uint32(c.rtx.inFlight())
	r.W[3], r.W[4], r.W[5] = c.srtt8>>3, uint32(micros(c.rto)), c.sndWnd
	own := uint64(0)
	var pacing, delivery uint64
	if cc := c.cc; cc != nil {
		own = math.Float64bits(cc.alg.Variable())
		pacing = cc.Pace()
		delivery, _ = cc.DeliveryRate()
	}
	m := c.stack.more(r)
	m.Cause = c.mdev4 >> 2
	m.Conn = sim.ConnID(uint64(uint32(micros(c.minRTT())))<<32 | uint64(c.rcvWnd()))
	m.Pkt = sim.PacketID(uint64(uint32(c.unsent()))<<32 | own>>32)
	m.W[0], m.W[1], m.W[2], m.W[3] = uint32(own), uint32(c.set.cc), uint32(pacing>>32), uint32(pacing)
	m.W[4], m.W[5] = uint32(delivery>>32), uint32(delivery)
}

func (c *Conn) recordTimerSet(kind TimerKind, in sim.Time) {
	if r := c.record(KindTCPTimerSet, uint8(kind)); r != nil {
		r.W[0], r.W[1] = uint32(micros(in)), uint32(c.backoff)
	}
}

func (c *Conn) recordTimerFired(kind TimerKind) {
	if r := c.record(KindTCPTimerFired, uint8(kind)); r != nil {
		r.W[1] = uint32(c.backoff)
		c.stack.tcp.cause = r.ESeq
	}
}

func (c *Conn) recordTimerCancelled(kind TimerKind) { c.record(KindTCPTimerCancelled, uint8(kind)) }

func (c *Conn) recordReassembly() {
	if r := c.record(KindTCPReassemblyUpdated, 0); r != nil {
		putOffset(r, c.rcvOffset(c.rcvNxt))
		r.W[2], r.W[3] = uint32(c.rcv.oooLen), uint32(c.rcv.inOrder)
	}
}

func (c *Conn) recordClosed(why CloseReason) {
	r := c.record(KindTCPConnectionClosed, uint8(why))
	if r == nil {
		return
	}
	i := c.Info()
	// The trace's figures are of the data: SYN and FIN, which tcp_info's count, are none.
	i.BytesAcked, i.BytesReceived = c.bytesAcked, c.bytesReceived
	r.W = [6]uint32{i.TotalRetrans, i.SegsOut, i.SegsIn, uint32(i.RTTUs), uint32(i.MinRTTUs), i.SndCwnd}
	c.stack.recordMore(r, &moreWords{uint32(i.BytesSent >> 32), uint32(i.BytesSent), uint32(i.BytesAcked >> 32),
		uint32(i.BytesAcked), uint32(i.BytesReceived >> 32), uint32(i.BytesReceived), uint32(i.BytesRetrans >> 32),
		uint32(i.BytesRetrans), i.SndSSThresh, uint32(i.RTOUs)})
}

// What a connection in TIME-WAIT records.

func (s *Stack) recordTimeWait(w *timeWait, kind sim.Kind) {
	if r := s.recordFor(kind, uint8(TimerTimeWait), w.id, w.passive); r != nil {
		if kind == KindTCPTimerSet {
			r.W[0] = uint32(micros(w.wait))
		}
	}
}

func (s *Stack) recordTimeWaitClosed(w *timeWait, why StateTrigger) {
	if why != TriggerTimer {
		s.recordTimeWait(w, KindTCPTimerCancelled)
	}
	if r := s.recordFor(KindTCPStateUpdated, uint8(why), w.id, w.passive); r != nil {
		r.Flags, r.Aux = uint8(StateTimeWait), uint8(StateClosed)
	}
}

func (s *Stack) recordTimeWaitReceived(w *timeWait, g *segment) {
	r := s.recordFor(KindTCPSegmentReceived, uint8(Duplicate), w.id, w.passive)
	if r == nil {
		return
	}
	r.Pkt, r.Aux = g.f.Pkt, uint8(StateTimeWait)
	s.tcp.cause = r.ESeq
	h := g.header()
	if putSegment(r, &h, &g.opt, int(g.length), 0, 0, 0, 0, g.ecn()) {
		w := optionWords(&g.opt)
		s.recordMore(r, &w)
	}
}
