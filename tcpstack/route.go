package tcpstack

import "net/netip"

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
// the stack's own addresses and networks and its static routes. via is zero where dst is on ifc's link. Routes that
// share cost may be told apart by flow.
type Router interface {
	Lookup(dst netip.Addr, flow uint32) (via netip.Addr, ifc *Interface, ok bool)
}

// SetRouter installs r; cached routes are looked up anew.
func (s *Stack) SetRouter(r Router) {
	s.router = r
	s.gen++
}

// SetRoutes replaces the routing table. The interfaces' own networks are always there and need no entry.
func (s *Stack) SetRoutes(routes []Route) {
	s.routes = append([]Route(nil), routes...)
	s.gen++
}

// route is a next hop that was found before: what a connection keeps instead of looking its peer up for every segment.
// It stays valid over table changes; output looks it up again.
type route struct {
	src, dst uint32 // own address and the peer's
	flow     uint32
	gen      uint32
	ifc      *Interface
}

// route finds the way from src (zero: the address of the outgoing interface) to dst. flow chooses among routes of equal
// cost; flowHash makes it. The error is ErrNoRoute or ErrBadAddress.
func (s *Stack) route(src, dst netip.Addr, flow uint32) (*route, error) {
	return nil, ErrNoRoute
}

// source is the local address that datagrams on this route carry.
func (r *route) source() netip.Addr { return addr4(r.src) }

// mtu is the largest datagram, IP header included, that leaves on this route in one piece.
func (r *route) mtu() int { return r.ifc.cfg.MTU }
