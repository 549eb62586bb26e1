package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// SYN cookies (RFC 4987 3.6, Linux's net/ipv4/syncookies.c): when there is no room for another half-open connection, the
// SYN,ACK's sequence number holds what the listener would have to remember, and the ACK brings it back. Nothing is kept,
// nothing is sent again; of the options only those that fit the timestamp survive.

const (
	// cookieTick is how often the count in a cookie moves on, and cookieAge how many counts it is good for.
	cookieTick = 60 * sim.Second
	cookieAge  = 2
	// cookieBits is the width of the part that holds the MSS's index; the count lies above it.
	cookieBits = 24
	cookieMask = 1<<cookieBits - 1
)

// cookieMSS are the MSSs that a cookie can tell, over IPv4 and over IPv6 (Linux: msstab). The largest that is not above the
// peer's is taken.
var cookieMSS = [2][4]uint16{{536, 1300, 1440, 1460}, {1220, 1420, 1440, 8940}}

// What the six lowest bits of a cookie's timestamp hold (Linux: TS_OPT_*).
const (
	cookieWscale = 0xf // the peer's window scale; all ones: none
	cookieSACK   = 1 << 4
	cookieECN    = 1 << 5
	cookieTSMask = 1<<6 - 1
)

// cookieHash is a part of the cookie, under the c-th secret.
func (s *Stack) cookieHash(t *tuple, count uint32, c int) uint32 {
	return uint32(sipHash(s.tcp.cookieKey[c], uint64(count)|40<<56, t.remote.hi, t.remote.lo, t.local.hi, t.local.lo,
		uint64(t.remotePort)<<16|uint64(t.localPort)))
}

func (s *Stack) cookieCount() uint32 { return uint32(s.loop.Now() / cookieTick) }

// synCookie is the initial sequence number that answers a SYN whose number is irs, for an MSS by its index.
func (s *Stack) synCookie(t *tuple, irs seqNum, mss uint32) seqNum {
	count := s.cookieCount()
	return seqNum(s.cookieHash(t, 0, 0) + uint32(irs) + count<<cookieBits + (s.cookieHash(t, count, 1)+mss)&cookieMask)
}

// checkCookie is the index of the MSS that a cookie tells; false: it is none of ours, or too old.
func (s *Stack) checkCookie(t *tuple, cookie, irs seqNum) (mss uint32, ok bool) {
	rest := uint32(cookie) - s.cookieHash(t, 0, 0) - uint32(irs)
	count := s.cookieCount()
	age := (count - rest>>cookieBits) & 0xff
	if age >= cookieAge {
		return 0, false
	}
	mss = (rest - s.cookieHash(t, count-age, 1)) & cookieMask
	return mss, mss < uint32(len(cookieMSS[0]))
}

func (t *tuple) cookieMSS() *[4]uint16 {
	if t.remote.netip().Is4() {
		return &cookieMSS[0]
	}
	return &cookieMSS[1]
}

// wantsCookie says whether a SYN is to be answered by a cookie, or else dropped, as no room is left for it (Linux:
// tcp_syn_flood_action, inet_csk_reqsk_queue_is_full: a backlog of 0 leaves room for one).
func (l *Listener) wantsCookie() (cookie, drop bool) {
	n := &l.stack.tcp.count
	full := l.half > l.Backlog()
	switch {
	case l.set.synCookies == SYNCookiesAlways, full && l.set.synCookies == SYNCookiesOn:
		n.reqQFullDoCookies++
		return true, false
	case full:
		n.reqQFullDrop++
		return false, true
	}
	return false, false
}

// sendCookie answers a SYN and forgets it.
func (l *Listener) sendCookie(r *request, g *segment) {
	s := l.stack
	if !r.tsOK() {
		// There is nowhere to keep the other options.
		r.syn.sack, r.syn.hasWscale, r.syn.flags = false, false, r.syn.flags&^(wire.FlagECE|wire.FlagCWR)
	}
	table, mss := r.cookieMSS(), r.syn.mss
	if mss == 0 {
		mss = r.rt.defaultMSS()
	}
	i := len(table) - 1
	for i > 0 && table[i] > mss {
		i--
	}
	r.iss = s.synCookie(&r.tuple, r.irs, uint32(i))
	r.cookie = true
	l.cookieAt = max(s.loop.Now(), 1)
	s.tcp.count.synCookiesSent++
	r.recordReceived(g, StateListen, InOrder)
	r.sendSYNACK(nil)
	r.next, s.tcp.freeReq = s.tcp.freeReq, r
}

// cookieTimestamp is the timestamp of a SYN,ACK with a cookie: not after now, and its lowest bits hold the options.
func (r *request) cookieTimestamp() uint32 {
	bits := uint32(cookieWscale)
	if r.set.windowScaling && r.syn.hasWscale {
		bits = uint32(min(r.syn.wscale, maxWscale))
	}
	if r.set.sack && r.syn.sack {
		bits |= cookieSACK
	}
	if r.syn.flags&(wire.FlagECE|wire.FlagCWR) == wire.FlagECE|wire.FlagCWR {
		bits |= cookieECN
	}
	now := r.lsn.stack.tsNow(0)
	ts := now&^cookieTSMask | bits
	if int32(ts-now) > 0 {
		ts -= cookieTSMask + 1
	}
	return ts + r.tsOffset
}

// arrivesCookie makes a connection of an ACK that brings a cookie back. It reports whether the ACK was one.
func (l *Listener) arrivesCookie(g *segment, t *tuple) bool {
	s := l.stack
	l.settings()
	// Without a cookie sent lately every ACK would be a guess worth making (Linux: tcp_synq_no_recent_overflow).
	if l.set.synCookies == SYNCookiesOff || g.has(wire.FlagSYN) || l.cookieAt == 0 || s.loop.Now()-l.cookieAt > cookieAge*cookieTick {
		return false
	}
	mss, ok := s.checkCookie(t, g.ack-1, g.seq-1)
	if !ok {
		s.tcp.count.synCookiesFailed++
		return false
	}
	rt, err := s.routeFor(t, s.flowHash(t))
	if err != nil {
		return false
	}
	s.tcp.count.synCookiesRecv++
	r := l.newRequest(g, t, rt)
	r.irs, r.iss = g.seq-1, g.ack-1
	r.syn = requestSYN{flags: wire.FlagSYN, wnd: g.wnd, mss: r.cookieMSS()[mss], ts: g.opt.HasTimestamps}
	if r.tsOK() {
		bits := g.opt.TSEcr - r.tsOffset
		r.syn.sack = bits&cookieSACK != 0
		if r.syn.wscale = uint8(bits & cookieWscale); r.syn.wscale != cookieWscale {
			r.syn.hasWscale = true
		}
		if bits&cookieECN != 0 {
			r.syn.flags |= wire.FlagECE | wire.FlagCWR
		}
	}
	if l.full() {
		s.tcp.count.listenOverflows++
		s.tcp.count.listenDrops++
		s.dropSegment(g, DropAcceptQueue)
	} else {
		r.recordState(StateListen, StateSynRcvd, RxACK)
		c := r.conn()
		c.retransmits = 1 // when the SYN,ACK was sent is not known: there is no round trip to measure
		c.arrives(g)
	}
	r.next, s.tcp.freeReq = s.tcp.freeReq, r
	return true
}
