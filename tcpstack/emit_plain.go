package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// The records of plain segments, of which there is one at each end of each segment: recordSent and recordReceived for what
// has no options but timestamps. They write every word of the record, so that it need not be cleared first, and in one go.

// recordPlainReceived records a segment that is the next in order, in ESTABLISHED and with an ACK that is not old: it begins
// at RCV.NXT, and neither a FIN nor a SYN is among what its numbers count. What it leads to names it as its cause.
func (c *Conn) recordPlainReceived(g *segment) {
	s, reason := c.stack, uint8(InOrder)
	if c.passive {
		reason |= sideBit
	}
	s.id.Events++
	r := s.loop.Rec.Slot()
	r.Node, r.ESeq = uint32(s.id.Src.ID), uint32(s.id.Events)
	r.T, r.Conn, r.Pkt, r.Cause = s.loop.Now(), c.id, g.f.Pkt, s.tcp.cause
	s.tcp.cause = r.ESeq
	r.Kind, r.Reason, r.Flags, r.Aux = KindTCPSegmentReceived, reason, uint8(g.flags), uint8(c.state)
	r.W[0], r.W[1], r.W[2], r.W[3], r.W[4] = uint32(g.seq), uint32(g.ack), g.length<<16|uint32(g.wnd), g.opt.TSVal, g.opt.TSEcr
	ackOff := c.bytesAcked + uint64(uint32(g.ack-c.sndUna))
	r.W[5] = segmentBits(c.bytesReceived, ackOff, 0, c.sndWscale, uint32(g.ecn())<<segECNShift|segTS)
}

// recordPlainSent records a segment that goes over IPv4, whose headers are in place.
func (c *Conn) recordPlainSent(f *sim.Frame, flags wire.TCPFlags, seq seqNum, n int, why SendReason, tx int, cp ECN) {
	s, reason, b := c.stack, uint8(why), (*[templateLen]byte)(f.Header())
	if c.passive {
		reason |= sideBit
	}
	s.id.Events++
	r := s.loop.Rec.Slot()
	r.Node, r.ESeq = uint32(s.id.Src.ID), uint32(s.id.Events)
	r.T, r.Conn, r.Pkt, r.Cause = s.loop.Now(), c.id, f.Pkt, s.tcp.cause
	r.Kind, r.Reason, r.Flags, r.Aux = KindTCPSegmentSent, reason, uint8(flags), uint8(c.state)
	r.W[0], r.W[1], r.W[2] = uint32(seq), uint32(c.rcvNxt), uint32(n)<<16|uint32(be16(b[tcpAt+wire.TCPOffWindow:]))
	r.W[3], r.W[4] = be32(b[tcpAt+tsAt+4:]), c.tsRecent
	ackOff := c.bytesReceived
	if c.rcvFIN {
		ackOff++
	}
	r.W[5] = segmentBits(c.offsetOf(seq), ackOff, uint8(min(tx, 255)), c.rcvWscale, uint32(cp)<<segECNShift|segTS)
}
