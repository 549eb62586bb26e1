package tcpstack

import (
	"encoding/binary"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// templateLen is an IPv4 and a TCP header with timestamps: what nearly every segment begins with. Over IPv6 only the TCP
// part of it is used; the IP header comes from the route (start6), so that no connection pays for the longer addresses.
const templateLen = wire.IPv4MinLen + wire.TCPMinLen + timestampsLen

const (
	tcpAt = wire.IPv4MinLen // of the TCP header in the template
	tsAt  = wire.TCPMinLen  // of the timestamps option in the TCP header
)

// putTemplate writes what is the same in all segments.
func (c *Conn) putTemplate() {
	b := c.template[:]
	if c.rt.six == nil {
		c.stack.putIPv4(b, c.rt, wire.ProtoTCP)
		if c.set.pmtuDiscovery {
			setDF(b)
		}
		setTrafficClass(b, c.tos())
		c.set.markHops(b)
	}
	b = b[tcpAt:]
	h := wire.TCP{SrcPort: c.localPort, DstPort: c.remotePort, HeaderLen: wire.TCPMinLen}
	if c.tsOK {
		h.HeaderLen += timestampsLen
		binary.BigEndian.PutUint32(b[tsAt:], paddedTimestamps) // the timestamps are each segment's own
	}
	h.Put(b)
}

// unsent is how many bytes are queued and were never sent.
func (c *Conn) unsent() int {
	if c.finSent {
		return 0
	}
	return int(c.sndEnd - c.sndNxt)
}

// maxSegments bounds the segments in flight, and so the memory that keeps account of them, where a connection sends
// mostly tiny ones.
func (c *Conn) maxSegments() int {
	return int(c.sndBuf)/min(int(c.sndMSS), smallChunk) + 64
}

// transmit sends what may be sent of new data, and the FIN. What is lost is sent again as ACKs and timers say so.
func (c *Conn) transmit() { c.transmitAs(c.nagleMode()) }

// transmitAs is transmit under Nagle's rule as given. Each segment that arrives comes by here: most ends have nothing to send.
func (c *Conn) transmitAs(nagle nagleMode) {
	if !c.waiting() && c.mtup() == nil {
		return
	}
	if !c.state.transmits() && !c.halfAccepted() {
		return
	}
	c.sendNew(nagle)
	if c.timerAt == sim.Never && c.sndUna == c.sndNxt {
		c.armPersist()
	}
}

// sendNew sends new data and the FIN as far as the windows let it (Linux: tcp_write_xmit).
func (c *Conn) sendNew(nagle nagleMode) {
	queued := c.waiting()
	sent, blocked, tried := 0, false, false
	if c.mtup() != nil {
		probed, wait := c.probeMTU()
		if wait {
			return
		}
		if probed {
			sent, tried = 1, true
		}
	}
	for {
		n, fin := c.nextStretch(nagle)
		if n == 0 && !fin {
			break
		}
		tried = true
		if c.pacedOut() {
			break
		}
		quota := c.quota(n, fin)
		if quota <= 0 {
			blocked = true
			break
		}
		if c.set.burstShare != 0 {
			if cwnd, wait := c.defersBurst(n, quota, fin); wait {
				blocked = cwnd
				break
			}
			quota = min(quota, c.burst())
		}
		before := c.rtx.out()
		c.sendStretch(n, quota, fin, nagle)
		sent += c.rtx.n - before
	}
	if queued {
		if !blocked && c.windowHolds() {
			c.chronoStart(chronoRwnd)
		} else {
			c.chronoStop(chronoRwnd)
		}
	}
	if sent > 0 {
		c.countPRR(sent)
		c.armAfterSending()
	}
	if limited := tried && (blocked || c.rtx.inFlight() >= int(c.win.Cwnd)); sent > 0 || limited {
		c.validateCwnd(limited)
		c.updateCCState(blocked)
	}
}

// armAfterSending sets the timer for new data. RFC 6298 5.1: "Every time a packet containing data is sent (including a
// retransmission), if the timer is not running, start it running so that it will expire after RTO seconds". RFC 8985
// 7.2: a loss probe is scheduled after new data has been sent.
func (c *Conn) armAfterSending() {
	if !c.scheduleProbe(false) && (c.timerAt == sim.Never || c.pendingTimer == TimerPersist || c.pendingTimer == TimerTLP) {
		c.rearmRTO()
	}
}

// nextStretch is how many bytes at SND.NXT may be sent now as far as the peer's window and Nagle's rule go, and whether
// the FIN ends them: the head of the write queue as it stands, a full segment of it at least fitting the window.
//
// RFC 9293 3.8.6.2.1, the sender's silly window avoidance (MUST-38): "Send data: (1) if a maximum-sized segment can be
// sent, i.e., if: min(D,U) >= Eff.snd.MSS; (2) or if the data is pushed and all queued data can be sent now, i.e., if:
// [SND.NXT = SND.UNA and] PUSHed and D <= U (the bracketed condition is imposed by the Nagle algorithm)". Its (3), half
// the largest window, is seen to by the MSS, which is never more (halfWindow).
func (c *Conn) nextStretch(nagle nagleMode) (n int, fin bool) {
	var head *queuedWrite
	if c.snd != nil {
		head = c.snd.queue.head()
	}
	if head == nil {
		return 0, c.finFits(0)
	}
	n = int(head.end - c.sndNxt)
	last := head.end == c.sndEnd
	fin = last && c.finQueued && !c.finSent
	mss := c.segmentRoom()
	whole := min(n, mss)
	if fin && n <= mss {
		whole++ // the FIN takes a sequence number of the window
	}
	if whole > int(int32(c.sndUna+seqNum(c.sndWnd)-c.sndNxt)) {
		return 0, false
	}
	if n < mss && last && !fin && nagle&naglePush == 0 && c.holds(nagle) {
		return 0, false
	}
	return n, fin
}

// quota is how many segments the congestion window has room for.
func (c *Conn) quota(n int, fin bool) int {
	q := c.rtx
	room := max(int(c.win.Cwnd), 1)
	if q != nil {
		room = min(int(c.win.Cwnd)-q.inFlight()-c.limitsTransmit(), c.maxSegments()-q.n)
	}
	if c.cc != nil && c.cc.Paced {
		room = min(room, int(c.cc.Burst())) // what is paced goes in small bursts (Linux: tcp_tso_autosize)
	}
	if q == nil {
		return room
	}
	if room <= 0 && fin && n <= int(c.sndMSS) && q.n < c.maxSegments()+1 {
		return 1 // the FIN's segment is not held up by the congestion window (Linux: tcp_cwnd_test)
	}
	return room
}

// sendStretch sends of the n bytes at the head of the write queue what the window and quota, in segments, let it.
func (c *Conn) sendStretch(n, quota int, fin bool, nagle nagleMode) {
	mss := c.segmentRoom()
	limit := n
	if n > mss {
		limit = c.splitPoint(n, mss, quota, nagle)
	}
	push := n > 0 && c.snd.queue.head().push
	for whole := limit == n; ; {
		m := min(limit, mss)
		limit -= m
		last := whole && limit == 0
		c.sendData(m, fin && last, push && last, SendData)
		if limit == 0 {
			return
		}
	}
}

// splitPoint is how many of n bytes, more than a segment, go now: whole segments, and the small one at the end of the
// window, or of all that is queued, only if Nagle's rule lets it (Linux: tcp_mss_split_point).
func (c *Conn) splitPoint(n, mss, quota int, nagle nagleMode) int {
	window := int(int32(c.sndUna + seqNum(c.sndWnd) - c.sndNxt))
	limit := mss * quota
	if limit <= window && c.snd.queue.len() > 1 && limit <= n {
		return limit
	}
	needed := min(n, window)
	if limit <= needed {
		return limit
	}
	if small := needed % mss; small != 0 && c.snd.queue.len() == 1 && nagle&naglePush == 0 && c.holds(nagle) {
		return needed - small
	}
	if needed == n && c.finQueued && !c.finSent && c.snd.queue.len() == 1 && window == needed && n%mss != 0 {
		return n - n%mss // its last segment carries the FIN, which the window has no room for
	}
	return needed
}

// segmentRoom is how many bytes of data a full segment carries now: a SACK option takes its room from them (Linux:
// tcp_current_mss).
func (c *Conn) segmentRoom() int {
	if !c.owesSACK() {
		return int(c.sndMSS)
	}
	var blocks [wire.MaxSACKBlocks]wire.SACKBlock
	n, limit := 0, c.maxSACKBlocks()
	if c.owesDSACK() {
		n = 1
	}
	if c.rcv != nil {
		n += c.rcv.sackBlocks(blocks[:limit-n])
	}
	return int(c.sndMSS) - sackLen(n)
}

// finFits says whether the FIN may follow n bytes of new data: it takes a sequence number of the peer's window.
func (c *Conn) finFits(n int) bool {
	next := c.sndNxt + seqNum(n)
	return c.finQueued && !c.finSent && next == c.sndEnd && next.less(c.sndUna+seqNum(c.sndWnd))
}

// sendData sends n bytes of new data, with or without the FIN and PSH.
func (c *Conn) sendData(n int, fin, push bool, why SendReason) {
	flags := wire.FlagACK
	x := txSeg{seq: c.sndNxt, length: uint16(n), tx: 1, sentAt: c.stack.loop.Now()}
	next := c.sndNxt + seqNum(n)
	if push {
		flags |= wire.FlagPSH
		x.flags |= txPSH
	}
	if n < int(c.sndMSS) {
		c.sndSml = next // Linux: tcp_minshall_update
	}
	if fin {
		flags |= wire.FlagFIN
		x.flags |= txFIN
		c.finSent = true
		next++
		if n == 0 {
			why = SendFIN
		}
	}
	c.repliedWithData()
	c.dataLeaves(&x.stamp)
	f := c.start(flags, c.sndNxt)
	if n > 0 {
		c.snd.payload(c.stack.loop, f, c.sndNxt, n)
		c.bytesSent += uint64(n)
		c.dataSegsOut++
	}
	c.sndNxt = next
	if c.snd != nil {
		c.snd.sent(next)
	}
	c.queue().push(x)
	c.lastDataSent = x.sentAt
	c.finish(f, flags, x.seq, n, why, 1)
	c.pace(c.cc, n)
}

// sendACK sends an ACK without data.
func (c *Conn) sendACK(why SendReason) { c.sendControl(wire.FlagACK, c.sndNxt, why) }

// sendRST resets the peer.
func (c *Conn) sendRST() { c.sendControl(wire.FlagRST|wire.FlagACK, c.sndNxt, SendRST) }

// sendControl sends a segment without data.
func (c *Conn) sendControl(flags wire.TCPFlags, seq seqNum, why SendReason) {
	if !c.state.synchronized() && c.state != StateSynRcvd {
		return
	}
	f := c.start(flags, seq)
	c.finish(f, flags, seq, 0, why, 1)
}

// start makes a frame with the headers of a segment, from the template.
func (c *Conn) start(flags wire.TCPFlags, seq seqNum) *sim.Frame {
	f := c.stack.loop.NewFrame()
	if c.tsOK && c.urg == nil && c.rt.six == nil { // nearly always
		b := (*[templateLen]byte)(f.Append(templateLen))
		*b = c.template
		binary.BigEndian.PutUint32(b[tcpAt+wire.TCPOffSeq:], uint32(seq))
		binary.BigEndian.PutUint32(b[tcpAt+wire.TCPOffAck:], uint32(c.rcvNxt))
		b[tcpAt+wire.TCPOffFlags] = uint8(flags)
		binary.BigEndian.PutUint16(b[tcpAt+wire.TCPOffWindow:], c.advertise())
		binary.BigEndian.PutUint32(b[tcpAt+tsAt+4:], c.tsNow())
		binary.BigEndian.PutUint32(b[tcpAt+tsAt+8:], c.tsRecent)
		return f
	}
	n := tcpAt + wire.TCPMinLen
	if c.tsOK {
		n = templateLen
	}
	var b []byte // from the TCP header on
	if c.rt.six == nil {
		b = f.Append(n)
		copy(b, c.template[:n])
		b = b[tcpAt:]
	} else {
		c.putIPv6(f)
		b = f.Append(n - tcpAt)
		copy(b, c.template[tcpAt:n])
	}
	binary.BigEndian.PutUint32(b[wire.TCPOffSeq:], uint32(seq))
	binary.BigEndian.PutUint32(b[wire.TCPOffAck:], uint32(c.rcvNxt))
	b[wire.TCPOffFlags] = uint8(flags)
	binary.BigEndian.PutUint16(b[wire.TCPOffWindow:], c.advertise())
	if c.tsOK {
		binary.BigEndian.PutUint32(b[tsAt+4:], c.tsNow())
		binary.BigEndian.PutUint32(b[tsAt+8:], c.tsRecent)
	}
	if c.urg != nil {
		c.putUrgent(b, seq)
	}
	return f
}

// finish adds the SACK option where it is due and fits, and ships a segment made by start.
func (c *Conn) finish(f *sim.Frame, flags wire.TCPFlags, seq seqNum, n int, why SendReason, tx int) {
	var opt wire.TCPOptions
	if c.owesSACK() && flags&wire.FlagRST == 0 {
		c.putSACK(f, n, &opt)
	}
	if c.urg != nil {
		flags |= urgentFlag(c.tcpHeader(f))
	}
	if c.tellUTO && flags&wire.FlagRST == 0 {
		c.tellUserTimeout(f, n, &opt)
	}
	cp := NotECT
	if c.ecn&ecnOK != 0 && flags&wire.FlagSYN == 0 {
		cp = c.ecnMark(f, &flags, n, tx == 1)
	}
	c.ackSent()
	if c.dupAckDue && n > 0 && opt.NSACK == 0 {
		// No duplicate ACK in RFC 5681 2's sense, which "carries no data", and no news for the peer's scoreboard: the one
		// that is due goes by itself.
		c.ackPending, c.ackNow = true, true
	}
	if c.stack.loop.Rec == nil {
		c.emit(f, flags)
		return
	}
	if c.tsOK && c.rt.six == nil && opt.NSACK == 0 && !opt.HasUserTimeout { // what may have been added above
		f.Pkt = c.stack.id.NextPacket()
		c.recordPlainSent(f, flags, seq, n, why, tx, cp)
		c.emit(f, flags)
		return
	}
	b := c.tcpHeader(f)
	h := wire.TCP{Seq: uint32(seq), Ack: uint32(c.rcvNxt), Flags: flags, Window: binary.BigEndian.Uint16(b[wire.TCPOffWindow:])}
	if c.tsOK {
		opt.HasTimestamps = true
		opt.TSVal, opt.TSEcr = binary.BigEndian.Uint32(b[tsAt+4:]), c.tsRecent
	}
	f.Pkt = c.stack.id.NextPacket()
	c.recordSent(f, &h, &opt, n, why, tx, cp)
	c.emit(f, flags)
}

// ship sends a segment whose headers were built whole.
func (c *Conn) ship(f *sim.Frame, h *wire.TCP, opt *wire.TCPOptions, n int, why SendReason, tx int) {
	f.Pkt = c.stack.id.NextPacket()
	c.recordSent(f, h, opt, n, why, tx, ECN(trafficClass(f.Header())&3))
	c.emit(f, h.Flags)
}

// emit counts a segment and hands it to IP.
func (c *Conn) emit(f *sim.Frame, flags wire.TCPFlags) {
	f.Conn, f.Tag = c.id, c.tag
	if f.Pkt == 0 {
		f.Pkt = c.stack.id.NextPacket()
	}
	if c.set.md5Key != "" {
		c.set.sign(f)
	}
	c.segsOut++
	c.stack.tcp.count.outSegs++
	if flags&wire.FlagRST != 0 {
		c.stack.tcp.count.outRsts++
	}
	_ = c.stack.output(f, c.rt) // no route is a loss like any other: the retransmission timer ends the connection
}

// owesSACK says whether segments carry a SACK option. RFC 2018 4: "If sent at all, SACK options SHOULD be included in all
// ACKs which do not ACK the highest sequence number in the data receiver's queue."
func (c *Conn) owesSACK() bool {
	return c.sackOK && (c.rcv != nil && c.rcv.nblocks > 0 || c.owesDSACK())
}

// sackLen is the length of a SACK option with n blocks, with its padding.
func sackLen(n int) int { return 4 + 8*n }

// maxSACKBlocks is how many blocks fit beside the other options. RFC 2018 3: "a SACK option that specifies n blocks will
// have a length of 8*n+2 bytes, so the 40 bytes available for TCP options can specify a maximum of 4 blocks"; 3 with
// timestamps.
func (c *Conn) maxSACKBlocks() int {
	switch {
	case c.tsOK:
		return (wire.TCPMaxOptionsLen - timestampsLen - sackLen(0)) / 8
	case c.set.md5Key != "":
		return (wire.TCPMaxOptionsLen - md5OptionLen - sackLen(0)) / 8
	}
	return wire.MaxSACKBlocks
}

// putSACK appends a SACK option to the headers of f, if it fits beside n bytes of data.
func (c *Conn) putSACK(f *sim.Frame, n int, opt *wire.TCPOptions) {
	limit := c.maxSACKBlocks()
	if n > 0 {
		limit = max(0, min(limit, (int(c.sndMSS)-n-sackLen(0))/8))
	}
	at := 0
	if limit > 0 && c.owesDSACK() {
		opt.SACK[0], at = c.takeDSACK(), 1
	}
	if c.rcv != nil {
		at += c.rcv.sackBlocks(opt.SACK[at:limit])
	}
	if opt.NSACK = uint8(at); at == 0 {
		return
	}
	b := f.Append(opt.Len())
	opt.Put(b)
	c.tcpHeader(f)[wire.TCPOffDataOffset] += uint8(opt.Len()/4) << 4
}
