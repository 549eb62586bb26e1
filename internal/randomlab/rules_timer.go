package randomlab

import (
	"labd.dev/sim"
	"labd.dev/trace"
)

const (
	maxRTO = int64(120 * sim.Second) // Linux's TCP_RTO_MAX
	// maxDelayedAck: RFC 9293 3.8.6.3 (MUST-40): "it MUST be less than 0.5 seconds".
	maxDelayedAck = int64(500 * sim.Millisecond)
	// tick is what a time in whole microseconds rounds off.
	tick = int64(sim.Microsecond)
)

// backoff: the retransmission timer never fires before its time, and each time without progress it waits twice as long,
// up to a bound. RFC 6298 5.5: "The host MUST set RTO <- RTO * 2". A SYN's waits as long the first times (Linux's
// tcp_syn_linear_timeouts).
type backoff struct{}

func (backoff) event(c *Checker, e *trace.Event, n *end) {
	if n == nil {
		return
	}
	switch {
	case e.Name == "tcp:timer_fired" && text(e, "timer") == "rto":
		if n.rtoArmed && e.TNs < n.rtoSet+n.rtoIn {
			c.problem(e, "set at %d ns for %d ns", n.rtoSet, n.rtoIn)
		}
		if wait := e.TNs - n.rtoFired; n.rtoFired >= 0 && n.rtoWait > 0 && outside(wait, min(2*n.rtoWait, maxRTO)) &&
			(n.state != "SYN_SENT" || outside(wait, n.rtoWait)) {
			c.problem(e, "%d ns after the one before, which had waited %d ns", wait, n.rtoWait)
		}
	case e.Name == "tcp:metrics_updated":
		rto, srtt := num(e, "rto_us"), num(e, "srtt_us")
		if rto < srtt || rto*1000 > maxRTO {
			c.problem(e, "an RTO of %d us with an SRTT of %d us", rto, srtt)
		}
	}
}

func outside(got, want int64) bool { return got < want-2*tick || got > want+2*tick }

func (backoff) finish(*Checker) {}

// congestion: RFC 5681 3.1: after a retransmission timeout "cwnd MUST be set to no more than the loss window, LW, which
// equals 1 full-sized segment", beside what RACK takes to be still on its way (RFC 8985 6.3); ssthresh is "max (FlightSize /
// 2, 2*SMSS)", never less than two segments (retreats knows what it is at most).
type congestion struct{}

func (congestion) event(c *Checker, e *trace.Event, n *end) {
	if n == nil || e.Name != "tcp:recovery_entered" {
		return
	}
	before, after, ssthresh := num(e, "cwnd_before"), num(e, "cwnd_after"), num(e, "ssthresh")
	if text(e, "kind") == "rto" && after < 1 {
		c.problem(e, "a window of %d segments after a timeout", after)
	}
	if text(e, "kind") == "fast" && ssthresh < 2 {
		c.problem(e, "ssthresh %d with a window of %d segments", ssthresh, before)
	}
}

func (congestion) finish(*Checker) {}

// delayedAcks: data that has come in order is acknowledged in less than half a second, unless the connection ends.
type delayedAcks struct{}

func (delayedAcks) event(c *Checker, e *trace.Event, n *end) {
	if n == nil || n.closed || n.owedAt < 0 {
		return
	}
	if e.TNs > n.owedAt+maxDelayedAck {
		c.problem(e, "data of %d ns is not acknowledged yet", n.owedAt)
		n.owedAt = -1
	}
}

func (delayedAcks) finish(c *Checker) {
	for _, n := range c.sortedEnds() {
		if !n.closed && n.owedAt >= 0 && c.lab.EndNs > n.owedAt+maxDelayedAck {
			c.complain(n.name.node + " " + n.name.conn + ": data has never been acknowledged")
		}
	}
}

// timeWaits: a connection stays in TIME-WAIT for as long as its node's settings say, from the last time it was begun.
type timeWaits struct{ lab *Lab }

func (r timeWaits) event(c *Checker, e *trace.Event, n *end) {
	if n == nil || e.Name != "tcp:state_updated" || text(e, "old") != "TIME_WAIT" || text(e, "trigger") != "timer" {
		return
	}
	if want := r.lab.timeWait(e.Node); e.TNs-n.waitSince != want {
		c.problem(e, "after %d ns of TIME-WAIT instead of %d", e.TNs-n.waitSince, want)
	}
}

func (timeWaits) finish(*Checker) {}

// timeWait is a node's setting.
func (l *Lab) timeWait(node string) int64 {
	for _, s := range l.specs() {
		for _, n := range s.Nodes {
			if n.Name == node {
				return n.GetTcp().GetTimeWaitNs()
			}
		}
	}
	return 0
}
