package node

import (
	"fmt"
	"net/netip"
	"slices"

	"labd.dev/link"
	"labd.dev/node/app"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// Tap sees every frame that an interface sends or receives. It keeps nothing of the frame and changes nothing but that it
// may fill in checksums which the stack has left open (tcpstack.FillChecksums). It is called in the node's loop.
type Tap interface {
	Frame(p *Port, t sim.Time, out bool, f *sim.Frame)
}

// Config is what a Network is made of.
type Config struct {
	Spec   *labv1.LabSpec
	Plan   *Plan
	Loops  []*sim.Loop
	LoopOf []int // the loop of each node of the plan; nil: the first

	Split *Split // nil: the whole lab is here

	Blob   func(sha256 string) ([]byte, error) // content given to the lab beforehand
	Sink   func(id string) func([]byte)        // where a saved transfer's bytes go; may be nil
	Report app.Reporter
	Tap    Tap // nil: nobody looks
}

// Network is a lab's nodes and links on their loops. Between the windows of the loops, when all of them are at rest, its
// owner ships frames over the cut, applies inputs and asks how things stand; within a window each loop touches what lives
// in it.
type Network struct {
	cfg        Config
	graph      *graph
	routes     []*routes // by loop
	graph6     *graph    // of IPv6
	routes6    []*routes
	nodes      []*Node      // as in the plan; nil: in another shard
	directions []*direction // as in the plan; nil: sent from another shard
	cut        []*direction // to other loops
	outward    []*direction // to other shards
	inward     []*inward    // from other shards
	inwardBy   map[sim.Origin]*inward
	lab        sim.Identity // of the records that no node makes
	inputs     []*labv1.Input
	faults     []*fault
	former     former
	ports      int // made so far
}

// direction is a link direction with the faults in force on it.
type direction struct {
	plan    *DirectionPlan
	link    *link.Direction
	base    link.Config // as the spec has it, and what was changed for good
	patched bool        // base is not the spec's
	loop    *sim.Loop   // the sender's
	from    *Node
	port    *Port        // it leads away from
	sets    []*linkSet   // in the order of their inputs
	active  []*linkFault // in the order of their inputs
	ahead   sim.Time     // the least delay, now and after each end of a fault that is set
}

// NewNetwork builds a lab's nodes and links and boots the nodes, at the loops' present time. A FieldErrors says what is
// wrong with the spec.
func NewNetwork(cfg Config) (*Network, error) {
	if cfg.LoopOf == nil {
		cfg.LoopOf = make([]int, len(cfg.Plan.Nodes))
	}
	w := &Network{cfg: cfg, lab: sim.Identity{Name: "lab"}, inputs: []*labv1.Input{nil},
		inwardBy: map[sim.Origin]*inward{}, former: former{map[sim.Origin]*sim.Identity{}, map[sim.Origin]uint64{}}}
	if cfg.Split != nil {
		cfg.Split.settle(cfg.Plan)
	}
	w.routes, w.routes6 = make([]*routes, len(cfg.Loops)), make([]*routes, len(cfg.Loops))
	w.findRoutes()
	for i := range cfg.Plan.Nodes {
		w.addNode(i)
	}
	for i := range cfg.Plan.Directions {
		if err := linkConfig(cfg.Plan.Directions[i].Spec).Validate(); err != nil {
			return nil, FieldErrors{{"links", fmt.Sprintf("%s: %v", cfg.Plan.Directions[i].Name, err)}}
		}
	}
	for i := range cfg.Plan.Directions {
		w.addDirection(&cfg.Plan.Directions[i])
	}
	for _, n := range w.Nodes() {
		if err := n.boot(); err != nil {
			w.Close()
			return nil, err
		}
	}
	return w, nil
}

// findRoutes makes the graphs of the present plan.
func (w *Network) findRoutes() {
	w.graph, w.graph6 = newGraph(w.cfg.Plan, labv1.Family_FAMILY_IPV4), newGraph(w.cfg.Plan, labv1.Family_FAMILY_IPV6)
	for i := range w.routes {
		w.routes[i], w.routes6[i] = newRoutes(w.graph), newRoutes(w.graph6)
	}
}

func (w *Network) loopOf(node int) int { return w.cfg.LoopOf[node] }

func (w *Network) addNode(i int) {
	if !w.here(i) {
		w.nodes = append(w.nodes, nil)
		return
	}
	p := &w.cfg.Plan.Nodes[i]
	n := &Node{net: w, plan: p, index: i, loop: w.cfg.Loops[w.loopOf(i)]}
	if n.id = w.former.nodes[p.ID]; n.id == nil {
		n.id = &sim.Identity{Src: sim.Source{ID: p.ID}, Name: p.Name}
	}
	n.ecmp = sim.NewStream(w.cfg.Spec.GetSeed(), "node "+p.Name+" ecmp")
	for j := range p.Interfaces {
		port := n.newPort(&p.Interfaces[j])
		port.Index = j
		n.ports = append(n.ports, port)
	}
	w.nodes = append(w.nodes, n)
}

func (n *Node) newPort(p *InterfacePlan) *Port {
	n.net.ports++
	return &Port{Node: n, Number: n.net.ports - 1, Plan: p, name: p.Name, tapped: n.net.cfg.Tap != nil}
}

func (w *Network) addDirection(p *DirectionPlan) {
	base := linkConfig(p.Spec)
	from, to := w.nodes[p.From], w.nodes[p.To]
	if from == nil {
		w.directions = append(w.directions, nil)
		if to != nil {
			w.addInward(p)
		}
		return
	}
	d := &direction{plan: p, base: base.Effective(), loop: from.loop, from: from, port: from.ports[p.FromIf]}
	src := sim.Source{ID: p.ID, Seq: w.former.directions[p.ID]}
	d.link = link.NewDirection(from.loop, from.id, src, p.Name, w.cfg.Spec.GetSeed(), base)
	d.link.BeforeFlip(tcpstack.FillChecksums)
	if w.cfg.Spec.GetRecord() == labv1.Record_RECORD_CONNS {
		d.link.Mute()
	}
	switch {
	case to == nil:
		d.link.CutAbroad(w.cfg.Split.Carrier(w.shard(p.To), p.ID))
	case from.loop == to.loop:
		d.link.Connect(to.ports[p.ToIf])
	default:
		d.link.Cut(to.loop).Connect(to.ports[p.ToIf])
	}
	d.ahead = d.leastAhead()
	d.lead()
	w.enlist(d)
}

// lead makes the direction the one that leads away from its port.
func (d *direction) lead() { d.port.out, d.port.link = d, d.link }

// enlist puts a direction among those of the plan.
func (w *Network) enlist(d *direction) {
	w.directions = append(w.directions, d)
	switch to := w.nodes[d.plan.To]; {
	case to == nil:
		w.outward = append(w.outward, d)
	case d.loop != to.loop:
		w.cut = append(w.cut, d)
	}
}

// env is what the node's applications may use.
func (n *Node) env() app.Env {
	w := n.net
	return app.Env{
		Stack: n.stack, Loop: n.loop, ID: n.id, Seed: w.cfg.Spec.GetSeed(),
		Resolve: n.resolve, NameOf: w.nameOf, TransferPort: w.transferPort,
		Blob: w.cfg.Blob, Sink: w.cfg.Sink, Input: w.input, Report: w.cfg.Report,
	}
}

// Resolve finds the address of a node, that of its first interface, or reads a literal one.
func (w *Network) Resolve(name string, family labv1.Family) (netip.Addr, bool) {
	return w.cfg.Plan.Resolve(name, family)
}

// resolve is Resolve for who asks: where no version is asked for, a node without IPv4 means IPv6.
func (n *Node) resolve(name string, family labv1.Family) (netip.Addr, bool) {
	if family == labv1.Family_FAMILY_UNSPECIFIED && !n.plan.speaks(labv1.Family_FAMILY_IPV4) {
		family = labv1.Family_FAMILY_IPV6
	}
	return n.net.Resolve(name, family)
}

// Resolve finds the address of a node, that of its first interface, or reads a literal one. Where no version is asked for
// it is the IPv4 address, or that of IPv6 if the node has no IPv4.
func (p *Plan) Resolve(name string, family labv1.Family) (netip.Addr, bool) {
	if i, ok := p.Node(name); ok {
		n := &p.Nodes[i]
		if family == labv1.Family_FAMILY_UNSPECIFIED {
			family = labv1.Family_FAMILY_IPV4
			if !n.speaks(family) {
				family = labv1.Family_FAMILY_IPV6
			}
		}
		if len(n.Interfaces) == 0 || !n.speaks(family) {
			return netip.Addr{}, false
		}
		prefix := n.Interfaces[0].Prefix
		if family == labv1.Family_FAMILY_IPV6 {
			prefix = n.Interfaces[0].Prefix6
		}
		return prefix.Addr(), prefix.IsValid()
	}
	a, err := netip.ParseAddr(name)
	return a, err == nil && !a.Is4In6() && (family == labv1.Family_FAMILY_UNSPECIFIED || a.Is4() == (family == labv1.Family_FAMILY_IPV4))
}

func (w *Network) nameOf(a netip.Addr) (string, bool) {
	g := w.graph
	if a.Is6() {
		g = w.graph6
	}
	at, ok := g.segment(a)
	if !ok {
		return "", false
	}
	for _, s := range w.cfg.Plan.Segments[at].Stations {
		if i := w.cfg.Plan.station(s); i.Prefix.Addr() == a || i.Prefix6.Addr() == a {
			return w.cfg.Plan.Nodes[s.Node].Name, true
		}
	}
	return "", false
}

func (w *Network) transferPort(node string) uint16 {
	if i, ok := w.cfg.Plan.Node(node); ok {
		for _, a := range w.cfg.Plan.Nodes[i].Spec.GetApps() {
			if t := a.GetTransfer(); t.GetPort() != 0 {
				return uint16(t.GetPort())
			}
		}
	}
	return app.TransferPort
}

// input is the table of what has been applied. It grows only while all loops are at rest.
func (w *Network) input(index uint32) *labv1.Input {
	if uint64(index) < uint64(len(w.inputs)) {
		return w.inputs[index]
	}
	return nil
}

// Next is a time that nothing of the lab precedes: no event, and no frame's departure over the cut.
func (w *Network) Next() sim.Time {
	next := sim.Never
	for _, l := range w.cfg.Loops {
		next = min(next, l.Next())
	}
	for _, d := range w.cut {
		next = min(next, d.link.NextDeparture())
	}
	return next
}

// Lookahead is the least time a frame takes over the cut, ends of faults that are set included; sim.Never where nothing
// is cut.
func (w *Network) Lookahead() sim.Time {
	ahead := sim.Never
	for _, d := range w.cut {
		ahead = min(ahead, d.ahead)
	}
	return ahead
}

// Ship hands over what has left over the cut before a time that all loops have run to.
func (w *Network) Ship(before sim.Time) {
	for _, d := range w.cut {
		d.link.Ship(before)
	}
}

// Plan is the lab's plan.
func (w *Network) Plan() *Plan { return w.cfg.Plan }

// Nodes are the lab's nodes that are here, in the order of the plan.
func (w *Network) Nodes() []*Node {
	if w.cfg.Split == nil {
		return w.nodes
	}
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n *Node) bool { return n == nil })
}

// Ports are the node's interfaces, as in the plan.
func (n *Node) Ports() []*Port { return n.ports }

// Close ends the lab: every node's state and every frame under way is let go, without a packet, record or report.
func (w *Network) Close() {
	for _, n := range w.Nodes() {
		n.learner = nil
		n.endCrashes()
		if n.stack == nil {
			continue
		}
		for _, a := range n.services {
			a.Stop()
		}
		for _, t := range n.work {
			t.app.Stop()
		}
		n.stack.Shutdown()
		n.stack = nil
	}
	for _, d := range w.directions {
		if d != nil {
			d.stopFaults()
			d.dropSets()
			d.link.Close()
		}
	}
	w.closeInward(func(*inward) bool { return false })
}
