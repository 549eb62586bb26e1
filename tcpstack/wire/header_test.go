package wire

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// RFC 791 appendix A, example 1: a minimal datagram's header fields (with addresses and checksum filled in).
func TestIPv4(t *testing.T) {
	b := unhex("450000150000400040013cd80a0000010a000002")
	SetIPv4Checksum(b)
	h, err := ParseIPv4(b)
	if err != nil {
		t.Fatal(err)
	}
	want := IPv4{HeaderLen: 20, TotalLen: 21, DF: true, TTL: 64, Protocol: ProtoICMP, Checksum: h.Checksum,
		Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2")}
	if h.Options != nil || h.TOS != want.TOS || h.TotalLen != 21 || !h.DF || h.MF || h.Src != want.Src || h.Dst != want.Dst || h.TTL != 64 || h.Protocol != ProtoICMP {
		t.Errorf("parsed %+v, want %+v", h, want)
	}
	out := make([]byte, 20)
	h.Put(out)
	if !bytes.Equal(out, b) {
		t.Errorf("built %x, want %x", out, b)
	}
	for _, c := range []struct {
		name string
		mod  func([]byte) []byte
		want error
	}{
		{"short", func(b []byte) []byte { return b[:19] }, ErrTruncated},
		{"version 6", func(b []byte) []byte { b[0] = 0x65; return b }, ErrIPv4Version},
		{"header length 16", func(b []byte) []byte { b[0] = 0x44; return b }, ErrIPv4HeaderLen},
		{"options beyond the end", func(b []byte) []byte { b[0] = 0x46; return b }, ErrTruncated},
		{"total length 19", func(b []byte) []byte { b[3] = 19; return b }, ErrIPv4TotalLen},
	} {
		if _, err := ParseIPv4(c.mod(bytes.Clone(b))); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// RFC 826 "An Example": X asks for Y's hardware address.
func TestARP(t *testing.T) {
	a := ARP{Op: ARPRequest, SenderMAC: MAC{2, 0, 0, 0, 0, 1}, SenderIP: netip.MustParseAddr("10.0.0.1"), TargetIP: netip.MustParseAddr("10.0.0.2")}
	b := make([]byte, ARPLen)
	a.Put(b)
	if want := unhex("00010800060400010200000000010a0000010000000000000a000002"); !bytes.Equal(b, want) {
		t.Errorf("built %x, want %x", b, want)
	}
	if got, err := ParseARP(append(b, make([]byte, 18)...)); err != nil || got != a {
		t.Errorf("parsed %+v, %v", got, err)
	}
	for i := range 6 {
		c := bytes.Clone(b)
		c[i] ^= 0x10
		if _, err := ParseARP(c); err != ErrARPFormat {
			t.Errorf("byte %d wrong: %v", i, err)
		}
	}
	if _, err := ParseARP(b[:27]); err != ErrTruncated {
		t.Errorf("short: %v", err)
	}
}

func TestUDPAndICMP(t *testing.T) {
	b := unhex("100000070009abcd")
	u, err := ParseUDP(b)
	if err != nil || u != (UDP{SrcPort: 4096, DstPort: 7, Length: 9, Checksum: 0xabcd}) {
		t.Errorf("parsed %+v, %v", u, err)
	}
	b[5] = 7
	if _, err := ParseUDP(b); err != ErrUDPLength {
		t.Errorf("length 7: %v", err)
	}
	m := ICMP{Type: ICMPUnreachable, Code: ICMPFragNeeded, Checksum: 1, Seq: 1400}
	m.Put(b)
	if got, err := ParseICMP(b); err != nil || got != m {
		t.Errorf("parsed %+v, %v", got, err)
	}
	for typ := range 256 {
		want := typ == 3 || typ == 4 || typ == 5 || typ == 11 || typ == 12
		if ICMPIsError(uint8(typ)) != want {
			t.Errorf("type %d is an error message: %v", typ, !want)
		}
	}
}

// RFC 9293 3.1, figure 1.
func TestTCP(t *testing.T) {
	h := TCP{SrcPort: 49152, DstPort: 80, Seq: 0x01020304, Ack: 0x05060708, HeaderLen: 20, Flags: FlagPSH | FlagACK, Window: 1000, Checksum: 0xbeef, Urgent: 1}
	b := make([]byte, 20)
	h.Put(b)
	if want := unhex("c0000050010203040506070850180" + "3e8beef0001"); !bytes.Equal(b, want) {
		t.Errorf("built %x, want %x", b, want)
	}
	if got, err := ParseTCP(b); err != nil || got != h {
		t.Errorf("parsed %+v, %v", got, err)
	}
	for _, off := range []byte{0, 0x40, 0x60, 0xf0} {
		b[12] = off
		if _, err := ParseTCP(b); err != ErrTCPDataOffset {
			t.Errorf("data offset %#x: %v", off, err)
		}
	}
	for f, want := range map[TCPFlags]string{
		0: "-", FlagSYN: "S", FlagSYN | FlagACK: "AS", FlagPSH | FlagACK: "AP", 0xff: "CEUAPRSF", FlagFIN | FlagCWR: "CF", FlagECE | FlagURG | FlagRST: "EUR",
	} {
		if f.String() != want {
			t.Errorf("flags %08b print %q, want %q", uint8(f), f.String(), want)
		}
	}
}

// RFC 9293 MUST-6, MUST-7, MUST-64.
func TestTCPOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		hex  string
		want TCPOptions
		err  error
	}{
		{"none", "", TCPOptions{}, nil},
		{"a SYN of Linux", "020405b40402080a000000010000000001030307",
			TCPOptions{MSS: 1460, SACKPermitted: true, HasTimestamps: true, TSVal: 1, HasWindowScale: true, WindowScale: 7}, nil},
		{"timestamps in their usual place", "0101080a0000000100000002", TCPOptions{HasTimestamps: true, TSVal: 1, TSEcr: 2}, nil},
		{"timestamps elsewhere", "080a00000001000000020000", TCPOptions{HasTimestamps: true, TSVal: 1, TSEcr: 2}, nil},
		{"SACK blocks", "0101050a0000000100000002", TCPOptions{NSACK: 1, SACK: [4]SACKBlock{{1, 2}}}, nil},
		{"nothing counts after the end of the list", "0002040100", TCPOptions{}, nil},
		// RFC 9293 3.1: "A TCP implementation MUST ... ignore without error any TCP Option it does not implement,
		// assuming that the option has a length field."
		{"unknown ones are skipped", "fe060102030402040200", TCPOptions{MSS: 512}, nil},
		{"unknown, of length 2", "fe0203030e00", TCPOptions{HasWindowScale: true, WindowScale: 14}, nil},
		{"the last one counts", "020401000204020000", TCPOptions{MSS: 512}, nil},
		{"length zero", "0200", TCPOptions{}, ErrTCPOption},
		{"length one", "fe01", TCPOptions{}, ErrTCPOption},
		{"no length", "02", TCPOptions{}, ErrTCPOption},
		{"length beyond the end", "fe05000000"[:8], TCPOptions{}, ErrTCPOption},
		{"MSS of length 3", "020301", TCPOptions{}, ErrTCPOption},
		{"window scale of length 4", "03040101", TCPOptions{}, ErrTCPOption},
		{"SACK-permitted of length 3", "040301", TCPOptions{}, ErrTCPOption},
		{"timestamps of length 6", "080600000001", TCPOptions{}, ErrTCPOption},
		{"SACK without a block", "0502", TCPOptions{}, ErrTCPOption},
		{"SACK with half a block", "050600000001", TCPOptions{}, ErrTCPOption},
		{"what came before a bad one stays", "0204020003ff", TCPOptions{MSS: 512}, ErrTCPOption},
	} {
		var o TCPOptions
		if err := ParseTCPOptions(unhex(c.hex), &o); err != c.err || o != c.want {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.name, o, err, c.want, c.err)
		}
	}
}

// What is built is what is parsed, in every combination that fits, aligned to 4 bytes.
//
// RFC 9293 MUST-4, MUST-68.
func TestTCPOptionsRoundTrip(t *testing.T) {
	for bits := range 16 {
		for n := range MaxSACKBlocks + 1 {
			o := TCPOptions{NSACK: uint8(n)}
			if bits&1 != 0 {
				o.MSS = 1460
			}
			if bits&2 != 0 {
				o.HasWindowScale, o.WindowScale = true, 7
			}
			o.SACKPermitted = bits&4 != 0
			if bits&8 != 0 {
				o.HasTimestamps, o.TSVal, o.TSEcr = true, 0xdeadbeef, 2
			}
			for i := range n {
				o.SACK[i] = SACKBlock{uint32(i) * 10, uint32(i)*10 + 5}
			}
			if o.Len() > TCPMaxOptionsLen {
				continue
			}
			b := bytes.Repeat([]byte{0xee}, TCPMaxOptionsLen)
			if got := o.Put(b); got != o.Len() || got%4 != 0 {
				t.Errorf("%+v: %d bytes, Len says %d", o, got, o.Len())
			}
			var back TCPOptions
			if err := ParseTCPOptions(b[:o.Len()], &back); err != nil || back != o {
				t.Errorf("%x: %+v, %v; want %+v", b[:o.Len()], back, err, o)
			}
		}
	}
}
