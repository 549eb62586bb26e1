package congestion

import "labd.dev/sim"

// CUBIC (RFC 9438) in the integers of Linux's tcp_cubic.c, so that windows are the same to the segment: time in 1/1024 s,
// beta in 1/1024. In quotations the RFC's Greek letters are written out. Linux's cube root is a table and one step of Newton's, within 0.2%; ours is exact.
const (
	cubicBeta = 717 // /1024. RFC 9438 4.6: "beta_cubic SHOULD be set to 0.7"
	// cubicC is C = 0.4 as 410/1024. RFC 9438 5: "C SHOULD be set to 0.4".
	cubicC = 410
	// cubeFactor is 1/C, for K in 1/1024 s: (1024 * 1024^3) / 410.
	cubeFactor = 1 << 40 / cubicC
	// cubeShift takes C*t^3 in those units to segments.
	cubeShift = 40
	// renoScale is 8/alpha_cubic with RFC 9438 4.3's alpha = 3*(1-beta)/(1+beta): Linux's beta_scale.
	renoScale = 8 * (1024 + cubicBeta) / 3 / (1024 - cubicBeta)
	// maxCubeOffset bounds |t-K| so that C times its cube fits 63 bits: four minutes, whose cube is beyond any window.
	maxCubeOffset = 1 << 18
	// cubicABE: RFC 8511 3 has 0.85 for CUBIC.
	cubicABE = 870 // /1024
)

// Cubic is one connection's CUBIC state.
type Cubic struct {
	plain
	cnt        uint32 // segments delivered for each by which the window grows
	wMax       uint32 // window just before the last reduction, after fast convergence
	lastCwnd   uint32
	origin     uint32   // plateau of this epoch: wMax, or cwnd if that is larger
	ackCnt     uint32   // segments delivered towards the next of wEst
	wEst       uint32   // what Reno's window would be
	k          int64    // 1/1024 s from epochStart to origin
	lastTime   sim.Time // ms, when the cubic function was last asked
	epochStart sim.Time // ms; 0: no epoch
	delayMin   sim.Time
	hystart    hystart
	hystartpp  *hystartPlus // RFC 9406's, where it is asked for
}

// Name is "cubic".
func (*Cubic) Name() string { return "cubic" }

// Variable is W_max, in segments.
func (c *Cubic) Variable() float64 { return float64(c.wMax) }

// millis is a time on the clock that CUBIC counts by: Linux's jiffies at 1000 Hz. It is never 0, which means "no epoch".
func millis(t sim.Time) sim.Time { return t/sim.Millisecond + 1 }

// Init begins.
func (c *Cubic) Init(s *Sender) {
	*c = Cubic{}
	if s.HyStart == HyStartRFC9406 {
		c.hystartpp = new(hystartPlus)
		c.hystartpp.init(s)
	}
	c.hystart.reset(s)
}

// reset forgets all about the path.
func (c *Cubic) reset(s *Sender) {
	*c = Cubic{hystartpp: c.hystartpp}
	c.hystart.reset(s)
}

// SetState: after a timeout nothing that was known of the path holds.
func (c *Cubic) SetState(s *Sender, next State) {
	if next == Loss {
		c.reset(s)
		if c.hystartpp != nil {
			c.hystartpp.done = true // RFC 9406 4.3: "SHOULD use HyStart++ only for the initial slow start"
		}
	}
}

// Event shifts the epoch by the time the connection was idle, so that the cubic function does not run away meanwhile.
func (c *Cubic) Event(s *Sender, e Event) {
	if e == EventTxStart && c.epochStart != 0 {
		c.epochStart = min(c.epochStart+(s.Now-s.SentAt)/sim.Millisecond, millis(s.Now))
	}
}

// CongAvoid is slow start below ssthresh and the cubic function of time above it.
func (c *Cubic) CongAvoid(s *Sender, acked uint32) {
	if !s.CwndLimited {
		return
	}
	if s.InSlowStart() {
		if c.hystartpp != nil {
			acked = c.hystartpp.slowStart(s, acked)
		} else {
			acked = s.slowStart(acked)
		}
		if acked == 0 {
			return
		}
	}
	c.update(s, acked)
	s.additive(c.cnt, acked)
}

// update sets cnt (Linux: bictcp_update).
func (c *Cubic) update(s *Sender, acked uint32) {
	now, cwnd := millis(s.Now), s.Cwnd
	c.ackCnt += acked
	if c.lastCwnd == cwnd && now-c.lastTime <= 31 { // HZ/32
		return
	}
	if c.epochStart == 0 || now != c.lastTime {
		c.lastCwnd, c.lastTime = cwnd, now
		if c.epochStart == 0 {
			c.startEpoch(cwnd, acked, now)
		}
		c.cubic(cwnd, now)
	}
	// RFC 9438 4.3: "W_est = W_est + alpha_cubic * segments_acked / cwnd". The window is to be no smaller.
	per := cwnd * renoScale >> 3
	for c.ackCnt > per {
		c.ackCnt -= per
		c.wEst++
	}
	if c.wEst > cwnd {
		c.cnt = min(c.cnt, cwnd/(c.wEst-cwnd))
	}
	c.cnt = max(c.cnt, 2) // RFC 9438 4.2: the target is at most 1.5 cwnd
}

// startEpoch begins a congestion avoidance stage.
func (c *Cubic) startEpoch(cwnd, acked uint32, now sim.Time) {
	c.epochStart, c.ackCnt, c.wEst = now, acked, cwnd
	if c.wMax <= cwnd {
		c.k, c.origin = 0, cwnd
	} else {
		// RFC 9438 4.2, Figure 2: K = cubic_root((W_max - cwnd_epoch) / C).
		c.k, c.origin = cubeRoot(cubeFactor*uint64(c.wMax-cwnd)), c.wMax
	}
}

// cubic asks the cubic function. RFC 9438 4.2, Figure 1: "W_cubic(t) = C * (t - K)^3 + W_max", at t + RTT.
func (c *Cubic) cubic(cwnd uint32, now sim.Time) {
	t := int64(now-c.epochStart) + int64((c.delayMin+sim.Millisecond-1)/sim.Millisecond)
	t = t<<10/1000 - c.k
	off := min(max(t, -t), maxCubeOffset)
	delta := cubicC * off * off * off >> cubeShift
	target := int64(c.origin) + delta
	if t < 0 {
		target = int64(c.origin) - delta
	}
	if target > int64(cwnd) {
		// RFC 9438 4.4: "cwnd MUST be incremented by (target - cwnd)/cwnd for each received new ACK".
		c.cnt = uint32(int64(cwnd) / (target - int64(cwnd)))
	} else {
		c.cnt = 100 * cwnd // Linux: a very small increment
	}
	// Linux: "The initial growth of cubic function may be too conservative": 5% a round trip until the first loss.
	if c.wMax == 0 && c.cnt > 20 {
		c.cnt = 20
	}
}

// SSThresh multiplies by beta. RFC 9438 4.6, Figure 5: "ssthresh = flight_size * beta_cubic"; 4.7 (fast convergence): "if
// cwnd < W_max ... W_max = cwnd * (1 + beta_cubic) / 2".
func (c *Cubic) SSThresh(s *Sender) uint32 {
	c.epochStart = 0
	cwnd := uint64(s.Cwnd)
	if s.Cwnd < c.wMax {
		c.wMax = uint32(cwnd * (1024 + cubicBeta) / 2048)
	} else {
		c.wMax = s.Cwnd
	}
	if c.hystartpp != nil {
		c.hystartpp.done = true
	}
	if s.ECN && s.ABE {
		return max(uint32(cwnd*cubicABE/1024), MinSSThresh)
	}
	return max(uint32(cwnd*cubicBeta/1024), MinSSThresh)
}

// PktsAcked keeps the least delay, and asks HyStart about it.
func (c *Cubic) PktsAcked(s *Sender, rtt sim.Time) {
	if rtt < 0 {
		return
	}
	// Linux: samples right after fast recovery are discarded.
	if c.epochStart != 0 && millis(s.Now)-c.epochStart < 1000 {
		return
	}
	rtt = max(rtt, sim.Microsecond)
	if c.delayMin == 0 || rtt < c.delayMin {
		c.delayMin = rtt
	}
	if !s.InSlowStart() {
		return
	}
	switch {
	case c.hystartpp != nil:
		c.hystartpp.sample(s, rtt)
	case s.HyStart == HyStartLinux:
		c.hystart.update(s, rtt, c.delayMin)
	}
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
