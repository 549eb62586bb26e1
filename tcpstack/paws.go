package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Protection against wrapped sequence numbers: RFC 7323 5.

// pawsIdle: RFC 7323 5.5 has TS.Recent invalidated when "a connection is idle for more than 24 days".
const pawsIdle = 24 * 24 * 3600 // s

// pawsWindow is how much older than TS.Recent a timestamp may be: segments of one tick may be displaced (Linux:
// TCP_PAWS_WINDOW).
const pawsWindow = 1

// oldTimestamp: RFC 7323 5.3 R1: "SEG.TSval < TS.Recent, TS.Recent is valid". A TS.Recent of 0 is none: some stacks put
// zeros into the timestamps of their SYN (Linux: tcp_paws_check).
func (c *Conn) oldTimestamp(v uint32) bool {
	return int32(c.tsRecent-v) > pawsWindow && c.tsRecent != 0 && c.ageNow()-c.tsRecentAge < pawsIdle
}

// displacedACK says whether a segment with an old timestamp is an ACK that changes nothing but may be one of several
// duplicates that the path has displaced: it counts as long as it is not older than a timeout (Linux:
// tcp_disordered_ack_check).
func (c *Conn) displacedACK(g *segment) bool {
	if !g.has(wire.FlagACK) || g.segLen() != 0 || g.seq != c.rcvNxt || g.ack != c.sndUna || c.updatesWindow(g) {
		return false
	}
	const ticks = 1200 // a second, of the fastest clocks that are known: RFC 7323 recommends 1 to 1000
	return sim.Time(int32(c.tsRecent-g.opt.TSVal))*sim.Second <= c.rto*ticks
}

// rejectOld drops a segment with an old timestamp.
//
// RFC 7323 5.3 R1: "If there is a Timestamps option in the arriving segment, SEG.TSval < TS.Recent, TS.Recent is valid (see
// later discussion), and if the RST bit is not set, then treat the arriving segment as not acceptable: Send an
// acknowledgment in reply". An ACK without data that its successors have overtaken needs none (Linux: PAWSOldAck).
func (c *Conn) rejectOld(g *segment) {
	c.stack.tcp.count.pawsDrops++
	c.recordDropped(g, DropPAWS)
	switch {
	case g.has(wire.FlagSYN):
		c.arrivesSYN(g)
	case g.has(wire.FlagACK) && g.segLen() == 0 && g.seq.less(c.rcvNxt):
	default:
		c.answer(g, &c.stack.tcp.count.skippedPAWS)
		c.repeats(g)
	}
}

// takeTimestamp: RFC 7323 4.3 (2): "SEG.TSval >= TS.Recent and SEG.SEQ <= Last.ACK.sent then SEG.TSval is copied to
// TS.Recent": of segments whose ACK is acceptable (Linux: tcp_replace_ts_recent).
func (c *Conn) takeTimestamp(g *segment) {
	if c.tsOK && g.opt.HasTimestamps && g.seq.lessEq(c.rcvWup) &&
		(int32(g.opt.TSVal-c.tsRecent) >= 0 || c.tsRecent == 0 || c.ageNow()-c.tsRecentAge >= pawsIdle) {
		c.tsRecent, c.tsRecentAge = g.opt.TSVal, c.ageNow()
	}
}
