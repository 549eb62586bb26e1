package tcpstack

import (
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Kinds of the IP side's records. What the fields of each hold stands beside it; Conn and Pkt are the packet's in all of
// them.
const (
	// KindIPDropped: Reason = why (see IPDropReason), Aux = protocol, W = source, destination, length in bytes.
	KindIPDropped sim.Kind = KindIP + iota
	// KindICMPSent and KindICMPReceived: Reason = type, Aux = code, W = source, destination, identifier<<16|sequence
	// (of fragmentation needed: the MTU), TTL.
	KindICMPSent
	KindICMPReceived
	// KindUDPSent and KindUDPReceived: W = source, destination, source port<<16|destination port, payload bytes.
	KindUDPSent
	KindUDPReceived
	// Over IPv6 Flags is recordIPv6, the words of addresses are zero, and a KindMore record has source and destination (4
	// words each).

	// KindNeighbour: Reason = the new state (see NeighbourState), W = address, hardware address (two words: the first two
	// bytes, the last four), interface number. Of an IPv6 neighbour Flags is recordIPv6 and the address is in the first 4
	// words of a KindMore record.
	KindNeighbour
	// KindAddress: Reason = the new state of an IPv6 address (see AddressState), Flags = recordIPv6, W = prefix length,
	// whether it came by SLAAC, interface number, and the address in the first 4 words of a KindMore record.
	KindAddress
)

// recordIPv6 in a record's Flags: its addresses are IPv6's and follow in a KindMore record.
const recordIPv6 = 1

// RecordedIPv6 is the addresses of an IPv6 packet's record, or a single address and zero; false if r is of IPv4. more is
// what continues r.
func RecordedIPv6(r *sim.Record, more []sim.Record) (src, dst netip.Addr, ok bool) {
	if r.Flags&recordIPv6 == 0 || len(more) == 0 {
		return src, dst, false
	}
	w := words(&more[0])
	return ipAddr{long(w[0], w[1]), long(w[2], w[3])}.netip6(), ipAddr{long(w[4], w[5]), long(w[6], w[7])}.netip6(), true
}

// IPDropReason is the name of a KindIPDropped record's reason.
func IPDropReason(r uint8) string { return dropReason(r).String() }

// drop counts, records and releases a packet whose header region begins with its IP header (or with whatever did not
// parse as one).
func (s *Stack) drop(f *sim.Frame, why dropReason) {
	s.drops[why]++
	if s.loop.Rec != nil {
		s.recordDrop(f, why)
	}
	f.Release()
}

func (s *Stack) recordDrop(f *sim.Frame, why dropReason) {
	r := s.id.Record(s.loop.Rec, s.loop.Now(), KindIPDropped)
	r.Pkt, r.Conn, r.Reason = f.Pkt, f.Conn, uint8(why)
	r.W[2] = uint32(f.Len())
	switch why {
	case dropEthernetHeader, dropEtherType, dropARP:
		return // no IP header
	}
	h := f.Header()
	switch {
	case len(h) >= wire.IPv4MinLen && h[0]>>4 == 4:
		r.Aux = h[9]
		r.W[0], r.W[1] = be32(h[12:]), be32(h[16:])
	case len(h) >= wire.IPv6Len && h[0]>>4 == 6:
		r.Aux = h[wire.IPv6OffNextHeader]
		s.recordEnds(r, h)
	}
}

// recordEnds puts the addresses of a packet, whose IP header begins h, into its record. That must be complete before: the
// addresses of IPv6 go into one that follows.
func (s *Stack) recordEnds(r *sim.Record, h []byte) {
	if h[0]>>4 == 4 {
		r.W[0], r.W[1] = be32(h[wire.IPv4OffSrc:]), be32(h[wire.IPv4OffDst:])
		return
	}
	r.Flags |= recordIPv6
	var w moreWords
	for i := range 8 {
		w[i] = be32(h[wire.IPv6OffSrc+4*i:])
	}
	s.recordMore(r, &w)
}

// recordAddressOf is recordEnds for a single IPv6 address.
func (s *Stack) recordAddressOf(r *sim.Record, a ipAddr) {
	r.Flags |= recordIPv6
	s.recordMore(r, &moreWords{uint32(a.hi >> 32), uint32(a.hi), uint32(a.lo >> 32), uint32(a.lo)})
}

// recordAddress records the state of an IPv6 address.
func (s *Stack) recordAddress(a *address6) {
	r := s.id.Record(s.loop.Rec, s.loop.Now(), KindAddress)
	if r == nil {
		return
	}
	r.Reason = uint8(a.state)
	r.W[0], r.W[2] = uint32(a.bits), uint32(a.ifc.index)
	if a.auto {
		r.W[1] = 1
	}
	s.recordAddressOf(r, a.addr)
}

// recordICMP records an ICMP message whose IP header begins h and whose ICMP header begins m.
func (s *Stack) recordICMP(kind sim.Kind, f *sim.Frame, h, m []byte) {
	r := s.id.Record(s.loop.Rec, s.loop.Now(), kind)
	if r == nil {
		return
	}
	r.Pkt, r.Conn, r.Reason, r.Aux = f.Pkt, f.Conn, m[0], m[1]
	r.W[2], r.W[3] = be32(m[4:]), uint32(hopsLeft(h))
	s.recordEnds(r, h)
}

// recordUDP records a datagram whose IP header begins h and whose UDP header begins u.
func (s *Stack) recordUDP(kind sim.Kind, f *sim.Frame, h, u []byte) {
	r := s.id.Record(s.loop.Rec, s.loop.Now(), kind)
	if r == nil {
		return
	}
	r.Pkt, r.Conn = f.Pkt, f.Conn
	r.W[2], r.W[3] = be32(u), uint32(len(f.Payload))
	s.recordEnds(r, h)
}

func (s *Stack) recordNeighbour(n *neighbour) {
	r := s.id.Record(s.loop.Rec, s.loop.Now(), KindNeighbour)
	if r == nil {
		return
	}
	r.Reason = uint8(n.state)
	r.W[1], r.W[2], r.W[3] = uint32(n.eth[0])<<8|uint32(n.eth[1]), be32(n.eth[2:]), uint32(n.ifc.index)
	if n.six {
		s.recordAddressOf(r, n.addr)
		return
	}
	r.W[0] = uint32(n.addr.lo)
}
