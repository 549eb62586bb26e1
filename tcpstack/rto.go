package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/congestion"
)

const (
	ssthreshUnset = congestion.Unset
	// maxRTO: RFC 6298 2.5: "A maximum value MAY be placed on RTO provided it is at least 60 seconds"; Linux's TCP_RTO_MAX.
	maxRTO = 120 * sim.Second
	// maxBackoff keeps the shift below the width of a sim.Time; maxRTO is reached long before.
	maxBackoff = 16
)

// sampleRTT takes a round-trip time into SRTT and RTTVAR.
func (c *Conn) sampleRTT(r sim.Time) {
	r = max(r, 1)
	if c.minRTT == 0 || r < c.minRTT {
		c.minRTT = r
	}
	if c.srtt == 0 {
		// RFC 6298 2.2: "SRTT <- R, RTTVAR <- R/2".
		c.srtt, c.rttvar = r, r/2
	} else {
		// RFC 6298 2.3: "RTTVAR <- (1 - beta) * RTTVAR + beta * |SRTT - R'|, SRTT <- (1 - alpha) * SRTT + alpha * R'",
		// "alpha=1/8 and beta=1/4".
		d := c.srtt - r
		if d < 0 {
			d = -d
		}
		c.rttvar += (d - c.rttvar) / 4
		c.srtt += (r - c.srtt) / 8
	}
	c.rto = c.computeRTO()
}

// computeRTO is Linux's: SRTT + max(200 ms, 4*RTTVAR). RFC 6298 2.3 has "RTO <- SRTT + max (G, K*RTTVAR)" and 2.4 a
// least RTO of 1 second.
func (c *Conn) computeRTO() sim.Time {
	return min(c.srtt+max(c.set.minRTO, 4*c.rttvar), maxRTO)
}

// backedOff is the timeout with the backoff in force. RFC 6298 5.5: "The host MUST set RTO <- RTO * 2 ("back off the
// timer")."
func (c *Conn) backedOff() sim.Time {
	return min(c.rto<<min(c.backoff, maxBackoff), maxRTO)
}

// restartRTO: RFC 6298 5.2: "When all outstanding data has been acknowledged, turn off the retransmission timer." 5.3:
// "When an ACK is received that acknowledges new data, restart the retransmission timer so that it will expire after RTO
// seconds".
func (c *Conn) restartRTO() {
	if c.sndUna == c.sndNxt {
		if c.pendingTimer == TimerRTO {
			c.cancelRetransTimer()
		}
		return
	}
	c.setRetransTimer(TimerRTO, c.backedOff())
}

// retransmissionTimeout: RFC 6298 5.4: "When the retransmission timer expires, ... Retransmit the earliest segment that
// has not been acknowledged by the TCP receiver."
func (c *Conn) retransmissionTimeout() {
	if c.halfAccepted() {
		c.halfAcceptedTimeout()
		return
	}
	limit := c.set.dataRetries
	if !c.state.synchronized() {
		limit = c.set.synRetries
	}
	c.fastOpenTimeout(c.retransmits >= limit)
	if c.retransmits >= limit {
		c.stack.tcp.count.abortOnTimeout++
		c.terminate(ErrTimeout, ClosedTimeout, TriggerTimer)
		return
	}
	c.retransmits++
	c.backoff = min(c.backoff+1, maxBackoff)
	if !c.state.synchronized() {
		c.totalRetrans++
		c.stack.tcp.count.retransSegs++
		c.sendSYN(SendSYN)
	} else {
		c.enterLoss()
	}
	// RFC 6298 5.6: "Start the retransmission timer, such that it expires after RTO seconds (for the value of RTO after
	// the doubling operation outlined in 5.5)."
	if c.state != StateClosed {
		c.setRetransTimer(TimerRTO, c.backedOff())
	}
}
