package tcpstack

import "labd.dev/sim"

const (
	// compressAfter is how many duplicate ACKs go at once, so that the peer's fast retransmit is not held up
	// (TCP_FASTRETRANS_THRESH).
	compressAfter = 3
	maxCompressed = 44              // tcp_comp_sack_nr
	compressDelay = sim.Millisecond // tcp_comp_sack_delay_ns
)

// expectedBlocks is how many blocks a lost ACK may take with it: what changes beyond them is told of before it does (Linux:
// TCP_SACK_BLOCKS_EXPECTED).
const expectedBlocks = 2

// farBlock says whether a range begins a block behind the newest two, or joins one there (Linux: tcp_sack_new_ofo_skb).
func (b *recvBuffer) farBlock(left, right seqNum) bool {
	for i, k := range b.blocks[:b.nblocks] {
		if left.lessEq(seqNum(k.Right)) && seqNum(k.Left).lessEq(right) {
			return i >= expectedBlocks
		}
	}
	return b.nblocks >= expectedBlocks
}

// compressACK holds back duplicate ACKs beyond the third: one ACK with SACK blocks tells of many segments. It waits a
// share of a round trip, at most compressDelay (Linux: __tcp_ack_snd_check). Without SACK each duplicate counts.
//
// RFC 2018 4: "If the data receiver generates SACK options under any circumstance, it SHOULD generate them under all
// permitted circumstances", which an ACK that covers several segments' blocks does.
func (c *Conn) compressACK() {
	b := c.rcv
	if !c.sackOK || b.compressed >= c.set.compressedACKs {
		c.sendACK(c.ackReason())
		return
	}
	if b.compressedNxt != c.rcvNxt {
		b.compressedNxt, b.dupsSent = c.rcvNxt, 0
	}
	if b.dupsSent < compressAfter {
		b.dupsSent++
		c.sendACK(c.ackReason())
		return
	}
	if b.compressed++; b.compressed > 1 && c.delackAt != sim.Never {
		return
	}
	rtt := sim.Time(0)
	if c.rcvf != nil {
		rtt = c.rcvf.rtt()
	}
	if c.srtt() != 0 && c.srtt() < rtt {
		rtt = c.srtt()
	}
	c.dupAckDue = false
	c.setDelackTimer(min(c.set.compressedDelay, rtt*sim.Time(c.set.compressedShare)/100))
}
