package main

import (
	"fmt"
	"time"

	labv1 "labd.dev/proto/lab/v1"
)

const (
	linkRate  = 1_000_000_000
	linkDelay = 100 * time.Microsecond
)

// fatTree is a lab of about n nodes in three layers of routers of k ports: k pods of k/2 edge and k/2 aggregation routers,
// k*k/4 cores, and behind each edge router as many hosts as make up the rest.
func fatTree(n int) *labv1.LabSpec {
	k := 4
	for (k+2)*(k+2)*5/4+(k+2)*(k+2)*(k+2)/4 <= n {
		k += 2
	}
	t := &topology{spec: &labv1.LabSpec{Name: fmt.Sprintf("fat-tree-%d", n), Seed: 1, Clock: labv1.Clock_CLOCK_VIRTUAL}}
	half := k / 2
	for c := range half * half {
		t.node(core(c), labv1.NodeKind_NODE_KIND_ROUTER)
	}
	for pod := range k {
		for a := range half {
			t.node(aggregation(pod, a), labv1.NodeKind_NODE_KIND_ROUTER)
			for c := range half {
				t.link(aggregation(pod, a), core(a*half+c))
			}
		}
		for e := range half {
			t.node(edge(pod, e), labv1.NodeKind_NODE_KIND_ROUTER)
			for a := range half {
				t.link(edge(pod, e), aggregation(pod, a))
			}
		}
	}
	for h := 0; len(t.spec.Nodes) < n; h++ {
		name := fmt.Sprintf("h%d", h)
		t.node(name, labv1.NodeKind_NODE_KIND_HOST)
		at := h % (k * half)
		t.link(name, edge(at/half, at%half))
	}
	return t.spec
}

func core(i int) string             { return fmt.Sprintf("core%d", i) }
func aggregation(pod, i int) string { return fmt.Sprintf("agg%d-%d", pod, i) }
func edge(pod, i int) string        { return fmt.Sprintf("edge%d-%d", pod, i) }

type topology struct{ spec *labv1.LabSpec }

func (t *topology) node(name string, kind labv1.NodeKind) {
	t.spec.Nodes = append(t.spec.Nodes, &labv1.NodeSpec{Name: name, Kind: kind})
}

func (t *topology) link(a, b string) {
	t.spec.Links = append(t.spec.Links, &labv1.LinkSpec{
		A: &labv1.Endpoint{Node: a}, B: &labv1.Endpoint{Node: b},
		Forward: &labv1.DirectionSpec{RateBps: linkRate, DelayNs: int64(linkDelay)},
		Reverse: &labv1.DirectionSpec{RateBps: linkRate, DelayNs: int64(linkDelay)},
	})
}
