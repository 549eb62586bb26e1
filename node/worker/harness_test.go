package worker

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ms = int64(sim.Millisecond)

// bench is a worker under test.
type bench struct {
	*Worker
	t     *testing.T
	labs  []*lab // started
	turns uint64 // in which inputs were stamped
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return loggingBench(t, nil)
}

func loggingBench(t *testing.T, log *slog.Logger) *bench {
	t.Helper()
	w, err := New(Config{Root: t.TempDir(), Version: "test", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Worker: w, t: t}
	t.Cleanup(b.finish)
	return b
}

// finish ends everything; no lab may leave a frame, a chunk or a timer.
func (b *bench) finish() {
	if err := b.Close(); err != nil {
		b.t.Error(err)
	}
	for _, l := range b.labs {
		<-l.done
		if l.leak != nil {
			b.t.Errorf("lab %s: %v", l.id, l.leak)
		}
	}
}

func host(name string) *labv1.NodeSpec {
	return &labv1.NodeSpec{Name: name, Kind: labv1.NodeKind_NODE_KIND_HOST}
}

func router(name string) *labv1.NodeSpec {
	return &labv1.NodeSpec{Name: name, Kind: labv1.NodeKind_NODE_KIND_ROUTER}
}

// joined is a link with the same settings both ways.
func joined(a, b string, d *labv1.DirectionSpec) *labv1.LinkSpec {
	return &labv1.LinkSpec{A: &labv1.Endpoint{Node: a}, B: &labv1.Endpoint{Node: b}, Forward: d, Reverse: d}
}

func twoHosts() *labv1.LabSpec {
	return &labv1.LabSpec{
		Name: "two-hosts", Seed: 1, Clock: labv1.Clock_CLOCK_VIRTUAL, Nodes: []*labv1.NodeSpec{host("client"), host("server")},
		Links: []*labv1.LinkSpec{joined("client", "server", &labv1.DirectionSpec{RateBps: 100e6, DelayNs: 5 * ms})},
	}
}

// path is client - r1 - r2 - server, with loss and jitter in the middle.
func path() *labv1.LabSpec {
	edge := &labv1.DirectionSpec{RateBps: 100e6, DelayNs: 1 * ms}
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

func transfer(id string, bytes uint64) *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{
		Id: id, From: "client", To: "server", Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: bytes}, Save: true,
	}}}
}

func ping(id string) *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{Id: id, From: "client", To: "server", Count: 3, IntervalNs: 100 * ms}}}
}

func fault(f *labv1.Fault) *labv1.Input { return &labv1.Input{Kind: &labv1.Input_Fault{Fault: f}} }

func down(link string, forNs int64) *labv1.Fault {
	return &labv1.Fault{Link: link, DurationNs: forNs, Effect: &labv1.Fault_Down{Down: &labv1.Down{}}}
}

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

func (b *bench) start(req *workerv1.StartLabRequest) *lab {
	b.t.Helper()
	if _, err := b.StartLab(b.t.Context(), req); err != nil {
		b.t.Fatal(err)
	}
	l, err := b.lab(req.LabId)
	if err != nil {
		b.t.Fatal(err)
	}
	b.labs = append(b.labs, l)
	return l
}

// run runs a lab to its end and returns how it stands then, and its directory.
func (b *bench) run(req *workerv1.StartLabRequest) (*workerv1.GetLabResponse, string) {
	b.t.Helper()
	req.Mode = workerv1.Mode_MODE_RUN
	l := b.start(req)
	b.wait(l)
	return b.get(req.LabId), labDir(b.root, req.LabId)
}

// wait waits for the end of a lab; the limit is for tests that hang.
func (b *bench) wait(l *lab) {
	b.t.Helper()
	select {
	case <-l.overC:
	case <-time.After(2 * time.Minute):
		b.t.Fatal("the lab does not end")
	}
}

func (b *bench) get(id string) *workerv1.GetLabResponse {
	b.t.Helper()
	r, err := b.GetLab(b.t.Context(), &workerv1.GetLabRequest{LabId: id})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *bench) identical(x, y string) {
	b.t.Helper()
	d, err := CompareRuns(x, y)
	if err != nil {
		b.t.Fatal(err)
	}
	if d != nil {
		b.t.Fatalf("%s and %s differ: %v", x, y, d)
	}
}

// turn is the next turn to stamp an input in, in whatever lab.
func (b *bench) turn() *workerv1.Turn {
	b.turns++
	return &workerv1.Turn{Term: 1, Number: b.turns}
}

// input stamps and commits an input of a standing lab.
func (b *bench) input(id string, in *labv1.Input) *labv1.JournalEntry {
	b.t.Helper()
	s, err := b.StampInput(b.t.Context(), &workerv1.StampInputRequest{LabId: id, Turn: b.turn(), Input: in})
	if err != nil {
		b.t.Fatal(err)
	}
	e := &labv1.JournalEntry{Index: s.Index, TNs: s.TNs, Input: s.Input}
	if _, err := b.CommitInput(b.t.Context(), &workerv1.CommitInputRequest{LabId: id, Entry: e}); err != nil {
		b.t.Fatal(err)
	}
	return e
}

// until looks at a lab until what it waits for is there; the limit is for tests that hang.
func (b *bench) until(id string, what string, is func(*workerv1.GetLabResponse) bool) *workerv1.GetLabResponse {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		if r := b.get(id); is(r) {
			return r
		}
	}
	b.t.Fatalf("never: %s: %v", what, b.get(id))
	return nil
}
