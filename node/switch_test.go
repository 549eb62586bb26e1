package node

import (
	"fmt"
	"strings"
	"testing"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

const switched = labv1.NodeKind_NODE_KIND_SWITCH

// lan is hosts on one switch.
func lan(hosts ...string) *labv1.LabSpec {
	spec := &labv1.LabSpec{Seed: 1, Nodes: []*labv1.NodeSpec{node("sw", switched)}}
	for _, h := range hosts {
		spec.Nodes = append(spec.Nodes, node(h, host))
		l := joined(h+":eth0", "sw:"+h)
		l.B.Interface = fmt.Sprintf("eth%d", len(spec.Links))
		l.Forward = &labv1.DirectionSpec{DelayNs: 1e6, RateBps: 1e8}
		l.Reverse = &labv1.DirectionSpec{DelayNs: 1e6, RateBps: 1e8}
		spec.Links = append(spec.Links, l)
	}
	return spec
}

func pingInput(id, from, to string, count uint32) *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{Id: id, From: from, To: to, Count: count}}}
}

func (s *scene) node(name string) *Node {
	s.t.Helper()
	i, ok := s.net.Plan().Node(name)
	if !ok {
		s.t.Fatalf("no node %s", name)
	}
	return s.net.Nodes()[i]
}

func (s *scene) wantLine(part string) {
	s.t.Helper()
	if !strings.Contains(strings.Join(s.report.lines, "\n"), part) {
		s.t.Errorf("no %q in:\n%s", part, strings.Join(s.report.lines, "\n"))
	}
}

// Several hosts on one segment share one network, and frames find their way after one flood.
func TestSwitchFloodsThenLearns(t *testing.T) {
	s := newScene(t, lan("a", "b", "c"))
	for _, n := range []string{"a", "b", "c"} {
		if got := s.node(n).ports[0].Plan.Prefix.Masked().String(); got != "10.0.0.0/24" {
			t.Errorf("%s is in %s", n, got)
		}
	}
	s.input(pingInput("p1", "a", "b", 5))
	s.advance(10 * sim.Second)
	s.wantLine("5 packets transmitted, 5 received")
	sw := s.node("sw").learner
	// The request for b's address goes to all, the answer and the ten ICMP messages to one port each.
	if sw.flooded != 1 || sw.forwarded != 11 {
		t.Errorf("%d frames flooded, %d forwarded, want 1 and 11", sw.flooded, sw.forwarded)
	}
	if got := s.node("c").ports[0].rxPackets; got != 1 {
		t.Errorf("c has seen %d frames, want the one flood", got)
	}
}

// IEEE 802.1Q 8.8.3: what was learned is forgotten after the ageing time. The neighbours' ARP entries live as long as
// they are told here, so that the first frame after the pause is unicast.
func TestSwitchForgets(t *testing.T) {
	for _, c := range []struct {
		pause sim.Time
		flood uint64
	}{{299 * sim.Second, 0}, {301 * sim.Second, 1}} {
		spec := lan("a", "b", "c")
		hour := int64(3600e9)
		for _, n := range spec.Nodes[1:] {
			n.Ip = &labv1.IpSettings{ArpTimeoutNs: &hour}
		}
		s := newScene(t, spec)
		s.input(pingInput("p1", "a", "b", 1))
		s.advance(sim.Second)
		before := s.node("sw").learner.flooded
		s.advance(c.pause)
		s.input(pingInput("p2", "a", "b", 1))
		s.advance(c.pause + sim.Second)
		if got := s.node("sw").learner.flooded - before; got != c.flood {
			t.Errorf("after %v: %d frames flooded, want %d", c.pause, got, c.flood)
		}
	}
}

// The table is bounded: a station too many is not learned, and nothing that was learned is lost for it.
func TestSwitchTableIsBounded(t *testing.T) {
	s := newScene(t, lan("a", "b"))
	n := s.node("sw")
	for i := range maxLearned + 10 {
		n.learner.learn(wire.MAC{2, 1, 0, 0, byte(i >> 8), byte(i)}, n.ports[0])
	}
	if len(n.learner.table) != maxLearned || n.learner.find(wire.MAC{2, 1, 0, 0, 0, 0}) == nil {
		t.Errorf("%d entries, the first %v", len(n.learner.table), n.learner.find(wire.MAC{2, 1, 0, 0, 0, 0}))
	}
	s.advance(ageing)
	n.learner.learn(wire.MAC{2, 2}, n.ports[1])
	if len(n.learner.table) != maxLearned || n.learner.find(wire.MAC{2, 2}) == nil {
		t.Error("an aged entry does not make room")
	}
}

// A host behind a router reaches hosts behind switches: routes lead to segments.
func TestRoutesOverSwitches(t *testing.T) {
	spec := lan("a", "b")
	spec.Nodes = append(spec.Nodes, node("r", router), node("s2", switched), node("far", host))
	spec.Links = append(spec.Links, joined("r:eth0", "sw:eth9"), joined("r:eth1", "s2:eth0"), joined("far:eth0", "s2:eth1"))
	s := newScene(t, spec)
	s.input(pingInput("p1", "b", "far", 2))
	s.advance(5 * sim.Second)
	s.wantLine("2 packets transmitted, 2 received")
}

func TestSwitchLoopIsFound(t *testing.T) {
	ring := func(links ...string) *Plan {
		spec := &labv1.LabSpec{Nodes: []*labv1.NodeSpec{node("s1", switched), node("s2", switched), node("s3", switched), node("s4", switched), node("h", host)}}
		for _, l := range links {
			a, b, _ := strings.Cut(l, " ")
			spec.Links = append(spec.Links, joined(a, b))
		}
		return assign(t, spec, nil)
	}
	for _, c := range []struct {
		links []string
		want  string
	}{
		{[]string{"s1 s2", "s2 s3", "h s1"}, ""},
		{[]string{"s1 s2", "s2 s3", "s3 s1", "h s1"}, "s1 s2 s3"},
		{[]string{"s4 s1", "s1 s2", "s3 s2", "s4 s3", "h s1"}, "s1 s2 s3 s4"},
		{[]string{"s1 s2", "s1 s2"}, "s1 s2"},
	} {
		if got := strings.Join(ring(c.links...).SwitchLoop(), " "); got != c.want {
			t.Errorf("%v: %q, want %q", c.links, got, c.want)
		}
	}
}
