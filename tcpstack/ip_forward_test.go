package tcpstack

import (
	"net/netip"
	"slices"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// newRouterBench is a router between 10.0.0.0/24 and 10.0.1.0/24, whose second link has the given MTU, that knows the
// stations 10.0.0.2 and 10.0.1.2.
func newRouterBench(t *testing.T, mtu int) *ipBench {
	x := newIPBench(t, Config{Forwarding: true}, mtu, "10.0.0.1/24", "10.0.1.1/24")
	x.know(0, "10.0.0.2")
	x.know(1, "10.0.1.2")
	return x
}

func crossing(data string, mod ...func(*wire.IPv4)) []byte {
	return ipv4("10.0.0.2", "10.0.1.2", wire.ProtoUDP, udpBytes("10.0.0.2", "10.0.1.2", 9, 4000, data), mod...)
}

// RFC 1812 5.2.1: the router takes one off the TTL, keeps the checksum true, and sends the datagram on unchanged.
func TestForward(t *testing.T) {
	x := newRouterBench(t, 0)
	for range 3 { // the first finds the way, the others take it from the cache
		x.sendIP(0, crossing("hello"))
		b := x.want(1, "to 02:00:00:00:01:99: 10.0.0.2 > 10.0.1.2 ttl 63 udp 9 > 4000 len 5")
		want := crossing("hello", func(h *wire.IPv4) { h.TTL = 63 })
		if !slices.Equal(b[14:], want) {
			t.Errorf("forwarded\n%x, want\n%x", b[14:], want)
		}
	}
	x.wantCount("ip.forwarded", 3)
	x.sendIP(1, ipv4("10.0.1.2", "10.0.0.2", 99, nil))
	x.want(0, "to 02:00:00:00:00:99: 10.0.1.2 > 10.0.0.2 ttl 63 proto 99 len 0")
}

// RFC 1812 5.3.1: "If the TTL is reduced to zero (or less), the packet MUST be discarded ... the router MUST send an ICMP
// Time Exceeded message, Code 0 (TTL Exceeded in Transit) message to the source".
func TestForwardTTL(t *testing.T) {
	x := newRouterBench(t, 0)
	for ttl := range uint8(2) {
		x.sendIP(0, crossing("hello", func(h *wire.IPv4) { h.TTL = ttl }))
		b := x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 icmp 11/0 quoting 33")
		if want := crossing("hello", func(h *wire.IPv4) { h.TTL = ttl }); !slices.Equal(b[14+28:], want) {
			t.Errorf("quoted %x, want %x", b[14+28:], want)
		}
	}
	x.wantCount("ip.dropped.ttl", 2)
	x.sendIP(0, crossing("hello", func(h *wire.IPv4) { h.TTL = 2 }))
	x.want(1, "to 02:00:00:00:01:99: 10.0.0.2 > 10.0.1.2 ttl 1 udp 9 > 4000 len 5")
}

// RFC 1812 4.3.3.1: no route at all is code 0, a host that does not answer is code 1.
func TestForwardUnreachable(t *testing.T) {
	x := newRouterBench(t, 0)
	x.sendIP(0, ipv4("10.0.0.2", "192.0.2.1", 99, []byte("abc")))
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 icmp 3/0 quoting 23")
	x.sendIP(0, ipv4("10.0.0.2", "10.0.1.77", 99, []byte("abc")))
	for range 3 {
		x.want(1, "to "+bcastMAC+": arp who-has 10.0.1.77 tell 10.0.1.1")
		x.advance(sim.Second + 1)
	}
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 icmp 3/1 quoting 23")
	// RFC 2644: unless told otherwise a router does not forward directed broadcasts.
	x.sendIP(0, ipv4("10.0.0.2", "10.0.1.255", 99, []byte("abc")))
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 icmp 3/0 quoting 23")
}

// RFC 1191 section 4: with DF set a router tells the MTU of the next hop; without it the datagram is cut.
func TestForwardTooBig(t *testing.T) {
	x := newRouterBench(t, 100)
	data := string(make([]byte, 200))
	x.sendIP(0, crossing(data, func(h *wire.IPv4) { h.DF = true }))
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 icmp 3/4 mtu 100 quoting 228")
	x.wantCount("ip.dropped.too_big", 1)
	x.sendIP(0, crossing(data))
	x.want(1, "to 02:00:00:00:01:99: 10.0.0.2 > 10.0.1.2 ttl 63 frag 0+80 mf")
	x.want(1, "to 02:00:00:00:01:99: 10.0.0.2 > 10.0.1.2 ttl 63 frag 80+80 mf")
	x.want(1, "to 02:00:00:00:01:99: 10.0.0.2 > 10.0.1.2 ttl 63 frag 160+48")
	// RFC 1812 4.3.2.3: an error is 576 bytes at most.
	x.sendIP(0, crossing(string(make([]byte, 1400)), func(h *wire.IPv4) { h.DF = true }))
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 icmp 3/4 mtu 100 quoting 548")
}

// RFC 1122 3.2.2 lists what never causes an ICMP error.
func TestNoErrorAbout(t *testing.T) {
	ttl0 := func(h *wire.IPv4) { h.TTL = 1 }
	for name, ip := range map[string][]byte{
		"an ICMP error":         ipv4("10.0.0.2", "10.0.1.2", wire.ProtoICMP, icmpBytes(3, 1, 0, 0, "quoted"), ttl0),
		"an unknown ICMP type":  ipv4("10.0.0.2", "10.0.1.2", wire.ProtoICMP, icmpBytes(200, 1, 0, 0, "quoted"), ttl0),
		"ICMP without a header": ipv4("10.0.0.2", "10.0.1.2", wire.ProtoICMP, nil, ttl0),
		"a later fragment":      crossing("hello", ttl0, func(h *wire.IPv4) { h.Offset = 8 }),
		"a broadcast source":    ipv4("255.255.255.255", "10.0.1.2", 99, nil, ttl0),
		"a source of no host":   ipv4("0.0.0.0", "10.0.1.2", 99, nil, ttl0),
		"a multicast":           ipv4("10.0.0.2", "224.0.0.9", 99, nil, ttl0),
	} {
		x := newRouterBench(t, 0)
		x.sendIP(0, ip)
		if len(x.out) != 0 {
			t.Errorf("%s was answered: %s", name, summarise(x.out[0]))
			x.out, x.from = nil, nil
		}
	}
	x := newRouterBench(t, 0)
	x.sendIP(0, ipv4("10.0.0.2", "10.0.1.2", wire.ProtoICMP, icmpBytes(8, 0, 1, 1, ""), ttl0))
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 icmp 11/0 quoting 28")
}

// RFC 1812 4.3.2.8: errors are limited in rate; the bucket fills with lab time.
func TestErrorRateLimit(t *testing.T) {
	x := newRouterBench(t, 0)
	burst := func() int {
		for range icmpErrorBurst + 30 {
			x.sendIP(0, crossing("", func(h *wire.IPv4) { h.TTL = 1 }))
		}
		n := len(x.out)
		x.out, x.from = nil, nil
		return n
	}
	if n := burst(); n != icmpErrorBurst {
		t.Errorf("%d errors in a burst, want %d", n, icmpErrorBurst)
	}
	x.advance(5 * sim.Millisecond)
	if n := burst(); n != 5 {
		t.Errorf("%d errors 5 ms later, want 5", n)
	}
	x.wantCount("icmp.errors_rate_limited", 30+icmpErrorBurst+25)
}

// RFC 1812 5.2.4.3: the longest match wins; the Router is asked last and by flow.
func TestRouteLookup(t *testing.T) {
	x := newIPBench(t, Config{Forwarding: true, NoRedirects: true}, 0, "10.0.0.1/24", "10.0.1.1/24", "10.0.2.1/24")
	for i, ip := range []string{"10.0.0.2", "10.0.1.2", "10.0.2.2"} {
		x.know(i, ip)
	}
	pre, addr := netip.MustParsePrefix, netip.MustParseAddr
	x.s.SetRoutes([]Route{
		{Dst: pre("192.0.0.0/8"), Via: addr("10.0.0.2"), Ifc: x.ifcs[0]},
		{Dst: pre("192.0.2.0/24"), Via: addr("10.0.1.2"), Ifc: x.ifcs[1]},
		{Dst: pre("192.0.2.0/24"), Via: addr("10.0.0.2"), Ifc: x.ifcs[0]},
		{Dst: pre("10.0.1.2/32"), Via: addr("10.0.2.2"), Ifc: x.ifcs[2]},
	})
	flows := 0
	x.s.SetRouter(routerFunc(func(dst netip.Addr, flow uint32) (netip.Addr, *Interface, bool) {
		flows++
		return addr("10.0.2.2"), x.ifcs[2], dst == addr("198.51.100.1")
	}))
	for range 2 {
		for _, c := range []struct {
			dst string
			ifc int
		}{{"192.0.3.1", 0}, {"192.0.2.1", 1}, {"10.0.1.2", 2}, {"198.51.100.1", 2}} {
			x.sendIP(0, ipv4("10.0.0.2", c.dst, 99, nil))
			x.want(c.ifc, "to "+stationMAC(c.ifc).String()+": 10.0.0.2 > "+c.dst+" ttl 63 proto 99 len 0")
		}
	}
	if flows != 1 {
		t.Errorf("Router was asked %d times, want once", flows)
	}
	x.s.SetRoutes(nil)
	x.sendIP(0, ipv4("10.0.0.2", "192.0.2.1", 99, nil))
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 icmp 3/0 quoting 20")
}

// Of two links whose networks overlap, the narrower network's is taken, in whichever order they came.
func TestOverlappingNetworks(t *testing.T) {
	for narrow, prefixes := range [][]string{{"10.0.1.1/24", "10.0.0.1/16"}, {"10.0.0.1/16", "10.0.1.1/24"}} {
		x := newIPBench(t, Config{}, 0, prefixes...)
		wide := 1 - narrow
		x.know(narrow, "10.0.1.2")
		x.know(wide, "10.0.2.2")
		u := openUDP(t, x.s, "10.0.1.1:7", nil)
		u.SendTo(nil, addrPort("10.0.1.2:9"), SendOptions{})
		x.want(narrow, "to "+stationMAC(narrow).String()+": 10.0.1.1 > 10.0.1.2 ttl 64 udp 7 > 9 len 0")
		u.SendTo(nil, addrPort("10.0.2.2:9"), SendOptions{})
		x.want(wide, "to "+stationMAC(wide).String()+": 10.0.1.1 > 10.0.2.2 ttl 64 udp 7 > 9 len 0")
	}
}

type routerFunc func(netip.Addr, uint32) (netip.Addr, *Interface, bool)

func (f routerFunc) Lookup(dst netip.Addr, flow uint32) (netip.Addr, *Interface, bool) {
	return f(dst, flow)
}

// More flows than the cache holds still find their way, and the cache stays within its bound.
func TestForwardCacheBound(t *testing.T) {
	x := newRouterBench(t, 0)
	for round := range 2 {
		for i := range 3 * maxForwardSlots {
			x.sendIP(0, ipv4("10.0.0.2", "10.0.1.2", wire.ProtoUDP, udpBytes("10.0.0.2", "10.0.1.2", uint16(i), 9, "")))
		}
		if n := len(x.out); n != 3*maxForwardSlots {
			t.Fatalf("round %d: %d forwarded", round, n)
		}
		x.out, x.from = nil, nil
	}
	if n := len(x.s.forwards.slots); n != maxForwardSlots {
		t.Errorf("%d slots", n)
	}
}
