package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/congestion"
	"labd.dev/tcpstack/wire"
)

// txQueue holds one entry for each segment in flight: what loss recovery, round-trip times and the trace ask about. Its
// counts are Linux's: what is in flight is len - sackedOut - lostOut + retransOut (RFC 6675's pipe, in segments).
type txQueue struct {
	ring    []txSeg // a power of two
	head, n int
	// sackedOut counts the segments that the peer has reported, or without SACK its duplicate ACKs; lostOut those taken
	// for lost; retransOut those retransmitted and not yet acknowledged.
	sackedOut, lostOut, retransOut int
	rtxHint                        int // no entry below this index awaits retransmission
	rackHint                       int // no entry below this index was sent only once and may yet be found lost by RACK
	highSacked                     int // index of the highest SACKed entry; -1: none
	// blocks[:nblocks] are those of the last ACK that had any, by sequence number: what they cover is tagged.
	blocks  [wire.MaxSACKBlocks]sackRange
	nblocks uint8
	next    *txQueue // in the free list
}

// txSeg is one segment in flight.
type txSeg struct {
	seq    seqNum
	length uint16 // of the data
	flags  uint8
	tx     uint8 // times sent, saturating
	sentAt sim.Time
	stamp  congestion.Stamp // for delivery rates
}

// Bits of txSeg.flags.
const (
	txSacked  = 1 << iota
	txLost    // taken for lost
	txRetrans // retransmitted since it was taken for lost
	txRexmit  // retransmitted at any time: Karn's algorithm does not time it
	txFIN
	txPSH
	txTooLarge // for the path, and not yet marked lost for it
	txJudged   // RACK has taken it for lost, and looks at it again only once it was resent

	txMarks = txSacked | txLost | txRetrans | txRexmit | txTooLarge | txJudged // what befalls a segment
)

// end is the sequence number after the segment.
func (x *txSeg) end() seqNum {
	e := x.seq + seqNum(x.length)
	if x.flags&txFIN != 0 {
		e++
	}
	return e
}

const txQueueMin = 16

// queue is the queue of segments in flight, made on first use.
func (c *Conn) queue() *txQueue {
	if c.rtx == nil {
		t := &c.stack.tcp
		if c.rtx = t.freeRtx; c.rtx != nil {
			t.freeRtx, c.rtx.next = c.rtx.next, nil
		} else {
			c.rtx = &txQueue{ring: make([]txSeg, txQueueMin)}
		}
		c.rtx.highSacked = -1
		c.recovery()
	}
	return c.rtx
}

// releaseRtx gives an empty queue back.
func (c *Conn) releaseRtx() {
	q := c.rtx
	if q == nil || q.n > 0 {
		return
	}
	ring := q.ring
	*q = txQueue{}
	q.ring, q.next, c.stack.tcp.freeRtx, c.rtx = ring, c.stack.tcp.freeRtx, q, nil
}

// at is the i-th oldest entry.
func (q *txQueue) at(i int) *txSeg { return &q.ring[(q.head+i)&(len(q.ring)-1)] }

func (q *txQueue) push(x txSeg) {
	if q.n == len(q.ring) {
		ring := make([]txSeg, 2*q.n)
		for i := range q.n {
			ring[i] = *q.at(i)
		}
		q.ring, q.head = ring, 0
	}
	q.n++
	*q.at(q.n - 1) = x
}

// pop takes the oldest entry out, and out of the counts.
func (q *txQueue) pop() {
	if x := q.at(0); x.flags&txMarks != 0 {
		q.uncount(x)
	}
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	q.rtxHint = max(0, q.rtxHint-1)
	q.rackHint = max(0, q.rackHint-1)
	q.highSacked = max(-1, q.highSacked-1)
}

// uncount takes an entry's marks out of the counts.
func (q *txQueue) uncount(x *txSeg) {
	if x.flags&txSacked != 0 {
		q.sackedOut--
	}
	if x.flags&txLost != 0 {
		q.lostOut--
	}
	if x.flags&txRetrans != 0 {
		q.retransOut--
	}
}

// find is the index of the first entry that ends after seq, or n.
func (q *txQueue) find(seq seqNum) int {
	lo, hi := 0, q.n
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if seq.less(q.at(mid).end()) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// inFlight is RFC 6675's pipe, in segments.
func (q *txQueue) inFlight() int {
	if q == nil {
		return 0
	}
	return q.n - q.sackedOut - q.lostOut + q.retransOut
}

// out is how many segments are in the queue.
func (q *txQueue) out() int {
	if q == nil {
		return 0
	}
	return q.n
}
