package cut

import (
	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// What a node does for each frame, measured in half a router's hop (docs/performance.md: a hop costs 54 ns, a segment with
// its acknowledgement 247 at both its ends together).
const (
	hostWork   = 4
	routerWork = 2
	switchWork = 2
)

const (
	// unlimitedRate is what a link without a rate is taken to carry, bits per second.
	unlimitedRate = 10e9
	// frameRate is the rate, in bits per second, that is one unit of frames.
	frameRate = 1e6
	// settling is how often the bounds of what links carry are handed on from node to node: thin access links bound a
	// backbone a few routers away.
	settling = 4
)

// JitterEarly is how much sooner than its delay a frame may arrive at most.
func JitterEarly(j *labv1.Jitter) sim.Time {
	c := link.Config{Jitter: link.Jitter{Amount: sim.Time(max(j.GetAmountNs(), 0))}}
	switch j.GetDistribution() {
	case labv1.Distribution_DISTRIBUTION_NORMAL:
		c.Jitter.Dist = link.Normal
	case labv1.Distribution_DISTRIBUTION_PARETO:
		c.Jitter.Dist = link.Pareto
	}
	return c.Effective().JitterEarly()
}

// weigh estimates each link's frames and each node's work. A link carries at most its rate, and through a node that only
// forwards no more than that node's other links bring; what hosts really send nobody knows beforehand.
func (l *lab) weigh() {
	g := &l.graph
	rate := make([]int64, len(g.Edges))
	at := make([][]int, len(l.names)) // the edges of each node
	for i := range g.Edges {
		bps := min(l.links[i].rate, uint64(unlimitedRate)*1000)
		if bps == 0 {
			bps = unlimitedRate
		}
		rate[i] = max(int64(bps/frameRate), 1)
		at[g.Edges[i].A], at[g.Edges[i].B] = append(at[g.Edges[i].A], i), append(at[g.Edges[i].B], i)
		g.Edges[i].Frames = rate[i]
	}
	through := make([]int64, len(l.names))
	for range settling {
		for n := range l.names {
			through[n] = 0
			for _, i := range at[n] {
				through[n] += g.Edges[i].Frames
			}
		}
		for i := range g.Edges {
			e := &g.Edges[i]
			carries := rate[i]
			for _, n := range []int{e.A, e.B} {
				if !l.host(n) {
					carries = min(carries, through[n]-e.Frames)
				}
			}
			e.Frames = max(carries, 1)
		}
	}
	g.Work = make([]int64, len(l.names))
	for n := range l.names {
		for _, i := range at[n] {
			g.Work[n] += g.Edges[i].Frames
		}
		g.Work[n] = g.Work[n]*l.work(n) + 1
	}
}

func (l *lab) host(n int) bool {
	return l.kinds[n] != labv1.NodeKind_NODE_KIND_ROUTER && l.kinds[n] != labv1.NodeKind_NODE_KIND_SWITCH
}

func (l *lab) work(n int) int64 {
	switch l.kinds[n] {
	case labv1.NodeKind_NODE_KIND_ROUTER:
		return routerWork
	case labv1.NodeKind_NODE_KIND_SWITCH:
		return switchWork
	}
	return hostWork
}
