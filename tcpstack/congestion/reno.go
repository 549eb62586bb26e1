package congestion

// Reno is RFC 5681's congestion control.
type Reno struct{ plain }

// Name is "reno".
func (Reno) Name() string { return "reno" }

// CongAvoid is tcp_reno_cong_avoid.
func (Reno) CongAvoid(s *Sender, acked uint32) { renoCongAvoid(s, acked) }

// SSThresh halves. RFC 5681 3.1 (4): "ssthresh = max (FlightSize / 2, 2*SMSS)". Like Linux (tcp_reno_ssthresh) it takes
// cwnd for FlightSize: the window does not grow while the application leaves it unused.
//
// RFC 8511 3: on a mark 0.8 of the window is left to a TCP that halves it on loss.
func (Reno) SSThresh(s *Sender) uint32 {
	if s.ECN && s.ABE {
		return max(uint32(uint64(s.Cwnd)*4/5), MinSSThresh)
	}
	return halve(s)
}

func halve(s *Sender) uint32 { return max(s.Cwnd/2, MinSSThresh) }

// renoCongAvoid is slow start below ssthresh and one segment a window above it. RFC 5681 3.1: "During congestion
// avoidance, cwnd is incremented by roughly 1 full-sized segment per round-trip time (RTT)."
func renoCongAvoid(s *Sender, acked uint32) {
	if !s.CwndLimited {
		return
	}
	if s.InSlowStart() {
		if acked = s.slowStart(acked); acked == 0 {
			return
		}
	}
	s.additive(s.Cwnd, acked)
}
