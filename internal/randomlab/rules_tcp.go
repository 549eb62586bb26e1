package randomlab

import (
	"slices"

	"labd.dev/trace"
)

// next lists where RFC 9293 3.3.2, figure 5, lets a connection go from each state. Any state may end in CLOSED: by a reset,
// an abort or a timeout.
var next = map[string][]string{
	"CLOSED":      {"LISTEN", "SYN_SENT", "SYN_RCVD"},
	"LISTEN":      {"SYN_RCVD", "SYN_SENT"},
	"SYN_SENT":    {"SYN_RCVD", "ESTABLISHED"},
	"SYN_RCVD":    {"ESTABLISHED", "FIN_WAIT_1", "CLOSE_WAIT", "LISTEN"},
	"ESTABLISHED": {"FIN_WAIT_1", "CLOSE_WAIT"},
	"FIN_WAIT_1":  {"FIN_WAIT_2", "CLOSING", "TIME_WAIT"},
	"FIN_WAIT_2":  {"TIME_WAIT"},
	"CLOSE_WAIT":  {"LAST_ACK"},
	"CLOSING":     {"TIME_WAIT"},
	"LAST_ACK":    {},
	"TIME_WAIT":   {},
}

// transitions: every change of state is one of RFC 9293's, and starts from the state that the end was in.
type transitions struct{}

func (transitions) event(c *Checker, e *trace.Event, n *end) {
	if n == nil || e.Name != "tcp:state_updated" {
		return
	}
	from, to := text(e, "old"), text(e, "new")
	if n.state != "" && n.state != from {
		c.problem(e, "leaves %s but was in %s", from, n.state)
	}
	if to != "CLOSED" && !slices.Contains(next[from], to) {
		c.problem(e, "no way from %s to %s in RFC 9293", from, to)
	}
}

func (transitions) finish(*Checker) {}

// windows: "A sender MUST be robust against window shrinking" and never sends beyond what it was offered; what a receiver
// has offered it does not take back (RFC 9293 3.8.6), but for what the scaling of the window rounds off.
type windows struct{}

func (windows) event(c *Checker, e *trace.Event, n *end) {
	if n == nil || e.Name != "tcp:segment_sent" || text(e, "reason") == "rst" || hasFlag(e, "S") {
		return
	}
	if from := n.offset(e, "seq", n.iss); n.offered && num(e, "len") > 0 && from+num(e, "len") > n.allowed {
		c.problem(e, "sends up to offset %d, the window ends at %d", from+num(e, "len"), n.allowed)
	}
	if right := n.ackOf(e) + num(e, "win_scaled"); hasFlag(e, "A") && right < n.promised-n.rounding(e) {
		c.problem(e, "takes its window back from %d to %d", n.promised, right)
	}
}

// rounding is what the scale of a window may round off: RFC 7323 2.4 has the receiver live with it.
func (n *end) rounding(e *trace.Event) int64 {
	if win := num(e, "win"); win > 0 {
		n.shift = max(n.shift, num(e, "win_scaled")/win)
	}
	return n.shift
}

func (windows) finish(*Checker) {}

// acks: an end acknowledges what has come in and nothing else, and never less than before.
type acks struct{}

func (acks) event(c *Checker, e *trace.Event, n *end) {
	if n == nil || e.Name != "tcp:segment_sent" || !hasFlag(e, "A") || !n.irsKnown || text(e, "reason") == "rst" {
		return
	}
	ack := n.ackOf(e)
	if have := n.contiguous(); ack > have {
		c.problem(e, "acknowledges offset %d, has all only up to %d", ack, have)
	}
	if ack < n.acked {
		c.problem(e, "acknowledges offset %d after %d", ack, n.acked)
	}
}

func (acks) finish(*Checker) {}

// retransmissions: what is sent again says so, and what says so has been sent before.
type retransmissions struct{}

func (retransmissions) event(c *Checker, e *trace.Event, n *end) {
	if n == nil || e.Name != "tcp:segment_sent" || num(e, "len") == 0 {
		return
	}
	if hasFlag(e, "S") {
		// Data with a SYN begins after it (RFC 7413 4.2.1), and goes with the first only: Linux sends it again alone.
		if n.issKnown && num(e, "tx_count") > 1 {
			c.problem(e, "a SYN that is sent again has data")
		}
		return
	}
	from, why := n.offset(e, "seq", n.iss), text(e, "reason")
	again := why == "fast_rtx" || why == "rto_rtx"
	switch {
	case again && from >= n.sent:
		c.problem(e, "%s of offset %d, which has not been sent: %d is the highest", why, from, n.sent)
	case !again && why != "zwp" && why != "tlp" && from < n.sent:
		c.problem(e, "offset %d, sent before, is sent again for the reason %q", from, why)
	case from > n.sent:
		c.problem(e, "skips from offset %d to %d", n.sent, from)
	}
	if again && num(e, "tx_count") < 2 {
		c.problem(e, "a retransmission that is counted as transmission %d", num(e, "tx_count"))
	}
}

func (retransmissions) finish(*Checker) {}

// resets: RFC 9293 3.10.7.4, second: a reset with just the next sequence number ends the connection at once.
type resets struct{}

func (resets) event(c *Checker, e *trace.Event, n *end) {
	if n != nil && !n.closed && n.resetAt >= 0 && e.TNs > n.resetAt {
		c.problem(e, "goes on after the reset of %d ns", n.resetAt)
		n.resetAt = -1
	}
}

func (resets) finish(*Checker) {}

// afterClose: a connection that is over sends nothing but resets, and no timer of it fires.
type afterClose struct{}

func (afterClose) event(c *Checker, e *trace.Event, n *end) {
	if n == nil || !n.closed {
		return
	}
	switch e.Name {
	case "tcp:timer_fired", "tcp:timer_set", "app:write", "app:read":
		c.problem(e, "on a connection that is closed")
	case "tcp:segment_sent":
		if text(e, "reason") != "rst" {
			c.problem(e, "a closed connection sends")
		}
	}
}

func (afterClose) finish(*Checker) {}

// streams: an application reads no more than has come in order, and a connection sends no more than has been written.
type streams struct{}

func (streams) event(c *Checker, e *trace.Event, n *end) {
	if n == nil {
		return
	}
	switch e.Name {
	case "app:read":
		have := n.contiguous() - 1
		if n.fin > 0 && have == n.fin {
			have--
		}
		if n.irsKnown && n.read+num(e, "bytes") > have {
			c.problem(e, "%d bytes have been read, only %d have come in order", n.read+num(e, "bytes"), have)
		}
	}
}

func (streams) finish(c *Checker) {}
