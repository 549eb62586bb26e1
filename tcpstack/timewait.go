package tcpstack

import (
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// maxTimeWaits bounds the connections a stack keeps in TIME-WAIT: more than its ephemeral ports. Beyond, a connection goes
// straight to CLOSED (tcp_max_tw_buckets).
const maxTimeWaits = 32768

// timeWait is what is left of a connection in TIME-WAIT: enough to answer old segments and to tell them from a new SYN.
type timeWait struct {
	stack *Stack
	timer sim.Timer
	rt    *route
	set   *settings
	tuple
	hashed         uint32
	tag            uint32
	id             sim.ConnID
	sndNxt, rcvNxt seqNum
	tsRecent       uint32
	tsOffset       uint32
	tsAt           sim.Time // when tsRecent was taken
	rcvWnd         uint16   // as last announced, as on the wire
	rcvWscale      uint8
	passive        bool
	tsOK           bool
	rfc1337        bool
	wait           sim.Time
	challenged     answered  // of segments without data
	next, prev     *timeWait // in order of entering
}

func (w *timeWait) name() *tuple { return &w.tuple }

// TimeWait describes a connection in TIME-WAIT.
type TimeWait struct {
	ID            sim.ConnID
	Local, Remote netip.AddrPort
	Initiator     bool
	Until         sim.Time // when it becomes CLOSED
}

// TimeWaits lists the connections in TIME-WAIT in the order in which they came there.
func (s *Stack) TimeWaits() []TimeWait {
	var list []TimeWait
	for w := s.tcp.firstTW; w != nil; w = w.next {
		list = append(list, TimeWait{w.id, w.localAddr(), w.remoteAddr(), !w.passive, w.timer.At()})
	}
	return list
}

// enterTimeWait acknowledges the peer's FIN and leaves a small block behind. RFC 9293 3.3.2: "TIME-WAIT - represents
// waiting for enough time to pass to be sure the remote TCP peer received the acknowledgment of its connection
// termination request and to avoid new connections being impacted by delayed segments from previous connections."
func (c *Conn) enterTimeWait(why StateTrigger) {
	s := c.stack
	if c.ackNow {
		c.sendACK(SendACK)
	}
	if c.state != StateFinWait2 || !c.appClosed { // else they were when FIN-WAIT-2 was left to itself
		c.saveMetrics()
	}
	if c.set.timeWait == 0 || s.tcp.timeWaits.n >= maxTimeWaits {
		c.terminate(nil, ClosedOrderly, why)
		return
	}
	c.setState(StateTimeWait, why)
	w := s.tcp.freeTW
	if w != nil {
		s.tcp.freeTW = w.next
	} else {
		w = new(timeWait)
	}
	w.fill(c)
	c.retire(nil, ClosedOrderly)
	s.tcp.timeWaits.insert(w, w.hashed)
	if w.prev = s.tcp.lastTW; w.prev != nil {
		w.prev.next = w
	} else {
		s.tcp.firstTW = w
	}
	s.tcp.lastTW = w
	w.start()
}

// fill takes over what is left of a connection.
func (w *timeWait) fill(c *Conn) {
	s := c.stack
	w.set = c.set
	w.stack, w.rt, w.tuple, w.hashed, w.tag, w.id = s, c.rt, c.tuple, c.hashed, c.tag, c.id
	w.timer.H = w
	w.passive, w.tsOK, w.rfc1337 = c.passive, c.tsOK, c.set.rfc1337
	w.sndNxt, w.rcvNxt, w.rcvWnd, w.rcvWscale = c.sndNxt, c.rcvNxt, c.advertise(), c.rcvWscale
	w.tsRecent, w.tsOffset, w.tsAt = c.tsRecent, c.tsOffset, s.loop.Now()
	w.wait, w.challenged = c.set.timeWait, answered{}
	w.next, w.prev = nil, nil
}

// start: "start the 2 MSL timeout"; "restart the 2 MSL timeout".
func (w *timeWait) start() {
	s := w.stack
	s.recordTimeWait(w, KindTCPTimerSet)
	s.loop.Arm(&w.timer, &s.id.Src, s.loop.Now()+w.wait)
}

// Fire ends the wait.
func (w *timeWait) Fire(sim.Time) {
	w.stack.recordTimeWait(w, KindTCPTimerFired)
	w.stack.recordTimeWaitClosed(w, TriggerTimer)
	w.stack.dropTimeWait(w)
}

// dropTimeWait takes a block out of the tables. What it holds can be read until another connection enters TIME-WAIT.
func (s *Stack) dropTimeWait(w *timeWait) {
	s.loop.Stop(&w.timer)
	s.tcp.timeWaits.remove(w, w.hashed)
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		s.tcp.firstTW = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		s.tcp.lastTW = w.prev
	}
	w.next, s.tcp.freeTW = s.tcp.freeTW, w
}

// arrives handles a segment for a connection in TIME-WAIT (Linux: tcp_timewait_state_process). It reports whether the
// block is gone and the segment, a SYN, is for a listener.
func (w *timeWait) arrives(g *segment) (reopen bool) {
	s := w.stack
	ts := w.tsOK && g.opt.HasTimestamps
	old := ts && w.pawsRejects(g)
	newer := ts && int32(g.opt.TSVal-w.tsRecent) > 0
	s.recordTimeWaitReceived(w, g)
	switch {
	case !old && g.seq == w.rcvNxt && (g.segLen() == 0 || g.has(wire.FlagRST)):
		// In the window, and an empty window at that: a reset or a bare ACK.
		if !g.has(wire.FlagRST) {
			w.start()
		} else if !w.rfc1337 {
			// RFC 1337 3 (fix F1): "Ignore RST segments in TIME-WAIT state", so that an old duplicate does not assassinate
			// it; Linux does so with tcp_rfc1337 only.
			s.recordTimeWaitClosed(w, RxRST)
			s.dropTimeWait(w)
			return false
		}
		if ts {
			w.tsRecent, w.tsAt = g.opt.TSVal, s.loop.Now()
		}
	case g.has(wire.FlagSYN) && !g.has(wire.FlagRST) && !g.has(wire.FlagACK) && !old && (w.rcvNxt.less(g.seq) || newer) &&
		s.findListener(&w.tuple) != nil:
		// RFC 9293 3.6.1 (MAY-2): "it MAY accept a new SYN from the remote TCP endpoint to reopen the connection directly
		// from TIME-WAIT state, if it: (1) assigns its initial sequence number for the new connection to be larger than the
		// largest sequence number it used on the previous connection incarnation, and (2) returns to TIME-WAIT state if the
		// SYN turns out to be an old duplicate." RFC 6191 adds the timestamp. nextISN sees to (1).
		s.recordTimeWaitClosed(w, RxSYN)
		s.dropTimeWait(w)
		return true
	case !g.has(wire.FlagRST):
		// "TIME-WAIT: The only thing that can arrive in this state is a retransmission of the remote FIN. Acknowledge it,
		// and restart the 2 MSL timeout." A SYN without an ACK may be a new one with an ISN that is too low: no restart.
		if old || g.has(wire.FlagACK) {
			w.start()
		}
		if s.tcp.defaults.mayAnswer(g, s.loop.Now(), &w.challenged) {
			w.ack(g)
		}
	}
	return false
}

// pawsRejects: RFC 7323 5.3 R1; a reset counts whatever its timestamp once TS.Recent is older than an MSL (Linux:
// tcp_paws_reject).
func (w *timeWait) pawsRejects(g *segment) bool {
	age := w.stack.loop.Now() - w.tsAt
	if int32(g.opt.TSVal-w.tsRecent) >= 0 || age >= pawsIdle*sim.Second {
		return false
	}
	return !g.has(wire.FlagRST) || age < pawsMSL
}

// pawsMSL is Linux's TCP_PAWS_MSL.
const pawsMSL = 60 * sim.Second

// reusable says whether a new connection to the same peer may take the place of this one.
//
// RFC 6191 2: where both incarnations have timestamps, a SYN whose timestamp is "greater than the last timestamp seen on the
// previous incarnation of the connection (for that direction of the data transfer)" is taken. Its mirror image at the end that opens is tcp_tw_reuse: a second later its own timestamps are greater (Linux: tcp_twsk_unique).
func (w *timeWait) reusable(set *settings) bool {
	switch set.timeWaitReuse {
	case TimeWaitReuseOff:
		return false
	case TimeWaitReuseLoopback:
		if !w.localAddr().Addr().IsLoopback() && !w.remoteAddr().Addr().IsLoopback() {
			return false
		}
	}
	return w.tsOK && w.stack.loop.Now()-w.tsAt >= sim.Second
}

// takeOver ends the TIME-WAIT whose place a connection takes: it begins beyond what the old one has sent.
func (s *Stack) takeOver(c *Conn) {
	w := s.tcp.timeWaits.find(&c.tuple, c.hashed)
	if w == nil {
		return
	}
	if !c.set.fixedISN {
		c.iss = w.nextISN()
	}
	s.recordTimeWaitClosed(w, AppOpen)
	s.dropTimeWait(w)
}

// nextISN is the initial sequence number of the connection that reopens this one: beyond any window that the old one may
// have had in flight (Linux: tcp_timewait_state_process).
func (w *timeWait) nextISN() seqNum { return w.sndNxt + 0xffff + 2 }

// ack answers with the connection's last ACK.
func (w *timeWait) ack(g *segment) {
	h := wire.TCP{SrcPort: w.localPort, DstPort: w.remotePort, Seq: uint32(w.sndNxt), Ack: uint32(w.rcvNxt),
		Flags: wire.FlagACK, Window: w.rcvWnd}
	opt := wire.TCPOptions{HasTimestamps: w.tsOK}
	if w.tsOK {
		opt.TSVal = uint32(w.stack.loop.Now()/sim.Millisecond) + w.tsOffset
		opt.TSEcr = w.tsRecent
	}
	w.stack.sendBare(w.rt, w.set, &h, &opt, w.id, w.tag, SendACK, StateTimeWait, w.rcvWscale)
}
