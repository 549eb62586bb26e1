package tcpstack

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// A router takes one off the hop limit, and says what it cannot send on.
func TestForwardIPv6(t *testing.T) {
	const a, b = "fd00:1::2", "fd00:2::2"
	big := udp6(a, b, 9, 9, string(make([]byte, 1400)))
	for _, c := range []struct {
		name string
		ip   []byte
		want string // from eth1; else an error from eth0
		err  string
	}{
		{"plain", ipv6(a, b, wire.ProtoUDP, udp6(a, b, 9, 9, "hello")), "hlim 63 udp 9 > 9 len 5", ""},
		{"with a flow label", ipv6(a, b, wire.ProtoUDP, udp6(a, b, 9, 9, "hello"), func(h *wire.IPv6) { h.FlowLabel = 7 }), "hlim 63 udp 9 > 9 len 5", ""},
		// RFC 4443 3.3
		{"hop limit", ipv6(a, b, wire.ProtoUDP, udp6(a, b, 9, 9, "hello"), hops(1)), "", "icmp6 3/0 quoting 53"},
		// RFC 4443 3.2, RFC 8200 4.5
		{"too big", ipv6(a, b, wire.ProtoUDP, big), "", "icmp6 2/0 word 1300 quoting 1232"},
		// RFC 4443 3.1
		{"no route", ipv6(a, "fd00:9::1", wire.ProtoUDP, udp6(a, "fd00:9::1", 9, 9, "hello")), "", "icmp6 1/0 quoting 53"},
		{"hop-by-hop", ipv6(a, b, wire.ProtoHopByHop, append(optionHeader(wire.ProtoUDP, 1), udp6(a, b, 9, 9, "hello")...)), "hop-by-hop", ""},
		{"a hop-by-hop option", ipv6(a, b, wire.ProtoHopByHop, append(optionHeader(wire.ProtoUDP, 0xde), udp6(a, b, 9, 9, "hello")...)), "", "icmp6 4/2 word 42 quoting 61"},
	} {
		for range 2 { // by the table, then by the cache
			x := newIPv6Router(t, 1300)
			x.sendIP6(0, c.ip)
			switch {
			case c.want == "hop-by-hop":
				if len(x.out) != 1 || x.from[0] != 1 || !bytes.Equal(x.out[0][14+40:], c.ip[40:]) {
					t.Errorf("%s: %x", c.name, x.out)
				}
				x.out, x.from = nil, nil
			case c.want != "":
				x.want(1, fmt.Sprintf("to 02:00:00:00:01:99: %s > %s %s", a, b, c.want))
				x.sendIP6(0, c.ip)
				x.want(1, fmt.Sprintf("to 02:00:00:00:01:99: %s > %s %s", a, b, c.want))
			default:
				x.want(0, station0OK+"fd00:1::1 > fd00:1::2 hlim 64 "+c.err)
			}
		}
	}
}

// RFC 4291 2.5.6: "Routers must not forward any packets with Link-Local source or destination addresses to other links."
func TestForwardScopeIPv6(t *testing.T) {
	x := newIPv6Router(t, 0)
	x.know(0, station0)
	x.sendIP6(0, ipv6(station0, "fd00:2::2", wire.ProtoUDP, udp6(station0, "fd00:2::2", 9, 9, "")))
	x.want(0, station0OK+linkLocal0+" > "+station0+" hlim 64 icmp6 1/2 quoting 48")
	x.sendIP6(0, ipv6("fd00:1::2", "fe80::9", wire.ProtoUDP, udp6("fd00:1::2", "fe80::9", 9, 9, "")))
	x.want(0, station0OK+"fd00:1::1 > fd00:1::2 hlim 64 icmp6 1/2 quoting 48")
	// nor what came to all of a link
	x.sendGroup(0, ipv6("fd00:1::2", "ff0e::1", wire.ProtoUDP, udp6("fd00:1::2", "ff0e::1", 9, 9, "")))
	x.wantIdle()
}

// RFC 8201 4: a Packet Too Big makes the source send smaller packets, here fragments (RFC 8200 4.5), for ten minutes.
func TestPathMTUIPv6(t *testing.T) {
	x := newIPBench(t, Config{}, 0, us6+"/64")
	x.know(0, them6)
	u := openUDP(t, x.s, "[::]:4000", nil)
	data := make([]byte, 1452)
	send := func() []byte {
		t.Helper()
		x.know(0, them6)
		if err := u.SendTo(data, addrPort("[fd00::2]:9"), SendOptions{}); err != nil {
			t.Fatal(err)
		}
		return x.out[0]
	}
	tooBig := func(mtu uint32, quoted []byte) {
		x.sendIP6(0, icmp6("fd00::99", us6, wire.ICMPv6PacketTooBig, 0, mtu, string(quoted[14:14+100])))
	}
	const whole, cut0, cut1 = station0OK + "fd00::1 > fd00::2 hlim 64 udp 4000 > 9 len 1452",
		station0OK + "fd00::1 > fd00::2 hlim 64 frag 0+1256 more", station0OK + "fd00::1 > fd00::2 hlim 64 frag 1256+204"
	b := send()
	x.want(0, whole)
	tooBig(1279, b) // "it must discard it"
	tooBig(1500, b)
	other := bytes.Clone(b)
	other[14+23] = 9 // not our address
	tooBig(1300, other)
	send()
	x.want(0, whole)
	tooBig(1304, b)
	send()
	x.want(0, cut0)
	x.want(0, cut1)
	// "A node MUST NOT increase its estimate ... in response to the contents of a Packet Too Big message."
	tooBig(1400, b)
	if err := u.SendTo(data, addrPort("[fd00::2]:9"), SendOptions{DF: true}); err != ErrMessageTooLong {
		t.Errorf("whole or not at all: %v", err)
	}
	x.advance(599 * sim.Second)
	send()
	x.want(0, cut0)
	x.want(0, cut1)
	x.advance(1 * sim.Second)
	send()
	x.want(0, whole)
	x.advance(10 * sim.Second)
	x.out, x.from = nil, nil
	for i := range 2 * maxPathMTUs {
		x.s.six.paths.set(ipAddr{1, uint64(i)}, 1300, sim.Never)
	}
	if n := len(x.s.six.paths.list); n != maxPathMTUs {
		t.Errorf("%d paths are remembered", n)
	}
}

// RFC 6724 5, rule by rule.
//
// RFC 9293 MUST-44.
func TestSourceAddressIPv6(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "2001:db8:1::1/64 2001:db8:2::1/64 fd00:1::1/64")
	six := x.ifcs[0].six
	for _, c := range []struct{ rule, dst, want string }{
		{"1 the same address", "2001:db8:2::1", "2001:db8:2::1"},
		{"2 the scope", "fe80::9", linkLocal0},
		{"2 the scope", "ff02::1", linkLocal0},
		{"6 the label", "fd00:9::1", "fd00:1::1"},
		{"6 the label", "2001:db8:1:5::1", "2001:db8:1::1"},
		{"8 the longest prefix", "2001:db8:2:5::1", "2001:db8:2::1"},
	} {
		if got, _ := six.source6(ipAddrOf(netip.MustParseAddr(c.dst))); got.netip().String() != c.want {
			t.Errorf("rule %s: to %s from %s, want %s", c.rule, c.dst, got.netip(), c.want)
		}
	}
	six.addrs[2].state = AddressDeprecated
	if got, _ := six.source6(ipAddrOf(netip.MustParseAddr("2001:db8:2:5::1"))); got.netip().String() != "2001:db8:1::1" {
		t.Errorf("rule 3 no deprecated one: %s", got.netip())
	}
	six.addrs = six.addrs[:1]
	if _, ok := six.source6(ipAddrOf(netip.MustParseAddr("2001:db8::1"))); ok {
		t.Error("a link-local address speaks to the world")
	}
}

// Static routes: the longest prefix wins; RFC 6437: packets of a flow have one label.
func TestRoutesIPv6(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "fd00:1::1/64", "fd00:2::1/64")
	x.s.SetRoutes([]Route{
		{Dst: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fd00:1::9"), Ifc: x.ifcs[0]},
		{Dst: netip.MustParsePrefix("fd00:3::/48"), Via: netip.MustParseAddr("fd00:2::9"), Ifc: x.ifcs[1]},
	})
	x.know(0, "fd00:1::9")
	x.know(1, "fd00:2::9")
	u := openUDP(t, x.s, "[::]:4000", nil)
	for _, c := range []struct {
		to   string
		ifc  int
		want string
	}{
		{"[fd00:3::5]:9", 1, "to 02:00:00:00:01:99: fd00:2::1 > fd00:3::5 hlim 64 udp 4000 > 9 len 0"},
		{"[fd00:4::5]:9", 0, station0OK + "fd00:1::1 > fd00:4::5 hlim 64 udp 4000 > 9 len 0"},
	} {
		var labels [2]uint32
		for i := range labels {
			if err := u.SendTo(nil, addrPort(c.to), SendOptions{}); err != nil {
				t.Fatal(err)
			}
			labels[i] = be32(x.want(c.ifc, c.want)[14:]) & wire.IPv6FlowLabelMask
		}
		if labels[0] != labels[1] || labels[0] == 0 {
			t.Errorf("to %s: flow labels %#x", c.to, labels)
		}
	}
}

// RFC 8200 5: an interface whose MTU falls below 1280 has no IPv6, and has it again once it rises; what was under way to its
// neighbours is gone.
func TestMTUOfInterfaceIPv6(t *testing.T) {
	x := newIPBench(t, Config{}, 0, us6+"/64")
	u := openUDP(t, x.s, "[::]:4000", nil)
	change := func(mtu int) {
		ic := x.ifcs[0].cfg
		ic.MTU = mtu
		x.ifcs[0].Readdress(ic)
	}
	send := func() error { return u.SendTo(nil, addrPort("[fd00::2]:9"), SendOptions{}) }
	if err := send(); err != nil {
		t.Fatal(err)
	}
	x.want(0, "to 33:33:ff:00:00:02: fd00::1 > ff02::1:ff00:2 hlim 255 ns fd00::2 from 02:00:00:00:00:01")
	change(1400)
	x.wantNeighbour(them6, NeighbourIncomplete)
	change(1000)
	x.wantAddresses(0)
	for range 2 { // the socket keeps its route
		if err := send(); err != ErrNoRoute {
			t.Errorf("without IPv6: %v", err)
		}
	}
	x.advance(10 * sim.Second)
	x.wantIdle()
	change(1500)
	x.wantAddresses(0, linkLocal0+"/64 preferred", us6+"/64 preferred")
	x.know(0, them6)
	if err := send(); err != nil {
		t.Fatal(err)
	}
	x.want(0, station0OK+"fd00::1 > fd00::2 hlim 64 udp 4000 > 9 len 0")
}
