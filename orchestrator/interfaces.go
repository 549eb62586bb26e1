package orchestrator

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
)

// keepInterfaces gives the links of a changed file the interfaces that they have in the running lab. A file that leaves
// interfaces out has them numbered in its order, so that a link taken out or put in would move all that follow it to
// others, and with them their addresses. A link is the same one where it is the only one between its nodes in both; an
// end of it is taken for shifted where another link has come to its interface, or has had the one that the file gives it.
// Nodes whose file sets interfaces by name are left as they are written.
func keepInterfaces(running, file *labv1.LabSpec) *labv1.LabSpec {
	out := proto.CloneOf(file)
	was, is := linksByPair(running), linksByPair(out)
	before, now := usedInterfaces(running), usedInterfaces(out)
	fixed := map[string]bool{}
	for _, n := range out.GetNodes() {
		fixed[n.GetName()] = len(n.GetInterfaces()) > 0
	}
	taken := map[string]bool{}
	var moved []*labv1.Endpoint // ends of links that are new
	for _, l := range out.GetLinks() {
		pair := pairOf(l)
		same := len(was[pair]) == 1 && len(is[pair]) == 1
		for _, e := range []*labv1.Endpoint{l.GetA(), l.GetB()} {
			if fixed[e.GetNode()] {
				continue
			}
			if !same {
				moved = append(moved, e)
				continue
			}
			old := endAt(was[pair][0], e.GetNode())
			if before[endName(e)] || now[endName(old)] {
				e.Interface = old.GetInterface()
			}
			taken[endName(e)] = true
		}
	}
	for _, e := range moved {
		for n := 0; taken[endName(e)]; n++ {
			e.Interface = fmt.Sprintf("eth%d", n)
		}
		taken[endName(e)] = true
	}
	return out
}

func endName(e *labv1.Endpoint) string { return e.GetNode() + ":" + e.GetInterface() }

// endAt is a link's end at a node.
func endAt(l *labv1.LinkSpec, node string) *labv1.Endpoint {
	if l.GetA().GetNode() == node {
		return l.GetA()
	}
	return l.GetB()
}

func pairOf(l *labv1.LinkSpec) [2]string {
	a, b := l.GetA().GetNode(), l.GetB().GetNode()
	return [2]string{min(a, b), max(a, b)}
}

func linksByPair(spec *labv1.LabSpec) map[[2]string][]*labv1.LinkSpec {
	out := map[[2]string][]*labv1.LinkSpec{}
	for _, l := range spec.GetLinks() {
		out[pairOf(l)] = append(out[pairOf(l)], l)
	}
	return out
}

func usedInterfaces(spec *labv1.LabSpec) map[string]bool {
	out := map[string]bool{}
	for _, l := range spec.GetLinks() {
		out[endName(l.GetA())], out[endName(l.GetB())] = true, true
	}
	return out
}
