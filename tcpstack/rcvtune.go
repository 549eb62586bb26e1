package tcpstack

import "labd.dev/sim"

// dataReady: the application is told of data once there is as much as it has asked for, or as the window lets come (Linux:
// tcp_data_ready, tcp_epollin_ready).
func (c *Conn) dataReady() {
	if n := c.Buffered(); n >= int(c.set.recvLowat) || n >= int(c.set.lowat()) || c.rcvWnd() <= uint32(c.rcvMSS) {
		c.events |= evReadable
	}
}

// growForLowat gives the receive buffer room for what must come before the application is told (Linux: tcp_set_rcvlowat).
func (c *Conn) growForLowat() {
	r, low := c.rcvf, c.set.lowat()
	if r == nil || c.set.rcvBuf != 0 {
		return
	}
	if space := uint32(spaceFromWin(uint64(low), r.ratio)); space > r.rcvBuf {
		r.rcvBuf = space
		if low > r.clamp {
			c.setClamp(low)
		}
	}
}

// rcvSpace measures what the application reads in a round trip (Linux: tcp_sock.rcvq_space).
type rcvSpace struct {
	space    uint32 // bytes read in the last round trip
	spaceSeq seqNum // what was read when the measurement began
	spaceAt  sim.Time
}

// rcvRTT is the round-trip time as a receiver sees it (Linux: tcp_sock.rcv_rtt_est).
type rcvRTT struct {
	rtt8    sim.Time // smoothed, times eight; 0: none yet
	rttSeq  seqNum
	rttAt   sim.Time
	lastEcr uint32
}

func (r *rcvRTT) rtt() sim.Time { return r.rtt8 / 8 }

// sample takes a measurement in. One that spans a window rather than a segment is never too short, but may be far too
// long: only less than what is known counts.
func (r *rcvRTT) sample(m sim.Time, window bool) {
	m = max(m, 1)
	switch {
	case r.rtt8 == 0 || 8*m < r.rtt8:
		r.rtt8 = 8 * m
	case !window:
		r.rtt8 += m - r.rtt8/8
	}
}

// measureRcvRTT times how long it takes a window of data to come, or by timestamps an ACK of ours to be answered with
// data (Linux: tcp_rcv_rtt_measure, tcp_rcv_rtt_measure_ts). Dynamic right-sizing (Feng and others, 2001) is the source of
// both.
func (c *Conn) measureRcvRTT(g *segment) {
	r, now := c.rcvf, c.stack.loop.Now()
	if c.tsOK && g.opt.HasTimestamps {
		if g.opt.TSEcr != r.lastEcr {
			r.lastEcr = g.opt.TSEcr
			if g.length >= uint32(c.rcvMSS) && g.opt.TSEcr != 0 {
				if d := int32(c.tsNow() - g.opt.TSEcr); d >= 0 {
					r.sample(max(sim.Time(d)*sim.Millisecond, sim.Millisecond), false)
				}
			}
		}
	}
	if r.rttAt != 0 {
		if c.rcvNxt.less(r.rttSeq) {
			return
		}
		r.sample(now-r.rttAt, true)
	}
	r.rttSeq, r.rttAt = c.rcvAdv, max(now, 1)
}

// adjustRecvSpace grows the receive buffer, once a round trip, to twice what the application has read in it, and more
// while that grows (Linux: tcp_rcv_space_adjust). RFC 7323 1.1 names the bandwidth-delay product that a window must have.
func (c *Conn) adjustRecvSpace() {
	r := c.rcvf
	if r == nil || r.rtt8 == 0 {
		return
	}
	now := c.stack.loop.Now()
	if now-r.spaceAt < r.rtt() {
		return
	}
	read := c.rcvNxt - seqNum(c.Buffered())
	if c.rcvFIN {
		read--
	}
	copied := uint32(read - r.spaceSeq)
	if copied > r.space {
		if c.set.recvAutotuning && c.set.rcvBuf == 0 {
			win := uint64(copied)*2 + 16*uint64(c.advMSS())
			win += 2 * (win * uint64(copied-r.space) / uint64(max(r.space, 1)))
			if buf := uint32(min(spaceFromWin(win, r.ratio), uint64(c.set.maxRecvBuffer))); buf > r.rcvBuf {
				r.rcvBuf = buf
				r.clamp = winFromSpace(buf, r.ratio)
				if c.set.windowClamp != 0 {
					r.clamp = min(r.clamp, c.set.windowClamp)
				}
			}
		}
		r.space = copied
	}
	r.spaceSeq, r.spaceAt = read, now
}

// rcvRTT is tcpi_rcv_rtt.
func (c *Conn) rcvRTT() sim.Time {
	if c.rcvf == nil {
		return 0
	}
	return c.rcvf.rtt()
}
