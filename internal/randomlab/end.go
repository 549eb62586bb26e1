package randomlab

import (
	"slices"

	"labd.dev/trace"
)

// endName names one end of a connection.
type endName struct{ node, conn string }

// end is what one end of a connection has been seen to do. Sequence numbers are kept as offsets from its own or its peer's
// initial one: 0 is the SYN, 1 the first byte.
type end struct {
	name  endName
	state string // empty: not seen yet

	iss, irs           uint32
	issKnown, irsKnown bool

	// What it has sent, and may send.
	sent    int64 // beyond the highest byte, SYN or FIN
	allowed int64 // right edge of the window its peer has offered
	offered bool  // the peer has offered a window
	written int64 // bytes its application has written

	// What has come, and what it has said of it.
	got      []span
	fin      int64        // offset of the peer's FIN, 0: none has come
	acked    int64        // highest offset that it has acknowledged
	promised int64        // highest right edge that it has offered
	read     int64        // bytes its application has read
	owedAt   int64        // when the oldest data came that it has not acknowledged yet; -1: none
	shift    int64        // width of its window's scale
	openAt   int64        // when its application had read all while it said that its window was closed; -1: not so
	shut     bool         // the last window that it offered was zero
	una      int64        // what its peer has acknowledged
	resetAt  int64        // when a reset came that ends it; -1: none has
	silentAt int64        // since when data waits for nothing but a closed window; -1: it does not
	probed   bool         // it has sent something since
	rto      int64        // as it says itself
	arrived  *trace.Event // received, and whether it is dropped after all the next event tells

	// Its timers.
	rtoFired  int64 // when the retransmission timer last fired without progress since; -1: it has not
	rtoWait   int64 // from the one before to that; 0: there was none before
	rtoSet    int64 // when it was last set
	rtoIn     int64 // for how long
	rtoArmed  bool
	waitSince int64 // when TIME-WAIT was last begun
	closed    bool
	byCookie  bool // made of an ACK that returned a SYN cookie
}

type span struct{ from, to int64 }

// endOf is the end that an event belongs to. Where its state machine starts anew, by an old SYN that meets a listener
// once more, so does what is known of it.
func (c *Checker) endOf(e *trace.Event) *end {
	name := endName{e.Node, e.Conn}
	n := c.ends[name]
	fresh := n == nil || n.closed && (e.Name == "tcp:segment_received" && text(e, "state") == "LISTEN" ||
		e.Name == "tcp:state_updated" && text(e, "new") != "CLOSED")
	if fresh {
		n = &end{name: name, owedAt: -1, rtoFired: -1, openAt: -1, silentAt: -1, resetAt: -1, waitSince: -1}
		c.ends[name] = n
	}
	return n
}

// judge takes a segment in that was received last, unless it is dropped after all (as too old by its timestamp, for want
// of memory).
func (c *Checker) judge(n *end) {
	if n.arrived != nil && !c.dropped[n.arrived] {
		n.takeReceived(n.arrived)
		n.block(n.arrived.TNs)
	}
	n.arrived = nil
}

// findDropped finds what is received and dropped after all: a node drops what it received last. What its checksum condemns
// is not received at all; it may be a duplicate of what was.
func (c *Checker) findDropped(events []trace.Event) {
	last := map[string]*trace.Event{} // received, by node
	for i := range events {
		switch e := &events[i]; e.Name {
		case "tcp:segment_received":
			last[e.Node] = e
		case "tcp:segment_dropped":
			if r := last[e.Node]; r != nil && r.TNs == e.TNs && text(r, "pkt") == text(e, "pkt") && text(e, "reason") != "checksum" {
				c.dropped[r] = true
				delete(last, e.Node)
			}
		}
	}
}

// forget drops a crashed node's ends.
func (c *Checker) forget(node string) {
	for name := range c.ends {
		if name.node == node {
			delete(c.ends, name)
		}
	}
}

// take brings the end up to date with an event of its own.
func (n *end) take(e *trace.Event) {
	switch e.Name {
	case "tcp:state_updated":
		n.state = text(e, "new")
		n.closed = n.state == "CLOSED"
		n.byCookie = n.state == "SYN_RCVD" && text(e, "trigger") == "rx_ack"
	case "tcp:reassembly_updated":
		n.prune(num(e, "rcv_nxt_off")+1, num(e, "ooo"))
	case "tcp:segment_sent":
		n.takeSent(e)
	case "tcp:segment_received":
		n.arrived = e
	case "tcp:ack_processed":
		if _, sampled := e.Get("rtt_us"); sampled || num(e, "acked") > 0 {
			// The timer may be restarted, perhaps for a shorter time.
			n.rtoFired, n.rtoWait, n.rtoArmed = -1, 0, false
		}
	case "tcp:timer_set", "tcp:timer_fired", "tcp:timer_cancelled":
		n.takeTimer(e)
	case "app:write":
		n.written += num(e, "bytes")
	case "app:read":
		n.read += num(e, "bytes")
	}
	n.takeFlow(e)
}

func (n *end) takeSent(e *trace.Event) {
	if text(e, "reason") == "rst" {
		return
	}
	if hasFlag(e, "S") {
		n.iss, n.issKnown = uint32(num(e, "seq")), true
	}
	n.sent = max(n.sent, n.sentUpTo(e))
	if hasFlag(e, "A") && n.irsKnown {
		n.acked = max(n.acked, n.ackOf(e))
		n.promised = max(n.promised, n.ackOf(e)+num(e, "win_scaled"))
		if hasFlag(e, "S") && n.ackOf(e) < n.contiguous() {
			n.got = append(n.got[:0], span{0, n.ackOf(e)}) // the data that came with the SYN is not taken
		}
		if n.acked >= n.contiguous() {
			n.owedAt = -1
		}
	}
}

func (n *end) takeReceived(e *trace.Event) {
	verdict := text(e, "verdict")
	if verdict == "out_of_window" {
		return
	}
	if hasFlag(e, "R") {
		if n.irsKnown && n.state == "ESTABLISHED" && n.offset(e, "seq", n.irs) == n.contiguous() {
			n.resetAt = e.TNs
		}
		return
	}
	if hasFlag(e, "S") && !n.irsKnown {
		n.irs, n.irsKnown = uint32(num(e, "seq")), true
	}
	if !n.irsKnown || hasFlag(e, "S") && uint32(num(e, "seq")) != n.irs {
		return // a SYN+ACK of another incarnation changes nothing
	}
	if n.byCookie && !hasFlag(e, "S") {
		// Linux's check (check_tcp_syn_cookie) takes a neighbouring sequence number for another index of the MSS: if the
		// first ACKs are lost, the connection begins up to three bytes late.
		n.irs, n.byCookie = uint32(num(e, "seq"))-1, false
	}
	from := n.offset(e, "seq", n.irs)
	to := from + num(e, "len")
	if hasFlag(e, "S") {
		to++
	}
	if to > from {
		if from <= n.contiguous() && to > n.contiguous() && !hasFlag(e, "S") && n.owedAt < 0 {
			n.owedAt = e.TNs
		}
		n.add(span{from, to})
	}
	if hasFlag(e, "F") {
		n.fin = to
	}
	if hasFlag(e, "A") && n.issKnown && verdict != "old" {
		n.offered, n.una = true, max(n.una, n.offset(e, "ack", n.iss))
		n.allowed = max(n.allowed, n.offset(e, "ack", n.iss)+num(e, "win_scaled"))
	}
}

func (n *end) takeTimer(e *trace.Event) {
	switch {
	case text(e, "timer") == "time_wait" && e.Name == "tcp:timer_set":
		n.waitSince = e.TNs
	case text(e, "timer") != "rto":
	case e.Name == "tcp:timer_set":
		n.rtoSet, n.rtoIn, n.rtoArmed = e.TNs, num(e, "in_us")*1000, true
	case e.Name == "tcp:timer_cancelled":
		n.rtoArmed, n.rtoFired, n.rtoWait = false, -1, 0
	default:
		n.rtoArmed = false
		if n.rtoFired >= 0 {
			n.rtoWait = e.TNs - n.rtoFired
		}
		n.rtoFired = e.TNs
	}
}

// offset is what a sequence number stands for.
func (n *end) offset(e *trace.Event, field string, isn uint32) int64 {
	return int64(int32(uint32(num(e, field)) - isn))
}

// sentUpTo is the offset after the last byte, SYN or FIN of a segment that the end sends.
func (n *end) sentUpTo(e *trace.Event) int64 {
	to := n.offset(e, "seq", n.iss) + num(e, "len")
	if hasFlag(e, "S") || hasFlag(e, "F") {
		to++
	}
	return to
}

// ackOf is the offset that a segment of this end acknowledges up to.
func (n *end) ackOf(e *trace.Event) int64 { return n.offset(e, "ack", n.irs) }

// add joins a range to those known, keeping them sorted and apart.
func (n *end) add(s span) {
	kept := n.got[:0]
	for _, o := range n.got {
		if o.to < s.from || o.from > s.to {
			kept = append(kept, o)
			continue
		}
		s.from, s.to = min(s.from, o.from), max(s.to, o.to)
	}
	at, _ := slices.BinarySearchFunc(kept, s, func(a, b span) int { return int(a.from - b.from) })
	n.got = slices.Insert(kept, at, s)
}

// prune takes out what a receiver short of memory has thrown away: the farthest of what lies beyond its gap (RFC 2018 8), so
// that ooo bytes of it stay.
func (n *end) prune(next, ooo int64) {
	held := int64(0)
	for i, s := range n.got {
		from := max(s.from, next)
		if s.to <= from {
			continue
		}
		if held+s.to-from > ooo {
			n.got[i].to = from + ooo - held
			n.got = n.got[:i+1]
			if n.got[i].to <= n.got[i].from {
				n.got = n.got[:i]
			}
			return
		}
		held += s.to - from
	}
}

// contiguous is the offset up to which everything has come, FIN included.
func (n *end) contiguous() int64 {
	if len(n.got) == 0 || n.got[0].from > 0 {
		return 0
	}
	to := n.got[0].to
	if n.fin > 0 && n.fin == to {
		to++
	}
	return to
}
