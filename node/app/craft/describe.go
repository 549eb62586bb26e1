package craft

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"labd.dev/tcpstack/wire"
)

// Describe says in a line what a packet is, roughly as tcpdump does.
func Describe(b []byte) string {
	s := Look(b, len(b))
	if !s.Src.IsValid() {
		return fmt.Sprintf("a malformed packet of %d bytes", len(b))
	}
	proto, body := wire.Protocol(b[wire.IPv4OffProto]), b[min(len(b), int(b[0]&15)*4):]
	if s.Src.Is6() {
		proto, body = wire.Protocol(b[6]), b[ip6HeaderLen:]
	}
	ends := func() string {
		return fmt.Sprintf("%v > %v", netip.AddrPortFrom(s.Src, uint16(s.num[seenSport])), netip.AddrPortFrom(s.Dst, uint16(s.num[seenDport])))
	}
	switch {
	case proto == wire.ProtoTCP && len(body) >= wire.TCPMinLen:
		f := wire.TCPFlags(body[wire.TCPOffFlags])
		text := fmt.Sprintf("%s [%v] seq %d", ends(), f, s.num[seenSeq])
		if f&wire.FlagACK != 0 {
			text += fmt.Sprintf(" ack %d", s.num[seenAck])
		}
		return fmt.Sprintf("%s win %d length %d", text, s.num[seenWin], s.num[seenLen])
	case proto == wire.ProtoUDP && len(body) >= udpHeaderLen:
		return fmt.Sprintf("%s UDP length %d", ends(), s.num[seenLen])
	case (proto == wire.ProtoICMP || proto == protoICMPv6) && len(body) >= icmpHeaderLen:
		return fmt.Sprintf("%v > %v ICMP type %d code %d %#08x", s.Src, s.Dst, body[0], body[1], binary.BigEndian.Uint32(body[4:]))
	}
	return fmt.Sprintf("%v > %v protocol %d, %d bytes", s.Src, s.Dst, proto, len(b))
}
