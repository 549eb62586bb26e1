package packetdrill

import (
	"encoding/binary"
	"strconv"
	"strings"

	"labd.dev/tcpstack/wire"
)

// icmpTypes are the language's words for types of ICMP (RFC 792), and of ICMPv6
// (RFC 4443).
var icmpTypes = map[string]uint8{
	"echo_reply": 0, "unreachable": 3, "source_quench": 4, "redirect": 5, "echo_request": 8, "time_exceeded": 11,
	"parameter_problem": 12, "timestamp_request": 13, "timestamp_reply": 14, "information_request": 15,
	"information_reply": 16, "address_mask_request": 17, "address_mask_reply": 18,
}

var icmpv6Types = map[string]uint8{
	"unreachable": 1, "packet_too_big": 2, "time_exceeded": 3, "parameter_problem": 4, "echo_request": 128, "echo_reply": 129,
}

// Codes of "unreachable" and, for IPv6, of others.
var icmpUnreachable = map[string]uint8{
	"net_unreachable": 0, "host_unreachable": 1, "protocol_unreachable": 2, "port_unreachable": 3, "frag_needed": 4,
	"source_route_failed": 5, "net_unknown": 6, "host_unknown": 7, "source_host_isolated": 8, "net_prohibited": 9,
	"host_prohibited": 10, "net_unreachable_for_tos": 11, "host_unreachable_for_tos": 12, "packet_filtered": 13,
	"precedence_violation": 14, "precedence_cutoff": 15,
}

var icmpv6Codes = map[string]map[string]uint8{
	"unreachable": {"net_unreachable": 0, "no_route": 0, "admin_prohibited": 1, "not_neighbour": 2, "address_unreachable": 3,
		"port_unreachable": 4},
	"time_exceeded":     {"exceeded_hop_limit": 0, "exceeded_frag_time": 1},
	"parameter_problem": {"header_field": 0, "unknown_next_header": 1, "unknown_option": 2},
}

// numbers resolves the words for type and code.
func (c *ICMP) numbers(v6 bool) (typ, code uint8, err error) {
	types, codes := icmpTypes, map[string]uint8(nil)
	if v6 {
		types, codes = icmpv6Types, icmpv6Codes[c.Type]
	} else if c.Type == "unreachable" {
		codes = icmpUnreachable
	}
	typ, ok := word(c.Type, "type_", types)
	if !ok {
		return 0, 0, skipf("no ICMP type %q", c.Type)
	}
	if c.Code == "" {
		return typ, 0, nil
	}
	if code, ok = word(c.Code, "code_", codes); !ok {
		return 0, 0, skipf("no ICMP code %q of %q", c.Code, c.Type)
	}
	return typ, code, nil
}

// word looks a word up, or reads the number behind its prefix.
func word(s, prefix string, table map[string]uint8) (uint8, bool) {
	if n, ok := strings.CutPrefix(s, prefix); ok {
		v, err := strconv.ParseUint(n, 10, 8)
		return uint8(v), err == nil
	}
	v, ok := table[s]
	return v, ok
}

// encodeICMP makes an inbound ICMP message about a packet that the socket sent:
// it quotes that packet's IP header and the first bytes behind it.
func encodeICMP(p *Packet, c *conn) ([]byte, error) {
	src, dst := c.live.remote, c.live.local
	v6 := src.Addr().Is6()
	typ, code, err := p.ICMP.numbers(v6)
	if err != nil {
		return nil, err
	}
	b := make([]byte, icmpLen)
	b[0], b[1] = typ, code
	if p.ICMP.EchoID != 0 {
		binary.BigEndian.PutUint16(b[4:], p.ICMP.EchoID)
	}
	if err := p.ICMP.putMTU(b, typ, code, v6); err != nil {
		return nil, err
	}
	if p.ICMP.HasQuote {
		b = append(b, quotation(&p.ICMP, c)...)
	} else {
		b = append(b, make([]byte, max(0, p.ICMP.QuoteLength-icmpLen))...)
	}
	if v6 {
		return encodeIP(p.IP, src.Addr(), dst.Addr(), protoICMPv6, b, 2), nil
	}
	return encodeIP(p.IP, src.Addr(), dst.Addr(), uint8(wire.ProtoICMP), b, 2), nil
}

// putMTU writes the next hop's MTU (RFC 1191 4, RFC 8201 and RFC 4443 3.2).
func (c *ICMP) putMTU(b []byte, typ, code uint8, v6 bool) error {
	switch {
	case c.MTU < 0:
	case v6 && typ == 2:
		binary.BigEndian.PutUint32(b[4:], uint32(c.MTU))
	case !v6 && typ == 3 && code == 4 && c.MTU <= 0xffff:
		binary.BigEndian.PutUint16(b[6:], uint16(c.MTU))
	default:
		return skipf("an mtu belongs to unreachable frag_needed or packet_too_big")
	}
	return nil
}

// quotation is the packet that an ICMP message quotes.
func quotation(q *ICMP, c *conn) []byte {
	src, dst := c.live.local, c.live.remote
	proto, header := uint8(wire.ProtoTCP), wire.TCPMinLen
	if q.QuoteProto == ProtoUDP {
		proto, header = uint8(wire.ProtoUDP), udpLen
	}
	b := ipHeader(IPInfo{}, inboundTTL, src.Addr(), dst.Addr(), proto, header+q.QuoteLength)
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	if q.QuoteProto == ProtoUDP {
		b = binary.BigEndian.AppendUint16(b, uint16(header+q.QuoteLength))
		b = append(b, 0, 0)
	} else {
		b = binary.BigEndian.AppendUint32(b, q.QuoteSeq+c.localOffset(false))
	}
	return append(b, make([]byte, q.QuoteLength)...)
}
