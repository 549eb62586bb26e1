package congestion

import "labd.dev/sim"

// updateLatest is BBRUpdateLatestDeliverySignals.
func (b *BBR3) updateLatest(s *Sender, rs *RateSample) {
	b.lossRoundStart = false
	if rs.Delivered <= 0 || rs.Interval <= 0 {
		return
	}
	b.bwLatest = max(b.bwLatest, bandwidth(rs))
	b.inFlightLatest = max(b.inFlightLatest, uint32(rs.Delivered))
	if !seqBefore(rs.prior, b.lossRound) {
		b.lossRound, b.lossRoundStart = s.Delivered, true
	}
}

// updateCongestion is BBRUpdateCongestionSignals: the bandwidth, and what losses say of it outside of probes.
func (b *BBR3) updateCongestion(s *Sender, rs *RateSample) {
	b.roundStart = false
	if rs.Delivered > 0 && rs.Interval > 0 {
		if !seqBefore(rs.prior, b.nextRound) {
			b.startRound(s)
			b.rounds++
			b.roundsSinceProbe++
			b.roundStart = true
		}
		if bw := bandwidth(rs); bw >= b.max() || !rs.AppLimited {
			b.maxBw[1] = max(b.maxBw[1], bw)
		}
	}
	if tooHigh(rs) {
		b.lossInRound = true
	}
	if !b.lossRoundStart {
		return
	}
	if b.lossInRound && !b.state.probing() {
		// BBRAdaptLowerBoundsFromCongestion: "cut the short-term bounds by beta, but not below what was delivered".
		if b.bwShort == unbounded64 {
			b.bwShort = b.max()
		}
		if b.inFlightShort == unbounded32 {
			b.inFlightShort = s.Cwnd
		}
		b.bwShort = max(b.bwLatest, b.bwShort*bbr3Beta/bbrUnit)
		b.inFlightShort = max(b.inFlightLatest, uint32(uint64(b.inFlightShort)*bbr3Beta/bbrUnit))
	}
	b.lossInRound = false
}

func (b *BBR3) startRound(s *Sender) { b.nextRound = s.Delivered }

func (b *BBR3) resetShort() { b.bwShort, b.inFlightShort = unbounded64, unbounded32 }

func (b *BBR3) resetFull() { b.fullBw, b.fullCount, b.fullNow = 0, 0, false }

// updateExtra is BBRUpdateACKAggregation: what is acknowledged beyond what the bandwidth accounts for, the largest of ten
// rounds (of one, until the pipe is full).
func (b *BBR3) updateExtra(s *Sender, rs *RateSample) {
	if rs.Newly == 0 {
		return
	}
	expected := b.bandwidth() * uint64(max(s.Now-b.epochAt, 0)/sim.Microsecond) >> bwScale
	if uint64(b.epoch) <= expected {
		b.epoch, b.epochAt, expected = 0, s.Now, 0
	}
	b.epoch = min(b.epoch+rs.Newly, bbrAckEpochReset)
	extra := uint32(min(uint64(b.epoch)-expected, uint64(s.Cwnd)))
	half := uint32(bbrExtraRounds)
	if !b.full {
		half = 1
	}
	if b.rounds-b.extraAt[1] >= half {
		b.extra[0], b.extraAt[0] = b.extra[1], b.extraAt[1]
		b.extra[1], b.extraAt[1] = 0, b.rounds
	}
	b.extra[1] = max(b.extra[1], extra)
}

// checkFull is BBRCheckFullBWReached: three rounds without a quarter more.
func (b *BBR3) checkFull(rs *RateSample) {
	if b.fullNow || rs.AppLimited || rs.Delivered <= 0 || rs.Interval <= 0 {
		return
	}
	if bw := bandwidth(rs); bw >= b.fullBw*5/4 {
		b.resetFull()
		b.fullBw = bw
		return
	}
	if !b.roundStart {
		return
	}
	b.fullCount++
	if b.fullCount >= bbrFullBwCount {
		b.fullNow, b.full = true, true
	}
}

// checkStartup is BBRCheckStartupHighLoss and BBRCheckStartupDone. "If the loss rate over a full round trip is above
// BBRLossThresh and there were at least BBRStartupFullLossCnt losses" the pipe is full as well.
func (b *BBR3) checkStartup(s *Sender, rs *RateSample) {
	if b.state != bbr3Startup {
		return
	}
	if rs.NewlyLost > 0 && b.lossEvents < 15 {
		b.lossEvents++
	}
	if !b.full && s.State == Recovery && b.lossRoundStart && b.lossEvents >= bbr3FullLossCount && tooHigh(rs) {
		b.full = true
		b.inFlightLong = max(b.inflight(s, bbrUnit), b.inFlightLatest)
	}
	if b.lossRoundStart {
		b.lossEvents = 0
	}
	if b.full {
		b.state = bbr3Drain
	}
}

// tooHigh is IsInflightTooHigh: more was lost of a flight than BBRLossThresh and chance account for.
func tooHigh(rs *RateSample) bool {
	return rs.lost > bbr3LossChance && uint64(rs.lost-bbr3LossChance)*bbrUnit > uint64(rs.txInFlight)*bbr3LossThresh
}

// updateMinRTT keeps two filters: one of five seconds, whose age makes a probe due, and one of ten.
func (b *BBR3) updateMinRTT(s *Sender, rs *RateSample) {
	b.probeRTTExpired = s.Now > b.probeRTTMinAt+bbr3ProbeRTTWindow
	if rs.RTT >= 0 && (b.probeRTTMin == 0 || rs.RTT < b.probeRTTMin || b.probeRTTExpired) {
		b.probeRTTMin, b.probeRTTMinAt = max(rs.RTT, 1), s.Now
	}
	if b.minRTT == 0 || b.probeRTTMin < b.minRTT || s.Now > b.minRTTAt+bbr3MinRTTWindow {
		b.minRTT, b.minRTTAt = b.probeRTTMin, b.probeRTTMinAt
	}
}

// checkProbeRTT is BBRCheckProbeRTT.
func (b *BBR3) checkProbeRTT(s *Sender, rs *RateSample) {
	if b.state != bbr3ProbeRTT && b.probeRTTExpired && !b.idle {
		b.saveCwnd(s)
		b.state = bbr3ProbeRTT
		b.probeRTTDone = 0
		b.ackPhase = acksProbeStopping
		b.startRound(s)
	}
	if b.state == bbr3ProbeRTT {
		s.LimitByApp(s.InFlight) // samples of this low rate do not count
		switch {
		case b.probeRTTDone == 0 && s.InFlight <= b.probeRTTCwnd():
			b.probeRTTDone, b.probeRTTRound = s.Now+bbrProbeRTTTime, false
			b.startRound(s)
		case b.probeRTTDone != 0:
			b.probeRTTRound = b.probeRTTRound || b.roundStart
			if b.probeRTTRound {
				b.checkProbeRTTDone(s)
			}
		}
	}
	if rs.Delivered > 0 {
		b.idle = false
	}
}

func (b *BBR3) checkProbeRTTDone(s *Sender) {
	if b.probeRTTDone == 0 || s.Now <= b.probeRTTDone {
		return
	}
	b.probeRTTMinAt = s.Now // "schedule the next ProbeRTT"
	s.Cwnd = max(s.Cwnd, b.priorCwnd)
	b.resetShort()
	if b.full {
		b.down(s)
		b.state = bbr3Cruise
	} else {
		b.state = bbr3Startup
	}
}
