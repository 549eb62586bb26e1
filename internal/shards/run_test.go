package shards_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/trace"
)

func host(name string) *labv1.NodeSpec {
	return &labv1.NodeSpec{Name: name, Kind: labv1.NodeKind_NODE_KIND_HOST}
}

func router(name string) *labv1.NodeSpec {
	return &labv1.NodeSpec{Name: name, Kind: labv1.NodeKind_NODE_KIND_ROUTER}
}

func joined(a, b string, d *labv1.DirectionSpec) *labv1.LinkSpec {
	return &labv1.LinkSpec{A: &labv1.Endpoint{Node: a}, B: &labv1.Endpoint{Node: b}, Forward: d, Reverse: d}
}

// path is client - r1 - r2 - server, with loss, jitter, corruption and duplication in the middle.
func path() *labv1.LabSpec {
	edge := &labv1.DirectionSpec{RateBps: 100e6, DelayNs: ms}
	core := &labv1.DirectionSpec{
		RateBps: 20e6, DelayNs: 8 * ms, Jitter: &labv1.Jitter{AmountNs: ms / 2, Reorder: true},
		Loss:    &labv1.Loss{Model: &labv1.Loss_Random{Random: 0.01}},
		Corrupt: 0.001, Duplicate: &labv1.Duplicate{Chance: 0.002, DelayNs: ms},
	}
	return &labv1.LabSpec{
		Name: "path", Seed: 7, Clock: labv1.Clock_CLOCK_VIRTUAL,
		Nodes: []*labv1.NodeSpec{host("client"), router("r1"), router("r2"), host("server")},
		Links: []*labv1.LinkSpec{joined("client", "r1", edge), joined("r1", "r2", core), joined("r2", "server", edge)},
	}
}

func transfer(id, from, to string, bytes uint64) *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{
		Id: id, From: from, To: to, Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: bytes}, Save: true,
	}}}
}

func ping(id, from, to string) *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{Id: id, From: from, To: to, Count: 3, IntervalNs: 100 * ms}}}
}

func fault(f *labv1.Fault) *labv1.Input { return &labv1.Input{Kind: &labv1.Input_Fault{Fault: f}} }

type timed struct {
	at int64
	in *labv1.Input
}

func journalOf(inputs ...timed) []*labv1.JournalEntry {
	var out []*labv1.JournalEntry
	for i, in := range inputs {
		out = append(out, &labv1.JournalEntry{Index: uint64(i) + 1, TNs: in.at, Input: in.in})
	}
	return out
}

// busy is path with transfers both ways, pings, and faults of a link that is cut and of a node beside it.
func busy(endNs int64) *workerv1.StartLabRequest {
	return &workerv1.StartLabRequest{LabId: "busy", Epoch: 1, Spec: path(), Mode: workerv1.Mode_MODE_RUN, Capture: true, EndNs: endNs,
		Journal: journalOf(
			timed{0, transfer("t1", "client", "server", 1_000_000)},
			timed{50 * ms, transfer("t2", "server", "client", 300_000)},
			timed{60 * ms, ping("p1", "client", "server")},
			timed{150 * ms, fault(&labv1.Fault{Id: "f1", Link: "r1--r2", DurationNs: 60 * ms, Effect: &labv1.Fault_Down{Down: &labv1.Down{}}})},
			timed{400 * ms, fault(&labv1.Fault{Id: "f2", Node: "r2", DurationNs: 100 * ms, Effect: &labv1.Fault_Crash{Crash: &labv1.Crash{}}})},
		)}
}

// "The same experiment on 1 worker and on 3 gives byte-identical traces and captures", and all that is told of it is alike.
func TestSplitRunIsTheSame(t *testing.T) {
	for _, endNs := range []int64{0, 900 * ms} {
		one, want := newCluster(t, 1, false).run(busy(endNs))
		for _, c := range []struct {
			workers  int
			loopback bool
		}{{2, false}, {3, false}, {4, true}} {
			t.Run(fmt.Sprintf("%d workers, end %d", c.workers, endNs), func(t *testing.T) {
				got, dir := newCluster(t, c.workers, c.loopback).run(busy(endNs))
				identical(t, "one worker and several", want, dir)
				same(t, one, got)
			})
		}
	}
}

// same compares what two labs tell of themselves.
func same(t *testing.T, one, got *workerv1.GetLabResponse) {
	t.Helper()
	if got.Progress.Error != "" || got.Broken != "" || got.Progress.NowNs != one.Progress.NowNs ||
		got.Progress.Records != one.Progress.Records || got.Progress.Events != one.Progress.Events {
		t.Errorf("progress %v %s, one worker %v", got.Progress, got.Broken, one.Progress)
	}
	compare(t, one.Nodes, got.Nodes)
	compare(t, one.Links, got.Links)
	compare(t, one.Transfers, got.Transfers)
	compare(t, one.Execs, got.Execs)
	compare(t, one.Faults, got.Faults)
}

func compare[T proto.Message](t *testing.T, one, got []T) {
	t.Helper()
	if len(one) != len(got) {
		t.Errorf("%d of %T, one worker %d", len(got), got, len(one))
		return
	}
	for i := range one {
		if !proto.Equal(one[i], got[i]) {
			t.Errorf("%v\none worker:\n%v", got[i], one[i])
		}
	}
}

func apply(spec *labv1.LabSpec) *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: spec}}}
}

// A link that is cut is taken out while frames are under way on it, and put back: they end there, which the sender's shard
// tells, and none comes out of the new one.
func TestCutLinkTakenOut(t *testing.T) {
	spec := path()
	torn := proto.Clone(spec).(*labv1.LabSpec)
	torn.Links = append(torn.Links[:1:1], torn.Links[2:]...)
	req := &workerv1.StartLabRequest{LabId: "torn", Epoch: 1, Spec: spec, Mode: workerv1.Mode_MODE_RUN, Capture: true, EndNs: 1200 * ms,
		Journal: journalOf(
			timed{0, transfer("t1", "client", "server", 1_500_000)},
			timed{1 * ms, transfer("t2", "server", "client", 1_500_000)},
			timed{301 * ms, apply(torn)},
			timed{303 * ms, apply(spec)}, // before what was on the way would have arrived
			timed{500 * ms, apply(torn)},
			timed{600 * ms, apply(spec)},
		)}
	one, want := newCluster(t, 1, false).run(req)
	for _, workers := range []int{2, 4} {
		got, dir := newCluster(t, workers, false).run(req)
		identical(t, fmt.Sprintf("one worker and %d", workers), want, dir)
		same(t, one, got)
	}
	removed := 0
	f, err := os.Open(filepath.Join(want, trace.EventsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := trace.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for rec, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind == link.KindHop && link.DropCause(rec.Reason) == link.DropRemoved {
			removed++
		}
	}
	if removed < 10 {
		t.Errorf("only %d frames were on the links that were taken out", removed)
	}
}
