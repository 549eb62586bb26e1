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
	if _, ok := Decode(&sim.Record{Kind: sim.KindTCP}); ok {
		t.Error("a TCP record is taken for a hop")
	}
	if s := DropCause(99).String(); s != "" {
		t.Errorf("unknown cause %q", s)
	}
}
