package randomlab

import (
	"labd.dev/trace"
)

// dupThresh: RFC 5681 3.2: "The fast retransmit algorithm uses the arrival of 3 duplicate ACKs ... as an indication that a
// segment has been lost". RFC 6675's DupThresh.
const dupThresh = 3

// samples: RFC 6298 3, Karn's algorithm: "RTT samples MUST NOT be made using segments that were retransmitted (and thus
// for which it is ambiguous whether the reply was for the first instance of the packet or a later instance)", unless
// timestamps tell. So each sample is the age of a segment in flight that was sent once.
type samples map[*end]*inFlight

// inFlight is what an end has sent and not yet seen acknowledged.
type inFlight struct {
	stamped bool // the connection has timestamps
	segs    []sentSegment
}

type sentSegment struct {
	to, at int64
	again  bool
}

func (r samples) event(c *Checker, e *trace.Event, n *end) {
	if n == nil {
		return
	}
	f := r[n]
	if f == nil {
		f = &inFlight{}
		r[n] = f
	}
	switch e.Name {
	case "tcp:connection_started":
		f.stamped = truth(e, "ts")
	case "tcp:segment_sent":
		if num(e, "len") > 0 || hasFlag(e, "F") {
			f.send(n.sentUpTo(e), e.TNs)
		}
	case "tcp:ack_processed":
		if rtt, sampled := e.Get("rtt_us"); sampled && !f.stamped && !f.fits(e.TNs, num(e, "rtt_us")) {
			c.problem(e, "no segment that was sent once is %v us old", rtt)
		}
		for len(f.segs) > 0 && f.segs[0].to <= num(e, "una")+1 {
			f.segs = f.segs[1:]
		}
	}
}

func (f *inFlight) send(to, at int64) {
	for i := range f.segs {
		if f.segs[i].to == to {
			f.segs[i].again = true
			return
		}
	}
	f.segs = append(f.segs, sentSegment{to: to, at: at})
}

func (f *inFlight) fits(now, rttUs int64) bool {
	for _, s := range f.segs {
		if !s.again && (now-s.at)/1000 == rttUs {
			return true
		}
	}
	return false
}

func (samples) finish(*Checker) {}

// retreats: a fast retransmit has its reasons, and makes the sender slower. Without SACK, RFC 5681 3.2: recovery begins with
// DupThresh duplicate ACKs; with RFC 6675 5 when "at least (DupThresh - 1) * SMSS bytes" or DupThresh separate ranges above a
// segment have been reported; with RACK when time tells (RFC 8985). Then the threshold is below the window, which comes down
// to it as ACKs arrive (RFC 9937), so it is at most what it was.
type retreats map[*end]*reports

// reports is what an end's peer has reported of what is in flight.
type reports struct {
	mss    int64
	una    int64
	dups   int
	sacked spans
	ends   []int64 // of the segments in flight
	// lowered: more duplicate ACKs have come than segments could make, which Linux takes for the degree of reordering, be it
	// below DupThresh (tcp_check_reno_reordering).
	lowered bool
	// afterRTO: as long as a timeout's recovery lasts, an ACK that covers n segments takes n-1 duplicates back and leaves the
	// rest (Linux: tcp_remove_reno_sacks).
	afterRTO bool
	// reducing: the peer's echo of congestion has begun a reduction, which a recovery goes on with (Linux:
	// tcp_enter_recovery asks tcp_in_cwnd_reduction).
	reducing bool
	// proven ends what was lost beyond doubt, as too long for the path or with a SYN: what of it is out when the recovery
	// of something else ends begins another (Linux: tcp_time_to_recover asks lost_out).
	proven int64
}

func (r retreats) event(c *Checker, e *trace.Event, n *end) {
	if n == nil {
		return
	}
	p := r[n]
	if p == nil {
		p = &reports{}
		r[n] = p
	}
	switch {
	case e.Name == "tcp:connection_started":
		p.mss = num(e, "mss")
	case e.Name == "tcp:segment_received" && hasFlag(e, "A") && n.issKnown && text(e, "verdict") != "out_of_window":
		p.take(e, n)
	case e.Name == "tcp:segment_sent" && (num(e, "len") > 0 || hasFlag(e, "F")) && n.issKnown:
		to := n.offset(e, "seq", n.iss) + num(e, "len")
		if hasFlag(e, "F") {
			to++ // a FIN is a segment too
		}
		if len(p.ends) == 0 || to > p.ends[len(p.ends)-1] {
			p.ends = append(p.ends, to)
		}
	case e.Name == "tcp:segment_lost" && (text(e, "trigger") == "mtu" || text(e, "trigger") == "syn_data"):
		p.proven = max(p.proven, num(e, "off")+num(e, "len")+1)
	case e.Name == "tcp:recovery_undone", e.Name == "tcp:recovery_exited" && text(e, "kind") == "rto":
		p.dups = max(p.dups, dupThresh) // those counted before stand for segments still (Linux), and may begin another
	case e.Name == "tcp:recovery_entered" && text(e, "kind") == "rto":
		p.afterRTO = true
	case e.Name == "tcp:recovery_entered" && text(e, "kind") == "ecn":
		p.reducing = true
	case e.Name == "tcp:recovery_exited":
		p.afterRTO, p.reducing = false, false
	case e.Name == "tcp:recovery_entered" && text(e, "kind") == "fast":
		p.sacked.cut(p.una)
		byTime := text(e, "trigger") == "rack" || text(e, "trigger") == "reorder_timer"
		if !byTime && !p.lowered && p.proven <= p.una && p.dups < dupThresh && p.sacked.total() <= (dupThresh-1)*p.mss && p.reported() < dupThresh {
			c.problem(e, "after %d duplicate ACKs, with %d bytes in %d ranges reported beyond a gap", p.dups, p.sacked.total(), len(p.sacked))
		}
		before, after, ssthresh := num(e, "cwnd_before"), num(e, "cwnd_after"), num(e, "ssthresh")
		if c.lab.usesBBR(e.Node) {
			return // its model alone says how fast it sends
		}
		// DCTCP retreats by alpha/2 of the window (RFC 8257 3.3), which may be less than a segment.
		if least := max(before, dupThresh); after > before || !p.reducing && (ssthresh > least || ssthresh == least && !c.lab.uses(e.Node, "dctcp")) {
			c.problem(e, "a window of %d segments becomes %d, ssthresh %d", before, after, ssthresh)
		}
		p.reducing = false
	}
}

// reported counts the segments in flight that the peer has, the parts of RFC 6675's IsLost that Linux keeps: three of them,
// however short, say that one before them is lost (tcp_time_to_recover asks sacked_out).
func (p *reports) reported() int {
	n, from := 0, p.una
	for _, to := range p.ends {
		if p.sacked.hold(span{from, to}) {
			n++
		}
		from = to
	}
	return max(n, len(p.sacked))
}

func (p *reports) take(e *trace.Event, n *end) {
	blocks := sackBlocks(e, n.iss)
	switch ack := n.offset(e, "ack", n.iss); {
	case ack > p.una:
		covered := 0
		for len(p.ends) > 0 && p.ends[0] <= ack {
			p.ends = p.ends[1:]
			covered++
		}
		p.lowered = p.lowered || p.dups > 0 && p.dups >= len(p.ends)
		p.una = ack
		if p.afterRTO {
			p.dups = max(0, p.dups-max(0, covered-1))
		} else {
			p.dups = 0
		}
	case ack == p.una && (num(e, "len") == 0 || len(blocks) > 0):
		p.dups++
		p.lowered = p.lowered || p.dups >= len(p.ends)
	}
	for _, b := range blocks {
		p.sacked.add(b)
	}
}

func (retreats) finish(*Checker) {}
