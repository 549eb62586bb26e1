package congestion

import "labd.dev/sim"

// BBR version 3 (draft-ietf-ccwg-bbr): version 1's model with bounds on what may be in flight that losses teach, and with
// probes for bandwidth that raise it step by step and stop when more than 2% of a flight are lost. Two things differ from
// the draft, so that random loss below that threshold is borne on every path: a flight may lose a few segments more, since
// two of fifty are chance and not 4%; and the short-term bounds answer such a loss only, not any: the draft's would follow
// the pacing margin down, a percent a round trip.
const (
	bbr3StartupPacing  = bbrUnit*277/100 + 1 // BBRStartupPacingGain: 4*ln(2)
	bbr3StartupCwnd    = bbrUnit * 2
	bbr3DrainPacing    = bbrUnit / 2
	bbr3DownPacing     = bbrUnit * 90 / 100
	bbr3UpPacing       = bbrUnit * 5 / 4
	bbr3UpCwnd         = bbrUnit * 225 / 100
	bbr3CwndGain       = bbrUnit * 2
	bbr3ProbeRTTCwnd   = bbrUnit / 2
	bbr3LossThresh     = bbrUnit * 2 / 100 // BBRLossThresh: "2%"
	bbr3LossChance     = 3                 // segments lost beyond it that chance makes of 1%, in a flight of any size
	bbr3Beta           = bbrUnit * 70 / 100
	bbr3Headroom       = bbrUnit * 15 / 100 // of the long-term bound is left to others while cruising
	bbr3FullLossCount  = 6                  // BBRStartupFullLossCnt
	bbr3ProbeRTTWindow = 5 * sim.Second     // ProbeRTTInterval
	bbr3MinRTTWindow   = 10 * sim.Second    // MinRTTFilterLen
	bbr3ProbeBase      = 2 * sim.Second     // time between bandwidth probes, and up to a second by chance
	bbr3ProbeRandom    = sim.Second
	bbr3RenoRounds     = 63 // a flow on Reno's terms probes after as many rounds as it has segments in flight, at most this
	bbr3MaxUpRounds    = 30 // growth doubles each round of probing; a shift below a word's width

	unbounded32 = ^uint32(0)
	unbounded64 = ^uint64(0)
)

type bbr3State uint8

const (
	bbr3Startup bbr3State = iota
	bbr3Drain
	bbr3Down // DOWN to UP are ProbeBW's phases
	bbr3Cruise
	bbr3Refill
	bbr3Up
	bbr3ProbeRTT
)

func (st bbr3State) probeBW() bool { return st >= bbr3Down && st <= bbr3Up }

// probing says whether losses are the answer to a probe, and no sign of a change.
func (st bbr3State) probing() bool { return st == bbr3Startup || st == bbr3Refill || st == bbr3Up }

var bbr3Gains = [...]struct{ pacing, cwnd uint32 }{
	bbr3Startup: {bbr3StartupPacing, bbr3StartupCwnd}, bbr3Drain: {bbr3DrainPacing, bbr3CwndGain},
	bbr3Down: {bbr3DownPacing, bbr3CwndGain}, bbr3Cruise: {bbrUnit, bbr3CwndGain}, bbr3Refill: {bbrUnit, bbr3CwndGain},
	bbr3Up: {bbr3UpPacing, bbr3UpCwnd}, bbr3ProbeRTT: {bbrUnit, bbr3ProbeRTTCwnd},
}

// What the ACKs that come now are answers to.
const (
	acksInit = iota
	acksRefilling
	acksProbeStarting
	acksProbeFeedback
	acksProbeStopping
)

// BBR3 is one connection's state, in the draft's terms.
type BBR3 struct {
	plain
	state      bbr3State
	prevState  State
	ackPhase   uint8
	roundStart bool
	seenRTT    bool
	idle       bool // restarting from idle
	fullNow    bool
	full       bool // the pipe has once been full
	fullCount  uint8
	fullBw     uint64
	mss        uint32
	priorCwnd  uint32
	rounds     uint32
	nextRound  uint32

	maxBw   [2]uint64 // of the last cycle of probing and of this one
	extra   [2]uint32 // aggregation
	extraAt [2]uint32 // round in which each began
	epochAt sim.Time
	epoch   uint32 // segments delivered in it

	minRTT, probeRTTMin     sim.Time // 0: none
	minRTTAt, probeRTTMinAt sim.Time
	probeRTTDone            sim.Time
	probeRTTRound           bool
	probeRTTExpired         bool

	// Congestion signals of the round.
	lossRound        uint32 // Delivered that ends it
	lossRoundStart   bool
	lossInRound      bool
	lossEvents       uint8
	bwLatest         uint64
	inFlightLatest   uint32
	bwShort          uint64 // short-term bounds; unbounded
	inFlightShort    uint32
	inFlightLong     uint32 // long-term bound
	samples          bool   // what was lost was sent in a probe
	upCount          uint32 // segments delivered for each by which the long-term bound rises
	upAcks           uint32
	upRounds         uint8
	cycleAt          sim.Time
	probeWait        sim.Time
	roundsSinceProbe uint32
}

// Name is "bbr3".
func (*BBR3) Name() string { return "bbr3" }

// Variable is the bandwidth estimate, bytes/s.
func (b *BBR3) Variable() float64 { return bytesOf(b.bandwidth(), b.mss) }

func (b *BBR3) max() uint64 { return max(b.maxBw[0], b.maxBw[1]) }

func (b *BBR3) bandwidth() uint64 { return min(b.max(), b.bwShort) }

// Init is BBROnInit.
func (b *BBR3) Init(s *Sender) {
	s.SSThresh = Unset
	*b = BBR3{mss: s.MSS, minRTT: s.MinRTT, probeRTTMin: s.MinRTT, minRTTAt: s.Now, probeRTTMinAt: s.Now, epochAt: s.Now,
		nextRound: s.Delivered, lossRound: s.Delivered,
		bwShort: unbounded64, inFlightShort: unbounded32, inFlightLong: unbounded32}
	s.PacingRate, b.seenRTT = s.initialPace(bbr3StartupPacing)
}

// SSThresh keeps the window for after the recovery; BBR has no threshold.
func (b *BBR3) SSThresh(s *Sender) uint32 {
	b.saveCwnd(s)
	return s.SSThresh
}

func (b *BBR3) saveCwnd(s *Sender) {
	if b.prevState < Recovery && b.state != bbr3ProbeRTT {
		b.priorCwnd = s.Cwnd
	} else {
		b.priorCwnd = max(b.priorCwnd, s.Cwnd)
	}
}

// CongAvoid is never asked: CongControl takes the window over.
func (*BBR3) CongAvoid(*Sender, uint32) {}

// UndoCwnd: a spurious loss teaches nothing.
func (b *BBR3) UndoCwnd(s *Sender) uint32 {
	b.resetFull()
	b.lossInRound = false
	b.resetShort()
	return max(s.Cwnd, b.priorCwnd)
}

// SetState: a timeout bounds what is in flight by what was; once it is repaired the window is taken up again.
func (b *BBR3) SetState(s *Sender, next State) {
	switch {
	case next == Loss:
		b.fullBw = 0
		if !b.state.probing() && b.inFlightShort == unbounded32 {
			b.inFlightShort = max(s.Cwnd, b.priorCwnd)
		}
	case s.State == Loss:
		s.Cwnd = max(s.Cwnd, b.priorCwnd)
	}
	b.prevState = next
}

// Event is BBRHandleRestartFromIdle.
func (b *BBR3) Event(s *Sender, e Event) {
	if e != EventTxStart || s.AppLimited == 0 {
		return
	}
	b.idle, b.epochAt, b.epoch = true, s.Now, 0
	switch {
	case b.state.probeBW():
		b.setPacingRate(s, bbrUnit)
	case b.state == bbr3ProbeRTT:
		b.checkProbeRTTDone(s)
	}
}

// CongControl is BBRUpdateOnACK.
func (b *BBR3) CongControl(s *Sender, rs *RateSample) bool {
	b.mss = s.MSS
	b.updateLatest(s, rs)
	b.updateCongestion(s, rs)
	b.updateExtra(s, rs)
	b.checkFull(rs)
	b.checkStartup(s, rs)
	if b.state == bbr3Drain && s.InFlight <= b.inflight(s, bbrUnit) {
		b.down(s)
	}
	b.updateCycle(s, rs)
	b.updateMinRTT(s, rs)
	b.checkProbeRTT(s, rs)
	if b.lossRoundStart && rs.Delivered > 0 && rs.Interval > 0 {
		b.bwLatest, b.inFlightLatest = bandwidth(rs), uint32(rs.Delivered)
	}
	b.setPacingRate(s, bbr3Gains[b.state].pacing)
	b.setCwnd(s, rs.Newly)
	return true
}

func (b *BBR3) setPacingRate(s *Sender, gain uint32) {
	if !b.seenRTT && s.SRTT > 0 {
		s.PacingRate, b.seenRTT = s.initialPace(bbr3StartupPacing)
	}
	if rate := s.paceAt(b.bandwidth(), gain); b.full || rate > s.PacingRate {
		s.PacingRate = rate
	}
}

// inflight is BBRInflight: the bandwidth-delay product times a gain, with room for bursts.
func (b *BBR3) inflight(s *Sender, gain uint32) uint32 {
	n := s.InitialCwnd
	if b.minRTT > 0 {
		n = bdp(b.bandwidth(), b.minRTT, gain)
	}
	return b.quantize(s, n)
}

// quantize is BBRQuantizationBudget.
func (b *BBR3) quantize(s *Sender, n uint32) uint32 {
	n = max(n, 3*s.Burst(), bbrMinCwnd) // OffloadBudget
	if b.state == bbr3Up {
		n += 2
	}
	return n
}

// setCwnd is BBRSetCwnd.
func (b *BBR3) setCwnd(s *Sender, acked uint32) {
	target := s.InitialCwnd
	if b.minRTT > 0 {
		target = bdp(b.bandwidth(), b.minRTT, bbr3Gains[b.state].cwnd)
	}
	if b.full {
		target += max(b.extra[0], b.extra[1])
	}
	target = b.quantize(s, target)
	switch {
	case acked == 0:
	case b.full:
		s.Cwnd = min(s.Cwnd+acked, target)
	case s.Cwnd < target || s.Delivered < s.InitialCwnd:
		s.Cwnd += acked
	}
	s.Cwnd = min(max(s.Cwnd, bbrMinCwnd), MaxCwnd)
	if b.state == bbr3ProbeRTT {
		s.Cwnd = min(s.Cwnd, b.probeRTTCwnd())
	}
	// BBRBoundCwndForModel.
	most := uint32(unbounded32)
	switch {
	case b.state == bbr3Cruise || b.state == bbr3ProbeRTT:
		most = b.withHeadroom()
	case b.state.probeBW():
		most = b.inFlightLong
	}
	s.Cwnd = min(s.Cwnd, max(min(most, b.inFlightShort), bbrMinCwnd))
}

func (b *BBR3) probeRTTCwnd() uint32 {
	return max(bdp(b.bandwidth(), b.minRTT, bbr3ProbeRTTCwnd), bbrMinCwnd)
}

// withHeadroom is BBRInflightWithHeadroom: part of the bound is left to other flows.
func (b *BBR3) withHeadroom() uint32 {
	if b.inFlightLong == unbounded32 {
		return unbounded32
	}
	room := max(1, uint32(uint64(b.inFlightLong)*bbr3Headroom/bbrUnit))
	return max(b.inFlightLong-min(room, b.inFlightLong), bbrMinCwnd)
}
