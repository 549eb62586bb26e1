package link

import (
	"math/bits"
	"slices"
	"testing"

	"labd.dev/sim"
)

// wire is one direction between a sender and a receiver that writes down what arrives.
type wire struct {
	t       *testing.T
	loop    *sim.Loop
	far     *sim.Loop // the receiver's, where the direction is cut
	id      *sim.Identity
	dir     *Direction
	arrived []sim.Time
	packets []uint64
	frames  []*sim.Frame // kept where keep is set
	keep    bool
	records []sim.Record
}

func newWire(t *testing.T, cfg Config) *wire {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, loop: sim.NewLoop(sim.LoopConfig{}), id: &sim.Identity{Src: sim.Source{ID: 1}}}
	w.loop.Rec = sim.NewRecorder(8, func(rs []sim.Record) { w.records = append(w.records, rs...) })
	w.dir = NewDirection(w.loop, w.id, sim.Source{ID: 2}, "a->b", 1, cfg)
	w.dir.Connect(SinkFunc(w.receive))
	t.Cleanup(func() {
		w.dir.Close()
		for _, f := range w.frames {
			f.Release()
		}
		if w.loop.LiveFrames() != 0 || w.loop.LiveChunks() != 0 {
			t.Errorf("%d frames, %d chunks leak", w.loop.LiveFrames(), w.loop.LiveChunks())
		}
	})
	return w
}

func (w *wire) receive(f *sim.Frame) {
	w.arrived = append(w.arrived, w.loop.Now())
	w.packets = append(w.packets, f.Pkt.Counter())
	if w.keep {
		w.frames = append(w.frames, f)
		return
	}
	f.Release()
}

// cut puts the receiver into a loop of its own.
func (w *wire) cut() {
	w.far = sim.NewLoop(sim.LoopConfig{})
	w.dir.Cut(w.far).Connect(SinkFunc(w.receive))
}

// send offers frames of n bytes in all.
func (w *wire) send(sizes ...int) {
	for _, n := range sizes {
		f := w.loop.NewFrame()
		f.Pkt = w.id.NextPacket()
		copy(f.Append(14), make([]byte, 14))
		c := w.loop.NewChunk(n - 14)
		clear(c.Data)
		f.SetPayload(c, 0, n-14)
		c.Release()
		w.dir.Send(f)
	}
}

func (w *wire) run(end sim.Time) {
	w.t.Helper()
	if w.far != nil {
		g := sim.Group{Loops: []*sim.Loop{w.loop, w.far}, Crossings: []sim.Crossing{w.dir}}
		if err := g.RunBefore(end); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	if err := w.loop.RunBefore(end); err != nil {
		w.t.Fatal(err)
	}
}

// want compares and forgets the arrivals so far.
func (w *wire) want(arrivals ...sim.Time) {
	w.t.Helper()
	if !slices.Equal(w.arrived, arrivals) {
		w.t.Errorf("arrived at %v, want %v", w.arrived, arrivals)
	}
	w.arrived, w.packets = nil, nil
}

func (w *wire) wantPackets(packets ...uint64) {
	w.t.Helper()
	if !slices.Equal(w.packets, packets) {
		w.t.Errorf("packets %v arrived, want %v", w.packets, packets)
	}
}

func (w *wire) hops() []Hop {
	w.t.Helper()
	w.loop.Rec.Flush()
	var hops []Hop
	for i := range w.records {
		h, ok := Decode(&w.records[i], w.records[i+1:])
		if w.records[i].Kind == sim.KindMore {
			continue
		}
		if !ok {
			w.t.Fatalf("record %d is no hop", i)
		}
		hops = append(hops, h)
	}
	return Settle(hops)
}

const (
	us = sim.Microsecond
	ms = sim.Millisecond
)

// "Serialisation at rate, counting the Ethernet header, no FCS, unless an overhead is given."
func TestSerialisation(t *testing.T) {
	w := newWire(t, Config{Rate: 10_000_000, Delay: 5 * ms})
	w.send(1514, 64) // 1211.2 us and 51.2 us
	w.run(ms)
	w.send(1000) // 800 us, behind them
	w.run(sim.Second)
	w.want(5*ms+1211200, 5*ms+1262400, 5*ms+2062400)

	w = newWire(t, Config{Rate: 10_000_000, Delay: 5 * ms, Overhead: 24})
	w.send(1514)
	w.run(sim.Second)
	w.want(5*ms + 1538*8*100)
}

// Picoseconds add up: at 3 Gbit/s a byte takes 2,666 ps, and a train of frames is not rounded one by one.
func TestSerialisationKeepsFractions(t *testing.T) {
	w := newWire(t, Config{Rate: 3_000_000_000, Delay: ms})
	for range 1000 {
		w.send(101)
	}
	w.run(sim.Second)
	last := w.arrived[len(w.arrived)-1] - ms
	if want := sim.Time(1000 * 101 * 2666 / 1000); last != want {
		t.Errorf("the last left after %d ns, want %d", last, want)
	}
}

// "No frame arrives at the instant it is sent: delay 0 is 1 ns."
func TestNoZeroTime(t *testing.T) {
	w := newWire(t, Config{})
	w.send(64, 64)
	w.run(sim.Second)
	w.want(1, 1)
}

func TestDroptail(t *testing.T) {
	for _, c := range []struct {
		name  string
		queue Queue
		want  []uint64
	}{
		{"packets: one on the wire and two waiting", Queue{LimitPackets: 2}, []uint64{1, 2, 3}},
		{"bytes: a smaller one still fits", Queue{LimitBytes: 1100}, []uint64{1, 2, 5}},
		{"both", Queue{LimitPackets: 1, LimitBytes: 5000}, []uint64{1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t, Config{Rate: 8_000_000, Queue: c.queue}) // 1 us a byte
			w.send(1000, 1000, 1000, 1000, 100)
			if s := w.dir.Stats(); s.QueuePackets != len(c.want)-1 {
				t.Errorf("%d packets wait, want %d", s.QueuePackets, len(c.want)-1)
			}
			w.run(sim.Second)
			w.wantPackets(c.want...)
			s := w.dir.Stats()
			if s.QueueFull != 5-uint64(len(c.want)) || s.QueuePackets != 0 || s.QueueBytes != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A frame leaves the queue when it goes on the wire, without an event.
func TestQueueDrains(t *testing.T) {
	w := newWire(t, Config{Rate: 8_000_000, Queue: Queue{LimitPackets: 1}})
	w.send(1000, 1000) // on the wire until 1 ms; waiting until then
	w.run(ms)
	w.send(1000) // the second goes on the wire at this instant
	w.send(1000) // no room
	w.run(sim.Second)
	w.wantPackets(1, 2, 3)
	if got := w.loop.Events(); got != 3 {
		t.Errorf("%d events for three arrivals", got)
	}
}

func TestMTU(t *testing.T) {
	w := newWire(t, Config{MTU: 600})
	w.send(614, 615)
	w.run(sim.Second)
	w.wantPackets(1)
	h := w.hops()
	if len(h) != 2 || h[1].Drop != DropMTU || h[1].Drop.String() != "mtu" {
		t.Errorf("hops %+v", h)
	}
}

func TestLossModels(t *testing.T) {
	const n = 20_000
	for _, c := range []struct {
		name   string
		loss   Loss
		lo, hi uint64
	}{
		{"random 5%", Loss{Model: RandomLoss, P: 0.05}, n * 46 / 1000, n * 54 / 1000},
		{"random 100%", Loss{Model: RandomLoss, P: 1}, n, n},
		{"each fourth", Loss{Model: EveryLoss, Every: 4}, n / 4, n / 4},
		{"a list", Loss{Model: FrameLoss, Frames: []uint64{1, 7, 19_999, 30_000}}, 3, 3},
		// In the bad state p/(p+r) = 1/31 of the time.
		{"bursts", Loss{Model: GilbertElliott, P: 0.01, R: 0.3, Bad: 1}, n * 26 / 1000, n * 39 / 1000},
		// 30/31 of the time a tenth is lost, 1/31 of it half.
		{"bursts with a loss in both states", Loss{Model: GilbertElliott, P: 0.01, R: 0.3, Bad: 0.5, Good: 0.1}, n * 104 / 1000, n * 122 / 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t, Config{Loss: c.loss})
			for range n {
				w.send(64)
				w.run(w.loop.Now() + us)
			}
			s := w.dir.Stats()
			if s.Lost < c.lo || s.Lost > c.hi || s.Delivered+s.Lost != n {
				t.Errorf("%d of %d lost, want %d to %d", s.Lost, n, c.lo, c.hi)
			}
			if c.loss.Model == EveryLoss && slices.Contains(w.packets, 4) {
				t.Error("the fourth frame arrived")
			}
		})
	}
}

// "Toggling one knob shifts no other dice": the frames lost are the same whatever else the direction does.
func TestKnobsAreIndependent(t *testing.T) {
	lost := func(cfg Config) []uint64 {
		w := newWire(t, cfg)
		for range 2000 {
			w.send(64)
		}
		w.run(sim.Second)
		var lost []uint64
		for _, h := range w.hops() {
			if h.Drop == DropLoss {
				lost = append(lost, h.Pkt.Counter())
			}
		}
		return lost
	}
	cfg := Config{Loss: Loss{Model: RandomLoss, P: 0.1}}
	want := lost(cfg)
	cfg.Corrupt, cfg.Duplicate.Chance, cfg.Jitter = 0.5, 0.5, Jitter{Amount: 5 * us, Reorder: true}
	if got := lost(cfg); !slices.Equal(got, want) {
		t.Error("other knobs changed which frames are lost")
	}
}

// netem's place of loss: a lost frame takes no room in the queue and no time on the wire.
func TestLossAt(t *testing.T) {
	cfg := Config{Rate: 8_000_000, Loss: Loss{Model: FrameLoss, Frames: []uint64{1, 2}}}
	w := newWire(t, cfg)
	w.send(1000, 1000, 1000)
	w.run(sim.Second)
	w.want(3*ms + 1)
	cfg.LossAt = AtEnqueue
	w = newWire(t, cfg)
	w.send(1000, 1000, 1000)
	w.run(sim.Second)
	w.want(ms + 1)
	// The copy queues behind its frame, and takes the wire like any other.
	w = newWire(t, Config{Rate: 8_000_000, LossAt: AtEnqueue, Duplicate: Duplicate{Chance: 1}})
	w.send(1000, 1000)
	w.run(sim.Second)
	w.want(ms+1, 2*ms+1, 3*ms+1, 4*ms+1)
}

func TestDuplicate(t *testing.T) {
	w := newWire(t, Config{Delay: ms, Duplicate: Duplicate{Chance: 1, Delay: 300 * us}})
	w.send(100)
	w.run(100 * us)
	w.send(100)
	w.run(sim.Second)
	w.wantPackets(1, 2, 1, 2)
	w.want(ms, ms+100*us, ms+300*us, ms+400*us)
}

// "Corruption: one random bit of the frame is flipped", in the receiver's copy only.
func TestCorrupt(t *testing.T) {
	w := newWire(t, Config{Corrupt: 1, Duplicate: Duplicate{Chance: 1}})
	w.keep = true
	c := w.loop.NewChunk(1000)
	clear(c.Data)
	defer c.Release()
	places := map[int]bool{}
	for range 200 {
		f := w.loop.NewFrame()
		f.Verified = true
		clear(f.Append(34))
		f.SetPayload(c, 0, 1000)
		f.Sum, f.SumKnown = 7, true
		w.dir.Send(f)
		w.run(w.loop.Now() + 10*us)
	}
	for i, f := range w.frames {
		ones, place := 0, 0
		for j, b := range slices.Concat(f.Header(), f.Payload) {
			ones += bits.OnesCount8(b)
			if b != 0 {
				place = j
			}
		}
		if ones != 1 || f.Flips != 1 || f.Verified || place >= 34 && f.SumKnown {
			t.Fatalf("frame %d: %d bits flipped, Flips %d, verified %v, sum known %v", i, ones, f.Flips, f.Verified, f.SumKnown)
		}
		places[place] = true
	}
	for _, b := range c.Data {
		if b != 0 {
			t.Fatal("the sender's bytes changed")
		}
	}
	if len(places) < 100 {
		t.Errorf("only %d places in 200 frames", len(places))
	}
}

// Jitter stays in its bounds, which the lookahead counts on; without leave to reorder no frame overtakes another.
func TestJitter(t *testing.T) {
	for _, c := range []struct {
		name   string
		dist   Distribution
		lo, hi sim.Time
	}{
		{"uniform", Uniform, 9 * ms, 11 * ms},
		{"normal", Normal, 6 * ms, 14 * ms},
		{"pareto", Pareto, 10*ms - 577351, 14 * ms},
	} {
		for _, reorder := range []bool{true, false} {
			t.Run(c.name, func(t *testing.T) {
				w := newWire(t, Config{Delay: 10 * ms, Jitter: Jitter{Amount: ms, Dist: c.dist, Reorder: reorder}})
				if look := w.dir.Lookahead(); look < c.lo-us || look > c.lo {
					t.Errorf("lookahead %v, want %v", look, c.lo)
				}
				for range 5000 {
					w.send(64)
					w.run(w.loop.Now() + 100*us)
				}
				w.run(10 * sim.Second)
				overtaken := 0
				for _, h := range w.hops() {
					if d := h.Arrival - h.Start; d < w.dir.Lookahead() || d < c.lo || d > c.hi {
						t.Fatalf("packet %v took %v, want %v to %v", h.Pkt, d, c.lo, c.hi)
					}
					if h.Reordered {
						overtaken++
					}
				}
				if !slices.IsSorted(w.packets) != reorder || (overtaken > 0) != reorder {
					t.Errorf("reorder %v: %d frames overtook", reorder, overtaken)
				}
			})
		}
	}
}

// Steady state allocates nothing, recorded or not.
func TestFramesDoNotAllocate(t *testing.T) {
	for _, cfg := range []Config{
		{Rate: 1_000_000_000, Delay: ms},
		{Rate: 1_000_000_000, Delay: ms, Loss: Loss{Model: GilbertElliott, P: 0.1, R: 0.5, Bad: 1}, Corrupt: 0.1,
			Jitter: Jitter{Amount: 100 * us, Dist: Normal, Reorder: true}, Duplicate: Duplicate{Chance: 0.1, Delay: 5 * us}},
	} {
		w := newWire(t, cfg)
		w.loop.Rec = sim.NewRecorder(64, func([]sim.Record) {})
		w.dir.Connect(SinkFunc((*sim.Frame).Release))
		step := func() {
			for range 100 {
				w.send(64, 1514, 700)
				w.run(w.loop.Now() + 10*us)
			}
		}
		for range 20 {
			step()
		}
		if n := testing.AllocsPerRun(20, step); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

// Whoever leaves checksums open makes them when a bit is about to flip: once a flip, before it, and at no other time,
// also where corruption was switched on while the frame was in the queue.
func TestBeforeFlip(t *testing.T) {
	w := newWire(t, Config{Rate: 8e6})
	seen := 0
	w.dir.BeforeFlip(func(f *sim.Frame) {
		seen++
		if f.Flips != 0 || !f.Verified {
			t.Errorf("flips %d, verified %v when asked", f.Flips, f.Verified)
		}
	})
	for range 10 {
		f := w.loop.NewFrame()
		f.Verified = true
		f.Append(100)
		w.dir.Send(f)
	}
	w.run(550 * us)
	w.dir.Set(Config{Rate: 8e6, Corrupt: 1})
	w.run(sim.Second)
	if n := int(w.dir.Stats().Corrupted); n == 0 || n == 10 || seen != n {
		t.Errorf("%d of 10 frames corrupted, asked %d times", n, seen)
	}
}
