package tcpstack

import "labd.dev/sim"

// Linux's delayed ACKs. RFC 9293 3.8.6.3: "an ACK should not be excessively delayed; in particular, the delay MUST be
// less than 0.5 seconds (MUST-40). An ACK SHOULD be generated for at least every second full-sized segment or 2*RMSS
// bytes of new data ... (SHLD-19)".
const (
	maxQuickACKs = 16                    // TCP_MAX_QUICKACKS
	minATO       = 40 * sim.Millisecond  // TCP_ATO_MIN, TCP_DELACK_MIN
	maxDelACK    = 200 * sim.Millisecond // TCP_DELACK_MAX
	pingPongFrom = 1                     // tcp_pingpong_thresh
)

// Bits of Conn.ackPushed.
const (
	ackPushed  = 1 << iota // a small or pushed segment awaits its ACK
	ackPushed2             // two do
)

// inPingPong says whether the exchange is interactive: its ACKs wait for data to ride on.
func (c *Conn) inPingPong() bool { return c.pingPong >= c.set.pingPong }

// inQuickACK says whether each segment is acknowledged at once.
func (c *Conn) inQuickACK() bool { return c.quickACKs > 0 && !c.inPingPong() }

// addQuickACKs makes the next ACKs go at once, one for every two segments of the window, n at most (Linux:
// tcp_incr_quickack).
func (c *Conn) addQuickACKs(n uint32) {
	if !c.set.quickAC {
		return
	}
	q := uint32(c.rcvAdv-c.rcvWup) / (2 * uint32(c.rcvMSS))
	if q == 0 {
		q = 2
	}
	c.quickACKs = max(c.quickACKs, uint8(min(q, n)))
}

// enterQuickACK acknowledges the next n segments at once, whatever the exchange was like (Linux:
// tcp_enter_quickack_mode).
func (c *Conn) enterQuickACK(n uint32) {
	c.addQuickACKs(n)
	c.pingPong = 0
	c.ato = c.minATO()
}

// minATO is the least time that an ACK waits: a delay that is configured holds as it is.
func (c *Conn) minATO() sim.Time {
	if c.set.fixedDelAck {
		return c.set.delAck
	}
	return minATO
}

// dataReceived notes that data has come in order: how far apart, and so how long an ACK may wait for the next, ato
// (Linux: tcp_event_data_recv).
func (c *Conn) dataReceived(g *segment) {
	now := c.stack.loop.Now()
	c.ackPending = true
	c.flow()
	c.measureRcvMSS(g)
	c.measureRcvRTT(g)
	switch m := now - c.lastDataRcv; {
	case c.ato == 0: // the first data
		c.addQuickACKs(maxQuickACKs)
		c.ato = c.minATO()
	case c.set.fixedDelAck:
	case m <= minATO/2:
		c.ato = c.ato/2 + minATO/2
	case m < c.ato:
		c.ato = min(c.ato/2+m, max(c.rto, minATO))
	case m > c.rto:
		// Too long a gap: the sender may have begun again with a small window.
		c.addQuickACKs(maxQuickACKs)
	}
	c.lastDataRcv = now
	if g.length >= growFrom {
		c.growWindow(g.length)
	}
}

// growFrom is the least data of a segment that opens the window (Linux: tcp_event_data_recv).
const growFrom = 128

// repliedWithData: data that goes out soon after data came in makes the exchange interactive (Linux:
// tcp_event_data_sent).
func (c *Conn) repliedWithData() {
	if c.ato != 0 && c.stack.loop.Now()-c.lastDataRcv < c.ato && c.pingPong < 255 {
		c.pingPong++
	}
}

// flushACK sends the ACK that is due, or lets the timer hold it; then it does what reading has made due.
func (c *Conn) flushACK() {
	if c.ackPending || c.ackNow {
		c.checkACK()
	}
	if c.wasRead {
		c.flushRead()
	}
}

// checkACK decides between an ACK now, later, or for several duplicates together (Linux: __tcp_ack_snd_check).
func (c *Conn) checkACK() {
	switch {
	case c.ackNow, c.inQuickACK(), c.set.fixedDelAck && c.set.delAck == 0,
		// More than one full segment, and the window moves on, or the application waits for more; else the ACK goes once it
		// has read.
		uint32(c.rcvNxt-c.rcvWup) > uint32(c.rcvMSS) && (c.Buffered() < int(c.set.lowat()) || c.selectWindow() >= uint32(c.rcvAdv-c.rcvWup)):
		c.sendACK(c.ackReason())
	case c.rcv == nil || len(c.rcv.ooo) == 0:
		c.delayACK()
	default:
		c.compressACK()
	}
}

// delayACK sets the timer that holds the ACK (Linux: tcp_send_delayed_ack).
func (c *Conn) delayACK() {
	ato := c.ato
	if !c.set.fixedDelAck && ato > minATO {
		most := 500 * sim.Millisecond
		if c.inPingPong() || c.ackPushed&ackPushed != 0 {
			most = maxDelACK
		}
		if c.srtt() != 0 {
			most = min(most, max(c.srtt(), minATO))
		}
		ato = min(ato, most, maxDelACK)
	}
	now := c.stack.loop.Now()
	if c.delackAt != sim.Never {
		if c.delackAt <= now+ato/4 { // about to expire
			c.sendACK(c.ackReason())
			return
		}
		if c.delackAt <= now+ato {
			return
		}
	}
	c.setDelackTimer(ato)
}

// delackTimeout sends the ACK that was held. That no data came to carry it says that ato was too short, or that the
// exchange is not interactive after all (Linux: tcp_delack_timer_handler).
func (c *Conn) delackTimeout() {
	if c.rcv != nil && c.rcv.compressed > 0 {
		c.sendACK(SendDupACK)
		return
	}
	if !c.ackPending {
		return
	}
	if c.inPingPong() {
		c.pingPong, c.ato = 0, c.minATO()
	} else if !c.set.fixedDelAck {
		c.ato = min(2*c.ato, max(c.rto, minATO))
	}
	c.stack.tcp.count.delayedAcks++
	c.sendACK(SendDelACK)
}

// ackSent notes that the segment being sent carries an ACK of RCV.NXT (Linux: tcp_event_ack_sent).
func (c *Conn) ackSent() {
	c.rcvWup = c.rcvNxt
	if c.ackPending && c.quickACKs > 0 {
		if c.quickACKs--; c.quickACKs == 0 {
			c.ato = c.minATO() // the end of quick-ACK mode
		}
	}
	c.ackPending, c.ackNow, c.ackPushed = false, false, 0
	if c.rcv != nil {
		c.rcv.compressed = 0
	}
	c.cancelDelackTimer()
}

// SetQuickACK is the socket option TCP_QUICKACK: on ends an interactive exchange and sends an ACK that is held, off begins
// one (Linux: __tcp_sock_set_quickack). It does not last: what the connection does next may change it again.
func (c *Conn) SetQuickACK(on bool) {
	if !on {
		c.pingPong = c.set.pingPong
		return
	}
	c.pingPong = 0
	if c.state.sends() && c.ackPending {
		c.ackPushed |= ackPushed
		c.wasRead = true
		if !c.processing {
			c.flushRead()
		}
	}
}

// QuickACK says whether ACKs go out at once rather than with data.
func (c *Conn) QuickACK() bool { return !c.inPingPong() }
