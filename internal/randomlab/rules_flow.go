package randomlab

import (
	"labd.dev/sim"
	"labd.dev/trace"
)

// openings: a receiver that has said its window is closed says so when it has opened. RFC 9293 3.8.6.2.2 (MUST-39,
// SHLD-27): it may wait until there is room for a segment, but once all has been read there is room for everything.
type openings struct{}

func (openings) event(c *Checker, e *trace.Event, n *end) {
	if n != nil && !n.closed && n.openAt >= 0 && e.TNs > n.openAt {
		c.problem(e, "all was read at %d ns, the window is still said to be closed", n.openAt)
		n.openAt = -1
	}
}

func (openings) finish(*Checker) {}

// takeFlow follows the window that the end offers.
func (n *end) takeFlow(e *trace.Event) {
	switch e.Name {
	case "tcp:segment_sent":
		if !hasFlag(e, "R") {
			n.shut, n.openAt = num(e, "win") == 0, -1
		}
		n.probed = n.silentAt >= 0
	case "app:read":
		if n.shut && n.fin == 0 && n.read >= n.contiguous()-1 {
			n.openAt = e.TNs
		}
	case "tcp:metrics_updated":
		n.rto = num(e, "rto_us") * int64(sim.Microsecond)
	}
	n.block(e.TNs)
}

// block notes since when data waits for nothing but the window: it is closed and nothing is in flight.
func (n *end) block(t int64) {
	switch blocked := n.written > n.sent-1 && n.offered && n.allowed <= n.sent && n.una >= n.sent; {
	case !blocked:
		n.silentAt, n.probed = -1, false
	case n.silentAt < 0:
		n.silentAt = t
	}
}

// probes: "The sending TCP peer must regularly transmit at least one octet of new data (if available), or retransmit to
// the receiving TCP peer even if the send window is zero" (RFC 9293 3.8.6.1, MUST-36); "the transmitting host SHOULD send
// the first zero-window probe when a zero window has existed for the retransmission timeout period" (SHLD-29).
type probes struct{}

func (probes) event(c *Checker, e *trace.Event, n *end) {
	if n == nil || n.closed || n.silentAt < 0 || n.probed {
		return
	}
	if e.TNs-n.silentAt > 2*max(n.rto, int64(sim.Second)) {
		c.problem(e, "data waits since %d ns for a window that is closed, and nothing asks", n.silentAt)
		n.probed = true
	}
}

func (probes) finish(*Checker) {}
