package node

import (
	"net/netip"

	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// former is what stays of nodes and directions that are taken out of the lab: who comes back under the same name goes on
// counting where it stopped, so that no name of an event, packet or connection is ever given twice.
type former struct {
	nodes      map[sim.Origin]*sim.Identity
	directions map[sim.Origin]uint64 // frames offered so far
}

// change makes the lab be as a spec says. All loops are at rest. Nodes and links that the spec has lost end at once, as
// in a crash, with what is under way on them; those that it has gained begin; those that it has kept go on, with their
// ids, addresses and connections. A spec that cannot be assigned changes nothing: it was refused when it was stamped,
// unless another change came between.
func (w *Network) change(spec *labv1.LabSpec) {
	plan, err := Assign(spec, w.cfg.Plan)
	if err != nil {
		return
	}
	c := &change{net: w, old: w.cfg.Plan, plan: plan, nodes: w.nodes, directions: map[sim.Origin]*direction{}}
	for _, d := range w.directions {
		if d != nil {
			c.directions[d.plan.ID] = d
		}
	}
	c.removeDirections()
	c.removeNodes()
	w.cfg.Spec, w.cfg.Plan = spec, plan
	w.findRoutes()
	c.takeNodes()
	c.takeDirections()
	for _, n := range w.Nodes() {
		c.adapt(n)
	}
}

// change is Network.change at work.
type change struct {
	net        *Network
	old, plan  *Plan
	nodes      []*Node                   // of the old plan
	directions map[sim.Origin]*direction // of the old plan

	was    []*NodePlan // by the new plan, what a kept node was; nil: it is new
	before []*Port     // ports that kept nodes have lost
}

// kept finds what a direction of the new plan was: one with its name that joins other interfaces, or a node that has become
// of another kind, is another.
func (c *change) kept(p *DirectionPlan) *direction {
	if d := c.directions[p.ID]; d != nil && c.same(d.plan, p) {
		return d
	}
	return nil
}

// same reports whether a direction of the old plan is one of the new plan.
func (c *change) same(was, p *DirectionPlan) bool {
	return was.fromEnd == p.fromEnd && was.toEnd == p.toEnd && c.keeps(p.From) && c.keeps(p.To)
}

// keeps reports whether a node of the new plan was there, as the same kind of node.
func (c *change) keeps(i int) bool {
	j, ok := c.old.Node(c.plan.Nodes[i].Name)
	return ok && c.old.Nodes[j].kind() == c.plan.Nodes[i].kind()
}

func (c *change) removeDirections() {
	stays := map[sim.Origin]bool{}
	for i := range c.plan.Directions {
		p := &c.plan.Directions[i]
		in := c.net.inwardBy[p.ID]
		if c.kept(p) != nil || in != nil && c.same(in.plan, p) {
			stays[p.ID] = true
		}
	}
	c.net.closeInward(func(in *inward) bool { return stays[in.plan.ID] })
	for _, d := range c.net.directions {
		if d == nil || stays[d.plan.ID] {
			continue
		}
		d.stopFaults()
		d.active = nil
		d.dropSets()
		d.link.Remove()
		c.net.former.directions[d.plan.ID] = d.link.Offered()
		delete(c.directions, d.plan.ID)
	}
}

func (c *change) removeNodes() {
	for i, n := range c.nodes {
		if j, ok := c.plan.Node(c.old.Nodes[i].Name); ok && c.keeps(j) {
			continue
		}
		if n == nil { // its name is what stays of it here
			p := &c.old.Nodes[i]
			c.net.former.nodes[p.ID] = &sim.Identity{Src: sim.Source{ID: p.ID}, Name: p.Name}
			continue
		}
		n.crashNow()
		n.endCrashes()
		c.net.former.nodes[n.plan.ID] = n.id
	}
}

// endCrashes forgets the faults that keep the node down.
func (n *Node) endCrashes() {
	for _, c := range n.crashes {
		n.loop.Stop(&c.timer)
	}
	n.crashes = nil
}

// takeNodes makes the new plan's nodes, of those there are and of new ones. A new one lives in the loop of the first
// node that it is joined to and that has one; where it lives changes no result.
func (c *change) takeNodes() {
	w := c.net
	if w.cfg.Split != nil {
		w.cfg.Split.settle(c.plan)
	}
	loopOf := make([]int, len(c.plan.Nodes))
	nodes := make([]*Node, len(c.plan.Nodes))
	c.was = make([]*NodePlan, len(c.plan.Nodes))
	for i := range c.plan.Nodes {
		loopOf[i] = -1
		if j, ok := c.old.Node(c.plan.Nodes[i].Name); ok {
			loopOf[i] = w.cfg.LoopOf[j]
			if c.keeps(i) {
				nodes[i], c.was[i] = c.nodes[j], &c.old.Nodes[j]
			}
		}
	}
	for i := range loopOf {
		for j := 0; loopOf[i] < 0 && j < len(c.plan.Nodes[i].Interfaces); j++ {
			loopOf[i] = loopOf[c.plan.Nodes[i].Interfaces[j].Peer]
		}
		loopOf[i] = max(loopOf[i], 0)
	}
	w.cfg.LoopOf, w.nodes = loopOf, nil
	for i := range c.plan.Nodes {
		if nodes[i] == nil { // new, or in another shard
			w.addNode(i)
			continue
		}
		nodes[i].plan, nodes[i].index = &c.plan.Nodes[i], i
		c.takePorts(nodes[i])
		w.nodes = append(w.nodes, nodes[i])
	}
}

// takePorts keeps a node's ports by the names of their interfaces.
func (c *change) takePorts(n *Node) {
	old := n.ports
	n.ports = nil
	for j := range n.plan.Interfaces {
		p := &n.plan.Interfaces[j]
		var port *Port
		for k, o := range old {
			if o != nil && o.name == p.Name {
				port, old[k] = o, nil
			}
		}
		if port == nil {
			port = n.newPort(p)
		}
		port.Index, port.Plan = j, p
		n.ports = append(n.ports, port)
	}
	for _, o := range old {
		if o != nil {
			c.before = append(c.before, o)
		}
	}
}

// takeDirections makes the new plan's directions, of those there are and of new ones.
func (c *change) takeDirections() {
	w := c.net
	w.directions, w.cut, w.outward = nil, nil, nil
	for i := range c.plan.Directions {
		p := &c.plan.Directions[i]
		if in := w.inwardBy[p.ID]; in != nil {
			in.plan = p
			w.directions = append(w.directions, nil)
			continue
		}
		d := c.kept(p)
		if d == nil {
			w.addDirection(p)
			continue
		}
		same := proto.Equal(d.plan.Spec, p.Spec) && d.untouched()
		d.plan = p
		d.port = d.from.ports[p.FromIf]
		d.lead()
		if !same {
			d.sets, d.patched = d.temporary(), false
			d.base = linkConfig(p.Spec).Effective()
			d.update()
		}
		w.enlist(d)
	}
}

// temporary are the settings that will end by themselves: a new spec replaces only the others.
func (d *direction) temporary() []*linkSet {
	var keep []*linkSet
	for _, s := range d.sets {
		if s.end != sim.Never {
			keep = append(keep, s)
		}
	}
	return keep
}

// untouched reports whether no settings for good lie over the spec.
func (d *direction) untouched() bool {
	return len(d.temporary()) == len(d.sets) && !d.patched
}

// adapt brings a node up to date with its spec: a new one boots, of one that runs only what differs is changed.
func (c *change) adapt(n *Node) {
	was := c.was[n.index]
	switch {
	case was == nil:
		n.bootAgain()
		return
	case n.learner != nil:
		for _, p := range c.before {
			if p.Node == n {
				n.learner.unplug(p)
			}
		}
		for j := range n.plan.Interfaces {
			p := n.ports[j]
			if k := was.ifc(p.name); k >= 0 && c.old.peerName(&was.Interfaces[k]) != c.plan.peerName(p.Plan) {
				n.learner.unplug(p)
			}
		}
	case n.stack != nil:
		c.adaptStack(n, was)
	}
}

// peerName is the end of a link that lies opposite an interface.
func (p *Plan) peerName(i *InterfacePlan) end {
	return end{p.Nodes[i.Peer].Name, p.Nodes[i.Peer].Interfaces[i.PeerIf].Name}
}

func (c *change) adaptStack(n *Node, was *NodePlan) {
	for _, p := range c.before {
		if p.Node == n {
			n.stack.RemoveInterface(p.ifc)
		}
	}
	for _, p := range n.ports {
		switch k := was.ifc(p.name); {
		case k < 0:
			p.ifc = n.stack.Attach(p.config(), p)
		case was.Interfaces[k].MAC != p.Plan.MAC || was.Interfaces[k].Prefix != p.Plan.Prefix ||
			was.Interfaces[k].Prefix6 != p.Plan.Prefix6 || !proto.Equal(was.Spec.GetIp(), n.plan.Spec.GetIp()) || p.ifc.MTU() != p.out.base.MTU:
			p.ifc.Readdress(p.config())
		}
	}
	if !proto.Equal(was.Spec.GetIp(), n.plan.Spec.GetIp()) || !proto.Equal(was.Spec.GetTcp(), n.plan.Spec.GetTcp()) {
		// It has been accepted: CheckSpec boots each node of a spec.
		if err := n.stack.Reconfigure(n.stackConfig()); err != nil {
			panic("node: " + n.plan.Name + ": " + err.Error())
		}
	}
	if static, err := n.staticRoutes(); err == nil {
		n.stack.SetRoutes(static)
	}
	n.stack.SetRouter(n)
	n.changeServices()
}

// CheckSpec refuses a spec that a lab could not be changed to, by building a lab of it that is thrown away: previous is
// the plan that the lab will have then. It returns the plan after the change.
func CheckSpec(spec *labv1.LabSpec, previous *Plan, blob func(string) ([]byte, error)) (*Plan, error) {
	plan, err := Assign(spec, previous)
	if err != nil {
		return nil, err
	}
	trial, err := NewNetwork(Config{
		Spec: spec, Plan: plan, Loops: []*sim.Loop{sim.NewLoop(sim.LoopConfig{Name: "trial"})}, Blob: blob, Report: silent{},
	})
	if err != nil {
		return nil, err
	}
	trial.Close()
	return plan, nil
}

// silent is a reporter that tells nobody.
type silent struct{}

func (silent) Transfer(string, func(*labv1.TransferStatus)) {}
func (silent) ExecLine(string, string)                      {}
func (silent) ExecDone(string, int)                         {}

// config is how the port's stack knows it.
func (p *Port) config() tcpstack.InterfaceConfig {
	n := p.Node.plan
	c := tcpstack.InterfaceConfig{Name: p.name, MAC: p.Plan.MAC, MTU: p.out.base.MTU}
	if n.speaks(labv1.Family_FAMILY_IPV4) {
		c.Prefix = p.Plan.Prefix
	}
	if p.Plan.Prefix6.IsValid() && !n.slaac() {
		c.Prefixes6 = []netip.Prefix{p.Plan.Prefix6}
	}
	return c
}

// fitMTU makes the interface's MTU that of the direction it sends on.
func (p *Port) fitMTU() {
	if p.Node.stack != nil && p.ifc != nil && p.ifc.MTU() != p.out.base.MTU {
		p.ifc.Readdress(p.config())
	}
}
