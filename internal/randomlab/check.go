package randomlab

import (
	"fmt"
	"strings"

	"labd.dev/sim"
	"labd.dev/trace"
)

// Checker reads a run's records and events in order and collects what breaks a rule. Each rule is one that the RFCs, the
// link's own settings or the recording promise; none knows what the stack keeps to itself.
type Checker struct {
	Problems []string
	// Excused counts packets of which two bits or more were flipped and that were taken in all the same: the Internet
	// checksum cannot see every pair.
	Excused int
	Failed  int // transfers that reported an error
	Seen    Seen

	lab     *Lab
	ends    map[endName]*end
	crashed map[string]bool       // nodes
	gaveUp  map[endName]bool      // ends whose peer did not answer
	dropped map[*trace.Event]bool // segments that were received and dropped after all
	tooLong map[string]int64      // when a node last heard that a packet of its was too long for the path
	rules   []rule
	links   *links   // one of them
	names   []string // of the rules
	by      string   // the one at work
}

// rule is told of each event, in the order of (t, node, eseq). c is what the event's end of a connection was before it;
// nil where the event is of none.
type rule interface {
	event(c *Checker, e *trace.Event, end *end)
	finish(c *Checker)
}

// maxProblems bounds a report: the first ones matter.
const maxProblems = 20

// NewChecker makes a checker with every rule.
func NewChecker(lab *Lab) *Checker {
	l := newLinks(lab)
	c := &Checker{lab: lab, links: l, ends: map[endName]*end{}, crashed: map[string]bool{}, gaveUp: map[endName]bool{}, tooLong: map[string]int64{}, dropped: map[*trace.Event]bool{}, Seen: newSeen(lab), rules: []rule{
		newTimes(), newPackets(), l,
		transitions{}, windows{}, acks{}, retransmissions{}, resets{}, backoff{}, congestion{}, delayedAcks{}, timeWaits{lab}, afterClose{}, streams{}, openings{}, probes{},
		samples{}, retreats{}, sacks{}, endings{}, reaches{}, newArrivals(lab), newCrashes(), newEffects(),
	}}
	for _, r := range c.rules {
		c.names = append(c.names, nameOf(r))
	}
	return c
}

// Each problem begins with the name of the rule that found it; what compares a run's end with its records is the books'.
const (
	byNumbering = "numbering"
	byBooks     = "books"
)

// nameOf is a rule's name: its type's.
func nameOf(r rule) string {
	name := fmt.Sprintf("%T", r)
	return name[strings.LastIndexByte(name, '.')+1:]
}

// Check reads a whole run.
func (c *Checker) Check(t *trace.Trace) {
	c.by = byNumbering
	c.numbering(t.Records, &t.Names)
	events := t.Events()
	c.findDropped(events)
	for i := range events {
		c.event(&events[i])
	}
	for i, r := range c.rules {
		c.by = c.names[i]
		r.finish(c)
	}
	c.by = byBooks
}

func (c *Checker) event(e *trace.Event) {
	if e.Name == "lab:node_crashed" {
		c.crashed[e.Node] = true
		c.forget(e.Node)
	}
	if e.Name == "tcp:connection_closed" && text(e, "reason") == "timeout" {
		c.gaveUp[endName{e.Node, e.Conn}] = true
	}
	if e.Name == "icmp:received" && (num(e, "type") == 3 && num(e, "code") == 4 || num(e, "type") == 2) {
		c.tooLong[e.Node] = e.TNs
	}
	var n *end
	if e.Conn != "" && (strings.HasPrefix(e.Name, "tcp:") || strings.HasPrefix(e.Name, "app:")) {
		n = c.endOf(e)
		c.judge(n)
	}
	for i, r := range c.rules {
		c.by = c.names[i]
		r.event(c, e, n)
	}
	if n != nil {
		n.take(e)
		if at, ok := c.tooLong[e.Node]; ok && at == e.TNs && e.Name == "tcp:segment_sent" && num(e, "tx_count") > 1 && n.rtoFired >= 0 {
			// RFC 1191 6.5: what was too long for the path goes again at once, in smaller pieces, and is timed from then.
			n.rtoFired = e.TNs
		}
	}
	c.Seen.event(e)
}

func (c *Checker) problem(e *trace.Event, format string, args ...any) {
	c.complain(fmt.Sprintf("%d ns, %s event %d, %s %s: %s", e.TNs, e.Node, e.ESeq, e.Name, e.Conn, fmt.Sprintf(format, args...)))
}

func (c *Checker) complain(what string) {
	if len(c.Problems) < maxProblems {
		c.Problems = append(c.Problems, c.by+": "+what)
	}
}

// numbering: a node's events are counted from 1 without a gap.
func (c *Checker) numbering(recs []sim.Record, names *trace.Names) {
	last := map[uint32]uint32{}
	for i := range recs {
		r := &recs[i]
		if r.Kind == sim.KindMore {
			continue
		}
		if r.ESeq != last[r.Node]+1 {
			c.complain(fmt.Sprintf("%v: %s event %d follows event %d", r.T, names.Node(r.Node), r.ESeq, last[r.Node]))
		}
		last[r.Node] = r.ESeq
	}
}

// times: time does not run backwards, and nothing happens before the lab begins or after it ends.
type times struct{ last int64 }

func newTimes() *times { return &times{} }

func (r *times) event(c *Checker, e *trace.Event, _ *end) {
	if e.TNs < r.last {
		c.problem(e, "comes after an event of %d ns", r.last)
	}
	r.last = e.TNs
}

func (*times) finish(*Checker) {}

func text(e *trace.Event, field string) string {
	v, _ := e.Get(field)
	s, _ := v.(string)
	return s
}

func num(e *trace.Event, field string) int64 {
	v, _ := e.Get(field)
	switch n := v.(type) {
	case int64:
		return n
	case uint64:
		return int64(n)
	}
	return 0
}

func truth(e *trace.Event, field string) bool {
	v, _ := e.Get(field)
	b, _ := v.(bool)
	return b
}

func hasFlag(e *trace.Event, flag string) bool { return strings.Contains(text(e, "flags"), flag) }
