package node

import (
	"labd.dev/node/cut"
	labv1 "labd.dev/proto/lab/v1"
)

// Partition spreads a plan's nodes over at most n loops and gives each node's loop, as node/cut decides. Where here is not
// nil, only the nodes for which it is true are spread; what it says of the others means nothing. The split never changes a
// lab's result.
func Partition(p *Plan, n int, here []bool) []int {
	loops := make([]int, len(p.Nodes))
	if n <= 1 {
		return loops
	}
	lives := func(i int) bool { return here == nil || here[i] }
	spec := &labv1.LabSpec{}
	for i := range p.Nodes {
		if lives(i) {
			spec.Nodes = append(spec.Nodes, &labv1.NodeSpec{Name: p.Nodes[i].Name, Kind: p.Nodes[i].kind()})
		}
	}
	for i := range p.Links {
		f, r := &p.Directions[p.Links[i].Forward], &p.Directions[p.Links[i].Reverse]
		if lives(f.From) && lives(f.To) {
			spec.Links = append(spec.Links, &labv1.LinkSpec{
				A: &labv1.Endpoint{Node: p.Nodes[f.From].Name}, B: &labv1.Endpoint{Node: p.Nodes[f.To].Name},
				Forward: f.Spec, Reverse: r.Spec,
			})
		}
	}
	for name, part := range cut.Parts(spec, n) {
		i, _ := p.Node(name)
		loops[i] = part
	}
	return loops
}
