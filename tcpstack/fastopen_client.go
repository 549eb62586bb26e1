package tcpstack

import (
	"errors"
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// ErrFastOpenOff: the stack's settings do not let clients use Fast Open (EOPNOTSUPP of MSG_FASTOPEN).
var ErrFastOpenOff = errors.New("tcp: fast open is switched off")

// client says whether connections may be opened fast (tcp_fastopen 0x1).
func (m FastOpenMode) client() bool { return m == FastOpenClient || m == FastOpenBoth }

// server says whether they may be accepted so (tcp_fastopen 0x2).
func (m FastOpenMode) server() bool { return m == FastOpenServer || m == FastOpenBoth }

// FastOpenNamed says whether the settings name Fast Open for clients. By default clients may use it (tcp_fastopen 1), but
// that does not make an application ask for it.
func (s *Stack) FastOpenNamed(cfg TCPConfig) bool {
	word := cfg.FastOpen
	if word == "" {
		word = s.cfg.TCP.FastOpen
	}
	return word == fastOpenWords[FastOpenClient] || word == fastOpenWords[FastOpenBoth]
}

// DialFastOpen opens a connection as sendto with MSG_FASTOPEN does: as much of data as one segment holds goes with the SYN
// if the peer has given a cookie before, else the SYN asks for one. It returns how many bytes it took; the rest, or all, is
// to be written as to any connection. With nil, for data that cannot be had yet, the SYN asks for a cookie in any case.
func (s *Stack) DialFastOpen(local, remote netip.AddrPort, cfg TCPConfig, data []byte, h ConnHandler) (*Conn, int, error) {
	c, err := s.dialFast(local, remote, cfg, h)
	if err != nil {
		return nil, 0, err
	}
	n := c.openFast(data)
	return c, n, nil
}

// DialDeferred opens a connection as connect does on a socket with TCP_FASTOPEN_CONNECT: if the peer has given a cookie
// before, the SYN waits for the first Write, whose data it takes along; else it goes now and asks for a cookie.
func (s *Stack) DialDeferred(local, remote netip.AddrPort, cfg TCPConfig, h ConnHandler) (*Conn, error) {
	c, err := s.dialFast(local, remote, cfg, h)
	if err != nil {
		return nil, err
	}
	if c.checkFastOpen() {
		c.fo.deferred = true
	} else {
		c.sendSYN(SendSYN)
	}
	return c, nil
}

// Deferred says whether the SYN waits for the first Write.
func (c *Conn) Deferred() bool { return c.fo != nil && c.fo.deferred }

// SYNWithData says whether the SYN was sent as one with data: a cookie was at hand, or none was needed.
func (c *Conn) SYNWithData() bool { return c.fo != nil && c.fo.dataSYN }

// writeDeferred is the first Write of a connection whose SYN waits for it: it takes what goes with the SYN.
func (c *Conn) writeDeferred(p []byte) (int, error) {
	if p == nil {
		p = []byte{} // nothing, not something that cannot be had
	}
	n := c.openFast(p)
	if n < len(p) {
		c.wantWrite = true
		return n, ErrWouldBlock
	}
	return n, nil
}

// dialFast makes a connection in SYN-SENT whose SYN is yet to be sent.
func (s *Stack) dialFast(local, remote netip.AddrPort, cfg TCPConfig, h ConnHandler) (*Conn, error) {
	set, err := s.dialSettings(&cfg)
	if err != nil {
		return nil, err
	}
	if !set.fastOpen.client() {
		return nil, ErrFastOpenOff
	}
	c, err := s.dial(local, remote, set, cfg.Tag, h)
	if err != nil {
		return nil, err
	}
	c.fo = new(fastOpen)
	c.open()
	return c, nil
}

// openFast sends the SYN, with data if it may. Linux: tcp_send_syn_data.
func (c *Conn) openFast(data []byte) (n int) {
	c.fo.deferred = false
	c.fo.dataSYN = c.checkFastOpen() && data != nil
	if data == nil && c.fo.option.Len > 0 { // tcp_send_syn_data: fallback
		c.fo.option = wire.FastOpen{Present: true, Exp: c.fo.option.Exp}
	}
	if c.fo.dataSYN {
		if n = min(c.synDataRoom(), len(data)); n > 0 {
			c.fo.synAt = c.stack.loop.Now()
			c.buffer().write(c, data[:n])
			c.stack.tcp.mem.take(n)
			c.sndEnd += seqNum(n)
			c.sndNxt = c.sndEnd
			c.snd.sent(c.sndNxt)
			c.pushedSeq = c.sndEnd
			c.undrained = true
			c.fo.synData = n
			c.chronoStart(chronoBusy)
			c.dataLeaves(&c.fo.stamp)
			c.bytesSent += uint64(n)
			c.dataSegsOut++
		}
	}
	c.sendSYN(SendSYN)
	return n
}

// checkFastOpen decides on the SYN's option, and whether data may go with it (Linux: tcp_fastopen_cookie_check).
//
// RFC 7413 4.2.1: without a cookie, "The client sends a SYN packet with a Fast Open option with a Length field of" 2
// (erratum 4239).
func (c *Conn) checkFastOpen() bool {
	f := &c.stack.tcp.fastOpen
	if f.paused(c) || c.set.fastOpenNoCookie {
		c.fo.option = wire.FastOpen{}
		return !f.paused(c)
	}
	e := c.metrics()
	if e != nil && e.cookie.Len > 0 {
		c.fo.option = e.cookie
		return true
	}
	c.fo.option = wire.FastOpen{Present: true, Exp: e != nil && e.tryExp == 1}
	c.fo.fail = fastOpenCookieUnavailable
	return false
}

// synMSS is the MSS that holds until the SYN,ACK tells the server's: the one that it announced last, else our own, as
// far as what is configured allows (Linux: tcp_send_syn_data). RFC 7413 4.1.3: "The client can cache the MSS advertised
// by the server".
func (c *Conn) synMSS() uint16 {
	mss := c.advMSS()
	if e := c.metrics(); e != nil && e.mss != 0 {
		if mss = e.mss; c.set.mss != 0 {
			mss = uint16(min(uint32(mss), c.set.mss))
		}
	}
	return mss
}

// synDataRoom is how many bytes go with a SYN: synMSS, as far as the path's MTU allows, less the room of all options.
// RFC 7413 4.2.2: "any data up to the cached server MSS or default 536 bytes". Linux: tcp_send_syn_data.
func (c *Conn) synDataRoom() int {
	return max(min(int(c.synMSS()), c.pathMTU()-c.rt.ipLen()-wire.TCPMinLen), minMSS) - wire.TCPMaxOptionsLen
}

// putFastOpen puts the SYN's option and data where they are due: on the first SYN only.
//
// RFC 7413 4.2.1: a SYN that is repeated goes without option and data (Linux), so that a path that drops either does not
// keep the connection from opening.
func (c *Conn) putFastOpen(f *sim.Frame, opt *wire.TCPOptions) (n int) {
	if c.state == StateSynSent && c.retransmits == 0 && c.fo.synData > 0 && !c.fo.dataSent {
		n = c.fo.synData
		c.fo.dataSent = true
		c.snd.payload(c.stack.loop, f, c.iss+1, n)
	}
	if opt.FastOpen.Present {
		c.fo.asked, c.fo.exp = c.state == StateSynSent, opt.FastOpen.Exp
	}
	c.fo.option = wire.FastOpen{}
	return n
}

// fastOpenAnswered takes what the SYN,ACK says of Fast Open. It reports whether the SYN was one of it, and whether data was
// resent, which acknowledges the SYN,ACK. Linux: tcp_rcv_fastopen_synack.
func (c *Conn) fastOpenAnswered(g *segment) (fast, resent bool) {
	fo, n := c.fo, &c.stack.tcp.count
	if c.wantWrite {
		c.wantWrite = false
		c.events |= evWritable
	}
	if !fo.asked && fo.synData == 0 {
		return false, false
	}
	left := int(c.sndNxt - g.ack)
	c.rememberFastOpen(g)
	if fo.synData == 0 {
		fo.acked = g.length > 0
		return true, false
	}
	c.settleSYNData(g.ack)
	if left > 0 {
		fo.fail = fastOpenDataNotAcked
		if c.totalRetrans > 0 {
			fo.fail = fastOpenSYNRetransmitted
		}
		n.fastOpenActiveFail++
		c.resendSYNData()
		return true, true
	}
	fo.acked = true
	n.fastOpenActive++
	c.chronoStop(chronoBusy)
	if c.unsent() == 0 && !c.finQueued {
		c.undrained = false
		c.events |= evDrained
	}
	return true, false
}

// rememberFastOpen keeps the cookie and the MSS for the next connection (Linux: tcp_fastopen_cache_set).
//
// RFC 7413 4.1.3 has the client cache both. A server that ignored the option may know the experimental one: the next
// request tries that, and the one after it the standard option again.
func (c *Conn) rememberFastOpen(g *segment) {
	e := c.stack.tcp.metrics.learn(c.metricsPath(), c.stack.loop.Now())
	e.mss = c.peerMSS
	cookie, try := g.opt.FastOpen, uint8(0)
	switch {
	case !c.fo.asked:
		return // nobody asked for it
	case c.totalRetrans == 0 && !cookie.Present && c.fo.synData == 0:
		try = 1
		if c.fo.exp {
			try = 2
		}
	}
	if cookie.Len > 0 {
		e.cookie = cookie
	} else if try > e.tryExp && e.cookie.Len == 0 {
		e.tryExp = try
	}
}

// resendSYNData sends the data of the SYN that the SYN,ACK does not acknowledge, at once (RFC 7413 4.2.2). Nothing was
// congested: the window stays as it is (Linux: tcp_non_congestion_loss_retransmit).
func (c *Conn) resendSYNData() {
	for i := range c.rtx.n {
		c.markLost(i, LossSYNData)
	}
	before := c.win.Cwnd
	c.rec.highSeq = c.sndNxt
	c.win.SSThresh = c.currentSsthresh()
	c.rec.prr.priorSSThresh, c.rec.undo.on = 0, false
	c.setCAState(caLoss)
	c.fo.resent = true
	c.recordRecovery(KindTCPRecoveryEntered, RecoverySYNData, before, uint8(BySYNACK))
	c.retransmitQueue()
	c.setRetransTimer(TimerRTO, c.backedOff())
}

// settleSYNData lets go of the SYN's data that an ACK covers, and enters the rest among the segments in flight, cut to the
// MSS that is known now.
func (c *Conn) settleSYNData(from seqNum) {
	left := int(c.sndNxt - from)
	if acked := c.fo.synData - left; acked > 0 {
		c.bytesAcked += uint64(acked)
		c.snd.acked(from)
		c.releaseSnd()
	}
	q := c.queue()
	for left > 0 {
		m := min(left, int(c.sndMSS))
		x := txSeg{seq: from, length: uint16(m), tx: 1, sentAt: c.fo.synAt, stamp: c.fo.stamp}
		if left -= m; left == 0 {
			x.flags = txPSH
		}
		q.push(x)
		from += seqNum(m)
	}
	if q.n == 0 {
		c.releaseRtx()
	}
}

// synDataTooBig is told that the path takes less than was thought: a SYN with data was too large for it, and goes again
// without (Linux: tcp_simple_retransmit).
func (c *Conn) synDataTooBig() {
	if c.fo == nil || c.fo.synData == 0 {
		return
	}
	c.fo.dataSent = true
	c.totalRetrans++
	c.stack.tcp.count.retransSegs++
	c.stack.tcp.count.synRetrans++
	c.sendSYN(SendSYN)
	c.setRetransTimer(TimerRTO, c.backedOff())
}

// lossKind is what a connection in caLoss recovers from.
func (c *Conn) lossKind() RecoveryKind {
	if c.fo != nil && c.fo.resent && c.retransmits == 0 {
		return RecoverySYNData
	}
	return RecoveryRTO
}

// Middleboxes that drop what they do not know make Fast Open worse than none: after timeouts of connections that used it
// the stack does without for a while (RFC 7413 7.1, Linux: tcp_fastopen_active_disable).

// maxFastOpenPause bounds how often the pause is doubled.
const maxFastOpenPause = 6

// fastOpenTimeout is called when the timer of a connection that used Fast Open has run out; expired says that it ends the
// connection. The third timeout in a row is a black hole, and any before it that ends the connection (Linux:
// tcp_fastopen_active_detect_blackhole).
func (c *Conn) fastOpenTimeout(expired bool) {
	if c.fo == nil || !c.fo.asked && c.fo.synData == 0 && !c.fo.acked {
		return
	}
	if c.retransmits == 2 || c.retransmits < 2 && expired {
		c.pauseFastOpen()
		c.stack.tcp.count.fastOpenActiveFail++
	}
}

// paused says whether the stack does without Fast Open (Linux: tcp_fastopen_active_should_disable).
func (f *fastOpenState) paused(c *Conn) bool {
	if f.disabled == 0 || c.set.fastOpenBlackhole == 0 {
		return false
	}
	pause := c.set.fastOpenBlackhole << min(f.disabled-1, maxFastOpenPause)
	if c.stack.loop.Now() < f.disabledAt+pause {
		return true
	}
	c.fo.recheck = true
	return false
}

// fastOpenReset is told of a reset that is not in its place: before any data has come it is taken for a middlebox's (Linux:
// tcp_validate_incoming).
func (c *Conn) fastOpenReset() {
	if c.fo.asked && c.dataSegsIn == 0 {
		c.pauseFastOpen()
	}
}

// pauseFastOpen has the stack do without for a while.
func (c *Conn) pauseFastOpen() {
	if c.set.fastOpenBlackhole == 0 {
		return
	}
	f := &c.stack.tcp.fastOpen
	f.disabledAt = c.stack.loop.Now()
	f.disabled++
	c.stack.tcp.count.fastOpenBlackhole++
}

// ResumeFastOpen forgets the pauses that black holes have brought about, as writing
// net.ipv4.tcp_fastopen_blackhole_timeout_sec does.
func (s *Stack) ResumeFastOpen() { s.tcp.fastOpen.disabled = 0 }

// fastOpenEnded judges a connection that is over: one that only got a FIN, out of order, met a middlebox that swallowed
// the data; one that got data after a pause ends the pauses (Linux: tcp_fastopen_active_disable_ofo_check).
func (c *Conn) fastOpenEnded() {
	if !c.fo.asked || c.fo.judged {
		return
	}
	c.fo.judged = true
	switch {
	case c.dataSegsIn == 0 && c.rcv != nil && c.rcv.hasFIN && !c.rcvFIN:
		c.pauseFastOpen()
	case c.dataSegsIn > 0 && c.fo.recheck:
		c.stack.tcp.fastOpen.disabled = 0
	}
}
