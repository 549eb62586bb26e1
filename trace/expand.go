package trace

import (
	"iter"
	"slices"
	"sort"
	"strconv"

	"labd.dev/link"
	"labd.dev/node/app"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// Expand turns raw records, in their order, into canonical events in the order of (t, node, eseq). A link's record
// becomes the events of one hop, each at its own time.
func Expand(recs []sim.Record, names *Names) []Event {
	x := newExpander(recs, names)
	for i := 0; i < len(recs); {
		i = x.next(recs, i)
	}
	slices.SortStableFunc(x.events, compareEvents)
	return x.events
}

// waitingEvents is how many events Each collects before it sorts them: far more than frames are under way in most labs.
const waitingEvents = 64 << 10

// Each gives the events of Expand, in the same order, and holds only some of them at a time.
func Each(recs []sim.Record, names *Names) iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		x := newExpander(recs, names)
		for i, full := 0, waitingEvents; i < len(recs); {
			i = x.next(recs, i)
			if len(x.events) < full && i < len(recs) {
				continue
			}
			slices.SortStableFunc(x.events, compareEvents)
			n := len(x.events)
			if i < len(recs) {
				// No event is before its record: those of the instants before are all there.
				n = sort.Search(n, func(k int) bool { return x.events[k].TNs >= int64(recs[i].T) })
			}
			for k := range x.events[:n] {
				if !yield(&x.events[k]) {
					return
				}
			}
			x.events = slices.Delete(x.events, 0, n)
			full = len(x.events) + waitingEvents
		}
	}
}

func newExpander(recs []sim.Record, names *Names) *expander {
	x := &expander{names: names, tcp: map[endKey]*tcpEnd{}, eseq: map[uint32]uint64{}}
	x.settle(recs)
	return x
}

// next expands a record and those that continue it, and gives the index of the one after them.
func (x *expander) next(recs []sim.Record, i int) int {
	j := i + 1
	for j < len(recs) && recs[j].Kind == sim.KindMore {
		j++
	}
	x.record(&recs[i], recs[i+1:j])
	return j
}

func compareEvents(a, b Event) int {
	switch {
	case a.TNs != b.TNs:
		return cmpInt(a.TNs < b.TNs)
	case a.order != b.order:
		return cmpInt(a.order < b.order)
	case a.ESeq != b.ESeq:
		return cmpInt(a.ESeq < b.ESeq)
	}
	return 0
}

func cmpInt(less bool) int {
	if less {
		return -1
	}
	return 1
}

// expander holds what one record needs to know of those before it.
type expander struct {
	names  *Names
	events []Event
	tcp    map[endKey]*tcpEnd
	eseq   map[uint32]uint64 // by node: its counter, of which records hold the low 32 bits
	hops   map[hopKey]link.Hop
	live   bool // links changed while frames were in their queues: hops holds what became of each
	buf    []link.Event
}

// hopKey names a link's record.
type hopKey struct{ node, eseq uint32 }

// settle works out, where links changed while frames waited, what finally became of each.
func (x *expander) settle(recs []sim.Record) {
	var hops []link.Hop
	for i := range recs {
		h, ok := link.Decode(&recs[i], recs[i+1:])
		if ok && h.Supersedes != 0 {
			x.live = true
			break
		}
	}
	if !x.live {
		return
	}
	for i := range recs {
		if h, ok := link.Decode(&recs[i], recs[i+1:]); ok {
			hops = append(hops, h)
		}
	}
	x.hops = map[hopKey]link.Hop{}
	for _, h := range link.Settle(hops) {
		x.hops[hopKey{h.Node, h.ESeq}] = h
	}
}

func (x *expander) record(r *sim.Record, more []sim.Record) {
	e := Event{
		Node:  x.names.Node(r.Node),
		TNs:   int64(r.T),
		ESeq:  x.unwrap(r),
		Conn:  x.names.Conn(r.Conn),
		order: r.Node,
	}
	switch {
	case r.Kind == link.KindHop:
		x.hop(r, more, e)
		return
	case r.Kind >= sim.KindTCP && r.Kind < tcpstack.KindIP:
		e.Cause = x.cause(r, e.ESeq)
		x.tcpEvent(r, more, &e)
	case r.Kind >= tcpstack.KindIP && r.Kind < sim.KindLink:
		e.Cause = x.cause(r, e.ESeq)
		x.ipEvent(r, more, &e)
	case r.Kind >= sim.KindApp && r.Kind < sim.KindLab:
		e.Cause = x.cause(r, e.ESeq)
		appEvent(r, &e)
	case r.Kind >= sim.KindLab:
		x.labEvent(r, &e)
	}
	if e.Name == "" {
		e.Name = "unknown:" + strconv.Itoa(int(r.Kind))
		e.Data = []Field{{"words", wordList(r)}}
	}
	x.events = append(x.events, e)
}

// unwrap gives a record's counter its high bits: events of a node come in the order of their counter.
func (x *expander) unwrap(r *sim.Record) uint64 {
	last := x.eseq[r.Node]
	n := last&^0xffffffff | uint64(r.ESeq)
	if n+1<<31 < last {
		n += 1 << 32
	}
	x.eseq[r.Node] = max(n, last)
	return n
}

// cause gives the counter of the event that led to r its high bits: it is at most eseq.
func (x *expander) cause(r *sim.Record, eseq uint64) uint64 {
	if r.Cause == 0 {
		return 0
	}
	return earlier(r.Cause, eseq)
}

// earlier gives the low bits of a node's counter, of an event that is not later than eseq, their high bits.
func earlier(low uint32, eseq uint64) uint64 {
	n := eseq&^0xffffffff | uint64(low)
	if n > eseq && n >= 1<<32 {
		n -= 1 << 32
	}
	return n
}

func wordList(r *sim.Record) []string {
	words := make([]string, len(r.W))
	for i, w := range r.W {
		words[i] = "0x" + strconv.FormatUint(uint64(w), 16)
	}
	return words
}

// hop expands a link's record.
func (x *expander) hop(r *sim.Record, more []sim.Record, base Event) {
	var h link.Hop
	if x.live {
		var kept bool
		if h, kept = x.hops[hopKey{r.Node, r.ESeq}]; !kept {
			return
		}
	} else {
		h, _ = link.Decode(r, more)
	}
	if h.Copy {
		base.Cause = earlier(h.CopyOf, base.ESeq)
	}
	base.ESeq = earlier(h.First, base.ESeq)
	x.buf = h.Events(x.buf[:0])
	dir := x.names.Direction(uint32(h.Dir))
	for _, le := range x.buf {
		e := base
		e.Name, e.TNs = string(le.Name), int64(le.T)
		e.Data = []Field{
			{"link", x.names.Link(uint32(h.Dir))}, {"dir", dir}, {"pkt", x.names.Packet(h.Pkt)}, {"bytes", uint64(h.Bytes)},
		}
		switch le.Name {
		case link.Enqueued, link.Dropped:
			e.Data = append(e.Data, Field{"qpkts", uint64(h.QueuePackets)}, Field{"qbytes", uint64(h.QueueBytes)})
		case link.Dequeued:
			e.Data = append(e.Data, Field{"sojourn_us", micros(le.Sojourn)})
		case link.Transmitted:
			e.Data = append(e.Data, Field{"ring_us", micros(le.Sojourn)})
		}
		if le.Name == link.Dropped {
			e.Data = append(e.Data, Field{"cause", h.Drop.String()})
			if h.FaultID != 0 {
				e.Data = append(e.Data, Field{"fault_input", uint64(h.FaultID)})
				e.Data = append(e.Data, x.faultID(uint32(h.FaultID))...)
			}
		}
		if h.Copy {
			e.Data = append(e.Data, Field{"copy", true})
		}
		x.events = append(x.events, e)
	}
}

// micros is a span in microseconds with its nanoseconds as decimals.
func micros(t sim.Time) float64 { return float64(t) / 1000 }

func appEvent(r *sim.Record, e *Event) {
	a, ok := app.DecodeRecord(r)
	if !ok {
		return
	}
	e.Name = a.Name
	e.Data = []Field{{"bytes", a.Bytes}}
	if r.Kind != app.KindFileRead {
		e.Data = append(e.Data, Field{"blocked_us", a.BlockedUs})
	}
	if r.Kind == app.KindWrite {
		e.Data = append(e.Data, Field{"buffered", a.Buffered})
	}
	if a.Abort {
		e.Data = append(e.Data, Field{"abort", true})
	}
}
