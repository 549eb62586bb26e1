package tcpstack

// Recovery without SACK: RFC 6582's NewReno, as Linux does it: duplicate ACKs stand for segments that have left the
// network, and are counted where SACK would tag them.

// addRenoSack counts a duplicate ACK.
func (c *Conn) addRenoSack() {
	q := c.rtx
	was := q.sackedOut
	q.sackedOut++
	c.checkRenoReordering(0)
	if n := q.sackedOut - was; n > 0 {
		c.cc.Delivered += uint32(n)
	}
}

// removeRenoSacks: of acked segments covered, one filled the hole; the others had made their duplicate ACKs.
func (c *Conn) removeRenoSacks(acked int) {
	q := c.rtx
	c.cc.Delivered += uint32(max(acked-q.sackedOut, 1))
	if acked-1 >= q.sackedOut {
		q.sackedOut = 0
	} else {
		q.sackedOut -= acked - 1
	}
	c.checkRenoReordering(acked)
}

func (c *Conn) resetRenoSack() {
	if c.rtx != nil {
		c.rtx.sackedOut = 0
	}
}

// limitRenoSacked: at least one segment, or all that are taken for lost, cannot have made a duplicate ACK.
func (c *Conn) limitRenoSacked() bool {
	q := c.rtx
	holes := min(max(q.lostOut, 1), q.n)
	if q.sackedOut+holes <= q.n {
		return false
	}
	q.sackedOut = q.n - holes
	return true
}

// newRenoMarkLost takes the first segment for lost.
//
// RFC 5681 3.2: "The TCP sender SHOULD use the "fast retransmit" algorithm to detect and repair loss, based on incoming
// duplicate ACKs." RFC 6582 3.2 (3), partial acknowledgments: "retransmit the first unacknowledged segment".
func (c *Conn) newRenoMarkLost(advanced bool) {
	if c.caState < caRecovery && uint32(c.rtx.sackedOut) >= c.rec.reordering || c.caState == caRecovery && advanced {
		if c.rtx.at(0).flags&txLost == 0 {
			c.markLost(0, LossDupACK)
		}
	}
}

// preventsReopen keeps the state until something above highSeq is acknowledged (Linux: tcp_is_non_sack_preventing_reopen).
//
// RFC 6582 3.2 (2) and 4: without SACK, duplicate ACKs after a recovery may be answers to our own retransmissions, and
// they do not begin another one.
func (c *Conn) preventsReopen() bool {
	if c.sackOK || c.sndUna != c.rec.highSeq {
		return false
	}
	c.cleanRetransStamp()
	return true
}
