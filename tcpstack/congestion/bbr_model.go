package congestion

// updateBandwidth counts rounds and takes a bandwidth sample in. One that the application limited counts only if it is
// larger than what is known.
func (b *BBR) updateBandwidth(s *Sender, rs *RateSample) {
	b.roundStart = false
	if rs.Delivered < 0 || rs.Interval <= 0 {
		return
	}
	if !seqBefore(rs.prior, b.nextRound) {
		b.nextRound = s.Delivered
		b.rounds++
		b.roundStart = true
		b.conserve = false
	}
	b.policed.sample(b, s, rs)
	if bw := bandwidth(rs); !rs.AppLimited || bw >= b.bw.max() {
		b.bw.update(bbrBwRounds, b.rounds, bw)
	}
}

// updateExtraAcked measures aggregation: what is acknowledged beyond what the bandwidth accounts for.
func (b *BBR) updateExtraAcked(s *Sender, rs *RateSample) {
	if rs.Newly == 0 || rs.Delivered < 0 || rs.Interval <= 0 {
		return
	}
	if b.roundStart {
		if b.extraRounds = min(b.extraRounds+1, 31); b.extraRounds >= bbrExtraRounds {
			b.extraRounds = 0
			b.extraIndex ^= 1
			b.extraAcked[b.extraIndex] = 0
		}
	}
	expected := b.bandwidth() * uint64(max(s.DeliveredAt-b.ackEpochAt, 0)/1000) >> bwScale
	if uint64(b.ackEpochAcked) <= expected || b.ackEpochAcked+rs.Newly >= bbrAckEpochReset {
		b.ackEpochAcked, b.ackEpochAt = 0, s.DeliveredAt
		expected = 0
	}
	b.ackEpochAcked = min(b.ackEpochAcked+rs.Newly, 0xfffff)
	extra := uint32(min(uint64(b.ackEpochAcked)-expected, uint64(s.Cwnd)))
	b.extraAcked[b.extraIndex] = max(b.extraAcked[b.extraIndex], extra)
}

// aggregation is the window to be added for it.
func (b *BBR) aggregation() uint32 {
	if !b.fullReached {
		return 0
	}
	most := uint32(min(b.bandwidth()*uint64(bbrExtraMax/1000)>>bwScale, MaxCwnd))
	return min(max(b.extraAcked[0], b.extraAcked[1])*bbrExtraAckedGain/bbrUnit, most)
}

// updateCyclePhase moves on in PROBE_BW's cycle when the phase has lasted a round trip, has done its work or done harm.
func (b *BBR) updateCyclePhase(s *Sender, rs *RateSample) {
	if b.mode != bbrProbeBW {
		return
	}
	full := s.DeliveredAt-b.cycleAt > b.minRTT
	inFlight := b.atDeparture(s, s.PriorInFlight)
	var next bool
	switch {
	case b.pacingGain == bbrUnit:
		next = full
	case b.pacingGain > bbrUnit:
		next = full && (rs.NewlyLost > 0 || inFlight >= b.needed(s, b.pacingGain))
	default:
		next = full || inFlight <= b.needed(s, bbrUnit)
	}
	if next {
		b.nextPhase(s)
	}
}

func (b *BBR) nextPhase(s *Sender) {
	b.cycle = (b.cycle + 1) % bbrCycleLen
	b.cycleAt = s.DeliveredAt
}

// probeBandwidth begins PROBE_BW at a phase by chance, so that flows do not probe together.
func (b *BBR) probeBandwidth(s *Sender) {
	b.mode = bbrProbeBW
	b.cycle = uint8(bbrCycleLen - 1 - s.draw(bbrCycleRandom))
	b.nextPhase(s)
}

// checkFull: the pipe is full once the bandwidth has not grown by a quarter in three rounds.
func (b *BBR) checkFull(rs *RateSample) {
	if b.fullReached || !b.roundStart || rs.AppLimited {
		return
	}
	if bw := b.bw.max(); bw >= b.fullBw*bbrFullBwGrowth/bbrUnit {
		b.fullBw, b.fullCount = bw, 0
		return
	}
	b.fullCount++
	b.fullReached = b.fullCount >= bbrFullBwCount
}

// checkDrain empties the queue that STARTUP has made.
func (b *BBR) checkDrain(s *Sender) {
	if b.mode == bbrStartup && b.fullReached {
		b.mode, b.pacingGain = bbrDrain, bbrDrainGain
		s.SSThresh = b.needed(s, bbrUnit)
	}
	if b.mode == bbrDrain && b.atDeparture(s, s.InFlight) <= b.needed(s, bbrUnit) {
		b.probeBandwidth(s)
	}
}

// updateMinRTT keeps the least round-trip time, and goes to PROBE_RTT to see it anew when it is ten seconds old.
func (b *BBR) updateMinRTT(s *Sender, rs *RateSample) {
	expired := s.Now > b.minRTTAt+bbrMinRTTWindow
	if rs.RTT >= 0 && (b.minRTT == 0 || rs.RTT < b.minRTT || expired && !rs.AckDelayed) {
		b.minRTT, b.minRTTAt = max(rs.RTT, 1), s.Now
	}
	if expired && !b.idleRestart && b.mode != bbrProbeRTT {
		b.mode = bbrProbeRTT
		b.saveCwnd(s)
		b.probeDone = 0
	}
	if b.mode == bbrProbeRTT {
		s.LimitByApp(s.InFlight) // samples of this low rate do not count
		switch {
		case b.probeDone == 0 && s.InFlight <= bbrMinCwnd:
			b.probeDone = s.Now + bbrProbeRTTTime
			b.probeRoundDone = false
			b.nextRound = s.Delivered
		case b.probeDone != 0:
			b.probeRoundDone = b.probeRoundDone || b.roundStart
			if b.probeRoundDone {
				b.checkProbeRTTDone(s)
			}
		}
	}
	if rs.Delivered > 0 {
		b.idleRestart = false
	}
}

func (b *BBR) checkProbeRTTDone(s *Sender) {
	if b.probeDone == 0 || s.Now <= b.probeDone {
		return
	}
	b.minRTTAt = s.Now
	s.Cwnd = max(s.Cwnd, b.priorCwnd)
	if b.fullReached {
		b.probeBandwidth(s)
	} else {
		b.startup()
	}
}
