package trace

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"labd.dev/link"
	"labd.dev/sim"
)

// Who follows a lab is told the same as who reads its trace when it has ended, also of frames whose link was changed, or
// taken out, while they were under way.
func TestStreamIsTheExpansion(t *testing.T) {
	var cut, changed int
	rapid.Check(t, func(t *rapid.T) {
		stream := NewStream()
		stream.SetNames(testNames)
		var recs []sim.Record
		var got []Event
		loop := sim.NewLoop(sim.LoopConfig{})
		loop.Rec = sim.NewRecorder(1, func(r []sim.Record) {
			recs = append(recs, r...)
			if err := stream.Add(AppendRecord(nil, &r[0])); err != nil {
				t.Fatal(err)
			}
		})
		id := &sim.Identity{Src: sim.Source{ID: router}}
		cfg := link.Config{Rate: 8_000_000, Delay: 3 * sim.Millisecond, Queue: link.Queue{LimitPackets: 4},
			Duplicate: link.Duplicate{Chance: 0.3, Delay: sim.Millisecond}, Corrupt: 0.2}
		d := link.NewDirection(loop, id, sim.Source{ID: onClient}, "r1->client", rapid.Uint64().Draw(t, "seed"), cfg)
		d.Connect(link.SinkFunc((*sim.Frame).Release))
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			for range rapid.IntRange(0, 4).Draw(t, "frames") {
				f := loop.NewFrame()
				f.Pkt = id.NextPacket()
				clear(f.Append(100))
				d.Send(f)
			}
			if err := loop.RunBefore(loop.Now() + sim.Time(rapid.IntRange(0, 3000).Draw(t, "us"))*sim.Microsecond); err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "set") {
				cfg.Delay = sim.Time(rapid.IntRange(1, 5).Draw(t, "delay")) * sim.Millisecond
				cfg.Down = rapid.IntRange(0, 9).Draw(t, "down") == 0
				d.Set(cfg)
			}
			loop.Rec.Flush()
			got = append(got, stream.Before(int64(loop.Now()))...)
		}
		if rapid.Bool().Draw(t, "remove") {
			d.Remove()
		} else {
			defer d.Close()
		}
		loop.Rec.Flush()
		got = append(got, stream.Rest()...)
		want := Expand(recs, &testNames)
		for i := range min(len(got), len(want)) {
			if g, w := line(t, &got[i]), line(t, &want[i]); g != w {
				t.Fatalf("event %d:\n got %s\nwant %s", i, g, w)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d events followed, %d in the trace", len(got), len(want))
		}
		if !slices.IsSortedFunc(got, compareEvents) {
			t.Fatal("events are not in order")
		}
		for i := range recs {
			if h, _ := link.Decode(&recs[i], recs[i+1:]); h.CutShort() {
				cut++
			} else if h.Supersedes != 0 {
				changed++
			}
		}
	})
	if cut < 20 || changed < 20 {
		t.Errorf("only %d frames were cut short and %d changed", cut, changed)
	}
}

func line(t *rapid.T, e *Event) string {
	b, err := e.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
