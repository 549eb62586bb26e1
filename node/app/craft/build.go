package craft

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"labd.dev/tcpstack/wire"
)

const (
	defaultTTL = 64
	// testProto: RFC 3692 2.1: protocol numbers 253 and 254 are for experimentation and testing.
	testProto    = 253
	ip6HeaderLen = 40
	protoICMPv6  = 58
	icmpEcho     = 8
	icmp6Echo    = 128
)

// builder makes one packet.
type builder struct {
	p        *Packet
	env      *Env
	src, dst netip.Addr
	v6       bool
}

// Build makes the packet, its IP header first, and tells its destination. Its errors are of type *Error.
func (p *Packet) Build(env *Env) ([]byte, netip.Addr, error) {
	b := &builder{p: p, env: env}
	if p.Waits() && env.Seen == nil {
		return nil, netip.Addr{}, &Error{"ip.dst", "the packet has fields of one that is waited for, and nothing is waited for", ""}
	}
	b.v6 = p.v6 || b.is6(ipDst) || b.is6(ipSrc)
	var err error
	if b.dst, err = b.addr(ipDst); err != nil {
		return nil, netip.Addr{}, err
	}
	b.v6 = b.v6 || b.dst.Is6() // a node that has no IPv4
	if b.src, err = b.source(); err != nil {
		return nil, netip.Addr{}, err
	}
	if b.src.Is6() != b.v6 || b.dst.Is6() != b.v6 || b.v6 && p.v4 {
		return nil, netip.Addr{}, &Error{"ip.src", fmt.Sprintf("%v to %v: both addresses and all fields are of IPv4, or of IPv6", b.src, b.dst), ""}
	}
	body, proto, err := b.transport()
	if err != nil {
		return nil, netip.Addr{}, err
	}
	proto = uint8(b.num(ipProto, uint64(proto)))
	var packet []byte
	if b.v6 {
		packet = b.ip6(proto, body)
	} else {
		packet = b.ip4(proto, body)
	}
	if len(packet) > MaxData {
		return nil, netip.Addr{}, &Error{"size", fmt.Sprintf("the packet has %d bytes; the longest has %d", len(packet), MaxData), ""}
	}
	return packet, b.dst, nil
}

// num is the value of a numeric field, cut to the bits that its place has.
func (b *builder) num(k int, otherwise uint64) uint64 {
	v := &b.p.values[k]
	if !v.given {
		return otherwise
	}
	return b.sum(v.sum)
}

func (b *builder) sum(terms []term) uint64 {
	var s uint64
	for _, t := range terms {
		n := t.n
		switch t.kind {
		case termIndex:
			n *= b.env.I
		case termRand:
			n *= b.env.Draw()
		case termSeen:
			n *= b.env.Seen.num[t.field]
		}
		if t.minus {
			n = -n
		}
		s += n
	}
	return s
}

func (b *builder) source() (netip.Addr, error) {
	if b.p.values[ipSrc].given {
		return b.addr(ipSrc)
	}
	a, ok := b.env.Source(b.dst)
	if !ok {
		return a, &Error{"ip.dst", fmt.Sprintf("no way to %v", b.dst), ""}
	}
	return a, nil
}

func (b *builder) addr(k int) (netip.Addr, error) {
	v := &b.p.values[k]
	switch {
	case v.prefix.IsValid():
		return b.within(v.prefix), nil
	case v.seen && v.from == seenSrc:
		return b.env.Seen.Src, nil
	case v.seen:
		return b.env.Seen.Dst, nil
	}
	a, ok := b.env.Resolve(v.name, b.v6)
	if !ok {
		return a, &Error{keys[k].Name, fmt.Sprintf("%s: neither a node nor an address", clip(v.name)), ""}
	}
	return a, nil
}

// is6 says whether a field holds an IPv6 address, without a node's name being looked up: the names follow.
func (b *builder) is6(k int) bool {
	v := &b.p.values[k]
	switch {
	case !v.given:
		return false
	case v.prefix.IsValid():
		return v.prefix.Addr().Is6()
	case v.seen:
		return b.env.Seen.Src.Is6()
	}
	a, err := netip.ParseAddr(v.name)
	return err == nil && a.Is6()
}

// within draws an address of a prefix.
func (b *builder) within(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().AsSlice()
	var dice [16]byte
	binary.BigEndian.PutUint64(dice[:], b.env.Draw())
	binary.BigEndian.PutUint64(dice[8:], b.env.Draw())
	for bit := p.Bits(); bit < len(a)*8; bit++ {
		a[bit/8] |= dice[bit/8] & (0x80 >> (bit % 8))
	}
	addr, _ := netip.AddrFromSlice(a)
	return addr
}

// payload is what the packet carries.
func (b *builder) payload() []byte {
	p := b.p.values[data].bytes
	if b.p.values[hexData].given {
		p = b.p.values[hexData].bytes
	}
	if !b.p.values[size].given {
		return p
	}
	out := make([]byte, uint16(b.num(size, 0)))
	for i := range out {
		if len(p) > 0 {
			out[i] = p[i%len(p)]
		}
	}
	return out
}

func (b *builder) transport() (body []byte, proto uint8, err error) {
	switch b.p.layer {
	case layerTCP:
		return b.tcp(), uint8(wire.ProtoTCP), nil
	case layerUDP:
		return b.udp(), uint8(wire.ProtoUDP), nil
	case layerICMP:
		return b.icmp()
	}
	return b.payload(), testProto, nil
}

func (b *builder) tcp() []byte {
	opts := b.p.values[tcpOptions].opts
	n := optionsLen(opts)
	body := append(make([]byte, wire.TCPMinLen, wire.TCPMinLen+n), make([]byte, n)...)
	h := wire.TCP{
		SrcPort: uint16(b.num(tcpSport, 0)), DstPort: uint16(b.num(tcpDport, 0)), Seq: uint32(b.num(tcpSeq, 0)), Ack: uint32(b.num(tcpAck, 0)),
		HeaderLen: wire.TCPMinLen + n, Flags: wire.TCPFlags(b.num(tcpFlags, 0)), Window: uint16(b.num(tcpWin, 0xffff)), Urgent: uint16(b.num(tcpUrg, 0)),
	}
	h.Put(body)
	body[wire.TCPOffDataOffset] = uint8(b.num(tcpOffset, uint64(h.HeaderLen/4))) << 4
	b.putOptions(body[wire.TCPMinLen:wire.TCPMinLen], opts)
	body = append(body, b.payload()...)
	b.checksum(body, wire.TCPOffChecksum, tcpChecksum, uint8(wire.ProtoTCP))
	return body
}

// putOptions writes the options to out, whose capacity holds them.
func (b *builder) putOptions(out []byte, opts []option) {
	for _, o := range opts {
		if o.bare {
			out = append(out, o.kind)
			continue
		}
		out = append(out, o.kind, uint8(2+len(o.bytes)+o.widen*len(o.nums)))
		out = append(out, o.bytes...)
		for _, sum := range o.nums {
			n := b.sum(sum)
			for i := o.widen - 1; i >= 0; i-- {
				out = append(out, uint8(n>>(8*i)))
			}
		}
	}
}

const udpHeaderLen, udpOffChecksum = 8, 6

func (b *builder) udp() []byte {
	body := append(make([]byte, udpHeaderLen), b.payload()...)
	binary.BigEndian.PutUint16(body, uint16(b.num(udpSport, 0)))
	binary.BigEndian.PutUint16(body[2:], uint16(b.num(udpDport, 0)))
	binary.BigEndian.PutUint16(body[4:], uint16(b.num(udpLength, uint64(len(body)))))
	b.checksum(body, udpOffChecksum, udpChecksum, uint8(wire.ProtoUDP))
	if !b.p.values[udpChecksum].given && body[6]|body[7] == 0 {
		// RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
		body[6], body[7] = 0xff, 0xff
	}
	return body
}

const icmpHeaderLen, icmpOffChecksum = 8, 2

func (b *builder) icmp() ([]byte, uint8, error) {
	proto, kind := uint8(wire.ProtoICMP), uint64(icmpEcho)
	if b.v6 {
		proto, kind = protoICMPv6, icmp6Echo
	}
	quote, err := b.quote()
	if err != nil {
		return nil, 0, err
	}
	body := append(append(make([]byte, icmpHeaderLen), quote...), b.payload()...)
	body[0], body[1] = uint8(b.num(icmpType, kind)), uint8(b.num(icmpCode, 0))
	rest := b.num(icmpID, 0)<<16&0xffff0000 | b.num(icmpSeq, 0)&0xffff
	// RFC 1191 4: the MTU lies in the low 16 bits, RFC 4443 3.2: in all 32.
	rest |= b.num(icmpMTU, 0)
	binary.BigEndian.PutUint32(body[4:], uint32(b.num(icmpRest, rest)))
	b.checksum(body, icmpOffChecksum, icmpChecksum, proto)
	return body, proto, nil
}

// quote is the packet that an ICMP error is about, as far as it is quoted.
func (b *builder) quote() ([]byte, error) {
	v := &b.p.values
	if b.num(quoteSeen, 0)&1 != 0 {
		if b.env.Seen == nil {
			return nil, &Error{"quote.seen", "nothing was waited for", ""}
		}
		return b.env.Seen.quote, nil
	}
	if !v[quoteDst].given {
		return nil, nil
	}
	inner := &builder{p: b.p, env: b.env, src: b.dst, v6: b.v6}
	var err error
	if inner.dst, err = b.addr(quoteDst); err == nil && v[quoteSrc].given {
		inner.src, err = b.addr(quoteSrc)
	}
	if err != nil {
		return nil, err
	}
	if inner.src.Is6() != b.v6 || inner.dst.Is6() != b.v6 {
		return nil, &Error{"quote.dst", "the packet quoted is of the same version of IP as the one that quotes", ""}
	}
	var ports [8]byte
	binary.BigEndian.PutUint16(ports[:], uint16(b.num(quoteSport, 0)))
	binary.BigEndian.PutUint16(ports[2:], uint16(b.num(quoteDport, 0)))
	binary.BigEndian.PutUint32(ports[4:], uint32(b.num(quoteSeq, 0)))
	proto := uint8(b.num(quoteProto, uint64(wire.ProtoTCP)))
	honest := &builder{p: new(Packet), env: b.env, src: inner.src, dst: inner.dst, v6: b.v6}
	if b.v6 {
		return honest.ip6(proto, ports[:]), nil
	}
	return honest.ip4(proto, ports[:]), nil
}

// checksum fills in the checksum of a transport header unless one was given.
func (b *builder) checksum(body []byte, at, key int, proto uint8) {
	sum := uint32(wire.Sum(body))
	if proto != uint8(wire.ProtoICMP) {
		// RFC 9293 3.1 and RFC 8200 8.1: the pseudo-header.
		var pseudo [40]byte
		n := copy(pseudo[:], b.src.AsSlice())
		n += copy(pseudo[n:], b.dst.AsSlice())
		binary.BigEndian.PutUint32(pseudo[n:], uint32(len(body)))
		pseudo[n+7] = proto
		sum += uint32(wire.Sum(pseudo[:n+8]))
	}
	sum = sum>>16 + sum&0xffff
	right := ^uint16(sum>>16 + sum)
	binary.BigEndian.PutUint16(body[at:], uint16(b.num(key, uint64(right))))
}

func (b *builder) ip4(proto uint8, body []byte) []byte {
	opts := b.p.values[ipOptions].bytes
	hl := wire.IPv4MinLen + (min(len(opts), wire.TCPMaxOptionsLen)+3)&^3
	h := make([]byte, hl, hl+len(body))
	h[0] = uint8(b.num(ipVersion, 4))<<4 | uint8(b.num(ipIHL, uint64(hl/4)))&15
	h[1] = uint8(b.num(ipTOS, 0))
	binary.BigEndian.PutUint16(h[wire.IPv4OffTotalLen:], uint16(b.num(ipLength, uint64(hl+len(body)))))
	binary.BigEndian.PutUint16(h[wire.IPv4OffID:], uint16(b.num(ipID, 0)))
	frag := b.num(ipOffset, 0)&0x1fff | b.num(ipDF, 0)&1<<14 | b.num(ipMF, 0)&1<<13
	binary.BigEndian.PutUint16(h[wire.IPv4OffFrag:], uint16(frag))
	h[wire.IPv4OffTTL], h[wire.IPv4OffProto] = uint8(b.num(ipTTL, defaultTTL)), proto
	copy(h[12:], b.src.AsSlice())
	copy(h[16:], b.dst.AsSlice())
	copy(h[wire.IPv4MinLen:], opts)
	binary.BigEndian.PutUint16(h[wire.IPv4OffChecksum:], uint16(b.num(ipChecksum, uint64(^wire.Sum(h)))))
	return append(h, body...)
}

func (b *builder) ip6(proto uint8, body []byte) []byte {
	ext := b.p.values[ip6Ext].bytes
	h := make([]byte, ip6HeaderLen, ip6HeaderLen+len(ext)+len(body))
	first := uint32(b.num(ip6Version, 6))<<28 | uint32(uint8(b.num(ipTOS, 0)))<<20 | uint32(b.num(ip6Flow, 0))&0xfffff
	binary.BigEndian.PutUint32(h, first)
	binary.BigEndian.PutUint16(h[4:], uint16(b.num(ip6Length, uint64(len(ext)+len(body)))))
	h[6], h[7] = proto, uint8(b.num(ipTTL, defaultTTL))
	copy(h[8:], b.src.AsSlice())
	copy(h[24:], b.dst.AsSlice())
	return append(append(h, ext...), body...)
}
