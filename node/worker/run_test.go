package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
	"labd.dev/trace"
)

func TestTwoHostsTransferAndPing(t *testing.T) {
	b := newBench(t)
	got, dir := b.run(&workerv1.StartLabRequest{
		LabId: "l", Spec: twoHosts(), Capture: true, Journal: journalOf(timed{0, transfer("", 300_000)}, timed{10 * ms, ping("")}),
	})
	if got.Progress.Error != "" || got.Progress.Partial || !got.Progress.Ended {
		t.Fatalf("progress %v", got.Progress)
	}
	if len(got.Transfers) != 1 || len(got.Execs) != 1 {
		t.Fatalf("%d transfers, %d commands", len(got.Transfers), len(got.Execs))
	}
	x := got.Transfers[0]
	if x.Id != "t1" || x.State != labv1.TransferState_TRANSFER_STATE_DONE || !x.Match || x.Bytes != 300_000 || x.Conn != "client/1" {
		t.Errorf("transfer %v", x)
	}
	p := got.Execs[0]
	if p.Id != "p1" || !p.Done || p.ExitCode != 0 || len(p.Lines) < 4 {
		t.Errorf("ping %v", p)
	}
	if saved, err := os.ReadFile(filepath.Join(dir, "received", "t1")); err != nil || len(saved) != 300_000 {
		t.Errorf("saved %d bytes, %v", len(saved), err)
	}
	for _, f := range []string{"manifest.json", "journal.jsonl", "events.bin", "summary.json", "spec.pb", "pcap/client-eth0.pcapng", "pcap/server-eth0.pcapng"} {
		if i, err := os.Stat(filepath.Join(dir, f)); err != nil || i.Size() == 0 {
			t.Errorf("%s: %v", f, err)
		}
	}
	if got.Progress.NowNs%int64(quantum) != 0 {
		t.Errorf("ended at %d ns, not at a multiple of the quantum", got.Progress.NowNs)
	}
}

// "End of a run: exactly `duration`"
func TestRunEndsAtItsDuration(t *testing.T) {
	b := newBench(t)
	got, _ := b.run(&workerv1.StartLabRequest{LabId: "l", Spec: twoHosts(), EndNs: 123_456_789, Journal: journalOf(timed{0, transfer("", 10_000_000)})})
	if got.Progress.NowNs != 123_456_789 || got.Progress.Partial || got.Transfers[0].State != labv1.TransferState_TRANSFER_STATE_RUNNING {
		t.Errorf("%v %v", got.Progress, got.Transfers[0])
	}
}

func busyRun(loops uint32) *workerv1.StartLabRequest {
	spec := path()
	spec.Placement = &labv1.Placement{Loops: loops}
	return &workerv1.StartLabRequest{
		Spec: spec, Capture: true, EndNs: 6000 * ms, Journal: journalOf(
			timed{0, transfer("", 400_000)},
			timed{100 * ms, ping("")},
			timed{200 * ms, fault(down("r1--r2", 150*ms))},
			timed{250 * ms, fault(&labv1.Fault{Link: "r1->r2", DurationNs: 800 * ms, Effect: &labv1.Fault_DelayNs{DelayNs: 12 * ms}})},
			timed{300 * ms, fault(&labv1.Fault{Link: "r1--r2", DurationNs: 1000 * ms, Effect: &labv1.Fault_DelayNs{DelayNs: 2 * ms}})},
			timed{1500 * ms, fault(&labv1.Fault{Node: "r2", DurationNs: 300 * ms, Effect: &labv1.Fault_Crash{Crash: &labv1.Crash{}}})},
			timed{2500 * ms, transfer("", 2_000_000)},
			timed{2700 * ms, fault(&labv1.Fault{Node: "server", Effect: &labv1.Fault_Reboot{Reboot: &labv1.Reboot{}}})},
			timed{3000 * ms, transfer("", 100_000)},
			timed{3200 * ms, fault(&labv1.Fault{Id: "slow", Link: "r2->server", Effect: &labv1.Fault_RateBps{RateBps: 1e6}})},
			timed{3600 * ms, &labv1.Input{Kind: &labv1.Input_ClearFault{ClearFault: &labv1.ClearFault{Id: "slow"}}}},
		),
	}
}

// Promises 2 and 4: the result does not depend on how the lab is split over loops, and a replay gives the same bytes.
func TestSplitAndReplayAreIdentical(t *testing.T) {
	b := newBench(t)
	one := busyRun(1)
	one.LabId = "one"
	first, a := b.run(one)
	t.Logf("%v, transfers %v", first.Progress, first.Transfers)
	if first.Progress.Error != "" || first.Progress.Records < 2000 {
		t.Fatalf("%v", first.Progress)
	}
	for _, loops := range []uint32{2, 3} {
		split := busyRun(loops)
		split.LabId = "split" + string('0'+rune(loops))
		got, dir := b.run(split)
		if got.Progress.Error != "" {
			t.Fatal(got.Progress.Error)
		}
		if l, _ := b.lab(split.LabId); len(l.x.loops) != int(loops) || l.net.Lookahead() > 10*1e6 {
			t.Fatalf("%d loops, lookahead %v: nothing was cut", len(l.x.loops), l.net.Lookahead())
		}
		b.identical(a, dir)
	}
	d, err := Replay(t.Context(), a, 2, filepath.Join(t.TempDir(), "again"))
	if err != nil || d != nil {
		t.Fatalf("replay: %v, %v", d, err)
	}
}

// What an input sends at once over the cut, in a lab where nothing else happens, arrives when it should.
func TestInputSendsOverTheCut(t *testing.T) {
	b := newBench(t)
	var dirs []string
	for _, loops := range []uint32{1, 2} {
		spec := twoHosts()
		spec.Placement = &labv1.Placement{Loops: loops}
		got, dir := b.run(&workerv1.StartLabRequest{LabId: "l" + string('0'+rune(loops)), Spec: spec, Journal: journalOf(timed{1000 * ms, transfer("", 5000)})})
		if got.Progress.Error != "" || !got.Transfers[0].GetMatch() {
			t.Fatalf("%d loops: %v, %v", loops, got.Progress, got.Transfers)
		}
		dirs = append(dirs, dir)
	}
	b.identical(dirs[0], dirs[1])
}

// A workload that never ends, in a lab whose clock runs ahead of everything, is ended with the reason; one that can never
// go on ends where it stands.
func TestRunWithoutAnEnd(t *testing.T) {
	b := newBench(t)
	spec := twoHosts()
	spec.Links[0].Forward = &labv1.DirectionSpec{DelayNs: ms}
	spec.Links[0].Reverse = spec.Links[0].Forward
	endless := &labv1.Input{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{From: "client", To: "server", Count: 1000, IntervalNs: 3600_000 * ms}}}
	got, _ := b.run(&workerv1.StartLabRequest{LabId: "endless", Spec: spec, Journal: journalOf(timed{0, endless})})
	if !strings.Contains(got.Progress.Error, "has not ended within 24h") || got.Progress.NowNs > int64(maxRunTime+sim.Second) {
		t.Errorf("%v", got.Progress)
	}
	open := transfer("", 5000)
	open.GetTransfer().Close = labv1.CloseMode_CLOSE_MODE_NEVER
	got, _ = b.run(&workerv1.StartLabRequest{LabId: "open", Spec: twoHosts(), Journal: journalOf(timed{0, open})})
	if got.Progress.Error != "" || !got.Transfers[0].Match || got.Progress.NowNs > 5000*ms {
		t.Errorf("%v, %v", got.Progress, got.Transfers)
	}
}

// A comparison that always says "identical" proves nothing.
func TestComparisonSeesADifference(t *testing.T) {
	b := newBench(t)
	_, a := b.run(&workerv1.StartLabRequest{LabId: "a", Spec: path(), Capture: true, Journal: journalOf(timed{0, transfer("", 50_000)})})
	other := path()
	other.Seed++
	_, c := b.run(&workerv1.StartLabRequest{LabId: "b", Spec: other, Capture: true, Journal: journalOf(timed{0, transfer("", 50_000)})})
	if d, err := CompareRuns(a, c); err != nil || d == nil || d.File != trace.EventsFile || !strings.Contains(d.Text, "record") {
		t.Errorf("another seed: %v, %v", d, err)
	}
	capture := filepath.Join(a, "pcap", "client-eth0.pcapng")
	bytes, err := os.ReadFile(capture)
	if err != nil {
		t.Fatal(err)
	}
	copyDir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copyDir, os.DirFS(a)); err != nil {
		t.Fatal(err)
	}
	bytes[len(bytes)-1] ^= 1
	if err := os.WriteFile(filepath.Join(copyDir, "pcap", "client-eth0.pcapng"), bytes, 0o644); err != nil {
		t.Fatal(err)
	}
	if d, err := CompareRuns(a, copyDir); err != nil || d == nil || d.File != "pcap/client-eth0.pcapng" {
		t.Errorf("a changed capture: %v, %v", d, err)
	}
}

// Observers change nothing: with captures or without, the trace is the same.
func TestCapturesChangeNothing(t *testing.T) {
	b := newBench(t)
	with, without := busyRun(1), busyRun(1)
	with.LabId, without.LabId, without.Capture = "with", "without", false
	_, x := b.run(with)
	_, y := b.run(without)
	if d, err := compareEvents(x, y); err != nil || d != nil {
		t.Errorf("%v, %v", d, err)
	}
}

// Promise 1: wall time only paces a lab.
func TestRealClockGivesTheSameBytes(t *testing.T) {
	b := newBench(t)
	req := func(id string, c labv1.Clock, loops uint32) *workerv1.StartLabRequest {
		spec := path()
		spec.Clock, spec.Placement = c, &labv1.Placement{Loops: loops}
		return &workerv1.StartLabRequest{LabId: id, Spec: spec, Capture: true, Journal: journalOf(
			timed{0, transfer("", 200_000)}, timed{50 * ms, fault(down("r1->r2", 30*ms))})}
	}
	_, x := b.run(req("virtual", labv1.Clock_CLOCK_VIRTUAL, 1))
	_, y := b.run(req("real", labv1.Clock_CLOCK_REAL, 1))
	b.identical(x, y)
	_, z := b.run(req("real2", labv1.Clock_CLOCK_REAL, 2))
	b.identical(x, z)
}

// "End of a run: without a duration, when the last workload item has ended": a change of the lab is one, a fault is none.
func TestRunWaitsForItsChanges(t *testing.T) {
	b := newBench(t)
	delay := 7 * ms
	set := &labv1.Input{Kind: &labv1.Input_LinkSet{LinkSet: &labv1.LinkSet{Link: "client--server", Patch: &labv1.DirectionPatch{DelayNs: &delay}}}}
	r, _ := b.run(&workerv1.StartLabRequest{LabId: "l", Spec: twoHosts(), Journal: journalOf(
		timed{0, transfer("", 1000)}, timed{5000 * ms, set}, timed{9000 * ms, fault(down("client--server", 0))})})
	if now := r.Progress.NowNs; now < 5000*ms || now >= 9000*ms {
		t.Errorf("it ended at %d ns: %v", now, r.Progress)
	}
	if got := r.Links[0].Forward.Spec.GetDelayNs(); got != delay {
		t.Errorf("in the end the delay is %d ns", got)
	}
}
