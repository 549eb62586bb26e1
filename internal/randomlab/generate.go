// Package randomlab makes small labs at random, with faults and inputs at seeded lab times, and checks what their runs
// recorded against rules that hold in every lab. One seed is one lab; a failing one is named by its seed.
package randomlab

import (
	"fmt"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
)

const (
	ms  = int64(1e6)
	sec = int64(1e9)
)

// Lab is a lab file's worth of topology with the inputs that its run will be given.
type Lab struct {
	Seed    uint64
	Spec    *labv1.LabSpec
	Journal []*labv1.JournalEntry
	EndNs   int64 // the run's exact end
	Cut     bool  // it ends in the middle of things, which then leak nothing
}

// specs are those that the lab has, one after the other.
func (l *Lab) specs() []*labv1.LabSpec {
	list := []*labv1.LabSpec{l.Spec}
	for _, e := range l.Journal {
		if a := e.Input.GetApply(); a != nil {
			list = append(list, a.Spec)
		}
	}
	return list
}

// input is that of an index in the journal; nil: there is none.
func (l *Lab) input(index int64) *labv1.Input {
	if index < 1 || index > int64(len(l.Journal)) {
		return nil
	}
	return l.Journal[index-1].Input
}

// duration of every run: long enough for the last transfer to repair its losses or to give up.
const duration = 400 * sec

type generator struct {
	*rand.Rand
	lab   *Lab
	hosts []string
	pairs []*labv1.LinkSpec
	ring  []*labv1.LinkSpec // those of pairs that may be taken out: there is another way
}

// Generate makes the lab of a seed.
func Generate(seed uint64) *Lab {
	g := &generator{
		Rand: rand.New(rand.NewPCG(seed, 0x6c616264)),
		lab:  &Lab{Seed: seed, EndNs: duration, Spec: &labv1.LabSpec{Name: fmt.Sprintf("random-%d", seed), Seed: seed, Clock: labv1.Clock_CLOCK_VIRTUAL}},
	}
	if g.chance(0.2) {
		g.lab.Spec.Checksums = labv1.Checksums_CHECKSUMS_ALWAYS
	}
	g.topology()
	g.workload()
	g.faults()
	if seed%alikeEvery == 0 {
		g.alike()
	}
	if g.chance(0.4) {
		g.live()
	}
	g.again()
	g.order()
	g.six()
	if g.chance(0.15) {
		g.lab.EndNs, g.lab.Cut = g.between(500*ms, lastInput), true
	}
	g.mechanisms()
	return g.lab
}

func (g *generator) chance(p float64) bool { return g.Float64() < p }

func (g *generator) between(lo, hi int64) int64 { return lo + g.Int64N(hi-lo+1) }

func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

// topology draws one of the shapes that give a frame something to meet: a single link, a chain, two routes, a star.
func (g *generator) topology() {
	shape := pick(g, "pair", "chain", "dumbbell", "ring", "star", "lan", "office")
	switch shape {
	case "pair":
		g.host("h1", "h2")
		g.link("h1", "h2")
	case "chain":
		g.host("h1", "h2")
		last := "h1"
		for i := range g.IntN(3) + 1 {
			r := fmt.Sprintf("r%d", i+1)
			g.router(r)
			g.link(last, r)
			last = r
		}
		g.link(last, "h2")
	case "dumbbell":
		g.host("h1", "h2", "h3", "h4")
		g.router("r1", "r2")
		g.link("h1", "r1")
		g.link("h2", "r1")
		g.link("r1", "r2")
		g.link("r2", "h3")
		g.link("r2", "h4")
	case "ring":
		g.host("h1", "h2")
		g.router("r1", "r2", "r3", "r4")
		g.link("h1", "r1")
		g.link("r1", "r2")
		g.link("r2", "r3")
		g.link("r3", "r4")
		g.link("r4", "r1")
		g.link("r3", "h2")
		g.ring = g.pairs[1:5:5]
	case "lan":
		g.switches("sw")
		for i := range g.IntN(2) + 3 {
			h := fmt.Sprintf("h%d", i+1)
			g.host(h)
			g.link(h, "sw")
		}
	case "office":
		g.host("h1", "h2", "h3")
		g.switches("sw1", "sw2")
		g.router("r1")
		g.link("h1", "sw1")
		g.link("h2", "sw1")
		g.link("sw1", "sw2")
		g.link("sw2", "r1")
		g.link("r1", "h3")
	case "star":
		g.router("r1")
		for i := range g.IntN(3) + 3 {
			h := fmt.Sprintf("h%d", i+1)
			g.host(h)
			g.link(h, "r1")
		}
	}
}

func (g *generator) host(names ...string) {
	for _, n := range names {
		g.hosts = append(g.hosts, n)
		g.lab.Spec.Nodes = append(g.lab.Spec.Nodes, g.newHost(n))
	}
}

func (g *generator) newHost(name string) *labv1.NodeSpec {
	return &labv1.NodeSpec{Name: name, Kind: labv1.NodeKind_NODE_KIND_HOST, Tcp: g.tcp(), Apps: []*labv1.AppSpec{
		{App: &labv1.AppSpec_UdpSink{UdpSink: &labv1.UdpSinkApp{}}},
		{App: &labv1.AppSpec_Http{Http: &labv1.HttpServerApp{Files: []*labv1.FileRef{Content()}}}},
	}}
}

func (g *generator) switches(names ...string) {
	for _, n := range names {
		g.lab.Spec.Nodes = append(g.lab.Spec.Nodes, &labv1.NodeSpec{Name: n, Kind: labv1.NodeKind_NODE_KIND_SWITCH})
	}
}

func (g *generator) router(names ...string) {
	for _, n := range names {
		g.lab.Spec.Nodes = append(g.lab.Spec.Nodes, &labv1.NodeSpec{Name: n, Kind: labv1.NodeKind_NODE_KIND_ROUTER})
	}
}

// tcp draws a host's settings. Retries are few, so that a connection to a dead peer reports its error within the run.
func (g *generator) tcp() *labv1.TcpSettings {
	t := &labv1.TcpSettings{DataRetries: new(uint32), SynRetries: new(uint32), TimeWaitNs: new(int64)}
	*t.DataRetries, *t.SynRetries, *t.TimeWaitNs = 5, 3, g.between(200, 2000)*ms
	if g.chance(0.4) {
		t.Congestion = new(string)
		*t.Congestion = pick(g, "reno", "cubic")
	}
	for _, b := range []**bool{&t.Sack, &t.Timestamps, &t.WindowScaling, &t.Nagle, &t.QuickAck} {
		if g.chance(0.2) {
			*b = new(bool)
		}
	}
	if g.chance(0.5) {
		t.RecvBufferBytes = new(uint64)
		*t.RecvBufferBytes = uint64(g.between(4, 32)) << 10
	}
	if g.chance(0.2) {
		t.SendBufferBytes = new(uint64)
		*t.SendBufferBytes = uint64(g.between(4, 64)) << 10
	}
	if g.chance(0.2) {
		t.Mss = new(uint32)
		*t.Mss = uint32(g.between(200, 1460))
	}
	if g.chance(0.2) {
		t.DelayedAckNs = new(int64)
		*t.DelayedAckNs = g.between(0, 200) * ms
	}
	return t
}

func (g *generator) link(a, b string) {
	l := g.newLink(a, b)
	g.lab.Spec.Links = append(g.lab.Spec.Links, l)
	g.pairs = append(g.pairs, l)
}

func (g *generator) newLink(a, b string) *labv1.LinkSpec {
	n := map[string]int{}
	for _, l := range g.lab.Spec.Links {
		n[l.A.Node]++
		n[l.B.Node]++
	}
	end := func(node string) *labv1.Endpoint {
		return &labv1.Endpoint{Node: node, Interface: fmt.Sprintf("eth%d", n[node])}
	}
	fwd := g.direction()
	rev := proto.Clone(fwd).(*labv1.DirectionSpec)
	if g.chance(0.5) {
		rev = g.direction()
		rev.MtuBytes = fwd.MtuBytes
	}
	for _, n := range g.lab.Spec.Nodes {
		if (n.Name == a || n.Name == b) && n.Kind == labv1.NodeKind_NODE_KIND_SWITCH {
			// A switch does not tell who sends too long a frame: all that it joins take the same.
			fwd.MtuBytes, rev.MtuBytes = 1500, 1500
		}
	}
	return &labv1.LinkSpec{A: end(a), B: end(b), Forward: fwd, Reverse: rev}
}

func (g *generator) direction() *labv1.DirectionSpec {
	d := &labv1.DirectionSpec{DelayNs: g.between(100, 20_000) * 1000, MtuBytes: uint32(pick(g, 1500, 1500, 1500, 576, 1000))}
	if g.chance(0.7) {
		d.RateBps = uint64(pick(g, 1, 5, 20, 100)) * 1e6
	}
	if g.chance(0.5) {
		d.Loss = g.loss()
	}
	if g.chance(0.4) {
		d.Jitter = &labv1.Jitter{AmountNs: d.DelayNs / g.between(3, 20), Reorder: g.chance(0.6),
			Distribution: labv1.Distribution(g.IntN(3) + 1)}
	}
	if g.chance(0.25) {
		d.Duplicate = &labv1.Duplicate{Chance: g.Float64() * 0.05, DelayNs: g.between(0, 50) * ms}
	}
	if g.chance(0.25) {
		// Above a few percent so many frames are flipped twice that some pairs cancel out in a checksum.
		d.Corrupt = g.Float64() * pick(g, 0.01, 0.01, 0.1)
	}
	if g.chance(0.4) {
		d.Queue = &labv1.Queue{Kind: labv1.QueueKind_QUEUE_KIND_DROPTAIL, LimitPackets: uint32(g.between(5, 100))}
	}
	if g.chance(0.1) {
		d.LossAt = labv1.LossAt_LOSS_AT_ENQUEUE
	}
	return d
}

func (g *generator) loss() *labv1.Loss {
	switch g.IntN(4) {
	case 0:
		return &labv1.Loss{Model: &labv1.Loss_GilbertElliott{GilbertElliott: &labv1.GilbertElliott{P: 0.005, R: 0.3, BadLoss: 0.8}}}
	case 1:
		return &labv1.Loss{Model: &labv1.Loss_Every{Every: uint64(g.between(20, 200))}}
	}
	return &labv1.Loss{Model: &labv1.Loss_Random{Random: g.Float64() * 0.05}}
}

// order sorts the inputs by time and gives them their indexes.
func (g *generator) order() {
	j := g.lab.Journal
	for i := 1; i < len(j); i++ {
		for k := i; k > 0 && j[k].TNs < j[k-1].TNs; k-- {
			j[k], j[k-1] = j[k-1], j[k]
		}
	}
	for i, e := range j {
		e.Index = uint64(i + 1)
	}
}

func (g *generator) at(t int64, in *labv1.Input) {
	g.lab.Journal = append(g.lab.Journal, &labv1.JournalEntry{TNs: t, Input: in})
}
