package congestion

import "labd.dev/sim"

// BBR version 1 (draft-cardwell-iccrg-bbr-congestion-control-00), with the constants and the order of Linux's tcp_bbr.c. It
// models the path by the largest delivery rate of the last ten rounds and the least round-trip time of the last ten
// seconds, paces at that rate, and keeps about twice their product in flight.
const (
	bbrBwRounds       = 10                    // window of the bandwidth filter
	bbrMinRTTWindow   = 10 * sim.Second       // window of the round-trip time filter
	bbrProbeRTTTime   = 200 * sim.Millisecond // least time in PROBE_RTT
	bbrHighGain       = bbrUnit*2885/1000 + 1 // 2/ln 2: doubles the rate each round
	bbrDrainGain      = bbrUnit * 1000 / 2885 // its inverse
	bbrCwndGain       = bbrUnit * 2           // room for delayed and aggregated ACKs
	bbrFullBwGrowth   = bbrUnit * 5 / 4       // a pipe that is not full shows so much more each round
	bbrFullBwCount    = 3                     // rounds without
	bbrCycleLen       = 8                     // phases of PROBE_BW's cycle
	bbrCycleRandom    = 7                     // it begins at any but the draining phase
	bbrExtraAckedGain = bbrUnit               // of the aggregation that is allowed for
	bbrExtraRounds    = 5                     // window of the aggregation filter, half
	bbrExtraMax       = 100 * sim.Millisecond // most aggregation, as time
	bbrAckEpochReset  = 1 << 20               // segments; Linux's acked_sacked counter is reset there
)

var bbrPacingCycle = [bbrCycleLen]uint32{bbrUnit * 5 / 4, bbrUnit * 3 / 4, bbrUnit, bbrUnit, bbrUnit, bbrUnit, bbrUnit, bbrUnit}

type bbrMode uint8

const (
	bbrStartup bbrMode = iota
	bbrDrain
	bbrProbeBW
	bbrProbeRTT
)

// BBR is one connection's state.
type BBR struct {
	mode           bbrMode
	prevState      State
	cycle          uint8
	fullCount      uint8
	fullReached    bool
	roundStart     bool
	idleRestart    bool
	probeRoundDone bool // a round has passed in PROBE_RTT
	conserve       bool // packet conservation, in the first round of a recovery
	seenRTT        bool
	policed        bbrPolicer
	pacingGain     uint32
	cwndGain       uint32
	priorCwnd      uint32 // before a recovery or PROBE_RTT
	rounds         uint32
	nextRound      uint32 // value of Delivered that ends the round
	mss            uint32
	bw             windowedMax
	fullBw         uint64
	minRTT         sim.Time // 0: none
	minRTTAt       sim.Time
	probeDone      sim.Time // end of PROBE_RTT; 0: not yet set
	cycleAt        sim.Time
	ackEpochAt     sim.Time
	ackEpochAcked  uint32
	extraAcked     [2]uint32
	extraIndex     uint8
	extraRounds    uint8
}

// Name is "bbr".
func (*BBR) Name() string { return "bbr" }

// Variable is the bandwidth estimate, bytes/s.
func (b *BBR) Variable() float64 { return bytesOf(b.bandwidth(), b.mss) }

func (b *BBR) bandwidth() uint64 {
	if b.policed.use {
		return b.policed.bw
	}
	return b.bw.max()
}

// Init is bbr_init.
func (b *BBR) Init(s *Sender) {
	s.SSThresh = Unset
	*b = BBR{nextRound: s.Delivered, minRTT: s.MinRTT, minRTTAt: s.Now, ackEpochAt: s.Now, mss: s.MSS}
	b.policed.reset(b, s)
	s.PacingRate, b.seenRTT = s.initialPace(bbrHighGain)
	b.startup()
}

func (b *BBR) startup() { b.mode, b.pacingGain, b.cwndGain = bbrStartup, bbrHighGain, bbrHighGain }

// SSThresh keeps the window for after the recovery; BBR has no threshold.
func (b *BBR) SSThresh(s *Sender) uint32 {
	b.saveCwnd(s)
	return s.SSThresh
}

func (b *BBR) saveCwnd(s *Sender) {
	if b.prevState < Recovery && b.mode != bbrProbeRTT {
		b.priorCwnd = s.Cwnd
	} else {
		b.priorCwnd = max(b.priorCwnd, s.Cwnd)
	}
}

// CongAvoid is never asked: CongControl takes the window over.
func (*BBR) CongAvoid(*Sender, uint32) {}

// InAck does nothing: all is in CongControl.
func (*BBR) InAck(*Sender) {}

// PktsAcked does nothing.
func (*BBR) PktsAcked(*Sender, sim.Time) {}

// UndoCwnd: a spurious loss says nothing about the pipe being full.
func (b *BBR) UndoCwnd(s *Sender) uint32 {
	b.fullBw, b.fullCount = 0, 0
	b.policed.reset(b, s)
	return s.Cwnd
}

// SetState: a timeout begins a round.
func (b *BBR) SetState(s *Sender, next State) {
	if next == Loss {
		b.prevState, b.fullBw, b.roundStart = Loss, 0, true
		b.policed.sample(b, s, &RateSample{NewlyLost: 1})
	}
}

// Event: after an idle time segments go at the bandwidth known, not in a burst.
func (b *BBR) Event(s *Sender, e Event) {
	if e != EventTxStart || s.AppLimited == 0 {
		return
	}
	b.idleRestart, b.ackEpochAt, b.ackEpochAcked = true, s.Now, 0
	switch b.mode {
	case bbrProbeBW:
		b.setPacingRate(s, bbrUnit)
	case bbrProbeRTT:
		b.checkProbeRTTDone(s)
	}
}

// CongControl is bbr_main: the model, then the pacing rate, then the window.
func (b *BBR) CongControl(s *Sender, rs *RateSample) bool {
	b.mss = s.MSS
	b.updateBandwidth(s, rs)
	b.updateExtraAcked(s, rs)
	b.updateCyclePhase(s, rs)
	b.checkFull(rs)
	b.checkDrain(s)
	b.updateMinRTT(s, rs)
	b.setGains()
	b.setPacingRate(s, b.pacingGain)
	b.setCwnd(s, rs)
	return true
}

func (b *BBR) setGains() {
	switch b.mode {
	case bbrStartup:
		b.pacingGain, b.cwndGain = bbrHighGain, bbrHighGain
	case bbrDrain:
		b.pacingGain, b.cwndGain = bbrDrainGain, bbrHighGain
	case bbrProbeBW:
		b.pacingGain, b.cwndGain = bbrPacingCycle[b.cycle], bbrCwndGain
		if b.policed.use {
			b.pacingGain = bbrUnit
		}
	case bbrProbeRTT:
		b.pacingGain, b.cwndGain = bbrUnit, bbrUnit
	}
}

// setPacingRate: until the pipe is full the rate only rises.
func (b *BBR) setPacingRate(s *Sender, gain uint32) {
	if !b.seenRTT && s.SRTT > 0 {
		s.PacingRate, b.seenRTT = s.initialPace(bbrHighGain)
	}
	if rate := s.paceAt(b.bandwidth(), gain); b.fullReached || rate > s.PacingRate {
		s.PacingRate = rate
	}
}

// setCwnd is bbr_set_cwnd.
func (b *BBR) setCwnd(s *Sender, rs *RateSample) {
	acked := rs.Newly
	if acked > 0 && !b.recoverOrRestore(s, rs, acked) {
		target := b.quantize(s, b.inflight(s, b.bandwidth(), b.cwndGain)+b.aggregation())
		switch {
		case b.fullReached:
			s.Cwnd = min(s.Cwnd+acked, target)
		case s.Cwnd < target || s.Delivered < 10: // TCP_INIT_CWND
			s.Cwnd += acked
		}
		s.Cwnd = max(s.Cwnd, bbrMinCwnd)
	}
	s.Cwnd = min(s.Cwnd, MaxCwnd)
	if b.mode == bbrProbeRTT {
		s.Cwnd = min(s.Cwnd, bbrMinCwnd)
	}
}

// recoverOrRestore conserves packets in the first round of a recovery, and takes the window from before it up again at its
// end. It reports that the window is set.
func (b *BBR) recoverOrRestore(s *Sender, rs *RateSample, acked uint32) bool {
	prev := b.prevState
	if rs.NewlyLost > 0 {
		s.Cwnd = max(s.Cwnd, rs.NewlyLost+1) - rs.NewlyLost
	}
	if s.State == Recovery && prev != Recovery {
		b.conserve = true
		b.nextRound = s.Delivered
		s.Cwnd = s.InFlight + acked
	} else if prev >= Recovery && s.State < Recovery {
		s.Cwnd = max(s.Cwnd, b.priorCwnd)
		b.conserve = false
	}
	b.prevState = s.State
	if b.conserve {
		s.Cwnd = max(s.Cwnd, s.InFlight+acked)
	}
	return b.conserve
}

// inflight is the bandwidth-delay product times a gain; before there is a round-trip time the initial window.
func (b *BBR) inflight(s *Sender, bw uint64, gain uint32) uint32 {
	if b.minRTT == 0 {
		return s.InitialCwnd
	}
	return bdp(bw, b.minRTT, gain)
}

// quantize allows for bursts at the sender, in its interface and at the receiver, and for delayed ACKs of every other
// segment (Linux: bbr_quantization_budget).
func (b *BBR) quantize(s *Sender, cwnd uint32) uint32 {
	cwnd = (cwnd + 3*s.Burst() + 1) &^ 1
	if b.mode == bbrProbeBW && b.cycle == 0 {
		cwnd += 2
	}
	return cwnd
}

// needed is the segments in flight that a gain asks for.
func (b *BBR) needed(s *Sender, gain uint32) uint32 {
	return b.quantize(s, b.inflight(s, b.bw.max(), gain))
}

// atDeparture is how many segments will be in flight when pacing lets the next one go (Linux:
// bbr_packets_in_net_at_edt).
func (b *BBR) atDeparture(s *Sender, inFlight uint32) uint32 {
	delivered := uint32(bdp(b.bandwidth(), max(s.NextTx-s.Now, 0), bbrUnit))
	if s.NextTx <= s.Now {
		delivered = 0
	}
	if b.pacingGain > bbrUnit {
		inFlight += s.Burst()
	}
	return inFlight - min(inFlight, delivered)
}
