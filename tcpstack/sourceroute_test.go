package tcpstack

import (
	"net/netip"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// looseRoute is a loose source route's option with its pointer and addresses, padded.
func looseRoute(kind, pointer byte, addrs ...string) []byte {
	o := []byte{kind, byte(3 + 4*len(addrs)), pointer}
	for _, a := range addrs {
		b := netip.MustParseAddr(a).As4()
		o = append(o, b[:]...)
	}
	return append(o, 0)
}

// routed builds a UDP datagram with an IP option.
func routed(src, dst string, option, udp []byte) []byte {
	b := ipv4(src, dst, wire.ProtoUDP, nil, func(h *wire.IPv4) { h.TotalLen = wire.IPv4MinLen + len(option) + len(udp) })
	b = append(append(b, option...), udp...)
	b[0] += byte(len(option) / 4)
	wire.SetIPv4Checksum(b[:wire.IPv4MinLen+len(option)])
	return b
}

func wantRoute(t *testing.T, g traceSegment, dst string, option []byte) {
	t.Helper()
	if g.dst.String() != dst || string(g.ipOptions) != string(option) {
		t.Errorf("sent to %v with %v, want %v with %v", g.dst, g.ipOptions, dst, option)
	}
}

// newSourceRouteTrace is a trace of a stack that takes source routes, or does not, with a router 10.0.0.9 on its link.
func newSourceRouteTrace(t *testing.T, accept bool, cfg TCPConfig) *tcpTrace {
	x := newTCPTrace(t, cfg)
	x.ifc.neighbour(num4(netip.MustParseAddr("10.0.0.9"))).learn(wire.MAC{2, 0, 0, 0, 0, 9})
	if err := x.s.Reconfigure(Config{AcceptSourceRoute: accept, ARPTimeout: 1 << 60, Checksums: ChecksumsAlways, TCP: x.cfg}); err != nil {
		t.Fatal(err)
	}
	return x
}

// RFC 9293 3.9.2.1: "An application MUST be able to specify a source route when it actively opens a TCP connection
// (MUST-51), and this MUST take precedence over a source route received in a datagram (MUST-52)." The options take their
// room from the segment's (MUST-16), and setsockopt changes the route.
func TestSourceRouteAsked(t *testing.T) {
	x := newSourceRouteTrace(t, true, TCPConfig{SourceRoute: "loose 10.0.0.9 10.0.7.1"})
	x.dial()
	there := looseRoute(optLooseRoute, 4, "10.0.7.1", "10.0.0.2")
	wantRoute(t, x.want("S seq=1000"), "10.0.0.9", there)
	x.ipOptions = looseRoute(optLooseRoute, 12, "10.0.8.1", "10.0.0.8")
	x.send("SA seq=100 ack=1001 mss=1000")
	wantRoute(t, x.want("A seq=1001 ack=101"), "10.0.0.9", there)
	x.write(1000)
	wantRoute(t, x.want("A seq=1001 ack=101 len=988"), "10.0.0.9", there)
	x.send("A seq=101 ack=1989")
	wantRoute(t, x.want("PA seq=1989 ack=101 len=12"), "10.0.0.9", there)
	if err := x.c.Reconfigure(TCPConfig{SourceRoute: "strict 10.0.0.9"}); err != nil {
		t.Fatal(err)
	}
	x.send("FA seq=101 ack=2001")
	x.advance(sim.Second)
	wantRoute(t, x.want("A seq=2001 ack=102"), "10.0.0.9", looseRoute(optStrictRoute, 4, "10.0.0.2"))
	x.c.Abort()
	x.want("RA seq=2001 ack=102")

	for _, bad := range []string{"loose", "10.0.0.9", "tight 10.0.0.9", "loose ten", "loose ::1", "loose 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1"} {
		if _, err := x.s.Dial(netip.AddrPort{}, x.them, TCPConfig{SourceRoute: bad}, x.app); err == nil {
			t.Errorf("dialled by %q", bad)
		}
	}
}

// RFC 9293 3.9.2.1: "When a TCP connection is OPENed passively and a packet arrives with a completed IP Source Route
// Option (containing a return route), TCP implementations MUST save the return route and use it for all segments sent
// on this connection (MUST-53). If a different source route arrives in a later segment, the later definition SHOULD
// override the earlier one (SHLD-24)." Without the switch nothing of it is heard.
func TestSourceRouteReturned(t *testing.T) {
	x := newSourceRouteTrace(t, true, TCPConfig{})
	x.listen()
	// RFC 1122 3.2.1.8: the route is right even if the source stands in the one that was recorded.
	x.ipOptions = looseRoute(optLooseRoute, 16, "10.0.0.2", "10.0.7.1", "10.0.0.9")
	back := looseRoute(optLooseRoute, 4, "10.0.7.1", "10.0.0.2")
	x.send("S seq=100 mss=1000")
	wantRoute(t, x.want("SA seq=1000 ack=101"), "10.0.0.9", back)
	x.ipOptions = nil
	x.send("A seq=101 ack=1001")
	x.write(10)
	wantRoute(t, x.want("PA seq=1001 ack=101 len=10"), "10.0.0.9", back)
	x.ipOptions = looseRoute(optStrictRoute, 8, "10.0.0.9")
	x.send("A seq=101 ack=1011")
	x.ipOptions = nil
	x.write(10)
	wantRoute(t, x.want("PA seq=1011 ack=101 len=10"), "10.0.0.9", looseRoute(optStrictRoute, 4, "10.0.0.2"))
	x.send("A seq=101 ack=1021")
	// A reset finds its way in the same manner.
	x.them = netipPort(x.them, 6000)
	x.ipOptions = looseRoute(optLooseRoute, 8, "10.0.0.9")
	x.send("A seq=5 ack=6")
	wantRoute(t, x.want("R seq=6"), "10.0.0.9", looseRoute(optLooseRoute, 4, "10.0.0.2"))

	y := newSourceRouteTrace(t, false, TCPConfig{})
	y.listen()
	y.ipOptions = looseRoute(optLooseRoute, 8, "10.0.0.9")
	y.send("S seq=100 mss=1000")
	y.wantIdle()
	if n := y.s.drops[dropSourceRoute]; n != 1 {
		t.Errorf("%d dropped", n)
	}
}

// RFC 791 3.1: a router that is the destination, and not the last, puts its own address in the place of the next, and sends
// the datagram there; a strict route only over a link of its own. RFC 1812 5.3.13.4: a switch has it all discarded.
func TestSourceRouteForwarded(t *testing.T) {
	udp := udpBytes("10.0.1.2", "10.0.5.5", 1, 2, "hello")
	by := func(dst string, option []byte) []byte { return routed("10.0.1.2", dst, option, udp) }
	router := func(accept bool) *ipBench {
		x := newIPBench(t, Config{Forwarding: true, AcceptSourceRoute: accept, ARPTimeout: 1 << 60, Checksums: ChecksumsAlways}, 0, "10.0.1.1/24", "10.0.2.1/24")
		x.s.SetRoutes([]Route{{Dst: netip.MustParsePrefix("10.0.5.0/24"), Via: netip.MustParseAddr("10.0.2.9"), Ifc: x.ifcs[1]}})
		x.know(0, "10.0.1.2")
		x.know(1, "10.0.2.9")
		return x
	}
	x := router(true)
	for _, c := range []struct {
		dst           string
		option, after []byte
		to            string
	}{
		{"10.0.1.1", looseRoute(optLooseRoute, 4, "10.0.5.5"), looseRoute(optLooseRoute, 8, "10.0.2.1"), "10.0.5.5"},
		{"10.0.1.1", looseRoute(optStrictRoute, 4, "10.0.2.9", "10.0.5.5"), looseRoute(optStrictRoute, 8, "10.0.2.1", "10.0.5.5"), "10.0.2.9"},
		{"10.0.1.1", looseRoute(optLooseRoute, 4, "10.0.2.1", "10.0.5.5"), looseRoute(optLooseRoute, 12, "10.0.1.1", "10.0.2.1"), "10.0.5.5"},
		{"10.0.5.5", looseRoute(optLooseRoute, 4, "10.0.6.6"), looseRoute(optLooseRoute, 4, "10.0.6.6"), "10.0.5.5"}, // not its turn
	} {
		x.sendIP(0, by(c.dst, c.option))
		if len(x.out) != 1 {
			t.Fatalf("%v: %d frames", c, len(x.out))
		}
		b := x.out[0][wire.EthernetLen:]
		x.out, x.from = nil, nil
		h, err := wire.ParseIPv4(b)
		if err != nil || h.Dst.String() != c.to || string(h.Options) != string(c.after) || wire.Sum(b[:h.HeaderLen]) != 0xffff || h.TTL != 63 {
			t.Errorf("%v: %+v, %v", c, h, err)
		}
	}
	for _, o := range [][]byte{looseRoute(optStrictRoute, 4, "10.0.5.5"), looseRoute(optLooseRoute, 4, "10.0.99.1")} {
		x.sendIP(0, by("10.0.1.1", o))
		x.out[0] = x.out[0][:wire.EthernetLen+wire.IPv4MinLen+wire.ICMPLen]
		if m := x.out[0][wire.EthernetLen+wire.IPv4MinLen:]; m[0] != wire.ICMPUnreachable || m[1] != wire.ICMPSourceRouteFailed {
			t.Errorf("answered with ICMP %d/%d", m[0], m[1])
		}
		x.out, x.from = nil, nil
	}
	x.wantCount("ip.dropped.source_route", 2)
	// What has no legal form, or comes twice, is dropped.
	for _, o := range [][]byte{{131, 6, 4, 1, 2, 3, 0, 0}, {131, 3, 3, 0}, {131, 3, 4, 137, 3, 4, 0, 0}, {131, 2, 0, 0}} {
		x.sendIP(0, by("10.0.1.1", o))
	}
	x.wantCount("ip.dropped.source_route", 6)

	for _, s := range []*ipBench{router(false), newIPBench(t, Config{AcceptSourceRoute: true}, 0, "10.0.1.1/24")} {
		s.sendIP(0, by("10.0.1.1", looseRoute(optLooseRoute, 4, "10.0.5.5")))
		s.wantIdle()
	}
}

// A whole connection over two routers by a source route there, and the one turned round back, with checksums made by the
// ultimate destination (RFC 1122 4.2.3.8), whoever makes them.
func TestSourceRouteEndToEnd(t *testing.T) {
	for _, mode := range []ChecksumMode{ChecksumsLazy, ChecksumsAlways} {
		for _, asked := range []string{"strict 10.0.0.2 10.0.1.2", "loose 10.0.1.2"} {
			n := newIPNet(t, mode, 0)
			for _, s := range n.stacks {
				s.cfg.AcceptSourceRoute = true
			}
			routed := 0
			for _, p := range n.pipes {
				p.tap = func(f *sim.Frame) {
					if mode == ChecksumsLazy {
						FillChecksums(f)
					}
					if h := f.Header()[wire.EthernetLen:]; h[0] != 0x45 && h[0]>>4 == 4 {
						routed++
					}
				}
			}
			from, to := &peer{t: t, out: pattern(100_000, 1), closeOut: true}, &peer{t: t, closeEOF: true}
			if _, err := n.z.Listen(addrPort("10.0.2.2:80"), TCPConfig{}, func(c *Conn) ConnHandler { to.c = c; return to }); err != nil {
				t.Fatal(err)
			}
			c, err := n.a.Dial(addrPort("0.0.0.0:0"), addrPort("10.0.2.2:80"), TCPConfig{SourceRoute: asked}, from)
			if err != nil {
				t.Fatal(err)
			}
			from.c = c
			n.run(sim.Second)
			if to.in.Len() != 100_000 || routed < 3*70 {
				t.Errorf("%s: %d bytes, %d datagrams with a source route", asked, to.in.Len(), routed)
			}
			for _, s := range n.stacks {
				if s.drops[dropSourceRoute]+s.drops[dropChecksum]+s.tcp.count.inErrs > 0 {
					t.Errorf("%s: %s dropped", asked, s.name)
				}
			}
			n.run(120 * sim.Second)
		}
	}
}
