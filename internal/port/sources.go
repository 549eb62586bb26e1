package port

import (
	"net"
	"net/netip"
)

// sources counts open connections by where they come from. It holds no more than there are open connections.
type sources map[netip.Prefix]int

// sourceOf is what counts as one source: an IPv4 address, or an IPv6 /64 (RFC 4291 2.5.4: the least that a host is given), as
// within it a host picks addresses at will. Loopback and pipes are none: what is on the machine is bounded by all only.
func sourceOf(addr net.Addr) (netip.Prefix, bool) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if !ip.IsValid() || ip.IsLoopback() {
		return netip.Prefix{}, false
	}
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	prefix, err := ip.Prefix(bits)
	return prefix, err == nil
}

// add counts a connection unless its source has as many as one may have.
func (s sources) add(addr net.Addr, limit int) bool {
	source, counted := sourceOf(addr)
	if !counted {
		return true
	}
	if s[source] >= limit {
		return false
	}
	s[source]++
	return true
}

// remove counts a connection as closed.
func (s sources) remove(addr net.Addr) {
	source, counted := sourceOf(addr)
	if !counted {
		return
	}
	if s[source]--; s[source] <= 0 {
		delete(s, source)
	}
}
