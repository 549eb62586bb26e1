package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Neighbour discovery, RFC 4861: who has an address, and whether it can still be reached. The cache and its states are in
// neighbour.go, which IPv4 shares.

// ndpHopLimit: RFC 4861 7.1.1: "The IP Hop Limit field has a value of 255, i.e., the packet could not possibly have
// been forwarded by a router."
const ndpHopLimit = 255

// sendND sends a message of neighbour discovery; put writes n bytes of it, its checksum zero.
func (i *Interface) sendND(src, dst ipAddr, mac wire.MAC, n int, put func([]byte)) {
	f := i.frameND(src, dst, n, put)
	wire.Ethernet{Dst: mac, Src: i.cfg.MAC, Type: wire.EtherTypeIPv6}.Put(f.Prepend(wire.EthernetLen))
	i.tx.Transmit(f)
}

// frameND is such a message, from the IP header on, counted and recorded as sent.
func (i *Interface) frameND(src, dst ipAddr, n int, put func([]byte)) *sim.Frame {
	s := i.stack
	f := s.loop.NewFrame()
	f.Pkt, f.Verified = s.id.NextPacket(), true
	rt := route{six: &route6{src: src, dst: dst}}
	h := f.Append(wire.IPv6Len + wire.ICMPLen)
	s.putIPv6(h, &rt, wire.ProtoICMPv6, 0)
	h[wire.IPv6OffPayloadLen], h[wire.IPv6OffPayloadLen+1] = uint8(n>>8), uint8(n)
	h[wire.IPv6OffHopLimit] = ndpHopLimit
	b := make([]byte, n)
	put(b)
	copy(h[wire.IPv6Len:], b)
	if n > wire.ICMPLen {
		c := s.loop.NewChunk(n - wire.ICMPLen)
		copy(c.Data, b[wire.ICMPLen:])
		f.SetPayload(c, 0, len(c.Data))
		c.Release()
	}
	if s.cfg.Checksums == ChecksumsAlways {
		fillTransport(f, h, wire.IPv6Len)
	}
	s.count[cIP6Sent]++
	if s.loop.Rec != nil {
		s.recordICMP(KindICMPSent, f, h, h[wire.IPv6Len:])
	}
	return f
}

// groupMAC is the Ethernet address of a group (RFC 2464 7).
func groupMAC(group ipAddr) wire.MAC { return wire.MulticastMAC(group.netip()) }

// solicit asks a neighbour for its hardware address, or whether it still has it.
//
// RFC 4861 7.2.2: "If the source address of the packet prompting the solicitation is the same as one of the addresses
// assigned to the outgoing interface, that address SHOULD be placed in the IP Source Address of the outgoing solicitation.
// Otherwise, any one of the addresses assigned to the interface should be used."
func (n *neighbour) solicit() {
	i := n.ifc
	src := n.asker
	if a := i.six.find(src); a == nil || !a.usable() {
		var ok bool
		if src, ok = i.six.linkLocal(); !ok { // as Linux's ndisc_solicit does
			src, _ = i.six.source6(n.addr)
		}
	}
	group := solicitedNode(n.addr)
	dst, mac := group, groupMAC(group)
	if n.state == NeighbourProbe {
		dst, mac = n.addr, wire.MAC(n.eth[:6])
	}
	m := wire.Neighbor{Type: wire.ICMPv6NeighSolicit, Target: n.addr.netip(),
		Options: wire.NDPOptions{HasSource: true, SourceMAC: i.cfg.MAC}}
	i.stack.count[cNDPSolicitsSent]++
	i.sendND(src, dst, mac, wire.NeighborLen+m.Options.Len(), func(b []byte) { m.Put(b) })
}

// ndpInput takes a message of neighbour discovery whose checksum holds, and owns f.
func (s *Stack) ndpInput(ifc *Interface, f *sim.Frame, h []byte, group bool) {
	var room [wire.IPv6MinMTU]byte
	b := flatten(room[:], f)[wire.IPv6Len:]
	x := &ndpMessage{ifc: ifc, src: ipAddr6(h[wire.IPv6OffSrc:]), dst: ipAddr6(h[wire.IPv6OffDst:]), b: b}
	ok := h[wire.IPv6OffHopLimit] == ndpHopLimit && ifc.six != nil && ifc != s.lo.ifc && f.Len() <= len(room)
	if ok {
		switch b[0] {
		case wire.ICMPv6NeighSolicit:
			ok = x.solicitation()
		case wire.ICMPv6NeighAdvert:
			ok = x.advertisement()
		case wire.ICMPv6RouterSolicit:
			ok = x.routerSolicitation()
		case wire.ICMPv6RouterAdvert:
			ok = x.routerAdvertisement()
		case wire.ICMPv6Redirect:
			ok = x.redirect()
		}
	}
	if !ok {
		s.drop(f, dropNDP)
		return
	}
	f.Release()
}

// ndpMessage is a message being received.
type ndpMessage struct {
	ifc      *Interface
	src, dst ipAddr
	b        []byte // from the ICMPv6 header on
}

// solicitation is RFC 4861 7.2.3 with RFC 4862 5.4.3. It reports whether the message was valid.
func (x *ndpMessage) solicitation() bool {
	m, err := wire.ParseNeighbor(x.b)
	target := ipAddrOf(m.Target)
	// RFC 4861 7.1.1: "If the IP source address is the unspecified address, the IP destination address is a solicited-node
	// multicast address" and "there is no source link-layer address option in the message".
	if err != nil || x.src.isZero() && (x.dst != solicitedNode(target) || m.Options.HasSource) {
		return false
	}
	i, s := x.ifc, x.ifc.stack
	s.count[cNDPSolicitsReceived]++
	a := i.six.find(target)
	if a == nil {
		return true
	}
	if !a.usable() {
		// RFC 4862 5.4.3: "If the source address of the Neighbor Solicitation is the unspecified address ... the solicitation
		// is from a node performing Duplicate Address Detection" - for the same address, which both then lose.
		if x.src.isZero() && a.state == AddressTentative {
			a.duplicate()
		}
		return true
	}
	reply := wire.Neighbor{Type: wire.ICMPv6NeighAdvert, Router: s.cfg.Forwarding, Override: true, Target: m.Target,
		Options: wire.NDPOptions{HasTarget: true, TargetMAC: i.cfg.MAC}}
	dst, mac := x.src, wire.MAC{}
	if x.src.isZero() {
		// RFC 4861 7.2.4: "If the source of the solicitation is the unspecified address, the node MUST set the Solicited flag
		// to zero and multicast the advertisement to the all-nodes address."
		dst, mac = allNodes, groupMAC(allNodes)
	} else {
		reply.Solicited = true
		n := i.heardFrom(x.src, &m.Options)
		if n == nil || n.state == NeighbourIncomplete || n.state == NeighbourFailed {
			return true // nobody knows where to send the answer
		}
		mac = wire.MAC(n.eth[:6])
	}
	s.count[cNDPAdvertsSent]++
	i.sendND(target, dst, mac, wire.NeighborLen+reply.Options.Len(), func(b []byte) { reply.Put(b) })
	return true
}

// heardFrom takes in the hardware address that a solicitation or router's message tells of its source. RFC 4861 7.2.3: "if
// an entry already exists, and the cached link-layer address differs from the one in the received Source Link-Layer option,
// the cached address should be replaced by the received address, and the entry's reachability state MUST be set to STALE."
func (i *Interface) heardFrom(src ipAddr, o *wire.NDPOptions) *neighbour {
	n := i.neighbours[src]
	if !o.HasSource || o.SourceMAC.IsGroup() {
		return n
	}
	if n == nil {
		if n = i.neighbourAt(src); n == nil {
			return nil
		}
	}
	if n.state == NeighbourIncomplete || n.state == NeighbourFailed || wire.MAC(n.eth[:6]) != o.SourceMAC {
		n.learnStale(o.SourceMAC)
	}
	return n
}

// learnStale takes in a hardware address that nobody has asked for.
func (n *neighbour) learnStale(mac wire.MAC) {
	s := n.ifc.stack
	copy(n.eth[:6], mac[:])
	n.until = s.loop.Now()
	s.loop.Stop(&n.timer)
	n.setState(NeighbourStale)
	if len(n.pending) > 0 {
		n.delay()
		n.flush()
	}
}

// advertisement is RFC 4861 7.2.5 with RFC 4862 5.4.4.
func (x *ndpMessage) advertisement() bool {
	m, err := wire.ParseNeighbor(x.b)
	// RFC 4861 7.1.2: "If the IP Destination Address is a multicast address the Solicited flag is zero."
	if err != nil || x.dst.isMulticast() && m.Solicited {
		return false
	}
	i, s := x.ifc, x.ifc.stack
	s.count[cNDPAdvertsReceived]++
	target := ipAddrOf(m.Target)
	if a := i.six.find(target); a != nil {
		if a.state == AddressTentative {
			a.duplicate()
		}
		return true
	}
	// "If no entry exists, the advertisement SHOULD be silently discarded."
	n := i.neighbours[target]
	if n == nil || n.state == NeighbourFailed {
		return true
	}
	o := &m.Options
	if n.router && !m.Router && i.six.host != nil {
		i.six.host.routerGone(target)
	}
	if n.state == NeighbourIncomplete {
		if !o.HasTarget {
			return true
		}
		n.router = m.Router
		if m.Solicited {
			n.learn(o.TargetMAC)
		} else {
			n.learnStale(o.TargetMAC)
		}
		return true
	}
	differs := o.HasTarget && wire.MAC(n.eth[:6]) != o.TargetMAC
	if differs && !m.Override {
		// "If the state of the entry is REACHABLE, set it to STALE, but do not update the entry in any other way."
		if n.state == NeighbourReachable {
			n.setState(NeighbourStale)
		}
		return true
	}
	n.router = m.Router
	switch {
	case m.Solicited && o.HasTarget:
		n.learn(o.TargetMAC)
	case m.Solicited:
		n.learn(wire.MAC(n.eth[:6]))
	case differs:
		n.learnStale(o.TargetMAC)
	}
	return true
}

// Duplicate address detection, RFC 4862 5.4.

// Fire sends the next probe, ends the check, or ends a lifetime.
func (a *address6) Fire(now sim.Time) {
	s := a.ifc.stack
	switch {
	case a.state == AddressTentative && a.probes > 0:
		a.probes--
		if mld := a.ifc.six.mld; mld != nil {
			mld.refresh()
			mld.flush() // RFC 4862 5.4.2: the group is joined before the first probe
		}
		m := wire.Neighbor{Type: wire.ICMPv6NeighSolicit, Target: a.addr.netip()}
		group := solicitedNode(a.addr)
		s.count[cNDPSolicitsSent]++
		a.ifc.sendND(ipAddr{}, group, groupMAC(group), wire.NeighborLen, func(b []byte) { m.Put(b) })
		s.loop.Arm(&a.timer, &s.id.Src, now+a.ifc.six.retry)
	case a.state == AddressTentative:
		// 5.4: "An address ... is considered unique if none of the tests indicate the presence of a duplicate address within
		// RetransTimer milliseconds after having sent DupAddrDetectTransmits Neighbor Solicitations."
		a.setState(AddressPreferred)
		a.age()
		if x := a.ifc.six; a == x.addrs[0] && x.host != nil {
			x.host.begin()
		}
	default:
		a.age()
	}
}

// duplicate: 5.4.5: "A tentative address that is determined to be a duplicate ... MUST NOT be assigned to an interface".
func (a *address6) duplicate() {
	s := a.ifc.stack
	s.count[cNDPDuplicates]++
	s.loop.Stop(&a.timer)
	a.setState(AddressDuplicate)
}
