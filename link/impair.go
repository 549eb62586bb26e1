package link

import (
	"slices"

	"labd.dev/sim"
)

// dice are a direction's streams, one a knob: draw i of each is frame i's.
type dice struct {
	loss, lossState, corrupt, bit, duplicate, jitter sim.Stream

	beforeFlip func(*sim.Frame) // may be nil
}

// copyDraw moves the draws of a copy that was made before the queue (LossAt AtEnqueue) away from its frame's.
const copyDraw = 1 << 63

func newDice(seed uint64, name string) dice {
	of := func(knob string) sim.Stream { return sim.NewStream(seed, "link "+name+" "+knob) }
	return dice{
		loss: of("loss"), lossState: of("loss state"), corrupt: of("corrupt"), bit: of("corrupt bit"),
		duplicate: of("duplicate"), jitter: of("jitter"),
	}
}

// loses decides frame i by the loss model; bad is the state of the Gilbert-Elliott chain, which makes a step after each
// frame it was asked about.
func (d *dice) loses(l *Loss, i uint64, bad *bool) bool {
	switch l.Model {
	case RandomLoss:
		return hit(&d.loss, i, l.P)
	case EveryLoss:
		return l.Every > 0 && i%l.Every == 0
	case FrameLoss:
		_, found := slices.BinarySearch(l.Frames, i)
		return found
	case GilbertElliott:
		chance, turn := l.Good, l.P
		if *bad {
			chance, turn = l.Bad, l.R
		}
		lost := hit(&d.loss, i, chance)
		if hit(&d.lossState, i, turn) {
			*bad = !*bad
		}
		return lost
	}
	return false
}

// hit decides draw i of a knob that hits with a chance.
func hit(s *sim.Stream, i uint64, chance float64) bool { return chance > 0 && s.Float64(i) < chance }

// propagation is frame i's delay with jitter, at least 1 ns: no frame arrives at the instant it was sent.
func (d *dice) propagation(c *Config, i uint64) sim.Time {
	if c.Jitter.Amount == 0 {
		return c.Delay
	}
	u := d.jitter.Float64(i)
	var x float64
	switch c.Jitter.Dist {
	case Normal:
		x = sim.Normal(u)
	case Pareto:
		x = sim.Pareto(u)
	default:
		x = sim.Uniform(u)
	}
	return max(c.Delay+sim.Time(float64(x*float64(c.Jitter.Amount))), 1)
}

// flip inverts frame i's unlucky bit.
func (d *dice) flip(f *sim.Frame, i uint64) {
	if n := f.Len(); n > 0 {
		if d.beforeFlip != nil {
			d.beforeFlip(f)
		}
		f.Flip(int(d.bit.Below(i, uint64(n)*8)))
	}
}
