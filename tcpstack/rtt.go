package tcpstack

import "labd.dev/sim"

// Round-trip times are microseconds, as Linux has them.

// us is a time in whole microseconds.
func us(t sim.Time) int64 { return int64(t / sim.Microsecond) }

// elapsed is how long ago t was, in microseconds.
func (c *Conn) elapsed(t sim.Time) int64 { return us(c.stack.loop.Now() - t) }

// ceilMs rounds microseconds up to the milliseconds that timers count in (Linux: usecs_to_jiffies with HZ=1000).
func ceilMs(us int64) sim.Time {
	return sim.Time((us+999)/1000) * sim.Millisecond
}

// srtt is the smoothed round-trip time; 0: not measured.
func (c *Conn) srtt() sim.Time { return sim.Time(c.srtt8>>3) * sim.Microsecond }

// rttvar is the variation that tcp_info tells (tcpi_rttvar).
func (c *Conn) rttvar() sim.Time { return sim.Time(c.mdev4>>2) * sim.Microsecond }

// noMinRTT is what Linux's tcp_min_rtt is before the first sample.
const noMinRTT = ^uint32(0)

// minRTTUs is the least round-trip time of a window of time (tcp_min_rtt_wlen).
func (c *Conn) minRTTUs() uint32 {
	switch {
	case c.rec != nil && c.rec.minRTT.at[0].set:
		return c.rec.minRTT.at[0].v
	case c.srtt8 != 0:
		return c.srtt8 >> 3 // the handshake's sample
	}
	return noMinRTT
}

// minRTT is the same as a time; 0: not measured.
func (c *Conn) minRTT() sim.Time {
	if m := c.minRTTUs(); m != noMinRTT {
		return sim.Time(m) * sim.Microsecond
	}
	return 0
}

// updateRTT takes an ACK's round-trip times in (Linux: tcp_ack_update_rtt). It reports whether there was a sample.
//
// RFC 6298 3, Karn's algorithm: "RTT samples MUST NOT be made using segments that were retransmitted (and thus for which it
// is ambiguous whether the reply was for the first instance of the packet or a later instance). The only case when TCP can
// safely take RTT samples from retransmitted segments is when the TCP timestamp option is employed".
func (c *Conn) updateRTT(r *ackResult) bool {
	seq, ca := int64(-1), int64(-1)
	if r.flags&ackTimed != 0 && r.flags&ackRetransmitted == 0 {
		seq, ca = c.elapsed(r.firstAckedAt), c.elapsed(r.lastAckedAt)
		if r.acked == 1 && !r.part && r.flags&ackAlert == 0 && r.priorSacked == 0 && uint32(c.sndUna-r.priorUna) < uint32(c.sndMSS) &&
			r.priorDelivered+1 == c.cc.Delivered {
			r.flags |= ackMaybeDelayed
		}
	}
	if r.flags&ackSackTimed != 0 {
		r.sackRTT = c.elapsed(r.firstSackedAt)
		ca = c.elapsed(r.lastSackedAt)
	}
	if seq < 0 {
		seq = r.sackRTT
	}
	if seq < 0 && c.rec.sawTS && r.flags&ackAcked != 0 {
		// RFC 7323 4.1: "a TSecr value received in a segment MAY be used to update the averaged RTT measurement only if the
		// segment advances the left edge of the send window".
		if d := int32(c.tsNow() - c.rec.tsEcr); d >= 0 {
			seq = max(int64(d), 1) * 1000
			ca = seq
		}
	}
	if r.rtt = ca; ca >= 0 {
		c.cc.rs.RTT = sim.Time(ca) * sim.Microsecond
	}
	if seq < 0 {
		return false
	}
	if r.flags&ackMaybeDelayed == 0 || uint32(ca) <= c.minRTTUs() {
		// RFC 8985 6.2 (1): "update the estimated minimum RTT in RACK.min_RTT": a sample that a lone delayed ACK may
		// have stretched is not taken for it.
		c.rec.minRTT.take(c.stack.loop.Now(), c.set.minRTTWindow, uint32(max(ca, 0)))
	}
	c.sampleRTT(seq)
	return true
}

// sampleRTT is Linux's tcp_rtt_estimator: RFC 6298's SRTT and RTTVAR, but for two things. A round trip that is shorter than
// SRTT moves the deviation by less, so that a fall of the round-trip time does not raise the timeout; and RTTVAR is the
// largest deviation of a window, not below the least timeout, and shrinks once a window only.
func (c *Conn) sampleRTT(m int64) {
	m = max(m, 0)
	if c.set.personality == PersonalityFreeBSD {
		c.sampleRFC6298(m)
		return
	}
	least := uint32(us(c.set.minRTO))
	if c.srtt8 == 0 {
		// RFC 6298 2.2: "SRTT <- R, RTTVAR <- R/2".
		c.srtt8 = uint32(m << 3)
		c.mdev4 = uint32(m << 1)
		c.rttvar4 = max(c.mdev4, least)
		c.mdevMax4 = c.rttvar4
		c.rttSeq = c.sndNxt
	} else {
		// RFC 6298 2.3: "RTTVAR <- (1 - beta) * RTTVAR + beta * |SRTT - R'|, SRTT <- (1 - alpha) * SRTT + alpha * R'",
		// "alpha=1/8 and beta=1/4".
		d := m - int64(c.srtt8>>3)
		c.srtt8 = uint32(int64(c.srtt8) + d)
		if d < 0 {
			if d = -d - int64(c.mdev4>>2); d > 0 {
				d >>= 3
			}
		} else {
			d -= int64(c.mdev4 >> 2)
		}
		c.mdev4 = uint32(int64(c.mdev4) + d)
		if c.mdev4 > c.mdevMax4 {
			c.mdevMax4 = c.mdev4
			c.rttvar4 = max(c.rttvar4, c.mdevMax4)
		}
		if c.rttSeq.less(c.sndUna) {
			if c.mdevMax4 < c.rttvar4 {
				c.rttvar4 -= (c.rttvar4 - c.mdevMax4) >> 2
			}
			c.rttSeq = c.sndNxt
			c.mdevMax4 = least
		}
	}
	c.srtt8 = max(c.srtt8, 1)
	c.rto = c.computeRTO()
	// RFC 6298 5.7's sibling in Linux: only a valid measurement ends the backoff, as Karn's algorithm asks.
	c.backoff = 0
}

// leastRTO is a tick: what no settings go below, so that a timer never fires at the instant it was set (Linux: a jiffy).
const leastRTO = sim.Millisecond

// computeRTO is Linux's __tcp_set_rto: RFC 6298 2.3 has "RTO <- SRTT + max (G, K*RTTVAR)" and 2.4 a least RTO of 1 second;
// here rttvar4 is 4*RTTVAR, and never below the least timeout unless that was raised meanwhile.
func (c *Conn) computeRTO() sim.Time {
	return min(max(ceilMs(int64(c.srtt8>>3)+int64(c.rttvar4)), leastRTO), c.set.maxRTO)
}

// minFilter keeps the least value of a sliding window of time, by the best, second best and third best of its thirds
// (Kathleen Nichols' algorithm, Linux's lib/win_minmax.c).
type minFilter struct{ at [3]minSample }

type minSample struct {
	t   sim.Time
	v   uint32
	set bool
}

func (f *minFilter) reset(now sim.Time, v uint32) {
	v = max(v, 1)
	for i := range f.at {
		f.at[i].t, f.at[i].v, f.at[i].set = now, v, true
	}
}

// take takes a sample into a window that is so wide.
func (f *minFilter) take(now, window sim.Time, v uint32) {
	if v == 0 {
		v = 1000 // Linux counts a round trip that it cannot measure as a tick
	}
	s := minSample{now, v, true}
	a := &f.at
	if !a[0].set || v <= a[0].v || now-a[2].t > window {
		f.reset(now, v)
		return
	}
	if v <= a[1].v {
		a[1], a[2] = s, s
	} else if v <= a[2].v {
		a[2] = s
	}
	switch age := now - a[0].t; {
	case age > window:
		// A whole window without a new least: the second best takes over, perhaps the third.
		a[0], a[1], a[2] = a[1], a[2], s
		if now-a[0].t > window {
			a[0], a[1], a[2] = a[1], a[2], s
		}
	case a[1].t == a[0].t && age > window/4:
		a[1], a[2] = s, s // a quarter without a second choice
	case a[2].t == a[1].t && age > window/2:
		a[2] = s
	}
}
