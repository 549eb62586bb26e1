package cut

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// Error says why a lab cannot be split over as many workers as were asked for.
type Error struct {
	Wanted, Possible int
	Nodes            int      // of the lab
	Links            []string // those that hold it together, each with why: "r1--r2 (no delay)"
}

// maxNamed bounds the links that an error names.
const maxNamed = 8

func (e *Error) Error() string {
	if e.Nodes < e.Wanted {
		return fmt.Sprintf("the lab cannot be split over %d workers: it has %d nodes", e.Wanted, e.Nodes)
	}
	named, more := e.Links, ""
	if len(named) > maxNamed {
		named, more = named[:maxNamed], fmt.Sprintf(" and %d more", len(named)-maxNamed)
	}
	return fmt.Sprintf("the lab cannot be split over %d workers, only over %d: a link is cut only where each frame takes time, and these may take none: %s%s",
		e.Wanted, e.Possible, strings.Join(named, ", "), more)
}

// Shards parts a lab's nodes into exactly n shards, each a list of names in name order, the first with the first node of
// all. Nodes and links that applies in the journal bring are parted with the rest, and the changes that the journal makes to
// delays are foreseen. It is a function of its arguments alone. The error is an *Error.
func Shards(spec *labv1.LabSpec, journal []*labv1.JournalEntry, n int) ([][]string, error) {
	l := read(spec, journal)
	part := make([]int, len(l.names))
	if n > 1 {
		part = l.graph.Parts(n)
	}
	if got := parts(part); got < n {
		return nil, &Error{Wanted: n, Possible: got, Nodes: len(l.names), Links: l.joints()}
	}
	shards := make([][]string, n)
	for i, p := range part {
		shards[p] = append(shards[p], l.names[i])
	}
	return shards, nil
}

// Parts parts a lab's nodes into at most n parts, fewer where links that may have no delay hold it together, and tells each
// node's part.
func Parts(spec *labv1.LabSpec, n int) iter.Seq2[string, int] {
	l := read(spec, nil)
	part := make([]int, len(l.names))
	if n > 1 {
		part = l.graph.Parts(n)
	}
	return func(yield func(string, int) bool) {
		for i, p := range part {
			if !yield(l.names[i], p) {
				return
			}
		}
	}
}

// Most is the largest number of shards that a lab can be split over.
func Most(spec *labv1.LabSpec, journal []*labv1.JournalEntry) int {
	l := read(spec, journal)
	g := NewGroups(l.graph.Work)
	for i := range l.graph.Edges {
		if e := &l.graph.Edges[i]; e.Least == 0 {
			g.Join(e.A, e.B)
		}
	}
	return g.count
}

// Holds reports whether a split still cuts no link that may have no delay; else it names the first that it does. Nodes
// that no shard has are not looked at.
func Holds(spec *labv1.LabSpec, journal []*labv1.JournalEntry, shards [][]string) (link string, ok bool) {
	l := read(spec, journal)
	of := map[string]int{}
	for i, names := range shards {
		for _, name := range names {
			of[name] = i
		}
	}
	for i := range l.links {
		k := &l.links[i]
		a, b := l.names[l.graph.Edges[i].A], l.names[l.graph.Edges[i].B]
		x, known := of[a]
		y, both := of[b]
		if known && both && x != y && l.graph.Edges[i].Least == 0 {
			return k.name(a, b), false
		}
	}
	return "", true
}

// lab is a lab and all that its journal makes of it, as a graph.
type lab struct {
	names []string // of nodes, in name order
	index map[string]int
	kinds []labv1.NodeKind
	links []joint // by edge
	graph Graph
}

// joint is a link's settings over time.
type joint struct {
	delay sim.Time // the least of all
	early sim.Time // by which jitter makes a frame arrive sooner, the most of all
	rate  uint64   // bits per second, the most of all; 0: unlimited
	input uint64   // the journal's that made delay or early what they are; 0: the specification
}

func (k *joint) name(a, b string) string {
	why := "no delay"
	if k.delay > 0 {
		why = fmt.Sprintf("jitter may take %v off its delay of %v", k.early.Duration(), k.delay.Duration())
	}
	if k.input > 0 {
		why += fmt.Sprintf(", by input %d", k.input)
	}
	return fmt.Sprintf("%s--%s (%s)", min(a, b), max(a, b), why)
}

// joints are the links that may have no delay.
func (l *lab) joints() (list []string) {
	for i := range l.links {
		if e := &l.graph.Edges[i]; e.Least == 0 {
			list = append(list, l.links[i].name(l.names[e.A], l.names[e.B]))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// read makes the graph. Specifications come first, so that every node and link that there ever is is known; links between
// the same two nodes are one edge.
func read(spec *labv1.LabSpec, journal []*labv1.JournalEntry) *lab {
	l := &lab{index: map[string]int{}}
	specs, from := []*labv1.LabSpec{spec}, []uint64{0}
	for _, e := range journal {
		if a := e.GetInput().GetApply(); a != nil {
			specs, from = append(specs, a.GetSpec()), append(from, e.GetIndex())
		}
	}
	kinds := map[string]labv1.NodeKind{}
	for _, s := range specs {
		for _, n := range s.GetNodes() {
			if _, ok := kinds[n.GetName()]; !ok {
				l.names = append(l.names, n.GetName())
			}
			kinds[n.GetName()] = n.GetKind()
		}
	}
	slices.Sort(l.names)
	for i, name := range l.names {
		l.index[name] = i
		l.kinds = append(l.kinds, kinds[name])
	}
	edges := map[[2]int]int{}
	for i, s := range specs {
		for _, k := range s.GetLinks() {
			if at, ok := l.edge(edges, k.GetA().GetNode(), k.GetB().GetNode()); ok {
				for _, d := range []*labv1.DirectionSpec{k.GetForward(), k.GetReverse()} {
					l.links[at].take(from[i], ptr(sim.Time(d.GetDelayNs())), d.GetJitter(), ptr(d.GetRateBps()))
				}
			}
		}
	}
	for _, e := range journal {
		l.foresee(edges, e)
	}
	for i := range l.links {
		k := &l.links[i]
		if k.delay-k.early > 1 {
			l.graph.Edges[i].Least = k.delay - k.early
		}
	}
	l.weigh()
	return l
}

func ptr[T any](v T) *T { return &v }

// edge finds or makes the edge between two nodes.
func (l *lab) edge(edges map[[2]int]int, a, b string) (int, bool) {
	x, known := l.index[a]
	y, both := l.index[b]
	if !known || !both || x == y {
		return 0, false
	}
	key := [2]int{min(x, y), max(x, y)}
	at, ok := edges[key]
	if !ok {
		at = len(l.links)
		edges[key] = at
		l.links = append(l.links, joint{delay: sim.Never, rate: 1})
		l.graph.Edges = append(l.graph.Edges, Edge{A: key[0], B: key[1]})
	}
	return at, true
}

// foresee takes in what an input does to a link's delay, for a while or for good.
func (l *lab) foresee(edges map[[2]int]int, e *labv1.JournalEntry) {
	if s := e.GetInput().GetLinkSet(); s != nil {
		if at, ok := l.named(edges, s.GetLink()); ok {
			var delay *sim.Time
			if p := s.GetPatch(); p != nil && p.DelayNs != nil {
				delay = ptr(sim.Time(p.GetDelayNs()))
			}
			l.links[at].take(e.GetIndex(), delay, s.GetPatch().GetJitter(), nil)
		}
	}
	if f := e.GetInput().GetFault(); f.GetLink() != "" {
		if at, ok := l.named(edges, f.GetLink()); ok {
			var delay *sim.Time
			if d, is := f.GetEffect().(*labv1.Fault_DelayNs); is {
				delay = ptr(sim.Time(d.DelayNs))
			}
			l.links[at].take(e.GetIndex(), delay, f.GetJitter(), nil)
		}
	}
}

// named finds the edge of a link or a direction: "r1--r2", "r1->r2", "r1:eth1--r2:eth2".
func (l *lab) named(edges map[[2]int]int, name string) (int, bool) {
	a, b, ok := strings.Cut(name, "--")
	if !ok {
		a, b, _ = strings.Cut(name, "->")
	}
	a, _, _ = strings.Cut(a, ":")
	b, _, _ = strings.Cut(b, ":")
	x, known := l.index[a]
	y, both := l.index[b]
	if !known || !both {
		return 0, false
	}
	at, ok := edges[[2]int{min(x, y), max(x, y)}]
	return at, ok
}

// take notes settings that are in force at some time: of what may lie over one another in any order, the worst is kept.
func (k *joint) take(input uint64, delay *sim.Time, j *labv1.Jitter, rate *uint64) {
	if delay != nil && *delay < k.delay {
		k.delay, k.input = *delay, input
	}
	if early := JitterEarly(j); early > k.early {
		k.early, k.input = early, input
	}
	if rate != nil && (*rate == 0 || k.rate != 0 && *rate > k.rate) {
		k.rate = *rate
	}
}
