package node

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"labd.dev/node/cut"
	labv1 "labd.dev/proto/lab/v1"
)

// SegmentPlan is what frames reach without a router: a link, or all links that switches join. Its stations share one
// network.
type SegmentPlan struct {
	Subnet   netip.Prefix // none where there are switches alone
	Subnet6  netip.Prefix
	Stations []Station // in the order of node names, then interface names
	Switched bool

	link int // the first of its links, for messages
}

// Station is an interface on a segment that is not a switch's.
type Station struct{ Node, Ifc int }

// switches reports whether a node is a switch.
func (n *NodePlan) switches() bool { return n.kind() == labv1.NodeKind_NODE_KIND_SWITCH }

// kind is the node's kind, a host where its spec says nothing.
func (n *NodePlan) kind() labv1.NodeKind {
	if k := n.Spec.GetKind(); k != labv1.NodeKind_NODE_KIND_UNSPECIFIED {
		return k
	}
	return labv1.NodeKind_NODE_KIND_HOST
}

// segments finds out which links switches join.
func (a *assignment) segments() {
	p := a.plan
	g := cut.NewGroups(make([]int64, len(p.Links)))
	for i := range p.Nodes {
		n := &p.Nodes[i]
		for j := 1; n.switches() && j < len(n.Interfaces); j++ {
			g.Join(n.Interfaces[0].Link, n.Interfaces[j].Link)
		}
	}
	at := make([]int, len(p.Links)) // by a group's root, its segment
	for i := range p.Links {
		if g.Root(i) == i { // the lowest of its group
			at[i] = len(p.Segments)
			p.Segments = append(p.Segments, SegmentPlan{link: i})
		}
	}
	for _, i := range a.byName() {
		n := &p.Nodes[i]
		for j := range n.Interfaces {
			ifc := &n.Interfaces[j]
			ifc.Segment = at[g.Root(ifc.Link)]
			s := &p.Segments[ifc.Segment]
			if n.switches() {
				s.Switched = true
			} else {
				s.Stations = append(s.Stations, Station{i, j})
			}
		}
	}
}

// station is the interface of a station.
func (p *Plan) station(s Station) *InterfacePlan { return &p.Nodes[s.Node].Interfaces[s.Ifc] }

// SwitchLoop names switches that links join to a ring: frames to all, and to stations that no switch has learned of, go
// round there for ever. nil: there is none.
func (p *Plan) SwitchLoop() []string {
	// A walk over the links between switches that comes back to where it was by another link.
	from := make([]int, len(p.Nodes)) // the node that the walk came from, plus one
	depth := make([]int, len(p.Nodes))
	for start := range p.Nodes {
		if !p.Nodes[start].switches() || depth[start] > 0 {
			continue
		}
		depth[start] = 1
		type step struct{ node, link int }
		for stack := []step{{start, -1}}; len(stack) > 0; {
			at := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			for i := range p.Nodes[at.node].Interfaces {
				ifc := &p.Nodes[at.node].Interfaces[i]
				switch {
				case ifc.Link == at.link || !p.Nodes[ifc.Peer].switches():
				case depth[ifc.Peer] > 0:
					return p.ring(from, depth, at.node, ifc.Peer)
				default:
					depth[ifc.Peer], from[ifc.Peer] = depth[at.node]+1, at.node+1
					stack = append(stack, step{ifc.Peer, ifc.Link})
				}
			}
		}
	}
	return nil
}

// ring is the names on the two ways from x and y up to where they meet.
func (p *Plan) ring(from, depth []int, x, y int) []string {
	var left, right []string
	for x != y {
		if depth[x] >= depth[y] {
			left = append(left, p.Nodes[x].Name)
			x = from[x] - 1
		} else {
			right = append(right, p.Nodes[y].Name)
			y = from[y] - 1
		}
	}
	slices.Reverse(right)
	names := append(append(left, p.Nodes[x].Name), right...)
	// From the first by name, in the direction of its lesser neighbour, so that the text does not depend on the walk.
	least := 0
	for i := range names {
		if cmp.Less(names[i], names[least]) {
			least = i
		}
	}
	names = slices.Concat(names[least:], names[:least])
	if len(names) > 2 && strings.Compare(names[len(names)-1], names[1]) < 0 {
		slices.Reverse(names[1:])
	}
	return names
}
