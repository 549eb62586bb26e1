package tcpstack

import "math/bits"

// What IPv6 tells from an address.

var (
	loopback6  = ipAddr{0, 1}
	allNodes   = ipAddr{0xff02 << 48, 1} // RFC 4291 2.7.1
	allRouters = ipAddr{0xff02 << 48, 2}
)

// solicitedNode is the group that an address is asked for at. RFC 4291 2.7.1: "taking the low-order 24 bits of an address
// (unicast or anycast) and appending those bits to the prefix FF02:0:0:0:0:1:FF00::/104".
func solicitedNode(a ipAddr) ipAddr { return ipAddr{0xff02 << 48, 1<<32 | 0xff<<24 | a.lo&0xffffff} }

func (a ipAddr) isZero() bool      { return a == ipAddr{} }
func (a ipAddr) isMulticast() bool { return a.hi>>56 == 0xff }
func (a ipAddr) isLinkLocal() bool { return a.hi>>54 == 0xfe80>>6 }

// fold mixes an address to 32 bits, for hashes.
func (a ipAddr) fold() uint32 {
	return uint32((a.hi*0x9e3779b97f4a7c15 ^ a.lo*0xc2b2ae3d27d4eb4f) >> 32)
}

// masked is the address's first n bits.
func (a ipAddr) masked(n int) ipAddr {
	if n <= 64 {
		return ipAddr{a.hi &^ (^uint64(0) >> n), 0}
	}
	return ipAddr{a.hi, a.lo &^ (^uint64(0) >> (n - 64))}
}

// within reports whether the address is in a network.
func (a ipAddr) within(net ipAddr, n int) bool { return a.masked(n) == net.masked(n) }

// common is how many leading bits two addresses share.
func (a ipAddr) common(b ipAddr) int {
	if n := bits.LeadingZeros64(a.hi ^ b.hi); n < 64 {
		return n
	}
	return 64 + bits.LeadingZeros64(a.lo^b.lo)
}

// Scopes (RFC 4291 2.7), as RFC 6724 3.1 maps unicast addresses to them.
const (
	scopeLink   = 2
	scopeGlobal = 14
)

func (a ipAddr) scope() int {
	switch {
	case a.isMulticast():
		return int(a.hi >> 48 & 15)
	case a.isLinkLocal(), a == loopback6:
		return scopeLink
	}
	return scopeGlobal
}

// label is RFC 6724 2.1's default policy table, without what no lab has (6to4, Teredo, 6bone).
func (a ipAddr) label() int {
	switch {
	case a == loopback6:
		return 0
	case a.hi>>57 == 0xfc>>1: // fc00::/7, unique local
		return 13
	}
	return 1
}

// source6 chooses the address that packets to dst carry which leave on an interface; false if it has none yet.
//
// RFC 6724 5, of its rules those that apply to nodes that neither move nor have temporary addresses: 1 the same address,
// 2 the appropriate scope, 3 no deprecated one, 6 the same label, 8 the longest matching prefix.
func (x *interface6) source6(dst ipAddr) (ipAddr, bool) {
	var best *address6
	for _, a := range x.addrs {
		if a.usable() && (best == nil || a.betterFor(dst, best)) {
			best = a
		}
	}
	if best == nil || best.addr.isLinkLocal() && dst.scope() > scopeLink {
		return ipAddr{}, false // it would come to no answer
	}
	return best.addr, true
}

// betterFor compares two candidates.
func (a *address6) betterFor(dst ipAddr, b *address6) bool {
	if a.addr == dst || b.addr == dst {
		return a.addr == dst
	}
	if sa, sb := a.addr.scope(), b.addr.scope(); sa != sb {
		// "If Scope(SA) < Scope(SB): If Scope(SA) < Scope(D), then prefer SB and otherwise prefer SA."
		if sa < sb {
			return sa >= dst.scope()
		}
		return sb < dst.scope()
	}
	if a.state != b.state {
		return a.state == AddressPreferred
	}
	if la, lb := a.addr.label() == dst.label(), b.addr.label() == dst.label(); la != lb {
		return la
	}
	return min(a.addr.common(dst), a.bits) > min(b.addr.common(dst), b.bits)
}
