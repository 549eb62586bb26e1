package trace

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"labd.dev/tcpstack/wire"
)

// address128 adds an IPv6 address.
func (r *fieldReader) address128(name string) {
	at := r.bit / 8
	r.header.fields = append(r.header.fields, headerField{name: name, bit: r.bit, bits: 128,
		value: netip.AddrFrom16([16]byte(r.b[at:])).String()})
	r.bit += 128
}

func parseIPv6(headers []header, frame []byte, off int) ([]header, payloadPart, string) {
	b := frame[off:]
	if len(b) < wire.IPv6Len || b[0]>>4 != 6 {
		return headers, payloadPart{off, len(b)}, "no whole IPv6 header follows"
	}
	h := header{name: "IPv6 header (RFC 8200)", offset: off, size: wire.IPv6Len}
	r := &fieldReader{header: &h, b: b}
	r.field(4, "Version", "", decimal(""))
	r.field(6, "Differentiated services", "DSCP", decimal(""))
	r.field(2, "Congestion notification", "ECN", decimal([]string{"not ECN-capable", "ECT(1)", "ECT(0)", "congestion experienced"}[r.peek(2)]))
	r.field(20, "Flow label", "", hex(5, "the same in all packets of a flow"))
	total := wire.IPv6Len + int(r.peek(16))
	r.field(16, "Payload length", "", decimal("bytes after this header"))
	r.field(8, "Next header", "", decimal(nextHeaderName(wire.Protocol(r.peek(8)))))
	r.field(8, "Hop limit", "", decimal("routers left to cross"))
	r.address128("Source address")
	r.address128("Destination address")
	headers = append(headers, h)
	end := min(len(b), total)
	at, next := wire.IPv6Len, wire.Protocol(b[wire.IPv6OffNextHeader])
	for range wire.MaxExtensionHeaders {
		size, first, ok := 0, true, false
		headers, next, size, first, ok = extensionHeader(headers, b[:end], off, at, next)
		if !ok {
			break
		}
		at += size
		if !first {
			return headers, payloadPart{off + at, end - at}, "a later fragment: no transport header"
		}
	}
	seg := b[at:end]
	whole := total <= len(b) && wire.Protocol(b[wire.IPv6OffNextHeader]) != wire.ProtoFragment
	pseudo := uint16(0)
	if whole {
		pseudo = wire.PseudoSum6([16]byte(b[wire.IPv6OffSrc:]), [16]byte(b[wire.IPv6OffDst:]), next, len(seg))
	}
	return parseTransport(headers, seg, off+at, next, pseudo, whole)
}

// extensionHeader takes an extension header at b[at:] apart; ok is false if next is none, and first for a fragment that is
// not the first.
func extensionHeader(headers []header, b []byte, off, at int, next wire.Protocol) (_ []header, then wire.Protocol, size int, first, ok bool) {
	if len(b) < at+8 {
		return headers, next, 0, true, false
	}
	h := header{offset: off + at, size: 8 + 8*int(b[at+1])}
	switch next {
	case wire.ProtoFragment:
		h.name, h.size = "Fragment header (RFC 8200 4.5)", wire.FragmentHeaderLen
	case wire.ProtoHopByHop, wire.ProtoDestOptions, wire.ProtoRouting:
		h.name = map[wire.Protocol]string{wire.ProtoHopByHop: "Hop-by-hop options (RFC 8200 4.3)",
			wire.ProtoDestOptions: "Destination options (RFC 8200 4.6)", wire.ProtoRouting: "Routing header (RFC 8200 4.4)"}[next]
	default:
		return headers, next, 0, true, false
	}
	if len(b) < at+h.size {
		return headers, next, 0, true, false
	}
	r := &fieldReader{header: &h, b: b[at:]}
	then = wire.Protocol(b[at])
	r.field(8, "Next header", "", decimal(nextHeaderName(then)))
	first = true
	if next == wire.ProtoFragment {
		r.field(8, "Reserved", "", decimal(""))
		first = r.peek(13) == 0
		r.field(13, "Fragment offset", "", decimal("in units of 8 bytes"))
		r.field(2, "Reserved", "Res", decimal(""))
		r.field(1, "More fragments", "M", decimal(""))
		r.field(32, "Identification", "", hex(8, "same in all fragments"))
	} else {
		r.field(8, "Length", "", decimal(fmt.Sprintf("units of 8 bytes beyond the first: %d bytes", h.size)))
		h.fields = append(h.fields, headerField{name: "Content", bit: 16, bits: h.size*8 - 16, value: fmt.Sprintf("% x", b[at+2:at+h.size])})
	}
	return append(headers, h), then, h.size, first, true
}

func nextHeaderName(p wire.Protocol) string {
	switch p {
	case wire.ProtoHopByHop:
		return "hop-by-hop options"
	case wire.ProtoRouting:
		return "routing header"
	case wire.ProtoFragment:
		return "fragment header"
	case wire.ProtoDestOptions:
		return "destination options"
	case wire.ProtoNoNext:
		return "nothing"
	}
	return p.String()
}

var icmpv6Types = map[uint64]string{wire.ICMPv6Unreachable: "destination unreachable", wire.ICMPv6PacketTooBig: "packet too big",
	wire.ICMPv6TimeExceeded: "time exceeded", wire.ICMPv6ParamProblem: "parameter problem", wire.ICMPv6EchoRequest: "echo request",
	wire.ICMPv6EchoReply: "echo reply", wire.ICMPv6RouterSolicit: "router solicitation", wire.ICMPv6RouterAdvert: "router advertisement",
	wire.ICMPv6NeighSolicit: "neighbour solicitation: who has it?", wire.ICMPv6NeighAdvert: "neighbour advertisement: I have it",
	wire.ICMPv6Redirect: "redirect"}

func icmpv6Header(b []byte, off int, check string) header {
	h := header{name: "ICMPv6 header (RFC 4443)", offset: off, size: 8}
	r := &fieldReader{header: &h, b: b}
	typ := r.peek(8)
	r.field(8, "Type", "", decimal(icmpv6Types[typ]))
	r.field(8, "Code", "", decimal(""))
	r.field(16, "Checksum", "", hex(4, check))
	switch typ {
	case wire.ICMPv6EchoRequest, wire.ICMPv6EchoReply:
		r.field(16, "Identifier", "", decimal(""))
		r.field(16, "Sequence number", "", decimal(""))
	case wire.ICMPv6PacketTooBig:
		r.field(32, "MTU", "", decimal("bytes, of the next link"))
	case wire.ICMPv6ParamProblem:
		r.field(32, "Pointer", "", decimal("to the octet that is wrong"))
	case wire.ICMPv6NeighSolicit, wire.ICMPv6NeighAdvert:
		if len(b) < wire.NeighborLen {
			break
		}
		h.name, h.size = "Neighbour discovery (RFC 4861)", len(b)
		if typ == wire.ICMPv6NeighAdvert {
			r.field(1, "Router", "R", decimal(""))
			r.field(1, "Solicited", "S", decimal("an answer to a solicitation"))
			r.field(1, "Override", "O", decimal("replaces what was known"))
			r.field(29, "Reserved", "", decimal(""))
		} else {
			r.field(32, "Reserved", "", decimal(""))
		}
		r.address128("Target address")
		ndpOptionFields(&h, b, wire.NeighborLen)
	case wire.ICMPv6RouterAdvert:
		if len(b) < wire.RouterAdvertLen {
			break
		}
		h.name, h.size = "Router advertisement (RFC 4861 4.2)", len(b)
		r.field(8, "Hop limit", "", decimal("for hosts to use"))
		r.field(8, "Flags", "", hex(2, "managed, other, ..."))
		r.field(16, "Router lifetime", "", decimal("s"))
		r.field(32, "Reachable time", "", decimal("ms"))
		r.field(32, "Retransmission timer", "", decimal("ms"))
		ndpOptionFields(&h, b, wire.RouterAdvertLen)
	default:
		r.field(32, "Unused", "", decimal(""))
	}
	return h
}

// ndpOptionFields lists the options of a message of neighbour discovery, as far as they make sense.
func ndpOptionFields(h *header, b []byte, at int) {
	for at+8 <= len(b) && b[at+1] != 0 && at+8*int(b[at+1]) <= len(b) {
		o := b[at : at+8*int(b[at+1])]
		name, value := fmt.Sprintf("Option %d", o[0]), fmt.Sprintf("% x", o[2:])
		switch {
		case o[0] == 1 && len(o) == 8:
			name, value = "Source link-layer address", wire.MAC(o[2:8]).String()
		case o[0] == 2 && len(o) == 8:
			name, value = "Target link-layer address", wire.MAC(o[2:8]).String()
		case o[0] == 3 && len(o) == 32:
			name, value = "Prefix", fmt.Sprintf("%v/%d valid %d s preferred %d s", netip.AddrFrom16([16]byte(o[16:])), o[2],
				binary.BigEndian.Uint32(o[4:]), binary.BigEndian.Uint32(o[8:]))
		case o[0] == 5 && len(o) == 8:
			name, value = "MTU", fmt.Sprint(binary.BigEndian.Uint32(o[4:]))
		}
		h.fields = append(h.fields, headerField{name: name, bit: at * 8, bits: len(o) * 8, value: value, alone: true})
		at += len(o)
	}
}
