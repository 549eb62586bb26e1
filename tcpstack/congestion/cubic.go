package congestion

import "labd.dev/sim"

// CUBIC (RFC 9438) in integers: windows in segments, times in milliseconds, Reno's estimate in 1/65536 segments. The
// result is the same on every CPU.
const (
	// RFC 9438 4.6: "beta_cubic SHOULD be set to 0.7".
	betaNum, betaDen = 7, 10
	// RFC 9438 5: "C SHOULD be set to 0.4", segments/s^3: C*t^3 = 4*ms^3 / 10^10.
	cNum, cDen = 4, 10_000_000_000
	// RFC 9438 4.3: alpha_cubic = 3*(1-beta)/(1+beta) = 9/17, in 1/65536.
	alphaQ16 = 9 * 65536 / 17
	// maxOffset bounds |t-K| so that its cube fits 63 bits: half an hour, far beyond any target's clamp.
	maxOffset = 1 << 20
)

// Cubic is one connection's CUBIC state, in RFC 9438 4.1.2's terms.
type Cubic struct {
	epochStart sim.Time // when the current congestion avoidance stage began
	wMax       uint32   // window just before the last reduction, after fast convergence
	cwndPrior  uint32   // window just before the last reduction
	k          int64    // ms from epochStart to wMax
	wEst       uint64   // Reno's window, Q16
	origin     uint32   // plateau of this epoch: wMax, or cwnd if that is larger
	inEpoch    bool
}

// Name is "cubic".
func (*Cubic) Name() string { return "cubic" }

// Variable is W_max, in segments.
func (c *Cubic) Variable() float64 { return float64(c.wMax) }

// Grow is slow start below ssthresh and the cubic function of time above it.
func (c *Cubic) Grow(w *Window, a Ack) {
	if w.InSlowStart() {
		if a.Acked = w.slowStart(a.Acked); a.Acked == 0 {
			return
		}
	}
	if !c.inEpoch {
		c.startEpoch(w, a.Now)
	}
	c.growReno(w, a.Acked)
	// RFC 9438 4.2: "target = ... W_cubic(t + RTT)", not below cwnd, not above 1.5*cwnd.
	target := min(c.window(a.Now-c.epochStart+a.SRTT), int64(w.Cwnd)+int64(w.Cwnd)/2)
	if target > int64(w.Cwnd) {
		// RFC 9438 4.4: "cwnd MUST be incremented by (target - cwnd)/cwnd for each received new ACK".
		w.additive(w.Cwnd/uint32(target-int64(w.Cwnd)), a.Acked)
	} else {
		w.additive(100*w.Cwnd, a.Acked) // Linux: "very small increment" on the plateau
	}
	// RFC 9438 4.3: "when receiving a new ACK in congestion avoidance, ... if W_cubic(t) is less than W_est, ... cwnd
	// SHOULD be set to W_est".
	if est := uint32(c.wEst >> 16); est > w.Cwnd && c.window(a.Now-c.epochStart) < int64(est) {
		w.Cwnd, w.Count = est, 0
	}
}

// startEpoch begins a congestion avoidance stage.
func (c *Cubic) startEpoch(w *Window, now sim.Time) {
	c.inEpoch, c.epochStart = true, now
	c.wEst = uint64(w.Cwnd) << 16
	if w.Cwnd < c.wMax {
		// RFC 9438 4.2, Figure 2: K = cubic_root((W_max - cwnd_epoch) / C).
		c.k = cubeRoot(uint64(c.wMax-w.Cwnd) * (cDen / cNum))
		c.origin = c.wMax
	} else {
		c.k, c.origin = 0, w.Cwnd
	}
}

// growReno advances W_est. RFC 9438 4.3, Figure 4: "W_est = W_est + alpha_cubic * segments_acked / cwnd"; "Once W_est has
// grown to reach the cwnd at the time of most recently setting ssthresh (cwnd_prior), the sender SHOULD set alpha_cubic
// to 1".
func (c *Cubic) growReno(w *Window, acked uint32) {
	alpha := uint64(alphaQ16)
	if uint32(c.wEst>>16) >= c.cwndPrior {
		alpha = 1 << 16
	}
	c.wEst += alpha * uint64(acked) / uint64(w.Cwnd)
}

// window is W_cubic(t). RFC 9438 4.2, Figure 1: "W_cubic(t) = C * (t - K)^3 + W_max".
func (c *Cubic) window(t sim.Time) int64 {
	d := max(-maxOffset, min(maxOffset, int64(t/sim.Millisecond)-c.k))
	return int64(c.origin) + d*d*d/(cDen/cNum)
}

// Reduce multiplies by beta. RFC 9438 4.6, Figure 5: "ssthresh = flight_size * beta_cubic"; 4.7 (fast convergence): "if
// cwnd < W_max ... W_max = cwnd * (1 + beta_cubic) / 2".
func (c *Cubic) Reduce(w *Window, _ sim.Time) uint32 {
	c.inEpoch = false
	c.cwndPrior = w.Cwnd
	if w.Cwnd < c.wMax {
		c.wMax = uint32(uint64(w.Cwnd) * (betaDen + betaNum) / (2 * betaDen))
	} else {
		c.wMax = w.Cwnd
	}
	return max(uint32(uint64(w.Cwnd)*betaNum/betaDen), MinSSThresh)
}

// cubeRoot is the largest r with r^3 <= v, bit by bit.
func cubeRoot(v uint64) int64 {
	var r uint64
	for b := uint64(1) << 20; b > 0; b >>= 1 {
		if n := r | b; n*n*n <= v {
			r = n
		}
	}
	return int64(r)
}
