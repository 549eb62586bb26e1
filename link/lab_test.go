package link

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"labd.dev/sim"
	"pgregory.net/rapid"
)

// station is a node of a test lab: it sends frames on a timer and answers some of those it gets.
type station struct {
	t     sim.Timer
	id    *sim.Identity
	loop  *sim.Loop
	dice  sim.Stream
	draws uint64
	out   []*Direction
	left  int // bursts still to send of its own accord
	pace  sim.Time
	heard []byte // all that arrived: time, packet, sum of its bytes
}

func (s *station) draw(n int) int {
	s.draws++
	return int(s.dice.Below(s.draws, uint64(n)))
}

func (s *station) Fire(now sim.Time) {
	if s.left--; s.left < 0 {
		return
	}
	for range 1 + s.draw(4) {
		s.send(s.out[s.draw(len(s.out))], 40+s.draw(1480))
	}
	s.loop.Arm(&s.t, &s.id.Src, now+sim.Time(s.draw(int(s.pace)+1)))
}

func (s *station) send(d *Direction, n int) {
	f := s.loop.NewFrame()
	f.Pkt = s.id.NextPacket()
	h := f.Append(34)
	for i := range h {
		h[i] = byte(s.draw(256))
	}
	c := s.loop.NewChunk(n)
	for i := range c.Data {
		c.Data[i] = byte(i)
	}
	f.SetPayload(c, 0, n)
	c.Release()
	d.Send(f)
}

func (s *station) receive(f *sim.Frame) {
	s.heard = binary.BigEndian.AppendUint64(s.heard, uint64(s.loop.Now()))
	s.heard = binary.BigEndian.AppendUint64(s.heard, uint64(f.Pkt))
	sum := uint32(0)
	for _, b := range f.Header() {
		sum = sum*31 + uint32(b)
	}
	for _, b := range f.Payload {
		sum = sum*31 + uint32(b)
	}
	s.heard = binary.BigEndian.AppendUint32(s.heard, sum)
	answer := s.draw(10) < 3
	f.Release()
	if answer {
		s.send(s.out[s.draw(len(s.out))], 40+s.draw(500))
	}
}

// change is an input of a test lab: a direction gets another configuration, or is taken out.
type change struct {
	at     sim.Time
	dir    int
	cfg    Config
	remove bool // it is taken out, unless it is its station's last
}

// plan is a test lab: stations in a ring, each with a direction to the next and to the one before.
type plan struct {
	seed     uint64
	stations int
	left     int
	pace     sim.Time
	cfgs     []Config // of direction 2i (to the next) and 2i+1 (to the one before)
	changes  []change
	end      sim.Time
}

// outcome is what a played plan leaves.
type outcome struct {
	records []sim.Record
	heard   [][]byte
	stats   []Stats
	crossed uint64 // frames delivered over the cut
}

// ring is a plan, built.
type ring struct {
	group    sim.Group
	stations []*station
	dirs     []*Direction
	records  []sim.Record
}

// build makes the plan's lab over some loops; station i lives in loop i mod loops.
func (p plan) build(loops int) *ring {
	r := &ring{}
	for i := range loops {
		l := sim.NewLoop(sim.LoopConfig{Name: fmt.Sprint("loop ", i), Budget: sim.Budget{PerLab: 5_000_000}})
		l.Rec = sim.NewRecorder(64, func(rs []sim.Record) { r.records = append(r.records, rs...) })
		r.group.Loops = append(r.group.Loops, l)
	}
	for i := range p.stations {
		s := &station{
			id:   &sim.Identity{Src: sim.Source{ID: sim.Origin(i + 1)}, Name: fmt.Sprint("s", i)},
			loop: r.group.Loops[i%loops], dice: sim.NewStream(p.seed, fmt.Sprint("station ", i)), left: p.left, pace: p.pace,
		}
		s.t.H = s
		s.loop.Arm(&s.t, &s.id.Src, 0)
		r.stations = append(r.stations, s)
	}
	for i, cfg := range p.cfgs {
		from, to := r.stations[i/2], r.stations[(i/2+1)%p.stations]
		if i%2 == 1 {
			to = r.stations[(i/2+p.stations-1)%p.stations]
		}
		src := sim.Source{ID: sim.Origin(p.stations + 1 + i)}
		d := NewDirection(from.loop, from.id, src, fmt.Sprint("d", i), p.seed, cfg)
		if from.loop == to.loop {
			d.Connect(SinkFunc(to.receive))
		} else {
			d.Cut(to.loop).Connect(SinkFunc(to.receive))
			r.group.Crossings = append(r.group.Crossings, d)
		}
		from.out = append(from.out, d)
		r.dirs = append(r.dirs, d)
	}
	return r
}

// play runs the plan over some loops, closes the lab and looks for leaks.
func (p plan) play(t interface{ Fatalf(string, ...any) }, loops int) outcome {
	r := p.build(loops)
	run := func(end sim.Time) {
		if err := r.group.RunBefore(end); err != nil {
			t.Fatalf("%v", err)
		}
	}
	for _, c := range p.changes {
		run(c.at)
		r.apply(c)
	}
	run(p.end)

	var o outcome
	for _, d := range r.dirs {
		o.stats = append(o.stats, d.Stats())
		if d.receiver != nil {
			o.crossed += d.Stats().Delivered
		}
		d.Close()
	}
	for _, s := range r.stations {
		o.heard = append(o.heard, s.heard)
		s.loop.Stop(&s.t)
	}
	for _, l := range r.group.Loops {
		l.Rec.Flush()
		if l.LiveFrames() != 0 || l.LiveChunks() != 0 || l.Armed() != 0 {
			t.Fatalf("%s leaks %d frames, %d chunks, %d timers", l.Name(), l.LiveFrames(), l.LiveChunks(), l.Armed())
		}
	}
	o.records = r.records
	slices.SortStableFunc(o.records, func(a, b sim.Record) int { // a record that continues another stays behind it
		return cmp.Or(cmp.Compare(a.T, b.T), cmp.Compare(a.Node, b.Node), cmp.Compare(a.ESeq, b.ESeq))
	})
	return o
}

func (r *ring) apply(c change) {
	d, s := r.dirs[c.dir], r.stations[c.dir/2]
	switch i := slices.Index(s.out, d); {
	case i < 0:
	case c.remove && len(s.out) > 1:
		s.out = slices.Delete(s.out, i, i+1)
		d.Remove()
	default:
		d.Set(c.cfg)
	}
}

func (o outcome) bytes() []byte {
	var b bytes.Buffer
	for i := range o.records {
		if err := binary.Write(&b, binary.LittleEndian, &o.records[i]); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func drawConfig(t *rapid.T) Config {
	chance := func(name string) float64 {
		return rapid.SampledFrom([]float64{0, 0, 0.01, 0.1, 0.5, 1}).Draw(t, name)
	}
	times := []sim.Time{0, 1, 700, 30 * sim.Microsecond, sim.Millisecond, 20 * sim.Millisecond}
	c := Config{
		Rate:  rapid.SampledFrom([]uint64{0, 100_000, 3_000_000, 100_000_000, 10_000_000_000}).Draw(t, "rate"),
		Delay: rapid.SampledFrom(times[2:]).Draw(t, "delay"),
		Jitter: Jitter{
			Amount:  rapid.SampledFrom(times).Draw(t, "jitter"),
			Dist:    rapid.SampledFrom([]Distribution{Uniform, Normal, Pareto}).Draw(t, "dist"),
			Reorder: rapid.Bool().Draw(t, "reorder"),
		},
		Duplicate: Duplicate{Chance: chance("duplicate"), Delay: rapid.SampledFrom(times).Draw(t, "copy delay")},
		Corrupt:   chance("corrupt"),
		MTU:       rapid.SampledFrom([]int{0, 0, 700}).Draw(t, "mtu"),
		Queue:     Queue{LimitPackets: rapid.SampledFrom([]int{0, 1, 7}).Draw(t, "packets"), LimitBytes: rapid.SampledFrom([]int{0, 4000}).Draw(t, "bytes")},
		LossAt:    rapid.SampledFrom([]LossAt{AtWire, AtEnqueue}).Draw(t, "loss at"),
		Down:      rapid.SampledFrom([]bool{false, false, false, true}).Draw(t, "down"),
		DownBy:    3, LossBy: 4,
	}
	// Jitter may not take the lookahead below what makes a split run at a sensible speed.
	if c.Jitter.Amount > c.Delay/8 {
		c.Jitter.Amount = c.Delay / 8
	}
	c.Queue.Device.RingPackets = rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(t, "ring")
	c.Queue.Device.BQL.On = rapid.Bool().Draw(t, "bql")
	c.Queue.Device.BQL.HoldTime = rapid.SampledFrom(times[3:]).Draw(t, "hold time")
	switch c.Loss.Model = rapid.SampledFrom([]LossModel{NoLoss, RandomLoss, EveryLoss, FrameLoss, GilbertElliott}).Draw(t, "loss"); c.Loss.Model {
	case RandomLoss:
		c.Loss.P = chance("p")
	case EveryLoss:
		c.Loss.Every = rapid.Uint64Range(1, 9).Draw(t, "every")
	case FrameLoss:
		c.Loss.Frames = []uint64{1, 2, 5, 17}
	case GilbertElliott:
		c.Loss.P, c.Loss.R, c.Loss.Bad, c.Loss.Good = 0.05, 0.3, 1, chance("good")
	}
	return c
}

func drawPlan(t *rapid.T) plan {
	p := plan{
		seed:     rapid.Uint64().Draw(t, "seed"),
		stations: rapid.IntRange(2, 5).Draw(t, "stations"),
		left:     rapid.IntRange(1, 20).Draw(t, "bursts") * 10,
		pace:     rapid.SampledFrom([]sim.Time{0, 1000, 200 * sim.Microsecond, 5 * sim.Millisecond}).Draw(t, "pace"),
		end:      20 * sim.Second,
	}
	for range 2 * p.stations {
		c := drawConfig(t)
		c.Down = false
		p.cfgs = append(p.cfgs, c)
	}
	for range rapid.IntRange(0, 6).Draw(t, "changes") {
		p.changes = append(p.changes, change{
			at:  sim.Time(rapid.IntRange(1, 300_000).Draw(t, "at us")) * sim.Microsecond,
			dir: rapid.IntRange(0, len(p.cfgs)-1).Draw(t, "direction"), cfg: drawConfig(t),
			remove: rapid.Bool().Draw(t, "remove"),
		})
	}
	slices.SortStableFunc(p.changes, func(a, b change) int { return int(a.at - b.at) })
	return p
}

// "The result does not depend on how the lab is split over loops": one loop, two, and one a station give the same
// records, byte for byte, and every station hears the same.
func TestSplitChangesNothing(t *testing.T) {
	var split, crossing int
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlan(t)
		one := p.play(t, 1)
		for _, loops := range []int{2, p.stations} {
			other := p.play(t, loops)
			if !bytes.Equal(one.bytes(), other.bytes()) {
				t.Fatalf("records differ over %d loops: %d, %d", loops, len(one.records), len(other.records))
			}
			for i := range one.heard {
				if !bytes.Equal(one.heard[i], other.heard[i]) {
					t.Fatalf("station %d hears otherwise over %d loops", i, loops)
				}
				if one.stats[i] != other.stats[i] {
					t.Fatalf("direction %d counts otherwise over %d loops:\n%+v\n%+v", i, loops, one.stats[i], other.stats[i])
				}
			}
			split++
			if other.crossed >= 100 {
				crossing++
			}
		}
	})
	if crossing*8 < split {
		t.Errorf("only %d of %d runs had 100 frames cross", crossing, split)
	}
}

// Every frame that is offered is delivered, dropped for a cause, or under way; every copy is delivered as well.
func TestNothingIsLostUncounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlan(t)
		p.end = 1000 * sim.Second // until all is quiet
		o := p.play(t, 1)
		var hops []Hop
		for i := range o.records {
			h, ok := Decode(&o.records[i], o.records[i+1:])
			if o.records[i].Kind == sim.KindMore {
				continue
			}
			if !ok {
				t.Fatalf("record %d is no hop", i)
			}
			hops = append(hops, h)
		}
		counts := make([]Stats, len(p.cfgs))
		removed := make([]uint64, len(p.cfgs))
		for _, h := range Settle(hops) {
			dir := int(h.Dir) - p.stations - 1
			s := &counts[dir]
			switch h.Drop {
			case 0:
				s.Delivered++
				s.DeliveredBytes += uint64(h.Bytes)
			case DropQueueFull:
				s.QueueFull++
			case DropLoss:
				s.Lost++
			case DropFault:
				s.Fault++
			case DropMTU:
				s.TooBig++
			case DropRemoved:
				removed[dir]++
			}
			if h.Reordered {
				s.Reordered++
			}
			if h.Corrupted && !h.Copy {
				s.Corrupted++
			}
		}
		for i, s := range o.stats {
			if s.Sent+s.Duplicated != s.Delivered+s.Dropped()+removed[i] {
				t.Fatalf("direction %d: %+v", i, s)
			}
			c := counts[i]
			if removed[i] > 0 {
				c.Reordered = s.Reordered // counted when a frame leaves, and told when it arrives
			}
			c.Device = s.Device // what byte queue limits have learnt
			c.Sent, c.SentBytes, c.Duplicated = s.Sent, s.SentBytes, s.Duplicated
			if c != s {
				t.Fatalf("direction %d: records say %+v, counters %+v", i, c, s)
			}
		}
	})
}
