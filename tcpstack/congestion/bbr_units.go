package congestion

import (
	"math/bits"

	"labd.dev/sim"
)

// What both BBRs count in. Bandwidth is in segments a microsecond and gains are fractions, both as integers with the units
// of Linux's tcp_bbr.c.
const (
	bwScale = 24 // of 1 segment/us
	bwUnit  = 1 << bwScale
	bbrUnit = 256 // gain 1
	// bbrMinCwnd: "MinPipeCwnd: The minimal cwnd value BBR targets, to allow pipelining ... Four SMSS".
	bbrMinCwnd = 4
	// pacingMargin: "BBRPacingMarginPercent: The static discount factor of 1% used to scale BBR.bw to produce
	// C.pacing_rate".
	pacingMargin = 1
	// maxBW keeps the products of bandwidth below 64 bits: 256 segments a microsecond, 3 Tbit/s.
	maxBW = 256 << bwScale
	// maxGSO is the most that a sender hands to its interface at once (Linux: GSO_MAX_SIZE less headers).
	maxGSO = 65536 - 1 - 320
)

// bandwidth is a sample's.
func bandwidth(rs *RateSample) uint64 {
	return min(uint64(rs.Delivered)*bwUnit*1000/uint64(rs.Interval), maxBW)
}

// bdp is the segments in flight that a bandwidth and a round-trip time need, times a gain, rounded up.
func bdp(bw uint64, rtt sim.Time, gain uint32) uint32 {
	hi, lo := bits.Mul64(bw*uint64(gain)>>8, uint64(max(rtt/sim.Microsecond, 1)))
	if hi > 0 || lo>>bwScale >= MaxCwnd {
		return MaxCwnd
	}
	return uint32((lo + bwUnit - 1) >> bwScale)
}

// paceAt is the pacing rate of a bandwidth times a gain, bytes/s.
func (s *Sender) paceAt(bw uint64, gain uint32) uint64 {
	hi, lo := bits.Mul64(bw*uint64(s.MSS)>>8*uint64(gain), uint64(sim.Second/sim.Microsecond)/100*(100-pacingMargin))
	if hi>>bwScale > 0 {
		return ^uint64(0)
	}
	return s.capRate(hi<<(64-bwScale) | lo>>bwScale)
}

func (s *Sender) capRate(rate uint64) uint64 {
	if s.MaxPacingRate > 0 {
		rate = min(rate, s.MaxPacingRate)
	}
	return rate
}

// bytesOf is a bandwidth in bytes a second, for traces.
func bytesOf(bw uint64, mss uint32) float64 {
	return float64(bw) * float64(mss) * 1e6 / bwUnit
}

// Burst is how many segments leave at once at the pacing rate: what is paced in about a millisecond, at least one, two
// above 1.2 Mbit/s (Linux: tcp_tso_autosize, bbr_tso_segs_goal).
func (s *Sender) Burst() uint32 {
	rate := s.Pace()
	least := uint64(2)
	if rate < 1_200_000>>3 {
		least = 1
	}
	return uint32(min(max(min(rate>>10, maxGSO)/uint64(max(s.MSS, 1)), least), 127))
}

// initialPace is the pacing rate before there is a sample: the initial window a round trip, 1 ms if that is unknown.
func (s *Sender) initialPace(gain uint32) (rate uint64, known bool) {
	rtt := s.SRTT
	if rtt == 0 {
		rtt = sim.Millisecond
	}
	bw := min(uint64(s.Cwnd)*bwUnit*1000/uint64(max(rtt, sim.Microsecond)), maxBW)
	return s.paceAt(bw, gain), s.SRTT > 0
}
