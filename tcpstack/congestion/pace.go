package congestion

import (
	"math/bits"

	"labd.dev/sim"
)

// pace is a pacing rate that was asked for and is not worked out before someone asks for it: each ACK moves it, and where
// nothing is paced hardly anyone reads it.
type pace struct {
	window uint64 // bytes a round trip, in percent
	srtt8  uint32 // as it was then, in eighths of a microsecond; 0: not measured
	due    bool
}

// SetPace makes the pacing rate percent bytes, in hundredths of a byte, a smoothed round trip.
func (s *Sender) SetPace(percent uint64, srtt8 uint32) { s.pace = pace{percent, srtt8, true} }

// Pace is the pacing rate, bytes a second; 0: not yet known.
func (s *Sender) Pace() uint64 {
	if s.pace.due {
		s.pace.due = false
		s.PacingRate = s.pace.rate()
		if s.MaxPacingRate > 0 {
			s.PacingRate = min(s.PacingRate, s.MaxPacingRate)
		}
	}
	return s.PacingRate
}

func (p *pace) rate() uint64 {
	if p.srtt8 == 0 {
		return p.window * (uint64(sim.Second/sim.Microsecond) / 100 * 8) // as Linux does: no round trip is taken for 1/8 us
	}
	srtt := sim.Time(p.srtt8>>3) * sim.Microsecond
	return MulDiv(p.window, uint64(sim.Second)/100, uint64(max(srtt, 1)))
}

// MulDiv is a*b/c, saturating.
func MulDiv(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return ^uint64(0)
	}
	q, _ := bits.Div64(hi, lo, c)
	return q
}
