package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// answerInterval is how often segments without data that are not acceptable are answered: two ends that both answer would
// else never stop (tcp_invalid_ratelimit).
const answerInterval = 500 * sim.Millisecond

// mayAnswer says whether an unacceptable segment is to be acknowledged; last is when one was. As in Linux
// (tcp_oow_rate_limited) those with data always are: no loop is made of them.
//
// RFC 5961 7: "in order to avoid ... the so-called ACK storm ..., the implementation SHOULD include an ACK throttling
// mechanism".
func mayAnswer(g *segment, now sim.Time, last *sim.Time) bool {
	if g.length > 0 && !g.has(wire.FlagSYN) || g.has(wire.FlagFIN) {
		return true
	}
	if *last != 0 && now-*last < answerInterval {
		return false
	}
	*last = max(now, 1)
	return true
}

func (c *Conn) mayAnswer(g *segment, last *sim.Time) bool {
	return mayAnswer(g, c.stack.loop.Now(), last)
}

// challenge acknowledges a segment that is not acceptable, or may be forged.
func (c *Conn) challenge(g *segment) {
	if mayAnswer(g, c.stack.loop.Now(), &c.challenged) {
		c.ackNow = true
	}
}
