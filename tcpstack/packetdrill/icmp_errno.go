package packetdrill

import (
	"labd.dev/tcpstack"
	"labd.dev/tcpstack/wire"
)

// icmpErrno is icmp_err_convert: the error that an ICMP message stands for, and whether it ends what it is about.
func icmpErrno(e tcpstack.ICMPError) (errno Errno, hard bool) {
	if e.Six {
		return icmpv6Errno(e)
	}
	switch e.Type {
	case wire.ICMPUnreachable:
		switch e.Code {
		case 0: // net
			return ENETUNREACH, false
		case 1: // host
			return EHOSTUNREACH, false
		case 2: // protocol
			return ENOPROTOOPT, true
		case 3: // port
			return ECONNREFUSED, true
		case 4: // fragmentation needed
			return EMSGSIZE, false
		case 5: // source route failed
			return EOPNOTSUPP, false
		case 6: // net unknown
			return ENETUNREACH, true
		case 7: // host unknown
			return EHOSTDOWN, true
		case 9, 10, 11, 12: // prohibited, unreachable for the type of service
			return ENETUNREACH, e.Code < 11
		}
		return EHOSTUNREACH, true
	case wire.ICMPTimeExceeded:
		return EHOSTUNREACH, false
	}
	return EPROTO, true
}

// icmpv6Errno is icmpv6_err_convert.
func icmpv6Errno(e tcpstack.ICMPError) (errno Errno, hard bool) {
	switch e.Type6 {
	case wire.ICMPv6Unreachable:
		switch e.Code6 {
		case wire.ICMPv6NoRoute:
			return ENETUNREACH, false
		case wire.ICMPv6AdminProhibited, wire.ICMPv6PolicyFailed, wire.ICMPv6RejectRoute:
			return EACCES, true
		case wire.ICMPv6PortUnreachable:
			return ECONNREFUSED, true
		}
		return EHOSTUNREACH, false
	case wire.ICMPv6PacketTooBig:
		return EMSGSIZE, false
	case wire.ICMPv6TimeExceeded:
		return EHOSTUNREACH, false
	}
	return EPROTO, true
}

// icmpControl is the control message with which IP_RECVERR hands an ICMP error over.
func (s *socket) icmpControl(e tcpstack.ICMPError, errno Errno) control {
	x := &extendedFail{errno: int64(errno), origin: originICMP, kind: int64(e.Type), code: int64(e.Code), info: int64(e.MTU)}
	if e.Six {
		x.origin, x.kind, x.code = originICMP6, int64(e.Type6), int64(e.Code6)
	}
	if s.domain == afInet6 {
		return control{level: solIPv6, kind: ipv6Recverr, failed: x}
	}
	return control{level: solIP, kind: ipRecverr, failed: x}
}
