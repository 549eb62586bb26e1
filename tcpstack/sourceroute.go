package tcpstack

import (
	"errors"
	"net/netip"
	"strings"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// IPv4 source routes: RFC 791 3.1, "Loose Source and Record Route" and "Strict Source and Record Route". The destination of
// the header is the next of the routers named; the option lists those after it, the last one being who the datagram is for.

const (
	optLooseRoute  = 131
	optStrictRoute = 137
	// Within the option: its kind, its length, the pointer to the next address (counted from 1), the addresses.
	routePointer   = 2
	routeAddresses = 3
	// maxRouteHops is how many addresses the 40 bytes of options have room for.
	maxRouteHops = (wire.IPv4MaxLen - wire.IPv4MinLen - routeAddresses) / 4
)

// givenRoute is the source route that an application asks for.
type givenRoute struct {
	strict bool
	hops   []uint32
}

var errSourceRoute = errors.New("tcpstack: a source route is loose or strict and one to nine IPv4 addresses")

func (r *resolver) sourceRoute(text string) *givenRoute {
	g, err := parseSourceRoute(text)
	if err != nil && r.err == nil {
		r.err = err
	}
	return g
}

// parseSourceRoute reads "loose 10.0.1.1 10.0.2.1"; nil if text is empty.
func parseSourceRoute(text string) (*givenRoute, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil, nil
	}
	if words[0] != "loose" && words[0] != "strict" || len(words) < 2 || len(words)-1 > maxRouteHops {
		return nil, errSourceRoute
	}
	g := &givenRoute{strict: words[0] == "strict"}
	for _, w := range words[1:] {
		a, err := netip.ParseAddr(w)
		if err != nil || !a.Is4() {
			return nil, errSourceRoute
		}
		g.hops = append(g.hops, num4(a))
	}
	return g, nil
}

// sourceRoute is the option as datagrams carry it, with its padding.
type sourceRoute struct {
	n      uint8 // of option, bytes
	option [wire.IPv4MaxLen - wire.IPv4MinLen]byte
}

// makeSourceRoute makes the option of datagrams whose header is sent to the first of hops, and that are for dst.
func makeSourceRoute(strict bool, hops []uint32, dst uint32) *sourceRoute {
	v := new(sourceRoute)
	o := v.option[:]
	if o[0] = optLooseRoute; strict {
		o[0] = optStrictRoute
	}
	o[routePointer] = routeAddresses + 1
	n := routeAddresses
	for _, a := range append(hops[1:len(hops):len(hops)], dst) {
		putAddr4(o[n:], a)
		n += 4
	}
	o[1] = uint8(n)
	v.n = uint8(n + 1) // one byte of padding, zero: end of the list
	return v
}

// routeVia is base's way with a source route through hops. base leads to the first of them.
func routeVia(base *route, strict bool, hops []uint32, dst uint32) *route {
	rt := *base
	rt.via = makeSourceRoute(strict, hops, dst)
	return &rt
}

// optionsLen is the length of the IP options of datagrams on this route.
func (r *route) optionsLen() int {
	if r.via == nil {
		return 0
	}
	return int(r.via.n)
}

// insert puts the option into a datagram behind its IP header of 20 bytes.
func (v *sourceRoute) insert(f *sim.Frame) {
	n := int(v.n)
	f.Append(n)
	h := f.Header()
	copy(h[wire.IPv4MinLen+n:], h[wire.IPv4MinLen:len(h)-n])
	copy(h[wire.IPv4MinLen:], v.option[:n])
	h[0] += uint8(n / 4)
}

// sourceRouteOption finds the source route in an IPv4 header. bad says that there is none that can be followed: of an
// illegal form, or a second one (RFC 1122 3.2.1.8: "An IP header containing more than one Source Route option MUST NOT
// be sent").
func sourceRouteOption(h []byte) (o []byte, bad bool) {
	rest := h[wire.IPv4MinLen : int(h[0]&15)*4]
	for len(rest) > 0 && rest[0] != 0 {
		if rest[0] == 1 {
			rest = rest[1:]
			continue
		}
		if len(rest) < 2 || rest[1] < 2 || int(rest[1]) > len(rest) {
			return o, o != nil // RFC 791's options are obsolete, and must not hurt
		}
		n := int(rest[1])
		if rest[0] == optLooseRoute || rest[0] == optStrictRoute {
			if o != nil || n < routeAddresses || (n-routeAddresses)%4 != 0 || rest[routePointer] < routeAddresses+1 || rest[routePointer]%4 != 0 {
				return nil, true
			}
			o = rest[:n]
		}
		rest = rest[n:]
	}
	return o, false
}

// routeCompleted says whether a datagram with this option has reached the last of its addresses.
func routeCompleted(o []byte) bool { return int(o[routePointer])+3 > len(o) }

// ultimateDestination is who an IPv4 datagram is for. RFC 9293 3.1, of the pseudo-header: "Destination Address: the IPv4
// destination address", which with a source route is the last of it (RFC 1122 4.2.3.8).
func ultimateDestination(h []byte) uint32 {
	if h[0]&15 > wire.IPv4MinLen/4 {
		if o, bad := sourceRouteOption(h); !bad && o != nil && !routeCompleted(o) {
			return be32(o[len(o)-4:])
		}
	}
	return be32(h[wire.IPv4OffDst:])
}

// sourceRouted sees to the source route of a datagram that has come in. It reports whether the datagram is still to be
// worked on: it is gone if it was sent on to the next address of the route, or dropped.
//
// RFC 1122 3.3.5 and RFC 7126 4.3: whether a node does this is a switch, and it is off (Linux: accept_source_route).
func (s *Stack) sourceRouted(f *sim.Frame, ihl int) bool {
	h := f.Header()
	o, bad := sourceRouteOption(h)
	switch {
	case !bad && o == nil:
		return true
	case bad, !s.cfg.AcceptSourceRoute:
		s.drop(f, dropSourceRoute)
		return false
	case !s.isLocal(be32(h[wire.IPv4OffDst:])):
		if o[0] == optStrictRoute {
			return s.sourceRouteFailed(f) // a router that the route does not name
		}
		return true
	}
	for !routeCompleted(o) {
		at := int(o[routePointer]) - 1
		next := be32(o[at:])
		if !s.isLocal(next) {
			return s.sendOnVia(f, h, ihl, o, next)
		}
		putAddr4(o[at:], be32(h[wire.IPv4OffDst:]))
		s.advanceRoute(f, h, ihl, o, next)
	}
	return true
}

// advanceRoute makes next the destination of a datagram; its place in the option has been written over.
func (s *Stack) advanceRoute(f *sim.Frame, h []byte, ihl int, o []byte, next uint32) {
	putAddr4(h[wire.IPv4OffDst:], next)
	o[routePointer] += 4
	if !s.trusted(f) {
		wire.SetIPv4Checksum(h[:ihl])
	}
}

// sendOnVia sends a datagram to the next address of its source route.
//
// RFC 791 3.1: what it replaces in the route is recorded: the address over which it leaves.
func (s *Stack) sendOnVia(f *sim.Frame, h []byte, ihl int, o []byte, next uint32) bool {
	if !s.cfg.Forwarding {
		s.drop(f, dropNotForwarding)
		return false
	}
	via, ifc, ok := s.lookup(next, s.flowOfDatagram(h, ihl))
	if !ok || o[0] == optStrictRoute && via != next {
		return s.sourceRouteFailed(f)
	}
	nb := ifc.neighbour(via)
	if nb == nil {
		s.drop(f, dropNeighbourTable)
		return false
	}
	putAddr4(o[o[routePointer]-1:], ifc.addr)
	s.advanceRoute(f, h, ihl, o, next)
	s.forward(f, h, nb)
	return false
}

// sourceRouteFailed: RFC 1812 5.3.13.4 and 4.3.3.1: code 5, "Source Route Failed", tells the sender.
func (s *Stack) sourceRouteFailed(f *sim.Frame) bool {
	s.sendICMPError(f, wire.ICMPUnreachable, wire.ICMPSourceRouteFailed, 0, false)
	s.drop(f, dropSourceRoute)
	return false
}

// returnHops turns the completed source route of a received datagram round; nil if it has none.
//
// RFC 1122 3.2.1.8: "This recorded route will be reversed and used to form a return source route for reply datagrams ...
// When a return source route is built, it MUST be correctly formed even if the recorded route included the source host".
func returnHops(h []byte) (hops []uint32, strict bool) {
	if h[0]>>4 != 4 || h[0]&15 == wire.IPv4MinLen/4 {
		return nil, false
	}
	o, bad := sourceRouteOption(h)
	if bad || o == nil || !routeCompleted(o) {
		return nil, false
	}
	src := be32(h[wire.IPv4OffSrc:])
	for at := len(o) - 4; at >= routeAddresses; at -= 4 {
		if a := be32(o[at:]); at > routeAddresses || a != src {
			hops = append(hops, a)
		}
	}
	return hops, o[0] == optStrictRoute
}

// routeBack is the way back to who sent a segment, by the source route that the segment came by, turned round.
//
// RFC 9293 3.9.2.1 (MUST-53): "When a TCP connection is OPENed passively and a packet arrives with a completed IP
// Source Route Option (containing a return route), TCP implementations MUST save the return route and use it for all
// segments sent on this connection."
func (s *Stack) routeBack(g *segment, t *tuple) (*route, error) {
	flow := s.flowHash(t)
	hops, strict := returnHops(g.f.Header())
	if hops == nil {
		return s.routeFor(t, flow)
	}
	base, err := s.route(t.local.netip(), addr4(hops[0]), flow)
	if err != nil {
		return nil, err
	}
	return routeVia(base, strict, hops, num4(t.remote.netip())), nil
}

// routeAsked is the way to remote by the source route that the application asks for, if it asks for one.
//
// RFC 9293 3.9.2.1 (MUST-51): "An application MUST be able to specify a source route when it actively opens a TCP
// connection".
func (s *Stack) routeAsked(src, remote netip.Addr, flow uint32, set *settings) (*route, error) {
	if set.sourceRoute == nil || !remote.Is4() {
		return s.route(src, remote, flow)
	}
	base, err := s.route(src, addr4(set.sourceRoute.hops[0]), flow)
	if err != nil {
		return nil, err
	}
	return routeVia(base, set.sourceRoute.strict, set.sourceRoute.hops, num4(remote)), nil
}

// routeArrives takes up the source route of a segment of a connection that the peer opened.
//
// RFC 9293 3.9.2.1: "If a different source route arrives in a later segment, the later definition SHOULD override the
// earlier one (SHLD-24)"; the application's own "MUST take precedence over a source route received in a datagram (MUST-52)".
func (c *Conn) routeArrives(g *segment) {
	if !c.passive || c.set.sourceRoute != nil {
		return
	}
	if hops, _ := returnHops(g.f.Header()); hops == nil {
		return
	}
	rt, err := c.stack.routeBack(g, &c.tuple)
	if err == nil && (c.rt.via == nil || *c.rt.via != *rt.via || c.rt.dst != rt.dst) {
		c.changeRoute(rt)
	}
}

// changeRoute sends what follows by another way.
func (c *Conn) changeRoute(rt *route) {
	c.rt = rt
	c.putTemplate()
	c.syncMSS()
}

// rerouteAsked follows a change of the application's source route.
func (c *Conn) rerouteAsked(was *settings) error {
	if was.from.SourceRoute == c.set.from.SourceRoute {
		return nil
	}
	rt, err := c.stack.routeAsked(c.local.netip(), c.remote.netip(), c.rt.flow, c.set)
	if err == nil {
		c.changeRoute(rt)
	}
	return err
}

func putAddr4(b []byte, a uint32) {
	b[0], b[1], b[2], b[3] = byte(a>>24), byte(a>>16), byte(a>>8), byte(a)
}
