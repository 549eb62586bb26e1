package node

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

func (s *scene) apply(change func(*labv1.LabSpec)) {
	spec := proto.Clone(s.net.cfg.Spec).(*labv1.LabSpec)
	change(spec)
	s.input(&labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: spec}}})
}

func transferInput(id, from, to string, bytes uint64) *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{Id: id, From: from, To: to,
		Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: bytes}}}}
}

// "nodes and links added, removed, re-parametrised, addresses kept, connections that can live on live on".
func TestConnectionsLiveOnOverAnApply(t *testing.T) {
	s := newScene(t, line3())
	before := s.net.Plan().String()
	s.input(transferInput("t1", "a", "b", 20e6))
	s.advance(100 * sim.Millisecond)
	if len(s.node("a").stack.Conns()) != 1 {
		t.Fatal("no connection is open")
	}
	s.apply(func(spec *labv1.LabSpec) {
		spec.Nodes = append(spec.Nodes, node("c", host))
		spec.Links = append(spec.Links, joined("c", "r"))
		spec.Links[0].Forward.DelayNs = 30e6
	})
	if got := s.spec("a->r").DelayNs; got != 30e6 {
		t.Errorf("delay of a->r is %d", got)
	}
	s.input(pingInput("p1", "c", "b", 1))
	s.advance(20 * sim.Second)
	s.wantLine("1 packets transmitted, 1 received")
	if s.node("a").Busy() || len(s.node("b").stack.TimeWaits())+len(s.node("a").stack.TimeWaits()) != 1 {
		t.Error("the transfer has not ended in order")
	}
	s.apply(func(spec *labv1.LabSpec) {
		spec.Nodes, spec.Links = spec.Nodes[:3], spec.Links[:2]
	})
	if got := s.net.Plan().String(); got != before {
		t.Errorf("the plan is now\n%sit was\n%s", got, before)
	}
	// Who comes back is the same, and goes on counting.
	s.apply(func(spec *labv1.LabSpec) {
		spec.Nodes = append(spec.Nodes, node("c", host))
		spec.Links = append(spec.Links, joined("c", "r"))
	})
	if c := s.node("c"); c.id.Boots != 2 || c.id.Packets == 0 {
		t.Errorf("c has booted %d times and sent %d packets", c.id.Boots, c.id.Packets)
	}
	s.input(pingInput("p2", "a", "c", 1))
	s.advance(25 * sim.Second)
	s.wantLine("p2 1 packets transmitted, 1 received")
}

// Busy is for the test above.
func (n *Node) Busy() bool { return n.busy() }

// Peers of a removed node find out as TCP does.
func TestRemovedNodeIsGone(t *testing.T) {
	spec := line3()
	one := uint32(1)
	spec.Nodes[0].Tcp = &labv1.TcpSettings{DataRetries: &one}
	s := newScene(t, spec)
	s.input(transferInput("t1", "a", "b", 20e6))
	s.advance(100 * sim.Millisecond)
	s.apply(func(spec *labv1.LabSpec) { spec.Nodes, spec.Links = spec.Nodes[:2], spec.Links[:1] })
	s.input(pingInput("p1", "b", "a", 1))
	s.advance(60 * sim.Second)
	s.wantLine("p1 b is not in the lab any more")
	s.wantLine("t1 ")
	if s.node("a").busy() {
		t.Error("a still sends")
	}
}

// A link that is plugged in elsewhere keeps the station's address and its connections.
func TestRepluggedLinkKeepsConnections(t *testing.T) {
	s := newScene(t, lan("a", "b"))
	s.input(transferInput("t1", "a", "b", 3e6))
	s.advance(50 * sim.Millisecond)
	was := s.node("b").ports[0].Plan.Prefix
	s.apply(func(spec *labv1.LabSpec) { spec.Links[1].B.Interface = "eth7" })
	if got := s.node("b").ports[0].Plan.Prefix; got != was {
		t.Errorf("b was %v and is %v", was, got)
	}
	s.advance(30 * sim.Second)
	if s.net.Busy() || s.net.Connected() {
		t.Errorf("the transfer has not ended: %v", s.report.lines)
	}
	for _, l := range s.report.lines {
		if l != "t1 " {
			t.Errorf("report: %s", l)
		}
	}
}

// Settings of TCP hold for new connections, to services that listen already too; a changed service is another.
func TestApplyChangesSettingsAndServices(t *testing.T) {
	s := newScene(t, line3())
	s.apply(func(spec *labv1.LabSpec) {
		off := false
		spec.Nodes[2].Tcp = &labv1.TcpSettings{Sack: &off}
		spec.Nodes[2].Apps = []*labv1.AppSpec{{App: &labv1.AppSpec_Echo{Echo: &labv1.EchoApp{}}}}
	})
	if got := len(s.node("b").services); got != 2 {
		t.Errorf("%d services on b", got)
	}
	s.input(transferInput("t1", "a", "b", 1e6))
	s.advance(200 * sim.Millisecond)
	conns := s.node("b").stack.Conns()
	if len(conns) != 1 || conns[0].Info().SackOK {
		t.Fatalf("%d connections, SACK %v", len(conns), len(conns) > 0 && conns[0].Info().SackOK)
	}
	s.apply(func(spec *labv1.LabSpec) { spec.Nodes[2].Apps = nil })
	if len(s.node("b").stack.Conns()) != 1 || len(s.node("b").services) != 1 {
		t.Error("the transfer's server, which has not changed, was stopped")
	}
	s.apply(func(spec *labv1.LabSpec) {
		spec.Nodes[2].Apps = []*labv1.AppSpec{{App: &labv1.AppSpec_Transfer{Transfer: &labv1.TransferServerApp{Reader: &labv1.Reader{RateBps: 1e6}}}}}
	})
	if len(s.node("b").stack.Conns()) != 0 {
		t.Error("the connection to a service that was changed is still there")
	}
	s.advance(10 * sim.Second)
}

// Settings for a while end, those for good stay, and a fault lies over both.
func TestLinkSetUnderFaults(t *testing.T) {
	s := newScene(t, line3())
	set := func(delay int64, forNs int64) {
		s.input(&labv1.Input{Kind: &labv1.Input_LinkSet{LinkSet: &labv1.LinkSet{Link: "a->r", DurationNs: forNs,
			Patch: &labv1.DirectionPatch{DelayNs: &delay}}}})
	}
	want := func(delay int64) {
		t.Helper()
		if got := s.spec("a->r").DelayNs; got != delay {
			t.Errorf("at %v: delay %d, want %d", s.loop.Now(), got, delay)
		}
	}
	set(20e6, 30e9)
	want(20e6)
	s.advance(sim.Second)
	set(5e6, 0) // later, so it is over the first
	want(5e6)
	s.fault(&labv1.Fault{Link: "a->r", DurationNs: 5e9, Effect: &labv1.Fault_DelayNs{DelayNs: 70e6}})
	set(6e6, 1e9)
	want(70e6)
	if got := s.net.directions[0].ahead; got != 5e6 {
		t.Errorf("the least delay ahead is %v", got)
	}
	s.advance(10 * sim.Second)
	want(5e6)
	s.advance(40 * sim.Second)
	want(5e6)
	if d := s.net.directions[0]; len(d.sets) != 0 || d.base.Delay != 5e6 {
		t.Errorf("%d settings are kept, delay %v", len(d.sets), d.base.Delay)
	}
	s.apply(func(*labv1.LabSpec) {}) // as the file says
	want(10e6)
	s.loop.Rec.Flush()
	var kinds []sim.Kind
	for _, r := range s.recs {
		if r.Kind == KindLinkSet || r.Kind == KindLinkReverted {
			kinds = append(kinds, r.Kind)
		}
	}
	if !slices.Equal(kinds, []sim.Kind{KindLinkSet, KindLinkSet, KindLinkSet, KindLinkReverted, KindLinkReverted}) {
		t.Errorf("recorded: %v", kinds)
	}
}

// A link that is taken out and put back a moment later costs a connection no more than an outage does.
func TestConnectionSurvivesALinkTakenOutAndPutBack(t *testing.T) {
	s := newScene(t, line3())
	whole := s.net.cfg.Spec
	s.input(transferInput("t1", "a", "b", 20e6))
	s.advance(100 * sim.Millisecond)
	s.apply(func(spec *labv1.LabSpec) { spec.Links = spec.Links[:1] })
	s.advance(150 * sim.Millisecond)
	s.apply(func(spec *labv1.LabSpec) { spec.Links = whole.Links })
	s.advance(60 * sim.Second)
	for _, l := range s.report.lines {
		if l != "t1 " {
			t.Errorf("report: %s", l)
		}
	}
	if s.net.Busy() || s.net.Connected() {
		for _, n := range s.net.Nodes() {
			t.Errorf("%s: %v", n.Name(), n.Conns())
		}
	}
}

// What is under way on a link that an apply takes out is dropped then, and the trace says so: nothing arrives from it later.
func TestRemovedLinkDropsWhatIsUnderWay(t *testing.T) {
	s := newScene(t, line3())
	s.input(transferInput("t1", "a", "b", 20e6))
	const at = 100 * sim.Millisecond
	s.advance(at)
	s.apply(func(spec *labv1.LabSpec) { spec.Links = spec.Links[:1] }) // r--b goes
	stays := map[sim.Origin]bool{}
	for _, d := range s.net.directions {
		stays[d.plan.ID] = true
	}
	s.advance(sim.Second)
	s.loop.Rec.Flush()
	var hops []link.Hop
	for i := range s.recs {
		if h, ok := link.Decode(&s.recs[i], s.recs[i+1:]); ok && !stays[sim.Origin(s.recs[i].W[0])] {
			hops = append(hops, h)
		}
	}
	var removed int
	for _, h := range link.Settle(hops) {
		if h.Drop == link.DropRemoved {
			removed++
		}
		for _, e := range h.Events(nil) {
			if e.T > at || e.T == at && e.Name != link.Dropped {
				t.Errorf("%s at %v on a link that is no more", e.Name, e.T)
			}
		}
	}
	if removed == 0 {
		t.Error("nothing was under way")
	}
}
