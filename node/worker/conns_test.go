package worker

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"labd.dev/internal/runbook"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
)

// manyAtOnce opens connections that stay open for a second.
func manyAtOnce(n int) *workerv1.StartLabRequest {
	var inputs []timed
	for i := range n {
		in := transfer(fmt.Sprint("t", i), 1000)
		in.GetTransfer().HoldNs = int64(sim.Second)
		inputs = append(inputs, timed{int64(i) * 10 * ms, in})
	}
	return &workerv1.StartLabRequest{Epoch: 1, Spec: path(), Mode: workerv1.Mode_MODE_RUN, Journal: journalOf(inputs...)}
}

// A lab that has more connections at once than it may have ends by name, on one loop or two, and its replay comes to the same;
// one that stays within its bound is what it is without one.
func TestConnectionsAtMost(t *testing.T) {
	b := newBench(t)
	for _, loops := range []uint32{1, 2} {
		run := func(id string, most uint64) (*labv1.LabProgress, string) {
			req := manyAtOnce(5)
			req.LabId, req.ConnectionsAtMost = fmt.Sprint(id, loops), most
			req.Spec.Placement = &labv1.Placement{Loops: loops}
			r, dir := b.run(req)
			return r.Progress, dir
		}
		free, freeDir := run("free", 0)
		within, withinDir := run("within", 5)
		if free.GetError() != "" || within.GetError() != "" {
			t.Fatalf("%q, %q", free.GetError(), within.GetError())
		}
		b.identical(freeDir, withinDir)
		over, overDir := run("over", 3)
		if !strings.HasPrefix(over.GetError(), "connections: more than 3 at once") || over.GetNowNs() < 30*ms || over.GetNowNs() > 100*ms {
			t.Errorf("with %d loops it ended at %v with %q", loops, sim.Time(over.GetNowNs()), over.GetError())
		}
		runbook.Says(t, "a lab has more connections than its owner may", over.GetError())
		if d, err := Replay(t.Context(), overDir, 0, filepath.Join(t.TempDir(), "again")); err != nil || d != nil {
			t.Errorf("its replay with %d loops: %v, %v", loops, d, err)
		}
	}
}
