package cut

import (
	"cmp"
	"slices"
)

// Groups is a union-find over nodes; a group's root is its lowest node.
type Groups struct {
	parent []int
	work   []int64 // by root
	count  int     // groups
}

// NewGroups makes a group of each node by itself, with its work.
func NewGroups(work []int64) *Groups {
	g := &Groups{parent: make([]int, len(work)), work: slices.Clone(work), count: len(work)}
	for i := range g.parent {
		g.parent[i] = i
	}
	return g
}

func (g *Groups) clone() *Groups {
	return &Groups{slices.Clone(g.parent), slices.Clone(g.work), g.count}
}

// Root is a node's group.
func (g *Groups) Root(i int) int {
	for g.parent[i] != i {
		g.parent[i] = g.parent[g.parent[i]]
		i = g.parent[i]
	}
	return i
}

// Join makes one group of the groups of two nodes.
func (g *Groups) Join(x, y int) {
	x, y = g.Root(x), g.Root(y)
	if x == y {
		return
	}
	x, y = min(x, y), max(x, y)
	g.parent[y] = x
	g.work[x] += g.work[y]
	g.count--
}

// deal gives the heaviest group left to the part with the least to do, and tells each node's part.
func (g *Groups) deal(n int) []int {
	var roots []int
	for i := range g.parent {
		if g.Root(i) == i {
			roots = append(roots, i)
		}
	}
	slices.SortStableFunc(roots, func(x, y int) int { return cmp.Compare(g.work[y], g.work[x]) })
	work := make([]int64, n)
	part := make([]int, len(g.parent))
	for _, r := range roots {
		p := slices.Index(work, slices.Min(work))
		part[r] = p
		work[p] += g.work[r]
	}
	for i := range part {
		part[i] = part[g.Root(i)]
	}
	return part
}
