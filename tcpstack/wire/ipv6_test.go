package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"
)

var (
	six1 = netip.MustParseAddr("fd00::1")
	six2 = netip.MustParseAddr("fd00::2")
)

func TestIPv6RoundTrip(t *testing.T) {
	h := IPv6{TrafficClass: 0xb9, FlowLabel: 0xabcde, PayloadLen: 1440, NextHeader: ProtoTCP, HopLimit: 64, Src: six1, Dst: six2}
	b := make([]byte, IPv6Len)
	h.Put(b)
	if got, err := ParseIPv6(b); err != nil || got != h {
		t.Errorf("%+v came back as %+v, %v", h, got, err)
	}
	if _, err := ParseIPv6(b[:39]); err != ErrTruncated {
		t.Errorf("39 bytes: %v", err)
	}
	b[0] = 0x45
	if _, err := ParseIPv6(b); err != ErrIPv6Version {
		t.Errorf("version 4: %v", err)
	}
}

// RFC 2464 7.
func TestMulticastMAC(t *testing.T) {
	if got := MulticastMAC(netip.MustParseAddr("ff02::1:ff28:9c5a")).String(); got != "33:33:ff:28:9c:5a" {
		t.Error(got)
	}
}

// RFC 8200 8.1: the pseudo-header has the upper layer's length and protocol in 32 bits each.
func TestPseudoSum6(t *testing.T) {
	b := append(six1.AsSlice(), six2.AsSlice()...)
	b = append(b, 0, 1, 0x86, 0xa0, 0, 0, 0, 58)
	if got, want := PseudoSum6(six1.As16(), six2.As16(), ProtoICMPv6, 100000), Sum(b); got != want {
		t.Errorf("%#x, want %#x", got, want)
	}
}

// extensions builds a packet: an IPv6 header whose first next header is first, and bytes after it.
func extensions(first Protocol, after ...byte) []byte {
	b := make([]byte, IPv6Len)
	IPv6{NextHeader: first, PayloadLen: len(after), HopLimit: 1, Src: six1, Dst: six2}.Put(b)
	return append(b, after...)
}

func TestWalkIPv6(t *testing.T) {
	padN := []byte{1, 4, 0, 0, 0, 0}
	option := func(next Protocol, opts ...byte) []byte { return append([]byte{uint8(next), 0}, opts...) }
	long := append([]byte{6, 1, 1, 12}, make([]byte, 12)...)
	for _, c := range []struct {
		name    string
		b       []byte
		next    Protocol
		at      int
		code    uint8
		pointer int
		err     error
	}{
		{"none", extensions(ProtoTCP), ProtoTCP, 40, 0, 0, nil},
		{"hop-by-hop, destination options", extensions(ProtoHopByHop, append(option(60, padN...), option(6, padN...)...)...), ProtoTCP, 56, 0, 0, nil},
		{"16 bytes", extensions(ProtoDestOptions, long...), ProtoTCP, 56, 0, 0, nil},
		{"up to a fragment header", extensions(ProtoHopByHop, option(44, padN...)...), ProtoFragment, 48, 0, 0, nil},
		{"a routing header that has led here", extensions(ProtoRouting, 6, 0, 0, 0, 0, 0, 0, 0), ProtoTCP, 48, 0, 0, nil},
		{"RH0 with segments left", extensions(ProtoRouting, 6, 0, 0, 1, 0, 0, 0, 0), 0, 0, ICMPv6ErroneousField, 42, ErrOption},
		{"hop-by-hop not first", extensions(ProtoDestOptions, append(option(0, padN...), option(6, padN...)...)...), 0, 0, ICMPv6UnknownNextHeader, 40, ErrExtensionChain},
		{"unknown option, skip", extensions(ProtoDestOptions, option(6, 0x1e, 4, 0, 0, 0, 0)...), ProtoTCP, 48, 0, 0, nil},
		{"unknown option, 10", extensions(ProtoDestOptions, option(6, 0x9e, 4, 0, 0, 0, 0)...), 0, 0, ICMPv6UnknownOption, 42, ErrOption},
		{"unknown option, 11, after Pad1", extensions(ProtoDestOptions, option(6, 0, 0xde, 3, 0, 0, 0)...), 0, 0, ICMPv6UnknownOption, 43, ErrOption},
		{"option beyond its header", extensions(ProtoDestOptions, option(6, 0x1e, 5, 0, 0, 0, 0)...), 0, 0, ICMPv6ErroneousField, 42, ErrTruncated},
		{"cut short", extensions(ProtoDestOptions, 6, 1, 0, 0, 0, 0, 0, 0), 0, 0, 0, 0, ErrTruncated},
	} {
		got, err := WalkIPv6(c.b)
		var e *ExtensionError
		switch {
		case c.err == nil:
			if err != nil || got.Next != c.next || got.At != c.at || Protocol(c.b[got.NextAt]) != c.next {
				t.Errorf("%s: %+v, %v", c.name, got, err)
			}
		case errors.As(err, &e):
			if e.Err != c.err || e.Code != c.code || e.Pointer != c.pointer {
				t.Errorf("%s: %+v", c.name, e)
			}
		case err != c.err:
			t.Errorf("%s: %v", c.name, err)
		}
	}
	many := []byte{}
	for range MaxExtensionHeaders + 1 {
		many = append(many, option(60, padN...)...)
	}
	if _, err := WalkIPv6(extensions(ProtoDestOptions, many...)); err != ErrExtensionChain {
		t.Errorf("%d headers: %v", MaxExtensionHeaders+1, err)
	}
}

func TestNDPRoundTrip(t *testing.T) {
	o := NDPOptions{HasSource: true, SourceMAC: MAC{2, 0, 0, 0, 0, 1}, MTU: 1400, NPrefixes: 1}
	o.Prefixes[0] = PrefixInfo{netip.MustParsePrefix("fd00:0:1::/64"), true, true, 30 * 24 * time.Hour, InfiniteLifetime}
	r := RouterAdvert{HopLimit: 64, Lifetime: 1800 * time.Second, Retry: time.Second, Options: o}
	b := make([]byte, RouterAdvertLen+o.Len())
	if n := r.Put(b); n != len(b) {
		t.Fatalf("wrote %d of %d bytes", n, len(b))
	}
	if got, err := ParseRouterAdvert(b); err != nil || got != r {
		t.Errorf("%+v came back as %+v, %v", r, got, err)
	}
	n := Neighbor{Type: ICMPv6NeighAdvert, Router: true, Override: true, Target: six1, Options: NDPOptions{HasTarget: true, TargetMAC: MAC{2, 1}}}
	b = make([]byte, NeighborLen+n.Options.Len())
	n.Put(b)
	if got, err := ParseNeighbor(b); err != nil || got != n {
		t.Errorf("%+v came back as %+v, %v", n, got, err)
	}
}

// RFC 4861 4.6: "Nodes MUST silently discard an ND packet that contains an option with length zero."
func TestNDPBad(t *testing.T) {
	n := Neighbor{Type: ICMPv6NeighSolicit, Target: six1, Options: NDPOptions{HasSource: true}}
	good := make([]byte, 32)
	n.Put(good)
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
	}{
		{"short", func(b []byte) []byte { return b[:23] }},
		{"code", func(b []byte) []byte { b[1] = 1; return b }},
		{"a group for a target", func(b []byte) []byte { b[8] = 0xff; return b }},
		{"an option of length zero", func(b []byte) []byte { b[25] = 0; return b }},
		{"an option beyond the end", func(b []byte) []byte { b[25] = 2; return b }},
		{"another message", func(b []byte) []byte { b[0] = 133; return b }},
	} {
		if _, err := ParseNeighbor(c.change(bytes.Clone(good))); err == nil {
			t.Errorf("%s is accepted", c.name)
		}
	}
}
