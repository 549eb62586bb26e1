package tcpstack

// How far the path reorders. RFC 6675's DupThresh of 3 takes a segment that was displaced by more for lost; the distance
// seen, counted in segments, takes its place (Linux: tp->reordering, tcp_reordering, tcp_max_reordering).

// checkReordering notes that the segment at low came after the highest one SACKed (Linux: tcp_check_sack_reordering).
func (c *Conn) checkReordering(low seqNum) {
	fack := c.highestSack()
	if !low.less(fack) {
		return
	}
	rec, mss := c.rec, uint32(c.sndMSS)
	if metric := uint32(fack - low); metric > rec.reordering*mss {
		rec.reordering = min((metric+mss-1)/mss, c.set.maxReordering)
	}
	rec.reordSeen++
}

// checkRenoReordering: without SACK, more duplicate ACKs than segments can be missing tell of reordering (Linux:
// tcp_check_reno_reordering).
func (c *Conn) checkRenoReordering(more int) {
	if !c.limitRenoSacked() {
		return
	}
	c.rec.reordering = min(uint32(c.rtx.n+more), c.set.maxReordering)
	c.rec.reordSeen++
}
