package packetdrill

import (
	"net/netip"

	"labd.dev/tcpstack/wire"
)

// savedSYNs are the headers of the last SYNs that have come, for TCP_SAVED_SYN: the link's are none, since what comes from
// a TUN device has none.
type savedSYNs struct{ list []savedSYN }

type savedSYN struct {
	from    netip.AddrPort
	headers []byte
}

// maxSavedSYNs bounds them: scripts have a few peers.
const maxSavedSYNs = 64

// note keeps the headers of a datagram that is a SYN.
func (l *savedSYNs) note(ip []byte) {
	n := headerBytes(ip)
	at, proto, src := ipv6Len, ip[6], ip[8:24]
	if ip[0]>>4 == 4 {
		at, proto, src = int(ip[0]&15)*4, ip[wire.IPv4OffProto], ip[wire.IPv4OffSrc:wire.IPv4OffSrc+4]
	}
	if proto != uint8(wire.ProtoTCP) || n > len(ip) {
		return
	}
	tcp := ip[at:n]
	if wire.TCPFlags(tcp[wire.TCPOffFlags])&(wire.FlagSYN|wire.FlagACK) != wire.FlagSYN {
		return
	}
	addr, _ := netip.AddrFromSlice(src)
	port := uint16(tcp[wire.TCPOffSrcPort])<<8 | uint16(tcp[wire.TCPOffSrcPort+1])
	if len(l.list) == maxSavedSYNs {
		l.list = l.list[1:]
	}
	l.list = append(l.list, savedSYN{netip.AddrPortFrom(addr, port), append([]byte(nil), ip[:n]...)})
}

// of is the last one of a peer, nil if there is none.
func (l *savedSYNs) of(peer netip.AddrPort) []byte {
	for i := len(l.list) - 1; i >= 0; i-- {
		if l.list[i].from == peer {
			return l.list[i].headers
		}
	}
	return nil
}
