package tcpstack

import "labd.dev/tcpstack/wire"

// Duplicates reported and understood: RFC 2883.

// dsackReport is a duplicate that the next ACK reports.
type dsackReport struct {
	due         bool
	left, right seqNum
}

// reportDup has the next ACK report a range that came twice.
//
// RFC 2883 4: "the first block of the SACK option should be a D-SACK block specifying the sequence numbers for the
// duplicate segment that triggers the acknowledgement."; "(2) Each duplicate contiguous sequence of data received is reported in at most one D-SACK block."
func (c *Conn) reportDup(left, right seqNum) {
	if !c.sackOK || !c.set.dsack || !left.less(right) {
		return
	}
	d := &c.recovery().dup
	switch {
	case !d.due:
		*d = dsackReport{true, left, right}
	case left.lessEq(d.right) && d.left.lessEq(right):
		d.left, d.right = minSeq(d.left, left), maxSeq(d.right, right)
	}
}

// owesDSACK says whether a duplicate waits to be reported.
func (c *Conn) owesDSACK() bool { return c.rec != nil && c.rec.dup.due }

// takeDSACK is the block that reports a duplicate, once.
func (c *Conn) takeDSACK() wire.SACKBlock {
	d := &c.rec.dup
	d.due = false
	c.stack.tcp.count.dsackSent++
	return wire.SACKBlock{Left: uint32(d.left), Right: uint32(d.right)}
}

// checkDSACK says whether the first block reports a duplicate, and accounts for it (Linux: tcp_check_dsack).
//
// RFC 2883 5: "the sender should compare the sequence space in the first SACK block to the cumulative ACK which is
// carried IN THE SAME PACKET. If the SACK sequence space is less than this cumulative ACK, it is an indication that the segment
// identified by the SACK block has been received more than once"; "If the sequence space in the first SACK block is
// greater than the cumulative ACK, then the sender next compares the sequence space in the first SACK block with the
// sequence space in the second SACK block, if there is one."
func (c *Conn) checkDSACK(g *segment, blocks []wire.SACKBlock, r *ackResult) bool {
	left, right := seqNum(blocks[0].Left), seqNum(blocks[0].Right)
	if !left.less(g.ack) {
		if len(blocks) < 2 || seqNum(blocks[1].Right).less(right) || left.less(seqNum(blocks[1].Left)) {
			return false
		}
	}
	n := c.duplicateSegments(left, right, r)
	if n == 0 {
		c.stack.tcp.count.dsackIgnored++
		return false
	}
	c.stack.tcp.count.dsackReceived++
	// Of data that has left the queue already no more is known than how many segments it was.
	if u := &c.rec.undo; u.on && u.retrans > 0 && right.lessEq(r.priorUna) && u.marker.less(right) {
		u.retrans = max(0, u.retrans-n)
	}
	return true
}

// duplicateSegments is how many segments a DSACK stands for (Linux: tcp_dsack_seen); 0: it cannot be true.
func (c *Conn) duplicateSegments(left, right seqNum, r *ackResult) int {
	rec := c.rec
	if !left.less(right) || uint32(right-left) > c.maxSndWnd {
		return 0
	}
	n := 1
	if size := uint32(right - left); size > uint32(c.sndMSS) {
		n = int((size + uint32(c.sndMSS) - 1) / uint32(c.sndMSS))
	} else if rec.tlp.out && rec.tlp.highSeq == right {
		r.flags |= ackDSACKTLP
	}
	rec.dsackDups += uint32(n)
	if rec.dsackDups > c.totalRetrans {
		return 0 // more than we ever retransmitted: the network or the peer made them
	}
	// RFC 8985 6.2 (4): the reordering window grows on DSACKs; those of probes, which a timer sent, say nothing of it.
	if rec.reordSeen > 0 && r.flags&ackDSACKTLP == 0 {
		rec.rack.dsackSeen = true
	}
	r.flags |= ackDSACK
	c.cc.Delivered += uint32(n) // a spurious retransmission has arrived
	return n
}
