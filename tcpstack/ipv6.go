package tcpstack

import (
	"encoding/binary"
	"errors"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// minPathMTU is the least MTU of a path (RFC 8200 5).
const minPathMTU = wire.IPv6MinMTU

// ipv6Input takes a packet that arrived at ifc, IP header first, and owns it. group says that its frame was sent to more
// than this station of the link.
func (s *Stack) ipv6Input(ifc *Interface, f *sim.Frame, group bool) {
	s.count[cIP6Received]++
	s.six.in = ifc
	if !gather(f, wire.IPv6Len) {
		s.drop(f, dropTruncated)
		return
	}
	h := f.Header()
	if h[0]>>4 != 6 {
		s.drop(f, dropVersion)
		return
	}
	if total := wire.IPv6Len + int(be16(h[wire.IPv6OffPayloadLen:])); total != f.Len() {
		if total > f.Len() {
			s.drop(f, dropTotalLength)
			return
		}
		trim(f, total)
		h = f.Header()
	}
	src, dst := ipAddr6(h[wire.IPv6OffSrc:]), ipAddr6(h[wire.IPv6OffDst:])
	if ifc != s.lo.ifc {
		// RFC 4291 2.5.3: "A packet received on an interface with a destination address of loopback must be dropped"; 2.7:
		// "Multicast addresses must not be used as source addresses"; a mapped IPv4 address is none of the wire's (RFC 4942
		// 2.2).
		if src.isMulticast() || src == loopback6 || src.is4() {
			s.drop(f, dropSource)
			return
		}
		if src == dst { // the land attack: an answer would come back to whoever gave it
			s.drop(f, dropSource)
			return
		}
		if dst.isZero() || dst == loopback6 || dst.is4() {
			s.drop(f, dropDestination)
			return
		}
		if s.cfg.Forwarding && !group && h[wire.IPv6OffNextHeader] != uint8(wire.ProtoHopByHop) {
			if e := s.six.forwards.find(dst, s.flowOfPacket6(h)); e != nil && e.gen == s.gen {
				if e.nb.ifc == ifc {
					s.redirect6(ifc, f, h, e.nb)
				}
				s.forward6(f, h, e.nb)
				return
			}
		}
	}
	switch {
	case s.isLocal6(dst):
		s.deliver6(ifc, f, group)
	case dst.isMulticast():
		if ifc.six == nil || !ifc.member(dst) {
			s.drop(f, dropDestination)
			return
		}
		s.deliver6(ifc, f, true)
	case group:
		s.drop(f, dropDestination)
	case !s.cfg.Forwarding:
		s.drop(f, dropNotForwarding)
	default:
		s.forwardSlow6(ifc, f, h, src, dst)
	}
}

// maxFragmentHeaders bounds the fragment headers of a packet, one inside what the other's fragments came to: nobody but an
// attacker sends two.
const maxFragmentHeaders = 2

// deliver6 hands a packet that is for this stack to its protocol, without its extension headers. group says that it was
// sent to more than this station.
func (s *Stack) deliver6(ifc *Interface, f *sim.Frame, group bool) {
	for range maxFragmentHeaders + 1 {
		switch wire.Protocol(f.Header()[wire.IPv6OffNextHeader]) {
		case wire.ProtoTCP:
			s.count[cIP6Delivered]++
			s.deliverTCP(f, wire.IPv6Len, group)
			return
		case wire.ProtoUDP:
			s.count[cIP6Delivered]++
			s.udpInput(f, wire.IPv6Len, group)
			return
		case wire.ProtoICMPv6:
			s.count[cIP6Delivered]++
			s.icmpv6Input(ifc, f, group)
			return
		}
		if f = s.unchain(f, group); f == nil {
			return
		}
	}
	s.drop(f, dropFragment)
}

// unchain takes the extension headers off a packet for this stack, and puts fragments together. It returns a packet whose
// upper layer follows the IPv6 header, or nil: it is kept, or has been dropped.
func (s *Stack) unchain(f *sim.Frame, group bool) *sim.Frame {
	var room [wire.IPv6Len + wire.MaxExtensionBytes]byte
	b := flatten(room[:], f)
	c, err := wire.WalkIPv6(b)
	if err != nil {
		s.extensionProblem(f, err, group)
		return nil
	}
	switch c.Next {
	case wire.ProtoFragment:
	case wire.ProtoTCP, wire.ProtoUDP, wire.ProtoICMPv6:
		return s.unwrap(f, c.At, c.Next)
	default:
		return s.noProtocol(f, c, group)
	}
	s.count[cIP6FragmentsReceived]++
	h, err := wire.ParseIPv6Fragment(b[c.At:])
	if err != nil {
		s.drop(f, dropFragment)
		return nil
	}
	if h.Offset == 0 && !h.More {
		// RFC 6946 4: "A host that receives an IPv6 packet that includes a Fragment Header with the 'Fragment Offset' equal
		// to 0 and the 'M' flag equal to 0 MUST process that packet in isolation from any other packets/fragments".
		return s.unwrap(f, c.At+wire.FragmentHeaderLen, h.Next)
	}
	return s.frags.add6(f, c.At, h, group)
}

// noProtocol ends a packet whose upper layer is nothing here. RFC 8200 4: a next header that is not recognised causes an
// ICMP Parameter Problem "with an ICMP Code value of 1 ('unrecognized Next Header type encountered')".
func (s *Stack) noProtocol(f *sim.Frame, c wire.IPv6Chain, group bool) *sim.Frame {
	if c.Next != wire.ProtoNoNext { // RFC 8200 4.7: "there is nothing following that header"
		s.sendICMPv6Error(f, wire.ICMPv6ParamProblem, wire.ICMPv6UnknownNextHeader, uint32(c.NextAt), group)
	}
	s.drop(f, dropProtocol)
	return nil
}

// extensionProblem ends a packet whose extension headers cannot be worked on, and tells its sender where that is due.
func (s *Stack) extensionProblem(f *sim.Frame, err error, group bool) {
	var e *wire.ExtensionError
	if errors.As(err, &e) && !e.Silent {
		// RFC 8200 4.2: action 10 is told "regardless of whether or not the packet's Destination Address was a multicast
		// address", which RFC 4443 2.4 (e.3) allows.
		s.sendICMPv6Error(f, wire.ICMPv6ParamProblem, e.Code, uint32(e.Pointer), group && !e.Group)
	}
	s.drop(f, dropExtensionHeader)
}

// flatten copies a packet's beginning, as much as room takes.
func flatten(room []byte, f *sim.Frame) []byte {
	n := copy(room, f.Header())
	return room[:n+copy(room[n:], f.Payload)]
}

// unwrap takes what lies between the IPv6 header and offset at out of a packet; next is what then follows.
func (s *Stack) unwrap(f *sim.Frame, at int, next wire.Protocol) *sim.Frame {
	if k := at - len(f.Header()); k > 0 {
		f.Payload = f.Payload[k:]
		f.Sum, f.SumKnown = 0, false
	} else if k < 0 {
		split(s.loop, f, at)
	}
	f.Truncate(wire.IPv6Len)
	h := f.Header()
	h[wire.IPv6OffNextHeader] = uint8(next)
	binary.BigEndian.PutUint16(h[wire.IPv6OffPayloadLen:], uint16(len(f.Payload)))
	return f
}

// flowOfPacket6 names the flow of a packet in transit. RFC 6438 3: the flow label stands for the flow, so that fragments
// and what is encrypted go the way of the rest; where it is zero, the ports do.
func (s *Stack) flowOfPacket6(h []byte) uint32 {
	src, dst := ipAddr6(h[wire.IPv6OffSrc:]).fold(), ipAddr6(h[wire.IPv6OffDst:]).fold()
	if label := be32(h) & wire.IPv6FlowLabelMask; label != 0 {
		return s.flowOf(src, dst, label, 0)
	}
	var ports uint32
	if p := wire.Protocol(h[wire.IPv6OffNextHeader]); (p == wire.ProtoTCP || p == wire.ProtoUDP) && len(h) >= wire.IPv6Len+4 {
		ports = be32(h[wire.IPv6Len:])
	}
	return s.flowOf(src, dst, ports, uint32(h[wire.IPv6OffNextHeader]))
}
