package tcpstack

import (
	"bytes"
	"net/netip"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

const us6, them6 = "fd00::1", "fd00::2"

// optionHeader is an extension header of 8 bytes with one option of 4 bytes.
func optionHeader(next wire.Protocol, option uint8) []byte {
	return []byte{uint8(next), 0, option, 4, 0, 0, 0, 0}
}

// A packet of any shape arrives, or is dropped under its name, however its frame is cut between header region and payload.
func TestIPv6Input(t *testing.T) {
	udp := func() []byte { return udp6(them6, us6, 9, 4000, "hello") }
	after := func(h []byte) []byte { return append(h, udp()...) }
	for _, c := range []struct {
		name    string
		ip      []byte
		counter string
	}{
		{"plain", ipv6(them6, us6, wire.ProtoUDP, udp()), "udp.received"},
		{"padded", append(ipv6(them6, us6, wire.ProtoUDP, udp()), 0, 0, 0), "udp.received"},
		{"hop-by-hop", ipv6(them6, us6, wire.ProtoHopByHop, after(optionHeader(wire.ProtoUDP, 1))), "udp.received"},
		{"two headers", ipv6(them6, us6, wire.ProtoDestOptions, append(optionHeader(wire.ProtoDestOptions, 1), after(optionHeader(wire.ProtoUDP, 0x1e))...)), "udp.received"},
		{"a long header", ipv6(them6, us6, wire.ProtoDestOptions, append(append([]byte{17, 31, 1, 252}, make([]byte, 252)...), udp()...)), "udp.received"},
		// RFC 6946 4
		{"atomic fragment", ipv6(them6, us6, wire.ProtoFragment, after([]byte{17, 0, 0, 0, 0, 0, 0, 9})), "udp.received"},
		{"version", append([]byte{0x50}, ipv6(them6, us6, wire.ProtoUDP, udp())[1:]...), "ip.dropped.version"},
		{"truncated", ipv6(them6, us6, wire.ProtoUDP, udp())[:39], "ip.dropped.truncated"},
		{"payload length", ipv6(them6, us6, wire.ProtoUDP, udp(), func(h *wire.IPv6) { h.PayloadLen = 99 }), "ip.dropped.total_length"},
		{"from a group", ipv6("ff02::1", us6, wire.ProtoUDP, udp()), "ip.dropped.source"},
		{"from the loopback", ipv6("::1", us6, wire.ProtoUDP, udp()), "ip.dropped.source"},
		// RFC 4942 2.2
		{"from a mapped address", ipv6("::ffff:10.0.0.2", us6, wire.ProtoUDP, udp()), "ip.dropped.source"},
		{"to the loopback", ipv6(them6, "::1", wire.ProtoUDP, udp()), "ip.dropped.destination"},
		{"to another", ipv6(them6, "fd00::9", wire.ProtoUDP, udp()), "ip.dropped.not_forwarding"},
		{"to a group", ipv6(them6, "ff02::99", wire.ProtoUDP, udp()), "ip.dropped.destination"},
		{"checksum", ipv6(them6, us6, wire.ProtoUDP, append(udp(), 1)[1:]), "ip.dropped.transport_header"},
		// RFC 8200 8.1: "IPv6 receivers must discard UDP packets containing a zero checksum".
		{"no checksum", ipv6(them6, us6, wire.ProtoUDP, func() []byte { b := udp(); b[6], b[7] = 0, 0; return b }()), "ip.dropped.transport_checksum"},
		{"nothing follows", ipv6(them6, us6, wire.ProtoNoNext, nil), "ip.dropped.protocol"},
		{"chain cut short", ipv6(them6, us6, wire.ProtoDestOptions, []byte{17, 1, 0, 0, 0, 0, 0, 0}), "ip.dropped.extension_header"},
		// RFC 8200 4.2, action 01: "discard the packet" and say nothing
		{"option to discard for", ipv6(them6, us6, wire.ProtoDestOptions, after(optionHeader(wire.ProtoUDP, 0x5e))), "ip.dropped.extension_header"},
	} {
		for _, cut := range []int{10, 14 + 20, 14 + 40, 14 + 44, 14 + 48} {
			x := newIPBench(t, Config{}, 0, us6+"/64")
			x.cut = cut
			var got string
			openUDP(t, x.s, "[::]:4000", func(d Datagram) { got = string(d.Data) })
			x.sendIP6(0, c.ip)
			x.wantCount(c.counter, 1)
			if want := c.counter == "udp.received"; (got == "hello") != want {
				t.Errorf("%s, cut at %d: socket got %q", c.name, cut, got)
			}
			if t.Failed() {
				t.Fatalf("%s, cut at %d", c.name, cut)
			}
		}
	}
}

// RFC 4443: what is wrong with a packet is told to its sender, by type and code, with a pointer to the octet.
func TestICMPv6Errors(t *testing.T) {
	udp := udp6(them6, us6, 9, 4000, "hello")
	for _, c := range []struct {
		name string
		ip   []byte
		want string
	}{
		// RFC 4443 3.1: "A destination node SHOULD originate a Destination Unreachable message with Code 4 in response to a
		// packet for which the transport protocol (e.g., UDP) has no listener".
		{"no socket", ipv6(them6, us6, wire.ProtoUDP, udp), "icmp6 1/4 quoting 53"},
		{"no protocol", ipv6(them6, us6, 200, udp), "icmp6 4/1 word 6 quoting 53"},
		{"no protocol after options", ipv6(them6, us6, wire.ProtoDestOptions, append(optionHeader(200, 1), udp...)), "icmp6 4/1 word 40 quoting 61"},
		// RFC 8200 4.2, actions 10 and 11
		{"option 10", ipv6(them6, us6, wire.ProtoHopByHop, append(optionHeader(17, 0x9e), udp...)), "icmp6 4/2 word 42 quoting 61"},
		{"option 11", ipv6(them6, us6, wire.ProtoDestOptions, append(optionHeader(17, 0xde), udp...)), "icmp6 4/2 word 42 quoting 61"},
		// RFC 5095 3
		{"RH0", ipv6(them6, us6, wire.ProtoRouting, append([]byte{17, 2, 0, 1, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, udp...)), "icmp6 4/0 word 42 quoting 77"},
		{"hop-by-hop not first", ipv6(them6, us6, wire.ProtoDestOptions, append(optionHeader(0, 1), append(optionHeader(17, 1), udp...)...)), "icmp6 4/1 word 40 quoting 69"},
		// RFC 8200 4.5
		{"fragment not of eights", ipv6(them6, us6, wire.ProtoFragment, append([]byte{17, 0, 0, 1, 0, 0, 0, 9}, udp...)), "icmp6 4/0 word 4 quoting 61"},
		{"fragment beyond the end", ipv6(them6, us6, wire.ProtoFragment, append([]byte{17, 0, 0xff, 0xf8, 0, 0, 0, 9}, udp...)), "icmp6 4/0 word 42 quoting 61"},
	} {
		x := newIPBench(t, Config{}, 0, us6+"/64")
		x.know(0, them6)
		x.sendIP6(0, c.ip)
		if c.name == "fragment beyond the end" {
			x.wantIdle() // RFC 4443 2.4 has no say, but nobody could tell what a later fragment belongs to
			continue
		}
		x.want(0, "to 02:00:00:00:00:99: fd00::1 > fd00::2 hlim 64 "+c.want)
	}
}

// RFC 4443 2.4 (e): what causes no error.
func TestICMPv6Silence(t *testing.T) {
	udp := func(dst string) []byte { return udp6(them6, dst, 9, 4000, "hello") }
	x := newIPBench(t, Config{}, 0, us6+"/64")
	x.know(0, them6)
	// "(1) An ICMPv6 error message."
	x.sendIP6(0, icmp6(them6, us6, wire.ICMPv6Unreachable, 0, 0, string(make([]byte, 48))))
	inner := icmp6(them6, us6, wire.ICMPv6Unreachable, 0, 0, "")[40:]
	x.sendIP6(0, ipv6(them6, us6, wire.ProtoDestOptions, append(optionHeader(58, 0xde), inner...)))
	// "(3) A packet destined to an IPv6 multicast address."
	x.sendGroup(0, ipv6(them6, "ff02::1", wire.ProtoUDP, udp("ff02::1")))
	// "(6) A packet whose source address does not uniquely identify a single node": the unspecified one.
	x.sendIP6(0, ipv6("::", us6, wire.ProtoUDP, udp6("::", us6, 9, 4000, "hello")))
	x.wantIdle()
	// RFC 8200 4.2: action 10 is told "regardless of whether or not the packet's Destination Address was a multicast
	// address", action 11 is not.
	x.sendGroup(0, ipv6(them6, "ff02::1", wire.ProtoDestOptions, append(optionHeader(17, 0xde), udp("ff02::1")...)))
	x.wantIdle()
	x.sendGroup(0, ipv6(them6, "ff02::1", wire.ProtoDestOptions, append(optionHeader(17, 0x9e), udp("ff02::1")...)))
	x.want(0, "to 02:00:00:00:00:99: fd00::1 > fd00::2 hlim 64 icmp6 4/2 word 42 quoting 61")
	// "(f) ... an IPv6 node MUST limit the rate of ICMPv6 error messages it originates."
	for range 200 {
		x.sendIP6(0, ipv6(them6, us6, wire.ProtoUDP, udp(us6)))
	}
	if n := len(x.out); n != icmpErrorBurst-1 {
		t.Errorf("%d errors went at once, want %d", n, icmpErrorBurst-1)
	}
	x.out, x.from = nil, nil
}

// RFC 4443 4.2: "The data received in the ICMPv6 Echo Request message MUST be returned entirely and unmodified in the ICMPv6
// Echo Reply message."
func TestEchoIPv6(t *testing.T) {
	x := newIPBench(t, Config{}, 0, us6+"/64")
	x.know(0, them6)
	x.sendIP6(0, icmp6(them6, us6, wire.ICMPv6EchoRequest, 0, 7<<16|3, "data"))
	b := x.want(0, "to 02:00:00:00:00:99: fd00::1 > fd00::2 hlim 64 icmp6 129/0 seq 3 len 4")
	if !bytes.HasSuffix(b, []byte("data")) {
		t.Errorf("replied %x", b)
	}
	x.sendGroup(0, icmp6(them6, "ff02::1", wire.ICMPv6EchoRequest, 0, 7<<16|4, "data"))
	x.want(0, "to 02:00:00:00:00:99: fd00::1 > fd00::2 hlim 64 icmp6 129/0 seq 4 len 4")
	var got []EchoEvent
	e, err := x.s.OpenEcho(func(ev EchoEvent) { got = append(got, ev) })
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Send(netip.MustParseAddr(them6), 5, []byte("hello"), SendOptions{TTL: 3}); err != nil {
		t.Fatal(err)
	}
	req := x.want(0, "to 02:00:00:00:00:99: fd00::1 > fd00::2 hlim 3 icmp6 128/0 seq 5 len 5")
	x.sendIP6(0, icmp6(them6, us6, wire.ICMPv6EchoReply, 0, be32(req[14+44:]), "hello"))
	// RFC 7915 5.2: told in ICMPv4's terms
	x.sendIP6(0, icmp6("fd00::9", us6, wire.ICMPv6TimeExceeded, 0, 0, string(req[14:])))
	if len(got) != 2 || !got[0].Reply || got[0].From.String() != them6 || got[0].Seq != 5 ||
		got[1].Type != wire.ICMPTimeExceeded || got[1].From.String() != "fd00::9" || !got[1].Six {
		t.Errorf("heard %+v", got)
	}
	if err := e.Send(netip.MustParseAddr("fd00::1"), 6, nil, SendOptions{}); err != nil {
		t.Fatal(err)
	}
	x.advance(10)
	if len(got) != 3 || !got[2].Reply {
		t.Errorf("heard %+v of itself", got)
	}
}

// Fragments in any order make the packet they were cut from; RFC 8200 4.5, RFC 5722.
func TestReassemblyIPv6(t *testing.T) {
	const seed = 5
	dice, draw := sim.NewStream(seed, "order"), uint64(0)
	for _, step := range []int{8, 24, 1232} {
		for _, cut := range []int{14 + 40, 14 + 48, 100} {
			data := make([]byte, 3000)
			for i := range data {
				data[i] = byte(i * 5)
			}
			body := udp6(them6, us6, 9, 4000, string(data))
			var pieces [][]byte
			for off := 0; off < len(body); off += step {
				end := min(off+step, len(body))
				h := make([]byte, wire.FragmentHeaderLen)
				wire.IPv6Fragment{Next: wire.ProtoUDP, Offset: off, More: end < len(body), ID: 9}.Put(h)
				pieces = append(pieces, ipv6(them6, us6, wire.ProtoFragment, append(h, body[off:end]...)))
			}
			x := newIPBench(t, Config{}, 0, us6+"/64")
			x.cut = cut
			var got []byte
			openUDP(t, x.s, "[::]:4000", func(d Datagram) { got = bytes.Clone(d.Data) })
			for i := range pieces {
				j := i + int(dice.Below(draw, uint64(len(pieces)-i)))
				draw++
				pieces[i], pieces[j] = pieces[j], pieces[i]
				x.sendIP6(0, pieces[i])
			}
			if !bytes.Equal(got, data) {
				t.Fatalf("seed %d: step %d, cut %d: got %d bytes", seed, step, cut, len(got))
			}
			x.wantCount("ip6.reassembled", 1)
		}
	}
}

// RFC 5722 4: "when reassembling an IPv6 datagram, if one or more its constituent fragments is determined to be an
// overlapping fragment, the entire datagram (and any constituent fragments, including those not yet received) MUST be
// silently discarded."
func TestReassemblyOverlapIPv6(t *testing.T) {
	x := newIPBench(t, Config{}, 0, us6+"/64")
	x.know(0, them6)
	piece := func(off int, more bool) []byte {
		h := make([]byte, wire.FragmentHeaderLen)
		wire.IPv6Fragment{Next: wire.ProtoUDP, Offset: off, More: more, ID: 9}.Put(h)
		return ipv6(them6, us6, wire.ProtoFragment, append(h, make([]byte, 16)...))
	}
	x.sendIP6(0, piece(0, true))
	x.sendIP6(0, piece(8, true))
	x.wantCount("ip.dropped.fragment_overlap", 2)
	x.wantIdle()
	// RFC 8200 4.5: "If insufficient fragments are received to complete reassembly of a packet within 60 seconds", here
	// Linux's ip6frag_time, 60 s less 30, "an ICMP Time Exceeded ... message should be sent to the source of that fragment."
	x.sendIP6(0, piece(0, true))
	x.advance(29 * sim.Second)
	x.know(0, them6)
	x.advance(1*sim.Second + 1)
	x.want(0, "to 02:00:00:00:00:99: fd00::1 > fd00::2 hlim 64 icmp6 3/1 quoting 64")
}
