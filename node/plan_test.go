package node

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

func node(name string, kind labv1.NodeKind, ifcs ...*labv1.InterfaceSpec) *labv1.NodeSpec {
	return &labv1.NodeSpec{Name: name, Kind: kind, Interfaces: ifcs}
}

const (
	host   = labv1.NodeKind_NODE_KIND_HOST
	router = labv1.NodeKind_NODE_KIND_ROUTER
)

func at(s string) *labv1.Endpoint {
	n, ifc, _ := strings.Cut(s, ":")
	return &labv1.Endpoint{Node: n, Interface: ifc}
}

func joined(a, b string) *labv1.LinkSpec {
	return &labv1.LinkSpec{A: at(a), B: at(b)}
}

func assign(t *testing.T, spec *labv1.LabSpec, previous *Plan) *Plan {
	t.Helper()
	p, err := Assign(spec, previous)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// String makes a plan readable, and comparable.
func (p *Plan) String() string {
	var b strings.Builder
	for i := range p.Nodes {
		fmt.Fprintf(&b, "%d %s", p.Nodes[i].ID, p.Nodes[i].Name)
		for _, ifc := range p.Nodes[i].Interfaces {
			fmt.Fprintf(&b, " %s=%s,%s", ifc.Name, ifc.Prefix, ifc.MAC)
		}
		b.WriteByte('\n')
	}
	for i := range p.Directions {
		fmt.Fprintf(&b, "%d %s\n", p.Directions[i].ID, p.Directions[i].Name)
	}
	return b.String()
}

// "Origins, MACs, addresses are assigned in name order at creation."
func TestAssignInNameOrder(t *testing.T) {
	spec := &labv1.LabSpec{
		Nodes: []*labv1.NodeSpec{node("server", host), node("r1", router), node("client", host)},
		Links: []*labv1.LinkSpec{joined("r1", "server"), joined("client", "r1")},
	}
	want := `1 client eth0=10.0.0.1/30,02:00:00:00:00:01
2 r1 eth0=10.0.0.6/30,02:00:00:00:00:02 eth1=10.0.0.2/30,02:00:00:00:00:03
3 server eth0=10.0.0.5/30,02:00:00:00:00:04
4 client->r1
5 r1->client
6 r1->server
7 server->r1
`
	want = strings.NewReplacer("10.0.0.6/30", "10.0.0.5/30", "10.0.0.5/30", "10.0.0.6/30").Replace(want)
	if got := assign(t, spec, nil).String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	// The file's order is not the lab's.
	turned := proto.Clone(spec).(*labv1.LabSpec)
	turned.Nodes[0], turned.Nodes[2] = turned.Nodes[2], turned.Nodes[0]
	for i, l := range turned.Links {
		l.A.Interface, l.B.Interface = []string{"eth0", "eth0"}[i], []string{"eth0", "eth1"}[i]
	}
	turned.Links[0], turned.Links[1] = turned.Links[1], turned.Links[0]
	if got := assign(t, turned, nil).String(); got != want {
		t.Errorf("in another order\n%s", got)
	}
}

// "later nodes take the next free ones; nothing renumbers"
func TestAssignKeepsWhatWas(t *testing.T) {
	spec := &labv1.LabSpec{
		Nodes: []*labv1.NodeSpec{node("m", router), node("z", host)},
		Links: []*labv1.LinkSpec{joined("m:eth0", "z:eth0")},
	}
	before := assign(t, spec, nil)
	grown := proto.Clone(spec).(*labv1.LabSpec)
	grown.Nodes = append(grown.Nodes, node("a", host))
	grown.Links = append(grown.Links, joined("a:eth0", "m:eth1"), joined("m:eth2", "z:eth1"))
	after := assign(t, grown, before)
	for _, line := range strings.Split(strings.TrimSpace(before.String()), "\n") {
		if !strings.Contains(after.String(), line) {
			t.Errorf("%q has changed:\n%s", line, after)
		}
	}
	if i, _ := after.Node("a"); after.Nodes[i].ID != 5 {
		t.Errorf("a has id %d, not the next free one:\n%s", after.Nodes[i].ID, after)
	}
	if _, ok := after.Link("m--z"); !ok {
		t.Errorf("m--z has lost its name:\n%s", after)
	}
}

func TestLinkNames(t *testing.T) {
	p := assign(t, &labv1.LabSpec{
		Nodes: []*labv1.NodeSpec{node("r1", router), node("r2", router), node("r3", router)},
		Links: []*labv1.LinkSpec{joined("r1:eth1", "r2:eth2"), joined("r2:eth0", "r1:eth0"), joined("r2", "r3")},
	}, nil)
	for name, want := range map[string]int{
		"r1:eth1--r2:eth2": 2, "r2:eth2--r1:eth1": 2, "r2:eth0--r1:eth0": 2, "r2--r3": 2, "r3--r2": 2,
		"r2->r3": 1, "r3->r2": 1, "r1:eth1->r2:eth2": 1, "r1--r2": 0, "r1->r2": 0, "": 0, "--": 0,
	} {
		if got, _ := p.Link(name); len(got) != want {
			t.Errorf("%q names %d directions, want %d", name, len(got), want)
		}
	}
}

func fixed(name, address string) *labv1.InterfaceSpec {
	return &labv1.InterfaceSpec{Name: name, Address: address}
}

func TestFixedAddresses(t *testing.T) {
	p := assign(t, &labv1.LabSpec{
		Nodes: []*labv1.NodeSpec{
			node("a", host, fixed("eth0", "10.0.0.2/24")), node("b", router, fixed("eth1", "192.168.7.1/31")), node("c", host), node("d", host),
		},
		Links: []*labv1.LinkSpec{joined("a:eth0", "b:eth0"), joined("b:eth1", "c:eth0"), joined("b:eth2", "d:eth0")},
	}, nil)
	for ifc, want := range map[[2]string]string{
		{"a", "eth0"}: "10.0.0.2/24", {"b", "eth0"}: "10.0.0.1/24", // the first free one of the same network
		{"b", "eth1"}: "192.168.7.1/31", {"c", "eth0"}: "192.168.7.0/31",
		{"b", "eth2"}: "10.0.1.1/30", {"d", "eth0"}: "10.0.1.2/30", // 10.0.0.0/24 is taken
	} {
		i, _ := p.Node(ifc[0])
		n := &p.Nodes[i]
		if got := n.Interfaces[n.ifc(ifc[1])].Prefix.String(); got != want {
			t.Errorf("%v has %s, want %s", ifc, got, want)
		}
	}
}

func TestAssignRefuses(t *testing.T) {
	two := func(a, b *labv1.InterfaceSpec) *labv1.LabSpec {
		return &labv1.LabSpec{
			Nodes: []*labv1.NodeSpec{node("a", host, a), node("b", host, b)}, Links: []*labv1.LinkSpec{joined("a:eth0", "b:eth0")},
		}
	}
	for _, c := range []struct {
		name, field string
		spec        *labv1.LabSpec
	}{
		{"duplicate name", "nodes[1].name", &labv1.LabSpec{Nodes: []*labv1.NodeSpec{node("a", host), node("a", host)}}},
		{"no such node", "links[0].b.node", &labv1.LabSpec{Nodes: []*labv1.NodeSpec{node("a", host)}, Links: []*labv1.LinkSpec{joined("a", "b")}}},
		{"link to itself", "links[0].b.node", &labv1.LabSpec{Nodes: []*labv1.NodeSpec{node("a", host)}, Links: []*labv1.LinkSpec{joined("a", "a")}}},
		{"two links on one interface", "links[1].a.interface", &labv1.LabSpec{
			Nodes: []*labv1.NodeSpec{node("a", host), node("b", host), node("c", host)},
			Links: []*labv1.LinkSpec{joined("a:eth0", "b"), joined("a:eth0", "c")}}},
		{"no such interface", "nodes[0].interfaces[0].name", two(fixed("eth7", "10.1.0.1/24"), fixed("eth0", ""))},
		{"same address", "nodes[1].interfaces[0].address", two(fixed("eth0", "10.1.0.1/24"), fixed("eth0", "10.1.0.1/24"))},
		{"two networks on a link", "nodes[1].interfaces[0].address", two(fixed("eth0", "10.1.0.1/24"), fixed("eth0", "10.2.0.2/24"))},
		{"broadcast", "nodes[0].interfaces[0].address", two(fixed("eth0", "10.1.0.255/24"), fixed("eth0", ""))},
		{"not an address", "nodes[0].interfaces[0].address", two(fixed("eth0", "10.1.0/24"), fixed("eth0", ""))},
		{"same MAC", "nodes[1].interfaces[0].mac", two(
			&labv1.InterfaceSpec{Name: "eth0", Mac: "02:00:00:00:00:09"}, &labv1.InterfaceSpec{Name: "eth0", Mac: "02:00:00:00:00:09"})},
		{"group MAC", "nodes[0].interfaces[0].mac", two(&labv1.InterfaceSpec{Name: "eth0", Mac: "01:00:00:00:00:09"}, fixed("eth0", ""))},
		{"overlap", "nodes[2].interfaces[0].address", &labv1.LabSpec{
			Nodes: []*labv1.NodeSpec{node("a", host, fixed("eth0", "10.1.0.1/16")), node("b", router), node("c", host, fixed("eth0", "10.1.9.1/24"))},
			Links: []*labv1.LinkSpec{joined("a:eth0", "b:eth0"), joined("b:eth1", "c:eth0")}}},
	} {
		_, err := Assign(c.spec, nil)
		errs, ok := errors.AsType[FieldErrors](err)
		if !ok || errs[0].Field != c.field {
			t.Errorf("%s: %v, want an error at %s", c.name, err, c.field)
		}
	}
}

// diamond is h1 - r1 - (r2 | r3) - r4 - h2, with a host h3 that has an interface on r2 and one on r4.
func diamond() *labv1.LabSpec {
	return &labv1.LabSpec{
		Seed: 3,
		Nodes: []*labv1.NodeSpec{node("h1", host), node("h2", host), node("h3", host),
			node("r1", router), node("r2", router), node("r3", router), node("r4", router)},
		Links: []*labv1.LinkSpec{joined("h1", "r1"), joined("r1", "r2"), joined("r1", "r3"), joined("r2", "r4"), joined("r3", "r4"),
			joined("r4", "h2"), joined("h3", "r2"), joined("h3", "r4")},
	}
}

func TestShortestPaths(t *testing.T) {
	p := assign(t, diamond(), nil)
	g := newGraph(p, labv1.Family_FAMILY_IPV4)
	rs := newRoutes(g)
	hops := func(from, to string) string {
		i, _ := p.Node(from)
		j, _ := p.Node(to)
		l, ok := g.segment(p.Nodes[j].Interfaces[0].Prefix.Addr())
		if !ok {
			t.Fatalf("no link for %s", to)
		}
		var peers []string
		for _, h := range rs.hops(nil, i, l) {
			peers = append(peers, p.Nodes[h.via.Node].Name)
		}
		return strings.Join(peers, " ")
	}
	for _, c := range [][3]string{
		{"h1", "h2", "r1"}, {"r1", "h2", "r2 r3"}, {"r4", "h1", "r2 r3"},
		{"r2", "h2", "r4"}, // not through the host h3, though it has a way
		{"h3", "h1", "r2"}, {"h3", "h2", "r4"},
	} {
		if got := hops(c[0], c[1]); got != c[2] {
			t.Errorf("from %s to %s by %q, want %q", c[0], c[1], got, c[2])
		}
	}
	if _, ok := g.segment(netip.MustParseAddr("192.0.2.1")); ok {
		t.Error("an address outside the lab has a link")
	}
}

// Flows spread over paths of equal cost, each flow keeps its own, and the seed decides.
func TestFlowsSpread(t *testing.T) {
	dice := sim.NewStream(1, "node r1 ecmp")
	count := [3]int{}
	for flow := range uint32(3000) {
		k := choose(dice, flow*2654435761, 3)
		if k != choose(dice, flow*2654435761, 3) {
			t.Fatal("a flow changes its way")
		}
		count[k]++
	}
	for k, n := range count {
		if n < 900 || n > 1100 {
			t.Errorf("%d of 3000 flows take way %d", n, k)
		}
	}
}

// The tree cache is bounded, and what it forgets it makes again.
func TestTreesAreBounded(t *testing.T) {
	spec := &labv1.LabSpec{}
	const n = 5000
	for i := range n {
		spec.Nodes = append(spec.Nodes, node(fmt.Sprintf("r%04d", i), router))
		if i > 0 {
			spec.Links = append(spec.Links, joined(fmt.Sprintf("r%04d", i-1), fmt.Sprintf("r%04d", i)))
		}
	}
	p := assign(t, spec, nil)
	rs := newRoutes(newGraph(p, labv1.Family_FAMILY_IPV4))
	for l := range p.Links {
		if got := rs.hops(nil, 0, int32(l)); l > 0 && len(got) != 1 {
			t.Fatalf("link %d: %v", l, got)
		}
	}
	if cells := len(rs.trees) * n; cells > maxTreeCells {
		t.Errorf("%d cells are kept, more than %d", cells, maxTreeCells)
	}
}

func TestPartition(t *testing.T) {
	spec := &labv1.LabSpec{}
	const n = 12
	for i := range n {
		spec.Nodes = append(spec.Nodes, node(fmt.Sprintf("n%02d", i), router))
		if i > 0 {
			l := joined(fmt.Sprintf("n%02d", i-1), fmt.Sprintf("n%02d", i))
			l.Forward = &labv1.DirectionSpec{DelayNs: 1e6}
			l.Reverse = &labv1.DirectionSpec{DelayNs: 1e6}
			if i == 4 {
				l.Reverse.DelayNs = 0 // may not be cut
			}
			if i == 6 {
				l.Forward.DelayNs, l.Reverse.DelayNs = 9e6, 9e6 // the best place
			}
			spec.Links = append(spec.Links, l)
		}
	}
	p := assign(t, spec, nil)
	for _, loops := range []int{1, 2, 3, 5, 100} {
		of := Partition(p, loops, nil)
		used := map[int]int{}
		for _, l := range of {
			used[l]++
		}
		if of[3] != of[4] {
			t.Errorf("%d loops: a link without delay is cut: %v", loops, of)
		}
		if len(used) > loops || loops <= n/3 && len(used) != loops {
			t.Errorf("%d loops: %v", loops, of)
		}
		if loops == 2 && (of[5] == of[6] || used[0] != n/2) {
			t.Errorf("two loops, not cut at the longest link: %v", of)
		}
	}
}
