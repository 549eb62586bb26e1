package link

import (
	"slices"
	"testing"

	"labd.dev/sim"
)

// "What has left arrives, even if the link then goes down"; what waits is purged.
func TestGoingDown(t *testing.T) {
	cfg := Config{Rate: 8_000_000, Delay: 10 * ms}
	w := newWire(t, cfg)
	w.send(1000, 1000, 1000) // on the wire at 0, 1 and 2 ms
	w.run(1500 * us)
	down := cfg
	down.Down, down.DownBy = true, 9
	w.dir.Set(down)
	w.send(1000)
	w.run(5 * ms)
	w.dir.Set(cfg)
	w.send(1000)
	w.run(sim.Second)
	w.wantPackets(1, 2, 5)
	w.want(11*ms, 12*ms, 16*ms)

	h := w.hops()
	if len(h) != 5 {
		t.Fatalf("%d hops, want 5: %+v", len(h), h)
	}
	third, fourth := h[2], h[3]
	if third.Pkt.Counter() != 3 || third.Drop != DropFault || third.FaultID != 9 || third.Offered != 0 || third.Decided != 1500*us {
		t.Errorf("purged: %+v", third)
	}
	want := []Event{{Name: Enqueued}, {Name: Dropped, T: 1500 * us}}
	if got := third.Events(nil); !slices.Equal(got, want) {
		t.Errorf("purged: events %v, want %v", got, want)
	}
	want = []Event{{Name: Dropped, T: 1500 * us}}
	if got := fourth.Events(nil); !slices.Equal(got, want) || fourth.FaultID != 9 {
		t.Errorf("sent while down: events %v, want %v", got, want)
	}
}

// A direction that is taken out drops what is under way: on the wire there and then, with what had befallen it, and what
// waits from the queue.
func TestRemove(t *testing.T) {
	for _, split := range []bool{false, true} {
		w := newWire(t, Config{Rate: 8_000_000, Delay: 10 * ms, Corrupt: 1, Duplicate: Duplicate{Chance: 1, Delay: 9 * ms}})
		if split {
			w.cut()
		}
		w.send(1000, 1000, 1000, 1000) // on the wire at 0, 1, 2 and 3 ms; copies arrive 9 ms after
		w.run(13500 * us)
		w.wantPackets(1, 2, 3)
		w.send(1000, 1000)
		w.run(13600 * us)
		w.dir.Remove()
		w.run(sim.Second)
		w.wantPackets(1, 2, 3)

		const end = 13600 * us
		at := func(name EventName, t sim.Time) Event { return Event{Name: name, T: t} }
		want := map[uint32][]Event{ // by the number of the frame's first record, a copy's is the next
			1: {at(Enqueued, 0), at(Dequeued, 0), at(Corrupted, 0), at(Duplicated, 0), at(Delivered, 11*ms)},
			2: {at(Dropped, end)},
			7: {at(Enqueued, 0), {Dequeued, 3 * ms, 3 * ms}, at(Corrupted, 3*ms), at(Duplicated, 3*ms), at(Dropped, end)},
			8: {at(Dropped, end)},
			9: {at(Enqueued, 13500*us), at(Dequeued, 13500*us), at(Corrupted, 13500*us), at(Duplicated, 13500*us), at(Dropped, end)},
			// Of what waits nothing had come about but that.
			11: {at(Enqueued, 13500*us), at(Dropped, end)},
		}
		var dropped []uint32
		for _, h := range w.hops() {
			if events := want[h.First]; events != nil && !slices.Equal(h.Events(nil), events) {
				t.Errorf("cut %v: hop %d: %v, want %v", split, h.First, h.Events(nil), events)
			}
			if h.Drop != 0 {
				dropped = append(dropped, h.First)
				if h.Drop != DropRemoved || h.Bytes != 1000 || h.Copy && h.CopyOf != h.First-1 {
					t.Errorf("cut %v: %+v", split, h)
				}
			}
		}
		// In the order in which they left, a frame before its copy; what waits comes last, and its copy was never made.
		if order := []uint32{2, 4, 6, 7, 8, 9, 10, 11}; !slices.Equal(dropped, order) {
			t.Errorf("cut %v: dropped %v, want %v", split, dropped, order)
		}
	}
}

// Frames that a change of settings met in the queue keep their place among the events of the instant they were sent at.
func TestChangedHopsKeepTheirNumbers(t *testing.T) {
	cfg := Config{Rate: 8_000_000, Delay: ms, Queue: Queue{LimitPackets: 1}, Duplicate: Duplicate{Chance: 1}}
	w := newWire(t, cfg)
	w.send(1000, 1000, 1000) // at once on the wire; waits; finds the queue full
	w.run(100 * us)
	for range 2 {
		cfg.Delay += ms
		w.dir.Set(cfg)
	}
	w.run(sim.Second)
	var first, copies []uint32
	for _, h := range w.hops() {
		if h.Copy {
			copies = append(copies, h.CopyOf)
		} else {
			first = append(first, h.First)
		}
	}
	if want := []uint32{1, 5, 3}; !slices.Equal(first, want) { // the second one's last record follows the third's
		t.Errorf("hops are of %v, want %v", first, want)
	}
	if want := []uint32{1, 3}; !slices.Equal(copies, want) {
		t.Errorf("copies are of %v, want %v", copies, want)
	}
}

// A new rate begins with the next frame: the one on the wire finishes as it began.
func TestRateChange(t *testing.T) {
	cfg := Config{Rate: 8_000_000, Delay: ms}
	w := newWire(t, cfg)
	w.send(1000, 1000, 1000)
	w.run(500 * us)
	cfg.Rate = 80_000_000
	w.dir.Set(cfg)
	if got := w.dir.NextDeparture(); got != ms {
		t.Errorf("next departure %v, want 1 ms", got)
	}
	w.run(sim.Second)
	w.want(2*ms, 2100*us, 2200*us)

	// Twice changed, a hop is told once, with the time it was offered and the queue it found.
	cfg.Rate = 8_000_000
	w.dir.Set(cfg)
	w.hops()
	w.records = nil
	begin := w.loop.Now()
	w.send(1000, 1000)
	w.run(begin + 100*us)
	cfg.Delay = 3 * ms
	w.dir.Set(cfg)
	w.run(begin + 200*us)
	cfg.Delay = 2 * ms
	w.dir.Set(cfg)
	w.run(begin + sim.Second)
	h := w.hops()
	if len(h) != 2 {
		t.Fatalf("%d hops, want 2", len(h))
	}
	if h[1].Offered != begin || h[1].Start != begin+ms || h[1].Arrival != begin+4*ms || h[1].QueuePackets != 0 {
		t.Errorf("%+v", h[1])
	}
	want := []Event{{Name: Enqueued, T: begin}, {Name: Dequeued, T: begin + ms, Sojourn: ms}, {Name: Delivered, T: begin + 4*ms}}
	if got := h[1].Events(nil); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// A queued frame's fate is decided anew, by the same dice: loss on, it is lost; off again, it arrives.
func TestLossChange(t *testing.T) {
	cfg := Config{Rate: 8_000_000, Delay: ms}
	w := newWire(t, cfg)
	w.send(1000, 1000, 1000)
	lossy := cfg
	lossy.Loss = Loss{Model: RandomLoss, P: 1}
	lossy.LossBy = 5
	lossy.Duplicate.Chance = 1
	w.run(100 * us)
	w.dir.Set(lossy)
	if s := w.dir.Stats(); s.Lost != 2 {
		t.Errorf("%d lost, want the 2 that wait", s.Lost)
	}
	w.run(1500 * us) // the second is on the wire now
	w.dir.Set(cfg)
	w.run(sim.Second)
	w.wantPackets(1, 3)
	if s := w.dir.Stats(); s.Lost != 1 || s.Duplicated != 0 {
		t.Errorf("%+v", s)
	}
	if h := w.hops(); len(h) != 3 || h[1].Drop != DropLoss || h[1].FaultID != 5 || !h[1].OnWire {
		t.Errorf("%+v", h)
	}
}

// "Observers change nothing": who asks for the counters at the instant of an input does not change what it does.
func TestStatsChangeNothing(t *testing.T) {
	for _, look := range []bool{false, true} {
		cfg := Config{Rate: 8_000_000, Delay: ms}
		w := newWire(t, cfg)
		w.send(1000, 1000)
		w.run(ms) // the second departs at this instant
		if look {
			w.dir.Stats()
		}
		cfg.Delay = 5 * ms
		w.dir.Set(cfg)
		w.run(sim.Second)
		w.want(2*ms, 7*ms)
	}
}

// A shorter delay lets no frame overtake, unless jitter may reorder.
func TestDelayChange(t *testing.T) {
	for _, reorder := range []bool{false, true} {
		cfg := Config{Delay: 10 * ms, Jitter: Jitter{Reorder: reorder}}
		w := newWire(t, cfg)
		w.send(100)
		w.run(ms)
		cfg.Delay = ms
		w.dir.Set(cfg)
		w.send(100)
		w.run(sim.Second)
		if reorder {
			w.want(2*ms, 10*ms)
		} else {
			w.want(10*ms, 10*ms)
		}
	}
}

// A span that a record cannot hold saturates.
func TestPack(t *testing.T) {
	for _, c := range []struct {
		span, want sim.Time
		small      int
	}{{0, 0, 0}, {5 * sim.Second, 5 * sim.Second, smallMax}, {spanMax, spanMax, 1}, {spanMax + 1, spanMax, 2}, {-1, 0, 3}} {
		span, small := unpack(pack(c.span, c.small))
		if span != c.want || small != c.small {
			t.Errorf("%v, %d came back as %v, %d", c.span, c.small, span, small)
		}
	}
}

func TestDecodeOtherKinds(t *testing.T) {
	if _, ok := Decode(&sim.Record{Kind: sim.KindTCP}, nil); ok {
		t.Error("a TCP record is taken for a hop")
	}
	if s := DropCause(99).String(); s != "" {
		t.Errorf("unknown cause %q", s)
	}
}
