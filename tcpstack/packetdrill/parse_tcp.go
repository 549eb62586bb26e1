package packetdrill

import (
	"encoding/binary"
	"encoding/hex"
	"strings"

	"labd.dev/tcpstack/wire"
)

// tcp reads a TCP packet: flags, sequence numbers, and what follows.
func (p *parser) tcp(pkt *Packet) error {
	if err := p.ports(pkt); err != nil {
		return err
	}
	t := &pkt.TCP
	err := p.flags(t)
	if err != nil {
		return err
	}
	if t.Seq, pkt.Length, err = p.sequence(); err != nil {
		return err
	}
	if t.HasAck, err = p.accept("ack"); err != nil {
		return err
	} else if t.HasAck {
		v, err := p.ranged("ack", 0xffffffff)
		if err != nil {
			return err
		}
		t.Ack = uint32(v)
	}
	if t.HasWin, err = p.accept("win"); err != nil {
		return err
	} else if t.HasWin {
		v, err := p.ranged("win", 0xffff)
		if err != nil {
			return err
		}
		t.Window = uint16(v)
	} else if !pkt.Outbound {
		return p.errorf("an inbound packet needs a window: win n")
	}
	if has, err := p.accept("urg"); err != nil {
		return err
	} else if has {
		v, err := p.ranged("urg", 0xffff)
		if err != nil {
			return err
		}
		t.Urgent = uint16(v)
	}
	if p.tok.is("<") {
		if err := p.tcpOptions(pkt); err != nil {
			return err
		}
	}
	if p.tok.is("{") {
		return p.errorf("packets that are damaged on purpose are not made here")
	}
	return nil
}

// flags reads a packet's flags: "S.", "FP.", "SEW", ".5", "P.5", "-" for none.
func (p *parser) flags(t *TCP) error {
	text := ""
	for p.tok.kind == tokWord || p.tok.is(".") || p.tok.kind == tokFloat || p.tok.is("-") && text == "" {
		text += p.tok.text
		dot := p.tok.kind != tokWord
		if err := p.next(); err != nil {
			return err
		}
		if dot {
			break
		}
	}
	if text == "" {
		return p.unexpected("a packet's flags")
	}
	if text == "-" {
		return nil
	}
	ecn := false
	for _, c := range text {
		if c >= '0' && c <= '7' {
			// One digit is AccECN's counter of packets in the bits AE, CWR and ECE.
			// The original compares a 0 as it compares the absence of letters.
			if t.HasACE || ecn {
				return p.errorf("conflicting TCP flag %q in %q", c, text)
			}
			t.HasACE = true
			t.Flags |= TCPFlags(c-'0') << 6
			continue
		}
		i := strings.IndexRune(flagLetters, c)
		if i < 0 {
			return p.errorf("invalid TCP flag %q in %q", c, text)
		}
		f := TCPFlags(1) << i
		if f&(ECE|CWR|AE) != 0 {
			if t.HasACE {
				return p.errorf("conflicting TCP flag %q in %q", c, text)
			}
			ecn = true
		}
		t.Flags |= f
	}
	return nil
}

// flagLetters are the letters of the flags, from the header's lowest bit.
const flagLetters = "FSRP.UEWA"

// tcpOptions reads "<mss 1460,nop,wscale 7>" or "<...>".
func (p *parser) tcpOptions(pkt *Packet) error {
	t := &pkt.TCP
	if err := p.next(); err != nil {
		return err
	}
	if p.tok.kind == tokEllipsis {
		if !pkt.Outbound {
			return p.errorf("<...> for TCP options can only be used with outbound packets")
		}
		t.AnyOptions = true
		if err := p.next(); err != nil {
			return err
		}
		_, err := p.expect(">")
		return err
	}
	total := 0
	for {
		o, err := p.tcpOption()
		if err != nil {
			return err
		}
		t.Options = append(t.Options, o)
		total += o.wireLen()
		if total > maxTCPOptions {
			return p.errorf("TCP options of more than %d bytes", maxTCPOptions)
		}
		sep, err := p.expect(",", ">")
		if err != nil {
			return err
		}
		if sep == ">" {
			break
		}
	}
	if total%4 != 0 {
		return p.errorf("TCP options of %d bytes: they must be padded to a multiple of 4", total)
	}
	return nil
}

// maxTCPOptions is the room for options behind the longest data offset.
const maxTCPOptions = 40

// wireLen is how many bytes the option takes in a header.
func (o TCPOption) wireLen() int {
	if o.Kind == OptEOL || o.Kind == OptNOP {
		return 1
	}
	if o.unsigned() {
		return wire.TCPOptMD5Len
	}
	return 2 + len(o.Data)
}

// unsigned says whether the option is a signature whose digest the script leaves to the key.
func (o TCPOption) unsigned() bool { return o.Kind == OptMD5 && len(o.Data) == 0 }

// tcpOption reads one option.
func (p *parser) tcpOption() (TCPOption, error) {
	if p.tok.kind != tokWord {
		return TCPOption{}, p.unexpected("a TCP option")
	}
	name := p.tok.text
	if err := p.next(); err != nil {
		return TCPOption{}, err
	}
	switch name {
	case "nop":
		return TCPOption{Kind: OptNOP}, nil
	case "eol":
		return TCPOption{Kind: OptEOL}, nil
	case "sackOK":
		return TCPOption{Kind: OptSACKOK}, nil
	case "mss":
		v, err := p.ranged("mss", 0xffff)
		return TCPOption{OptMSS, binary.BigEndian.AppendUint16(nil, uint16(v))}, err
	case "wscale":
		v, err := p.ranged("wscale", 0xff)
		return TCPOption{OptWScale, []byte{uint8(v)}}, err
	case "sack":
		return p.sack()
	case "TS":
		return p.timestamp()
	case "md5":
		b, err := p.hexBytes(16)
		return TCPOption{OptMD5, b}, err
	case "FO":
		b, err := p.hexBytes(maxTCPOptions - 2)
		return TCPOption{OptFastOpen, b}, err
	case "FOEXP":
		// RFC 7413 4.1.1's magic number goes before the cookie.
		b, err := p.hexBytes(maxTCPOptions - 4)
		return TCPOption{OptExp, append([]byte{0xf9, 0x89}, b...)}, err
	case "ECN":
		return p.accECN()
	}
	return TCPOption{}, p.errorf("unknown TCP option %q", name)
}

// sack reads the blocks of "sack 1:1001 2001:3001".
func (p *parser) sack() (TCPOption, error) {
	o := TCPOption{Kind: OptSACK}
	for p.tok.kind == tokInt {
		left, err := p.ranged("left edge of a SACK block", 0xffffffff)
		if err != nil {
			return o, err
		}
		if _, err = p.expect(":"); err != nil {
			return o, err
		}
		right, err := p.ranged("right edge of a SACK block", 0xffffffff)
		if err != nil {
			return o, err
		}
		o.Data = binary.BigEndian.AppendUint32(o.Data, uint32(left))
		o.Data = binary.BigEndian.AppendUint32(o.Data, uint32(right))
		if len(o.Data) > maxTCPOptions {
			return o, p.errorf("more SACK blocks than a header holds")
		}
	}
	if len(o.Data) == 0 {
		return o, p.unexpected("a SACK block")
	}
	return o, nil
}

// timestamp reads "val 100 ecr 0" after TS.
func (p *parser) timestamp() (TCPOption, error) {
	o := TCPOption{Kind: OptTimestamp}
	for _, name := range []string{"val", "ecr"} {
		if _, err := p.expect(name); err != nil {
			return o, err
		}
		v, err := p.ranged("TS "+name, 0xffffffff)
		if err != nil {
			return o, err
		}
		o.Data = binary.BigEndian.AppendUint32(o.Data, uint32(v))
	}
	return o, nil
}

// hexBytes reads bytes in hexadecimal, none if no word or number is at hand.
func (p *parser) hexBytes(limit int) ([]byte, error) {
	if p.tok.kind != tokWord && p.tok.kind != tokInt {
		return nil, nil
	}
	b, err := hex.DecodeString(p.tok.text)
	if err != nil {
		return nil, p.errorf("%v is no even number of hexadecimal digits", p.tok)
	}
	if len(b) > limit {
		return nil, p.errorf("%d bytes where an option holds %d", len(b), limit)
	}
	return b, p.next()
}

// accECN reads "e1b 1 ceb 0 e0b 1" after ECN: the byte counters of AccECN, whose
// kind tells their order, of 24 bits each.
func (p *parser) accECN() (TCPOption, error) {
	var o TCPOption
	var names []string
	for p.tok.is("e0b") || p.tok.is("e1b") || p.tok.is("ceb") {
		names = append(names, p.tok.text)
		if err := p.next(); err != nil {
			return o, err
		}
		v, err := p.ranged("AccECN counter", 0xffffff)
		if err != nil {
			return o, err
		}
		o.Data = append(o.Data, uint8(v>>16), uint8(v>>8), uint8(v))
	}
	switch order := strings.Join(names, " "); {
	case strings.HasPrefix("e0b ceb e1b", order) && order != "":
		o.Kind = OptAccECN0
	case strings.HasPrefix("e1b ceb e0b", order) || order == "":
		o.Kind = OptAccECN1
	default:
		return o, p.errorf("AccECN counters %q: their order is e0b ceb e1b or e1b ceb e0b", order)
	}
	return o, nil
}
