package tcpstack

import "labd.dev/sim"

// One timer a connection: it is armed for the least of the connection's deadlines. pendingTimer says what timerAt is for:
// retransmission, persist and FIN-WAIT-2's end exclude each other.

// pendingDeadline is when the retransmission or persist timer expires.
func (c *Conn) pendingDeadline() sim.Time { return c.timerAt }

// setRetransTimer sets the retransmission or persist timer.
func (c *Conn) setRetransTimer(kind TimerKind, in sim.Time) {
	if c.timerAt == sim.Never || c.pendingTimer != kind {
		c.recordTimerSet(kind, in)
	}
	c.pendingTimer, c.timerAt = kind, c.stack.loop.Now()+in
	c.arm()
}

// cancelRetransTimer stops it.
func (c *Conn) cancelRetransTimer() {
	if c.timerAt != sim.Never {
		c.recordTimerCancelled(c.pendingTimer)
		c.timerAt = sim.Never
		c.arm()
	}
}

// setDelackTimer sets the delayed ACK timer.
func (c *Conn) setDelackTimer(in sim.Time) {
	if c.delackAt == sim.Never {
		c.recordTimerSet(TimerDelACK, in)
	}
	c.delackAt = c.stack.loop.Now() + in
	c.arm()
}

func (c *Conn) cancelDelackTimer() {
	if c.delackAt != sim.Never {
		c.endDelackTimer()
	}
}

func (c *Conn) endDelackTimer() {
	c.delackAt = sim.Never
	c.recordTimerCancelled(TimerDelACK)
}

// arm sets the one timer for the least deadline. A timer that stands earlier than needed is left: it finds nothing due
// and is armed anew then.
func (c *Conn) arm() {
	at := min(c.timerAt, c.delackAt, c.keepAliveAt())
	if at == sim.Never || c.timer.Armed() && c.timer.At() <= at {
		return
	}
	c.stack.loop.Arm(&c.timer, &c.stack.id.Src, at)
}

// Fire runs the deadlines that have come.
func (c *Conn) Fire(now sim.Time) {
	if c.gone() { // all was read that Closed had waited for
		c.farewell()
		return
	}
	if c.delackAt <= now {
		c.delackAt = sim.Never
		c.recordTimerFired(TimerDelACK)
		c.delackTimeout()
	}
	if c.timerAt <= now {
		c.timerAt = sim.Never
		c.recordTimerFired(c.pendingTimer)
		switch c.pendingTimer {
		case TimerRTO:
			c.retransmissionTimeout()
		case TimerTLP:
			c.probeTimeout()
		case TimerReorder:
			c.reorderTimeout()
		case TimerPersist:
			c.persistTimeout()
		case TimerTimeWait:
			c.terminate(nil, ClosedOrderly, TriggerTimer)
		}
	}
	if c.keepAliveAt() <= now && !c.gone() {
		c.odd.keepAt = sim.Never
		c.recordTimerFired(TimerKeepAlive)
		c.keepAliveTimeout()
	}
	c.stack.tcp.cause = 0
	if c.state != StateClosed {
		c.arm()
	}
}
