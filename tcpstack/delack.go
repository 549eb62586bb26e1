package tcpstack

// maxQuickACKs is how many ACKs a connection sends at once at its start, so that the peer's slow start is not held up
// (Linux: TCP_MAX_QUICKACKS).
const maxQuickACKs = 16

// ackSoon decides, after a segment with data was accepted, whether its ACK goes now or waits.
//
// RFC 9293 3.8.6.3: "An ACK should not be excessively delayed; in particular, the delay MUST be less than 0.5 seconds
// (MUST-40). An ACK SHOULD be generated for at least every second full-sized segment or 2*RMSS bytes of new data
// (SHLD-19)".
func (c *Conn) ackSoon() {
	c.ackPending = true
	switch {
	case c.set.delAck == 0,
		uint32(c.rcvNxt-c.rcvWup) > uint32(c.rcvMSS), // Linux: more than one full frame
		c.quickACKs > 0 && !c.pingPong:
		c.ackNow = true
	}
}

// repliedWithData: data that goes out soon after data came in makes the exchange interactive, whose ACKs ride on the
// replies (Linux: inet_csk_enter_pingpong_mode).
func (c *Conn) repliedWithData() {
	if c.lastDataRcv != 0 && c.stack.loop.Now()-c.lastDataRcv < c.set.delAck {
		c.pingPong = true
	}
}

// flushACK sends the ACK that is due, or lets the timer hold it.
func (c *Conn) flushACK(why SendReason) {
	switch {
	case c.ackNow:
		c.sendACK(why)
	case c.ackPending:
		c.setDelackTimer(c.set.delAck)
	}
}

// ackSent notes that the segment being sent carries an ACK of RCV.NXT.
func (c *Conn) ackSent() {
	c.rcvWup = c.rcvNxt
	if c.ackPending && c.quickACKs > 0 {
		c.quickACKs--
	}
	c.ackPending, c.ackNow = false, false
	c.cancelDelackTimer()
}

// SetQuickACK is TCP_QUICKACK: on ends an interactive exchange and sends the ACK that is held back, off begins one (Linux:
// __tcp_sock_set_quickack). It does not last: what the connection does next may change it again.
func (c *Conn) SetQuickACK(on bool) {
	c.pingPong = !on
	if on && c.ackPending && !c.processing && (c.state == StateEstablished || c.state == StateCloseWait) {
		c.sendACK(SendACK)
	}
}

// QuickACK says whether ACKs go out at once rather than with data.
func (c *Conn) QuickACK() bool { return !c.pingPong }
