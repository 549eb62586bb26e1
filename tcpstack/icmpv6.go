package tcpstack

import (
	"encoding/binary"
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// icmpv6ErrorMax is the longest ICMPv6 error. RFC 4443 2.4 (c): "as much of the IPv6 offending (invoking) packet ... as
// possible without making the error message packet exceed the minimum IPv6 MTU".
const icmpv6ErrorMax = wire.IPv6MinMTU

// icmpv6Input takes an ICMPv6 message for this stack and owns f.
func (s *Stack) icmpv6Input(ifc *Interface, f *sim.Frame, group bool) {
	if !split(s.loop, f, wire.IPv6Len+wire.ICMPLen) {
		s.drop(f, dropTransportHeader)
		return
	}
	if !s.checksumOK(f) {
		s.drop(f, dropTransportChecksum)
		return
	}
	h := f.Header()
	m := h[wire.IPv6Len:]
	if s.loop.Rec != nil {
		s.recordICMP(KindICMPReceived, f, h, m)
	}
	switch typ := m[0]; {
	case typ == wire.ICMPv6EchoRequest:
		s.count[cICMPEchoRequestsReceived]++
		s.echoReply6(ifc, f, h, m, group)
		return
	case typ == wire.ICMPv6EchoReply:
		s.count[cICMPEchoRepliesReceived]++
		s.echoReceived(f, h, m)
	case wire.ICMPv6IsError(typ):
		s.count[cICMPErrorsReceived]++
		if e, ok := translate(typ, m[1], be32(m[4:])); ok {
			e.From = ipAddr6(h[wire.IPv6OffSrc:]).netip()
			s.dispatchError6(e, f.Payload)
		}
	case typ >= wire.ICMPv6RouterSolicit && typ <= wire.ICMPv6Redirect:
		s.ndpInput(ifc, f, h, group)
		return
	case typ == wire.ICMPv6MLDQuery, typ == wire.ICMPv6MLDv2Report:
		s.mldInput(ifc, f, h)
		return
	default:
		// RFC 4443 2.4 (b): "If an ICMPv6 informational message of unknown type is received, it MUST be silently
		// discarded."
		s.drop(f, dropProtocol)
		return
	}
	f.Release()
}

// translate tells an ICMPv6 error in ICMPv4's terms, as RFC 7915 5.2 does at the border between the two, so that TCP, UDP
// and applications have one table of what is hard, soft or too big. It is false for what has no such meaning.
func translate(typ, code uint8, word uint32) (ICMPError, bool) {
	e := ICMPError{Type: wire.ICMPUnreachable, Six: true, Type6: typ, Code6: code}
	switch {
	case typ == wire.ICMPv6PacketTooBig:
		e.Code, e.MTU = wire.ICMPFragNeeded, int(min(word, MaxMTU))
	case typ == wire.ICMPv6TimeExceeded:
		e.Type, e.Code = wire.ICMPTimeExceeded, code
	case typ == wire.ICMPv6ParamProblem && code == wire.ICMPv6UnknownNextHeader:
		e.Code = wire.ICMPProtoUnreachable
	case typ == wire.ICMPv6ParamProblem:
		e.Type, e.Code = wire.ICMPParamProblem, 0
	case typ != wire.ICMPv6Unreachable:
		return e, false
	case code == wire.ICMPv6NoRoute:
		e.Code = wire.ICMPNetUnreachable
	case code == wire.ICMPv6PortUnreachable:
		e.Code = wire.ICMPPortUnreachable
	case code == wire.ICMPv6BeyondScope || code == wire.ICMPv6AddrUnreachable:
		e.Code = wire.ICMPHostUnreachable
	default:
		e.Code = wire.ICMPAdminProhibited
	}
	return e, true
}

// echoReply6 answers an echo request with its own data. RFC 4443 4.2: "The source address of an Echo Reply sent in response
// to a unicast Echo Request message MUST be the same as the destination address of that Echo Request message. An Echo Reply
// SHOULD be sent in response to an Echo Request message sent to an IPv6 multicast or anycast address. In this case, the
// source address of the reply MUST be a unicast address belonging to the interface on which the Echo Request message was
// received."
func (s *Stack) echoReply6(ifc *Interface, f *sim.Frame, h, m []byte, group bool) {
	src, dst := ipAddr6(h[wire.IPv6OffSrc:]), ipAddr6(h[wire.IPv6OffDst:])
	if dst.isMulticast() {
		dst = ipAddr{}
		if ifc.six != nil {
			dst, _ = ifc.six.source6(src)
		}
	}
	rt, err := s.route6(dst, src, zoneOf(src, ifc), be32(h)&wire.IPv6FlowLabelMask)
	if err != nil || group && dst.isZero() {
		s.drop(f, dropNoRoute)
		return
	}
	idSeq := be32(m[4:])
	f.Strip(len(h))
	f.Pkt = 0
	r := f.Prepend(wire.IPv6Len + wire.ICMPLen)
	s.putIPv6(r, rt, wire.ProtoICMPv6, rt.flow)
	m = r[wire.IPv6Len:]
	m[0], m[1], m[2], m[3] = wire.ICMPv6EchoReply, 0, 0, 0
	binary.BigEndian.PutUint32(m[4:], idSeq)
	s.count[cICMPEchoRepliesSent]++
	_ = s.sendICMP(f, rt) // who answers has nobody to tell; output counts it
}

// zoneOf is the interface that a link-local peer was heard on.
func zoneOf(peer ipAddr, ifc *Interface) *Interface {
	if peer.isLinkLocal() && ifc != nil && ifc.six != nil {
		return ifc
	}
	return nil
}

// sendICMPv6Error tells the sender of f, whose header region begins with its IPv6 header, what is wrong with it. It keeps
// nothing of f. word is the type's own: the MTU or the pointer.
func (s *Stack) sendICMPv6Error(f *sim.Frame, typ, code uint8, word uint32, group bool) {
	if !s.deservesError6(f, typ, group) {
		return
	}
	if !s.icmpLimit.allow(s.loop.Now()) {
		s.count[cICMPErrorsLimited]++ // RFC 4443 2.4 (f): "an IPv6 node MUST limit the rate of ICMPv6 error messages"
		return
	}
	h := f.Header()
	src, dst := ipAddr6(h[wire.IPv6OffSrc:]), ipAddr6(h[wire.IPv6OffDst:])
	var from ipAddr // RFC 4443 2.2 (b): otherwise one of the interface over which the message goes
	if s.isLocal6(dst) {
		from = dst
	}
	rt, err := s.route6(from, src, zoneOf(src, s.six.in), 0)
	if err != nil {
		return
	}
	fillIP(f, h)
	g := s.loop.NewFrame()
	g.Conn, g.Tag = f.Conn, f.Tag
	r := g.Append(wire.IPv6Len + wire.ICMPLen)
	s.putIPv6(r, rt, wire.ProtoICMPv6, 0)
	m := r[wire.IPv6Len:]
	wire.ICMP{Type: typ, Code: code}.Put(m)
	binary.BigEndian.PutUint32(m[4:], word)
	c := s.loop.NewChunk(min(f.Len(), icmpv6ErrorMax-len(r)))
	copy(c.Data[copy(c.Data, h):], f.Payload)
	g.SetPayload(c, 0, len(c.Data))
	c.Release()
	s.count[cICMPErrorsSent]++
	_ = s.sendICMP(g, rt)
}

// deservesError6 applies RFC 4443 2.4 (e): "An ICMPv6 error message MUST NOT be originated as a result of receiving the
// following: (e.1) An ICMPv6 error message. (e.2) An ICMPv6 redirect message ... (e.3) A packet destined to an IPv6
// multicast address" - but for Packet Too Big, and where an option says so - "(e.5) A packet sent as a link-layer
// broadcast ... (e.6) A packet whose source address does not uniquely identify a single node".
func (s *Stack) deservesError6(f *sim.Frame, typ uint8, group bool) bool {
	h := f.Header()
	src := ipAddr6(h[wire.IPv6OffSrc:])
	if src.isZero() || src.isMulticast() || group && typ != wire.ICMPv6PacketTooBig {
		return false
	}
	var room [wire.IPv6Len + wire.MaxExtensionBytes]byte
	b := flatten(room[:], f)
	next, at, ok := wire.UpperIPv6(b)
	if !ok || next != wire.ProtoICMPv6 {
		return ok
	}
	return len(b) > at && !wire.ICMPv6IsError(b[at]) && b[at] != wire.ICMPv6Redirect
}

// dispatchError6 hands an error to the socket or connection that sent the quoted packet. RFC 4443 2.4 (d): "the upper-layer
// protocol type is extracted from the original packet (contained in the body of the ICMPv6 error message)".
func (s *Stack) dispatchError6(e ICMPError, quoted []byte) {
	ip, err := wire.ParseIPv6(quoted)
	if err != nil || !s.isLocal6(ipAddrOf(ip.Src)) {
		return
	}
	next, at, ok := wire.UpperIPv6(quoted)
	if !ok || len(quoted) < at+8 {
		return
	}
	t := quoted[at:]
	src, dst := netip.AddrPortFrom(ip.Src, be16(t)), netip.AddrPortFrom(ip.Dst, be16(t[2:]))
	e.Six, e.To = true, dst
	switch next {
	case wire.ProtoTCP:
		s.tcpControl(e, src, dst, be32(t[wire.TCPOffSeq:]))
	case wire.ProtoUDP:
		if s.udpSocket(ipAddrOf(ip.Src), src.Port(), false) != nil && e.MTU != 0 {
			s.pathTooNarrow(ipAddrOf(ip.Dst), e.MTU)
		}
		s.udpError(e, src)
	case wire.ProtoICMPv6:
		if t[0] == wire.ICMPv6EchoRequest {
			e.To = netip.AddrPortFrom(ip.Dst, 0)
			if s.echo[be16(t[4:])] != nil && e.MTU != 0 {
				s.pathTooNarrow(ipAddrOf(ip.Dst), e.MTU)
			}
			s.echoError(e, be16(t[4:]), be16(t[6:]))
		}
	}
}
