package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// redirect is RFC 4861 8.3. It reports whether the message was valid; one that is and that is not followed is counted.
func (x *ndpMessage) redirect() bool {
	m, err := wire.ParseRedirect(x.b)
	dst, target := ipAddrOf(m.Destination), ipAddrOf(m.Target)
	// RFC 4861 8.1: "IP Source Address is a link-local address", "The ICMP Destination Address field in the redirect message
	// does not contain a multicast address", "The ICMP Target Address is either a link-local address (when redirected to a
	// router) or the same as the ICMP Destination Address (when redirected to the on-link destination)."
	if err != nil || !x.src.isLinkLocal() || dst.isMulticast() || target != dst && !target.isLinkLocal() {
		return false
	}
	i, s := x.ifc, x.ifc.stack
	// "The IP source address of the Redirect is the same as the current first-hop router for the specified ICMP Destination
	// Address."
	via, ifc, ok := s.firstHop6(dst, 0)
	if s.cfg.IgnoreRedirects || s.cfg.Forwarding || !ok || ifc != i || via != x.src || via == dst || i.six.find(target) != nil {
		s.count[cNDPRedirectsIgnored]++
		return true
	}
	n := i.neighbourAt(target)
	if n == nil {
		s.count[cNDPRedirectsIgnored]++
		return true
	}
	// 8.3: "If the redirect contains a Target Link-Layer Address option, the host either creates or updates the Neighbor
	// Cache entry for the target"; "If the Target Address is not the same as the Destination Address, the host MUST set
	// IsRouter to TRUE for the target."
	if o := &m.Options; o.HasTarget && !o.TargetMAC.IsGroup() &&
		(n.state == NeighbourIncomplete || n.state == NeighbourFailed || wire.MAC(n.eth[:6]) != o.TargetMAC) {
		n.learnStale(o.TargetMAC)
	}
	n.router = n.router || target != dst
	s.count[cNDPRedirectsTaken]++
	s.redirects.take(dst, target, i)
	return true
}

// firstHop6 is lookup6 with what routers have told.
func (s *Stack) firstHop6(dst ipAddr, flow uint32) (via ipAddr, ifc *Interface, ok bool) {
	if via, ifc, ok = s.lookup6(dst, flow); ok && via != dst {
		if better, told := s.redirects.hop(dst, ifc); told {
			via = better
		}
	}
	return via, ifc, ok
}

// redirect6 tells the sender of a packet that goes on over the link that it came from of the next hop.
//
// RFC 4861 8.2: "A router SHOULD send a redirect message, subject to rate limiting, whenever it forwards a packet that is
// not explicitly addressed to itself ... in which: the Source Address field of the packet identifies a neighbor, and the
// router determines ... that a better first-hop node resides on the same link as the sending node for the Destination Address of
// the packet being forwarded, and the Destination Address of the packet is not a multicast address."
func (s *Stack) redirect6(in *Interface, f *sim.Frame, h []byte, nb *neighbour) {
	src, dst := ipAddr6(h[wire.IPv6OffSrc:]), ipAddr6(h[wire.IPv6OffDst:])
	if s.cfg.NoRedirects || in.six == nil || in.six.onLink(src) < 0 || nb.addr != dst && !nb.addr.isLinkLocal() {
		return
	}
	own, ok := in.six.linkLocal()
	n := in.neighbourAt(src)
	if !ok || n == nil || !n.redirectDue() {
		return
	}
	m := wire.Redirect{Target: nb.addr.netip(), Destination: dst.netip()}
	if nb.state != NeighbourIncomplete && nb.state != NeighbourFailed {
		m.Options.HasTarget, m.Options.TargetMAC = true, wire.MAC(nb.eth[:6])
	}
	// "as much of the forwarded packet as can fit without the redirect packet exceeding the minimum MTU required to support
	// IPv6".
	var room [wire.IPv6MinMTU]byte
	size := copy(room[:], h)
	size += copy(room[size:], f.Payload)
	m.Packet = room[:min(size, wire.IPv6MinMTU-wire.IPv6Len-m.Len()-8)&^7]
	s.count[cNDPRedirectsSent]++
	n.send(in.frameND(own, src, m.Len(), m.Put))
}
