package packetdrill

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Lengths and offsets of headers that are built and read here.
const (
	ipv6Len       = 40
	udpLen        = 8
	icmpLen       = 8
	quotedTCP     = 8   // bytes of the quoted packet's transport header (RFC 792)
	inboundTTL    = 255 // of inbound packets whose script names none, as the original's
	etherTypeIPv6 = wire.EtherType(0x86dd)
	protoICMPv6   = 58
)

// encodeTCP makes a datagram of a TCP packet whose header is in live numbers.
func encodeTCP(ip IPInfo, src, dst netip.AddrPort, t TCP, length int, key string) []byte {
	var opts []byte
	digestAt := -1
	for _, o := range t.Options {
		opts = append(opts, uint8(o.Kind))
		if o.Kind != OptEOL && o.Kind != OptNOP {
			opts = append(append(opts, uint8(o.wireLen())), o.Data...)
			if o.unsigned() {
				digestAt = wire.TCPMinLen + len(opts)
				opts = append(opts, make([]byte, md5.Size)...)
			}
		}
	}
	b := make([]byte, wire.TCPMinLen, wire.TCPMinLen+len(opts)+length)
	h := wire.TCP{SrcPort: src.Port(), DstPort: dst.Port(), Seq: t.Seq, Ack: t.Ack, HeaderLen: wire.TCPMinLen + len(opts),
		Flags: wire.TCPFlags(t.Flags), Window: t.Window, Urgent: t.Urgent}
	h.Put(b)
	if t.Flags&AE != 0 {
		b[wire.TCPOffDataOffset] |= 1
	}
	b = append(append(b, opts...), make([]byte, length)...)
	if digestAt >= 0 {
		copy(b[digestAt:], md5Signature(src.Addr(), dst.Addr(), b, len(opts), key))
	}
	return encodeIP(ip, src.Addr(), dst.Addr(), uint8(wire.ProtoTCP), b, wire.TCPOffChecksum)
}

// md5Signature is the digest of RFC 2385 2.0 of a segment with so many bytes of options: the pseudo-header, the header
// without its options and checksum, the data, the key.
func md5Signature(src, dst netip.Addr, segment []byte, options int, key string) []byte {
	b := append(src.AsSlice(), dst.AsSlice()...)
	if src.Is4() {
		b = append(b, 0, uint8(wire.ProtoTCP))
		b = binary.BigEndian.AppendUint16(b, uint16(len(segment)))
	} else {
		b = binary.BigEndian.AppendUint32(b, uint32(len(segment)))
		b = append(b, 0, 0, 0, uint8(wire.ProtoTCP))
	}
	b = append(b, segment[:wire.TCPOffChecksum]...)
	b = append(b, 0, 0)
	b = append(b, segment[wire.TCPOffChecksum+2:wire.TCPMinLen]...)
	b = append(b, segment[wire.TCPMinLen+options:]...)
	sum := md5.Sum(append(b, key...))
	return sum[:]
}

// encodeUDP makes a datagram of a UDP packet.
func encodeUDP(ip IPInfo, src, dst netip.AddrPort, length int) []byte {
	b := make([]byte, udpLen+length)
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return encodeIP(ip, src.Addr(), dst.Addr(), uint8(wire.ProtoUDP), b, 6)
}

// encodeIP puts an IP header before a transport packet and makes the checksum at
// sumAt true.
func encodeIP(ip IPInfo, src, dst netip.Addr, proto uint8, b []byte, sumAt int) []byte {
	ttl := ip.TTL
	if ttl == 0 {
		ttl = inboundTTL
	}
	b[sumAt], b[sumAt+1] = 0, 0
	sum := wire.Sum(b)
	if proto != uint8(wire.ProtoICMP) {
		sum = wire.AddSums(sum, pseudoSum(src, dst, proto, len(b)))
	}
	binary.BigEndian.PutUint16(b[sumAt:], ^sum)
	if proto == uint8(wire.ProtoUDP) && sum == 0xffff {
		binary.BigEndian.PutUint16(b[sumAt:], 0xffff) // RFC 768: 0 says that there is none
	}
	return append(ipHeader(ip, ttl, src, dst, proto, len(b)), b...)
}

// ipHeader is the IPv4 or IPv6 header of a packet with n bytes behind it.
func ipHeader(ip IPInfo, ttl uint8, src, dst netip.Addr, proto uint8, n int) []byte {
	if src.Is4() {
		h := make([]byte, wire.IPv4MinLen)
		wire.IPv4{TOS: ip.TOS, TotalLen: wire.IPv4MinLen + n, TTL: ttl, Protocol: wire.Protocol(proto), Src: src, Dst: dst}.Put(h)
		return h
	}
	h := make([]byte, 8, ipv6Len)
	binary.BigEndian.PutUint32(h, 6<<28|uint32(ip.TOS)<<20|ip.FlowLabel)
	binary.BigEndian.PutUint16(h[4:], uint16(n))
	h[6], h[7] = proto, ttl
	return append(append(h, src.AsSlice()...), dst.AsSlice()...)
}

// pseudoSum is the sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1).
func pseudoSum(src, dst netip.Addr, proto uint8, n int) uint16 {
	b := slices.Concat(src.AsSlice(), dst.AsSlice())
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	return wire.Sum(append(b, 0, 0, 0, proto))
}

// headerBytes is how many bytes of a datagram are headers.
func headerBytes(ip []byte) int {
	n, proto := ipv6Len, uint8(0)
	if ip[0]>>4 == 4 {
		n, proto = int(ip[0]&15)*4, ip[wire.IPv4OffProto]
	} else {
		proto = ip[6]
	}
	switch proto {
	case uint8(wire.ProtoTCP):
		return n + int(ip[n+wire.TCPOffDataOffset]>>4)*4
	case uint8(wire.ProtoUDP):
		return n + udpLen
	}
	return min(len(ip), n+icmpLen)
}

// decode reads a frame that the stack sent at the time at; nil for one that is no
// IP datagram (ARP).
func decode(frame []byte, at sim.Time) *livePacket {
	if len(frame) < wire.EthernetLen {
		return nil
	}
	l := &livePacket{Packet: Packet{Outbound: true}, at: at, size: int64(len(frame) - wire.EthernetLen)}
	ip := frame[wire.EthernetLen:]
	switch typ := wire.EtherType(binary.BigEndian.Uint16(frame[12:])); {
	case typ == wire.EtherTypeIPv4 && len(ip) >= wire.IPv4MinLen:
		h, err := wire.ParseIPv4(ip)
		if err != nil || h.TotalLen > len(ip) {
			l.problem = fmt.Sprintf("a bad IP header (%v)", err)
			return l
		}
		if wire.Sum(ip[:h.HeaderLen]) != 0xffff {
			l.problem = "bad outbound IP checksum"
		}
		l.IP = IPInfo{Check: TOSByte, TOS: h.TOS, TTL: h.TTL}
		if h.MF || h.Offset != 0 {
			l.problem = fmt.Sprintf("a fragment from byte %d on", h.Offset)
			l.src, l.dst = netip.AddrPortFrom(h.Src, 0), netip.AddrPortFrom(h.Dst, 0)
			return l
		}
		l.transport(h.Src, h.Dst, uint8(h.Protocol), ip[h.HeaderLen:h.TotalLen])
	case typ == etherTypeIPv6 && len(ip) >= ipv6Len:
		first := binary.BigEndian.Uint32(ip)
		l.IP = IPInfo{Check: TOSByte, TOS: uint8(first >> 20), FlowLabel: first & 0xfffff, TTL: ip[7]}
		n := min(len(ip), ipv6Len+int(binary.BigEndian.Uint16(ip[4:])))
		l.transport(netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:])), ip[6], ip[ipv6Len:n])
	default:
		return nil
	}
	return l
}

// transport reads what follows the IP header.
func (l *livePacket) transport(src, dst netip.Addr, proto uint8, b []byte) {
	sum := wire.AddSums(wire.Sum(b), pseudoSum(src, dst, proto, len(b)))
	l.src, l.dst = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)
	switch {
	case proto == uint8(wire.ProtoTCP):
		l.tcp(b)
	case proto == uint8(wire.ProtoUDP) && len(b) >= udpLen:
		l.Proto, l.payload = ProtoUDP, b[udpLen:]
		if binary.BigEndian.Uint16(b[6:]) == 0 {
			sum = 0xffff
		}
	case (proto == uint8(wire.ProtoICMP) || proto == protoICMPv6) && len(b) >= icmpLen:
		l.Proto = ProtoICMP
		l.ICMP = ICMP{Type: fmt.Sprintf("type_%d", b[0]), Code: fmt.Sprintf("code_%d", b[1]), MTU: -1}
		if proto == uint8(wire.ProtoICMP) {
			sum = wire.Sum(b)
		}
	default:
		l.problem = fmt.Sprintf("a packet of protocol %d", proto)
		return
	}
	if sum != 0xffff && l.problem == "" {
		l.problem = "bad outbound checksum"
	}
	l.Length = len(l.payload)
	if l.Proto != ProtoICMP && len(b) >= udpLen {
		l.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b))
		l.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:]))
	}
}

// tcp reads a TCP header and its options.
func (l *livePacket) tcp(b []byte) {
	h, err := wire.ParseTCP(b)
	if err != nil {
		l.problem = fmt.Sprintf("a bad TCP header (%v)", err)
		return
	}
	l.Proto, l.payload = ProtoTCP, b[h.HeaderLen:]
	l.TCP = TCP{Flags: TCPFlags(h.Flags), Seq: h.Seq, Ack: h.Ack, Window: h.Window, HasWin: true, Urgent: h.Urgent}
	l.TCP.HasAck = l.TCP.Flags&ACK != 0
	if b[wire.TCPOffDataOffset]&1 != 0 {
		l.TCP.Flags |= AE
	}
	l.reserved = b[wire.TCPOffDataOffset] >> 1 & 7
	for o := b[wire.TCPMinLen:h.HeaderLen]; len(o) > 0; {
		kind := OptionKind(o[0])
		if kind == OptEOL || kind == OptNOP {
			l.TCP.Options = append(l.TCP.Options, TCPOption{Kind: kind})
			o = o[1:]
			continue
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			l.problem = fmt.Sprintf("TCP option %d with a bad length", kind)
			return
		}
		l.TCP.Options = append(l.TCP.Options, TCPOption{kind, slices.Clone(o[2:o[1]])})
		o = o[o[1]:]
	}
}
