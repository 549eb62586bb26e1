package packetdrill

import (
	"fmt"
	"strings"
)

// packet reads a packet from its direction on.
func (p *parser) packet() (*Packet, error) {
	pkt := &Packet{Line: p.tok.line, Outbound: p.tok.text == ">"}
	if err := p.next(); err != nil {
		return nil, err
	}
	if err := p.ipInfo(&pkt.IP); err != nil {
		return nil, err
	}
	if pkt.IP.Check == TOSECT01 && !pkt.Outbound {
		return nil, p.errorf("[ect01] is a choice, which only outbound packets can be compared with")
	}
	var err error
	switch {
	case p.tok.is("udp"):
		err = p.udp(pkt)
	case p.tok.is("icmp"), p.tok.is("icmpv4"), p.tok.is("icmpv6"):
		err = p.icmp(pkt)
	case p.tok.is("ipv4"), p.tok.is("ipv6"), p.tok.is("gre"), p.tok.is("GREv0"), p.tok.is("mpls"):
		err = p.errorf("packets within %s need a tunnel, which the stack has not", p.tok.text)
	default:
		err = p.tcp(pkt)
	}
	return pkt, err
}

// ipInfo reads what stands in brackets before the protocol: [ce], [tos 0x10],
// [ttl 64], [ect0, flowlabel 0x3].
func (p *parser) ipInfo(ip *IPInfo) error {
	end := ""
	switch {
	case p.tok.is("["):
		end = "]"
	case p.tok.is("("):
		end = ")"
	default:
		return nil
	}
	for first := true; ; first = false {
		if err := p.next(); err != nil {
			return err
		}
		if err := p.ipMark(ip); err != nil {
			return err
		}
		sep, err := p.peekOne(",", end)
		if err != nil {
			return err
		}
		if sep == end {
			return p.next()
		}
		if !first {
			return p.unexpected(end)
		}
	}
}

// peekOne says which of the tokens is at hand.
func (p *parser) peekOne(one ...string) (string, error) {
	for _, s := range one {
		if p.tok.is(s) {
			return s, nil
		}
	}
	return "", p.unexpected(strings.Join(one, " or "))
}

// The ECN codepoints by the language's words (RFC 3168 5).
var ecnMarks = map[string]uint8{"noecn": 0, "nonect": 0, "ect1": 1, "ect0": 2, "ce": 3}

// ipMark reads one mark.
func (p *parser) ipMark(ip *IPInfo) error {
	word := p.tok.text
	if p.tok.kind != tokWord {
		return p.unexpected("an IP mark such as ect0, tos, ttl or flowlabel")
	}
	if err := p.next(); err != nil {
		return err
	}
	if ecn, ok := ecnMarks[word]; ok {
		ip.Check, ip.TOS = TOSECN, ecn
		return nil
	}
	var v int64
	var err error
	switch word {
	case "ect01":
		ip.Check = TOSECT01
	case "tos":
		v, err = p.ranged("tos", 0xff)
		ip.Check, ip.TOS = TOSByte, uint8(v)
	case "flowlabel":
		v, err = p.ranged("flowlabel", 0xfffff)
		ip.FlowLabel = uint32(v)
	case "ttl":
		v, err = p.ranged("ttl", 0xff)
		ip.TTL = uint8(v)
	default:
		err = p.errorf("unknown IP mark %q", word)
	}
	return err
}

// ranged reads a number of at least 0 and at most limit.
func (p *parser) ranged(what string, limit int64) (int64, error) {
	if p.tok.kind != tokInt && p.tok.kind != tokHex {
		return 0, p.unexpected("a number")
	}
	line := p.tok.line
	v, err := p.integer()
	if err == nil && (v < 0 || v > limit) {
		err = &syntaxError{line, fmt.Sprintf("%s %d is not within 0 and %d", what, v, limit)}
	}
	return v, err
}

// ports reads "8080 > 1234", if that is at hand.
func (p *parser) ports(pkt *Packet) error {
	if p.tok.kind != tokInt || !p.ahead.is(">") {
		return nil
	}
	src, err := p.ranged("source port", 0xffff)
	if err != nil {
		return err
	}
	if err = p.next(); err != nil {
		return err
	}
	dst, err := p.ranged("destination port", 0xffff)
	pkt.SrcPort, pkt.DstPort = uint16(src), uint16(dst)
	return err
}

// maxPayload keeps a script's packet within one datagram, headers included.
const maxPayload = 65535 - 40 - 60

// udp reads "udp (100)".
func (p *parser) udp(pkt *Packet) error {
	pkt.Proto = ProtoUDP
	if pkt.IP.Check == TOSECN {
		return p.errorf("ECN marks can only be used with TCP packets")
	}
	if err := p.next(); err != nil {
		return err
	}
	if err := p.ports(pkt); err != nil {
		return err
	}
	n, err := p.length()
	pkt.Length = n
	return err
}

// length reads "(100)".
func (p *parser) length() (int, error) {
	if _, err := p.expect("("); err != nil {
		return 0, err
	}
	n, err := p.ranged("payload size", maxPayload)
	if err != nil {
		return 0, err
	}
	_, err = p.expect(")")
	return int(n), err
}

// icmp reads "icmp unreachable frag_needed mtu 1400 [1:1001(1000)]".
func (p *parser) icmp(pkt *Packet) error {
	pkt.Proto = ProtoICMP
	c := &pkt.ICMP
	c.MTU = -1
	if err := p.next(); err != nil {
		return err
	}
	if p.tok.kind != tokWord {
		return p.unexpected("a type of ICMP")
	}
	c.Type = p.tok.text
	if err := p.next(); err != nil {
		return err
	}
	if p.tok.kind == tokWord && !p.tok.is("mtu") && !p.tok.is("id") {
		c.Code = p.tok.text
		if err := p.next(); err != nil {
			return err
		}
	}
	if has, err := p.accept("mtu"); err != nil {
		return err
	} else if has {
		v, err := p.ranged("mtu", 0xffffffff)
		if err != nil {
			return err
		}
		c.MTU = int(v)
	}
	if has, err := p.accept("id"); err != nil {
		return err
	} else if has {
		v, err := p.ranged("id", 0xffff)
		if err != nil {
			return err
		}
		c.EchoID = uint16(v)
	}
	return p.quote(c)
}

// quote reads the packet that an ICMP message quotes. Without one the message
// quotes the beginning of the connection's sequence space, as with the original.
func (p *parser) quote(c *ICMP) error {
	c.HasQuote = true
	if has, err := p.accept("["); !has || err != nil {
		return err
	}
	var err error
	switch {
	case p.tok.is("udp"):
		c.QuoteProto = ProtoUDP
		if err = p.next(); err == nil {
			c.QuoteLength, err = p.length()
		}
	case p.tok.is("raw"):
		c.HasQuote = false
		if err = p.next(); err == nil {
			c.QuoteLength, err = p.length()
		}
	default:
		c.QuoteSeq, c.QuoteLength, err = p.sequence()
	}
	if err == nil {
		_, err = p.expect("]")
	}
	return err
}

// sequence reads "1:1001(1000)".
func (p *parser) sequence() (uint32, int, error) {
	start, err := p.ranged("start sequence number", 0xffffffff)
	if err != nil {
		return 0, 0, err
	}
	if _, err = p.expect(":"); err != nil {
		return 0, 0, err
	}
	end, err := p.ranged("end sequence number", 0xffffffff)
	if err != nil {
		return 0, 0, err
	}
	n, err := p.length()
	if err == nil && uint32(end) != uint32(start)+uint32(n) {
		err = p.errorf("sequence numbers %d:%d do not span %d bytes", start, end, n)
	}
	return uint32(start), n, err
}
