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
	if len(b.ooo) > 0 {
		b.report(b.blockAround(min(b.latest, len(b.ooo)-1)))
	}
}

// finBeyond notes a FIN beyond a gap. Linux's blocks hold its sequence number too.
func (b *recvBuffer) finBeyond(at seqNum) {
	b.hasFIN, b.finSeq = true, at
	if i := b.after(at); i > 0 && b.ooo[i-1].end() == at {
		b.latest = i - 1
		b.changed()
		return
	}
	b.report(wire.SACKBlock{Left: uint32(at), Right: uint32(at + 1)})
}

// report makes a block the first.
func (b *recvBuffer) report(first wire.SACKBlock) {
	next := [wire.MaxSACKBlocks]wire.SACKBlock{first}
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
	for hi+1 < len(b.ooo) && b.ooo[hi].end() == b.ooo[hi+1].seq {
		hi++
	}
	right := uint32(b.ooo[hi].end())
	if b.hasFIN && seqNum(right) == b.finSeq {
		right++
	}
	for lo > 0 && b.ooo[lo-1].end() == b.ooo[lo].seq {
		if b.nblocks > 0 && seqNum(b.blocks[0].Right) == b.ooo[lo].seq {
			return wire.SACKBlock{Left: b.blocks[0].Left, Right: right} // it grows at its end, as it mostly does
		}
		lo--
	}
	return wire.SACKBlock{Left: uint32(b.ooo[lo].seq), Right: right}
}
