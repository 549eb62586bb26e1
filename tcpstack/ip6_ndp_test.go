package tcpstack

import (
	"net/netip"
	"testing"
	"time"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

const (
	linkLocal0 = "fe80::ff:fe00:1"  // of eth0's 02:00:00:00:00:01
	station0   = "fe80::ff:fe00:99" // of the test's station there
	station0OK = "to 02:00:00:00:00:99: "
)

func solicitation(target string) wire.Neighbor {
	return wire.Neighbor{Type: wire.ICMPv6NeighSolicit, Target: netip.MustParseAddr(target),
		Options: wire.NDPOptions{HasSource: true, SourceMAC: stationMAC(0)}}
}

func advertisement(target string, solicited, override bool) wire.Neighbor {
	return wire.Neighbor{Type: wire.ICMPv6NeighAdvert, Target: netip.MustParseAddr(target), Solicited: solicited, Override: override,
		Options: wire.NDPOptions{HasTarget: true, TargetMAC: stationMAC(0)}}
}

// wantNeighbour compares what the stack knows of a neighbour.
func (x *ipBench) wantNeighbour(addr string, state NeighbourState) {
	x.t.Helper()
	n := x.ifcs[0].neighbours[ipAddrOf(netip.MustParseAddr(addr))]
	if n == nil || n.state != state {
		x.t.Fatalf("neighbour %s is %+v, want %v", addr, n, state)
	}
}

// RFC 4861 7.2.2: a multicast solicitation to the solicited-node group, from the address of the packet that prompted it;
// the packets wait, and go when the answer is there.
func TestNeighbourSolicitation(t *testing.T) {
	x := newIPBench(t, Config{}, 0, us6+"/64")
	u := openUDP(t, x.s, "[::]:4000", nil)
	for range 2 {
		if err := u.SendTo([]byte("hello"), addrPort("[fd00::2]:9"), SendOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	x.want(0, "to 33:33:ff:00:00:02: fd00::1 > ff02::1:ff00:2 hlim 255 ns fd00::2 from 02:00:00:00:00:01")
	x.wantNeighbour(them6, NeighbourIncomplete)
	x.sendIP6(0, neighbor6(them6, us6, advertisement(them6, true, true)))
	x.want(0, station0OK+"fd00::1 > fd00::2 hlim 64 udp 4000 > 9 len 5")
	x.want(0, station0OK+"fd00::1 > fd00::2 hlim 64 udp 4000 > 9 len 5")
	x.wantNeighbour(them6, NeighbourReachable)
}

// RFC 4861 7.2.2: after MAX_MULTICAST_SOLICIT "address resolution has failed": the sender is told.
func TestNeighbourUnreachableIPv6(t *testing.T) {
	x := newIPBench(t, Config{Forwarding: true}, 0, us6+"/64", "fd00:1::1/64")
	x.know(1, "fd00:1::2")
	x.sendIP6(1, ipv6("fd00:1::2", them6, wire.ProtoUDP, udp6("fd00:1::2", them6, 9, 9, "hello")))
	for range neighbourTries {
		x.want(0, "to 33:33:ff:00:00:02: fe80::ff:fe00:1 > ff02::1:ff00:2 hlim 255 ns fd00::2 from 02:00:00:00:00:01")
		x.advance(sim.Second + 1)
	}
	x.want(1, "to 02:00:00:00:01:99: fd00:1::1 > fd00:1::2 hlim 64 icmp6 1/3 quoting 53")
	x.wantCount("ndp.failed", 1)
}

// RFC 4861 7.3.3: REACHABLE -> STALE -> DELAY -> PROBE, and back on a confirmation.
func TestNeighbourUnreachabilityDetection(t *testing.T) {
	x := newIPBench(t, Config{}, 0, us6+"/64")
	u := openUDP(t, x.s, "[::]:4000", nil)
	send := func() {
		t.Helper()
		if err := u.SendTo(nil, addrPort("[fd00::2]:9"), SendOptions{}); err != nil {
			t.Fatal(err)
		}
		x.want(0, station0OK+"fd00::1 > fd00::2 hlim 64 udp 4000 > 9 len 0")
	}
	probe := station0OK + linkLocal0 + " > fd00::2 hlim 255 ns fd00::2 from 02:00:00:00:00:01"
	x.know(0, them6)
	x.advance(30*sim.Second - 1)
	send()
	x.wantNeighbour(them6, NeighbourReachable)
	x.advance(1)
	send()
	x.wantNeighbour(them6, NeighbourDelay)
	x.advance(5 * sim.Second)
	x.wantIdle()
	x.advance(1)
	x.want(0, probe)
	x.wantNeighbour(them6, NeighbourProbe)
	send() // packets go on meanwhile
	x.sendIP6(0, neighbor6(them6, linkLocal0, advertisement(them6, true, true)))
	x.wantNeighbour(them6, NeighbourReachable)
	// the upper layer's word keeps the probes away
	x.advance(31 * sim.Second)
	send()
	x.wantNeighbour(them6, NeighbourDelay)
	x.ifcs[0].neighbours[ipAddrOf(netip.MustParseAddr(them6))].confirm()
	x.wantNeighbour(them6, NeighbourReachable)
	x.advance(29 * sim.Second)
	x.wantIdle()
	// nobody answers
	x.advance(2 * sim.Second)
	send()
	x.advance(5*sim.Second + 1)
	for range neighbourTries {
		x.want(0, probe)
		x.advance(sim.Second)
	}
	x.wantNeighbour(them6, NeighbourFailed)
}

// RFC 4861 7.2.3, 7.2.4: who is asked answers, and learns who asked - as STALE, since nothing has confirmed it.
func TestNeighbourAdvertisement(t *testing.T) {
	x := newIPBench(t, Config{}, 0, us6+"/64")
	x.sendGroup(0, neighbor6(station0, "ff02::1:ff00:1", solicitation(us6)))
	x.want(0, station0OK+"fd00::1 > "+station0+" hlim 255 na fd00::1 is-at 02:00:00:00:00:01 SO")
	x.wantNeighbour(station0, NeighbourStale)
	x.sendGroup(0, neighbor6(station0, "ff02::1:ff00:1", solicitation(linkLocal0)))
	x.want(0, station0OK+linkLocal0+" > "+station0+" hlim 255 na "+linkLocal0+" is-at 02:00:00:00:00:01 SO")
	// "If the source of the solicitation is the unspecified address": somebody checks for duplicates.
	probe := wire.Neighbor{Type: wire.ICMPv6NeighSolicit, Target: netip.MustParseAddr(us6)}
	x.sendGroup(0, neighbor6("::", "ff02::1:ff00:1", probe))
	x.want(0, "to 33:33:00:00:00:01: fd00::1 > ff02::1 hlim 255 na fd00::1 is-at 02:00:00:00:00:01 O")
	// 7.1.1: what is not valid
	for _, b := range [][]byte{
		neighbor6(station0, "ff02::1:ff00:1", solicitation(us6), hops(254)),
		neighbor6("::", "ff02::1:ff00:1", solicitation(us6)),
		neighbor6("::", us6, probe),
	} {
		if b[24] == 0xff {
			x.sendGroup(0, b)
		} else {
			x.sendIP6(0, b)
		}
	}
	x.wantCount("ip.dropped.ndp", 3)
	x.wantIdle()
}

// RFC 4861 7.2.5: what an advertisement changes depends on its flags.
func TestNeighbourAdvertisementReceived(t *testing.T) {
	other := wire.MAC{2, 0, 0, 0, 0, 0x98}
	for _, c := range []struct {
		name           string
		sol, over, mac bool // mac: another hardware address
		state          NeighbourState
		moved          bool
	}{
		{"solicited", true, false, false, NeighbourReachable, false},
		{"solicited, another address", true, false, true, NeighbourStale, false},
		{"solicited, override", true, true, true, NeighbourReachable, true},
		{"unsolicited", false, true, false, NeighbourReachable, false},
		{"unsolicited, override", false, true, true, NeighbourStale, true},
	} {
		x := newIPBench(t, Config{}, 0, us6+"/64")
		x.know(0, them6)
		m := advertisement(them6, c.sol, c.over)
		if c.mac {
			m.Options.TargetMAC = other
		}
		x.sendIP6(0, neighbor6(them6, us6, m))
		n := x.ifcs[0].neighbours[ipAddrOf(netip.MustParseAddr(them6))]
		if n.state != c.state || (wire.MAC(n.eth[:6]) == other) != c.moved {
			t.Errorf("%s: %v, at %v", c.name, n.state, wire.MAC(n.eth[:6]))
		}
	}
	// "If no entry exists, the advertisement SHOULD be silently discarded."
	x := newIPBench(t, Config{}, 0, us6+"/64")
	x.sendIP6(0, neighbor6(them6, us6, advertisement(them6, true, true)))
	if len(x.s.neighbours) != 0 {
		t.Error("an advertisement that nobody asked for is believed")
	}
}

// Whoever sends from many addresses fills no table.
func TestNeighboursBoundIPv6(t *testing.T) {
	x := newIPBench(t, Config{}, 0, us6+"/64")
	for i := range 2 * maxNeighbours {
		src := ipAddr{0xfe80 << 48, uint64(i + 2)}.netip().String()
		x.sendGroup(0, neighbor6(src, "ff02::1:ff00:1", solicitation(us6)))
	}
	if n := len(x.s.neighbours); n != maxNeighbours {
		t.Errorf("%d entries", n)
	}
	x.out, x.from = nil, nil
}

// routerSays is a router's advertisement of one prefix.
func routerSays(prefix string, valid, preferred time.Duration) wire.RouterAdvert {
	m := wire.RouterAdvert{HopLimit: 33, Lifetime: 1800 * time.Second}
	o := &m.Options
	o.HasSource, o.SourceMAC, o.MTU, o.NPrefixes = true, stationMAC(0), 1400, 1
	o.Prefixes[0] = wire.PrefixInfo{Prefix: netip.MustParsePrefix(prefix), OnLink: true, Auto: true, Valid: valid, Preferred: preferred}
	return m
}

// newSLAACHost is a host that has checked its link-local address and asked for routers.
func newSLAACHost(t *testing.T) *ipBench {
	x := newIPBench(t, Config{SLAAC: true}, 0, "10.0.0.1/24")
	x.wantAddresses(0, linkLocal0+"/64 tentative")
	if d := x.skipTo(sim.Second + 2); d > maxSolicitDelay+2 {
		t.Errorf("the first probe goes after %v", d)
	}
	// RFC 4862 5.4.2: "the IP source is set to the unspecified address, and the IP destination is set to the solicited-node
	// multicast address of the target address."
	x.want(0, "to 33:33:ff:00:00:01: :: > ff02::1:ff00:1 hlim 255 ns "+linkLocal0)
	x.advance(sim.Second)
	x.wantAddresses(0, linkLocal0+"/64 preferred")
	x.want(0, "to 33:33:00:00:00:02: "+linkLocal0+" > ff02::2 hlim 255 rs")
	return x
}

// RFC 4862 5.5: addresses come from what routers advertise, after a check for duplicates; the router is the way out.
func TestSLAAC(t *testing.T) {
	x := newSLAACHost(t)
	// RFC 4861 6.3.7: solicitations are repeated, three in all
	x.advance(4 * sim.Second)
	x.want(0, "to 33:33:00:00:00:02: "+linkLocal0+" > ff02::2 hlim 255 rs")
	x.sendGroup(0, routerAdvert6(station0, routerSays("fd00:7::/64", 4*time.Hour, time.Hour)))
	x.wantAddresses(0, linkLocal0+"/64 preferred", "fd00:7::ff:fe00:1/64 tentative")
	e, _ := x.s.OpenEcho(func(EchoEvent) {})
	defer e.Close()
	far := netip.MustParseAddr("fd00:8::1")
	if err := e.Send(far, 1, nil, SendOptions{}); err != ErrNoRoute {
		t.Errorf("before it has an address: %v", err)
	}
	x.skipTo(2 * sim.Second)
	x.want(0, "to 33:33:ff:00:00:01: :: > ff02::1:ff00:1 hlim 255 ns fd00:7::ff:fe00:1")
	x.advance(sim.Second)
	x.wantAddresses(0, linkLocal0+"/64 preferred", "fd00:7::ff:fe00:1/64 preferred")
	if err := e.Send(far, 1, nil, SendOptions{}); err != nil {
		t.Fatal(err)
	}
	// RFC 4861 6.3.4: the hop limit, the MTU and the router's own address are the advertisement's
	x.want(0, station0OK+"fd00:7::ff:fe00:1 > fd00:8::1 hlim 33 icmp6 128/0 seq 1 len 0")
	if mtu := x.ifcs[0].six.mtu; mtu != 1400 {
		t.Errorf("the MTU is %d", mtu)
	}
	// RFC 4862 5.5.4: "A preferred address becomes deprecated when its preferred lifetime expires." "An address ...
	// becomes invalid when its valid lifetime expires."
	x.advance(time25m)
	x.out, x.from = nil, nil
	if err := e.Send(far, 2, nil, SendOptions{}); err != ErrNoRoute {
		t.Errorf("the router's lifetime is over: %v", err)
	}
	x.advance(36 * 60 * sim.Second)
	x.wantAddresses(0, linkLocal0+"/64 preferred", "fd00:7::ff:fe00:1/64 deprecated")
	x.advance(3 * 3600 * sim.Second)
	x.wantAddresses(0, linkLocal0+"/64 preferred")
}

const time25m = 25*60*sim.Second + 400*sim.Second

// RFC 4862 5.5.3 (e): what nobody has authenticated shortens a lifetime to two hours at the least.
func TestSLAACTwoHours(t *testing.T) {
	x := newSLAACHost(t)
	x.sendGroup(0, routerAdvert6(station0, routerSays("fd00:7::/64", 24*time.Hour, time.Hour)))
	x.advance(3 * sim.Second)
	x.out, x.from = nil, nil
	for _, c := range []struct{ says, want time.Duration }{
		{time.Second, 2 * time.Hour}, {3 * time.Hour, 3 * time.Hour}, {time.Minute, 2 * time.Hour},
	} {
		x.sendGroup(0, routerAdvert6(station0, routerSays("fd00:7::/64", c.says, 0)))
		a := x.ifcs[0].six.addrs[1]
		if got := time.Duration(a.valid - x.loop.Now()); got != c.want || a.state != AddressDeprecated {
			t.Errorf("%v: valid for %v, %v; want %v", c.says, got, a.state, c.want)
		}
	}
}

// RFC 4861 6.1.2, RFC 4862 5.5.3: what of an advertisement is not believed.
func TestRouterAdvertisementIgnored(t *testing.T) {
	x := newSLAACHost(t)
	x.sendGroup(0, routerAdvert6("fd00::9", routerSays("fd00:7::/64", time.Hour, time.Hour))) // no link-local source
	x.wantCount("ip.dropped.ndp", 1)
	for _, p := range []wire.RouterAdvert{
		routerSays("fe80::/64", time.Hour, time.Hour),
		routerSays("fd00:7::/64", time.Hour, 2*time.Hour), // preferred beyond valid
		routerSays("fd00:7::/56", time.Hour, time.Hour),   // on link, but no identifier fits
		routerSays("fd00:7::/64", 0, 0),
	} {
		x.sendGroup(0, routerAdvert6(station0, p))
	}
	x.wantAddresses(0, linkLocal0+"/64 preferred")
	// a host with fixed addresses goes by the lab's file
	y := newIPBench(t, Config{}, 0, us6+"/64")
	y.sendGroup(0, routerAdvert6(station0, routerSays("fd00:7::/64", time.Hour, time.Hour)))
	y.wantAddresses(0, linkLocal0+"/64 preferred", us6+"/64 preferred")
	// forged advertisements fill nothing
	for i := range 100 {
		m := routerSays(netip.PrefixFrom(ipAddr{0xfd01<<48 | uint64(i), 0}.netip(), 64).String(), time.Hour, time.Hour)
		x.sendGroup(0, routerAdvert6(ipAddr{0xfe80 << 48, uint64(i + 2)}.netip().String(), m))
	}
	h := x.ifcs[0].six.host
	if len(x.ifcs[0].six.addrs) != maxAutoAddresses || len(h.prefixes) != maxOnLink || len(h.routers) != maxDefaultRouters {
		t.Errorf("%d addresses, %d prefixes, %d routers", len(x.ifcs[0].six.addrs), len(h.prefixes), len(h.routers))
	}
	x.out, x.from = nil, nil
	x.advance(3 * sim.Second)
	x.out, x.from = nil, nil
}

// RFC 4862 5.4.3 to 5.4.5: another station's probe or advertisement for a tentative address makes it a duplicate, which is not
// used.
func TestDuplicateAddress(t *testing.T) {
	for _, c := range []struct {
		name string
		ip   []byte
	}{
		{"a probe", neighbor6("::", "ff02::1:ff00:1", wire.Neighbor{Type: wire.ICMPv6NeighSolicit, Target: netip.MustParseAddr(linkLocal0)})},
		{"an advertisement", neighbor6(linkLocal0, "ff02::1", advertisement(linkLocal0, false, true))},
	} {
		x := newIPBench(t, Config{SLAAC: true}, 0, "10.0.0.1/24")
		x.skipTo(2 * sim.Second)
		x.want(0, "to 33:33:ff:00:00:01: :: > ff02::1:ff00:1 hlim 255 ns "+linkLocal0)
		x.sendGroup(0, c.ip)
		x.wantAddresses(0, linkLocal0+"/64 duplicate")
		x.wantCount("ndp.duplicates", 1)
		x.advance(10 * sim.Second)
		x.wantIdle()
		x.sendIP6(0, icmp6(station0, linkLocal0, wire.ICMPv6EchoRequest, 0, 1, ""))
		x.wantCount("ip.dropped.not_forwarding", 1)
	}
}

// RFC 4861 6.2: a router advertises itself and its networks, at random intervals and soon after it is asked.
func TestRouterAdvertisements(t *testing.T) {
	x := newIPBench(t, Config{Forwarding: true, RouterAdvertisements: true}, 0, us6+"/64")
	const ra = "to 33:33:00:00:00:01: " + linkLocal0 + " > ff02::1 hlim 255 ra hlim 64 lifetime 30m0s mtu 1500 prefix fd00::/64"
	x.skipTo(sim.Second)
	x.want(0, ra)
	for i := 1; i < 6; i++ {
		d := x.skipTo(601 * sim.Second)
		x.want(0, ra)
		// 6.2.4: "for the first few advertisements (up to MAX_INITIAL_RTR_ADVERTISEMENTS) ... the timer SHOULD be set to
		// MAX_INITIAL_RTR_ADVERT_INTERVAL instead", else it lies between MinRtrAdvInterval and MaxRtrAdvInterval.
		if early := i < initialRAs; early != (d <= initialRAInterval+1) || d < 3*sim.Second {
			t.Errorf("advertisement %d comes after %v", i, d)
		}
	}
	x.advance(10 * sim.Second)
	rs := func(src string, o wire.NDPOptions) []byte {
		b := make([]byte, wire.RouterSolicitLen+o.Len())
		wire.PutRouterSolicit(b, &o)
		return ipv6(src, "ff02::2", wire.ProtoICMPv6, sum6(src, "ff02::2", wire.ProtoICMPv6, b, 2), hops(255))
	}
	x.sendGroup(0, rs(station0, wire.NDPOptions{HasSource: true, SourceMAC: stationMAC(0)}))
	if d := x.skipTo(sim.Second); d > maxRADelay+2 {
		t.Errorf("the answer comes after %v", d)
	}
	x.want(0, ra)
	x.wantNeighbour(station0, NeighbourStale)
	// MIN_DELAY_BETWEEN_RAS
	x.sendGroup(0, rs(station0, wire.NDPOptions{}))
	if d := x.skipTo(4 * sim.Second); d < minDelayOfRAs {
		t.Errorf("the next comes after %v", d)
	}
	x.want(0, ra)
	x.sendGroup(0, rs("::", wire.NDPOptions{HasSource: true})) // 6.1.1
	x.wantCount("ip.dropped.ndp", 1)
}

// Without SLAAC and advertisements IPv6 sends nothing unasked.
func TestIPv6IsQuiet(t *testing.T) {
	x := newIPBench(t, Config{Forwarding: true}, 0, "10.0.0.1/24 "+us6+"/64", "10.0.1.1/24 fd00:1::1/64")
	x.advance(3600 * sim.Second)
	x.wantIdle()
	x.wantAddresses(0, linkLocal0+"/64 preferred", us6+"/64 preferred")
}

// net.ipv6.conf.all.disable_ipv6; RFC 8200 5: nor is there IPv6 on a link that takes less than 1280 bytes.
func TestNoIPv6(t *testing.T) {
	x := newIPBench(t, Config{DisableIPv6: true}, 0, "10.0.0.1/24 "+us6+"/64")
	x.sendIP6(0, icmp6(them6, us6, wire.ICMPv6EchoRequest, 0, 1, ""))
	x.wantCount("ip.dropped.ethertype", 1)
	y := newIPBench(t, Config{}, 1279, us6+"/64", "fd00:1::1/64")
	y.wantAddresses(1)
	y.wantAddresses(0, linkLocal0+"/64 preferred", us6+"/64 preferred")
}

// The switches of IPv6 may change while a stack runs, as net.ipv6.conf's do.
func TestReconfigureIPv6(t *testing.T) {
	x := newIPBench(t, Config{}, 0, us6+"/64")
	for _, c := range []struct {
		cfg  Config
		want []string
	}{
		{Config{DisableIPv6: true}, nil},
		{Config{}, []string{linkLocal0 + "/64 preferred", us6 + "/64 preferred"}},
		{Config{SLAAC: true}, []string{linkLocal0 + "/64 tentative", us6 + "/64 preferred"}},
		{Config{RouterAdvertisements: true}, []string{linkLocal0 + "/64 preferred", us6 + "/64 preferred"}},
	} {
		if err := x.s.Reconfigure(c.cfg); err != nil {
			t.Fatal(err)
		}
		x.wantAddresses(0, c.want...)
	}
	x.skipTo(sim.Second)
	x.want(0, "to 33:33:00:00:00:01: "+linkLocal0+" > ff02::1 hlim 255 ra hlim 64 lifetime 30m0s mtu 1500 prefix fd00::/64")
}
