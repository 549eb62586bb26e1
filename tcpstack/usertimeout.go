package tcpstack

import (
	"math/bits"

	"labd.dev/sim"
)

// How long a peer may leave data unanswered. RFC 9293 3.8.3: "There are two thresholds R1 and R2 measuring the amount
// of retransmission that has occurred for the same segment. ... When the number of transmissions of the same segment
// reaches a threshold R2 greater than R1, close the connection." (MUST-20); "An application MUST ... be able to set the
// value for R2 for a particular connection" (MUST-21). R1 is blackholeRetries, R2 dataRetries, or what the user timeout
// says instead:
//
// RFC 9293 3.9.1.1: "The timeout, if present, permits the caller to set up a timeout for all data submitted to TCP. If
// data is not successfully delivered to the destination within the timeout period, the TCP endpoint will abort the
// connection".

// modelTimeout is how long n retransmissions take from the first on, each timeout doubling from base on: Linux counts in
// time, so that a connection with a long round trip is given no more (tcp_model_timeout).
func (c *Conn) modelTimeout(base sim.Time, n uint8) sim.Time {
	most := c.set.maxRTO
	linear := bits.Len64(uint64(max(most/base, 1))) - 1
	if int(n) <= linear {
		return (2<<n - 1) * base
	}
	return (2<<linear-1)*base + sim.Time(int(n)-linear)*most
}

// retransmitsTimedOut says whether retransmissions have gone on for as long as n take (Linux: retransmits_timed_out).
func (c *Conn) retransmitsTimedOut(n uint8) bool {
	return c.retransmits > 0 && c.retransmitting() >= c.modelTimeout(max(c.set.minRTO, sim.Millisecond), n)
}

// retransmitting is for how long nothing new was acknowledged since the first retransmission; of a SYN, since it was first
// sent (Linux: tcp_connect sets retrans_stamp).
func (c *Conn) retransmitting() sim.Time {
	if !c.state.synchronized() {
		return c.stack.loop.Now() - c.lastDataSent
	}
	if c.rec == nil || c.rec.undo.retransAt == sim.Never {
		return 0
	}
	return c.stack.loop.Now() - c.rec.undo.retransAt
}

// unansweredForGood says whether data was left unacknowledged for too long (Linux: tcp_write_timeout).
func (c *Conn) unansweredForGood() bool {
	switch {
	case c.retransmits == 0:
		return false
	case c.orphaned():
		// (tcp_orphan_retries): memory is not held long for a connection that nobody owns.
		return c.retransmitsTimedOut(c.set.orphanRetries)
	case c.set.userTimeout != 0:
		return c.retransmitting() >= c.set.userTimeout
	}
	return c.retransmitsTimedOut(c.set.dataRetries)
}

// synUnansweredForGood says whether a SYN, or a simultaneous open's SYN,ACK, was left unanswered for too long: as often as
// is set and the linear timeouts come to, or for as long as it is set to take when each timeout doubles (Linux:
// tcp_write_timeout).
func (c *Conn) synUnansweredForGood() bool {
	limit := int(c.set.synRetries)
	if c.state == StateSynSent {
		limit += int(c.set.synLinear)
	}
	switch {
	case c.set.openTimeout != 0 && c.retransmitting() >= c.set.openTimeout:
		return true
	case int(c.retransmits) >= limit:
		return true
	case c.retransmits == 0:
		return false
	case c.set.userTimeout != 0:
		return c.retransmitting() >= c.set.userTimeout
	}
	return c.retransmitting() >= c.modelTimeout(c.set.initialRTO, c.set.synRetries)
}

// orphaned: the application has closed the connection, and only the peer is still to learn of it.
func (c *Conn) orphaned() bool { return c.appClosed }

// untilUserTimeout bounds a timer to what is left of the user timeout, counted from since (Linux:
// tcp_clamp_rto_to_user_timeout, tcp_clamp_probe0_to_user_timeout).
func (c *Conn) untilUserTimeout(in, since sim.Time) sim.Time {
	if t := c.set.openTimeout; t != 0 && !c.state.synchronized() {
		in = min(in, max(t-since, sim.Millisecond))
	}
	if c.set.userTimeout == 0 {
		return in
	}
	return min(in, max(c.set.userTimeout-since, sim.Millisecond))
}
