package craft

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"labd.dev/tcpstack/wire"
)

// seenField is a field of a packet that was waited for.
type seenField uint8

const (
	seenSeq seenField = iota
	seenAck
	seenLen
	seenWin
	seenSport
	seenDport
	seenUrg
	seenTSVal
	seenTSEcr
	seenTTL
	seenID
	seenSrc // addresses
	seenDst
)

var seenNames = []string{"seq", "ack", "len", "win", "sport", "dport", "urg", "tsval", "tsecr", "ttl", "id", "src", "dst"}

func seenFieldOf(name string) (seenField, bool) {
	i := slices.Index(seenNames, name)
	return seenField(max(i, 0)), i >= 0
}

// quoted is how much of a packet an ICMP error quotes: the longest IPv4 header and 8 bytes (RFC 792).
const quoted = 60 + 8

// Seen is a packet that was waited for. Fields that it does not have are zero.
type Seen struct {
	num      [seenSrc]uint64
	Src, Dst netip.Addr
	quote    []byte
}

// Look reads a packet, its IP header first. b holds at least its headers, and n is its whole length. `len` is what TCP
// or UDP carries.
func Look(b []byte, n int) *Seen {
	s := &Seen{quote: slices.Clone(b[:min(len(b), quoted)])}
	if len(b) == 0 {
		return s
	}
	var proto wire.Protocol
	switch b[0] >> 4 {
	case 4:
		hl := int(b[0]&15) * 4
		if hl < wire.IPv4MinLen || len(b) < hl {
			return s
		}
		s.Src, s.Dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		s.num[seenTTL], s.num[seenID] = uint64(b[wire.IPv4OffTTL]), uint64(binary.BigEndian.Uint16(b[wire.IPv4OffID:]))
		n = min(n, int(binary.BigEndian.Uint16(b[wire.IPv4OffTotalLen:]))) - hl
		s.quote = slices.Clone(b[:min(len(b), hl+8)])
		if binary.BigEndian.Uint16(b[wire.IPv4OffFrag:])&0x1fff != 0 {
			return s // a later fragment has no ports
		}
		proto, b = wire.Protocol(b[wire.IPv4OffProto]), b[hl:]
	case 6:
		if len(b) < ip6HeaderLen {
			return s
		}
		s.Src, s.Dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		s.num[seenTTL] = uint64(b[7])
		n = min(n-ip6HeaderLen, int(binary.BigEndian.Uint16(b[4:])))
		proto, b = wire.Protocol(b[6]), b[ip6HeaderLen:]
	default:
		return s
	}
	s.transport(proto, b, n)
	return s
}

// transport reads the header that follows IP's; n is its length with what it carries.
func (s *Seen) transport(proto wire.Protocol, b []byte, n int) {
	switch {
	case proto == wire.ProtoUDP && len(b) >= 8:
		s.ports(b)
		s.num[seenLen] = uint64(max(n-8, 0))
	case proto == wire.ProtoTCP:
		h, err := wire.ParseTCP(b)
		if err != nil {
			return
		}
		s.ports(b)
		s.num[seenSeq], s.num[seenAck], s.num[seenWin], s.num[seenUrg] = uint64(h.Seq), uint64(h.Ack), uint64(h.Window), uint64(h.Urgent)
		s.num[seenLen] = uint64(max(n-h.HeaderLen, 0))
		var o wire.TCPOptions
		if wire.ParseTCPOptions(b[wire.TCPMinLen:h.HeaderLen], &o) == nil && o.HasTimestamps {
			s.num[seenTSVal], s.num[seenTSEcr] = uint64(o.TSVal), uint64(o.TSEcr)
		}
	}
}

func (s *Seen) ports(b []byte) {
	s.num[seenSport], s.num[seenDport] = uint64(binary.BigEndian.Uint16(b)), uint64(binary.BigEndian.Uint16(b[2:]))
}
