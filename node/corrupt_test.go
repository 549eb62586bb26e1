package node

import (
	"slices"
	"testing"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// watcher looks at every frame, as a capture does, and keeps nothing.
type watcher struct{ frames int }

func (w *watcher) Frame(_ *Port, _ sim.Time, _ bool, f *sim.Frame) {
	tcpstack.FillChecksums(f)
	w.frames++
}

// "Observers change nothing": a stack leaves checksums open until somebody looks, so a frame that is queued when
// corruption is switched on must have them made before its bit flips; otherwise a bit in a checksum's place would be
// caught or not depending on whether a capture runs.
func TestCorruptionOfQueuedFramesIsTheSameWithACapture(t *testing.T) {
	run := func(tap Tap) *scene {
		spec := line3()
		slow := &labv1.DirectionSpec{DelayNs: 10e6, RateBps: 5e5}
		spec.Links[0].Forward = slow
		s := &scene{t: t, loop: sim.NewLoop(sim.LoopConfig{Name: "test"}), report: &deaf{}}
		s.loop.Rec = sim.NewRecorder(64, func(r []sim.Record) { s.recs = append(s.recs, r...) })
		var err error
		s.net, err = NewNetwork(Config{Spec: spec, Plan: assign(t, spec, nil), Loops: []*sim.Loop{s.loop}, Report: s.report, Tap: tap})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.net.Close)
		s.input(&labv1.Input{Kind: &labv1.Input_Udp{Udp: &labv1.UdpBlast{Id: "u", From: "a", To: "b", Count: 200, SizeBytes: 20, RateBps: 4e5}}})
		s.advance(60 * sim.Millisecond)
		s.fault(&labv1.Fault{Link: "a->r", DurationNs: 400e6, Effect: &labv1.Fault_Corrupt{Corrupt: 1}})
		s.advance(2 * sim.Second)
		s.loop.Rec.Flush()
		return s
	}
	w := &watcher{}
	with, without := run(w), run(nil)
	if w.frames == 0 {
		t.Fatal("nothing was captured")
	}
	corrupted := with.net.directions[0].link.Stats().Corrupted
	if corrupted < 20 {
		t.Fatalf("%d frames were corrupted", corrupted)
	}
	if !slices.Equal(with.recs, without.recs) {
		t.Errorf("%d records with a capture, %d without, and they differ", len(with.recs), len(without.recs))
	}
}
