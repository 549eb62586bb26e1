package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// The SYN cache (RFC 4987 3.4): a connection in SYN-RECEIVED that the peer opened is a request, a small entry with a timer
// of its own, until its handshake is complete. Only then is it made a Conn. The rules are Linux's request socks'.

// request is a connection in SYN-RECEIVED.
type request struct {
	timer sim.Timer // sends the SYN,ACK again
	lsn   *Listener
	set   *settings
	rt    *route
	tuple
	hashed, tag uint32
	id          sim.ConnID
	iss, irs    seqNum
	syn         requestSYN
	tsRecent    uint32
	tsOffset    uint32
	sent        bool     // the SYN,ACK was
	cookie      bool     // it is forgotten as soon as it is answered: a SYN cookie
	acked       bool     // the ACK has come, but not what it takes to be accepted
	timeouts    uint8    // of the SYN,ACK
	retrans     uint8    // of it: also those that a repeated SYN asks for
	firstSent   sim.Time // when the SYN,ACK was first sent
	answered    answered // of invalid segments
	next, prev  *request // of the listener
}

// requestSYN is what the peer's SYN said.
type requestSYN struct {
	flags               wire.TCPFlags
	tos                 uint8 // of its IP header: the ECN field
	wnd, mss            uint16
	uto                 uint16 // 0: not told
	wscale              uint8
	hasWscale, sack, ts bool
}

// requestBytes is what a request takes with its place in the tables, counted in its loop's memory.
const requestBytes = 256

func (r *request) name() *tuple { return &r.tuple }

// arrives is RFC 9293 3.10.7.2, LISTEN STATE. w is what the SYN found in TIME-WAIT and reopens, or nil.
func (l *Listener) arrives(g *segment, t *tuple, w *timeWait) {
	s := l.stack
	// "First, check for a RST: An incoming RST segment could not be valid since it could not have been sent in response
	// to anything sent by this incarnation of the connection. An incoming RST should be ignored. Return."
	if g.has(wire.FlagRST) {
		if g.has(wire.FlagSYN) {
			s.dropSegment(g, DropSYNWithRST)
			return
		}
		s.dropSegment(g, DropNoSocket)
		return
	}
	// "Second, check for an ACK: Any acknowledgment is bad if it arrives on a connection still in the LISTEN state. An
	// acceptable reset segment should be formed for any arriving ACK-bearing segment."
	if g.has(wire.FlagACK) {
		if l.arrivesCookie(g, t) {
			return
		}
		s.dropSegment(g, DropNoSocket)
		s.replyRST(g, t)
		return
	}
	// "Third, check for a SYN". "Fourth, other data or control: This should not be reached. Drop the segment and return."
	switch {
	case !g.has(wire.FlagSYN):
		s.dropSegment(g, DropNoSocket)
		return
	case g.has(wire.FlagFIN):
		// Linux (tcp_rcv_state_process) takes no SYN that closes at once.
		s.dropSegment(g, DropSYNWithFIN)
		return
	}
	l.arrivesSYN(g, t, w)
}

// arrivesSYN is "Third, check for a SYN", with Linux's rules for what there is no room for (tcp_conn_request).
func (l *Listener) arrivesSYN(g *segment, t *tuple, w *timeWait) {
	s := l.stack
	l.settings()
	// A SYN that comes from TIME-WAIT's peer is let in without a limit: it has proved that it is there.
	cookie := false
	if w == nil {
		drop := false
		if cookie, drop = l.wantsCookie(); drop {
			s.tcp.count.listenDrops++
			s.dropSegment(g, DropBacklog)
			return
		}
	}
	if l.full() {
		s.tcp.count.listenOverflows++
		s.tcp.count.listenDrops++
		s.dropSegment(g, DropAcceptQueue)
		return
	}
	rt, err := s.routeBack(g, t)
	if err != nil {
		s.dropSegment(g, DropNoSocket)
		return
	}
	if !cookie && w == nil && l.keepsLastQuarter(t) {
		s.tcp.count.listenDrops++
		s.dropSegment(g, DropBacklog)
		return
	}
	r := l.newRequest(g, t, rt)
	if cookie {
		l.sendCookie(r, g)
		return
	}
	r.iss = s.chooseISN(t, r.set)
	if w != nil && !r.set.fixedISN {
		r.iss = w.nextISN()
	}
	var answer wire.FastOpen
	if l.fastOpen(r, g, &answer) {
		l.openFast(r, g, &answer)
		return
	}
	l.enter(r)
	r.recordReceived(g, StateListen, InOrder)
	r.recordState(StateListen, StateSynRcvd, RxSYN)
	// "<SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>"
	r.sendSYNACK(&answer)
	r.recordTimer(KindTCPTimerSet)
	s.loop.Arm(&r.timer, &s.id.Src, s.loop.Now()+r.timeout())
}

// defaultSYNBacklog is Linux's with 524288 buckets for connections, as hosts of 16 GiB have (tcp_max_syn_backlog).
const defaultSYNBacklog = 4096

// keepsLastQuarter says whether a SYN is dropped because only a quarter of the backlog is left, and SYN cookies are not at
// hand: it is kept for peers whose round trip is known, so that a flood does not cut off who was there before it (Linux:
// tcp_conn_request, tcp_peer_is_proven).
func (l *Listener) keepsLastQuarter(t *tuple) bool {
	most := int(l.set.synBacklog)
	if l.set.synCookies != SYNCookiesOff || most-l.half >= most>>2 {
		return false
	}
	m := l.stack.tcp.metrics.find(t.metricsPath(), l.stack.loop.Now())
	return m == nil || m.srtt8 == 0
}

// newRequest makes a request of a SYN.
func (l *Listener) newRequest(g *segment, t *tuple, rt *route) *request {
	s := l.stack
	r := s.tcp.freeReq
	if r != nil {
		s.tcp.freeReq = r.next
		*r = request{}
	} else {
		r = new(request)
	}
	r.lsn, r.set, r.rt, r.tuple, r.hashed = l, l.set, rt, *t, t.hash(s.tcp.hashKey)
	r.tag, r.id = g.f.Tag, g.f.Conn
	if r.id == 0 {
		r.id = s.id.NextConn()
	}
	r.irs = g.seq
	if l.set.reflectTOS {
		r.set = r.set.withTOS(trafficClass(g.f.Header()))
	}
	y := &r.syn
	y.flags, y.tos, y.wnd, y.mss, y.uto = g.flags, g.ecn(), g.wnd, g.opt.MSS, g.opt.UserTimeout
	y.wscale, y.hasWscale, y.sack, y.ts = g.opt.WindowScale, g.opt.HasWindowScale, g.opt.SACKPermitted, g.opt.HasTimestamps
	r.tsRecent = g.opt.TSVal
	r.tsOffset = uint32(s.tcp.tsHash.of(t))
	r.timer.H = r
	return r
}

// enter puts a request into the tables.
func (l *Listener) enter(r *request) {
	s := l.stack
	s.tcp.requests.insert(r, r.hashed)
	if r.prev = l.lastReq; r.prev != nil {
		r.prev.next = r
	} else {
		l.firstReq = r
	}
	l.lastReq = r
	l.half++
	l.young++
	s.loop.Charge(requestBytes)
}

// leave takes it out of them.
func (r *request) leave() {
	l := r.lsn
	s := l.stack
	s.loop.Stop(&r.timer)
	s.tcp.requests.remove(r, r.hashed)
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		l.firstReq = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		l.lastReq = r.prev
	}
	l.half--
	if r.timeouts == 0 {
		l.young--
	}
	r.prev, r.next, s.tcp.freeReq = nil, s.tcp.freeReq, r
	s.loop.Charge(-requestBytes)
}

// drop gives a request up.
func (r *request) drop(why StateTrigger) {
	if why != TriggerTimer {
		r.recordTimer(KindTCPTimerCancelled)
	}
	r.recordState(StateSynRcvd, StateClosed, why)
	r.recordClosed(why)
	r.leave()
}

func (r *request) tsOK() bool { return r.set.timestamps && r.syn.ts }

// rcvWscale is the shift of our windows once the handshake is complete.
func (r *request) rcvWscale() uint8 {
	if r.set.windowScaling && r.syn.hasWscale {
		return r.set.wscale()
	}
	return 0
}

// advMSS is the MSS that the SYN,ACK announces.
func (r *request) advMSS() uint16 {
	return r.set.advMSS(r.rt, r.lsn.stack.knownMTU(r.set, r.rt, r.remote))
}

func (r *request) rcvNxt() seqNum { return r.irs + 1 }

// timeout is the SYN,ACK's, doubled each time that it came (Linux: tcp_reqsk_timeout).
func (r *request) timeout() sim.Time {
	return min(r.set.initialRTO<<min(r.timeouts, maxBackoff), r.set.maxRTO)
}

// sendSYNACK sends or resends the SYN,ACK. RFC 7323 1.3 and RFC 2018 2: an option answers the peer's.
//
// RFC 7413 4.2.2: the cookie, fo, goes with the first SYN,ACK only (Linux).
func (r *request) sendSYNACK(fo *wire.FastOpen) {
	s := r.lsn.stack
	if !r.sent {
		r.sent, r.firstSent = true, s.loop.Now()
	} else {
		r.retrans = min(r.retrans+1, maxRetry)
		s.tcp.count.retransSegs++
		s.tcp.count.synRetrans++
	}
	h := wire.TCP{SrcPort: r.localPort, DstPort: r.remotePort, Seq: uint32(r.iss), Ack: uint32(r.rcvNxt()),
		Flags: wire.FlagSYN | wire.FlagACK, Window: uint16(r.set.synWindow(r.rt, r.tsOK()))}
	var opt wire.TCPOptions // filled in place: a literal would be copied
	opt.MSS, opt.SACKPermitted, opt.HasTimestamps = r.advMSS(), r.set.sack && r.syn.sack, r.tsOK()
	opt.HasWindowScale, opt.WindowScale = r.set.windowScaling && r.syn.hasWscale, r.rcvWscale()
	opt.ScaleFirst = r.set.personality == PersonalityFreeBSD
	if r.tsOK() {
		opt.TSVal, opt.TSEcr = s.tsNow(r.tsOffset), r.tsRecent
		if r.cookie {
			opt.TSVal = r.cookieTimestamp()
		}
	}
	if fo != nil && fo.Present {
		opt.FastOpen = *fo
	}
	if r.ecnOK() {
		h.Flags |= wire.FlagECE
	}
	r.set.putUserTimeout(&opt)
	r.sendBare(&h, &opt)
}

// ecnOK says whether ECN is agreed to.
func (r *request) ecnOK() bool { return r.set.ecnAccepts(r.syn.flags, ECN(r.syn.tos)) }

// sendACK acknowledges what is not acceptable (Linux: tcp_v4_reqsk_send_ack).
func (r *request) sendACK() {
	s := r.lsn.stack
	shift := r.rcvWscale()
	h := wire.TCP{SrcPort: r.localPort, DstPort: r.remotePort, Seq: uint32(r.iss) + 1, Ack: uint32(r.rcvNxt()),
		Flags: wire.FlagACK, Window: uint16(r.set.synWindow(r.rt, r.tsOK()) >> shift)}
	opt := wire.TCPOptions{HasTimestamps: r.tsOK()}
	if r.tsOK() {
		opt.TSVal, opt.TSEcr = s.tsNow(r.tsOffset), r.tsRecent
	}
	s.sendBare(r.rt, r.set, &h, &opt, r.id, r.tag, SendACK, StateSynRcvd, shift)
}

// retryLimit is how often the SYN,ACK is sent again. When more than half of the backlog is taken, old requests get fewer
// tries, so that two thirds of the place are left to young ones (Linux: reqsk_timer_handler).
func (r *request) retryLimit() uint8 {
	limit := r.set.synAckRetries
	l := r.lsn
	if 2*l.half > max(8, l.Backlog()) {
		for young := 2 * l.young; limit > 2 && l.half >= young; young *= 2 {
			limit--
		}
	}
	return limit
}

// Fire sends the SYN,ACK again, or gives up.
func (r *request) Fire(now sim.Time) {
	s := r.lsn.stack
	r.recordTimer(KindTCPTimerFired)
	expired, resend := r.overdue()
	if expired {
		s.tcp.count.abortOnTimeout++
		r.drop(TriggerTimer)
		s.tcp.cause = 0
		return
	}
	if r.timeouts == 0 {
		r.lsn.young--
	}
	if resend {
		r.sendSYNACK(nil)
	}
	r.timeouts++
	r.recordTimer(KindTCPTimerSet)
	s.loop.Arm(&r.timer, &s.id.Src, now+r.timeout())
	s.tcp.cause = 0
}

// overdue decides what the timer means (Linux: syn_ack_recalc).
func (r *request) overdue() (expired, resend bool) {
	limit, wait := r.retryLimit(), r.set.deferTimeouts()
	if wait == 0 {
		return r.timeouts >= limit, true
	}
	expired = r.timeouts >= limit && (!r.acked || r.timeouts >= wait)
	// While the peer's data is waited for the SYN,ACK is not repeated; at the end of that time it is, as a last chance.
	return expired, !r.acked || r.timeouts+1 >= wait
}

// deferTimeouts is deferAccept counted in timeouts of the SYN,ACK (Linux: secs_to_retrans).
func (s *settings) deferTimeouts() uint8 {
	if s.deferAccept == 0 {
		return 0
	}
	n := uint8(1)
	for timeout, period := s.initialRTO, s.initialRTO; s.deferAccept > period && n < maxRetry; n++ {
		timeout = min(2*timeout, s.maxRTO)
		period += timeout
	}
	return n
}

// arrives handles a segment for a request, in Linux's order (tcp_check_req), which is RFC 9293 3.10.7.4's for SYN-RECEIVED
// but for what is said below.
func (r *request) arrives(g *segment, t *tuple) {
	s := r.lsn.stack
	paws := r.tsOK() && g.opt.HasTimestamps && r.tsRecent != 0 && int32(g.opt.TSVal-r.tsRecent) < 0
	// A SYN that is the first once more: our SYN,ACK was lost.
	if g.repeatsSYN(r.irs) && !paws {
		r.repeatedSYN(g)
		return
	}
	// "If the segment acknowledgment is not acceptable, form a reset segment <SEQ=SEG.ACK><CTL=RST> and send it."
	if g.has(wire.FlagACK) && g.ack != r.iss+1 {
		r.recordReceived(g, StateSynRcvd, OutOfWindow)
		if !g.has(wire.FlagRST) {
			s.replyRST(g, t)
		}
		return
	}
	// "First, check sequence number", with PAWS (RFC 7323 5.3) before it.
	if paws || r.echoesOther(g) || g.seq != r.rcvNxt() && !inSynWindow(g, r.rcvNxt(), r.set.synWindow(r.rt, r.tsOK())) {
		r.outOfWindow(g, paws)
		return
	}
	if r.tsOK() && g.opt.HasTimestamps && g.seq.lessEq(r.rcvNxt()) {
		r.tsRecent = g.opt.TSVal
	}
	flags := g.flags
	if g.seq == r.irs {
		flags &^= wire.FlagSYN // it is outside of the window that begins after it
	}
	// "Second, check the RST bit": "If this connection was initiated with a passive OPEN (i.e., came from the LISTEN state),
	// then return this connection to LISTEN state and return. The user need not be informed." "Fourth, check the SYN bit":
	// another SYN in the window resets as well.
	if flags&(wire.FlagRST|wire.FlagSYN) != 0 {
		r.recordReceived(g, StateSynRcvd, InOrder)
		why := RxRST
		if !g.has(wire.FlagRST) {
			why = RxSYN
			s.replyRST(g, t)
		}
		s.tcp.count.attemptFails++
		s.tcp.count.embryonicRsts++
		r.drop(why)
		return
	}
	// "Fifth, check the ACK field: if the ACK bit is off, drop the segment and return".
	if !g.has(wire.FlagACK) {
		r.recordReceived(g, StateSynRcvd, InOrder)
		return
	}
	// While data is waited for (TCP_DEFER_ACCEPT) the bare ACK does not count.
	if r.timeouts < r.set.deferTimeouts() && g.end() == r.rcvNxt() {
		r.acked = true
		s.tcp.count.deferAcceptDrops++
		r.recordReceived(g, StateSynRcvd, InOrder)
		return
	}
	if r.lsn.full() {
		r.overflow(g, t)
		return
	}
	r.establish().arrives(g)
}

// repeatsSYN says whether a segment is the SYN whose sequence number is irs once more (Linux: tcp_check_req).
func (g *segment) repeatsSYN(irs seqNum) bool {
	return g.seq == irs && g.flags&(wire.FlagSYN|wire.FlagACK|wire.FlagRST) == wire.FlagSYN
}

// echoesOther says whether a segment echoes a timestamp that our SYN,ACKs, sent from first on, cannot have had (Linux:
// tcp_check_req, TSEcrRejected).
func (s *Stack) echoesOther(g *segment, first sim.Time, offset uint32) bool {
	return g.opt.HasTimestamps && g.opt.TSEcr != 0 && g.opt.TSEcr-timestampAt(first, offset) > s.tsNow(offset)-timestampAt(first, offset)
}

func (r *request) echoesOther(g *segment) bool {
	return r.tsOK() && r.lsn.stack.echoesOther(g, r.firstSent, r.tsOffset)
}

// repeatedSYN answers the SYN's repetition with the SYN,ACK's, which puts its timer off.
func (r *request) repeatedSYN(g *segment) {
	s := r.lsn.stack
	r.recordReceived(g, StateSynRcvd, Duplicate)
	if !r.set.mayAnswer(g, s.loop.Now(), &r.answered) {
		s.tcp.count.skippedSynRecv++
		return
	}
	r.sendSYNACK(nil)
	s.loop.Arm(&r.timer, &s.id.Src, s.loop.Now()+r.timeout())
}

// inSynWindow is RFC 9293's acceptability test as Linux makes it in SYN-RECEIVED (tcp_in_window), of a window of wnd bytes
// from start on.
func inSynWindow(g *segment, start seqNum, wnd uint32) bool {
	end := g.end()
	switch {
	case g.seq == start:
		return true
	case start.less(end) && g.seq.less(start+seqNum(wnd)):
		return true
	}
	return g.seq == start+seqNum(wnd) && g.seq == end
}

// outOfWindow answers what is not acceptable with an ACK, and drops it.
func (r *request) outOfWindow(g *segment, paws bool) {
	s := r.lsn.stack
	verdict, why := OutOfWindow, DropOutOfWindow
	if paws {
		s.tcp.count.pawsDrops++
		why = DropPAWS
	} else if g.end().lessEq(r.rcvNxt()) {
		verdict = Duplicate
	}
	r.recordReceived(g, StateSynRcvd, verdict)
	r.recordDropped(g, why)
	if g.has(wire.FlagRST) {
		return
	}
	if !r.set.mayAnswer(g, s.loop.Now(), &r.answered) {
		s.tcp.count.skippedSynRecv++
		return
	}
	r.sendACK()
}

// overflow is what becomes of the ACK that completes a handshake for which the accept queue has no room: it is dropped, and
// the peer, which takes the connection for established, is reminded by the SYN,ACK's repetition; or it is reset
// (tcp_abort_on_overflow).
func (r *request) overflow(g *segment, t *tuple) {
	s := r.lsn.stack
	s.tcp.count.listenOverflows++
	s.tcp.count.listenDrops++
	r.recordReceived(g, StateSynRcvd, InOrder)
	r.recordDropped(g, DropAcceptQueue)
	if !r.set.abortOnOverflow {
		r.acked = true
		return
	}
	s.replyRST(g, t)
	s.tcp.count.embryonicRsts++
	r.drop(AppAbort)
}

// establish makes a connection of the request: in SYN-RECEIVED still, until it has taken the segment that completes the
// handshake.
func (r *request) establish() *Conn {
	deadline := r.timer.At()
	r.leave()
	c := r.conn()
	c.pendingTimer, c.timerAt = TimerRTO, deadline
	return c
}

// conn makes the connection.
func (r *request) conn() *Conn {
	s := r.lsn.stack
	c := s.newConn(&r.tuple, r.rt, r.set, nil)
	c.passive, c.lsn = true, r.lsn
	c.tag, c.id = r.tag, r.id
	c.state = StateListen
	c.acceptSYN(r.segment())
	c.announceMTU()
	if r.ecnOK() {
		c.ecn = ecnOK
	}
	c.iss = r.iss
	c.tsOffset = r.tsOffset
	c.startSend()
	c.state = StateSynRcvd
	c.tsRecent = r.tsRecent
	c.rcvAdv = c.rcvNxt + seqNum(c.set.synWindow(c.rt, c.tsOK))
	c.segsIn = 1 // the SYN; like Linux, its answer is not counted with the connection's segments
	c.lastDataSent = r.firstSent
	c.retransmits, c.totalRetrans = r.retrans, uint32(r.retrans)
	if r.timeouts == 0 {
		c.retransmits = min(r.retrans, 1) // the peer asked for them: nothing says that they were lost
		return c
	}
	rec := c.recovery()
	rec.totalRTO, rec.rtoRecoveries = uint32(r.timeouts), 1
	rec.rtoTime = r.lsn.stack.loop.Now() - r.firstSent
	return c
}

// segment is the SYN once more, as far as it matters.
func (r *request) segment() *segment {
	return &segment{seq: r.irs, flags: r.syn.flags, wnd: r.syn.wnd, opt: wire.TCPOptions{MSS: r.syn.mss,
		WindowScale: r.syn.wscale, HasWindowScale: r.syn.hasWscale, SACKPermitted: r.syn.sack, HasTimestamps: r.syn.ts,
		TSVal: r.tsRecent, HasUserTimeout: r.syn.uto != 0, UserTimeout: r.syn.uto}}
}
