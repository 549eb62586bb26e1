package trace

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"labd.dev/tcpstack/wire"
)

// header is one protocol's part of a packet, field by field.
type header struct {
	name   string // "TCP header"
	offset int    // of its first byte in the frame
	size   int    // bytes
	fields []headerField
}

// headerField is one field of a header.
type headerField struct {
	name  string // "Source port"
	short string // what fits into a drawn box, if name does not
	bit   int    // from the start of the header
	bits  int
	value string // "49152"
	note  string // what it means: "64 hops at most"
	alone bool   // not drawn in the boxes: of options, a line each
}

// fieldReader takes a header apart from its first bit on.
type fieldReader struct {
	*header
	b   []byte
	bit int
}

// peek reads up to 64 bits as a number.
func (r *fieldReader) peek(bits int) (v uint64) {
	for i := r.bit; i < r.bit+bits; i++ {
		v = v<<1 | uint64(r.b[i/8]>>(7-i%8)&1)
	}
	return v
}

// field adds the next bits as a field whose value is printed by format.
func (r *fieldReader) field(bits int, name, short string, format func(uint64) (value, note string)) {
	value, note := format(r.peek(bits))
	r.fields = append(r.fields, headerField{name: name, short: short, bit: r.bit, bits: bits, value: value, note: note})
	r.bit += bits
}

func decimal(note string) func(uint64) (string, string) {
	return func(v uint64) (string, string) { return fmt.Sprint(v), note }
}

func hex(digits int, note string) func(uint64) (string, string) {
	return func(v uint64) (string, string) { return fmt.Sprintf("0x%0*x", digits, v), note }
}

func ipv4Value(v uint64) (string, string) {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(v))
	return netip.AddrFrom4(a).String(), ""
}

func macValue(v uint64) (string, string) {
	var m [8]byte
	binary.BigEndian.PutUint64(m[:], v)
	mac := wire.MAC(m[2:])
	if v == 1<<48-1 {
		return mac.String(), "everybody on the link"
	}
	return mac.String(), ""
}

// payloadPart is what follows the headers.
type payloadPart struct {
	offset, size int
}

// parseHeaders takes a frame apart: its headers, and where its payload lies. What is cut short or contradicts itself
// ends the headers with a remark.
func parseHeaders(frame []byte) (headers []header, payload payloadPart, remark string) {
	if len(frame) < 14 {
		return nil, payloadPart{0, len(frame)}, "too short for an Ethernet header"
	}
	eth := header{name: "Ethernet header", size: 14}
	r := &fieldReader{header: &eth, b: frame[:14]}
	r.field(48, "Destination address", "", macValue)
	r.field(48, "Source address", "", macValue)
	typ := uint16(r.peek(16))
	r.field(16, "EtherType", "", hex(4, map[uint16]string{0x0800: "IPv4", 0x0806: "ARP", 0x86dd: "IPv6"}[typ]))
	headers = append(headers, eth)
	rest := frame[14:]
	switch typ {
	case 0x0800:
		return parseIPv4(headers, frame, 14)
	case 0x86dd:
		return parseIPv6(headers, frame, 14)
	case 0x0806:
		if len(rest) < 28 {
			return headers, payloadPart{14, len(rest)}, "too short for ARP"
		}
		return append(headers, arpHeader(rest[:28])), payloadPart{42, len(rest) - 28}, ""
	}
	return headers, payloadPart{14, len(rest)}, ""
}

func arpHeader(b []byte) header {
	h := header{name: "ARP (RFC 826)", offset: 14, size: 28}
	r := &fieldReader{header: &h, b: b}
	r.field(16, "Hardware type", "", decimal("Ethernet is 1"))
	r.field(16, "Protocol type", "", hex(4, "IPv4 is 0x0800"))
	r.field(8, "Hardware length", "HW length", decimal("bytes"))
	r.field(8, "Protocol length", "Proto length", decimal("bytes"))
	r.field(16, "Operation", "", decimal(map[uint64]string{1: "request: who has it?", 2: "reply: I have it"}[r.peek(16)]))
	r.field(48, "Sender hardware address", "", macValue)
	r.field(32, "Sender protocol address", "", ipv4Value)
	r.field(48, "Target hardware address", "", macValue)
	r.field(32, "Target protocol address", "", ipv4Value)
	return h
}

func parseIPv4(headers []header, frame []byte, off int) ([]header, payloadPart, string) {
	b := frame[off:]
	if len(b) < 20 || b[0]>>4 != 4 || int(b[0]&15) < 5 || len(b) < int(b[0]&15)*4 {
		return headers, payloadPart{off, len(b)}, "no whole IPv4 header follows"
	}
	size := int(b[0]&15) * 4
	h := header{name: "IPv4 header (RFC 791)", offset: off, size: size}
	r := &fieldReader{header: &h, b: b}
	r.field(4, "Version", "", decimal(""))
	r.field(4, "Header length", "IHL", decimal(fmt.Sprintf("words of 4 bytes: %d bytes", size)))
	r.field(6, "Differentiated services", "DSCP", decimal(""))
	r.field(2, "Congestion notification", "ECN", decimal([]string{"not ECN-capable", "ECT(1)", "ECT(0)", "congestion experienced"}[r.peek(2)]))
	total := int(r.peek(16))
	r.field(16, "Total length", "", decimal("bytes, this header included"))
	r.field(16, "Identification", "", hex(4, "same in all fragments"))
	r.field(1, "Reserved", "0", decimal(""))
	r.field(1, "Don't fragment", "D", decimal("DF"))
	more := r.peek(1)
	r.field(1, "More fragments", "M", decimal("MF"))
	fragOff := r.peek(13)
	r.field(13, "Fragment offset", "", decimal("in units of 8 bytes"))
	r.field(8, "Time to live", "TTL", decimal("routers left to cross"))
	proto := wire.Protocol(r.peek(8))
	r.field(8, "Protocol", "", decimal(proto.String()))
	r.field(16, "Header checksum", "", hex(4, checksumNote(wire.Sum(b[:size]))))
	r.field(32, "Source address", "", ipv4Value)
	r.field(32, "Destination address", "", ipv4Value)
	if size > 20 {
		h.fields = append(h.fields, headerField{name: "Options", bit: 160, bits: (size - 20) * 8, value: fmt.Sprintf("% x", b[20:size])})
	}
	headers = append(headers, h)
	end := min(len(b), max(total, size))
	p := payloadPart{off + size, end - size}
	if fragOff != 0 {
		return headers, p, "a later fragment: no transport header"
	}
	seg := b[size:end]
	pseudo, whole := uint16(0), total <= len(b) && more == 0
	if whole {
		pseudo = wire.PseudoSum([4]byte(b[12:16]), [4]byte(b[16:20]), proto, len(seg))
	}
	return parseTransport(headers, seg, off+size, proto, pseudo, whole)
}

// parseTransport takes the header after IP apart; whole says that the checksum can be verified.
func parseTransport(headers []header, b []byte, off int, proto wire.Protocol, pseudo uint16, whole bool) ([]header, payloadPart, string) {
	check := "not verified: not all of the packet is here"
	sum := func(start uint16) string {
		if !whole {
			return check
		}
		return checksumNote(wire.AddSums(start, wire.Sum(b)))
	}
	var h header
	switch {
	case proto == wire.ProtoTCP && len(b) >= 20 && b[12]>>4 >= 5 && int(b[12]>>4)*4 <= len(b):
		h = tcpHeader(b, off, sum(pseudo))
	case proto == wire.ProtoUDP && len(b) >= 8:
		h = udpHeader(b, off, sum(pseudo))
	case proto == wire.ProtoICMP && len(b) >= 8:
		h = icmpHeader(b, off, sum(0))
	case proto == wire.ProtoICMPv6 && len(b) >= 8:
		h = icmpv6Header(b, off, sum(pseudo))
	case proto == wire.ProtoTCP || proto == wire.ProtoUDP || proto == wire.ProtoICMP || proto == wire.ProtoICMPv6:
		return headers, payloadPart{off, len(b)}, fmt.Sprintf("no whole %s header follows", proto)
	default:
		return headers, payloadPart{off, len(b)}, ""
	}
	return append(headers, h), payloadPart{off + h.size, len(b) - h.size}, ""
}

// checksumNote judges a one's complement sum that covers its checksum. RFC 1071 1: "If the result is all 1 bits (-0 in
// 1's complement arithmetic), the check succeeds."
func checksumNote(sum uint16) string {
	if sum == 0xffff {
		return "correct"
	}
	return "wrong"
}

func tcpHeader(b []byte, off int, check string) header {
	size := int(b[12]>>4) * 4
	h := header{name: "TCP header (RFC 9293 3.1)", offset: off, size: size}
	r := &fieldReader{header: &h, b: b}
	r.field(16, "Source port", "", decimal(""))
	r.field(16, "Destination port", "", decimal(""))
	r.field(32, "Sequence number", "", decimal("of the first byte, or of SYN"))
	ackNote := "the next byte expected"
	if b[13]&flagACK == 0 {
		ackNote = "no meaning: ACK is not set"
	}
	r.field(32, "Acknowledgment number", "", decimal(ackNote))
	r.field(4, "Data offset", "Offs.", decimal(fmt.Sprintf("words of 4 bytes: %d bytes", size)))
	r.field(4, "Reserved", "Rsrvd", decimal(""))
	for _, f := range tcpFlagFields {
		note := ""
		if r.peek(1) == 1 {
			note = f.meaning
		}
		r.field(1, f.name, f.name[:1], decimal(note))
	}
	r.field(16, "Window", "", decimal("bytes, before scaling"))
	r.field(16, "Checksum", "", hex(4, check))
	r.field(16, "Urgent pointer", "", decimal(""))
	if size > 20 {
		h.fields = append(h.fields, headerField{name: "Options", bit: 160, bits: (size - 20) * 8, value: fmt.Sprintf("%d bytes", size-20)})
		h.fields = append(h.fields, tcpOptionFields(b[20:size])...)
	}
	return h
}

var tcpFlagFields = []struct{ name, meaning string }{
	{"CWR", "congestion window reduced"}, {"ECE", "the peer saw congestion"}, {"URG", "the urgent pointer counts"},
	{"ACK", "the acknowledgment number counts"}, {"PSH", "hand on what is there"}, {"RST", "the connection is reset"},
	{"SYN", "synchronize sequence numbers"}, {"FIN", "no more data from the sender"},
}

// tcpOptionFields lists the options of a TCP header, as far as they make sense.
func tcpOptionFields(b []byte) (fields []headerField) {
	add := func(at, size int, name, value string) {
		fields = append(fields, headerField{name: name, bit: (20 + at) * 8, bits: size * 8, value: value, alone: true})
	}
	for i := 0; i < len(b); {
		switch b[i] {
		case 0:
			add(i, len(b)-i, "End of options", "")
			return fields
		case 1:
			add(i, 1, "No-operation", "")
			i++
			continue
		}
		if i+1 >= len(b) || b[i+1] < 2 || i+int(b[i+1]) > len(b) {
			add(i, len(b)-i, "Broken option", fmt.Sprintf("% x", b[i:]))
			return fields
		}
		n := int(b[i+1])
		name, value := tcpOption(b[i], b[i+2:i+n])
		add(i, n, name, value)
		i += n
	}
	return fields
}

func tcpOption(kind byte, v []byte) (name, value string) {
	switch {
	case kind == 2 && len(v) == 2:
		return "Maximum segment size", fmt.Sprint(binary.BigEndian.Uint16(v))
	case kind == 3 && len(v) == 1:
		return "Window scale", fmt.Sprintf("%d (times %d)", v[0], uint64(1)<<min(v[0], 14))
	case kind == 4 && len(v) == 0:
		return "SACK permitted", ""
	case kind == 5 && len(v)%8 == 0:
		var blocks []string
		for ; len(v) > 0; v = v[8:] {
			blocks = append(blocks, fmt.Sprintf("%d-%d", binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:])))
		}
		return "SACK", strings.Join(blocks, " ")
	case kind == 8 && len(v) == 8:
		return "Timestamps", fmt.Sprintf("TSval %d TSecr %d", binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:]))
	}
	return fmt.Sprintf("Option %d", kind), fmt.Sprintf("% x", v)
}

func udpHeader(b []byte, off int, check string) header {
	h := header{name: "UDP header (RFC 768)", offset: off, size: 8}
	r := &fieldReader{header: &h, b: b}
	r.field(16, "Source port", "", decimal(""))
	r.field(16, "Destination port", "", decimal(""))
	r.field(16, "Length", "", decimal("bytes, this header included"))
	if r.bit = 48; r.peek(16) == 0 {
		check = "none was made"
	}
	r.field(16, "Checksum", "", hex(4, check))
	return h
}

var icmpTypes = map[uint64]string{0: "echo reply", 3: "destination unreachable", 8: "echo request", 11: "time exceeded",
	12: "parameter problem"}

func icmpHeader(b []byte, off int, check string) header {
	h := header{name: "ICMP header (RFC 792)", offset: off, size: 8}
	r := &fieldReader{header: &h, b: b}
	typ := r.peek(8)
	r.field(8, "Type", "", decimal(icmpTypes[typ]))
	r.field(8, "Code", "", decimal(""))
	r.field(16, "Checksum", "", hex(4, check))
	switch {
	case typ == 0 || typ == 8:
		r.field(16, "Identifier", "", decimal(""))
		r.field(16, "Sequence number", "", decimal(""))
	case typ == 3 && b[1] == 4: // RFC 1191 4
		r.field(16, "Unused", "", decimal(""))
		r.field(16, "Next-hop MTU", "", decimal("bytes"))
	default:
		r.field(32, "Unused", "", decimal(""))
	}
	return h
}
