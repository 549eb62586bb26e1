package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// ipv4Input takes a datagram that arrived at ifc, IP header first, and owns it. group says that its frame was sent to
// all stations of the link.
func (s *Stack) ipv4Input(ifc *Interface, f *sim.Frame, group bool) {
	s.count[cIPReceived]++
	h := f.Header()
	if len(h) < wire.IPv4MinLen || h[0] != 0x45 {
		if why, ok := s.unusual(f); !ok {
			s.drop(f, why)
			return
		}
		h = f.Header()
	}
	ihl := int(h[0]&15) * 4
	if total := int(be16(h[wire.IPv4OffTotalLen:])); total != f.Len() {
		if total < ihl || total > f.Len() {
			s.drop(f, dropTotalLength)
			return
		}
		trim(f, total)
		h = f.Header()
	}
	// RFC 1122 3.2.1.2: "A host MUST verify the IP header checksum on every received datagram and silently discard every
	// datagram that has a bad checksum."
	if !s.trusted(f) && wire.SwapFold(wire.HeaderSum(h[:ihl])) != 0xffff {
		s.drop(f, dropChecksum)
		return
	}
	if ihl > wire.IPv4MinLen && !group && !s.sourceRouted(f, ihl) {
		return
	}
	dst := be32(h[wire.IPv4OffDst:])
	if ifc != s.lo.ifc {
		// RFC 1122 3.2.1.3: a source is never this network, the loopback, a group or a broadcast.
		if top := h[wire.IPv4OffSrc]; top == 0 || top == 127 || top >= 224 {
			s.drop(f, dropSource)
			return
		}
		if s.cfg.Forwarding && !group {
			if e := s.forwards.find(dst, s.flowOfDatagram(h, ihl)); e != nil && e.gen == s.gen {
				if e.nb.ifc == ifc {
					s.redirect(ifc, f, h, e.nb)
					h = f.Header()
				}
				s.forward(f, h, e.nb)
				return
			}
		}
		if dst>>24 == 127 {
			s.drop(f, dropDestination)
			return
		}
	}
	switch {
	case s.isLocal(dst):
		// RFC 1122 3.2.1.3, RFC 1812 5.3.7: a source that is this host's own, as in the land attack, or its network's
		// broadcast address is martian (Linux: fib_validate_source).
		if src := be32(h[wire.IPv4OffSrc:]); ifc != s.lo.ifc && (s.isLocal(src) || ifc.isBroadcast(src)) {
			s.drop(f, dropSource)
			return
		}
		s.deliver(ifc, f, group)
	case dst == 0xffffffff || (ifc.isBroadcast(dst) && ifc != s.lo.ifc):
		s.deliver(ifc, f, true)
	case dst>>28 >= 14 || group:
		// No groups are joined here. RFC 1122 3.3.6: "A host SHOULD silently discard a datagram that is received via a
		// link-layer broadcast ... but does not specify an IP multicast or broadcast destination address."
		s.drop(f, dropDestination)
	case !s.cfg.Forwarding:
		s.drop(f, dropNotForwarding)
	default:
		s.forwardSlow(ifc, f, h, ihl, dst)
	}
}

// unusual checks a header that does not simply begin with version 4 and length 20, or does not lie in place. Options are
// carried and ignored, but for source routes: RFC 791's are obsolete but must not hurt (RFC 6814, RFC 7126).
func (s *Stack) unusual(f *sim.Frame) (dropReason, bool) {
	if !gather(f, wire.IPv4MinLen) {
		return dropTruncated, false
	}
	h := f.Header()
	ihl := int(h[0]&15) * 4
	switch {
	case h[0]>>4 != 4:
		return dropVersion, false
	case ihl < wire.IPv4MinLen:
		return dropHeaderLength, false
	case !gather(f, ihl):
		return dropTruncated, false
	}
	return 0, true
}

// deliver hands a datagram that is for this stack to its protocol. bcast says that it was sent to more than this
// station.
func (s *Stack) deliver(ifc *Interface, f *sim.Frame, bcast bool) {
	h := f.Header()
	if be16(h[wire.IPv4OffFrag:])&(wire.IPv4MF|wire.IPv4OffsetMask) != 0 {
		s.count[cIPFragmentsReceived]++
		if f = s.frags.add(f, bcast); f == nil {
			return
		}
		h = f.Header()
	}
	s.count[cIPDelivered]++
	ihl := int(h[0]&15) * 4
	switch wire.Protocol(h[wire.IPv4OffProto]) {
	case wire.ProtoTCP:
		s.deliverTCP(f, ihl, bcast)
	case wire.ProtoUDP:
		s.udpInput(f, ihl, bcast)
	case wire.ProtoICMP:
		s.icmpInput(ifc, f, ihl, bcast)
	default:
		// RFC 1122 3.2.2.1: "2 (Protocol Unreachable), when the designated transport protocol is not supported".
		s.sendICMPError(f, wire.ICMPUnreachable, wire.ICMPProtoUnreachable, 0, bcast)
		s.drop(f, dropProtocol)
	}
}

// deliverTCP puts a segment into the form that TCP expects: IP and TCP header in place, the payload just the data.
func (s *Stack) deliverTCP(f *sim.Frame, ihl int, bcast bool) {
	// RFC 9293 3.9.2.3 (MUST-57): "A TCP implementation MUST silently discard an incoming SYN segment that is addressed to
	// a broadcast or multicast address"; no other segment to such an address belongs to a connection.
	if bcast {
		s.drop(f, dropDestination)
		return
	}
	if !gather(f, ihl+wire.TCPMinLen) {
		s.drop(f, dropTransportHeader)
		return
	}
	n := int(f.Header()[ihl+wire.TCPOffDataOffset]>>4) * 4
	if n < wire.TCPMinLen || (len(f.Header()) != ihl+n && !split(s.loop, f, ihl+n)) {
		s.drop(f, dropTransportHeader)
		return
	}
	s.tcpInput(f)
}
