package tcpstack

import (
	"encoding/binary"
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

const (
	// icmpErrorMax is the longest ICMP error. RFC 1812 4.3.2.3: "the ICMP datagram SHOULD contain as much of the original
	// datagram as possible without the length of the ICMP datagram exceeding 576 bytes".
	icmpErrorMax = 576
	// icmpErrorTOS is precedence 6, Internetwork Control (RFC 1812 4.3.2.5, and what Linux sends).
	icmpErrorTOS = 0xc0
	// icmpErrorBurst and icmpErrorEvery limit the errors that a stack sends (net.ipv4.icmp_msgs_burst 50 and
	// icmp_msgs_per_sec 1000). RFC 1812 4.3.2.8: "A router which sends ICMP Source Quench messages MUST be able to limit
	// the rate"; it "SHOULD" for the other errors.
	icmpErrorBurst = 50
	icmpErrorEvery = sim.Millisecond
)

// errorLimit is a token bucket on lab time, kept as the time that the bucket would be full.
type errorLimit struct{ full sim.Time }

// allow takes a token.
func (l *errorLimit) allow(now sim.Time) bool {
	l.full = max(l.full, now)
	if l.full+icmpErrorEvery > now+icmpErrorBurst*icmpErrorEvery {
		return false
	}
	l.full += icmpErrorEvery
	return true
}

// icmpInput takes an ICMP message for this stack and owns f.
func (s *Stack) icmpInput(ifc *Interface, f *sim.Frame, ihl int, bcast bool) {
	if !split(s.loop, f, ihl+wire.ICMPLen) {
		s.drop(f, dropTransportHeader)
		return
	}
	if !s.checksumOK(f) {
		s.drop(f, dropTransportChecksum)
		return
	}
	h := f.Header()
	m := h[ihl:]
	if s.loop.Rec != nil {
		s.recordICMP(KindICMPReceived, f, h, m)
	}
	typ := m[0]
	switch {
	case typ == wire.ICMPEchoRequest:
		s.count[cICMPEchoRequestsReceived]++
		s.echoReply(f, h, m, bcast)
		return
	case typ == wire.ICMPEchoReply:
		s.count[cICMPEchoRepliesReceived]++
		s.echoReceived(f, h, m)
	case typ == wire.ICMPRedirect:
		s.count[cICMPErrorsReceived]++
		s.redirectReceived(ifc, h, m, f.Payload)
	case typ == wire.ICMPSourceQuench:
		s.count[cICMPErrorsReceived]++ // RFC 6633: ignored
	case wire.ICMPIsError(typ):
		s.count[cICMPErrorsReceived]++
		e := ICMPError{Type: typ, Code: m[1], From: addr4(be32(h[wire.IPv4OffSrc:]))}
		if typ == wire.ICMPUnreachable && m[1] == wire.ICMPFragNeeded {
			e.MTU = int(be16(m[6:])) // RFC 1191 4
		}
		s.dispatchError(e, f.Payload)
	default:
		// RFC 1122 3.2.2: "If an ICMP message of unknown type is received, it MUST be silently discarded."
		s.drop(f, dropProtocol)
		return
	}
	f.Release()
}

// echoReply answers an echo request with its own data. RFC 1122 3.2.2.6: "Data received in an ICMP Echo Request MUST be
// entirely included in the resulting Echo Reply"; a request to a broadcast address "MAY be silently discarded", as Linux
// does.
func (s *Stack) echoReply(f *sim.Frame, h, m []byte, bcast bool) {
	if bcast {
		s.drop(f, dropDestination)
		return
	}
	// RFC 1122 3.2.2.6: "The IP source address in an ICMP Echo Reply MUST be the same as the specific-destination address"
	rt, err := s.route4(be32(h[wire.IPv4OffDst:]), be32(h[wire.IPv4OffSrc:]), 0)
	if err != nil {
		s.drop(f, dropNoRoute)
		return
	}
	idSeq := be32(m[4:])
	f.Strip(len(h))
	f.Pkt = 0
	r := f.Prepend(wire.IPv4MinLen + wire.ICMPLen)
	s.putIPv4(r, rt, wire.ProtoICMP)
	m = r[wire.IPv4MinLen:]
	m[0], m[1], m[2], m[3] = wire.ICMPEchoReply, 0, 0, 0
	binary.BigEndian.PutUint32(m[4:], idSeq)
	s.count[cICMPEchoRepliesSent]++
	s.sendICMP(f, rt)
}

// sendICMP sends a complete message. Whoever answers or complains has nobody to tell an error; output counts it.
func (s *Stack) sendICMP(f *sim.Frame, rt *route) error {
	f.Pkt = s.id.NextPacket()
	if s.loop.Rec != nil {
		h := f.Header()
		s.recordICMP(KindICMPSent, f, h, h[rt.ipLen():])
	}
	return s.output(f, rt)
}

// sendICMPError tells the sender of f, whose header region begins with its IP header, what is wrong with it. It keeps
// nothing of f. mtu is the next hop's (fragmentation needed); bcast says that f was sent to more than this station.
func (s *Stack) sendICMPError(f *sim.Frame, typ, code uint8, mtu uint16, bcast bool) {
	if !s.deservesError(f, bcast) {
		return
	}
	if !s.icmpLimit.allow(s.loop.Now()) {
		s.count[cICMPErrorsLimited]++
		return
	}
	s.sendICMPQuoting(f, wire.ICMP{Type: typ, Code: code, Seq: mtu})
}

// sendICMPQuoting sends a message to the sender of f, with as much of f as an error quotes.
func (s *Stack) sendICMPQuoting(f *sim.Frame, m wire.ICMP) {
	h := f.Header()
	src, dst := be32(h[wire.IPv4OffSrc:]), be32(h[wire.IPv4OffDst:])
	var from uint32 // RFC 1812 4.3.2.4: an address of the interface over which the message goes
	if s.isLocal(dst) {
		from = dst
	}
	rt, err := s.route4(from, src, 0)
	if err != nil {
		return
	}
	fillIP(f, h)
	g := s.loop.NewFrame()
	g.Conn, g.Tag = f.Conn, f.Tag
	r := g.Append(wire.IPv4MinLen + wire.ICMPLen)
	s.putIPv4(r, rt, wire.ProtoICMP)
	r[1] = icmpErrorTOS
	m.Put(r[wire.IPv4MinLen:])
	c := s.loop.NewChunk(min(f.Len(), icmpErrorMax-len(r)))
	copy(c.Data[copy(c.Data, h):], f.Payload)
	g.SetPayload(c, 0, len(c.Data))
	c.Release()
	s.count[cICMPErrorsSent]++
	s.sendICMP(g, rt)
}

// deservesError applies RFC 1122 3.2.2: "An ICMP error message MUST NOT be sent as the result of receiving: an ICMP error
// message, or a datagram destined to an IP broadcast or IP multicast address, or a datagram sent as a link-layer
// broadcast, or a non-initial fragment, or a datagram whose source address does not define a single host".
func (s *Stack) deservesError(f *sim.Frame, bcast bool) bool {
	h := f.Header()
	ihl := int(h[0]&15) * 4
	dst := be32(h[wire.IPv4OffDst:])
	if top := h[wire.IPv4OffSrc]; bcast || dst>>28 >= 14 || top == 0 || top >= 224 {
		return false
	}
	if be16(h[wire.IPv4OffFrag:])&wire.IPv4OffsetMask != 0 {
		return false
	}
	if wire.Protocol(h[wire.IPv4OffProto]) != wire.ProtoICMP {
		return true
	}
	if !gather(f, ihl+1) {
		return false
	}
	typ := f.Header()[ihl]
	return typ == wire.ICMPEchoRequest || typ == wire.ICMPEchoReply
}

// dispatchError hands an error to the socket or connection that sent the quoted datagram.
func (s *Stack) dispatchError(e ICMPError, quoted []byte) {
	ip, err := wire.ParseIPv4(quoted)
	if err != nil || ip.Offset != 0 || len(quoted) < ip.HeaderLen+8 || !s.isLocal(num4(ip.Src)) {
		return
	}
	t := quoted[ip.HeaderLen:]
	src, dst := netip.AddrPortFrom(ip.Src, be16(t)), netip.AddrPortFrom(addr4(ultimateDestination(quoted)), be16(t[2:]))
	switch ip.Protocol {
	case wire.ProtoTCP:
		e.To = dst
		s.tcpControl(e, src, dst, be32(t[wire.TCPOffSeq:]))
	case wire.ProtoUDP:
		e.To = dst
		s.udpError(e, src)
	case wire.ProtoICMP:
		if t[0] == wire.ICMPEchoRequest {
			e.To = netip.AddrPortFrom(dst.Addr(), 0)
			s.echoError(e, be16(t[4:]), be16(t[6:]))
		}
	}
}
