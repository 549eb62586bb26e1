package tcpstack

import "labd.dev/tcpstack/wire"

// sackBlocks fills blocks with what lies beyond the gaps, the most recently changed first.
//
// RFC 2018 4: "the first SACK block MUST specify the contiguous block of data containing the segment which triggered this
// ACK"; "the SACK option SHOULD be filled out by repeating the most recently reported SACK blocks (based on first SACK
// blocks in previous SACK options) that are not subsets of a SACK block already included".
func (b *recvBuffer) sackBlocks(blocks []wire.SACKBlock) int {
	return copy(blocks, b.blocks[:b.nblocks])
}

// changed puts the block that changed last before the others, and takes those out that it holds now (Linux:
// tcp_sack_new_ofo_skb). What there is no place for is reported no more.
func (b *recvBuffer) changed() {
	if len(b.ooo) == 0 {
		return
	}
	next := [wire.MaxSACKBlocks]wire.SACKBlock{b.blockAround(min(b.latest, len(b.ooo)-1))}
	n := 1
	for _, old := range b.blocks[:b.nblocks] {
		within := seqNum(next[0].Left).lessEq(seqNum(old.Left)) && seqNum(old.Right).lessEq(seqNum(next[0].Right))
		if !within && n < len(next) {
			next[n] = old
			n++
		}
	}
	b.blocks, b.nblocks = next, n
}

// reached takes the blocks out that RCV.NXT has reached (Linux: tcp_sack_remove).
func (b *recvBuffer) reached(nxt seqNum) {
	n := 0
	for _, blk := range b.blocks[:b.nblocks] {
		if nxt.less(seqNum(blk.Left)) {
			b.blocks[n] = blk
			n++
		}
	}
	b.nblocks = n
}

// blockAround is the contiguous block that holds piece i.
func (b *recvBuffer) blockAround(i int) wire.SACKBlock {
	lo, hi := i, i
	for lo > 0 && b.ooo[lo-1].end() == b.ooo[lo].seq {
		lo--
	}
	for hi+1 < len(b.ooo) && b.ooo[hi].end() == b.ooo[hi+1].seq {
		hi++
	}
	return wire.SACKBlock{Left: uint32(b.ooo[lo].seq), Right: uint32(b.ooo[hi].end())}
}

// takeSACK enters the peer's blocks into the scoreboard. Blocks outside of what is in flight say nothing (RFC 2883 has
// them for duplicates); a block that the last ACK brought as well is passed over.
func (c *Conn) takeSACK(g *segment, r *ackResult) {
	q := c.rtx
	now := c.stack.loop.Now()
	blocks := g.opt.SACK[:g.opt.NSACK]
	for _, blk := range blocks {
		left, right := seqNum(blk.Left), seqNum(blk.Right)
		if !left.less(right) || !c.sndUna.less(right) || c.sndNxt.less(right) || left.less(c.sndUna) || q.seen(blk) {
			continue
		}
		for i := q.find(left); i < q.n; i++ {
			x := q.at(i)
			if right.less(x.end()) {
				break
			}
			if x.seq.less(left) || x.flags&txSacked != 0 {
				continue
			}
			c.rateDelivered(x)
			if x.flags&txRexmit == 0 {
				c.cc.rs.RTT = now - x.sentAt
			}
			q.uncount(x)
			if x.flags&txRexmit == 0 && r.rtt == 0 && r.acked == 0 {
				r.rtt = now - x.sentAt
			}
			x.flags = x.flags&^(txLost|txRetrans) | txSacked
			q.sackedOut++
			q.highSacked = max(q.highSacked, i)
			r.sacked++
		}
	}
	q.blocks = [wire.MaxSACKBlocks]wire.SACKBlock{}
	copy(q.blocks[:], blocks)
}

// seen says whether the last ACK brought the same block.
func (q *txQueue) seen(blk wire.SACKBlock) bool {
	for _, b := range q.blocks {
		if b == blk {
			return true
		}
	}
	return false
}

// dupThresh: RFC 6675 2: "DupThresh: The number of duplicate acknowledgments required to trigger a retransmission. Per
// [RFC5681], this threshold is defined to be 3."
const dupThresh = 3

// markLostBySACK takes segments for lost. RFC 6675 4, IsLost: "The routine returns true when either DupThresh
// discontiguous SACKed sequences have arrived above 'SeqNum' or more than (DupThresh - 1) * SMSS bytes with sequence
// numbers greater than 'SeqNum' have been SACKed." It reports whether it found any new one.
func (c *Conn) markLostBySACK() bool {
	q := c.rtx
	bytes, edge := 0, -1
	for i := q.highSacked; i >= 0; i-- {
		if x := q.at(i); x.flags&txSacked != 0 {
			if bytes += int(x.length); bytes > (dupThresh-1)*int(c.sndMSS) {
				edge = i
				break
			}
		}
	}
	if edge < 0 {
		edge = c.discontiguous()
	}
	found := false
	for i := q.lostBelow; i < edge; i++ {
		x := q.at(i)
		switch x.flags & (txSacked | txLost | txRetrans) {
		case 0:
			q.markLost(x)
			q.rtxHint = min(q.rtxHint, i)
			c.recordLost(x, LossSACK)
			found = true
		case txRetrans: // retransmitForward was ahead: of the two copies one is in flight
			x.flags |= txLost
			q.lostOut++
			c.recordLost(x, LossSACK)
		}
	}
	q.lostBelow = max(q.lostBelow, edge)
	return found
}

// discontiguous is the index of the third SACKed sequence from the top, -1 if there are fewer.
func (c *Conn) discontiguous() int {
	q, runs := c.rtx, 0
	for i := q.highSacked; i >= 0; i-- {
		if q.at(i).flags&txSacked == 0 {
			continue
		}
		if i == 0 || q.at(i-1).flags&txSacked == 0 {
			if runs++; runs == dupThresh {
				return i
			}
		}
	}
	return -1
}
