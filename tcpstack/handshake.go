package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

const (
	// defaultMSS and defaultMSS6: RFC 9293 3.7.1 (MUST-15): "If an MSS Option is not received at connection setup, TCP
	// implementations MUST assume a default send MSS of 536 (576 - 40) for IPv4 or 1220 (1280 - 60) for IPv6".
	defaultMSS  = 536
	defaultMSS6 = 1220
	// timestampsLen is the timestamps option with its padding (RFC 7323 appendix A).
	timestampsLen = 12
	// maxWscale: RFC 7323 2.3: "If a Window Scale option is received with a shift.cnt value larger than 14, the TCP SHOULD
	// log the error but MUST use 14 instead of the specified value."
	maxWscale = 14
	// maskWscale leaves every scale as it is; shifted by what it masks, the processor need not ask for more than 31.
	maskWscale = 15
)

// open begins an active open; the SYN is yet to be sent. RFC 9293 3.10.1, CLOSED STATE: "issue a SYN segment. An initial send sequence
// number (ISS) is selected. A SYN segment of the form <SEQ=ISS><CTL=SYN> is sent."
func (c *Conn) open() {
	c.iss = c.stack.chooseISN(&c.tuple, c.set)
	c.stack.takeOver(c)
	c.tsOffset = uint32(c.stack.tcp.tsHash.of(&c.tuple))
	c.startSend()
	c.learnedPMTU()
	c.announceMTU()
	c.putTemplate()
	c.stack.tcp.count.activeOpens++
	c.sackOK, c.tsOK, c.wscaleOK = c.set.sack, c.set.timestamps, c.set.windowScaling
	if c.wscaleOK {
		c.rcvWscale = c.set.wscale()
	}
	c.setState(StateSynSent, AppOpen)
}

// startSend sets the send sequence variables from ISS. "Set SND.UNA to ISS, SND.NXT to ISS+1".
func (c *Conn) startSend() {
	c.sndUna, c.sndNxt, c.sndEnd = c.iss, c.iss+1, c.iss+1
	c.pushedSeq, c.sndSml = c.sndEnd, c.iss
	c.rto = c.set.initialRTO
	c.win.Cwnd, c.win.SSThresh = c.set.iw, ssthreshUnset
}

// advMSS is the MSS that the SYN announces: what the path can take as far as that is known, or what is configured (Linux:
// dst_metric_advmss, tcp_mss_clamp).
// RFC 6691 2: "the value to be sent in an MSS Option should be equal to the effective MTU minus the fixed IP and TCP
// headers", options not counted.
func (s *settings) advMSS(rt *route, mtu int) uint16 {
	m := min(mtu-rt.ipLen()-wire.TCPMinLen, maxMSS)
	if s.mss != 0 {
		m = min(m, int(s.mss))
	}
	return uint16(max(m, 1))
}

func (c *Conn) advMSS() uint16 {
	mtu := c.rt.mtu()
	if c.odd != nil && c.odd.synMTU != 0 {
		mtu = min(mtu, int(c.odd.synMTU))
	}
	return c.set.advMSS(c.rt, mtu)
}

// plainMSS is the MSS of a peer that is asked without Fast Open and announces none: what is configured, else the default
// (Linux: tcp_v4_connect, tcp_connect_init).
func (c *Conn) plainMSS() uint16 {
	if c.set.mss != 0 {
		return uint16(min(c.set.mss, maxMSS))
	}
	return c.rt.defaultMSS()
}

// acceptSYN takes over what the peer's SYN says.
func (c *Conn) acceptSYN(g *segment) {
	// RFC 9293 3.10.7.2: "Set RCV.NXT to SEG.SEQ+1, IRS is set to SEG.SEQ".
	c.irs, c.rcvNxt = g.seq, g.seq+1
	c.rcvWup, c.rcvAdv = c.rcvNxt, c.rcvNxt
	offered := c.passive && c.state == StateListen
	if offered {
		c.sackOK, c.tsOK, c.wscaleOK = c.set.sack, c.set.timestamps, c.set.windowScaling
	}
	// RFC 7323 1.3, 2.2, 3.2 and RFC 2018 2: an option is in force only if both SYNs carry it.
	c.sackOK = c.sackOK && g.opt.SACKPermitted
	c.tsOK = c.tsOK && g.opt.HasTimestamps
	c.wscaleOK = c.wscaleOK && g.opt.HasWindowScale
	if c.wscaleOK {
		c.sndWscale, c.rcvWscale = min(g.opt.WindowScale, maxWscale), c.set.wscale()
	} else {
		c.rcvWscale = 0
	}
	if c.tsOK {
		c.tsRecent, c.tsRecentAge = g.opt.TSVal, c.ageNow()
	}
	switch c.peerMSS = g.opt.MSS; {
	case c.peerMSS != 0:
	case c.passive:
		c.peerMSS = c.rt.defaultMSS()
	case c.fo != nil: // Linux keeps what the SYN was sent under
		c.peerMSS = c.synMSS()
	default:
		c.peerMSS = c.plainMSS()
	}
	c.initRcvMSS()
	if c.tellUTO = c.set.userTimeoutOption; g.opt.HasUserTimeout {
		c.heardUserTimeout(g.opt.UserTimeout)
	}
	// RFC 7323 2.2: "The window field in a segment where the SYN bit is set (i.e., a <SYN> or <SYN,ACK>) MUST NOT be
	// scaled."
	c.sndWnd, c.maxSndWnd = uint32(g.wnd), uint32(g.wnd)
	c.sndWl1 = g.seq
	c.learnedPMTU()
	c.syncMSS()
	c.putTemplate()
}

// sendSYN sends or resends the SYN, with an ACK once the peer's is known.
func (c *Conn) sendSYN(why SendReason) {
	c.announceMTU()
	h := wire.TCP{SrcPort: c.localPort, DstPort: c.remotePort, Seq: uint32(c.iss), Flags: wire.FlagSYN}
	ecn := wire.TCPFlags(0)
	window := c.set.synWindow(c.rt, c.tsOK && c.state != StateSynSent)
	if c.state != StateSynSent {
		h.Flags |= wire.FlagACK
		if c.ecn&ecnOK != 0 { // a simultaneous open's
			ecn = wire.FlagECE
		}
		h.Ack = uint32(c.rcvNxt)
		c.rcvAdv = maxSeq(c.rcvAdv, c.rcvNxt+seqNum(window))
		c.rcvWup = c.rcvNxt
	} else {
		ecn = c.ecnSYN()
	}
	h.Flags |= ecn
	h.Window = uint16(window)
	var opt wire.TCPOptions // filled in place: a literal would be copied
	opt.MSS, opt.SACKPermitted, opt.HasTimestamps = c.advMSS(), c.sackOK, c.tsOK
	opt.HasWindowScale, opt.WindowScale = c.wscaleOK, c.rcvWscale
	opt.ScaleFirst = c.set.personality == PersonalityFreeBSD
	if c.state == StateSynRcvd && !c.passive {
		// A simultaneous open's SYN,ACK offers what the SYN did, whatever the peer's has said (Linux: tcp_syn_options).
		opt.SACKPermitted, opt.HasTimestamps, opt.HasWindowScale = c.set.sack, c.set.timestamps, c.set.windowScaling
		opt.WindowScale = c.set.wscale()
	}
	if opt.HasTimestamps {
		opt.TSVal, opt.TSEcr = c.tsNow(), c.tsRecent
	}
	if c.fo != nil {
		opt.FastOpen = c.fo.option
	}
	c.set.putUserTimeout(&opt)
	f := c.stack.loop.NewFrame()
	if c.rt.six == nil {
		copy(f.Append(wire.IPv4MinLen), c.template[:wire.IPv4MinLen])
	} else {
		c.putIPv6(f)
	}
	if ecn != 0 && c.set.cc.NeedsECN() {
		setTrafficClass(f.Header(), c.tos()|uint8(ECT0))
	}
	h.HeaderLen = wire.TCPMinLen + opt.Len()
	b := f.Append(h.HeaderLen)
	h.Put(b)
	opt.Put(b[wire.TCPMinLen:])
	n := 0
	if c.fo != nil {
		n = c.putFastOpen(f, &opt)
	}
	if c.totalRetrans == 0 && !c.halfAccepted() {
		c.lastDataSent = c.stack.loop.Now() // when the SYN was first sent: its round trip is measured from here
	}
	c.ship(f, &h, &opt, n, why, int(c.retransmits)+1)
	if c.pendingDeadline() == sim.Never {
		c.setRetransTimer(TimerRTO, c.backedOff())
	}
}

// tsNow is the timestamp clock. RFC 7323 5.4: the clock ticks between 1 ms and 1 s; Linux's ticks each millisecond, from
// an offset of the connection's own.
func (c *Conn) tsNow() uint32 { return c.stack.tsNow(c.tsOffset) }

func (s *Stack) tsNow(offset uint32) uint32 { return timestampAt(s.loop.Now(), offset) }

func timestampAt(t sim.Time, offset uint32) uint32 { return uint32(t/sim.Millisecond) + offset }

// Timestamp is the timestamp clock as the connection's segments show it (TCP_TIMESTAMP).
func (c *Conn) Timestamp() uint32 { return c.tsNow() }

func (c *Conn) ageNow() uint32 { return uint32(c.stack.loop.Now() / sim.Second) }

// establish is what both opens end with. The caller has made the state ESTABLISHED.
func (c *Conn) establish(g *segment) {
	c.rt.confirm()
	now := c.stack.loop.Now()
	echo := sim.Time(c.tsNow()-g.opt.TSEcr) * sim.Millisecond
	switch {
	case c.retransmits == 0 && c.totalRetrans == 0:
		c.sampleRTT(us(now - c.lastDataSent))
	case !c.passive && c.tsOK && g.opt.TSEcr != 0 && echo <= now-c.lastDataSent:
		c.sampleRTT(us(max(echo, sim.Millisecond)))
	}
	known := c.takeMetrics()
	// RFC 5681 3.1: "if the SYN or SYN/ACK is lost, the initial window ... MUST be one segment"; Linux (tcp_init_transfer)
	// lets a single loss pass, and a timeout that the answer's timestamp shows to have been too early
	// (tcp_try_undo_spurious_syn).
	if c.retransmits > 1 && !(c.tsOK && g.opt.TSEcr == timestampAt(c.lastDataSent, c.tsOffset)) {
		c.win.Cwnd = 1
	}
	c.retransmits, c.backoff = 0, 0
	if c.rec != nil {
		c.endRTOTime()
	}
	// Idle times count from here (Linux: tcp_finish_connect, tcp_create_openreq_child: lsndtime, lrcvtime).
	c.lastDataSent, c.lastDataRcv, c.lastAckRcv = now, now, now
	c.cancelRetransTimer()
	c.expandSendBuffer()
	c.establishedMTU()
	if c.set.keepAlive {
		c.watchPeer()
	}
	if c.passive {
		c.stack.tcp.count.passiveOpens++
	}
	c.recordStarted()
	if known {
		c.recordTaken()
	}
}

// accepted hands a passive connection to the listener's application, or leaves it in the queue for it; false if that
// refused it.
func (c *Conn) accepted() bool {
	if c.lsn == nil || c.fo != nil {
		return true
	}
	return c.handOver()
}

func (c *Conn) handOver() bool {
	l := c.lsn
	if l.queue != nil {
		l.queue.push(c)
		return true
	}
	c.lsn = nil
	c.h = l.accept(c)
	if c.h == nil && c.state != StateClosed {
		c.Abort()
	}
	return c.state != StateClosed
}
