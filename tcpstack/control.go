package tcpstack

import "labd.dev/tcpstack/congestion"

// control is what a connection that sends data keeps for congestion control: the algorithm, what it sees of the connection,
// and the state of pacing and of cwnd validation. It is made when the connection first sends data. The window itself lies in
// Conn.
type control struct {
	congestion.Sender
	alg congestion.Algorithm
	rs  congestion.RateSample
	use cwndUse
	pacing
	of   congestion.ID // what alg is
	next *control      // in the free list
}

// control is c.cc, made on first use.
func (c *Conn) control() *control {
	if c.cc == nil {
		t := &c.stack.tcp
		cc := t.freeControl
		if cc != nil {
			t.freeControl = cc.next
			alg, of := cc.alg, cc.of
			*cc = control{}
			cc.alg, cc.of = alg, of
		} else {
			cc = new(control)
		}
		if cc.alg == nil || cc.of != c.set.cc {
			cc.alg, cc.of = c.set.cc.New(), c.set.cc
		}
		c.cc = cc
		cc.Window = &c.win
		cc.Delivered = 1 // the SYN
		cc.conn, cc.pacing.timer.H = c, cc
		cc.use.stamp = c.stack.loop.Now()
		c.lookAround(cc)
		c.startAlgorithm(cc)
	}
	return c.cc
}

// releaseControl gives it back, with its algorithm, when the application has been told of the connection's end.
func (c *Conn) releaseControl() {
	if cc := c.cc; cc != nil {
		c.stopPacing()
		cc.Window, cc.conn = nil, nil
		t := &c.stack.tcp
		cc.next, t.freeControl, c.cc = t.freeControl, cc, nil
	}
}

// startAlgorithm begins with the algorithm that the settings name.
func (c *Conn) startAlgorithm(cc *control) {
	cc.Paced = c.paced()
	cc.Pace() // under the bound that held when it was set
	cc.MaxPacingRate = c.set.maxPacingRate
	if c.set.cc.TakesChances() && cc.Seed == 0 {
		cc.Seed = c.stack.tcp.tsHash.of(&c.tuple)
	}
	if !c.set.cc.OwnsCwnd() {
		c.updatePacingRate(cc)
	}
	cc.alg.Init(&cc.Sender)
}

// changeAlgorithm puts another algorithm in place of the one in force, whose state is lost (Linux:
// tcp_reinit_congestion_control).
func (c *Conn) changeAlgorithm() {
	if cc := c.cc; cc != nil {
		cc.alg, cc.of = c.set.cc.New(), c.set.cc
		c.lookAround(cc)
		c.startAlgorithm(cc)
	}
}

// lookAround brings what the algorithm sees up to date.
func (c *Conn) lookAround(cc *control) {
	cc.Now = c.stack.loop.Now()
	cc.SentAt = c.lastDataSent
	cc.SRTT, cc.MinRTT = c.srtt(), c.minRTT()
	cc.SndUna, cc.SndNxt = uint32(c.sndUna), uint32(c.sndNxt)
	cc.MSS = uint32(c.sndMSS)
	cc.InFlight = uint32(c.rtx.inFlight())
	cc.InitialCwnd = c.set.iw
	cc.State = congestion.State(c.caState)
	cc.HyStart = congestion.HyStart(c.set.hystart)
	cc.CwndLimited = c.isCwndLimited(cc)
	cc.ABE = c.set.abe
	cc.ECNOK = c.ecn&ecnOK != 0
}

// caSsthresh is the threshold after a loss, or after a mark (ca_ops->ssthresh).
func (c *Conn) caSsthresh(mark bool) uint32 {
	cc := c.control()
	c.lookAround(cc)
	cc.ECN = mark
	return cc.alg.SSThresh(&cc.Sender)
}

// caSet tells the algorithm of the state that the recovery goes to, before it does (tcp_set_ca_state).
func (c *Conn) caSet(next congestion.State) {
	if cc := c.cc; cc != nil {
		c.lookAround(cc)
		cc.alg.SetState(&cc.Sender, next)
	}
}

// caEvent tells the algorithm of an event (tcp_ca_event).
func (c *Conn) caEvent(e congestion.Event) {
	if cc := c.cc; cc != nil {
		c.lookAround(cc)
		cc.alg.Event(&cc.Sender, e)
	}
}

// caUndoCwnd is the window to go back to when a reduction was spurious (ca_ops->undo_cwnd).
func (c *Conn) caUndoCwnd() uint32 {
	cc := c.control()
	c.lookAround(cc)
	return cc.alg.UndoCwnd(&cc.Sender)
}

// congAvoid lets the algorithm enlarge the window for segments delivered (tcp_cong_avoid).
//
// RFC 3465 2.2: by "the number of previously unacknowledged bytes ACKed by each incoming acknowledgment"; without it by one
// segment for each ACK, RFC 5681 3.1's least.
func (c *Conn) congAvoid(cc *control, delivered uint32) {
	if !c.set.abc {
		delivered = min(delivered, 1)
	}
	cc.alg.CongAvoid(&cc.Sender, delivered)
	cc.use.stamp = cc.Now
}

// dataLeaves stamps a segment of new data that is about to be sent, and tells the algorithm if it is the first after
// nothing was in flight (Linux: tcp_event_data_sent).
func (c *Conn) dataLeaves(x *congestion.Stamp) {
	cc := c.control()
	cc.Now = c.stack.loop.Now()
	idle := c.rtx == nil || c.rtx.n == 0
	if idle {
		c.caEvent(congestion.EventTxStart)
	}
	cc.Sent(x, idle, uint32(c.rtx.inFlight())+1)
}

// rateDelivered takes a segment that an ACK or a SACK block newly covers into the ACK's rate sample.
func (c *Conn) rateDelivered(x *txSeg) {
	cc := c.cc
	cc.Deliver(&cc.rs, &x.stamp, x.sentAt, uint32(x.end()), x.flags&txRexmit != 0)
}

// congControl completes the rate sample and sets the window by an ACK: the algorithm, or the reduction under way (Linux:
// tcp_rate_gen, tcp_cong_control).
func (c *Conn) congControl(r *ackResult) {
	cc := c.cc
	delivered, lost := cc.Delivered-r.priorDelivered, cc.Lost-r.priorLost
	slow := c.win.InSlowStart()
	if r.looked {
		cc.CwndLimited = c.isCwndLimited(cc)
	} else {
		c.lookAround(cc)
	}
	cc.rs.AckDelayed = r.flags&ackMaybeDelayed != 0
	cc.Generate(&cc.rs, delivered, lost, c.rec.reneged)
	if !cc.alg.CongControl(&cc.Sender, &cc.rs) {
		switch {
		case c.inCwndReduction():
			c.reduceCwnd(int(delivered), int(lost), r.flags)
		case c.mayRaise(r):
			c.congAvoid(cc, delivered)
		}
		c.updatePacingRate(cc)
	}
	if slow && !c.win.InSlowStart() && c.caState < caCWR {
		c.setCCState(CongestionAvoidance, CCSSThreshReached)
	}
}

// mayRaise says whether the ACK may enlarge the window (Linux: tcp_may_raise_cwnd): where the path reorders much, a SACK
// says as much as a cumulative ACK.
func (c *Conn) mayRaise(r *ackResult) bool {
	if c.rec.reordering > c.set.reordering {
		return r.flags&ackProgress != 0
	}
	return r.flags&ackAcked != 0
}

// checkAppLimited notes, before more is written, that the sender had run dry: less than a segment waited and the window had
// room, so that what is sent now tells no rate of the path (Linux: tcp_rate_check_app_limited).
func (c *Conn) checkAppLimited() {
	cc := c.cc
	if cc == nil || c.unsent() >= int(c.sndMSS) {
		return
	}
	inFlight := c.rtx.inFlight()
	if inFlight < int(c.win.Cwnd) && (c.rtx == nil || c.rtx.lostOut <= c.rtx.retransOut) {
		cc.LimitByApp(uint32(inFlight))
	}
}

// tellInfo fills in what congestion control knows of a connection for tcp_info.
func (c *Conn) tellInfo(i *Info) {
	i.ECN, i.ECNSeen = c.ecn&ecnOK != 0, c.ecn&ecnSeen != 0
	cc := c.cc
	if cc == nil {
		return
	}
	cc.MSS = uint32(c.sndMSS)
	i.CCVariable, i.CCValue = c.set.cc.VariableName(), cc.alg.Variable()
	i.PacingRate = cc.Pace()
	i.DeliveryRate, i.DeliveryRateAppLimited = cc.DeliveryRate()
	i.Delivered, i.DeliveredCE = cc.Delivered, cc.DeliveredCE
}
