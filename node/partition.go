package node

import (
	"cmp"
	"slices"

	"labd.dev/sim"
)

// Partition spreads a plan's nodes over at most n loops and gives each node's loop. It cuts only links whose delay is
// not zero, prefers to cut long ones, and is a function of its arguments alone. The split never changes a lab's result.
func Partition(p *Plan, n int) []int {
	loops := make([]int, len(p.Nodes))
	if n <= 1 || len(p.Nodes) == 0 {
		return loops
	}
	g := groups{parent: make([]int, len(p.Nodes)), size: make([]int, len(p.Nodes))}
	for i := range g.parent {
		g.parent[i], g.size[i] = i, 1
	}
	// Nodes grow together along the shortest links first, up to a fair share each.
	share := (len(p.Nodes) + n - 1) / n
	order := make([]int, len(p.Links))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(p.leastDelay(x), p.leastDelay(y)) })
	for _, i := range order {
		d := &p.Directions[p.Links[i].Forward]
		x, y := g.root(d.From), g.root(d.To)
		if x != y && (p.leastDelay(i) == 0 || g.size[x]+g.size[y] <= share) {
			g.join(x, y)
		}
	}
	g.deal(loops, n)
	return loops
}

// leastDelay is the least time a frame can be under way on a link, jitter taken off; 0 where it may reach none.
func (p *Plan) leastDelay(link int) sim.Time {
	l := &p.Links[link]
	least := sim.Never
	for _, i := range []int{l.Forward, l.Reverse} {
		c := linkConfig(p.Directions[i].Spec)
		if c.Delay == 0 {
			return 0
		}
		if t := c.Effective().Lookahead(); t < least {
			least = t
		}
	}
	if least <= 1 {
		return 0
	}
	return least
}

// groups is a union-find over nodes; a group's root is its lowest node.
type groups struct{ parent, size []int }

func (g *groups) root(i int) int {
	for g.parent[i] != i {
		g.parent[i] = g.parent[g.parent[i]]
		i = g.parent[i]
	}
	return i
}

func (g *groups) join(x, y int) {
	x, y = min(x, y), max(x, y)
	g.parent[y] = x
	g.size[x] += g.size[y]
}

// deal gives the largest group left to the emptiest loop.
func (g *groups) deal(loops []int, n int) {
	var roots []int
	for i := range g.parent {
		if g.root(i) == i {
			roots = append(roots, i)
		}
	}
	slices.SortStableFunc(roots, func(x, y int) int { return cmp.Compare(g.size[y], g.size[x]) })
	load := make([]int, n)
	of := make([]int, len(g.parent))
	for _, r := range roots {
		l := slices.Index(load, slices.Min(load))
		of[r] = l
		load[l] += g.size[r]
	}
	for i := range loops {
		loops[i] = of[g.root(i)]
	}
}
