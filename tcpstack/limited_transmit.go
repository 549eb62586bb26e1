package tcpstack

// Limited transmit, RFC 3042.

// limitsTransmit is how much of the window what has been SACKed, or has made duplicate ACKs, must not free.
//
// RFC 3042: "sending a new data segment in response to each of the first two duplicate acknowledgments that arrive at the
// sender", if the peer's window allows it and no more than two segments are out beyond the congestion window. As Linux does it, each segment that has left the network makes room for one, until
// a loss is found. Switched off, only the cumulative ACK makes room then.
func (c *Conn) limitsTransmit() int {
	if c.set.limitedTransmit || c.caState > caDisorder {
		return 0
	}
	return c.rtx.sackedOut
}
