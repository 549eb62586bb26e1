package node

import (
	"net/netip"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// graph is a lab's topology as routing sees it. It never changes, so the loops of a lab share it.
type graph struct {
	plan     *Plan
	forwards []bool // by node
	bySubnet map[netip.Prefix]int32
	bits     []int // lengths of the subnets there are, the longest first
}

func newGraph(p *Plan) *graph {
	g := &graph{plan: p, bySubnet: map[netip.Prefix]int32{}}
	for i := range p.Nodes {
		g.forwards = append(g.forwards, p.Nodes[i].Spec.GetKind() == labv1.NodeKind_NODE_KIND_ROUTER)
	}
	var have [33]bool
	for i := range p.Links {
		g.bySubnet[p.Links[i].Subnet] = int32(i)
		have[p.Links[i].Subnet.Bits()] = true
	}
	for b := 32; b >= 0; b-- {
		if have[b] {
			g.bits = append(g.bits, b)
		}
	}
	return g
}

// link finds the link whose network an address is in.
func (g *graph) link(dst netip.Addr) (int32, bool) {
	for _, b := range g.bits {
		net, err := dst.Prefix(b)
		if err != nil {
			return 0, false
		}
		if l, ok := g.bySubnet[net]; ok {
			return l, true
		}
	}
	return 0, false
}

// tree holds every node's distance, in hops, to one link's network.
type tree struct{ dist []int32 }

const unreachable = -1

// build is a breadth-first search from the nodes that lead onto the link: its routers, or where it has none its hosts.
// Only routers pass on what is not theirs.
func (g *graph) build(link int32) *tree {
	p := g.plan
	t := &tree{dist: make([]int32, len(p.Nodes))}
	for i := range t.dist {
		t.dist[i] = unreachable
	}
	d := &p.Directions[p.Links[link].Forward]
	var queue []int32
	for _, n := range []int{d.From, d.To} {
		if g.forwards[n] || !g.forwards[d.From] && !g.forwards[d.To] {
			t.dist[n] = 0
			queue = append(queue, int32(n))
		}
	}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		if t.dist[n] > 0 && !g.forwards[n] {
			continue
		}
		for i := range p.Nodes[n].Interfaces {
			if peer := p.Nodes[n].Interfaces[i].Peer; t.dist[peer] == unreachable {
				t.dist[peer] = t.dist[n] + 1
				queue = append(queue, int32(peer))
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

func (r *routes) tree(link int32) *tree {
	if t := r.trees[link]; t != nil {
		return t
	}
	if len(r.order) > 0 && (len(r.order)+1)*len(r.g.plan.Nodes) > maxTreeCells {
		delete(r.trees, r.order[0])
		r.order = r.order[1:]
	}
	t := r.g.build(link)
	r.trees[link] = t
	r.order = append(r.order, link)
	return t
}

// hops appends the interfaces of a node that lie on a shortest path to a link's network.
func (r *routes) hops(to []int, node int, link int32) []int {
	t := r.tree(link)
	own := t.dist[node]
	if own <= 0 {
		return to
	}
	for i := range r.g.plan.Nodes[node].Interfaces {
		peer := r.g.plan.Nodes[node].Interfaces[i].Peer
		if d := t.dist[peer]; d == own-1 && (d == 0 || r.g.forwards[peer]) {
			to = append(to, i)
		}
	}
	return to
}

// choose picks one of n equal hops for a flow, each node with dice of its own, so that what one node sent one way the
// next node spreads again.
func choose(dice sim.Stream, flow uint32, n int) int { return int(dice.Below(uint64(flow), uint64(n))) }
