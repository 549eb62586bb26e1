package tcpstack

// Loss detection by counting, where RACK is switched off: RFC 6675's IsLost with DupThresh grown to the reordering seen, as
// Linux did it before RACK (tcp_update_scoreboard).

// countedLost says whether enough was SACKed to take the first segment for lost.
//
// RFC 6675 5: "(1) If DupAcks >= DupThresh, go to step (4)".
func (c *Conn) countedLost() bool { return uint32(c.rtx.sackedOut)+1 > c.rec.reordering }

// sackReachesFar says whether the highest SACK lies beyond DupThresh segments (Linux: tcp_force_fast_retransmit).
//
// RFC 6675 4, IsLost: "... or more than (DupThresh - 1) * SMSS bytes with sequence numbers greater than 'SeqNum' have been
// SACKed."
func (c *Conn) sackReachesFar() bool {
	return (c.sndUna + seqNum(c.rec.reordering*uint32(c.sndMSS))).less(c.highestSack())
}

// markCountedLost takes for lost what has at least DupThresh SACKed segments above it, or the first segment if first.
func (c *Conn) markCountedLost(first bool) {
	q := c.rtx
	if !c.sackOK {
		return
	}
	upTo := q.sackedOut - int(c.rec.reordering)
	if upTo < 0 {
		if first {
			c.markLost(0, LossSACK)
		}
		return
	}
	sacked := 0
	for i := range q.n {
		if q.at(i).flags&txSacked != 0 {
			sacked++
		}
		if sacked > upTo {
			return
		}
		if q.at(i).flags&txLost == 0 { // a retransmission is not found lost by counting
			c.markLost(i, LossSACK)
		}
	}
}
