package tcpstack

import (
	"net/netip"
	"slices"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// state6 is what a stack has more for IPv6.
type state6 struct {
	addrs    []ipAddr      // own addresses that may be used
	routes   []tableEntry6 // longest prefix first
	cache    [routeSlots]*route
	forwards forwardCache[ipAddr]
	paths    pathMTUs
	fragID   uint32     // of the last packet that was cut
	in       *Interface // that the packet being worked on came in at
	delays   sim.Stream
	delayed  uint64 // draws of delays
	mld      sim.Stream
	mldDrawn uint64
}

func (x *state6) init(s *Stack) {
	x.fragID = uint32(s.stream("ip6 id").Uint64(0))
	x.delays, x.mld = s.stream("ndp delay"), s.stream("mld delay")
}

// delay is a random time below d. RFC 4861 10 has hosts and routers wait so before they speak unasked, so that not all
// of a link speak at once.
func (x *state6) delay(d sim.Time) sim.Time {
	x.delayed++
	return sim.Time(x.delays.Below(x.delayed, uint64(d)))
}

// mldDelay is a random time below d until a report.
func (x *state6) mldDelay(d sim.Time) sim.Time {
	x.mldDrawn++
	return sim.Time(x.mld.Below(x.mldDrawn, uint64(d)))
}

// AddressState is how far an IPv6 address of an interface may be used (RFC 4862 2).
type AddressState uint8

// States of an address.
const (
	AddressTentative  AddressState = iota // being checked for duplicates
	AddressPreferred                      // in use
	AddressDeprecated                     // no longer chosen as a source of new connections
	AddressDuplicate                      // found to be another station's; not used
	AddressInvalid                        // its lifetime is over, or it was taken away
)

var addressStateNames = [...]string{"tentative", "preferred", "deprecated", "duplicate", "invalid"}

func (a AddressState) String() string { return nameOf(addressStateNames[:], uint8(a)) }

// Address is an IPv6 address of an interface.
type Address struct {
	Prefix netip.Prefix
	State  AddressState
	Auto   bool // by SLAAC
}

// address6 is an address of an interface.
type address6 struct {
	ifc              *Interface
	addr             ipAddr
	bits             int // of its network
	state            AddressState
	auto             bool     // by SLAAC
	preferred, valid sim.Time // to here; Never: for ever
	probes           uint8    // of duplicate address detection, still to be sent
	timer            sim.Timer
}

// interface6 is what an interface has more for IPv6.
type interface6 struct {
	ifc       *Interface
	addrs     []*address6 // the link-local one first
	mtu       int         // the link's, or less where a router says so
	hopLimit  uint8       // as a router says; 0: the stack's
	reachable sim.Time    // how long a neighbour is believed
	retry     sim.Time    // between solicitations

	host   *slaac       // what a host has learned of routers; nil without SLAAC
	router *advertiser  // nil: does not advertise
	mld    *mldListener // nil: reports no groups
}

// linkLocalBits is the length of the link-local prefix that addresses are made under (RFC 4291 2.5.6).
const linkLocalBits = 64

// startIPv6 brings IPv6 up on an interface. RFC 8200 5 wants an MTU of at least 1280; Linux has no IPv6 on less.
func (i *Interface) startIPv6() {
	if i.mtu < wire.IPv6MinMTU {
		return
	}
	s := i.stack
	x := &interface6{ifc: i, mtu: i.mtu, reachable: s.cfg.ARPTimeout, retry: s.cfg.ARPRetry}
	i.six = x
	x.add(&address6{addr: ipAddr{0xfe80 << 48, interfaceID(i.cfg.MAC)}, bits: linkLocalBits, preferred: sim.Never, valid: sim.Never}, s.cfg.SLAAC)
	for _, p := range i.cfg.Prefixes6 {
		x.add(&address6{addr: ipAddrOf(p.Addr()), bits: p.Bits(), preferred: sim.Never, valid: sim.Never}, false)
	}
	if s.cfg.SLAAC {
		x.host = newSLAAC(x)
	}
	if s.cfg.RouterAdvertisements {
		x.router = newAdvertiser(x)
	}
	if s.cfg.MLD && (s.cfg.SLAAC || s.cfg.RouterAdvertisements) {
		x.mld = newMLDListener(x)
		x.mld.refresh()
	}
}

// stopIPv6 ends timers and forgets all.
func (i *Interface) stopIPv6() {
	x := i.six
	if x == nil {
		return
	}
	for _, a := range x.addrs {
		i.stack.loop.Stop(&a.timer)
	}
	if x.host != nil {
		x.host.stop()
	}
	if x.router != nil {
		i.stack.loop.Stop(&x.router.timer)
	}
	if x.mld != nil {
		x.mld.stop()
	}
	i.forgetThose(func(n *neighbour) bool { return n.six }) // their timers count on i.six
	i.six = nil
}

// interfaceID is the identifier made of a hardware address. RFC 4291 appendix A: "insert two octets, with hexadecimal
// values of 0xFF and 0xFE ..., in the middle of the 48-bit MAC", and the universal/local bit is inverted.
func interfaceID(m wire.MAC) uint64 {
	return uint64(m[0]^2)<<56 | uint64(m[1])<<48 | uint64(m[2])<<40 | 0xfffe<<24 |
		uint64(m[3])<<16 | uint64(m[4])<<8 | uint64(m[5])
}

// SLAACAddress is the address that a station with a hardware address makes itself under a prefix of 64 bits.
func SLAACAddress(p netip.Prefix, mac wire.MAC) netip.Prefix {
	a := ipAddrOf(p.Addr())
	a.lo = interfaceID(mac)
	return netip.PrefixFrom(a.netip(), p.Bits())
}

// LinkLocal is the link-local address of a station with a hardware address.
func LinkLocal(mac wire.MAC) netip.Addr { return ipAddr{0xfe80 << 48, interfaceID(mac)}.netip() }

// add gives the interface an address, to be checked for duplicates first or not.
func (x *interface6) add(a *address6, check bool) {
	a.ifc = x.ifc
	a.timer.H = a
	x.addrs = append(x.addrs, a)
	s := x.ifc.stack
	if !check {
		a.state = AddressPreferred
		return // the lab file's, and made for good: no news
	}
	a.state, a.probes = AddressTentative, s.cfg.DADTransmits
	s.recordAddress(a)
	// RFC 4862 5.4.2: "the node SHOULD delay joining the solicited-node multicast address by a random delay between 0 and
	// MAX_RTR_SOLICITATION_DELAY if the address being checked is configured by a router advertisement message sent to a
	// multicast address", and so at the interface's start.
	s.loop.Arm(&a.timer, &s.id.Src, s.loop.Now()+1+s.six.delay(maxSolicitDelay))
}

func (a *address6) setState(to AddressState) {
	if a.state == to {
		return
	}
	a.state = to
	a.ifc.stack.recordAddress(a)
	a.ifc.stack.listAddrs6()
	a.ifc.stack.gen++
	if x := a.ifc.six; x != nil && x.mld != nil {
		x.mld.refresh()
		if a == x.addrs[0] && to == AddressPreferred {
			x.mld.again()
		}
	}
}

// find is the interface's address, in whatever state; nil if it has none such.
func (x *interface6) find(addr ipAddr) *address6 {
	for _, a := range x.addrs {
		if a.addr == addr {
			return a
		}
	}
	return nil
}

// usable reports whether packets may come from the address and to it.
func (a *address6) usable() bool { return a.state == AddressPreferred || a.state == AddressDeprecated }

// linkLocal is the interface's link-local address; false while it may not be used.
func (x *interface6) linkLocal() (ipAddr, bool) { return x.addrs[0].addr, x.addrs[0].usable() }

// listAddrs6 gathers the stack's own IPv6 addresses.
func (s *Stack) listAddrs6() {
	s.six.addrs = s.six.addrs[:0]
	for _, i := range s.ifcs {
		if i.six == nil {
			continue
		}
		for _, a := range i.six.addrs {
			if a.usable() {
				s.six.addrs = append(s.six.addrs, a.addr)
			}
		}
	}
}

// isLocal6 reports whether a is an address of this stack.
func (s *Stack) isLocal6(a ipAddr) bool { return slices.Contains(s.six.addrs, a) || a == loopback6 }

// joined reports whether the interface listens to an Ethernet group. A lab's switches flood groups.
func (i *Interface) joined(mac wire.MAC) bool {
	if i.six == nil || mac[0] != 0x33 || mac[1] != 0x33 {
		return false
	}
	low := be32(mac[2:])
	if low == 1 || low == 2 && i.stack.cfg.Forwarding { // all nodes, all routers (RFC 4291 2.7.1)
		return true
	}
	if low == uint32(allMLDRouters.lo) {
		return i.stack.cfg.Forwarding && i.six.mld != nil
	}
	for _, a := range i.six.addrs {
		if low == 0xff<<24|uint32(a.addr.lo)&0xffffff && a.state != AddressDuplicate {
			return true
		}
	}
	return false
}

// member is joined for the group's IPv6 address.
func (i *Interface) member(group ipAddr) bool {
	switch group {
	case allNodes, ipAddr{0xff01 << 48, 1}:
		return true
	case allRouters, ipAddr{0xff01 << 48, 2}, ipAddr{0xff05 << 48, 2}:
		return i.stack.cfg.Forwarding
	case allMLDRouters:
		return i.stack.cfg.Forwarding && i.six.mld != nil
	}
	for _, a := range i.six.addrs {
		if group == solicitedNode(a.addr) && a.state != AddressDuplicate {
			return true
		}
	}
	return false
}

// Addresses are the interface's IPv6 addresses, the link-local one first.
func (i *Interface) Addresses() []Address {
	if i.six == nil {
		return nil
	}
	var list []Address
	for _, a := range i.six.addrs {
		list = append(list, Address{netip.PrefixFrom(a.addr.netip(), a.bits), a.state, a.auto})
	}
	return list
}
