package tcpstack

import (
	"labd.dev/sim"
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
	// KindNeighbour: Reason = the new state (see NeighbourState), W = address, hardware address (two words: the first two
	// bytes, the last four), interface number.
	KindNeighbour
)

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
	if h := f.Header(); len(h) >= 20 && h[0]>>4 == 4 {
		r.Aux = h[9]
		r.W[0], r.W[1] = be32(h[12:]), be32(h[16:])
	}
}

// recordICMP records an ICMP message whose IP header begins h and whose ICMP header begins m.
func (s *Stack) recordICMP(kind sim.Kind, f *sim.Frame, h, m []byte) {
	r := s.id.Record(s.loop.Rec, s.loop.Now(), kind)
	if r == nil {
		return
	}
	r.Pkt, r.Conn, r.Reason, r.Aux = f.Pkt, f.Conn, m[0], m[1]
	r.W[0], r.W[1], r.W[2], r.W[3] = be32(h[12:]), be32(h[16:]), be32(m[4:]), uint32(h[8])
}

// recordUDP records a datagram whose IP header begins h and whose UDP header begins u.
func (s *Stack) recordUDP(kind sim.Kind, f *sim.Frame, h, u []byte) {
	r := s.id.Record(s.loop.Rec, s.loop.Now(), kind)
	if r == nil {
		return
	}
	r.Pkt, r.Conn = f.Pkt, f.Conn
	r.W[0], r.W[1], r.W[2], r.W[3] = be32(h[12:]), be32(h[16:]), be32(u), uint32(len(f.Payload))
}

func (s *Stack) recordNeighbour(n *neighbour) {
	r := s.id.Record(s.loop.Rec, s.loop.Now(), KindNeighbour)
	if r == nil {
		return
	}
	r.Reason = uint8(n.state)
	r.W[0], r.W[1], r.W[2], r.W[3] = n.addr, uint32(n.eth[0])<<8|uint32(n.eth[1]), be32(n.eth[2:]), uint32(n.ifc.index)
}
