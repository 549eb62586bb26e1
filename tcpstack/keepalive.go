package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Keep-alives probe an idle peer; their timer lies with the oddities.
//
// RFC 9293 3.8.4: "Implementers MAY include "keep-alives" in their TCP implementations (MAY-5), although this practice is
// not universally accepted. ... If keep-alives are included, the application MUST be able to turn them on or off for each
// TCP connection (MUST-24), and they MUST default to off (MUST-25)." "Keep-alive packets MUST only be sent when no sent
// data is outstanding, and no data or acknowledgment packets have been received for the connection within an interval
// (MUST-26). This interval MUST be configurable (MUST-27) and MUST default to no less than two hours (MUST-28)."

// watchPeer starts, moves or stops the timer as the settings say (Linux: tcp_set_keepalive, tcp_sock_set_keepidle).
func (c *Conn) watchPeer() {
	switch {
	case !c.set.keepAlive || !c.state.synchronized() || c.gone():
		if c.keepAliveAt() != sim.Never {
			c.odd.keepAt = sim.Never
			c.recordTimerCancelled(TimerKeepAlive)
		}
	default:
		c.setKeepAliveTimer(max(c.set.keepAliveTime-c.idle(), 0))
	}
}

func (c *Conn) setKeepAliveTimer(in sim.Time) {
	o := c.oddities()
	if o.keepAt == sim.Never {
		c.recordTimerSet(TimerKeepAlive, in)
	}
	o.keepAt = c.stack.loop.Now() + in
	c.arm()
}

// keepAliveAt is when the timer expires.
func (c *Conn) keepAliveAt() sim.Time {
	if c.odd == nil {
		return sim.Never
	}
	return c.odd.keepAt
}

// idle is how long the peer was not heard.
func (c *Conn) idle() sim.Time {
	return c.stack.loop.Now() - max(c.lastDataRcv, c.lastAckRcv)
}

// keepAliveTimeout probes the peer, or takes it for dead (Linux: tcp_keepalive_timer).
//
// RFC 9293 3.8.4 (MUST-29): "it MUST NOT interpret failure to respond to any specific probe as a dead connection."
func (c *Conn) keepAliveTimeout() {
	if !c.set.keepAlive || !c.state.synchronized() {
		return
	}
	idle := c.idle()
	switch {
	case c.sndUna != c.sndNxt || c.waiting(): // the retransmission and persist timers see to the peer
		c.setKeepAliveTimer(c.set.keepAliveTime)
		return
	case idle < c.set.keepAliveTime:
		c.setKeepAliveTimer(c.set.keepAliveTime - idle)
		return
	}
	dead := c.probesOut >= c.set.keepAliveProbes
	if t := c.set.userTimeout; t != 0 {
		dead = idle >= t && c.probesOut > 0
	}
	if dead {
		c.sendRST()
		c.timedOut()
		return
	}
	// "An implementation SHOULD send a keep-alive segment with no data (SHLD-12)"; its sequence number is old, so that the
	// peer answers.
	c.probesOut++
	c.stack.tcp.count.keepAlives++
	c.sendControl(wire.FlagACK, c.sndUna-1, SendKeepAlive)
	c.setKeepAliveTimer(c.set.keepAliveInterval)
}

// timedOut ends a connection whose peer does not answer.
func (c *Conn) timedOut() {
	c.stack.tcp.count.abortOnTimeout++
	c.terminate(ErrTimeout, ClosedTimeout, TriggerTimer)
}
