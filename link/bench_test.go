package link

import (
	"testing"

	"labd.dev/sim"
)

// BenchmarkHop is a frame through a chain of directions, each handing it to the next: time for each hop.
func BenchmarkHop(b *testing.B) {
	for _, c := range []struct {
		name   string
		window int // frames under way
		trace  bool
		cfg    Config
	}{
		{"1-frame", 1, false, Config{Rate: 1_000_000_000, Delay: sim.Millisecond}},
		{"64-frames", 64, false, Config{Rate: 1_000_000_000, Delay: sim.Millisecond}},
		{"64-frames-traced", 64, true, Config{Rate: 1_000_000_000, Delay: sim.Millisecond}},
		{"64-frames-loss-jitter", 64, false, Config{Rate: 1_000_000_000, Delay: sim.Millisecond,
			Loss: Loss{Model: RandomLoss, P: 1e-9}, Jitter: Jitter{Amount: 10 * us, Dist: Normal}}},
		{"64-frames-queued", 64, false, Config{Rate: 1_000_000_000}},
		{"64-frames-device", 64, false, Config{Rate: 1_000_000_000, Queue: Queue{Device: Device{RingPackets: 8, BQL: ByteQueueLimits{On: true}}}}},
		{"1000-frames-unlimited", 1000, false, Config{Delay: sim.Millisecond}},
	} {
		b.Run(c.name, func(b *testing.B) {
			const hops = 4
			l := sim.NewLoop(sim.LoopConfig{})
			if c.trace {
				l.Rec = sim.NewRecorder(1024, func([]sim.Record) {})
			}
			id := &sim.Identity{Src: sim.Source{ID: 1}}
			var dirs [hops]*Direction
			for i := range dirs {
				dirs[i] = NewDirection(l, id, sim.Source{ID: sim.Origin(2 + i)}, string(rune('a'+i)), 1, c.cfg)
			}
			for i, d := range dirs {
				d.Connect(SinkFunc(dirs[(i+1)%hops].Send))
			}
			for range c.window {
				f := l.NewFrame()
				f.Append(54)
				ch := l.NewChunk(1460)
				f.SetPayload(ch, 0, 1460)
				ch.Release()
				dirs[0].Send(f)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for end := sim.Time(0); l.Events() < uint64(b.N); {
				end += sim.Millisecond
				if err := l.RunBefore(end); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
