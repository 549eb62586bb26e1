package congestion

import "labd.dev/sim"

// HyStart as Linux's CUBIC has it: slow start ends, before there is a loss, when the ACKs of one round come as a train
// longer than half the least delay, or when the delay grows.
const (
	hystartLowWindow  = 16 // segments; below it nothing is decided
	hystartMinSamples = 8
	hystartAckDelta   = 2 * sim.Millisecond // ACKs closer than this belong to one train
	hystartDelayMin   = 4 * sim.Millisecond // bounds of the growth of delay that ends slow start
	hystartDelayMax   = 16 * sim.Millisecond
	// hystartBurst is what a sender may hand to its interface at once: four of the largest aggregates (Linux:
	// GSO_MAX_SIZE). The time to pace that much, at most 1 ms, is allowed for in a train.
	hystartBurst = 4 * 65536
)

type hystart struct {
	found      bool
	samples    uint8 // of currRTT, saturating at hystartMinSamples
	endSeq     uint32
	currRTT    sim.Time // least of the round; 0: none yet
	roundStart sim.Time
	lastACK    sim.Time
}

// reset begins a round.
func (h *hystart) reset(s *Sender) {
	h.roundStart, h.lastACK = s.Now, s.Now
	h.endSeq = s.SndNxt
	h.currRTT, h.samples = 0, 0
}

// update takes a round-trip time in slow start.
func (h *hystart) update(s *Sender, rtt, delayMin sim.Time) {
	if h.found {
		return
	}
	if seqBefore(h.endSeq, s.SndUna) {
		h.reset(s)
	}
	if s.Cwnd < hystartLowWindow {
		return
	}
	if s.Now-h.lastACK <= hystartAckDelta {
		h.lastACK = s.Now
		limit := delayMin + ackDelay(s)
		if !s.Paced { // pacing may delay segments by half a round trip
			limit /= 2
		}
		if s.Now-h.roundStart > limit {
			h.end(s)
		}
	}
	if h.currRTT == 0 || rtt < h.currRTT {
		h.currRTT = rtt
	}
	if h.samples < hystartMinSamples {
		h.samples++
	} else if h.currRTT > delayMin+min(max(delayMin/8, hystartDelayMin), hystartDelayMax) {
		h.end(s)
	}
}

// end ends slow start where the window stands.
func (h *hystart) end(s *Sender) {
	h.found = true
	s.SSThresh = s.Cwnd
}

func ackDelay(s *Sender) sim.Time {
	rate := s.Pace()
	if rate == 0 {
		return 0
	}
	return min(sim.Millisecond, sim.Time(hystartBurst*uint64(sim.Second)/rate))
}
