package link

import (
	"slices"
	"testing"

	"labd.dev/sim"
	"pgregory.net/rapid"
)

// A frame leaves the queue when the ring has room, and the limit counts what is in the queue only. A frame takes 1 ms.
func TestRingBehindQueue(t *testing.T) {
	cfg := Config{Rate: 8_000_000, Delay: ms, Queue: Queue{LimitPackets: 2, Device: Device{RingPackets: 2}}}
	w := newWire(t, cfg)
	w.send(1000, 1000, 1000, 1000, 1000, 1000) // the wire, the ring's two, the queue's two, and one too many
	s := w.dir.Stats()
	if s.QueueFull != 1 || s.QueuePackets != 2 || s.QueueBytes != 2000 || s.Device != (DeviceStats{RingPackets: 2, RingBytes: 2000}) {
		t.Errorf("%+v", s)
	}
	w.run(sim.Second)
	w.want(2*ms, 3*ms, 4*ms, 5*ms, 6*ms)

	h := w.hops()
	left := []sim.Time{0, 0, 0, ms, 2 * ms}
	for i, want := range left {
		if h[i].Left != want || h[i].Start != sim.Time(i)*ms {
			t.Errorf("frame %d left the queue at %v and was sent at %v, want %v and %v", i+1, h[i].Left, h[i].Start, want, sim.Time(i)*ms)
		}
	}
	want := []Event{{Name: Enqueued}, {Dequeued, 2 * ms, 2 * ms}, {Transmitted, 4 * ms, 2 * ms}, {Name: Delivered, T: 6 * ms}}
	if got := h[4].Events(nil); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// The wait that marks count ends where the frame leaves the queue: with all of them in the ring none is marked.
func TestMarkAtTheQueueNotTheRing(t *testing.T) {
	for ring, marked := range []uint64{3, 2, 1, 0} {
		w := newWire(t, Config{Rate: 8_000_000, Queue: Queue{Mark: Mark{Sojourn: 1500 * us}, Device: Device{RingPackets: ring}}})
		w.keep = true
		for range 5 {
			w.offer(false, 2)
		}
		w.run(100 * ms)
		if n := w.dir.Stats().Marked; n != marked {
			t.Errorf("a ring of %d: %d marked, want %d", ring, n, marked)
		}
	}
}

// Byte queue limits keep in the ring what the wire needs, and leave the rest in the queue, where a ring of 100 would take all.
func TestByteQueueLimitsKeepTheRingShort(t *testing.T) {
	cfg := Config{Rate: 8_000_000, Delay: ms, Queue: Queue{Device: Device{RingPackets: 100, BQL: ByteQueueLimits{On: true}}}}
	w := newWire(t, cfg)
	for range 50 {
		w.send(1000)
	}
	w.run(20*ms + 1)
	s := w.dir.Stats()
	if s.Device.BQLLimit == 0 || s.Device.BQLLimit > 2000 || s.Device.RingPackets == 0 || s.Device.RingPackets > 3 ||
		s.QueuePackets+s.Device.RingPackets != 29 {
		t.Errorf("%+v", s)
	}
	w.run(sim.Second)
	if len(w.arrived) != 50 || w.arrived[49] != 51*ms {
		t.Errorf("%d arrived, the last at %v: the wire ran dry", len(w.arrived), w.arrived[len(w.arrived)-1])
	}
}

// A live change leaves in the ring what is there: it has left the queue, with or without a mark. Down purges both, and byte
// queue limits begin anew (netdev_reset_queue).
func TestDeviceChanges(t *testing.T) {
	cfg := Config{Rate: 8_000_000, Queue: Queue{Device: Device{RingPackets: 2, BQL: ByteQueueLimits{On: true}}, Mark: Mark{Sojourn: 1500 * us}}}
	w := newWire(t, cfg)
	for range 6 {
		w.offer(false, 2)
	}
	w.run(2500 * us) // on the wire: 1 to 3; in the ring, since 1 and 2 ms: 4 and 5
	before := w.dir.Stats()
	if before.Device.RingPackets != 2 || before.Marked != 2 || before.QueuePackets != 1 {
		t.Fatalf("%+v", before)
	}
	slower := cfg
	slower.Rate = 800_000
	w.dir.Set(slower)
	if s := w.dir.Stats(); s != before {
		t.Errorf("a new rate: %+v, before %+v", s, before)
	}
	other := slower
	other.Queue.Mark, other.Queue.Device = Mark{}, Device{RingPackets: 3}
	w.dir.Set(other)
	if s := w.dir.Stats(); s.Device != (DeviceStats{RingPackets: 2, RingBytes: 2000}) || s.Marked != 1 {
		t.Errorf("another ring, no marks: %+v", s)
	}
	w.run(2600 * us)
	if s := w.dir.Stats(); s.Device != (DeviceStats{RingPackets: 3, RingBytes: 3000}) || s.QueuePackets != 0 {
		t.Errorf("another ring: %+v", s)
	}
	none := other
	none.Queue.Device = Device{}
	w.dir.Set(none)
	if s := w.dir.Stats(); s.QueuePackets != 0 || s.QueueBytes != 0 {
		t.Errorf("no device any more: %+v", s)
	}
	w.run(3500 * us) // the fourth is on the wire
	down := cfg
	down.Down = true
	w.dir.Set(down)
	if s := w.dir.Stats(); s.Fault != 2 || s.QueuePackets != 0 || s.Device != (DeviceStats{}) {
		t.Errorf("down: %+v", s)
	}
	w.dir.Set(cfg)
	w.offer(false, 2)
	w.run(sim.Second)
	w.wantPackets(1, 2, 3, 4, 7)

	h := w.hops()
	want := []Event{{Name: Enqueued}, {Dequeued, 2 * ms, 2 * ms}, {Name: Marked, T: 2 * ms}, {Name: Dropped, T: 3500 * us}}
	if got := h[4].Events(nil); !slices.Equal(got, want) {
		t.Errorf("purged from the ring: events %v, want %v", got, want)
	}
}

// A device decides all of a frame when it is offered. Whoever instead let one event happen after the other would find the
// same.
func TestDeviceAsItHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ring := rapid.IntRange(1, 5).Draw(rt, "ring")
		bql := ByteQueueLimits{On: rapid.Bool().Draw(rt, "bql"), HoldTime: rapid.SampledFrom([]sim.Time{1, ms, 20 * ms}).Draw(rt, "hold time")}
		w := newWire(t, Config{Rate: 8_000_000, Queue: Queue{Device: Device{RingPackets: ring, BQL: bql}}})
		type offer struct {
			at   sim.Time
			size int
		}
		var offers []offer
		now := sim.Time(0)
		for range rapid.IntRange(1, 200).Draw(rt, "frames") {
			now += rapid.SampledFrom([]sim.Time{0, 0, 1, 300 * us, ms, 5 * ms}).Draw(rt, "pause")
			offers = append(offers, offer{now, rapid.SampledFrom([]int{60, 500, 1000, 1500}).Draw(rt, "size")})
		}
		for _, o := range offers {
			w.run(o.at)
			if rapid.Bool().Draw(rt, "look") {
				w.dir.Stats()
			}
			w.send(o.size)
		}
		w.run(now + 10*sim.Second)

		limits := newDynamicQueueLimits(&w.dir.cfg.Queue.Device.BQL, 0)
		hops := w.hops()
		left, sent := 0, 0
		for at := sim.Time(0); sent < len(hops); {
			for { // all that happens at an instant: the wire first, then the queue
				if sent < left && hops[sent].Start == at {
					limits.complete(int64(offers[sent].size), at)
					sent++
					continue
				}
				if left < len(hops) && offers[left].at <= at && left-sent < ring && (!bql.On || limits.available() >= 0) {
					if hops[left].Left != at {
						rt.Fatalf("frame %d left at %v, want %v", left+1, hops[left].Left, at)
					}
					limits.enqueue(int64(offers[left].size))
					left++
					continue
				}
				break
			}
			next := sim.Never
			if sent < left {
				next = min(next, hops[sent].Start)
			}
			if left < len(hops) && offers[left].at > at {
				next = min(next, offers[left].at)
			}
			if next == sim.Never {
				break
			}
			at = next
		}
		if sent != len(hops) {
			rt.Fatalf("%d of %d frames came through", sent, len(hops))
		}
		if got := w.dir.Stats().Device.BQLLimit; bql.On && got != int(limits.limit) {
			rt.Fatalf("limit %d, want %d", got, limits.limit)
		}
	})
}

// A device makes nothing per frame: its ring is the queue's.
func TestDeviceAllocatesNothing(t *testing.T) {
	loop := sim.NewLoop(sim.LoopConfig{})
	id := &sim.Identity{Src: sim.Source{ID: 1}}
	d := NewDirection(loop, id, sim.Source{ID: 2}, "a->b", 1,
		Config{Rate: 1_000_000_000, Queue: Queue{Device: Device{RingPackets: 4, BQL: ByteQueueLimits{On: true}}}})
	d.Connect(SinkFunc(func(f *sim.Frame) { f.Release() }))
	burst := func() {
		for range 32 {
			f := loop.NewFrame()
			f.Append(100)
			d.Send(f)
		}
		if err := loop.RunBefore(loop.Now() + 100*us); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 { // rings grow, frames are pooled
		burst()
	}
	if n := testing.AllocsPerRun(100, burst); n != 0 {
		t.Errorf("%v allocations in 32 frames", n)
	}
	d.Close()
}
