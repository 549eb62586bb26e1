package congestion

import "labd.dev/sim"

// Long-term bandwidth sampling: BBR version 1 takes a path that loses a fifth and more at a steady rate for one with a
// token-bucket policer, and keeps to the rate that the policer lets through (Linux: bbr_lt_bw_sampling).
const (
	ltMinRounds  = 4           // of an interval
	ltMaxRounds  = 48          // that the estimate is used
	ltLossThresh = 50          // /256, share lost in an interval
	ltBwRatio    = bbrUnit / 8 // two intervals agree within this
	ltBwDiff     = 4000 / 8    // bytes/s, or within this
)

type bbrPolicer struct {
	use, sampling   bool
	rounds          uint8
	bw              uint64
	delivered, lost uint32 // as the interval began
	at              sim.Time
}

func (l *bbrPolicer) reset(b *BBR, s *Sender) {
	*l = bbrPolicer{}
	l.begin(s)
}

// begin begins an interval.
func (l *bbrPolicer) begin(s *Sender) {
	l.at, l.delivered, l.lost, l.rounds = s.DeliveredAt, s.Delivered, s.Lost, 0
}

// sample takes an ACK in.
func (l *bbrPolicer) sample(b *BBR, s *Sender, rs *RateSample) {
	if l.use {
		if b.mode == bbrProbeBW && b.roundStart {
			if l.rounds++; l.rounds >= ltMaxRounds {
				l.reset(b, s)
				b.probeBandwidth(s)
			}
		}
		return
	}
	if !l.sampling {
		// An interval begins with a loss: the policer's bucket is empty then.
		if rs.NewlyLost == 0 {
			return
		}
		l.begin(s)
		l.sampling = true
	}
	if rs.AppLimited {
		l.reset(b, s)
		return
	}
	if b.roundStart {
		l.rounds++
	}
	switch {
	case l.rounds < ltMinRounds:
		return
	case l.rounds > 4*ltMinRounds:
		l.reset(b, s)
		return
	case rs.NewlyLost == 0:
		return // it ends with a loss as well
	}
	lost, delivered := s.Lost-l.lost, s.Delivered-l.delivered
	if delivered == 0 || uint64(lost)<<8 < ltLossThresh*uint64(delivered) {
		return
	}
	t := s.DeliveredAt - l.at
	if t < sim.Millisecond {
		return
	}
	l.done(s, min(uint64(delivered)*bwUnit*1000/uint64(t), maxBW))
}

// done: two intervals in a row that agree make an estimate.
func (l *bbrPolicer) done(s *Sender, bw uint64) {
	if l.bw > 0 {
		diff := max(bw, l.bw) - min(bw, l.bw)
		if diff*bbrUnit <= ltBwRatio*l.bw || s.paceAt(diff, bbrUnit) <= ltBwDiff {
			l.bw, l.use, l.rounds = (bw+l.bw)/2, true, 0
			return
		}
	}
	l.bw = bw
	l.begin(s)
}
