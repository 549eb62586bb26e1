package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"labd.dev/internal/runbook"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
	"labd.dev/trace"
)

// flood sends far more than the links carry.
func flood() *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_Udp{Udp: &labv1.UdpBlast{From: "client", To: "server", RateBps: 10e9, SizeBytes: 1000, Count: 1_000_000}}}
}

// One lab's panic, storm of events or use of memory ends that lab with its reason and a kept trace, and touches no other.
func TestOneLabEndsAlone(t *testing.T) {
	for _, c := range []struct {
		name   string
		budget *labv1.EventBudget
		queue  uint32
		input  *labv1.Input
		bomb   bool
		want   string
	}{
		{"panic", nil, 0, transfer("", 100_000), true, "internal error: tick tock"},
		{"storm", &labv1.EventBudget{PerSecond: 20_000}, 0, flood(), false, "more than 20000 events in one simulated second"},
		{"endless", &labv1.EventBudget{PerLab: 20_000}, 0, flood(), false, "more than 20000 events in the whole lab"},
		{"memory", &labv1.EventBudget{MemoryBytes: 8 << 20}, 1_000_000, flood(), false, "more than the budget of 8 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			other := b.start(standing("other", labv1.Clock_CLOCK_VIRTUAL))
			b.input("other", transfer("", 3_000_000))
			req := standing("bad", labv1.Clock_CLOCK_VIRTUAL)
			req.Spec.Budget = c.budget
			for _, l := range req.Spec.Links {
				l.Forward.Queue = &labv1.Queue{LimitPackets: c.queue}
			}
			bad := b.start(req)
			if c.bomb {
				err := bad.do(t.Context(), func() error {
					var src sim.Source
					bad.x.loops[0].Arm(&sim.Timer{H: bomb{}}, &src, bad.x.now()+1)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			b.input("bad", c.input)
			b.wait(bad)
			if p := b.get("bad").Progress; !p.Ended || !strings.Contains(p.Error, c.want) {
				t.Errorf("it ended with %q", p.Error)
			} else {
				switch c.name {
				case "panic":
					runbook.Says(t, "a lab runs into a fault of labd's own", p.Error)
				case "storm":
					runbook.Says(t, "a storm of events", p.Error)
				case "memory":
					runbook.Says(t, "a lab takes too much memory", p.Error)
				}
			}
			r, err := trace.Open(labDir(b.root, "bad"))
			if err != nil {
				t.Fatalf("its trace: %v", err)
			}
			if m := r.Manifest; !strings.Contains(m.Error, c.want) || !m.Partial {
				t.Errorf("its manifest: %+v", m)
			}
			if i, err := os.Stat(filepath.Join(labDir(b.root, "bad"), trace.EventsFile)); err != nil || i.Size() < 1000 {
				t.Errorf("its trace: %v", err)
			}
			b.input("other", transfer("", 1_000_000))
			for _, tr := range b.until("other", "the transfers' end", settled).Transfers {
				if !tr.Match {
					t.Errorf("the other lab: %v", tr)
				}
			}
			if other.err != nil {
				t.Errorf("the other lab: %v", other.err)
			}
			undisturbed(b, other)
		})
	}
}

// undisturbed holds a lab's trace to that of a replay on its own.
func undisturbed(b *bench, l *lab) {
	b.t.Helper()
	if _, err := b.StopLab(b.t.Context(), &workerv1.StopLabRequest{LabId: l.id, KeepFiles: true}); err != nil {
		b.t.Fatal(err)
	}
	d, err := Replay(b.t.Context(), labDir(b.root, l.id), 0, filepath.Join(b.t.TempDir(), "again"))
	if err != nil || d != nil {
		b.t.Errorf("the other lab's replay: %v, %v", d, err)
	}
}

// What a lab is given counts in its memory, too.
func TestFilesCountInTheBudget(t *testing.T) {
	b := newBench(t)
	req := standing("l", labv1.Clock_CLOCK_VIRTUAL)
	req.Spec.Budget = &labv1.EventBudget{MemoryBytes: 1 << 20}
	l := b.start(req)
	if err := l.roomFor(1 << 20); err != nil {
		t.Error(err)
	}
	if err := l.roomFor(1<<20 + 1); err == nil || !strings.Contains(err.Error(), "memory budget of 1 MiB") {
		t.Errorf("%v", err)
	}
}
