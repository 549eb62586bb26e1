package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/congestion"
)

// Pacing spreads segments over the round trip: each may go once those before it have had their time at the pacing rate
// (Linux: sk_pacing_rate and TCP's internal pacing timer; as with fq the first segments of a connection go at once).
type pacing struct {
	conn   *Conn
	timer  sim.Timer
	nextTx sim.Time // before which nothing may be sent (tcp_wstamp_ns)
}

// unpacedSegments: the first ten data segments, an initial window, are not paced.
const unpacedSegments = 10

// paced says whether the connection's segments are spread.
func (c *Conn) paced() bool {
	return c.set.pacing || c.set.maxPacingRate > 0 || c.set.cc.Paces()
}

// updatePacingRate sets the rate from the window: 200% of cwnd/srtt in slow start, so that it can double, 120% beyond half
// of ssthresh, so that the window is what limits (Linux: tcp_update_pacing_rate).
func (c *Conn) updatePacingRate(cc *control) {
	ratio := c.set.pacingCARatio
	if c.win.Cwnd < c.win.SSThresh/2 {
		ratio = c.set.pacingSSRatio
	}
	out := c.win.Cwnd
	if c.rtx != nil {
		out = max(out, uint32(c.rtx.n))
	}
	cc.SetPace(uint64(c.sndMSS)*uint64(ratio)*uint64(out), c.srtt8)
}

// pacedOut says whether pacing holds the next segment back; then the timer goes on with it.
func (c *Conn) pacedOut() bool {
	cc := c.cc
	if cc == nil || cc.nextTx <= c.stack.loop.Now() {
		return false
	}
	if !cc.timer.Armed() {
		c.stack.loop.Arm(&cc.timer, &c.stack.id.Src, cc.nextTx)
	}
	return true
}

// pace gives a segment of n bytes its time at the pacing rate. What a late segment has missed is made up for by half at
// most, so that a stall makes no burst (Linux: tcp_update_skb_after_send).
func (c *Conn) pace(cc *control, n int) {
	if !cc.Paced || c.dataSegsOut < unpacedSegments || cc.Pace() == 0 {
		return
	}
	now := c.stack.loop.Now()
	start := max(cc.nextTx, now)
	took := sim.Time(congestion.MulDiv(uint64(n), uint64(sim.Second), cc.Pace()))
	cc.nextTx = start + took - min(took/2, start-cc.nextTx)
	cc.NextTx = cc.nextTx
}

// Fire sends what pacing has held back.
func (cc *control) Fire(sim.Time) {
	c := cc.conn
	c.stack.tcp.cause = 0
	if !c.gone() {
		if q := c.rtx; q != nil && q.lostOut > q.retransOut {
			c.retransmitQueue()
		}
		c.transmit()
	}
}

// repace brings pacing in line with settings that have changed.
func (c *Conn) repace() {
	if cc := c.cc; cc != nil {
		cc.Pace() // under the bound that held when it was set
		cc.Paced, cc.MaxPacingRate = c.paced(), c.set.maxPacingRate
		if !c.set.cc.OwnsCwnd() {
			c.updatePacingRate(cc)
		}
		if !cc.Paced {
			cc.nextTx = 0
		}
	}
}

func (c *Conn) stopPacing() {
	if c.cc != nil {
		c.stack.loop.Stop(&c.cc.timer)
	}
}
