package tcpstack

import "labd.dev/sim"

// recovery is what an end keeps for loss recovery, beside the segments in flight (txQueue). It is made when a connection
// first has data in flight or a duplicate to report, so that a connection that only exists does without. Names are those
// of Linux's tcp_sock.
type recovery struct {
	highSeq seqNum // SND.NXT as the state was entered: RFC 6582's recover, RFC 6675's RecoveryPoint

	// Reordering: how far the path has been seen to displace segments (reordering.go).
	reordering, reordSeen uint32
	dsackDups             uint32 // segments that DSACKs have reported
	rack                  rackState
	minRTT                minFilter
	prr                   prrState
	undo                  undoState
	tlp                   tlpState

	frto     bool // F-RTO is looking for a sign that the timeout was spurious
	spurious bool // the recovery under way has been undone
	reneged  bool // the peer has taken SACKs back: until this loss is repaired

	// Of the ACK being worked on, for Eifel detection.
	tsEcr uint32
	sawTS bool // and TSecr is not zero

	dup dsackReport // what the next ACK reports as received twice

	totalRTO, rtoRecoveries uint32 // timeouts, and recoveries that they began
	rtoStamp                sim.Time
	rtoTime                 sim.Time // in such recoveries, all together

	next *recovery // in the free list
}

// recovery is c.rec, made on first use.
func (c *Conn) recovery() *recovery {
	if c.rec != nil {
		return c.rec
	}
	t := &c.stack.tcp
	if c.rec = t.freeRec; c.rec != nil {
		t.freeRec = c.rec.next
		order := c.rec.rack.order[:0]
		*c.rec = recovery{}
		c.rec.rack.order = order
	} else {
		c.rec = new(recovery)
	}
	c.rec.highSeq = c.sndUna
	c.rec.reordering = c.set.reordering
	c.rec.rack.reoSteps = 1
	c.rec.undo.retransAt, c.rec.rtoStamp = sim.Never, sim.Never
	if c.srtt8 != 0 {
		c.rec.minRTT.reset(c.stack.loop.Now(), c.srtt8>>3) // the handshake's, the only sample so far
		if !c.passive {
			c.rec.rack.rtt = int64(c.srtt8 >> 3) // the SYN was a segment like any other
		}
	}
	return c.rec
}

// releaseRec gives it back.
func (c *Conn) releaseRec() {
	if c.rec != nil {
		c.rec.next, c.stack.tcp.freeRec, c.rec = c.stack.tcp.freeRec, c.rec, nil
	}
}
