package congestion

import "labd.dev/sim"

// Figure is one of the values that an algorithm tells of itself.
type Figure struct {
	Name  string
	Value int64
}

// Figures are the members of Linux's union tcp_cc_info that an algorithm has, with their names and units; none: it tells
// nothing.
func Figures(a Algorithm) []Figure {
	switch a := a.(type) {
	case *BBR:
		bw := int64(a.Variable())
		return []Figure{{"bbr_bw_lo", bw & 0xffffffff}, {"bbr_bw_hi", bw >> 32}, {"bbr_bw", bw},
			{"bbr_min_rtt", int64(a.minRTT / sim.Microsecond)}, {"bbr_pacing_gain", int64(a.pacingGain)}, {"bbr_cwnd_gain", int64(a.cwndGain)}}
	case *DCTCP:
		return []Figure{{"dctcp_enabled", 1}, {"dctcp_alpha", int64(a.alpha)}}
	}
	return nil
}
