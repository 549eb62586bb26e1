package tcpstack

import "labd.dev/tcpstack/wire"

// Path MTU discovery (RFC 1191, RFC 8201). RFC 1191 2: "a source host initially assumes that the PMTU of a path is the
// (known) MTU of its first hop, and sends all datagrams on that path with the DF bit set. If any of the datagrams are too
// large to be forwarded without fragmentation by some router along the path, that router will discard them and return ICMP
// Destination Unreachable messages with a code meaning "fragmentation needed and DF set"."

// pathMTU is the largest packet that goes to the peer in one piece, as far as is known.
func (c *Conn) pathMTU() int {
	if c.pmtu != 0 {
		return min(int(c.pmtu), c.rt.mtu())
	}
	return c.rt.mtu()
}

// setDF marks an IPv4 header so that no router cuts the packet.
func setDF(h []byte) { h[wire.IPv4OffFrag] |= wire.IPv4DF >> 8 }

// learnedPMTU is what another connection has learned of the path lately.
//
// RFC 1191 3: a larger one is tried again after a time: "We recommend setting these timers at twice their minimum values (10
// minutes and 2 minutes, respectively)." (net.ipv4.route.mtu_expires).
func (c *Conn) learnedPMTU() {
	if mtu := c.stack.knownMTU(c.set, c.rt, c.remote); mtu < c.rt.mtu() {
		c.pmtu = uint16(mtu)
	}
}

// knownMTU is the MTU of the path to remote as far as connections have learned it, else the link's.
func (s *Stack) knownMTU(set *settings, rt *route, remote ipAddr) int {
	mtu := rt.mtu()
	if set.pmtuDiscovery && len(s.tcp.paths.list) > 0 {
		mtu, _ = s.tcp.paths.lookup(remote, mtu, s.loop.Now())
	}
	return mtu
}

// announceMTU has the MSS that our SYN announces follow the path's MTU (Linux: tcp_advertise_mss).
func (c *Conn) announceMTU() {
	if c.pmtu != 0 {
		c.oddities().synMTU = c.pmtu
	}
}

// mtuReduced takes in that a packet of this connection was too large for the path (Linux: tcp_v4_mtu_reduced,
// tcp_v6_mtu_reduced).
//
// RFC 1191 3: "A host MUST never reduce its estimate of the Path MTU below 68 octets." Linux's bound is min_pmtu: where a
// path takes less, its routers may cut the packets. "A host MUST not increase its estimate of the Path MTU in response to
// the contents of a Datagram Too Big message".
func (c *Conn) mtuReduced(mtu int) {
	if !c.set.pmtuDiscovery {
		return
	}
	if least := int(c.set.minPMTU); c.rt.six == nil && mtu < least {
		mtu = least
		c.template[wire.IPv4OffFrag] &^= wire.IPv4DF >> 8
	}
	if mtu >= c.pathMTU() && c.pmtu != 0 || mtu > c.pathMTU() {
		return
	}
	if c.rt.six == nil {
		c.stack.tcp.paths.set(c.remote, mtu, c.stack.loop.Now()+pathMTULife)
	}
	c.pmtu = uint16(mtu)
	if c.state == StateSynSent { // there is no MSS yet
		c.recordPathMTU(MTUReduced, mtu)
		c.synDataTooBig()
		return
	}
	c.syncMSS()
	c.recordPathMTU(MTUReduced, mtu)
	c.resendTooLarge()
}

// resendTooLarge sends what no longer fits at once and in smaller segments: it is lost, and not to congestion, so that
// the window stays (Linux: tcp_simple_retransmit).
//
// RFC 1191 6.4 and RFC 8201 5.4: the packetization layer hears of it, and need not wait for the retransmission timeout.
func (c *Conn) resendTooLarge() {
	q, mss := c.rtx, uint16(c.segmentRoom())
	if q == nil || !c.state.transmits() || !q.cut(mss) {
		return
	}
	for i := range q.n {
		if q.at(i).flags&txTooLarge != 0 {
			q.at(i).flags &^= txTooLarge
			c.markLost(i, LossMTU)
		}
	}
	if q.lostOut == 0 {
		return
	}
	if !c.sackOK {
		q.sackedOut = min(q.sackedOut, q.n-q.lostOut)
	}
	if c.caState != caLoss {
		before := c.win.Cwnd
		c.rec.highSeq = c.sndNxt
		c.win.SSThresh = c.currentSsthresh()
		c.rec.undo.on, c.rec.spurious = false, false
		c.setCAState(caLoss)
		c.recordRecovery(KindTCPRecoveryEntered, RecoveryRTO, before, uint8(ByMTU))
	}
	c.retransmitQueue()
}

// cut makes segments of more than mss bytes into several, all marked txTooLarge. It reports whether there were any.
func (q *txQueue) cut(mss uint16) bool {
	n := 0
	for i := range q.n {
		n += max(1, (int(q.at(i).length)+int(mss)-1)/int(mss))
	}
	if n == q.n {
		return false
	}
	size := len(q.ring)
	for size < n {
		size *= 2
	}
	ring := make([]txSeg, 0, size)
	old := *q
	q.sackedOut, q.lostOut, q.retransOut, q.highSacked, q.rtxHint, q.rackHint = 0, 0, 0, -1, 0, 0
	for i := range old.n {
		x := *old.at(i)
		for x.length > mss {
			y := x
			y.length, y.flags = mss, x.flags&^(txFIN|txPSH)|txTooLarge
			ring = append(ring, y)
			x.seq, x.length, x.flags = x.seq+seqNum(mss), x.length-mss, x.flags|txTooLarge
		}
		ring = append(ring, x)
	}
	for i := range ring {
		switch f := ring[i].flags; {
		case f&txSacked != 0:
			q.sackedOut++
			q.highSacked = i
		case f&txLost != 0:
			q.lostOut++
		}
		if ring[i].flags&txRetrans != 0 {
			q.retransOut++
		}
	}
	q.ring, q.head, q.n = ring[:size], 0, n
	return true
}
