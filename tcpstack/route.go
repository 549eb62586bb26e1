package tcpstack

import (
	"net/netip"
	"slices"

	"labd.dev/tcpstack/wire"
)

// RouteOrigin says where a route comes from.
type RouteOrigin uint8

// Origins of routes.
const (
	RouteAutomatic RouteOrigin = iota // computed from the lab's topology
	RouteStatic                       // written in the lab file
	RouteConnected                    // an interface's own network
)

// Route is one entry of the routing table.
type Route struct {
	Dst    netip.Prefix
	Via    netip.Addr // zero: Dst is on the interface's link
	Ifc    *Interface
	Origin RouteOrigin
}

// Router finds next hops in a table that its owner keeps outside the stack (the lab's shared graph). It is asked after
// the stack's own addresses and networks and its static routes. via is zero where dst is on ifc's link. Routes of equal
// cost may be told apart by flow.
type Router interface {
	Lookup(dst netip.Addr, flow uint32) (via netip.Addr, ifc *Interface, ok bool)
}

// SetRouter installs r, and also tells the stack that what r answers has changed: cached routes are looked up anew.
func (s *Stack) SetRouter(r Router) {
	s.router = r
	s.redirects.forgetAll()
	s.gen++
}

// tableEntry is a Route as lookups need it.
type tableEntry struct {
	dst, mask, via uint32 // via 0: on link
	ifc            *Interface
}

// SetRoutes replaces the routing table. The interfaces' own networks are always there and need no entry. A route that
// has no interface of this stack is ignored: the lab's validation has refused it.
func (s *Stack) SetRoutes(routes []Route) {
	s.routes = s.routes[:0]
	s.redirects.forgetAll()
	s.setRoutes6(routes)
	for _, r := range routes {
		if r.Ifc == nil || r.Ifc.stack != s || !r.Dst.IsValid() || !r.Dst.Addr().Is4() {
			continue
		}
		e := tableEntry{dst: num4(r.Dst.Masked().Addr()), mask: prefixMask(r.Dst.Bits()), ifc: r.Ifc}
		if r.Via.Is4() {
			e.via = num4(r.Via)
		}
		s.routes = append(s.routes, e)
	}
	// RFC 1812 5.2.4.3: the longest match wins; among equals the one that was given first.
	slices.SortStableFunc(s.routes, func(a, b tableEntry) int {
		switch {
		case a.mask > b.mask:
			return -1
		case a.mask < b.mask:
			return 1
		}
		return 0
	})
	s.gen++
}

// lookup finds the next hop to dst, which is not this stack's: on which interface, and which station there.
func (s *Stack) lookup(dst, flow uint32) (via uint32, ifc *Interface, ok bool) {
	if dst>>24 == 0 || dst>>24 == 127 || dst>>28 >= 14 {
		return 0, nil, false
	}
	var best uint32
	for _, i := range s.ifcs {
		if (dst^i.addr)&i.mask != 0 || (ok && i.mask <= best) {
			continue
		}
		if i.isBroadcast(dst) {
			return 0, nil, false // RFC 2644: by default directed broadcasts are not forwarded
		}
		via, ifc, best, ok = dst, i, i.mask, true
	}
	for k := range s.routes {
		r := &s.routes[k]
		if (dst^r.dst)&r.mask != 0 {
			continue
		}
		if ok && best >= r.mask {
			break
		}
		if r.via != 0 {
			return r.via, r.ifc, true
		}
		return dst, r.ifc, true
	}
	if ok || s.router == nil {
		return via, ifc, ok
	}
	hop, out, found := s.router.Lookup(addr4(dst), flow)
	if !found || out == nil {
		return 0, nil, false
	}
	if hop.Is4() {
		return num4(hop), out, true
	}
	return dst, out, true
}

// route is a next hop that was found before: what a connection keeps instead of looking its peer up for every segment.
// It stays valid over table changes; output looks it up again.
type route struct {
	src, dst uint32 // own address and the peer's
	flow     uint32
	gen      uint32 // of the stack when it was looked up
	ifc      *Interface
	nb       *neighbour   // nil: the stack itself
	six      *route6      // what is IPv6's; nil: IPv4, whose addresses are src and dst
	via      *sourceRoute // dst is the first router of it; nil: none
	chosen   bool         // src is what a sender to dst carries that asks for no source
}

// routeSlots is how many routes the stack remembers for its own datagrams; connections keep theirs.
const routeSlots = 64

// route finds the way from src (zero: the address of the outgoing interface) to dst. flow chooses among routes of equal
// cost; flowHash makes it. The route is shared: its holder changes nothing in it. The error is ErrNoRoute or
// ErrBadAddress.
func (s *Stack) route(src, dst netip.Addr, flow uint32) (*route, error) {
	var from uint32
	if dst.Is6() && !dst.Is4In6() {
		return s.routeTo6(src, dst, flow)
	}
	if src.Is4() && !src.IsUnspecified() {
		from = num4(src)
		if !s.isLocal(from) {
			return nil, ErrBadAddress
		}
	} else if src.IsValid() && !src.IsUnspecified() {
		return nil, ErrBadAddress
	}
	if !dst.Is4() {
		return nil, ErrBadAddress
	}
	return s.route4(from, num4(dst), flow)
}

// routeFor is the way that a connection's segments take.
func (s *Stack) routeFor(t *tuple, flow uint32) (*route, error) {
	if src := uint32(t.local.lo); t.local.is4() && t.remote.is4() && s.isLocal(src) {
		return s.route4(src, uint32(t.remote.lo), flow)
	}
	return s.route(t.local.netip(), t.remote.netip(), flow)
}

func (s *Stack) route4(src, dst, flow uint32) (*route, error) {
	if s.router == nil {
		flow = 0 // the table has no routes of equal cost
	}
	slot := &s.cache[mix32(dst^flow, src)%routeSlots]
	// A route asked for without a source has the source that was found for it: it may be in the slot of either.
	if r := *slot; r != nil && r.dst == dst && r.flow == flow && (r.src == src || src == 0 && r.chosen) && r.gen == s.gen {
		return r, nil
	}
	r := &route{src: src, dst: dst, flow: flow}
	if err := s.resolve(r); err != nil {
		return nil, err
	}
	if src == 0 { // both slots have one route
		own := &s.cache[mix32(dst^flow, r.src)%routeSlots]
		if c := *own; c != nil && c.gen == r.gen && c.src == r.src && c.dst == dst && c.flow == flow {
			r = c
		}
		r.chosen, *own = true, r
	}
	*slot = r
	return r, nil
}

// resolve looks r's next hop up.
func (s *Stack) resolve(r *route) error {
	if r.six != nil {
		return s.resolve6(r)
	}
	r.chosen = false
	if s.isLocal(r.dst) {
		r.ifc, r.nb, r.gen = s.lo.ifc, nil, s.gen
		if r.src == 0 {
			r.src = r.dst
		}
		return nil
	}
	via, ifc, ok := s.firstHop(r.dst, r.flow)
	if !ok || r.src>>24 == 127 {
		return ErrNoRoute
	}
	nb := ifc.neighbour(via)
	if nb == nil {
		return ErrNoRoute
	}
	r.ifc, r.nb, r.gen = ifc, nb, s.gen
	if r.src == 0 {
		if ifc.addr == 0 {
			return ErrNoRoute // out of an interface without IPv4
		}
		r.src = ifc.addr
	}
	return nil
}

// source is the local address that datagrams on this route carry.
func (r *route) source() ipAddr {
	if r.six != nil {
		return r.six.src
	}
	return ipAddr4(r.src)
}

// confirm is TCP's word that the peer gets what is sent to it (RFC 4861 7.3.1).
func (r *route) confirm() {
	if n := r.nb; n != nil && n.six {
		n.confirm()
	}
}

// ipLen is the length of the IP header of datagrams on this route.
func (r *route) ipLen() int {
	if r.six != nil {
		return wire.IPv6Len
	}
	return wire.IPv4MinLen
}

// defaultMSS is the MSS of a peer that announces none.
func (r *route) defaultMSS() uint16 {
	if r.six != nil {
		return defaultMSS6
	}
	return defaultMSS
}

// mtu is the largest datagram, IP header included, that leaves on this route in one piece.
func (r *route) mtu() int {
	if r.six != nil {
		return r.six.mtu
	}
	return r.ifc.mtu
}

// isLocal reports whether a is an address of this stack.
func (s *Stack) isLocal(a uint32) bool { return slices.Contains(s.addrs, a) || a>>24 == 127 }

// flowHash names a connection's flow for the choice among routes of equal cost.
func (s *Stack) flowHash(t *tuple) uint32 {
	return s.flowOf(t.local.flow(), t.remote.flow(), uint32(t.localPort)<<16|uint32(t.remotePort), uint32(wire.ProtoTCP))
}

// flow is an address as a flow's hash takes it: IPv4's 32 bits.
func (a ipAddr) flow() uint32 {
	if a.is4() {
		return uint32(a.lo)
	}
	return a.fold()
}

// flowOf hashes a flow with the stack's own key, so that routers in a row choose independently.
func (s *Stack) flowOf(src, dst, ports, proto uint32) uint32 {
	h := (uint64(src)<<32 | uint64(dst)) ^ s.flowKey
	h *= 0x9e3779b97f4a7c15
	h ^= h>>29 ^ (uint64(ports)<<8 | uint64(proto))
	h *= 0xbf58476d1ce4e5b9
	return uint32(h >> 32)
}

func mix32(a, b uint32) uint32 {
	return uint32((uint64(a)<<32 | uint64(b)) * 0x9e3779b97f4a7c15 >> 40)
}

// addr4 and num4 turn IPv4 addresses into the numbers that packets are handled by, and back.
func addr4(v uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

func num4(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
