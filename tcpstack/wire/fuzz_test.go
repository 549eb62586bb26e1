package wire

import (
	"bytes"
	"testing"
)

// Each parser takes any bytes: it returns an error, or a header that builds to the bytes it was read from.

func FuzzEthernet(f *testing.F) {
	f.Add(unhex("0200000000010200000000020800"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEthernet(b)
		if err != nil {
			return
		}
		out := make([]byte, EthernetLen)
		e.Put(out)
		if !bytes.Equal(out, b[:EthernetLen]) {
			t.Errorf("built %x of %x", out, b)
		}
	})
}

func FuzzARP(f *testing.F) {
	f.Add(unhex("00010800060400010200000000010a0000010000000000000a000002"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseARP(b)
		if err != nil {
			return
		}
		out := make([]byte, ARPLen)
		a.Put(out)
		if !bytes.Equal(out, b[:ARPLen]) {
			t.Errorf("built %x of %x", out, b)
		}
	})
}

func FuzzIPv4(f *testing.F) {
	f.Add(unhex("450000150000400040013cd80a0000010a000002"))
	f.Add(unhex("46000018000020ff40113cd80a0000010a00000294040000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseIPv4(b)
		if err != nil {
			return
		}
		if h.HeaderLen < IPv4MinLen || h.HeaderLen > IPv4MaxLen || h.HeaderLen > len(b) || h.TotalLen < h.HeaderLen || len(h.Options) != h.HeaderLen-IPv4MinLen {
			t.Fatalf("parsed %+v of %x", h, b)
		}
		if h.HeaderLen > IPv4MinLen || b[6]&0x80 != 0 {
			return // Put makes no options, and not the reserved bit
		}
		out := make([]byte, IPv4MinLen)
		h.Put(out)
		if Sum(out) != 0xffff || !bytes.Equal(out[:10], b[:10]) || !bytes.Equal(out[12:], b[12:20]) {
			t.Errorf("built %x of %x", out, b)
		}
	})
}

func FuzzICMP(f *testing.F) {
	f.Add(unhex("0800f7fd00010001"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseICMP(b)
		if err != nil {
			return
		}
		out := make([]byte, ICMPLen)
		h.Put(out)
		if !bytes.Equal(out, b[:ICMPLen]) {
			t.Errorf("built %x of %x", out, b)
		}
	})
}

func FuzzUDP(f *testing.F) {
	f.Add(unhex("100000070009abcd"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseUDP(b)
		if err != nil {
			return
		}
		out := make([]byte, UDPLen)
		h.Put(out)
		if !bytes.Equal(out, b[:UDPLen]) {
			t.Errorf("built %x of %x", out, b)
		}
	})
}

func FuzzTCP(f *testing.F) {
	f.Add(unhex("c00000500102030405060708501803e8beef0001"))
	f.Add(unhex("c00000500102030405060708801803e8beef00010101080a0000000100000002"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseTCP(b)
		if err != nil {
			return
		}
		if h.HeaderLen < TCPMinLen || h.HeaderLen > len(b) {
			t.Fatalf("parsed %+v of %x", h, b)
		}
		out := make([]byte, TCPMinLen)
		h.Put(out)
		out[TCPOffDataOffset] |= b[TCPOffDataOffset] & 15 // the reserved bits
		if !bytes.Equal(out, b[:TCPMinLen]) {
			t.Errorf("built %x of %x", out, b)
		}
	})
}

// RFC 9293 MUST-7, MUST-64.
func FuzzTCPOptions(f *testing.F) {
	f.Add(unhex("020405b40402080a000000010000000001030307"))
	f.Add(unhex("0101080a00000001000000020101050a0000000100000002"))
	f.Add(unhex("fe060102030402040200"))
	f.Add(unhex("0200"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var o TCPOptions
		if ParseTCPOptions(b, &o) != nil || o.Len() > TCPMaxOptionsLen {
			return
		}
		var out [TCPMaxOptionsLen]byte
		var back TCPOptions
		if err := ParseTCPOptions(out[:o.Put(out[:])], &back); err != nil || back != o {
			t.Errorf("%+v came back as %+v, %v", o, back, err)
		}
	})
}
