package tcpstack

import (
	"encoding/binary"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// forwardEntry remembers the next hop of a flow that passes through.
type forwardEntry[A comparable] struct {
	dst       A // an address of either version
	flow, gen uint32
	nb        *neighbour
}

// The cache of next hops begins small and doubles, up to a bound, when flows displace each other.
const (
	minForwardSlots = 64
	maxForwardSlots = 8192 // half of them hold the two ways of 2,000 flows
	// forwardProbes is how many slots a flow may lie in: with half of the slots taken nearly none is displaced.
	forwardProbes = 4
)

// forwardCache is a table of flows that pass through, each within a few slots of its hash, made when the first does.
type forwardCache[A comparable] struct {
	slots []forwardEntry[A]
}

func (c *forwardCache[A]) at(i uint32) *forwardEntry[A] { return &c.slots[i&uint32(len(c.slots)-1)] }

// find returns the entry of a flow, whose gen the caller compares, or nil.
func (c *forwardCache[A]) find(dst A, flow uint32) *forwardEntry[A] {
	if len(c.slots) == 0 {
		return nil
	}
	for i := range uint32(forwardProbes) {
		if e := c.at(flow + i); e.flow == flow && e.dst == dst {
			return e
		}
	}
	return nil
}

func (c *forwardCache[A]) put(e forwardEntry[A]) {
	if len(c.slots) == 0 {
		c.slots = make([]forwardEntry[A], minForwardSlots)
	}
	for !c.place(e) {
		if len(c.slots) == maxForwardSlots {
			*c.at(e.flow) = e
			return
		}
		old := c.slots
		c.slots = make([]forwardEntry[A], 2*len(old))
		for _, o := range old {
			if o.gen == e.gen {
				c.place(o) // one that finds no place is looked up again
			}
		}
	}
}

// place puts an entry in the place of itself or of what is no longer true; false if there is none.
func (c *forwardCache[A]) place(e forwardEntry[A]) bool {
	for i := range uint32(forwardProbes) {
		if o := c.at(e.flow + i); o.gen != e.gen || o.flow == e.flow && o.dst == e.dst {
			*o = e
			return true
		}
	}
	return false
}

// flowOfDatagram names the flow of a datagram in transit. Fragments have none but that of their addresses: only the
// first has ports, and all should go one way.
func (s *Stack) flowOfDatagram(h []byte, ihl int) uint32 {
	var ports uint32
	proto := h[wire.IPv4OffProto]
	if len(h) >= ihl+4 && be16(h[wire.IPv4OffFrag:])&(wire.IPv4MF|wire.IPv4OffsetMask) == 0 &&
		(proto == uint8(wire.ProtoTCP) || proto == uint8(wire.ProtoUDP)) {
		ports = be32(h[ihl:])
	}
	return s.flowOf(be32(h[wire.IPv4OffSrc:]), be32(h[wire.IPv4OffDst:]), ports, uint32(proto))
}

// forwardSlow finds the next hop of a datagram whose flow is not in the cache.
func (s *Stack) forwardSlow(in *Interface, f *sim.Frame, h []byte, ihl int, dst uint32) {
	flow := s.flowOfDatagram(h, ihl)
	via, ifc, ok := s.lookup(dst, flow)
	if !ok {
		// RFC 1812 4.3.3.1: "If a router cannot forward a packet because it has no routes at all (including no default
		// route) to the destination specified in the packet, then the router MUST generate a Destination Unreachable,
		// Code 0 (Network Unreachable) ICMP message."
		s.sendICMPError(f, wire.ICMPUnreachable, wire.ICMPNetUnreachable, 0, false)
		s.drop(f, dropNoRoute)
		return
	}
	nb := ifc.neighbour(via)
	if nb == nil {
		s.drop(f, dropNeighbourTable)
		return
	}
	s.forwards.put(forwardEntry[uint32]{dst: dst, flow: flow, gen: s.gen, nb: nb})
	if ifc == in {
		s.redirect(in, f, h, nb)
		h = f.Header()
	}
	s.forward(f, h, nb)
}

// forward sends a datagram on to the next hop; h is its header region.
func (s *Stack) forward(f *sim.Frame, h []byte, nb *neighbour) {
	ttl := h[wire.IPv4OffTTL]
	// RFC 1812 5.3.1: "If the TTL is reduced to zero (or less), the packet MUST be discarded, and if the destination is
	// not a multicast address the router MUST send an ICMP Time Exceeded message, Code 0 (TTL Exceeded in Transit)".
	if ttl <= 1 {
		s.sendICMPError(f, wire.ICMPTimeExceeded, wire.ICMPTTLExceeded, 0, false)
		s.drop(f, dropTTL)
		return
	}
	if f.Len() > nb.ifc.mtu {
		s.forwardFragments(f, h, nb)
		return
	}
	s.count[cIPForwarded]++
	s.decrementTTL(f, h)
	if nb.state == NeighbourReachable && s.loop.Now() < nb.until {
		nb.transmit(f)
		return
	}
	nb.send(f)
}

// decrementTTL takes one off the TTL and keeps the checksum true, where somebody relies on it.
func (s *Stack) decrementTTL(f *sim.Frame, h []byte) {
	old := be16(h[wire.IPv4OffTTL:])
	h[wire.IPv4OffTTL]--
	if s.trusted(f) {
		return
	}
	// RFC 1812 4.2.2.5 lets a router update the checksum where nothing but the time to live has changed.
	sum := wire.UpdateChecksum(be16(h[wire.IPv4OffChecksum:]), old, old-1<<8)
	binary.BigEndian.PutUint16(h[wire.IPv4OffChecksum:], sum)
}

// forwardFragments sends on a datagram that is larger than the next link takes.
func (s *Stack) forwardFragments(f *sim.Frame, h []byte, nb *neighbour) {
	if be16(h[wire.IPv4OffFrag:])&wire.IPv4DF != 0 {
		// RFC 1812 4.2.2.9, RFC 1191 4: code 4 with the next hop's MTU.
		s.sendICMPError(f, wire.ICMPUnreachable, wire.ICMPFragNeeded, uint16(nb.ifc.mtu), false)
		s.drop(f, dropTooBig)
		return
	}
	s.count[cIPForwarded]++
	s.decrementTTL(f, h)
	s.fragment(f, nb.ifc.mtu, nb.send)
}

// hostUnreachable ends a datagram whose next hop did not answer: its sender is told, by ICMP or directly. f.Header()
// begins with the IP header.
func (s *Stack) hostUnreachable(f *sim.Frame) {
	h := f.Header()
	if h[0]>>4 == 6 {
		s.hostUnreachable6(f)
		return
	}
	if src := be32(h[wire.IPv4OffSrc:]); s.isLocal(src) {
		e := ICMPError{Type: wire.ICMPUnreachable, Code: wire.ICMPHostUnreachable, From: addr4(src)}
		s.dispatchError(e, h)
	} else {
		// RFC 1812 5.3.7 and 4.3.3.1: code 1 where the router knows that the last hop does not answer.
		s.sendICMPError(f, wire.ICMPUnreachable, wire.ICMPHostUnreachable, 0, false)
	}
	s.drop(f, dropHostUnreachable)
}
