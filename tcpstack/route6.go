package tcpstack

import (
	"net/netip"
	"slices"

	"labd.dev/sim"
)

// route6 is what a route has more over IPv6.
type route6 struct {
	src, dst ipAddr     // own address and the peer's
	zone     *Interface // that a link-local peer is on; nil: to be found
	mtu      int        // largest packet, as far as is known of the path
	until    sim.Time   // the path's MTU is believed
	hopLimit uint8      // what the outgoing interface's router has advertised; 0: the stack's
}

// hopLimit is the hop limit of datagrams on an IPv6 route.
func (s *Stack) hopLimit(rt *route) uint8 {
	if rt.six.hopLimit != 0 {
		return rt.six.hopLimit
	}
	return s.cfg.TTL
}

// tableEntry6 is a Route as lookups need it.
type tableEntry6 struct {
	dst  ipAddr
	bits int
	via  ipAddr // zero: on link
	ifc  *Interface
}

// setRoutes6 takes the IPv6 routes of a list.
func (s *Stack) setRoutes6(routes []Route) {
	x := &s.six
	x.routes = x.routes[:0]
	for _, r := range routes {
		if r.Ifc == nil || r.Ifc.stack != s || !r.Dst.IsValid() || !r.Dst.Addr().Is6() {
			continue
		}
		e := tableEntry6{dst: ipAddrOf(r.Dst.Masked().Addr()), bits: r.Dst.Bits(), ifc: r.Ifc}
		if r.Via.Is6() {
			e.via = ipAddrOf(r.Via)
		}
		x.routes = append(x.routes, e)
	}
	slices.SortStableFunc(x.routes, func(a, b tableEntry6) int { return b.bits - a.bits })
}

// lookup6 finds the next hop to dst, which is not this stack's and no group: on which interface, and which station there.
// The longest match wins among the interfaces' networks and the static routes; then the lab's graph is asked, or on a host
// with SLAAC the routers that it has heard of.
func (s *Stack) lookup6(dst ipAddr, flow uint32) (via ipAddr, ifc *Interface, ok bool) {
	best := -1
	for _, i := range s.ifcs {
		if i.six != nil {
			if n := i.six.onLink(dst); n > best {
				via, ifc, best, ok = dst, i, n, true
			}
		}
	}
	for k := range s.six.routes {
		r := &s.six.routes[k]
		if r.bits <= best {
			break
		}
		if r.ifc.six == nil || !dst.within(r.dst, r.bits) {
			continue
		}
		if !r.via.isZero() {
			return r.via, r.ifc, true
		}
		return dst, r.ifc, true
	}
	if ok {
		return via, ifc, true
	}
	if s.cfg.SLAAC {
		return s.defaultRouter(dst)
	}
	if s.router == nil {
		return via, nil, false
	}
	hop, out, found := s.router.Lookup(dst.netip(), flow)
	if !found || out == nil || out.six == nil {
		return via, nil, false
	}
	if hop.Is6() {
		return ipAddrOf(hop), out, true
	}
	return dst, out, true
}

// onLink is the length of the longest prefix of the interface's own link that an address is in; -1: none.
func (x *interface6) onLink(a ipAddr) int {
	best := -1
	for _, own := range x.addrs {
		// RFC 5942 4: a prefix is on link where it was configured so; an address made by SLAAC says nothing about it.
		if !own.auto && own.bits > best && !own.addr.isLinkLocal() && a.within(own.addr, own.bits) {
			best = own.bits
		}
	}
	if x.host != nil {
		best = max(best, x.host.onLink(a))
	}
	return best
}

// routeTo6 is route for an IPv6 destination. Its zone names the interface that a link-local one is on.
func (s *Stack) routeTo6(src, dst netip.Addr, flow uint32) (*route, error) {
	var from ipAddr
	if src.IsValid() && !src.IsUnspecified() {
		if from = ipAddrOf(src.WithZone("")); !src.Is6() || !s.isLocal6(from) {
			return nil, ErrBadAddress
		}
	}
	var zone *Interface
	if name := dst.Zone(); name != "" {
		for _, i := range s.ifcs {
			if i.cfg.Name == name {
				zone = i
			}
		}
		if zone == nil {
			return nil, ErrBadAddress
		}
	}
	return s.route6(from, ipAddrOf(dst.WithZone("")), zone, flow)
}

// route6 finds the way to dst, shared as route's. flow also is the packets' flow label.
func (s *Stack) route6(src, dst ipAddr, zone *Interface, flow uint32) (*route, error) {
	slot := &s.six.cache[mix32(dst.fold()^flow, src.fold())%routeSlots]
	if r := *slot; r != nil && r.six.dst == dst && r.flow == flow && r.six.src == src && r.six.zone == zone && r.gen == s.gen {
		return r, nil
	}
	r := &route{flow: flow, six: &route6{src: src, dst: dst, zone: zone}}
	if err := s.resolve6(r); err != nil {
		return nil, err
	}
	if !src.isZero() {
		*slot = r
	}
	return r, nil
}

// resolve6 looks r's next hop up.
func (s *Stack) resolve6(r *route) error {
	p := r.six
	if s.isLocal6(p.dst) {
		r.gen, r.ifc, r.nb, p.mtu, p.until, p.hopLimit = s.gen, s.lo.ifc, nil, MaxMTU, sim.Never, 0
		if p.src.isZero() {
			p.src = p.dst
		}
		return nil
	}
	if p.dst.isZero() || p.dst.isMulticast() || p.dst.is4() {
		return ErrBadAddress
	}
	via, ifc, ok := p.dst, s.linkOf(p), true
	if !p.dst.isLinkLocal() {
		via, ifc, ok = s.firstHop6(p.dst, r.flow)
	}
	if !ok || ifc == nil || ifc.six == nil || p.src == loopback6 {
		return ErrNoRoute
	}
	if p.src.isZero() {
		if p.src, ok = ifc.six.source6(p.dst); !ok {
			return ErrNoRoute
		}
	}
	nb := ifc.neighbourAt(via)
	if nb == nil {
		return ErrNoRoute
	}
	r.gen, r.ifc, r.nb, p.hopLimit = s.gen, ifc, nb, ifc.six.hopLimit
	p.mtu, p.until = s.six.paths.lookup(p.dst, ifc.six.mtu, s.loop.Now())
	return nil
}

// linkOf finds the link that a link-local peer is on: the one named, that of the source address, or the only one.
func (s *Stack) linkOf(p *route6) *Interface {
	if p.zone != nil {
		return p.zone
	}
	var only *Interface
	for _, i := range s.ifcs {
		switch {
		case i.six == nil:
		case !p.src.isZero() && i.six.find(p.src) != nil:
			return i
		case only == nil:
			only = i
		default:
			return nil
		}
	}
	return only
}
