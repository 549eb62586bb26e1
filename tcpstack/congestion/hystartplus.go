package congestion

import "labd.dev/sim"

// HyStart++, RFC 9406 4.3's constants.
const (
	minRTTThresh     = 4 * sim.Millisecond
	maxRTTThresh     = 16 * sim.Millisecond
	minRTTDivisor    = 8
	nRTTSample       = 8
	cssGrowthDivisor = 4
	cssRounds        = 5
	// hystartBurstLimit is L: "a paced TCP implementation SHOULD use L = infinity", others 8.
	hystartBurstLimit = 8
)

// hystartPlus is RFC 9406's state. Slow start that sees the delay grow goes on as conservative slow start (CSS), and ends
// after five rounds of it unless the delay falls back.
type hystartPlus struct {
	done        bool // slow start has ended, or it is not the initial one
	css         bool
	rounds      uint8 // of CSS
	samples     uint8 // of the round, saturating
	windowEnd   uint32
	credit      uint32   // quarters of a segment, in CSS
	currMin     sim.Time // 0: infinity
	lastMin     sim.Time // 0: infinity
	baselineMin sim.Time
}

func (h *hystartPlus) init(s *Sender) { h.windowEnd = s.SndNxt }

// slowStart grows the window. RFC 9406 4.2: "cwnd = cwnd + min(N, L * SMSS)" in slow start, and in CSS "cwnd = cwnd +
// (min(N, L * SMSS) / CSS_GROWTH_DIVISOR)".
func (h *hystartPlus) slowStart(s *Sender, acked uint32) uint32 {
	if h.done {
		return s.slowStart(acked)
	}
	n := acked
	if !s.Paced {
		n = min(n, hystartBurstLimit)
	}
	if h.css {
		h.credit += n
		n = h.credit / cssGrowthDivisor
		h.credit %= cssGrowthDivisor
	}
	s.slowStart(n)
	return 0
}

// sample takes a round-trip time.
func (h *hystartPlus) sample(s *Sender, rtt sim.Time) {
	if h.done {
		return
	}
	if seqBefore(h.windowEnd, s.SndUna) || h.windowEnd == s.SndUna {
		h.round(s)
	}
	if h.done {
		return
	}
	if h.currMin == 0 || rtt < h.currMin {
		h.currMin = rtt
	}
	if h.samples < nRTTSample {
		h.samples++
	}
	if h.samples < nRTTSample || h.lastMin == 0 {
		return
	}
	if h.css {
		// "if (currentRoundMinRTT < cssBaselineMinRtt) cssBaselineMinRtt = infinity, resume slow start"
		if h.currMin < h.baselineMin {
			h.css = false
		}
		return
	}
	// "RttThresh = max(MIN_RTT_THRESH, min(lastRoundMinRTT / MIN_RTT_DIVISOR, MAX_RTT_THRESH)); if (currentRoundMinRTT >=
	// (lastRoundMinRTT + RttThresh)) cssBaselineMinRtt = currentRoundMinRTT, exit slow start and enter CSS"
	if h.currMin >= h.lastMin+max(minRTTThresh, min(h.lastMin/minRTTDivisor, maxRTTThresh)) {
		h.baselineMin, h.css, h.rounds, h.credit = h.currMin, true, 0, 0
	}
}

// round begins one: "lastRoundMinRTT = currentRoundMinRTT, currentRoundMinRTT = infinity, rttSampleCount = 0"; "CSS lasts
// at most CSS_ROUNDS rounds. If the transition into CSS happens in the middle of a round, that partial round counts
// towards the limit", and then "ssthresh = cwnd".
func (h *hystartPlus) round(s *Sender) {
	h.lastMin, h.currMin, h.samples, h.windowEnd = h.currMin, 0, 0, s.SndNxt
	if h.css {
		if h.rounds++; h.rounds >= cssRounds {
			h.done = true
			s.SSThresh = s.Cwnd
		}
	}
}
