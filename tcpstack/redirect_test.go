package tcpstack

import (
	"net/netip"
	"strings"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// A link with two routers: .9 is everybody's default, .7 knows the way to 10.9.0.0/16, fd00:9::/48.
const (
	farNet  = "10.9.0.0/16"
	far     = "10.9.0.5"
	farNet6 = "fd00:9::/48"
	far6    = "fd00:9::5"
	router7 = "fe80::7"
	router9 = "fe80::9"
)

// newRedirectBench is a stack on that link, at .1, to which the far networks are behind the router given.
func newRedirectBench(t *testing.T, cfg Config, via4, via6 string) *ipBench {
	t.Helper()
	x := newIPBench(t, cfg, 0, "10.0.0.1/24 "+us6+"/64")
	x.s.SetRoutes([]Route{
		{Dst: netip.MustParsePrefix(farNet), Via: netip.MustParseAddr(via4), Ifc: x.ifcs[0]},
		{Dst: netip.MustParsePrefix(farNet6), Via: netip.MustParseAddr(via6), Ifc: x.ifcs[0]},
	})
	for i, a := range []string{"10.0.0.2", "10.0.0.7", "10.0.0.9", them6, router7, router9} {
		x.ifcs[0].neighbourAt(ipAddrOf(netip.MustParseAddr(a))).learn(wire.MAC{2, 0, 0, 0, 0, byte(0x20 + i)})
		x.ifcs[0].SetNeighbour(netip.MustParseAddr(a), wire.MAC{2, 0, 0, 0, 0, byte(0x20 + i)})
	}
	return x
}

// Where a bench's neighbours are.
const (
	atHost, at7, at9    = "to 02:00:00:00:00:20: ", "to 02:00:00:00:00:21: ", "to 02:00:00:00:00:22: "
	atHost6, at76, at96 = "to 02:00:00:00:00:23: ", "to 02:00:00:00:00:24: ", "to 02:00:00:00:00:25: "
)

// RFC 1812 5.2.7.2: a router redirects who sends it what goes out where it came in, if the sender and the next hop are on
// one network and the datagram has no source route; no more often than Linux does, and not where sendRedirects is off.
func TestRedirectSent(t *testing.T) {
	packet := ipv4("10.0.0.2", far, wire.ProtoUDP, udpBytes("10.0.0.2", far, 9, 9, "hello"))
	for _, c := range []struct {
		name string
		cfg  Config
		src  string
		want uint64
	}{
		{"to a neighbour", Config{Forwarding: true}, "10.0.0.2", redirectNumber},
		{"switched off", Config{Forwarding: true, NoRedirects: true}, "10.0.0.2", 0},
		{"to nobody on the link", Config{Forwarding: true}, "10.3.0.2", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newRedirectBench(t, c.cfg, "10.0.0.7", router7)
			for i := range 1000 { // by the table, then by the cache
				x.sendIP(0, ipv4(c.src, far, wire.ProtoUDP, udpBytes(c.src, far, 9, 9, "hello")))
				if i == 0 && c.want > 0 {
					got := x.want(0, atHost+"10.0.0.1 > 10.0.0.2 ttl 64 icmp 5/1 gateway 10.0.0.7 quoting 33")
					if b := got[14+wire.IPv4MinLen:]; string(b[wire.ICMPLen:]) != string(packet) {
						t.Errorf("it quotes %x, want %x", b[wire.ICMPLen:], packet)
					}
				}
				if i == 0 {
					x.want(0, at7+c.src+" > 10.9.0.5 ttl 63 udp 9 > 9 len 5")
				}
				x.out, x.from = nil, nil
				x.advance(20 * sim.Millisecond)
			}
			x.wantCount("icmp.redirects_sent", c.want)
			x.wantCount("ip.forwarded", 1000)
			// A sender that was silent for long enough is told again.
			x.advance(redirectSilence + 1)
			x.sendIP(0, ipv4(c.src, far, wire.ProtoUDP, udpBytes(c.src, far, 9, 9, "hello")))
			x.out, x.from = nil, nil
			x.wantCount("icmp.redirects_sent", c.want+min(c.want, 1))
		})
	}
}

// RFC 4861 8.2, with the target's hardware address and the packet; to a router's link-local address only.
func TestRedirectSentIPv6(t *testing.T) {
	packet := ipv6(them6, far6, wire.ProtoUDP, udp6(them6, far6, 9, 9, "hello"))
	for _, c := range []struct {
		name, via string
		cfg       Config
		want      uint64
	}{
		{"to a neighbour", router7, Config{Forwarding: true}, redirectNumber},
		{"switched off", router7, Config{Forwarding: true, NoRedirects: true}, 0},
		{"a router that hosts know by another address", "fd00::7", Config{Forwarding: true}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newRedirectBench(t, c.cfg, "10.0.0.7", c.via)
			x.ifcs[0].SetNeighbour(netip.MustParseAddr("fd00::7"), wire.MAC{2, 0, 0, 0, 0, 0x24})
			for i := range 1000 {
				x.sendIP6(0, packet)
				if i == 0 && c.want > 0 {
					x.want(0, atHost6+linkLocal0+" > "+them6+" hlim 255 redirect fd00:9::5 to fe80::7 is-at 02:00:00:00:00:24 with 48")
				}
				if i == 0 {
					x.want(0, at76+them6+" > fd00:9::5 hlim 63 udp 9 > 9 len 5")
				}
				x.out, x.from = nil, nil
				x.advance(20 * sim.Millisecond)
			}
			x.wantCount("ndp.redirects_sent", c.want)
		})
	}
}

// goes sends a datagram to the far network and compares who gets it.
func (x *ipBench) goes(u *UDPSocket, to, first string) {
	x.t.Helper()
	if err := u.SendTo([]byte("hello"), netip.AddrPortFrom(netip.MustParseAddr(to), 9), SendOptions{}); err != nil {
		x.t.Fatal(err)
	}
	if len(x.out) == 0 || !strings.HasPrefix(summarise(x.out[0]), first) {
		x.t.Fatalf("to %s goes %v, want %s", to, x.out, first)
	}
	x.out, x.from = x.out[1:], x.from[1:]
}

// redirect4 is a redirect of the stack's datagrams to dst.
func redirect4(from, dst, gateway string, code uint8) []byte {
	g := num4(netip.MustParseAddr(gateway))
	quoted := ipv4("10.0.0.1", dst, wire.ProtoUDP, udpBytes("10.0.0.1", dst, 4000, 9, "hello"))
	return ipv4(from, "10.0.0.1", wire.ProtoICMP, icmpBytes(wire.ICMPRedirect, code, uint16(g>>16), uint16(g), string(quoted)))
}

// RFC 1122 3.2.2.2: "A host receiving a Redirect message MUST update its routing information accordingly", but not of a
// forged one: "A Redirect message SHOULD be silently discarded if the new gateway address it specifies is not on the same
// connected (sub-) net through which the Redirect arrived ..., or if the source of the Redirect is not the current first-hop
// gateway for the specified destination".
func TestRedirectTaken(t *testing.T) {
	host := Config{}
	for _, c := range []struct {
		name               string
		cfg                Config
		from, dst, gateway string
		code               uint8
		taken              bool
	}{
		{"of the first hop", host, "10.0.0.9", far, "10.0.0.7", 1, true},
		{"for a network: the host's", host, "10.0.0.9", far, "10.0.0.7", 0, true},
		{"of no known code", host, "10.0.0.9", far, "10.0.0.7", 4, false},
		{"of another station", host, "10.0.0.66", far, "10.0.0.7", 1, false},
		{"to another link", host, "10.0.0.9", far, "10.3.0.7", 1, false},
		{"to ourselves", host, "10.0.0.9", far, "10.0.0.1", 1, false},
		{"to all", host, "10.0.0.9", far, "10.0.0.255", 1, false},
		{"to where it comes from", host, "10.0.0.9", far, "10.0.0.9", 1, false},
		{"of a destination on the link", host, "10.0.0.9", "10.0.0.2", "10.0.0.7", 1, false},
		{"switched off", Config{IgnoreRedirects: true}, "10.0.0.9", far, "10.0.0.7", 1, false},
		{"a router", Config{Forwarding: true}, "10.0.0.9", far, "10.0.0.7", 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newRedirectBench(t, c.cfg, "10.0.0.9", router9)
			u, err := x.s.OpenUDP(netip.MustParseAddrPort("0.0.0.0:4000"), func(Datagram) {})
			if err != nil {
				t.Fatal(err)
			}
			x.goes(u, far, at9)
			x.sendIP(0, redirect4(c.from, c.dst, c.gateway, c.code))
			if !c.taken {
				x.wantCount("icmp.redirects_ignored", 1)
				x.goes(u, far, at9)
				return
			}
			x.wantCount("icmp.redirects_taken", 1)
			x.goes(u, far, at7)
			x.goes(u, "10.9.0.6", at9) // nobody spoke of this one
			// The new first hop may redirect in turn, the old one not any more.
			x.sendIP(0, redirect4("10.0.0.9", far, "10.0.0.2", 1))
			x.goes(u, far, at7)
			x.sendIP(0, redirect4("10.0.0.7", far, "10.0.0.2", 1))
			x.goes(u, far, atHost)
			x.advance(redirectLifetime + 1)
			x.goes(u, far, at9)
			// New routes make what was said of the old ones void.
			x.sendIP(0, redirect4("10.0.0.9", far, "10.0.0.7", 1))
			x.goes(u, far, at7)
			x.s.SetRouter(nil)
			x.goes(u, far, at9)
		})
	}
}

// A router that does not answer is no better way: RFC 4861 7.3.3, and Linux's ipv4_negative_advice.
func TestRedirectToTheDead(t *testing.T) {
	x := newRedirectBench(t, Config{}, "10.0.0.9", router9)
	u, err := x.s.OpenUDP(netip.MustParseAddrPort("0.0.0.0:4000"), func(Datagram) {})
	if err != nil {
		t.Fatal(err)
	}
	x.goes(u, far, at9)
	x.sendIP(0, redirect4("10.0.0.9", far, "10.0.0.44", 1))
	x.goes(u, far, "to ff:ff:ff:ff:ff:ff: arp who-has 10.0.0.44")
	x.advance(4 * sim.Second)
	x.out, x.from = nil, nil
	x.goes(u, far, at9)
}

// What a station on the link claims of a thousand destinations takes no more than its bound.
func TestRedirectsAreBounded(t *testing.T) {
	x := newRedirectBench(t, Config{}, "10.0.0.9", router9)
	for i := range 1000 {
		x.sendIP(0, redirect4("10.0.0.9", addr4(num4(netip.MustParseAddr(far))+uint32(i)).String(), "10.0.0.7", 1))
	}
	if n := len(x.s.redirects.list); n != maxRedirects {
		t.Errorf("%d are kept", n)
	}
}

// redirect6To is a redirect of what goes to the far network.
func redirect6To(target string) []byte {
	m := wire.Redirect{Target: netip.MustParseAddr(target), Destination: netip.MustParseAddr(far6), Packet: make([]byte, 40)}
	b := make([]byte, m.Len())
	m.Put(b)
	return ipv6(router9, us6, wire.ProtoICMPv6, sum6(router9, us6, wire.ProtoICMPv6, b, 2), hops(255))
}

// RFC 4861 8.1 and 8.3.
func TestRedirectTakenIPv6(t *testing.T) {
	host := Config{}
	for _, c := range []struct {
		name              string
		cfg               Config
		from, dst, target string
		hops              uint8
		counter           string
	}{
		{"of the first hop", host, router9, far6, router7, 255, "ndp.redirects_taken"},
		{"the destination is on the link", host, router9, far6, far6, 255, "ndp.redirects_taken"},
		{"of another station", host, "fe80::66", far6, router7, 255, "ndp.redirects_ignored"},
		{"of no link-local address", host, them6, far6, router7, 255, "ip.dropped.ndp"},
		{"from another link", host, router9, far6, router7, 254, "ip.dropped.ndp"},
		{"to a router's other address", host, router9, far6, "fd00::7", 255, "ip.dropped.ndp"},
		{"of a group", host, router9, "ff0e::5", router7, 255, "ip.dropped.ndp"},
		{"of a destination on the link", host, router9, them6, router7, 255, "ndp.redirects_ignored"},
		{"switched off", Config{IgnoreRedirects: true}, router9, far6, router7, 255, "ndp.redirects_ignored"},
		{"a router", Config{Forwarding: true}, router9, far6, router7, 255, "ndp.redirects_ignored"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newRedirectBench(t, c.cfg, "10.0.0.9", router9)
			u, err := x.s.OpenUDP(netip.MustParseAddrPort("[::]:4000"), func(Datagram) {})
			if err != nil {
				t.Fatal(err)
			}
			x.goes(u, far6, at96)
			m := wire.Redirect{Target: netip.MustParseAddr(c.target), Destination: netip.MustParseAddr(c.dst),
				Options: wire.NDPOptions{HasTarget: true, TargetMAC: wire.MAC{2, 0, 0, 0, 0, 0x77}}, Packet: make([]byte, 40)}
			b := make([]byte, m.Len())
			m.Put(b)
			x.sendIP6(0, ipv6(c.from, us6, wire.ProtoICMPv6, sum6(c.from, us6, wire.ProtoICMPv6, b, 2), hops(c.hops)))
			x.wantCount(c.counter, 1)
			if !strings.HasSuffix(c.counter, "taken") {
				x.goes(u, far6, at96)
				return
			}
			x.goes(u, far6, "to 02:00:00:00:00:77: ")
			x.advance(redirectLifetime + 1)
			x.out, x.from = nil, nil // the neighbour is asked whether it is still there
			x.goes(u, far6, at96)
		})
	}
}
