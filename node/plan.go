// Package node makes a lab's nodes out of stacks, links and applications: identities and addresses, boots and crashes,
// routes over the lab's graph, and the inputs that change it all.
package node

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Plan says who is who in a lab: the ids, names and addresses of all its parts. Assign makes it.
type Plan struct {
	Nodes      []NodePlan // in the order of ids
	Links      []LinkPlan // in name order
	Directions []DirectionPlan
	Segments   []SegmentPlan // in the order of the first of their links

	nextID  sim.Origin
	nextMAC uint64
	nextNet uint32 // the next /30 of 10.0.0.0/8 to be tried
	byName  map[string]int
	// Of what was, so that who comes back is the same: ids of nodes and directions by name, interfaces by theirs.
	gone     map[string]sim.Origin
	goneIfcs map[end]InterfacePlan
}

// NodePlan is a node's place in the lab.
type NodePlan struct {
	ID         sim.Origin
	Name       string
	Spec       *labv1.NodeSpec
	Interfaces []InterfacePlan // in the order of names, eth2 before eth10

	index int // in the spec
}

// InterfacePlan is one end of a link.
type InterfacePlan struct {
	Name    string
	MAC     wire.MAC
	Prefix  netip.Prefix // own address and length of the segment's network; none at a switch
	Prefix6 netip.Prefix // the same of IPv6; none at a switch, nor where the node has no IPv6
	Link    int          // in Plan.Links
	Out     int          // the direction it sends on, in Plan.Directions
	Peer    int          // the node at the other end, in Plan.Nodes
	PeerIf  int          // its interface there

	Segment int // in Plan.Segments
}

// LinkPlan is a link: Forward leads from the spec's end a to b.
type LinkPlan struct {
	Name             string
	Forward, Reverse int // in Plan.Directions

	forward, reverse *labv1.DirectionSpec
	a, b             end
}

// DirectionPlan is one direction of a link.
type DirectionPlan struct {
	ID             sim.Origin
	Name           string
	Link           int
	From, To       int // in Plan.Nodes
	FromIf, ToIf   int // among their interfaces
	Spec           *labv1.DirectionSpec
	fromEnd, toEnd end
}

// end names a link's end.
type end struct{ node, ifc string }

// maxIDs bounds nodes and directions together: packet and connection ids keep 24 bits for a node.
const maxIDs = 1<<24 - 1

// FieldError is something wrong with a spec, at a field of the proto ("nodes[2].interfaces[0].address").
type FieldError struct{ Field, Msg string }

func (e FieldError) Error() string { return e.Field + ": " + e.Msg }

// FieldErrors is all that is wrong with a spec.
type FieldErrors []FieldError

func (e FieldErrors) Error() string {
	lines := make([]string, len(e))
	for i, f := range e {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

func (e *FieldErrors) add(field, format string, args ...any) {
	*e = append(*e, FieldError{field, fmt.Sprintf(format, args...)})
}

// Assign gives every node and link direction of a spec its id and every interface its addresses, in name order. What
// previous (nil at a lab's creation) has assigned stays as it is; what is new takes the next free ones. It is a pure
// function; a FieldErrors says what is wrong with the spec.
func Assign(spec *labv1.LabSpec, previous *Plan) (*Plan, error) {
	a := &assignment{spec: spec, prev: previous, plan: &Plan{nextID: 1, nextMAC: 1, byName: map[string]int{}}}
	if previous != nil {
		a.plan.nextID, a.plan.nextMAC, a.plan.nextNet = previous.nextID, previous.nextMAC, previous.nextNet
		a.remember()
	}
	for _, step := range []func(){a.nodes, a.links, a.directions, a.interfaces, a.macs, a.segments, a.addresses, a.addresses6} {
		step()
		if len(a.errs) > 0 {
			return nil, a.errs
		}
	}
	return a.plan, nil
}

// Node finds a node by name.
func (p *Plan) Node(name string) (int, bool) {
	i, ok := p.byName[name]
	return i, ok
}

// Link finds a link by its name, with the ends in either order ("r1--r2"), or one direction of it by its own name
// ("r1->r2"): the directions meant, indexes into Directions. A link is found by its interfaces too ("r1:eth1--r2:eth0"),
// whether or not they are in its name.
func (p *Plan) Link(name string) ([]int, bool) {
	if strings.Contains(name, ":") {
		return p.linkByEnds(name)
	}
	if x, y, ok := strings.Cut(name, "--"); ok {
		for _, n := range []string{name, y + "--" + x} {
			i, found := slices.BinarySearchFunc(p.Links, n, func(l LinkPlan, n string) int { return strings.Compare(l.Name, n) })
			if found {
				return []int{p.Links[i].Forward, p.Links[i].Reverse}, true
			}
		}
		return nil, false
	}
	for i := range p.Directions {
		if p.Directions[i].Name == name {
			return []int{i}, true
		}
	}
	return nil, false
}

func (p *Plan) linkByEnds(name string) ([]int, bool) {
	x, y, oneWay := strings.Cut(name, "->")
	if !oneWay {
		x, y, _ = strings.Cut(name, "--")
	}
	for i := range p.Directions {
		if d := &p.Directions[i]; d.fromEnd.String() == x && d.toEnd.String() == y {
			if oneWay {
				return []int{i}, true
			}
			l := &p.Links[d.Link]
			return []int{l.Forward, l.Reverse}, true
		}
	}
	return nil, false
}

func (e end) String() string { return e.node + ":" + e.ifc }

// assignment is Assign at work.
type assignment struct {
	spec *labv1.LabSpec
	prev *Plan
	plan *Plan
	errs FieldErrors

	prevLinks map[[2]end]int // by ends, the previous plan's links
}

func (a *assignment) takeID(field string) sim.Origin {
	id := a.plan.nextID
	if id > maxIDs {
		a.errs.add(field, "more nodes and link directions than %d", maxIDs)
	}
	a.plan.nextID++
	return id
}

// idOf is the id of a node or direction that was there before under that name, or else a new one.
func (a *assignment) idOf(name, field string) sim.Origin {
	if id, ok := a.plan.gone[name]; ok {
		delete(a.plan.gone, name)
		return id
	}
	return a.takeID(field)
}

// remember starts with everything that was; what comes now is taken out.
func (a *assignment) remember() {
	a.prevLinks = make(map[[2]end]int, len(a.prev.Links))
	for i := range a.prev.Links {
		a.prevLinks[[2]end{a.prev.Links[i].a, a.prev.Links[i].b}] = i
	}
	a.plan.gone = maps.Clone(a.prev.gone)
	if a.plan.gone == nil {
		a.plan.gone = map[string]sim.Origin{}
	}
	a.plan.goneIfcs = maps.Clone(a.prev.goneIfcs)
	if a.plan.goneIfcs == nil {
		a.plan.goneIfcs = map[end]InterfacePlan{}
	}
	for i := range a.prev.Nodes {
		n := &a.prev.Nodes[i]
		a.plan.gone[n.Name] = n.ID
		for _, ifc := range n.Interfaces {
			a.plan.goneIfcs[end{n.Name, ifc.Name}] = ifc
		}
	}
	for i := range a.prev.Directions {
		a.plan.gone[a.prev.Directions[i].Name] = a.prev.Directions[i].ID
	}
}

// nodes gives ids in name order.
func (a *assignment) nodes() {
	order := make([]int, len(a.spec.Nodes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return strings.Compare(a.spec.Nodes[x].GetName(), a.spec.Nodes[y].GetName()) })
	for k, i := range order {
		n := a.spec.Nodes[i]
		field := fmt.Sprintf("nodes[%d].name", i)
		if n.GetName() == "" {
			a.errs.add(field, "a node needs a name")
			continue
		}
		if k > 0 && a.spec.Nodes[order[k-1]].GetName() == n.Name {
			a.errs.add(field, "there is another node %q", n.Name)
			continue
		}
		np := NodePlan{Name: n.Name, Spec: n, index: i}
		if j, ok := a.prevNode(n.Name); ok {
			np.ID = a.prev.Nodes[j].ID
			delete(a.plan.gone, n.Name)
		} else {
			np.ID = a.idOf(n.Name, field)
		}
		a.plan.Nodes = append(a.plan.Nodes, np)
	}
	slices.SortFunc(a.plan.Nodes, func(x, y NodePlan) int { return cmp.Compare(x.ID, y.ID) })
	for i := range a.plan.Nodes {
		a.plan.byName[a.plan.Nodes[i].Name] = i
	}
}

func (a *assignment) prevNode(name string) (int, bool) {
	if a.prev == nil {
		return 0, false
	}
	return a.prev.Node(name)
}

// links names the links and fills in interfaces that were left open.
func (a *assignment) links() {
	pairs := map[end]int{} // links between two nodes
	taken := map[end]bool{}
	for i, l := range a.spec.Links {
		for _, e := range []struct {
			field string
			ep    *labv1.Endpoint
		}{{"a", l.GetA()}, {"b", l.GetB()}} {
			field := fmt.Sprintf("links[%d].%s", i, e.field)
			if _, ok := a.plan.byName[e.ep.GetNode()]; !ok {
				a.errs.add(field+".node", "there is no node %q", e.ep.GetNode())
				continue
			}
			if at := (end{e.ep.Node, e.ep.Interface}); e.ep.Interface != "" {
				if taken[at] {
					a.errs.add(field+".interface", "%s:%s is on another link already", at.node, at.ifc)
				}
				taken[at] = true
			}
		}
		if l.GetA().GetNode() == l.GetB().GetNode() {
			a.errs.add(fmt.Sprintf("links[%d].b.node", i), "a link joins two different nodes")
		}
		pairs[pairOf(l)]++
	}
	if len(a.errs) > 0 {
		return
	}
	for _, l := range a.spec.Links {
		lp := LinkPlan{forward: l.GetForward(), reverse: l.GetReverse(), a: a.claim(l.A, taken), b: a.claim(l.B, taken)}
		a.nameLink(&lp, pairs[pairOf(l)] > 1)
		a.plan.Links = append(a.plan.Links, lp)
	}
	slices.SortFunc(a.plan.Links, func(x, y LinkPlan) int { return strings.Compare(x.Name, y.Name) })
}

// pairOf is the two nodes of a link, in name order.
func pairOf(l *labv1.LinkSpec) end {
	x, y := l.GetA().GetNode(), l.GetB().GetNode()
	return end{min(x, y), max(x, y)}
}

// claim is a link's end, its interface the node's first free ethN where none is named.
func (a *assignment) claim(ep *labv1.Endpoint, taken map[end]bool) end {
	e := end{ep.Node, ep.Interface}
	for n := 0; e.ifc == "" || ep.Interface == "" && taken[e]; n++ {
		e.ifc = fmt.Sprintf("eth%d", n)
	}
	taken[e] = true
	return e
}

// nameLink calls a link "r1--r2", with interfaces where the nodes share another link. A link keeps the name that it has,
// and its ends their order.
func (a *assignment) nameLink(l *LinkPlan, parallel bool) {
	if i, ok := a.prevLinks[[2]end{l.b, l.a}]; ok {
		l.a, l.b, l.forward, l.reverse = l.b, l.a, l.reverse, l.forward
		l.Name = a.prev.Links[i].Name
		return
	}
	if i, ok := a.prevLinks[[2]end{l.a, l.b}]; ok {
		l.Name = a.prev.Links[i].Name
		return
	}
	l.Name = l.a.node + "--" + l.b.node
	if parallel {
		l.Name = l.a.String() + "--" + l.b.String()
	}
}

// directions gives ids in the name order of directions.
func (a *assignment) directions() {
	p := a.plan
	for i := range p.Links {
		l := &p.Links[i]
		x, y, _ := strings.Cut(l.Name, "--")
		p.Directions = append(p.Directions,
			DirectionPlan{Name: x + "->" + y, Link: i, Spec: l.forward, fromEnd: l.a, toEnd: l.b},
			DirectionPlan{Name: y + "->" + x, Link: i, Spec: l.reverse, fromEnd: l.b, toEnd: l.a})
	}
	slices.SortFunc(p.Directions, func(x, y DirectionPlan) int { return strings.Compare(x.Name, y.Name) })
	for i := range p.Directions {
		d := &p.Directions[i]
		d.From, d.To = p.byName[d.fromEnd.node], p.byName[d.toEnd.node]
		if id, ok := a.prevDirection(d); ok {
			d.ID = id
			delete(a.plan.gone, d.Name)
		} else {
			d.ID = a.idOf(d.Name, "links")
		}
	}
	slices.SortFunc(p.Directions, func(x, y DirectionPlan) int { return cmp.Compare(x.ID, y.ID) })
	for i := range p.Directions {
		l := &p.Links[p.Directions[i].Link]
		if p.Directions[i].fromEnd == l.a {
			l.Forward = i
		} else {
			l.Reverse = i
		}
	}
}

// prevDirection is the id of a direction that was there between the same ends. Its link has kept their order.
func (a *assignment) prevDirection(d *DirectionPlan) (sim.Origin, bool) {
	if i, ok := a.prevLinks[[2]end{d.fromEnd, d.toEnd}]; ok {
		return a.prev.Directions[a.prev.Links[i].Forward].ID, true
	}
	if i, ok := a.prevLinks[[2]end{d.toEnd, d.fromEnd}]; ok {
		return a.prev.Directions[a.prev.Links[i].Reverse].ID, true
	}
	return 0, false
}

// interfaces gives each node its link ends.
func (a *assignment) interfaces() {
	p := a.plan
	for i := range p.Directions {
		d := &p.Directions[i]
		n := &p.Nodes[d.From]
		n.Interfaces = append(n.Interfaces, InterfacePlan{Name: d.fromEnd.ifc, Link: d.Link, Out: i, Peer: d.To})
	}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		slices.SortFunc(n.Interfaces, func(x, y InterfacePlan) int {
			return cmp.Or(cmp.Compare(len(x.Name), len(y.Name)), strings.Compare(x.Name, y.Name))
		})
		for j := range n.Interfaces {
			p.Directions[n.Interfaces[j].Out].FromIf = j
		}
		for j, is := range n.Spec.GetInterfaces() {
			if n.ifc(is.GetName()) < 0 {
				a.errs.add(fmt.Sprintf("nodes[%d].interfaces[%d].name", n.index, j), "%s has no link at %q", n.Name, is.GetName())
			}
		}
	}
	for i := range p.Links {
		f, r := &p.Directions[p.Links[i].Forward], &p.Directions[p.Links[i].Reverse]
		f.ToIf, r.ToIf = r.FromIf, f.FromIf
		p.Nodes[f.From].Interfaces[f.FromIf].PeerIf = f.ToIf
		p.Nodes[r.From].Interfaces[r.FromIf].PeerIf = r.ToIf
	}
}

// ifc finds an interface by name; -1 if there is none.
func (n *NodePlan) ifc(name string) int {
	return slices.IndexFunc(n.Interfaces, func(i InterfacePlan) bool { return i.Name == name })
}
