package tcpstack

import (
	"net/netip"
	"slices"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Each rule of RFC 1122 3.2.1 and RFC 791 3.1 that refuses a datagram has its own counter. How a frame is cut between
// header region and payload makes no difference.
func TestIPv4InputDrops(t *testing.T) {
	good := func() []byte {
		return ipv4("10.0.0.2", "10.0.0.1", wire.ProtoUDP, udpBytes("10.0.0.2", "10.0.0.1", 9, 4000, "hello"))
	}
	fix := func(b []byte) []byte { wire.SetIPv4Checksum(b[:20]); return b }
	for _, c := range []struct {
		counter string
		make    func() []byte
	}{
		{"ip.dropped.truncated", func() []byte { return good()[:19] }},
		{"ip.dropped.truncated", func() []byte { return nil }},
		{"ip.dropped.version", func() []byte { b := good(); b[0] = 0x65; return fix(b) }},
		{"ip.dropped.header_length", func() []byte { b := good(); b[0] = 0x44; return fix(b) }},
		{"ip.dropped.truncated", func() []byte { b := good()[:24]; b[0] = 0x4f; return b }},
		{"ip.dropped.total_length", func() []byte { return good()[:32] }},
		{"ip.dropped.total_length", func() []byte { b := good(); b[2], b[3] = 0, 19; return fix(b) }},
		{"ip.dropped.checksum", func() []byte { b := good(); b[10] ^= 1; return b }},
		{"ip.dropped.source", func() []byte { b := good(); b[12] = 127; return fix(b) }},
		{"ip.dropped.source", func() []byte { b := good(); b[12] = 224; return fix(b) }},
		{"ip.dropped.source", func() []byte { b := good(); b[12] = 0; return fix(b) }},
		{"ip.dropped.destination", func() []byte { b := good(); b[16] = 127; return fix(b) }},
		{"ip.dropped.destination", func() []byte { b := good(); b[16] = 224; return fix(b) }},
		{"ip.dropped.not_forwarding", func() []byte { b := good(); b[16] = 11; return fix(b) }},
		{"ip.dropped.transport_checksum", func() []byte { b := good(); b[30] ^= 1; return b }},
		{"ip.dropped.transport_header", func() []byte { b := good(); b[25] = 7; return b }},
		{"ip.dropped.transport_header", func() []byte { b := good(); b[25] = 14; return b }},
		{"ip.dropped.transport_header", func() []byte { b := good()[:24]; b[3] = 24; return fix(b) }},
		{"ip.dropped.transport_header", func() []byte { b := good(); b[9] = 6; return fix(b) }},
		{"ip.dropped.transport_header", func() []byte { b := good()[:23]; b[9], b[3] = 1, 23; return fix(b) }},
		{"ip.dropped.fragment", func() []byte { b := good(); b[6] = 0x20; return fix(b) }},
		{"ip.dropped.fragment", func() []byte { b := good(); b[6], b[7] = 0x1f, 0xff; return fix(b) }},
		{"ip.dropped.fragment", func() []byte { b := good()[:20]; b[3], b[6] = 20, 0x20; return fix(b) }},
		{"udp.received", good},
		{"udp.received", func() []byte { return append(good(), 0, 0, 0, 0, 0, 0, 0, 0, 0) }}, // Ethernet padding
		{"udp.received", func() []byte { b := good(); b[26], b[27] = 0, 0; return b }},       // RFC 768: no checksum
		{"udp.received", func() []byte { // options are carried and ignored
			b := good()
			o := append(slices.Clone(b[:20]), 0x94, 4, 0, 0, 1, 7, 1, 0)
			o[0], o[3] = 0x47, b[3]+8
			o[10], o[11] = 0, 0
			wire.SetIPv4Checksum(o)
			return append(o, b[20:]...)
		}},
	} {
		for _, cut := range []int{0, 5, 14, 30, 37, 42, 50, 100} {
			x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
			x.cut = cut
			var got string
			openUDP(t, x.s, "0.0.0.0:4000", func(d Datagram) { got = string(d.Data) })
			x.sendIP(0, c.make())
			x.wantCount(c.counter, 1)
			if want := c.counter == "udp.received"; (got == "hello") != want {
				t.Errorf("%s, cut at %d: socket got %q", c.counter, cut, got)
			}
			if t.Failed() {
				t.Fatalf("%s, cut at %d", c.counter, cut)
			}
		}
	}
}

// IEEE 802.3: a station takes the frames for its own address and for all.
func TestEthernetInput(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
	n := 0
	openUDP(t, x.s, "0.0.0.0:4000", func(Datagram) { n++ })
	ip := ipv4("10.0.0.2", "10.0.0.1", wire.ProtoUDP, udpBytes("10.0.0.2", "10.0.0.1", 9, 4000, "hello"))
	x.send(0, ethernet(stationMAC(0), stationMAC(0), wire.EtherTypeIPv4, ip))
	x.wantCount("ip.dropped.other_mac", 1)
	x.send(0, ethernet(x.ifcs[0].MAC(), stationMAC(0), 0x88cc, ip))
	x.wantCount("ip.dropped.ethertype", 1)
	x.send(0, []byte{1, 2, 3})
	x.wantCount("ip.dropped.ethernet_header", 1)
	if n != 0 {
		t.Errorf("socket got %d", n)
	}
}

// RFC 1122 3.3.6: broadcasts reach sockets of the any-address, and nothing is ever answered with an error.
//
// RFC 9293 MUST-57.
func TestBroadcasts(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
	n := 0
	openUDP(t, x.s, "0.0.0.0:4000", func(Datagram) { n++ })
	openUDP(t, x.s, "10.0.0.1:4001", func(Datagram) { n += 100 })
	for _, dst := range []string{"255.255.255.255", "10.0.0.255"} {
		for _, port := range []uint16{4000, 4001, 4002} {
			ip := ipv4("10.0.0.2", dst, wire.ProtoUDP, udpBytes("10.0.0.2", dst, 9, port, "hello"))
			x.send(0, ethernet(wire.Broadcast, stationMAC(0), wire.EtherTypeIPv4, ip))
		}
		x.sendIP(0, ipv4("10.0.0.2", dst, wire.ProtoICMP, icmpBytes(8, 0, 1, 1, "x")))
		x.sendIP(0, ipv4("10.0.0.2", dst, 99, []byte("x")))
		x.sendIP(0, ipv4("10.0.0.2", dst, wire.ProtoTCP, make([]byte, 20)))
	}
	if n != 2 {
		t.Errorf("sockets got %d, want 2", n)
	}
	// unicast inside a link-layer broadcast
	ip := ipv4("10.0.0.2", "10.0.0.1", wire.ProtoUDP, udpBytes("10.0.0.2", "10.0.0.1", 9, 4002, "hello"))
	x.send(0, ethernet(wire.Broadcast, stationMAC(0), wire.EtherTypeIPv4, ip))
	x.wantIdle()
	x.wantCount("icmp.errors_sent", 0)
}

// What the stack sends to itself arrives 1 ns later, whatever the address.
func TestLoopback(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24", "10.0.1.1/24")
	var got []netip.AddrPort
	var at sim.Time
	openUDP(t, x.s, "0.0.0.0:7", func(d Datagram) { got, at = append(got, d.From, d.To), x.loop.Now() })
	u := openUDP(t, x.s, "0.0.0.0:4000", nil)
	for _, to := range []string{"127.0.0.1:7", "127.1.2.3:7", "10.0.1.1:7"} {
		got = nil
		if err := u.SendTo(make([]byte, 30000), netip.MustParseAddrPort(to), SendOptions{}); err != nil {
			t.Fatal(err)
		}
		sent := x.loop.Now()
		x.advance(2)
		if at != sent+1 {
			t.Errorf("sent at %v, arrived at %v", sent, at)
		}
		if len(got) != 2 || got[0].Addr() != netip.MustParseAddrPort(to).Addr() || got[1].String() != to {
			t.Errorf("to %s: from, to %v", to, got)
		}
	}
	var refused []ICMPError
	u.OnError(func(e ICMPError) { refused = append(refused, e) })
	u.SendTo(nil, netip.MustParseAddrPort("127.0.0.1:9"), SendOptions{})
	x.advance(3)
	if len(refused) != 1 || refused[0].Code != wire.ICMPPortUnreachable {
		t.Errorf("port unreachable on the loopback: %v", refused)
	}
	for range loopbackQueue + 3 {
		u.SendTo(nil, netip.MustParseAddrPort("127.0.0.1:7"), SendOptions{})
	}
	x.wantCount("ip.dropped.loopback_queue", 3)
	x.advance(2)
	x.wantIdle()
}
