package node

import (
	"fmt"
	"testing"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// deaf is a reporter that nobody reads.
type deaf struct{ lines []string }

func (d *deaf) Transfer(id string, update func(*labv1.TransferStatus)) {
	s := &labv1.TransferStatus{Id: id}
	update(s)
	d.lines = append(d.lines, fmt.Sprintf("%s %s", id, s.Error))
}
func (d *deaf) ExecLine(id, line string) { d.lines = append(d.lines, id+" "+line) }
func (d *deaf) ExecDone(id string, code int) {
	d.lines = append(d.lines, fmt.Sprintf("%s exit %d", id, code))
}

// scene is a lab on one loop, driven by hand.
type scene struct {
	t      *testing.T
	loop   *sim.Loop
	net    *Network
	report *deaf
	index  uint64
	recs   []sim.Record
}

func newScene(t *testing.T, spec *labv1.LabSpec) *scene {
	t.Helper()
	s := &scene{t: t, loop: sim.NewLoop(sim.LoopConfig{Name: "test"}), report: &deaf{}}
	s.loop.Rec = sim.NewRecorder(64, func(r []sim.Record) { s.recs = append(s.recs, r...) })
	var err error
	if s.net, err = NewNetwork(Config{Spec: spec, Plan: assign(t, spec, nil), Loops: []*sim.Loop{s.loop}, Report: s.report}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.net.Close()
		if f, c := s.loop.LiveFrames(), s.loop.LiveChunks(); f != 0 || c != 0 {
			t.Errorf("%d frames and %d chunks are left", f, c)
		}
	})
	return s
}

func (s *scene) advance(to sim.Time) {
	s.t.Helper()
	if err := s.loop.RunBefore(to); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) input(in *labv1.Input) {
	s.index++
	s.net.Apply(&labv1.JournalEntry{Index: s.index, TNs: int64(s.loop.Now()), Input: in})
}

func (s *scene) fault(f *labv1.Fault) {
	s.input(&labv1.Input{Kind: &labv1.Input_Fault{Fault: f}})
}

// spec is what is in force on a direction.
func (s *scene) spec(direction string) *labv1.DirectionSpec {
	s.t.Helper()
	d, ok := s.net.cfg.Plan.Link(direction)
	if !ok || len(d) != 1 {
		s.t.Fatalf("no direction %s", direction)
	}
	return directionSpec(s.net.directions[d[0]].link.Config())
}

func line3() *labv1.LabSpec {
	d := &labv1.DirectionSpec{DelayNs: 10e6, RateBps: 1e9}
	spec := &labv1.LabSpec{Seed: 1, Nodes: []*labv1.NodeSpec{node("a", host), node("r", router), node("b", host)},
		Links: []*labv1.LinkSpec{joined("a", "r"), joined("r", "b")}}
	for _, l := range spec.Links {
		l.Forward, l.Reverse = d, d
	}
	return spec
}

// Overlapping faults compose, the later over the earlier, and each reverts only what it did.
func TestFaultsComposeAndRevert(t *testing.T) {
	s := newScene(t, line3())
	const ms = sim.Millisecond
	want := func(delay, rate uint64, down bool) {
		t.Helper()
		if d := s.spec("a->r"); uint64(d.DelayNs) != delay || d.RateBps != rate || d.Down != down {
			t.Errorf("at %v: delay %d, rate %d, down %v; want %d, %d, %v", s.loop.Now(), d.DelayNs, d.RateBps, d.Down, delay, rate, down)
		}
	}
	want(10e6, 1e9, false)
	s.fault(&labv1.Fault{Id: "f1", Link: "a--r", DurationNs: 100e6, Effect: &labv1.Fault_DelayNs{DelayNs: 30e6}})
	want(30e6, 1e9, false)
	s.advance(20 * ms)
	s.fault(&labv1.Fault{Id: "f2", Link: "a->r", DurationNs: 40e6, Effect: &labv1.Fault_DelayNs{DelayNs: 20e6}})
	s.fault(&labv1.Fault{Id: "f3", Link: "r--a", Effect: &labv1.Fault_RateBps{RateBps: 5e6}})
	want(20e6, 5e6, false)
	if d := s.spec("r->a"); d.DelayNs != 30e6 {
		t.Errorf("the other direction has a delay of %d", d.DelayNs)
	}
	if got := s.net.directions[0].ahead; got != 10*ms {
		t.Errorf("the least delay to come is %v, want the base's", got)
	}
	s.fault(&labv1.Fault{Id: "f4", Link: "a->r", DurationNs: 10e6, Effect: &labv1.Fault_Down{Down: &labv1.Down{}}})
	want(20e6, 5e6, true)
	s.advance(30*ms + 1)
	want(20e6, 5e6, false)
	s.advance(60*ms + 1)
	want(30e6, 5e6, false)
	s.input(&labv1.Input{Kind: &labv1.Input_ClearFault{ClearFault: &labv1.ClearFault{Id: "f3"}}})
	want(30e6, 1e9, false)
	s.advance(100*ms + 1)
	want(10e6, 1e9, false)
	for _, f := range s.net.FaultStatus(s.loop.Now()) {
		if f.Active {
			t.Errorf("%v is still in force", f)
		}
	}
}

// A crashed node is down until every crash on it is over, or it is rebooted; what was started on it has failed.
func TestCrashAndReboot(t *testing.T) {
	s := newScene(t, line3())
	const ms = sim.Millisecond
	a := s.net.nodes[0]
	crash := func(id string, forNs int64) {
		s.fault(&labv1.Fault{Id: id, Node: "a", DurationNs: forNs, Effect: &labv1.Fault_Crash{Crash: &labv1.Crash{}}})
	}
	transfer := func(id string) {
		s.input(&labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{
			Id: id, From: "a", To: "b", Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 1 << 20}}}})
	}
	up := func(want bool, boots uint64) {
		t.Helper()
		if a.Up() != want || a.Status().Boots != boots {
			t.Errorf("at %v: up %v after %d boots, want %v, %d", s.loop.Now(), a.Up(), a.Status().Boots, want, boots)
		}
	}
	transfer("t1")
	s.advance(50 * ms)
	up(true, 1)
	if !s.net.Busy() || !s.net.Connected() {
		t.Error("nothing runs")
	}
	crash("f1", 100e6)
	up(false, 1)
	if a.busy() || a.connected() {
		t.Error("a crashed node still does something")
	}
	crash("f2", 50e6)
	transfer("t2")
	s.advance(110 * ms)
	up(false, 1)
	s.advance(151 * ms)
	up(true, 2)
	s.fault(&labv1.Fault{Id: "f3", Node: "a", Effect: &labv1.Fault_Reboot{Reboot: &labv1.Reboot{}}})
	up(true, 3)
	crash("f4", 0)
	s.fault(&labv1.Fault{Id: "f5", Node: "a", Effect: &labv1.Fault_Reboot{Reboot: &labv1.Reboot{}}})
	up(true, 4)
	s.input(&labv1.Input{Kind: &labv1.Input_ClearFault{ClearFault: &labv1.ClearFault{Id: "f4"}}})
	up(true, 4)
	found := map[string]bool{}
	for _, l := range s.report.lines {
		found[l] = true
	}
	if !found["t1 a crashed"] || !found["t2 a is down"] {
		t.Errorf("reports: %q", s.report.lines)
	}
	s.loop.Rec.Flush()
	boots := 0
	for i := range s.recs {
		if e, ok := DecodeRecord(&s.recs[i]); ok && e.Name == "lab:node_booted" && s.recs[i].Node == uint32(a.ID()) {
			boots++
		}
	}
	if boots != 4 {
		t.Errorf("%d boots of a are recorded", boots)
	}
}

func TestCheckFault(t *testing.T) {
	for _, f := range []*labv1.Fault{
		{Link: "a--r", Effect: &labv1.Fault_Crash{Crash: &labv1.Crash{}}},
		{Node: "a", Effect: &labv1.Fault_Down{Down: &labv1.Down{}}},
		{Link: "a--r", Effect: &labv1.Fault_DelayNs{DelayNs: -1}},
		{Link: "a--r", DurationNs: -1, Effect: &labv1.Fault_Down{Down: &labv1.Down{}}},
		{Link: "a--r", Effect: &labv1.Fault_Loss{Loss: &labv1.Loss{Model: &labv1.Loss_Random{Random: 1.5}}}},
	} {
		if CheckFault(f) == nil {
			t.Errorf("accepted: %v", f)
		}
	}
	if err := CheckFault(&labv1.Fault{Link: "a--r", Effect: &labv1.Fault_Corrupt{Corrupt: 0.5}}); err != nil {
		t.Error(err)
	}
}

// A transfer ends with its receiver's node, also where all its bytes have been acknowledged and only its application has
// not read them: the sender's TCP would never find out.
func TestCrashOfAReceiverFailsItsTransfers(t *testing.T) {
	s := newScene(t, line3())
	s.input(&labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{Id: "t1", From: "a", To: "b",
		Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 20_000},
		Reader:  &labv1.Reader{PauseAfterBytes: 1, PauseNs: 3600e9, ReadSizeBytes: 1000}}}})
	s.advance(2 * sim.Second)
	s.fault(&labv1.Fault{Node: "b", Effect: &labv1.Fault_Reboot{Reboot: &labv1.Reboot{}}})
	if got := s.report.lines[len(s.report.lines)-1]; got != "t1 b crashed after 1 of 20000 bytes" {
		t.Errorf("last report %q", got)
	}
}
