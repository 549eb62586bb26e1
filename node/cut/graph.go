// Package cut decides where a lab is split, over event loops or over workers. It never decides what a lab does: any split
// gives the same result, and a good one gives it sooner.
package cut

import (
	"cmp"
	"slices"

	"labd.dev/sim"
)

// Graph is a lab as the cut sees it: how much work each node is, and what joins them.
type Graph struct {
	Work  []int64 // by node, in some unit; at least 1
	Edges []Edge
}

// Edge is a link between two nodes.
type Edge struct {
	A, B int
	// Least is the least time a frame may be under way on it, either way, ever; 0: it may be none, and the edge is never cut.
	Least sim.Time
	// Frames is what is expected to pass along it, in Graph.Work's unit for a frame that need not cross.
	Frames int64
}

const (
	// crossingCost is the work of sending and receiving a frame over the cut, beside that of a node that forwards it: it is
	// encoded, copied and written, and read, copied and decoded (docs/performance.md).
	crossingCost = 4
	// windowCost is the lab time in which a part does as much work as an exchange between windows costs, where it runs
	// about as fast as the wall clock: a lookahead of that length makes the exchange half of all work.
	windowCost = 100 * sim.Microsecond
	// maxTries bounds the lookaheads that are tried: each costs a walk over all edges.
	maxTries = 12
	// refinements bounds the walks that move a border to where less crosses it: what a fourth finds is little.
	refinements = 4
	// slackPercent is how much heavier than its share a part may grow so that less crosses.
	slackPercent = 10
)

// Parts parts the nodes into at most n parts and gives each node's. It is a function of its arguments alone. No edge that
// may have no delay is cut, so that there may be fewer than n; the parts that there are hold at least one node each and are
// numbered by their first nodes. Of the splits it tries, one for each length of lookahead, it takes the one whose heaviest
// part has the least to do, crossings and windows counted in.
func (g *Graph) Parts(n int) []int {
	best := g.try(n, 1)
	least := g.cost(best, n)
	for _, ahead := range g.lookaheads() {
		if part := g.try(n, ahead); parts(part) >= parts(best) {
			if c := g.cost(part, n); parts(part) > parts(best) || c < least {
				best, least = part, c
			}
		}
	}
	return best
}

// Lookahead is the least delay of any edge between parts; sim.Never if there is none.
func (g *Graph) Lookahead(part []int) sim.Time {
	ahead := sim.Never
	for i := range g.Edges {
		if e := &g.Edges[i]; part[e.A] != part[e.B] {
			ahead = min(ahead, e.Least)
		}
	}
	return ahead
}

// parts counts the parts of a split.
func parts(part []int) int {
	if len(part) == 0 {
		return 0
	}
	return slices.Max(part) + 1
}

// lookaheads are those to be tried, the longest first: of all delays that there are, or of some spread evenly over them.
func (g *Graph) lookaheads() []sim.Time {
	var all []sim.Time
	for i := range g.Edges {
		if t := g.Edges[i].Least; t > 1 {
			all = append(all, t)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	slices.Reverse(all)
	if len(all) <= maxTries {
		return all
	}
	some := make([]sim.Time, maxTries)
	for i := range some {
		some[i] = all[i*(len(all)-1)/(maxTries-1)]
	}
	return some
}

// cost is how long the heaviest part works, were each unit a unit of time.
func (g *Graph) cost(part []int, n int) float64 {
	work := make([]int64, n)
	for i, p := range part {
		work[p] += g.Work[i]
	}
	for i := range g.Edges {
		if e := &g.Edges[i]; part[e.A] != part[e.B] {
			work[part[e.A]] += crossingCost * e.Frames
			work[part[e.B]] += crossingCost * e.Frames
		}
	}
	heaviest := float64(slices.Max(work))
	if ahead := g.Lookahead(part); ahead != sim.Never {
		heaviest += float64(heaviest * float64(float64(windowCost)/float64(ahead)))
	}
	return heaviest
}

// try parts the nodes without cutting any edge of less than ahead.
func (g *Graph) try(n int, ahead sim.Time) []int {
	grown := NewGroups(g.Work)
	for i := range g.Edges {
		if e := &g.Edges[i]; e.Least < ahead {
			grown.Join(e.A, e.B)
		}
	}
	whole := grown.clone() // what may not be parted
	share := (sum(g.Work) + int64(n) - 1) / int64(n)
	// Groups grow together where most passes between them, up to a fair share each.
	order := make([]int, len(g.Edges))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(g.Edges[y].Frames, g.Edges[x].Frames) })
	for _, i := range order {
		x, y := grown.Root(g.Edges[i].A), grown.Root(g.Edges[i].B)
		if x != y && grown.count > n && grown.work[x]+grown.work[y] <= share {
			grown.Join(x, y)
		}
	}
	part := grown.deal(n)
	g.refine(part, whole, n, share+share*slackPercent/100)
	return numbered(part)
}

// refine moves what may not be parted over to the part that it has most to do with, as long as that does not become too
// heavy and none becomes empty.
func (g *Graph) refine(part []int, whole *Groups, n int, heaviest int64) {
	edges := make([][]int32, len(part)) // by root, those that lead out of its group
	for i := range g.Edges {
		if x, y := whole.Root(g.Edges[i].A), whole.Root(g.Edges[i].B); x != y {
			edges[x], edges[y] = append(edges[x], int32(i)), append(edges[y], int32(i))
		}
	}
	work, members := make([]int64, n), make([]int, n)
	for i := range part {
		if whole.Root(i) == i {
			work[part[i]] += whole.work[i]
			members[part[i]]++
		}
	}
	moved := true
	for range refinements {
		if !moved {
			break
		}
		moved = false
		for i := range part {
			if len(edges[i]) == 0 || members[part[i]] == 1 {
				continue
			}
			to, ok := g.nearest(i, part, whole, edges[i], n)
			if !ok || work[to]+whole.work[i] > heaviest {
				continue
			}
			work[part[i]] -= whole.work[i]
			members[part[i]]--
			part[i] = to
			work[to] += whole.work[i]
			members[to]++
			moved = true
		}
	}
	for i := range part {
		part[i] = part[whole.Root(i)]
	}
}

// nearest is the part with which a group exchanges more than with its own; parts are looked up by the groups' roots.
func (g *Graph) nearest(group int, part []int, whole *Groups, edges []int32, n int) (to int, ok bool) {
	frames := make(map[int]int64, 4)
	for _, i := range edges {
		e := &g.Edges[i]
		other := whole.Root(e.A)
		if other == group {
			other = whole.Root(e.B)
		}
		frames[part[other]] += e.Frames
	}
	most := frames[part[group]]
	for p := range n {
		if frames[p] > most {
			to, ok, most = p, true, frames[p]
		}
	}
	return to, ok
}

// numbered numbers parts by their first nodes, without gaps.
func numbered(part []int) []int {
	as := map[int]int{}
	for i, p := range part {
		if _, ok := as[p]; !ok {
			as[p] = len(as)
		}
		part[i] = as[p]
	}
	return part
}

func sum(list []int64) (n int64) {
	for _, x := range list {
		n += x
	}
	return n
}
