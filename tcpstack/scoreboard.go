package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// The sender's scoreboard (RFC 6675 3): what of the segments in flight the peer's SACK blocks have reported, in the manner
// of Linux's tcp_sacktag_write_queue. A segment counts as SACKed when a block covers it whole.

// sackRange is a block in sequence numbers.
type sackRange struct{ left, right seqNum }

// highestSack is the sequence number after the highest segment that was SACKed; SND.UNA if none was.
func (c *Conn) highestSack() seqNum {
	if q := c.rtx; q != nil && q.sackedOut > 0 && q.highSacked >= 0 {
		return q.at(q.highSacked).end()
	}
	return c.sndUna
}

// takeSACK enters the peer's blocks into the scoreboard.
func (c *Conn) takeSACK(g *segment, r *ackResult) {
	q, rec := c.rtx, c.rec
	if rec == nil || c.cc == nil {
		return // nothing was ever sent
	}
	if q != nil && q.sackedOut == 0 {
		q.highSacked = -1
		q.nblocks = 0 // what they covered may be gone
	}
	blocks := g.opt.SACK[:g.opt.NSACK]
	dup := c.checkDSACK(g, blocks, r)
	// RFC 5961 5.2's range: older ACKs say nothing that could still be trusted.
	if g.ack.less(r.priorUna-seqNum(c.maxSndWnd)) || q == nil || q.n == 0 {
		return
	}
	var sorted [wire.MaxSACKBlocks]sackRange
	n := 0
	r.reord = c.sndNxt
	for i, b := range blocks {
		blk := sackRange{seqNum(b.Left), seqNum(b.Right)}
		switch {
		case !c.validSACK(blk, dup && i == 0):
			c.stack.tcp.count.sackInvalid++
			continue
		case blk.right.lessEq(r.priorUna):
			continue
		}
		if dup && i == 0 {
			c.tagFrom(q.find(blk.left), blk, blk.right, true, r)
		}
		at := n
		for at > 0 && blk.left.less(sorted[at-1].left) {
			sorted[at] = sorted[at-1]
			at--
		}
		sorted[at] = blk
		n++
	}
	for _, blk := range sorted[:n] {
		c.tagNews(blk, r)
	}
	q.blocks, q.nblocks = sorted, uint8(n)
	if c.caState != caLoss || rec.undo.on {
		c.checkReordering(r.reord)
	}
}

// tagNews tags what a block covers, but for the segments that a block of the last ACK covered: they are tagged.
func (c *Conn) tagNews(blk sackRange, r *ackResult) {
	q := c.rtx
	i := q.find(blk.left)
	for _, was := range q.blocks[:q.nblocks] {
		if was.right.lessEq(blk.left) {
			continue
		}
		if blk.right.lessEq(was.left) {
			break
		}
		i = c.tagFrom(i, blk, was.left, false, r)
		i = max(i, q.find(was.right))
	}
	c.tagFrom(i, blk, blk.right, false, r)
}

// tagFrom tags the segments that a block covers whole, from entry i on, as far as they begin before limit. It returns the
// entry after them.
func (c *Conn) tagFrom(i int, blk sackRange, limit seqNum, dup bool, r *ackResult) int {
	q := c.rtx
	for ; i < q.n; i++ {
		x := q.at(i)
		if !x.seq.less(limit) {
			break
		}
		if blk.left.lessEq(x.seq) && x.end().lessEq(blk.right) {
			c.tagSacked(i, x, dup, r)
		}
	}
	return i
}

// tagSacked notes that a segment was SACKed (Linux: tcp_sacktag_one); dup: as a duplicate.
func (c *Conn) tagSacked(i int, x *txSeg, dup bool, r *ackResult) {
	q, rec := c.rtx, c.rec
	if dup && x.flags&txRexmit != 0 {
		if rec.undo.on && rec.undo.retrans > 0 && rec.undo.marker.less(x.end()) {
			rec.undo.retrans--
		}
		if x.flags&txSacked != 0 && x.seq.less(r.reord) {
			r.reord = x.seq
		}
	}
	if x.end().lessEq(c.sndUna) {
		return
	}
	if x.flags&txSacked == 0 {
		c.rackAdvance(x)
		switch {
		case x.flags&txRetrans != 0:
			if x.flags&txLost != 0 { // else a copy is taken to be in flight still
				x.flags &^= txLost | txRetrans
				q.lostOut--
				q.retransOut--
			}
		default:
			if x.flags&txRexmit == 0 {
				c.tagOriginal(x, r)
			}
			if x.flags&txLost != 0 {
				x.flags &^= txLost
				q.lostOut--
			}
		}
		x.flags |= txSacked
		q.sackedOut++
		c.cc.Delivered++
		r.flags |= ackSacked
		r.sacked++
		c.rateDelivered(x)
		q.highSacked = max(q.highSacked, i)
	}
	if dup && x.flags&txRetrans != 0 {
		x.flags &^= txRetrans
		q.retransOut--
	}
}

// tagOriginal notes what the SACK of a segment that was sent only once tells.
func (c *Conn) tagOriginal(x *txSeg, r *ackResult) {
	if x.seq.less(c.highestSack()) && x.seq.less(r.reord) {
		r.reord = x.seq // it was in a hole: it has been displaced
	}
	if !c.rec.highSeq.less(x.end()) {
		r.flags |= ackOriginal
	}
	if r.flags&ackSackTimed == 0 {
		r.firstSackedAt = x.sentAt
		r.flags |= ackSackTimed
	}
	r.lastSackedAt = x.sentAt
}

// validSACK says whether a block may be true (Linux: tcp_is_sackblock_valid). RFC 2018 5 leaves invalid blocks open; one
// that reports what was never sent, or that begins at SND.UNA, which the cumulative ACK would cover, is not looked at.
func (c *Conn) validSACK(b sackRange, dup bool) bool {
	if c.sndNxt.less(b.right) || !b.left.less(b.right) || !b.left.less(c.sndNxt) {
		return false
	}
	if c.sndUna.less(b.left) {
		return true
	}
	undo := &c.rec.undo
	if !dup || !undo.on || c.sndUna.less(b.right) {
		return false
	}
	switch {
	case !b.left.less(undo.marker):
		return true
	case b.right.lessEq(undo.marker):
		return false // too old to matter
	}
	return !b.left.less(b.right - seqNum(c.maxSndWnd))
}

// markLost takes a segment for lost (Linux: tcp_mark_skb_lost): what was in flight, or the retransmission that was.
func (c *Conn) markLost(i int, why LossTrigger) {
	q := c.rtx
	x := q.at(i)
	if x.flags&txSacked != 0 {
		return
	}
	q.rtxHint = min(q.rtxHint, i)
	switch x.flags & (txLost | txRetrans) {
	case txLost:
		return
	case txLost | txRetrans:
		x.flags &^= txRetrans
		q.retransOut--
	default:
		x.flags |= txLost
		q.lostOut++
	}
	c.cc.Lost++
	c.recordLost(x, why)
}

// sentAfter orders segments by when they were sent last, and of those sent at once by sequence number (RFC 8985 5.2's
// RACK_sent_after).
func sentAfter(t1, t2 sim.Time, seq1, seq2 seqNum) bool {
	return t1 > t2 || t1 == t2 && seq2.less(seq1)
}
