package tcpstack

// Limited transmit, RFC 3042.

// limitsTransmit is how much of the window what has been SACKed, or has made duplicate ACKs, must not free.
//
// RFC 3042 2: "the TCP sender SHOULD transmit a segment of previously unsent data" on the first two duplicate ACKs, "so long
// as the receiver's advertised window allows", as "the amount of outstanding data would remain less than or equal to the
// congestion window plus 2 segments". As Linux does it, each segment that has left the network makes room for one, until
// a loss is found. Switched off, only the cumulative ACK makes room then.
func (c *Conn) limitsTransmit() int {
	if c.set.limitedTransmit || c.caState > caDisorder {
		return 0
	}
	return c.rtx.sackedOut
}
