package tcpstack

import (
	"encoding/binary"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// What TCP, UDP and ICMP need to know of an IP header without minding its version.

// trafficClass is the octet that holds DSCP and ECN of a packet whose IP header begins h: IPv4's type of service, IPv6's
// traffic class (RFC 2474 3).
func trafficClass(h []byte) uint8 {
	if h[0]>>4 == 6 {
		return h[0]<<4 | h[1]>>4
	}
	return h[wire.IPv4OffTOS]
}

// setTrafficClass patches a header made by putIP or Conn.start; an IPv4 header's checksum is not kept.
func setTrafficClass(h []byte, tc uint8) {
	if h[0]>>4 == 6 {
		h[0], h[1] = 0x60|tc>>4, tc<<4|h[1]&15
		return
	}
	h[wire.IPv4OffTOS] = tc
}

// headerLen is the length of the IP header that begins h, without IPv6's extension headers.
func headerLen(h []byte) int {
	if h[0]>>4 == 6 {
		return wire.IPv6Len
	}
	return int(h[0]&15) * 4
}

// protocolOf is what follows the IP header that begins h.
func protocolOf(h []byte) wire.Protocol {
	if h[0]>>4 == 6 {
		return wire.Protocol(h[wire.IPv6OffNextHeader])
	}
	return wire.Protocol(h[wire.IPv4OffProto])
}

// sourceOf and destinationOf are the addresses of a packet whose IP header begins h.
func sourceOf(h []byte) ipAddr {
	if h[0]>>4 == 6 {
		return ipAddr6(h[wire.IPv6OffSrc:])
	}
	return ipAddr4(be32(h[wire.IPv4OffSrc:]))
}

func destinationOf(h []byte) ipAddr {
	if h[0]>>4 == 6 {
		return ipAddr6(h[wire.IPv6OffDst:])
	}
	return ipAddr4(be32(h[wire.IPv4OffDst:]))
}

// hopsLeft is the TTL or hop limit of a packet whose IP header begins h.
func hopsLeft(h []byte) uint8 {
	if h[0]>>4 == 6 {
		return h[wire.IPv6OffHopLimit]
	}
	return h[wire.IPv4OffTTL]
}

// tcpHeader is the part of a segment's header region that begins with its TCP header.
func (c *Conn) tcpHeader(f *sim.Frame) []byte { return f.Header()[c.rt.ipLen():] }

// putIP appends the IP header that datagrams of protocol p on route rt begin with, to be patched.
func (s *Stack) putIP(f *sim.Frame, rt *route, p wire.Protocol) {
	if rt.six == nil {
		s.putIPv4(f.Append(wire.IPv4MinLen), rt, p)
		return
	}
	s.putIPv6(f.Append(wire.IPv6Len), rt, p, rt.flow)
}

// putIPv6 fills the first 40 bytes of b with the header that datagrams of protocol p on route rt begin with, flow label
// included.
//
// RFC 6437 3: "It is therefore RECOMMENDED that source hosts support the flow label by setting the flow label field for
// all packets of a given flow to the same value chosen from an approximation to a discrete uniform distribution."
func (s *Stack) putIPv6(b []byte, rt *route, p wire.Protocol, flow uint32) {
	binary.BigEndian.PutUint32(b, 6<<28|flow&wire.IPv6FlowLabelMask)
	b[wire.IPv6OffPayloadLen], b[wire.IPv6OffPayloadLen+1] = 0, 0
	b[wire.IPv6OffNextHeader], b[wire.IPv6OffHopLimit] = uint8(p), s.hopLimit(rt)
	rt.six.src.put(b[wire.IPv6OffSrc:])
	rt.six.dst.put(b[wire.IPv6OffDst:])
}

// putIPv6 appends the connection's IPv6 header. Its flow label is the hash of its ports and addresses that the
// demultiplexer has, which is keyed.
func (c *Conn) putIPv6(f *sim.Frame) {
	h := f.Append(wire.IPv6Len)
	c.stack.putIPv6(h, c.rt, wire.ProtoTCP, c.hashed)
	setTrafficClass(h, c.tos())
	c.set.markHops(h)
}

// markHops puts the time to live that is asked for into the IP header that begins h.
func (s *settings) markHops(h []byte) {
	switch {
	case s.ttl == 0:
	case h[0]>>4 == 6:
		h[wire.IPv6OffHopLimit] = s.ttl
	default:
		h[wire.IPv4OffTTL] = s.ttl
	}
}
