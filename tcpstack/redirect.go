package tcpstack

import (
	"slices"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Redirects: a router that sends a packet on over the link that it came from tells the sender of the better first hop. A
// host believes it for one destination, and only of the router that it sends such packets to. Whoever is on the link can
// forge that all the same: acceptRedirects off is the defence.

const (
	// maxRedirects bounds what a host remembers; the oldest goes first.
	maxRedirects = 256
	// redirectLifetime is how long a redirect is followed (Linux: ip_rt_gc_timeout).
	redirectLifetime = 300 * sim.Second
	// A sender that does not listen hears ever less, and nothing any more until it has been silent (Linux:
	// ip_rt_redirect_load, ip_rt_redirect_number, ip_rt_redirect_silence).
	redirectLoad    = 20 * sim.Millisecond
	redirectNumber  = 9
	redirectSilence = redirectLoad << 10
	// icmpRedirectHost is code 1. RFC 1812 5.2.7.2 lets routers send no redirects for networks, and nobody routes by type of
	// service here.
	icmpRedirectHost = 1
	// icmpRedirectCodes are known to receivers: RFC 1122 3.2.2.2 has the network's treated as the host's.
	icmpRedirectCodes = 4
)

// redirected is a destination whose first hop is not what the table says.
type redirected struct {
	dst, via ipAddr
	ifc      *Interface
	until    sim.Time
}

// redirects are those that a host follows, the oldest first.
type redirects struct {
	stack *Stack
	list  []redirected
	timer sim.Timer
}

func (r *redirects) init(s *Stack) { r.stack, r.timer.H = s, r }

// hop is the first hop to dst on ifc's link that a router has told of; false: none has.
func (r *redirects) hop(dst ipAddr, ifc *Interface) (ipAddr, bool) {
	for i := range r.list {
		if e := &r.list[i]; e.dst == dst && e.ifc == ifc {
			return e.via, true
		}
	}
	return ipAddr{}, false
}

// take remembers a redirect.
func (r *redirects) take(dst, via ipAddr, ifc *Interface) {
	s := r.stack
	r.list = slices.DeleteFunc(r.list, func(e redirected) bool { return e.dst == dst })
	if len(r.list) == maxRedirects {
		r.list = slices.Delete(r.list, 0, 1)
	}
	r.list = append(r.list, redirected{dst, via, ifc, s.loop.Now() + redirectLifetime})
	s.loop.Arm(&r.timer, &s.id.Src, r.list[0].until)
	s.gen++
}

// Fire ends what is older than its lifetime.
func (r *redirects) Fire(now sim.Time) {
	r.forget(func(e redirected) bool { return e.until <= now })
	if len(r.list) > 0 {
		r.stack.loop.Arm(&r.timer, &r.stack.id.Src, r.list[0].until)
	}
}

// forget drops some; routes are then looked up anew.
func (r *redirects) forget(which func(redirected) bool) {
	if n := len(r.list); n > 0 {
		if r.list = slices.DeleteFunc(r.list, which); len(r.list) < n {
			r.stack.gen++
		}
		if len(r.list) == 0 {
			r.stack.loop.Stop(&r.timer)
		}
	}
}

// forgetAll: the routing table has changed, so that what routers said of the old one is void (Linux: fib_flush bumps
// rt_genid).
func (r *redirects) forgetAll() { r.forget(func(redirected) bool { return true }) }

// gone: a router that does not answer any more is no better way (RFC 4861 7.3.3; Linux: ipv4_negative_advice).
func (r *redirects) gone(n *neighbour) {
	r.forget(func(e redirected) bool { return e.ifc == n.ifc && e.via == n.addr })
}

// redirectReceived takes an ICMP redirect in: h is its IP header, m its ICMP header, quoted what was redirected.
//
// RFC 1122 3.2.2.2: "A Redirect message SHOULD be silently discarded if the new gateway address it specifies is not on the
// same connected (sub-) net through which the Redirect arrived ..., or if the source of the Redirect is not the current
// first-hop gateway for the specified destination".
func (s *Stack) redirectReceived(in *Interface, h, m, quoted []byte) {
	ip, err := wire.ParseIPv4(quoted)
	gateway, from := be32(m[4:]), be32(h[wire.IPv4OffSrc:])
	if s.cfg.IgnoreRedirects || s.cfg.Forwarding || m[1] >= icmpRedirectCodes || err != nil || !s.isLocal(num4(ip.Src)) ||
		(gateway^in.addr)&in.mask != 0 || in.isBroadcast(gateway) || gateway == from || s.isLocal(gateway) {
		s.count[cICMPRedirectsIgnored]++
		return
	}
	dst := num4(ip.Dst)
	via, ifc, ok := s.firstHop(dst, 0)
	if !ok || s.isLocal(dst) || ifc != in || via != from {
		s.count[cICMPRedirectsIgnored]++
		return
	}
	s.count[cICMPRedirectsTaken]++
	s.redirects.take(ipAddr4(dst), ipAddr4(gateway), in)
}

// firstHop is lookup with what routers have told.
func (s *Stack) firstHop(dst, flow uint32) (via uint32, ifc *Interface, ok bool) {
	if via, ifc, ok = s.lookup(dst, flow); ok && via != dst {
		if better, told := s.redirects.hop(ipAddr4(dst), ifc); told {
			via = uint32(better.lo)
		}
	}
	return via, ifc, ok
}

// redirect tells the sender of a datagram that goes on over the link that it came from of the next hop, if that and the
// sender are both on the link (RFC 1812 5.2.7.2; Linux: __mkroute_input, ip_rt_send_redirect).
func (s *Stack) redirect(in *Interface, f *sim.Frame, h []byte, nb *neighbour) {
	src := be32(h[wire.IPv4OffSrc:])
	if s.cfg.NoRedirects || (src^in.addr)&in.mask != 0 || in.isBroadcast(src) || !s.deservesError(f, false) {
		return
	}
	if n := in.neighbour(src); n == nil || !n.redirectDue() {
		return
	}
	s.count[cICMPRedirectsSent]++
	gateway := uint32(nb.addr.lo)
	s.sendICMPQuoting(f, wire.ICMP{Type: wire.ICMPRedirect, Code: icmpRedirectHost, ID: uint16(gateway >> 16), Seq: uint16(gateway)})
}

// redirectDue says whether a sender is told again.
func (n *neighbour) redirectDue() bool {
	now := n.ifc.stack.loop.Now()
	if n.redirects > 0 && now > n.redirectAt+redirectSilence {
		n.redirects = 0
	}
	if n.redirects >= redirectNumber {
		n.redirectAt = now
		return false
	}
	if n.redirects > 0 && now <= n.redirectAt+redirectLoad<<n.redirects {
		return false
	}
	n.redirectAt = now
	n.redirects++
	return true
}
