package node

import (
	"net/netip"
	"slices"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// graph is a lab's topology as routing of one version of IP sees it: nodes on segments. It never changes, so the loops of a lab share it; a
// lab that changes gets another.
type graph struct {
	plan     *Plan
	forwards []bool // by node
	bySubnet map[netip.Prefix]int32
	bits     []int // lengths of the subnets there are, the longest first
}

func newGraph(p *Plan, version labv1.Family) *graph {
	g := &graph{plan: p, bySubnet: map[netip.Prefix]int32{}}
	for i := range p.Nodes {
		g.forwards = append(g.forwards, p.Nodes[i].kind() == labv1.NodeKind_NODE_KIND_ROUTER && p.Nodes[i].speaks(version))
	}
	var have [129]bool
	for i := range p.Segments {
		net := p.Segments[i].Subnet
		if version == labv1.Family_FAMILY_IPV6 {
			net = p.Segments[i].Subnet6
		}
		if net.IsValid() {
			g.bySubnet[net] = int32(i)
			have[net.Bits()] = true
		}
	}
	for b := 128; b >= 0; b-- {
		if have[b] {
			g.bits = append(g.bits, b)
		}
	}
	return g
}

// segment finds the segment whose network an address is in.
func (g *graph) segment(dst netip.Addr) (int32, bool) {
	for _, b := range g.bits {
		net, err := dst.Prefix(b)
		if err != nil {
			return 0, false
		}
		if s, ok := g.bySubnet[net]; ok {
			return s, true
		}
	}
	return 0, false
}

// tree holds every node's distance, in routers, to one segment's network.
type tree struct{ dist []int32 }

const unreachable = -1

// build is a breadth-first search from the nodes that lead onto the segment: its routers, or where it has none its
// hosts. Only routers pass on what is not theirs.
func (g *graph) build(segment int32) *tree {
	p := g.plan
	t := &tree{dist: make([]int32, len(p.Nodes))}
	for i := range t.dist {
		t.dist[i] = unreachable
	}
	stations := p.Segments[segment].Stations
	routed := slices.ContainsFunc(stations, func(s Station) bool { return g.forwards[s.Node] })
	var queue []int
	for _, s := range stations {
		if (g.forwards[s.Node] || !routed) && t.dist[s.Node] == unreachable {
			t.dist[s.Node] = 0
			queue = append(queue, s.Node)
		}
	}
	seen := make([]bool, len(p.Segments))
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		if t.dist[n] > 0 && !g.forwards[n] {
			continue
		}
		for i := range p.Nodes[n].Interfaces {
			at := p.Nodes[n].Interfaces[i].Segment
			if seen[at] {
				continue // its stations are at most as far as the first who came here says
			}
			seen[at] = true
			for _, s := range p.Segments[at].Stations {
				if t.dist[s.Node] == unreachable {
					t.dist[s.Node] = t.dist[n] + 1
					queue = append(queue, s.Node)
				}
			}
		}
	}
	return t
}

// maxTreeCells bounds what one loop keeps of trees: 16 million distances, 64 MB. A lab of 4,000 nodes keeps them all.
const maxTreeCells = 16 << 20

// routes is one loop's view of the graph: trees are made when first asked for, the oldest go when there are too many.
type routes struct {
	g     *graph
	trees map[int32]*tree
	order []int32 // of making
}

func newRoutes(g *graph) *routes { return &routes{g: g, trees: map[int32]*tree{}} }

func (r *routes) tree(segment int32) *tree {
	if t := r.trees[segment]; t != nil {
		return t
	}
	if len(r.order) > 0 && (len(r.order)+1)*len(r.g.plan.Nodes) > maxTreeCells {
		delete(r.trees, r.order[0])
		r.order = r.order[1:]
	}
	t := r.g.build(segment)
	r.trees[segment] = t
	r.order = append(r.order, segment)
	return t
}

// hop is a way on: out of an interface, to a router on its segment.
type hop struct {
	ifc int
	via Station
}

// hops appends the ways from a node that lie on a shortest path to a segment's network.
func (r *routes) hops(to []hop, node int, segment int32) []hop {
	t, p := r.tree(segment), r.g.plan
	own := t.dist[node]
	if own <= 0 {
		return to
	}
	for i := range p.Nodes[node].Interfaces {
		for _, s := range p.Segments[p.Nodes[node].Interfaces[i].Segment].Stations {
			if d := t.dist[s.Node]; d == own-1 && (d == 0 || r.g.forwards[s.Node]) {
				to = append(to, hop{i, s})
			}
		}
	}
	return to
}

// choose picks one of n equal hops for a flow, each node with dice of its own, so that what one node sent one way the
// next node spreads again.
func choose(dice sim.Stream, flow uint32, n int) int { return int(dice.Below(uint64(flow), uint64(n))) }
