package congestion

import "labd.dev/sim"

// Reno is RFC 5681's congestion control.
type Reno struct{}

// Name is "reno".
func (Reno) Name() string { return "reno" }

// Grow is slow start below ssthresh and one segment a window above it. RFC 5681 3.1: "During congestion avoidance, cwnd
// is incremented by roughly 1 full-sized segment per round-trip time (RTT)."
func (Reno) Grow(w *Window, a Ack) {
	if w.InSlowStart() {
		if a.Acked = w.slowStart(a.Acked); a.Acked == 0 {
			return
		}
	}
	w.additive(w.Cwnd, a.Acked)
}

// Reduce halves. RFC 5681 3.1 (4): "ssthresh = max (FlightSize / 2, 2*SMSS)". Like Linux (tcp_reno_ssthresh) it takes
// cwnd for FlightSize: the window does not grow while the application leaves it unused.
func (Reno) Reduce(w *Window, _ sim.Time) uint32 { return max(w.Cwnd/2, MinSSThresh) }

// Variable is 0: Reno has none.
func (Reno) Variable() float64 { return 0 }
