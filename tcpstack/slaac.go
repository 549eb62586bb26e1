package tcpstack

import (
	"time"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// A host's side of router discovery (RFC 4861 6.3) and stateless address autoconfiguration (RFC 4862 5.5).

const (
	// maxSolicitDelay, solicitInterval and maxSolicits are RFC 4861 10's MAX_RTR_SOLICITATION_DELAY,
	// RTR_SOLICITATION_INTERVAL and MAX_RTR_SOLICITATIONS.
	maxSolicitDelay = sim.Second
	solicitInterval = 4 * sim.Second
	maxSolicits     = 3
	// maxDefaultRouters and maxOnLink bound what a forged advertisement fills (Linux: accept_ra_rt_info_max_plen has no such
	// bound; RFC 6104's rogue advertisements are why there should be one).
	maxDefaultRouters = 8
	maxOnLink         = 16
	// maxAutoAddresses bounds the addresses of an interface (Linux: net.ipv6.conf.default.max_addresses).
	maxAutoAddresses = 16
	// twoHours: RFC 4862 5.5.3 (e): an advertisement that nobody has authenticated shortens no lifetime below it.
	twoHours = 7200 * sim.Second
)

// slaac is what a host has learned of the routers on a link.
type slaac struct {
	x        *interface6
	routers  []defaultRouter // in the order in which they were heard of
	prefixes []onLinkPrefix
	solicits int       // sent so far
	heard    bool      // a router
	timer    sim.Timer // of the next solicitation, or of the first lifetime that ends
}

// defaultRouter is an entry of the Default Router List (RFC 4861 5.1).
type defaultRouter struct {
	addr  ipAddr
	until sim.Time
}

// onLinkPrefix is an entry of the Prefix List.
type onLinkPrefix struct {
	net   ipAddr
	bits  int
	until sim.Time
}

func newSLAAC(x *interface6) *slaac {
	h := &slaac{x: x}
	h.timer.H = h
	return h
}

func (h *slaac) stop() { h.x.ifc.stack.loop.Stop(&h.timer) }

// begin asks for routers, once the link-local address may be used. RFC 4861 6.3.7's random delay has passed before the
// address was checked.
func (h *slaac) begin() { h.Fire(h.x.ifc.stack.loop.Now()) }

// Fire sends a router solicitation while none has answered, or takes out what has expired.
func (h *slaac) Fire(now sim.Time) {
	if !h.heard && h.solicits < maxSolicits {
		h.solicit(now)
		return
	}
	h.expire(now)
}

// solicit: RFC 4861 6.3.7: "a host SHOULD transmit up to MAX_RTR_SOLICITATIONS Router Solicitation messages, each separated
// by at least RTR_SOLICITATION_INTERVAL seconds."
func (h *slaac) solicit(now sim.Time) {
	i := h.x.ifc
	s := i.stack
	h.solicits++
	src, ok := h.x.linkLocal()
	o := wire.NDPOptions{HasSource: ok, SourceMAC: i.cfg.MAC}
	if !ok { // 4.1: the option "MUST NOT be included if the Source Address is the unspecified address"
		src, o = ipAddr{}, wire.NDPOptions{}
	}
	s.count[cNDPRouterSolicitsSent]++
	i.sendND(src, allRouters, groupMAC(allRouters), wire.RouterSolicitLen+o.Len(), func(b []byte) { wire.PutRouterSolicit(b, &o) })
	if h.solicits < maxSolicits {
		s.loop.Arm(&h.timer, &s.id.Src, now+solicitInterval)
	}
}

// expire takes out routers and prefixes whose lifetime is over, and waits for the next.
func (h *slaac) expire(now sim.Time) {
	s := h.x.ifc.stack
	next := sim.Never
	routers, prefixes := h.routers[:0], h.prefixes[:0]
	for _, r := range h.routers {
		if r.until > now {
			routers = append(routers, r)
			next = min(next, r.until)
		}
	}
	for _, p := range h.prefixes {
		if p.until > now {
			prefixes = append(prefixes, p)
			next = min(next, p.until)
		}
	}
	h.routers, h.prefixes = routers, prefixes
	s.gen++
	s.loop.Stop(&h.timer)
	if next != sim.Never {
		s.loop.Arm(&h.timer, &s.id.Src, next)
	}
}

// routerAdvertisement is RFC 4861 6.3.4.
func (m *ndpMessage) routerAdvertisement() bool {
	ra, err := wire.ParseRouterAdvert(m.b)
	// 6.1.2: "IP Source Address is a link-local address."
	if err != nil || !m.src.isLinkLocal() {
		return false
	}
	i, s := m.ifc, m.ifc.stack
	s.count[cNDPRouterAdvertsReceived]++
	h := i.six.host
	if h == nil {
		return true // routers and hosts with fixed addresses go by the lab's file
	}
	h.heard = true
	x, now := i.six, s.loop.Now()
	if ra.HopLimit != 0 {
		x.hopLimit = ra.HopLimit
	}
	if ra.Reachable != 0 {
		x.reachable = sim.Time(ra.Reachable)
	}
	if ra.Retry != 0 {
		x.retry = sim.Time(ra.Retry)
	}
	// RFC 4861 6.3.4: "If the MTU option is present, hosts SHOULD copy the option's value into LinkMTU so long as the value
	// is greater than or equal to the minimum link MTU [IPv6] and does not exceed the maximum LinkMTU value specified in
	// the link-type-specific document".
	if mtu := int(ra.Options.MTU); mtu >= wire.IPv6MinMTU && mtu <= i.mtu {
		x.mtu = mtu
	}
	h.router(m.src, now, ra.Lifetime)
	if n := i.heardFrom(m.src, &ra.Options); n != nil {
		n.router = true
	}
	for k := range ra.Options.NPrefixes {
		h.prefix(&ra.Options.Prefixes[k], now)
	}
	h.expire(now)
	return true
}

// router takes in a default router's lifetime. "If the Router Lifetime value is zero ... immediately time-out the entry".
func (h *slaac) router(addr ipAddr, now sim.Time, life time.Duration) {
	for k := range h.routers {
		if h.routers[k].addr == addr {
			h.routers[k].until = now + sim.Time(life)
			return
		}
	}
	if life > 0 && len(h.routers) < maxDefaultRouters {
		h.routers = append(h.routers, defaultRouter{addr, now + sim.Time(life)})
	}
}

// routerGone: RFC 4861 7.2.5: where "the IsRouter flag changes from TRUE to FALSE ..., the node MUST remove that router from
// the Default Router List".
func (h *slaac) routerGone(addr ipAddr) {
	now := h.x.ifc.stack.loop.Now()
	h.router(addr, now, 0)
	h.expire(now)
}

// prefix takes in a prefix information option: RFC 4861 6.3.4 for what is on link, RFC 4862 5.5.3 for addresses.
func (h *slaac) prefix(p *wire.PrefixInfo, now sim.Time) {
	net := ipAddrOf(p.Prefix.Addr()).masked(p.Prefix.Bits())
	if net.isLinkLocal() || net.isMulticast() || p.Preferred > p.Valid {
		return // "ignore the Prefix Information option"
	}
	until := ends(now, p.Valid)
	if p.OnLink {
		h.setOnLink(net, p.Prefix.Bits(), until, now)
	}
	// 5.5.3 (d): "the sum of the prefix length and interface identifier length" must be 128.
	if !p.Auto || p.Prefix.Bits() != 64 {
		return
	}
	for _, a := range h.x.addrs {
		if a.auto && a.addr.within(net, 64) {
			a.refresh(ends(now, p.Preferred), until, now)
			return
		}
	}
	if p.Valid == 0 || len(h.x.addrs) >= maxAutoAddresses {
		return
	}
	h.x.add(&address6{addr: ipAddr{net.hi, interfaceID(h.x.ifc.cfg.MAC)}, bits: 64, auto: true,
		preferred: ends(now, p.Preferred), valid: until}, true)
}

// ends is when a lifetime that was advertised ends.
func ends(now sim.Time, life time.Duration) sim.Time {
	if life == wire.InfiniteLifetime {
		return sim.Never
	}
	return now + sim.Time(life)
}

func (h *slaac) setOnLink(net ipAddr, bits int, until, now sim.Time) {
	for k := range h.prefixes {
		if p := &h.prefixes[k]; p.net == net && p.bits == bits {
			p.until = until
			return
		}
	}
	if until > now && len(h.prefixes) < maxOnLink {
		h.prefixes = append(h.prefixes, onLinkPrefix{net, bits, until})
	}
}

// onLink is the length of the longest prefix on the link that an address is in; -1: none.
func (h *slaac) onLink(a ipAddr) int {
	best, now := -1, h.x.ifc.stack.loop.Now()
	for _, p := range h.prefixes {
		if p.bits > best && p.until > now && a.within(p.net, p.bits) {
			best = p.bits
		}
	}
	return best
}

// refresh takes in new lifetimes of an address. RFC 4862 5.5.3 (e): "If the received Valid Lifetime is greater than 2 hours
// or greater than RemainingLifetime, set the valid lifetime of the corresponding address to the advertised Valid Lifetime.
// If RemainingLifetime is less than or equal to 2 hours, ignore the Prefix Information option with regards to the valid
// lifetime ... Otherwise, reset the valid lifetime of the corresponding address to 2 hours."
func (a *address6) refresh(preferred, valid, now sim.Time) {
	a.preferred = preferred
	switch {
	case valid > now+twoHours || valid > a.valid:
		a.valid = valid
	case a.valid > now+twoHours:
		a.valid = now + twoHours
	}
	if a.usable() {
		a.age()
	}
}

// age brings an address's state up to date with its lifetimes, and waits for the next change.
func (a *address6) age() {
	s := a.ifc.stack
	now := s.loop.Now()
	s.loop.Stop(&a.timer)
	switch {
	case now >= a.valid:
		x := a.ifc.six
		for k := range x.addrs {
			if x.addrs[k] == a {
				x.addrs = append(x.addrs[:k:k], x.addrs[k+1:]...)
				break
			}
		}
		a.setState(AddressInvalid)
		return
	case now >= a.preferred:
		a.setState(AddressDeprecated)
	default:
		a.setState(AddressPreferred)
	}
	next := a.valid
	if a.preferred > now {
		next = min(next, a.preferred)
	}
	if next != sim.Never {
		s.loop.Arm(&a.timer, &s.id.Src, next)
	}
}

// defaultRouter is a host's way to what is not on its links. RFC 4861 6.3.6: "Routers that are reachable or probably
// reachable (i.e., in any state other than INCOMPLETE) SHOULD be preferred over routers whose reachability is unknown or
// suspect".
func (s *Stack) defaultRouter(ipAddr) (via ipAddr, ifc *Interface, ok bool) {
	for _, i := range s.ifcs {
		if i.six == nil || i.six.host == nil {
			continue
		}
		for _, r := range i.six.host.routers {
			n := i.neighbours[r.addr]
			if n != nil && n.state != NeighbourFailed && n.state != NeighbourIncomplete {
				return r.addr, i, true
			}
			if !ok {
				via, ifc, ok = r.addr, i, true
			}
		}
	}
	return via, ifc, ok
}
