package tcpstack

import "labd.dev/sim"

// RACK: loss detection by time. RFC 8985 3: a segment is lost if one that was sent sufficiently later has been
// delivered.

// rackState is RFC 8985 5.2's variables.
type rackState struct {
	sent     sim.Time // RACK.xmit_ts: when the segment last sent of those delivered was sent
	end      seqNum   // RACK.end_seq
	rtt      int64    // RACK.rtt, us
	advanced bool     // these have moved since losses were looked for

	dsackSeen         bool // a DSACK asks for a larger window
	reoSteps          uint8
	reoPersist        uint8  // recoveries that reoSteps still lasts
	adjustedDelivered uint32 // Delivered when reoSteps was last raised

	// order lists segments that were sent again, by when they were; those sent once lie in the queue in that order.
	order []rackMark
	first int // of order
}

// rackMark is a retransmission: the segment's end and when it was sent.
type rackMark struct {
	end seqNum
	at  sim.Time
}

// rackRecoveries: RFC 8985 6.2 (4): "RACK.reo_wnd_persist = 16": a window that DSACKs enlarged lasts that many recoveries.
const rackRecoveries = 16

// rackAdvance: RFC 8985 6.2 (1) and (2): RACK.rtt is the round trip of the segment sent most recently of those that
// have been delivered; a retransmission whose round trip would be below the least one cannot have been what was
// delivered: it is passed over.
func (c *Conn) rackAdvance(x *txSeg) {
	k := &c.rec.rack
	rtt := c.elapsed(x.sentAt)
	if x.flags&txRexmit != 0 && rtt < int64(c.minRTTUs()) {
		return
	}
	k.advanced = true
	k.rtt = rtt
	if sentAfter(x.sentAt, k.sent, x.end(), k.end) {
		k.sent, k.end = x.sentAt, x.end()
	}
}

// reoWnd is RFC 8985 6.2 (4)'s RACK_update_reo_wnd: 0 while no reordering has been seen and it is time to be quick: in
// a recovery, or once DupThresh segments were SACKed; else "min(RACK.reo_wnd_mult * RACK.min_RTT / 4, SRTT)".
func (c *Conn) reoWnd() int64 {
	rec := c.rec
	if rec.reordSeen == 0 && (c.caState >= caRecovery || c.set.rackDupThresh && uint32(c.rtx.sackedOut) >= rec.reordering) {
		return 0
	}
	return min(int64(c.minRTTUs()>>2)*int64(rec.rack.reoSteps), int64(c.srtt8>>3))
}

// rackTimeout is how long a segment may still take, us.
func (c *Conn) rackTimeout(x *txSeg, reoWnd int64) int64 {
	return c.rec.rack.rtt + reoWnd - c.elapsed(x.sentAt)
}

// rackDetectLoss is RFC 8985 6.2 (5), RACK_detect_loss, in short: for each segment, Segment, not acknowledged yet: If
// RACK_sent_after(RACK.xmit_ts, RACK.end_seq, Segment.xmit_ts, Segment.end_seq): remaining = Segment.xmit_ts + RACK.rtt
// + RACK.reo_wnd - Now(); If remaining <= 0: Segment.lost = TRUE; Else: timeout = max(remaining, timeout). It returns
// that timeout, us.
func (c *Conn) rackDetectLoss() int64 {
	q, k := c.rtx, &c.rec.rack
	wnd, timeout := c.reoWnd(), int64(0)
	for i := q.rackHint; i < q.n; i++ {
		x := q.at(i)
		if x.flags&(txSacked|txRexmit|txJudged) != 0 {
			if i == q.rackHint {
				q.rackHint++
			}
			continue
		}
		if x.flags&txLost != 0 {
			continue
		}
		if !sentAfter(k.sent, x.sentAt, k.end, x.end()) {
			break
		}
		timeout = max(timeout, c.rackJudge(i, wnd))
	}
	kept := 0
	for at := k.first; at < len(k.order); at++ {
		m := k.order[at]
		i := q.find(m.end - 1)
		if i >= q.n || q.at(i).end() != m.end || q.at(i).sentAt != m.at || q.at(i).flags&(txSacked|txJudged) != 0 {
			if kept == 0 {
				k.first = at + 1
			}
			continue // it is no longer in flight as it was sent then
		}
		kept++
		if x := q.at(i); x.flags&(txLost|txRetrans) == txLost {
			continue
		} else if !sentAfter(k.sent, x.sentAt, k.end, x.end()) {
			break
		}
		timeout = max(timeout, c.rackJudge(i, wnd))
	}
	return timeout
}

// rackJudge takes a segment for lost, or says how long it may still take.
func (c *Conn) rackJudge(i int, wnd int64) int64 {
	x := c.rtx.at(i)
	remaining := c.rackTimeout(x, wnd)
	if remaining > 0 {
		return remaining
	}
	c.markLost(i, LossRACK)
	x.flags |= txJudged
	return 0
}

// rackSentAgain notes a retransmission.
func (c *Conn) rackSentAgain(x *txSeg) {
	x.flags &^= txJudged
	k := &c.rec.rack
	if len(k.order) == cap(k.order) && k.first > 0 {
		k.order = k.order[:copy(k.order, k.order[k.first:])]
		k.first = 0
	}
	if len(k.order) > 4*c.rtx.n+64 { // what is in flight in it is at most n: sort out the rest
		kept := k.order[:0]
		for _, m := range k.order[k.first:] {
			if i := c.rtx.find(m.end - 1); i < c.rtx.n && c.rtx.at(i).sentAt == m.at {
				kept = append(kept, m)
			}
		}
		k.order, k.first = kept, 0
	}
	k.order = append(k.order, rackMark{x.end(), x.sentAt})
}

// rackMarkLost looks for losses after an ACK, and sets the reordering timer for what may be lost soon. It reports that.
func (c *Conn) rackMarkLost() bool {
	k := &c.rec.rack
	if !k.advanced {
		return false
	}
	k.advanced = false
	timeout := c.rackDetectLoss()
	if timeout > 0 {
		c.setRetransTimer(TimerReorder, ceilMs(timeout+timerSlackUs))
	}
	return timeout > 0
}

// timerSlackUs is added to timers of less than an RTO, against the granularity of clocks (TCP_TIMEOUT_MIN_US).
const timerSlackUs = 2000

// reorderTimeout: the reordering window of some segment has passed (Linux: tcp_rack_reo_timeout).
func (c *Conn) reorderTimeout() {
	if c.rtx == nil || c.rtx.n == 0 {
		return
	}
	flight, lost := c.rtx.inFlight(), c.cc.Lost
	c.rackDetectLoss()
	if flight != c.rtx.inFlight() {
		if c.caState != caRecovery {
			c.enterRecovery(false, ByReorderTimer)
			if !c.set.cc.OwnsCwnd() {
				c.reduceCwnd(1, int(c.cc.Lost-lost), 0)
			}
		}
		c.retransmitQueue()
	}
	if c.timerAt == sim.Never || c.pendingTimer != TimerRTO {
		c.rearmFromHead()
	}
}

// adaptReoWnd: RFC 8985 6.2 (4): on "any DSACK option": "RACK.reo_wnd_mult += 1", once a round trip, kept for
// RACK.reo_wnd_persist recoveries.
func (c *Conn) adaptReoWnd() {
	k := &c.rec.rack
	prior, known := c.cc.rs.PriorDelivered()
	if !c.set.rackAdapt || !known {
		return
	}
	if int32(prior-k.adjustedDelivered) < 0 {
		k.dsackSeen = false
	}
	switch {
	case k.dsackSeen:
		k.reoSteps = min(k.reoSteps, 254) + 1
		k.dsackSeen = false
		k.adjustedDelivered = c.cc.Delivered
		k.reoPersist = rackRecoveries
	case k.reoPersist == 0:
		k.reoSteps = 1
	}
}
