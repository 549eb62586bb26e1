package randomlab

import (
	"slices"

	"labd.dev/trace"
)

// sacks: RFC 2018 4: SACK blocks are of data that has come and lies beyond what is acknowledged.
type sacks struct{}

func (sacks) event(c *Checker, e *trace.Event, n *end) {
	if n == nil || e.Name != "tcp:segment_sent" || !n.irsKnown {
		return
	}
	for _, b := range sackBlocks(e, n.irs) {
		if fin := n.fin; fin > 0 && b.from <= fin && b.to == fin+1 {
			if b.to = fin; b.from == fin { // a FIN that came twice (RFC 2883)
				continue
			}
		}
		if b.from >= b.to || !spans(n.got).hold(b) {
			c.problem(e, "reports offsets %d to %d, which have not all come", b.from, b.to)
		}
	}
}

func (sacks) finish(*Checker) {}

// endings: a connection ends as its state lets it. RFC 9293 3.6: the end that closes first, and both where they close at
// the same time, go through TIME-WAIT. RFC 5961 3.2: a reset must "exactly match the next expected sequence value".
type endings map[*end]*trace.Event // the segment that each end received last

// beforeSynchronized are the states in which a reset is judged by its ACK field, or by whether it is in the window.
var beforeSynchronized = []string{"LISTEN", "SYN_SENT", "SYN_RCVD"}

func (r endings) event(c *Checker, e *trace.Event, n *end) {
	if n == nil {
		return
	}
	if e.Name == "tcp:segment_received" {
		r[n] = e
		return
	}
	if e.Name != "tcp:state_updated" || text(e, "new") != "CLOSED" {
		return
	}
	old := text(e, "old")
	switch trigger := text(e, "trigger"); {
	case (trigger == "rx_fin" || trigger == "rx_ack") && old != "LAST_ACK" && c.lab.timeWait(e.Node) > 0:
		c.problem(e, "from %s without TIME-WAIT", old)
	case trigger == "rx_rst" && !slices.Contains(beforeSynchronized, old):
		g := r[n]
		if g == nil || !hasFlag(g, "R") {
			c.problem(e, "no reset has come")
		} else if at := n.offset(g, "seq", n.irs); n.irsKnown && at != n.contiguous() {
			c.problem(e, "by a reset at offset %d, the next is %d", at, n.contiguous())
		}
	}
}

func (endings) finish(*Checker) {}

// reaches: nothing is taken for acknowledged that was not sent. RFC 9293 3.10.7.4: "If the ACK acks something not yet sent
// (SEG.ACK > SND.NXT), then send an ACK, drop the segment, and return"; in SYN-RECEIVED the ACK must be "SND.UNA < SEG.ACK
// =< SND.NXT".
type reaches map[*end]*trace.Event // the segment that each end received last

func (r reaches) event(c *Checker, e *trace.Event, n *end) {
	if n == nil {
		return
	}
	switch e.Name {
	case "tcp:segment_received":
		r[n] = e
	case "tcp:ack_processed":
		if num(e, "una")+1 > n.sent {
			c.problem(e, "takes %d bytes for acknowledged, has sent up to offset %d", num(e, "una"), n.sent)
		}
	case "tcp:state_updated":
		if g := r[n]; g != nil && text(e, "old") == "SYN_RCVD" && text(e, "trigger") == "rx_ack" && n.issKnown {
			if ack := n.offset(g, "ack", n.iss); ack < 1 || ack > n.sent {
				c.problem(e, "by an ACK of offset %d, has sent up to %d", ack, n.sent)
			}
		}
	}
}

func (reaches) finish(*Checker) {}
