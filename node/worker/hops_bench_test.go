package worker

import (
	"testing"
	"time"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// What a lab costs for each frame on each link, with all that a worker keeps of it: records, headers, captures.
func BenchmarkHops(b *testing.B) {
	for _, c := range []struct {
		name    string
		mode    workerv1.Mode
		capture bool
	}{{"run", workerv1.Mode_MODE_RUN, false}, {"standing", workerv1.Mode_MODE_STANDING, false}, {"captured", workerv1.Mode_MODE_RUN, true}} {
		b.Run(c.name, func(b *testing.B) {
			frames := uint64(0)
			for b.Loop() {
				frames += oneTransfer(b, c.mode, c.capture)
			}
			b.ReportMetric(float64(frames)/b.Elapsed().Seconds(), "hops/s")
		})
	}
}

// oneTransfer runs 50 MB over three links, and tells how many frames these have delivered.
func oneTransfer(b *testing.B, mode workerv1.Mode, capture bool) (frames uint64) {
	w, err := New(Config{Root: b.TempDir(), Version: "test"})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	fast := &labv1.DirectionSpec{RateBps: 1e9, DelayNs: ms}
	spec := &labv1.LabSpec{
		Name: "line", Seed: 1, Clock: labv1.Clock_CLOCK_VIRTUAL,
		Nodes: []*labv1.NodeSpec{host("client"), router("r1"), router("r2"), host("server")},
		Links: []*labv1.LinkSpec{joined("client", "r1", fast), joined("r1", "r2", fast), joined("r2", "server", fast)},
	}
	in := transfer("t", 50e6)
	in.GetTransfer().Save = false
	end := 20_000 * ms
	_, err = w.StartLab(b.Context(), &workerv1.StartLabRequest{
		LabId: "bench", Epoch: 1, Spec: spec, Mode: mode, Journal: journalOf(timed{0, in}), EndNs: end, ReplayToNs: end, Capture: capture,
	})
	if err != nil {
		b.Fatal(err)
	}
	l, err := w.lab("bench")
	if err != nil {
		b.Fatal(err)
	}
	for {
		got, err := w.GetLab(b.Context(), &workerv1.GetLabRequest{LabId: l.id})
		if err != nil {
			b.Fatal(err)
		}
		if len(got.GetTransfers()) == 0 || !settled(got) {
			<-time.After(5 * time.Millisecond) // often enough; each look costs the lab time
			continue
		}
		for _, k := range got.GetLinks() {
			frames += k.GetForward().GetDeliveredPackets() + k.GetReverse().GetDeliveredPackets()
		}
		return frames
	}
}
