package packetdrill

import (
	"net/netip"

	"labd.dev/tcpstack"
)

// Values of IP_MTU_DISCOVER.
const (
	pmtudiscDont = 0
	pmtudiscWant = 1
	pmtudiscDo   = 2
)

var solIPOptions = []sockopt{
	{level: solIP, symbol: "IP_TOS", set: (*socket).setTOS, get: (*socket).getTOS},
	{level: solIP, symbol: "IP_TTL", set: (*socket).setTTL, get: (*socket).getTTL},
	{level: solIP, symbol: "IP_MTU_DISCOVER", set: (*socket).setPMTUDiscovery, get: func(s *socket) optval { return intval(s.opts.pmtudisc) }},
	{level: solIP, symbol: "IP_MTU", get: (*socket).getMTU},
	{level: solIP, symbol: "IP_RECVERR", set: (*socket).setRecverr, get: func(s *socket) optval { return boolval(s.opts.recverr) }},
	{level: solIP, symbol: "IP_FREEBIND", harmless: "bind takes any address"},
	{level: solIP, symbol: "IP_BIND_ADDRESS_NO_PORT", harmless: "ports are found by connect"},
	{level: solIP, symbol: "IP_NODEFRAG", harmless: "it is for raw sockets"},
	{level: solIP, symbol: "IP_TRANSPARENT", why: "the stack takes packets for its own addresses only"},
	{level: solIP, symbol: "IP_PKTINFO", why: "received packets' headers are not kept"},
	{level: solIP, symbol: "IP_RECVTTL", why: "received packets' headers are not kept"},
	{level: solIP, symbol: "IP_RECVTOS", why: "received packets' headers are not kept"},
	{level: solIP, symbol: "IP_RECVOPTS", why: "received packets' headers are not kept"},
	{level: solIP, symbol: "IP_OPTIONS", set: (*socket).setIPOptions},
	{level: solIP, symbol: "IP_MINTTL", why: "the stack does not check TTLs"},
	{level: solIP, symbol: "IP_HDRINCL", why: "there are no raw sockets"},
}

var solIPv6Options = []sockopt{
	{level: solIPv6, symbol: "IPV6_TCLASS", set: (*socket).setTOS, get: (*socket).getTOS},
	{level: solIPv6, symbol: "IPV6_UNICAST_HOPS", set: (*socket).setTTL, get: (*socket).getTTL},
	{level: solIPv6, symbol: "IPV6_HOPLIMIT", set: (*socket).setTTL, get: (*socket).getTTL},
	{level: solIPv6, symbol: "IPV6_MTU_DISCOVER", set: (*socket).setPMTUDiscovery, get: func(s *socket) optval { return intval(s.opts.pmtudisc) }},
	{level: solIPv6, symbol: "IPV6_MTU", get: (*socket).getMTU},
	{level: solIPv6, symbol: "IPV6_RECVERR", set: (*socket).setRecverr, get: func(s *socket) optval { return boolval(s.opts.recverr) }},
	{level: solIPv6, symbol: "IPV6_V6ONLY", harmless: "a script speaks one version of IP"},
	{level: solIPv6, symbol: "IPV6_FREEBIND", harmless: "bind takes any address"},
	{level: solIPv6, symbol: "IPV6_AUTOFLOWLABEL", harmless: "flow labels are compared only where a script names one"},
	{level: solIPv6, symbol: "IPV6_FLOWINFO_SEND", why: "flow labels cannot be chosen"},
	{level: solIPv6, symbol: "IPV6_FLOWLABEL_MGR", why: "flow labels cannot be chosen"},
	{level: solIPv6, symbol: "IPV6_TRANSPARENT", why: "the stack takes packets for its own addresses only"},
	{level: solIPv6, symbol: "IPV6_RECVPKTINFO", why: "received packets' headers are not kept"},
	{level: solIPv6, symbol: "IPV6_RECVHOPLIMIT", why: "received packets' headers are not kept"},
	{level: solIPv6, symbol: "IPV6_RECVTCLASS", why: "received packets' headers are not kept"},
	{level: solIPv6, symbol: "IPV6_MINHOPCOUNT", why: "the stack does not check hop limits"},
}

var solUDPOptions = []sockopt{
	{level: solUDP, symbol: "UDP_CORK", why: "datagrams are not joined"},
	{level: solUDP, symbol: "UDP_ENCAP", why: "the stack has no tunnels"},
	{level: solUDP, symbol: "UDP_SEGMENT", why: "datagrams are not cut"},
	{level: solUDP, symbol: "UDP_GRO", why: "datagrams are not joined"},
	{level: solUDP, symbol: "UDP_NO_CHECK6_TX", why: "checksums are always made"},
	{level: solUDP, symbol: "UDP_NO_CHECK6_RX", why: "checksums are always made"},
}

// setTOS: of TCP the two ECN bits are the stack's own (__ip_sock_set_tos).
func (s *socket) setTOS(v optval) Errno {
	if v.n < -1 || v.n > 255 {
		return EINVAL
	}
	tos := uint32(max(v.n, 0))
	if s.datagram == nil {
		tos &^= 3
	}
	return s.configure(tcpstack.TCPConfig{TOS: &tos})
}

func (s *socket) getTOS() optval { return count(s.config().TOS, 0) }

// setTTL: -1 is the default again.
func (s *socket) setTTL(v optval) Errno {
	switch {
	case v.n != -1 && (v.n < 1 || v.n > 255):
		return EINVAL
	case v.n == -1:
		s.opts.ttl = 0
	default:
		s.opts.ttl = v.n
	}
	return s.configure(tcpstack.TCPConfig{TTL: new(uint32(s.opts.ttl))})
}

func (s *socket) getTTL() optval {
	if s.opts.ttl != 0 {
		return intval(s.opts.ttl)
	}
	return intval(s.m.sysctls.number("net.ipv4.ip_default_ttl"))
}

// setIPOptions: of IP's options the stack sends source routes, whose first address is where packets go first. No bytes mean
// none.
func (s *socket) setIPOptions(v optval) Errno {
	route := ""
	switch b := v.b; {
	case !v.isBytes:
		return EINVAL
	case len(b) == 0:
		return errnoSkip // what the listener or an earlier call has set stays
	case b[0] != 131 && b[0] != 137:
		return errnoSkip
	case len(b) < 7 || int(b[1]) > len(b) || b[1]%4 != 3 || b[2] != 4:
		return EINVAL
	default:
		if route = "loose"; b[0] == 137 {
			route = "strict"
		}
		for at := 3; at < int(b[1]); at += 4 {
			route += " " + netip.AddrFrom4([4]byte(b[at:])).String()
		}
	}
	return s.configure(tcpstack.TCPConfig{SourceRoute: route})
}

func (s *socket) setPMTUDiscovery(v optval) Errno {
	switch {
	case v.n < 0 || v.n > 5:
		return EINVAL
	case v.n > pmtudiscDo:
		return errnoSkip // IP_PMTUDISC_PROBE and its like: DF without belief in ICMP
	}
	s.opts.pmtudisc = v.n
	return s.configure(tcpstack.TCPConfig{PMTUDiscovery: new(v.n != pmtudiscDont)})
}

func (s *socket) getMTU() optval {
	if s.conn == nil {
		return failval(ENOTCONN)
	}
	return intval(int64(s.conn.Info().PMTU))
}

// setRecverr: a connection tells of ICMP errors that do not end it at once, as its pending error (tcp_v4_err).
func (s *socket) setRecverr(v optval) Errno {
	s.opts.recverr = v.on()
	return 0
}
