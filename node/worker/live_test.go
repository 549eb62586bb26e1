package worker

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
	"labd.dev/trace"
)

func switchNode(name string) *labv1.NodeSpec {
	return &labv1.NodeSpec{Name: name, Kind: labv1.NodeKind_NODE_KIND_SWITCH}
}

func apply(spec *labv1.LabSpec) *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: spec}}}
}

func linkSet(link string, forNs int64, p *labv1.DirectionPatch) *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_LinkSet{LinkSet: &labv1.LinkSet{Link: link, DurationNs: forNs, Patch: p}}}
}

func changed(spec *labv1.LabSpec, change func(*labv1.LabSpec)) *labv1.LabSpec {
	c := proto.Clone(spec).(*labv1.LabSpec)
	change(c)
	return c
}

// living is a journal full of live changes of path: what two loops cut is re-parametrised, taken to no delay, taken out
// and put back; nodes come and go; a switch comes with hosts.
func living() (*labv1.LabSpec, []*labv1.JournalEntry) {
	first := path()
	wider := changed(first, func(s *labv1.LabSpec) {
		d := &labv1.DirectionSpec{DelayNs: 2 * ms, RateBps: 50e6}
		s.Nodes = append(s.Nodes, switchNode("sw"), host("h1"), host("h2"), router("r3"))
		s.Links = append(s.Links, joined("r1", "sw", d), joined("h1", "sw", d), joined("h2", "sw", d), joined("r2", "r3", d))
		s.Links[1].Forward.DelayNs = 12 * ms
	})
	near := changed(wider, func(s *labv1.LabSpec) {
		s.Links[1] = joined("r1", "r2", &labv1.DirectionSpec{RateBps: 20e6})
		s.Nodes[0].Tcp = &labv1.TcpSettings{Congestion: proto.String("reno")}
	})
	torn := changed(first, func(s *labv1.LabSpec) { s.Links = append(s.Links[:1], s.Links[2:]...) })
	delay, loss := 3*ms, &labv1.Loss{Model: &labv1.Loss_Random{Random: 0.05}}
	zero := int64(0)
	pingLAN := func(id, from, to string) *labv1.Input {
		return &labv1.Input{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{Id: id, From: from, To: to, Count: 5, IntervalNs: 20 * ms}}}
	}
	return first, journalOf(
		timed{0, transfer("t1", 2_000_000)},
		timed{100 * ms, apply(wider)},
		timed{120 * ms, linkSet("r1--r2", 300*ms, &labv1.DirectionPatch{DelayNs: &delay, Loss: loss})},
		timed{130 * ms, pingLAN("p1", "h1", "server")},
		timed{135 * ms, pingLAN("p2", "h1", "h2")},
		timed{150 * ms, fault(down("r1--r2", 60*ms))},
		timed{200 * ms, linkSet("client->r1", 0, &labv1.DirectionPatch{DelayNs: &zero})},
		timed{500 * ms, apply(near)},
		timed{600 * ms, pingLAN("p3", "h2", "r3")},
		timed{900 * ms, apply(torn)},
		timed{950 * ms, apply(first)},
		timed{1000 * ms, transfer("t2", 100_000)},
	)
}

// "The result does not depend on how the lab is split", "replaying gives byte-identical traces and captures": live
// changes included.
func TestLiveChangesAreTheSameOnTwoLoops(t *testing.T) {
	b := newBench(t)
	spec, entries := living()
	var dirs []string
	for _, loops := range []uint32{1, 2, 3} {
		s := proto.Clone(spec).(*labv1.LabSpec)
		s.Placement = &labv1.Placement{Loops: loops}
		var es []*labv1.JournalEntry
		for _, e := range entries {
			es = append(es, proto.Clone(e).(*labv1.JournalEntry))
		}
		id := fmt.Sprintf("loops%d", loops)
		r, dir := b.run(&workerv1.StartLabRequest{LabId: id, Spec: s, Journal: es, Capture: true})
		if r.Progress.Error != "" {
			t.Fatal(r.Progress.Error)
		}
		for _, tr := range r.Transfers {
			if !tr.Match {
				t.Errorf("transfer %s: %v", tr.Id, tr)
			}
		}
		for _, e := range r.Execs {
			if e.Id != "p1" && (!e.Done || e.ExitCode != 0) { // p1 meets the outage, then h1 is taken out
				t.Errorf("%s: %v", e.Id, e.Lines)
			}
		}
		dirs = append(dirs, dir)
	}
	b.identical(dirs[0], dirs[1])
	b.identical(dirs[0], dirs[2])
	d, err := Replay(t.Context(), dirs[0], 2, t.TempDir()+"/again")
	if d != nil || err != nil {
		t.Fatalf("replay: %v, %v", d, err)
	}
	run, err := trace.Open(dirs[0])
	if err != nil {
		t.Fatal(err)
	}
	hops, err := run.Packet("h1:1")
	if err != nil || len(hops) == 0 || hops[0].Node != "h1" {
		t.Errorf("a packet of a node that came later: %v, %v", hops, err)
	}
}

// A standing lab takes both inputs with a stamp; what was refused changes nothing; its trace knows the newcomers' names.
func TestStandingLabChanges(t *testing.T) {
	b := newBench(t)
	spec := twoHosts()
	b.start(&workerv1.StartLabRequest{LabId: "x", Spec: spec, Mode: workerv1.Mode_MODE_STANDING})
	wider := changed(spec, func(s *labv1.LabSpec) {
		s.Nodes = append(s.Nodes, host("late"))
		s.Links = append(s.Links, joined("late", "server", &labv1.DirectionSpec{DelayNs: ms}))
	})
	e := b.input("x", apply(wider))
	if len(e.Input.GetApply().GetSha256()) != 64 {
		t.Errorf("sha256 %q", e.Input.GetApply().GetSha256())
	}
	b.input("x", &labv1.Input{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{Id: "p", From: "late", To: "server", Count: 1}}})
	b.until("x", "the ping's end", func(r *workerv1.GetLabResponse) bool {
		return len(r.Execs) == 1 && r.Execs[0].Done && r.Execs[0].ExitCode == 0 && len(r.Nodes) == 3 && len(r.Links) == 2
	})
	if r, err := b.ReadPacket(t.Context(), &workerv1.ReadPacketRequest{LabId: "x", Packet: "late:2"}); err != nil || len(r.Hops) != 2 {
		t.Errorf("late's packet: %v, %v", r, err)
	}
	for _, c := range []struct {
		in   *labv1.Input
		want string
	}{
		{apply(changed(wider, func(s *labv1.LabSpec) { s.Seed = 2 })), "seed"},
		{apply(changed(wider, func(s *labv1.LabSpec) { s.Links[0].A.Node = "nobody" })), "nobody"},
		{apply(changed(wider, func(s *labv1.LabSpec) {
			echo := &labv1.AppSpec{App: &labv1.AppSpec_Echo{Echo: &labv1.EchoApp{}}}
			s.Nodes[0].Apps = []*labv1.AppSpec{echo, echo}
		})), "apps"},
		{linkSet("client--nobody", 0, &labv1.DirectionPatch{Down: proto.Bool(true)}), "client--nobody"},
		{linkSet("client--server", 0, nil), "patch"},
		{linkSet("client--server", -1, &labv1.DirectionPatch{Down: proto.Bool(true)}), "duration"},
	} {
		if _, err := b.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "x", Turn: b.turn(), Input: c.in}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want one of %s", c.in, err, c.want)
		}
	}
	if r := b.get("x"); r.Progress.JournalEntries != 2 {
		t.Errorf("%d inputs are journaled", r.Progress.JournalEntries)
	}
}

// "A learning switch ...: loops end by the event budget with a clear error".
func TestBroadcastStormNamesTheLoop(t *testing.T) {
	b := newBench(t)
	d := &labv1.DirectionSpec{DelayNs: int64(10 * sim.Microsecond)}
	spec := &labv1.LabSpec{
		Name: "storm", Seed: 1, Clock: labv1.Clock_CLOCK_VIRTUAL,
		Nodes: []*labv1.NodeSpec{host("client"), host("server"), switchNode("s1"), switchNode("s2"), switchNode("s3")},
		Links: []*labv1.LinkSpec{joined("client", "s1", d), joined("server", "s2", d), joined("s1", "s2", d), joined("s2", "s3", d)},
	}
	looped := changed(spec, func(s *labv1.LabSpec) {
		s.Links = append(s.Links, joined("s3", "s1", d), joined("s3", "s4", d), joined("s4", "s1", d))
		s.Nodes = append(s.Nodes, switchNode("s4"))
	})
	r, dir := b.run(&workerv1.StartLabRequest{LabId: "storm", Spec: spec, Journal: journalOf(
		timed{1 * ms, apply(looped)}, timed{2 * ms, ping("p1")})})
	for _, want := range []string{"broadcast storm", "s1, s3, s4", "direction s", "events"} {
		if !strings.Contains(r.Progress.Error, want) {
			t.Errorf("error %q lacks %q", r.Progress.Error, want)
		}
	}
	if _, err := trace.Open(dir); err != nil {
		t.Errorf("no trace is kept: %v", err)
	}
}
