package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// fastOpenQueue counts the connections that SYNs with data have made and whose handshake is not complete.
//
// RFC 7413 5.1: the number of pending requests is limited, and those that were reset still count: else an attacker
// would evade the limit by sending RSTs.
type fastOpenQueue struct {
	n     int
	reset []sim.Time // of those that were reset after they had been accepted: until when they count
}

// fastOpenResetHold is how long a reset one counts (Linux: reqsk_fastopen_remove).
const fastOpenResetHold = 60 * sim.Second

// fastOpenRoom says whether one more may be made (Linux: tcp_fastopen_queue_check).
func (l *Listener) fastOpenRoom() bool {
	q := &l.fast
	limit := int(l.set.fastOpenBacklog)
	if limit == 0 {
		return false
	}
	if q.n < limit {
		return true
	}
	if len(q.reset) == 0 || q.reset[0] > l.stack.loop.Now() {
		l.stack.tcp.count.fastOpenListenOverflow++
		return false
	}
	q.reset = q.reset[1:]
	q.n--
	return true
}

// fastOpen decides what a SYN with Fast Open comes to: whether it makes a connection, and the option that the SYN,ACK
// carries, which it puts into answer. Linux: tcp_try_fastopen.
//
// RFC 7413 4.2.1, 4.2.2: an empty cookie asks for one; with one that is not valid the handshake is a regular one, and
// the SYN,ACK brings a new cookie; with a valid one the data is taken and the application told.
func (l *Listener) fastOpen(r *request, g *segment, answer *wire.FastOpen) (make bool) {
	s, asked := l.stack, &g.opt.FastOpen
	n := &s.tcp.count
	if asked.Present && asked.Len == 0 {
		n.fastOpenCookieReqd++
	}
	if !l.set.fastOpen.server() || g.length == 0 && !asked.Present || !l.fastOpenRoom() {
		return false
	}
	key := 1
	if !l.set.fastOpenNoCookie {
		if !asked.Present {
			return false
		}
		key = 0
		if asked.Len > 0 {
			if key = s.checkFastOpenCookie(l.set, &r.tuple, asked); key == 0 {
				n.fastOpenPassiveFail++
			}
		}
	}
	if key != 1 { // none, or one made with the old key
		cookie := r.tuple.fastOpenCookie(s.fastOpenKeysOf(l.set)[0])
		answer.SetCookie(cookie[:])
		answer.Exp = asked.Exp
	}
	switch key {
	case 0:
		return false
	case maxFastOpenKeys:
		n.fastOpenPassiveAltKey++
	}
	n.fastOpenPassive++
	return true
}

// openFast makes a connection of a SYN whose cookie is good: it has the SYN's data, may be accepted, read and written
// to, while its state is SYN-RECEIVED. RFC 7413 4.2.2 lets the server send data before the handshake is complete.
// Linux: tcp_fastopen_create_child.
func (l *Listener) openFast(r *request, g *segment, answer *wire.FastOpen) {
	s := l.stack
	c := r.conn()
	r.next, s.tcp.freeReq = s.tcp.freeReq, r
	c.fo = &fastOpen{lsn: l, synAt: s.loop.Now(), option: *answer}
	l.fast.n++
	c.state = StateListen
	c.recordReceived(g, InOrder)
	c.setState(StateSynRcvd, RxSYN)
	c.sndUna = c.iss + 1
	c.processing = true
	if g.length > 0 {
		c.takeSYNData(g)
	}
	c.sendSYN(SendSYN)
	if c.takeMetrics() { // of the data: the timer that runs is the SYN,ACK's
		c.recordTaken()
	}
	c.handOver()
	if c.h != nil {
		c.events |= evEstablished
		c.fo.told = true
	}
	c.conclude()
}

// takeSYNData puts the SYN's data in the receive buffer.
func (c *Conn) takeSYNData(g *segment) {
	c.inbox().push(c.stack.loop, g.f.Chunk(), g.f.Payload)
	c.rcvNxt += seqNum(g.length)
	c.rcvAdv = maxSeq(c.rcvAdv, c.rcvNxt)
	c.bytesReceived += uint64(g.length)
	c.dataSegsIn++
	c.lastDataRcv = c.stack.loop.Now()
	c.fo.acked = true
	c.events |= evReadable
}

// leaveFastOpen takes a connection out of the listener's Fast Open queue; one that the peer reset goes on counting for a
// while, if the application had it already.
func (c *Conn) leaveFastOpen(reset bool) {
	l := c.fo.lsn
	c.fo.lsn = nil
	if !reset || l.closed || c.lsn != nil {
		l.fast.n--
		return
	}
	l.fast.reset = append(l.fast.reset, c.stack.loop.Now()+fastOpenResetHold)
}

// checkHalfAccepted is what a segment meets first while the handshake of a connection that a SYN made is not complete. It
// reports whether the segment is to be worked on. Linux: tcp_check_req for Fast Open.
func (c *Conn) checkHalfAccepted(g *segment) bool {
	s, fo := c.stack, c.fo
	paws := c.tsOK && g.opt.HasTimestamps && c.tsRecent != 0 && int32(g.opt.TSVal-c.tsRecent) < 0
	if g.repeatsSYN(c.irs) && !paws {
		// The SYN once more: it is answered by the SYN,ACK, whose timer goes on (Linux puts off the request's, which does
		// not run here).
		if !c.set.mayAnswer(g, s.loop.Now(), &fo.answered) {
			s.tcp.count.skippedSynRecv++
			return false
		}
		c.resendSYNACK()
		return false
	}
	if paws || c.tsOK && s.echoesOther(g, fo.synAt, c.tsOffset) || !inSynWindow(g, c.rcvNxt, c.set.synWindow(c.rt, c.tsOK)) {
		if paws {
			s.tcp.count.pawsDrops++
			c.recordDropped(g, DropPAWS)
		}
		if !g.has(wire.FlagRST) {
			if c.set.mayAnswer(g, s.loop.Now(), &fo.answered) {
				c.sendACK(SendACK)
			} else {
				s.tcp.count.skippedSynRecv++
			}
		}
		return false
	}
	if g.seq == c.irs {
		g.flags &^= wire.FlagSYN
	}
	switch {
	case g.has(wire.FlagRST):
		// Any reset in the window: there is no need to be as careful as with connections that are established.
		s.tcp.count.attemptFails++
		c.leaveFastOpen(true)
		c.terminate(ErrReset, ClosedReset, RxRST)
		return false
	case g.has(wire.FlagSYN):
		// "we try not to reset the local connection": only the peer is told.
		s.tcp.count.attemptFails++
		s.replyRST(g, &c.tuple)
		return false
	}
	return g.has(wire.FlagACK)
}

// handshakeAcked is "Fifth, check the ACK field" for such a connection: the ACK that completes its handshake.
func (c *Conn) handshakeAcked(g *segment) bool {
	if !c.iss.less(g.ack) || c.sndNxt.less(g.ack) {
		if c.state == StateSynRcvd {
			c.stack.replyRST(g, &c.tuple)
		} else {
			c.challenge()
		}
		return false
	}
	now := c.stack.loop.Now()
	c.leaveFastOpen(false)
	c.cancelRetransTimer()
	first := c.fo.retrans == 0
	c.retransmits, c.backoff = 0, 0
	c.lastAckRcv = now
	if c.state == StateSynRcvd {
		c.setState(StateEstablished, RxACK)
		if !c.fo.told {
			c.events |= evEstablished
		}
		if c.finQueued {
			c.closeStates()
		}
	}
	// The SYN's place stays in sndWl1, so that this ACK is a window update and no duplicate of anything (Linux: tcp_ack comes
	// before tcp_init_wl).
	c.sndWnd = uint32(g.wnd) << c.sndWscale
	c.maxSndWnd = max(c.maxSndWnd, c.sndWnd)
	if c.set.quickAC {
		c.quickACKs = maxQuickACKs
	}
	c.stack.tcp.count.passiveOpens++
	c.recordStarted()
	c.fo.completing = true
	c.acknowledge(g)
	c.fo.completing = false
	if c.srtt8 == 0 && first {
		c.sampleRTT(us(now - c.fo.synAt))
	}
	if !c.gone() && c.sndUna != c.sndNxt {
		c.setRetransTimer(TimerRTO, c.backedOff())
	}
	return !c.gone()
}

// synACKTimeout is the SYN,ACK's timeout, doubled each time that it came.
func (c *Conn) synACKTimeout() sim.Time {
	return min(c.set.initialRTO<<min(c.fo.timeouts, maxBackoff), c.set.maxRTO)
}

func (c *Conn) resendSYNACK() {
	c.fo.retrans = min(c.fo.retrans+1, maxRetry)
	c.totalRetrans++
	c.stack.tcp.count.retransSegs++
	c.stack.tcp.count.synRetrans++
	c.sendSYN(SendSYN)
}

// halfAcceptedTimeout repeats the SYN,ACK, once more often than for a connection that is not accepted yet, unless the
// socket has a number of its own (TCP_SYNCNT); what else was sent is not repeated before it is acknowledged. Linux:
// tcp_fastopen_synack_timer.
func (c *Conn) halfAcceptedTimeout() {
	limit := int(c.set.synAckRetries)
	if !c.set.synCount {
		limit++
	}
	if int(c.fo.timeouts) >= limit {
		c.stack.tcp.count.abortOnTimeout++
		c.terminate(ErrTimeout, ClosedTimeout, TriggerTimer)
		return
	}
	switch {
	case c.retransmits == 0:
		c.fo.repeatedAt = c.stack.loop.Now()
	case c.retransmits == 1:
		c.halfAcceptedLoss()
	}
	c.resendSYNACK()
	c.fo.timeouts++
	c.retransmits++
	c.setRetransTimer(TimerRTO, c.synACKTimeout())
}

// halfAcceptedLoss: the second timeout in a row is a loss. Data that went out with the SYN,ACK is taken for lost, and goes
// again when the handshake is complete, unless the ACK's timestamp shows that the first SYN,ACK had arrived (Linux:
// tcp_enter_loss, whose retrans_stamp is the first timeout's).
func (c *Conn) halfAcceptedLoss() {
	if c.rtx == nil || c.rtx.n == 0 {
		c.win.SSThresh = c.caSsthresh(false)
		c.win.Cwnd, c.win.Count = 1, 0
		return
	}
	c.recovery()
	c.enterLoss()
	c.rec.undo.retransAt = c.fo.repeatedAt
}
