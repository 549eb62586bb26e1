package congestion

import "labd.dev/sim"

// ProbeBW's cycle: DOWN empties the queue that the probe made, CRUISE keeps the pipe full with room for others, REFILL fills
// it to the brim, UP sends more and more until there is loss or a queue.

// updateCycle is BBRUpdateProbeBWCyclePhase.
func (b *BBR3) updateCycle(s *Sender, rs *RateSample) {
	if !b.full {
		return
	}
	b.adaptLong(s, rs)
	switch b.state {
	case bbr3Down:
		if !b.timeToProbe(s) && b.timeToCruise(s) {
			b.state = bbr3Cruise
		}
	case bbr3Cruise:
		b.timeToProbe(s)
	case bbr3Refill:
		if b.roundStart {
			b.samples = true
			b.up(s, rs)
		}
	case bbr3Up:
		if b.timeToGoDown(s, rs) {
			b.down(s)
		}
	}
}

func (b *BBR3) down(s *Sender) {
	b.lossInRound, b.bwLatest, b.inFlightLatest = false, 0, 0
	b.upCount = unbounded32
	b.roundsSinceProbe = uint32(s.draw(2))
	b.probeWait = bbr3ProbeBase + sim.Time(s.draw(uint64(bbr3ProbeRandom)))
	b.cycleAt = s.Now
	b.ackPhase = acksProbeStopping
	b.startRound(s)
	b.state = bbr3Down
}

func (b *BBR3) refill(s *Sender) {
	b.resetShort()
	b.upRounds, b.upAcks = 0, 0
	b.ackPhase = acksRefilling
	b.startRound(s)
	b.state = bbr3Refill
}

func (b *BBR3) up(s *Sender, rs *RateSample) {
	b.ackPhase = acksProbeStarting
	b.startRound(s)
	b.resetFull()
	b.fullBw = bandwidth(rs)
	b.state = bbr3Up
	b.raiseSlope(s)
}

// timeToProbe begins a probe when its time has come, or when Reno would have grown its window by as much as it holds.
func (b *BBR3) timeToProbe(s *Sender) bool {
	target := min(b.inflight(s, bbrUnit), s.Cwnd)
	if s.Now > b.cycleAt+b.probeWait || b.roundsSinceProbe >= min(target, bbr3RenoRounds) {
		b.refill(s)
		return true
	}
	return false
}

func (b *BBR3) timeToCruise(s *Sender) bool {
	return s.InFlight <= b.withHeadroom() && s.InFlight <= b.inflight(s, bbrUnit)
}

// timeToGoDown: the probe has found all there is, unless it was the bound that stopped it.
func (b *BBR3) timeToGoDown(s *Sender, rs *RateSample) bool {
	if s.CwndLimited && s.Cwnd >= b.inFlightLong {
		b.resetFull()
		if rs.Delivered > 0 && rs.Interval > 0 {
			b.fullBw = bandwidth(rs)
		}
		return false
	}
	return b.fullNow
}

// adaptLong is BBRAdaptLongTermModel: the long-term bound rises with what got through and falls with what did not.
func (b *BBR3) adaptLong(s *Sender, rs *RateSample) {
	if b.roundStart {
		switch b.ackPhase {
		case acksProbeStarting:
			b.ackPhase = acksProbeFeedback
		case acksProbeStopping:
			b.samples = false
			b.ackPhase = acksInit
			if b.state.probeBW() && !rs.AppLimited && b.maxBw[1] > 0 {
				b.maxBw[0], b.maxBw[1] = b.maxBw[1], 0 // BBRAdvanceMaxBwFilter
			}
		}
	}
	if tooHigh(rs) {
		if b.samples {
			b.stopAt(s, rs)
		}
		return
	}
	if b.inFlightLong == unbounded32 {
		return
	}
	b.inFlightLong = max(b.inFlightLong, rs.txInFlight)
	if b.state == bbr3Up {
		b.raise(s, rs)
	}
}

// stopAt is BBRHandleInflightTooHigh.
func (b *BBR3) stopAt(s *Sender, rs *RateSample) {
	b.samples = false
	if !rs.AppLimited {
		target := min(b.inflight(s, bbrUnit), s.Cwnd)
		b.inFlightLong = max(rs.txInFlight, uint32(uint64(target)*bbr3Beta/bbrUnit))
	}
	if b.state == bbr3Up {
		b.down(s)
	}
}

// raise is BBRProbeInflightLongtermUpward: the bound grows by 1, 2, 4, ... segments a round while it is what holds the
// sender back.
func (b *BBR3) raise(s *Sender, rs *RateSample) {
	if !s.CwndLimited || s.Cwnd < b.inFlightLong {
		return
	}
	b.upAcks += rs.Newly
	if b.upAcks >= b.upCount {
		n := b.upAcks / b.upCount
		b.upAcks -= n * b.upCount
		b.inFlightLong = min(b.inFlightLong+n, MaxCwnd)
	}
	if b.roundStart {
		b.raiseSlope(s)
	}
}

func (b *BBR3) raiseSlope(s *Sender) {
	growth := uint32(1) << b.upRounds
	b.upRounds = min(b.upRounds+1, bbr3MaxUpRounds)
	b.upCount = max(s.Cwnd/growth, 1)
}
