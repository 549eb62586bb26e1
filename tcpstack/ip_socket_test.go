package tcpstack

import (
	"net/netip"
	"slices"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// A port belongs to one socket at an address; a socket of every address has it at all of them.
func TestUDPPorts(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24", "10.0.1.1/24")
	open := func(local string, want error) *UDPSocket {
		t.Helper()
		u, err := x.s.OpenUDP(addrPort(local), nil)
		if err != want {
			t.Errorf("open %s: %v, want %v", local, err, want)
		}
		return u
	}
	a := open("10.0.0.1:53", nil)
	b := open("10.0.1.1:53", nil)
	c := open("127.0.0.1:53", nil)
	open("10.0.0.1:53", ErrAddrInUse)
	open("0.0.0.0:53", ErrAddrInUse)
	open("10.0.0.9:53", ErrBadAddress)
	open("[fd00::9]:53", ErrBadAddress)
	b.Close()
	b.Close()
	open("0.0.0.0:53", ErrAddrInUse)
	a.Close()
	c.Close()
	d := open("0.0.0.0:53", nil)
	open("10.0.0.1:53", ErrAddrInUse)
	d.Close()
	if len(x.s.udp) != 0 {
		t.Errorf("%d ports in use after all are closed", len(x.s.udp))
	}
	if err := d.SendTo(nil, addrPort("10.0.0.2:1"), SendOptions{}); err != ErrStopped {
		t.Errorf("SendTo on a closed socket: %v", err)
	}
}

// RFC 6056 3.3.1: ephemeral ports begin at a random place and go on from there; all of them can be had, each once; and
// the same boot of the same lab deals the same ones.
func TestEphemeralPorts(t *testing.T) {
	var first [2][]uint16
	for run := range first {
		x := newIPBench(t, Config{Seed: 5}, 0, "10.0.0.1/24")
		for range 100 {
			first[run] = append(first[run], openUDP(t, x.s, "0.0.0.0:0", nil).port)
		}
		if run == 0 {
			continue
		}
		for range ephemeralCount - 100 {
			if p := openUDP(t, x.s, "0.0.0.0:0", nil).port; p < ephemeralFirst || p > ephemeralLast {
				t.Fatalf("port %d", p)
			}
		}
		if len(x.s.udp) != ephemeralCount {
			t.Errorf("%d different ports of %d", len(x.s.udp), ephemeralCount)
		}
		if _, err := x.s.OpenUDP(addrPort("0.0.0.0:0"), nil); err != ErrNoPorts {
			t.Errorf("one more: %v", err)
		}
	}
	if !slices.Equal(first[0], first[1]) {
		t.Errorf("two runs dealt %v\nand %v", first[0], first[1])
	}
	if slices.IsSorted(first[0]) {
		t.Errorf("ports are dealt in order: %v", first[0])
	}
	id := &sim.Identity{Boots: 2}
	s, err := New(sim.NewLoop(sim.LoopConfig{}), id, Config{Name: "x", Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	if u := openUDP(t, s, "0.0.0.0:0", nil); u.port == first[0][0] {
		t.Error("another boot rolls the same dice")
	}
}

// A handler may close its own socket, open others and send, as it likes.
func TestUDPHandlerMayDoAnything(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
	x.know(0, "10.0.0.2")
	n := 0
	var u *UDPSocket
	u = openUDP(t, x.s, "0.0.0.0:7", func(d Datagram) {
		n++
		if d.TTL != 64 || string(d.Data) != "ping" || d.From != addrPort("10.0.0.2:9") || d.To != addrPort("10.0.0.1:7") {
			t.Errorf("got %+v", d)
		}
		u.SendTo(d.Data, d.From, SendOptions{})
		u.Close()
		openUDP(t, x.s, "0.0.0.0:7", func(Datagram) { n += 10 })
	})
	for range 2 {
		x.sendIP(0, ipv4("10.0.0.2", "10.0.0.1", wire.ProtoUDP, udpBytes("10.0.0.2", "10.0.0.1", 9, 7, "ping")))
	}
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 udp 7 > 9 len 4")
	if n != 11 {
		t.Errorf("handlers ran for %d", n)
	}
}

func TestSendToRefuses(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
	u := openUDP(t, x.s, "0.0.0.0:7", nil)
	lo := openUDP(t, x.s, "127.0.0.1:8", nil)
	for _, c := range []struct {
		u    *UDPSocket
		to   string
		want error
	}{
		{u, "192.0.2.1:9", ErrNoRoute},
		{u, "255.255.255.255:9", ErrNoRoute},
		{u, "10.0.0.255:9", ErrNoRoute},
		{u, "224.0.0.1:9", ErrNoRoute},
		{u, "0.0.0.0:9", ErrNoRoute},
		{u, "10.0.0.2:0", ErrBadAddress},
		{u, "[::ffff:10.0.0.2]:9", ErrBadAddress},
		{lo, "10.0.0.2:9", ErrNoRoute},
	} {
		if err := c.u.SendTo(nil, addrPort(c.to), SendOptions{}); err != c.want {
			t.Errorf("to %s: %v, want %v", c.to, err, c.want)
		}
	}
}

// RFC 1122 3.2.2.1 and 4.1.3.1: what no one listens for is answered, with the offending datagram's first bytes.
func TestUnreachablePortAndProtocol(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
	x.know(0, "10.0.0.2")
	ip := ipv4("10.0.0.2", "10.0.0.1", wire.ProtoUDP, udpBytes("10.0.0.2", "10.0.0.1", 9, 7, "ping"))
	x.sendIP(0, ip)
	b := x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 icmp 3/3 quoting 32")
	if !slices.Equal(b[14+28:], ip) || b[14+1] != icmpErrorTOS {
		t.Errorf("sent %x quoting %x", b[14:14+28], b[14+28:])
	}
	x.sendIP(0, ipv4("10.0.0.2", "10.0.0.1", 99, []byte("abc")))
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 icmp 3/2 quoting 23")
	x.wantCount("ip.dropped.no_socket", 1)
	x.wantCount("ip.dropped.protocol", 1)
}

// Errors that quote what this stack never sent reach nobody.
func TestForgedErrors(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
	u := openUDP(t, x.s, "0.0.0.0:7", nil)
	var got []ICMPError
	u.OnError(func(e ICMPError) { got = append(got, e) })
	quote := func(src string, sport uint16, n int, mod ...func(*wire.IPv4)) string {
		return string(ipv4(src, "10.0.0.2", wire.ProtoUDP, udpBytes(src, "10.0.0.2", sport, 9, "x"), mod...)[:n])
	}
	for _, q := range []string{
		"", quote("10.0.0.1", 7, 19), quote("10.0.0.1", 7, 27), quote("10.0.0.3", 7, 28), quote("10.0.0.1", 8, 28),
		quote("10.0.0.1", 7, 28, func(h *wire.IPv4) { h.Offset = 8 }),
	} {
		x.sendIP(0, ipv4("10.0.0.2", "10.0.0.1", wire.ProtoICMP, icmpBytes(3, 4, 0, 1400, q)))
	}
	if len(got) != 0 {
		t.Fatalf("forged errors came through: %v", got)
	}
	x.sendIP(0, ipv4("10.0.0.77", "10.0.0.1", wire.ProtoICMP, icmpBytes(3, 4, 0, 1400, quote("10.0.0.1", 7, 28))))
	want := ICMPError{Type: 3, Code: 4, From: netip.MustParseAddr("10.0.0.77"), To: addrPort("10.0.0.2:9"), MTU: 1400}
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %v, want %v", got, want)
	}
	// RFC 6633 and a lab's fixed routes: source quench and redirects change nothing.
	x.sendIP(0, ipv4("10.0.0.2", "10.0.0.1", wire.ProtoICMP, icmpBytes(4, 0, 0, 0, quote("10.0.0.1", 7, 28))))
	x.sendIP(0, ipv4("10.0.0.2", "10.0.0.1", wire.ProtoICMP, icmpBytes(5, 1, 0, 0, quote("10.0.0.1", 7, 28))))
	if len(got) != 1 {
		t.Errorf("got %v", got[1:])
	}
}

// Echo sockets have identifiers of their own; a closed one hears nothing.
func TestEchoSockets(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
	x.know(0, "10.0.0.2")
	got := map[int]int{}
	var socks []*EchoSocket
	for i := range 3 {
		e, err := x.s.OpenEcho(func(EchoEvent) { got[i]++ })
		if err != nil {
			t.Fatal(err)
		}
		socks = append(socks, e)
	}
	for i, e := range socks {
		if err := e.Send(netip.MustParseAddr("10.0.0.2"), uint16(i), []byte("abc"), SendOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range socks {
		if i == 2 {
			socks[2].Close()
		}
		b := slices.Clone(x.out[0][14:])
		x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 icmp 8/0 seq "+string(rune('0'+i))+" len 3")
		m, _ := wire.ParseICMP(b[20:])
		x.sendIP(0, ipv4("10.0.0.2", "10.0.0.1", wire.ProtoICMP, icmpBytes(0, 0, m.ID, m.Seq, "abc")))
	}
	if got[0] != 1 || got[1] != 1 || got[2] != 0 {
		t.Errorf("replies by socket: %v", got)
	}
	if err := socks[2].Send(netip.MustParseAddr("10.0.0.2"), 1, nil, SendOptions{}); err != ErrStopped {
		t.Errorf("Send on a closed socket: %v", err)
	}
	if err := socks[0].Send(netip.MustParseAddr("10.0.0.2"), 1, make([]byte, 65508), SendOptions{}); err != ErrMessageTooLong {
		t.Errorf("65508 bytes: %v", err)
	}
	for range maxEchoSockets - 2 {
		if _, err := x.s.OpenEcho(nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.s.OpenEcho(nil); err != ErrNoPorts {
		t.Errorf("one socket too many: %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{ARPTimeout: -1}, {ARPRetry: -1}, {ReassemblyTimeout: -1}, {Checksums: 9}} {
		if _, err := New(sim.NewLoop(sim.LoopConfig{}), &sim.Identity{}, c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

// What happens to a packet stands in the trace.
func TestIPRecords(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
	var recs []sim.Record
	x.loop.Rec = sim.NewRecorder(64, func(r []sim.Record) { recs = append(recs, r...) })
	x.know(0, "10.0.0.2")
	u := openUDP(t, x.s, "0.0.0.0:7", func(Datagram) {})
	u.SendTo([]byte("abc"), addrPort("10.0.0.2:9"), SendOptions{})
	x.sendIP(0, ipv4("10.0.0.2", "10.0.0.1", wire.ProtoUDP, udpBytes("10.0.0.2", "10.0.0.1", 9, 7, "ping")))
	x.sendIP(0, ipv4("10.0.0.2", "10.0.0.1", wire.ProtoICMP, icmpBytes(8, 0, 1, 2, "")))
	x.sendIP(0, ipv4("10.0.0.2", "10.9.0.1", wire.ProtoICMP, icmpBytes(8, 0, 1, 2, "")))
	x.send(0, ethernet(stationMAC(0), stationMAC(0), wire.EtherTypeIPv4, ipv4("10.0.0.2", "10.0.0.1", 99, nil)))
	x.out, x.from = nil, nil
	x.loop.Rec.Flush()
	const a, b = 0x0a000001, 0x0a000002
	want := []sim.Record{
		{Kind: KindNeighbour, Reason: uint8(NeighbourReachable), W: [6]uint32{b, 0x0200, 0x99}},
		{Kind: KindUDPSent, Pkt: sim.MakePacketID(1, 1), W: [6]uint32{a, b, 7<<16 | 9, 3}},
		{Kind: KindUDPReceived, W: [6]uint32{b, a, 9<<16 | 7, 4}},
		{Kind: KindICMPReceived, Reason: 8, W: [6]uint32{b, a, 1<<16 | 2, 64}},
		{Kind: KindICMPSent, Pkt: sim.MakePacketID(1, 2), W: [6]uint32{a, b, 1<<16 | 2, 64}},
		{Kind: KindIPDropped, Reason: uint8(dropNotForwarding), Aux: 1, W: [6]uint32{b, 0x0a090001, 28}},
		{Kind: KindIPDropped, Reason: uint8(dropOtherMAC), Aux: 99, W: [6]uint32{b, a, 20}},
	}
	for i := range want {
		want[i].Node, want[i].ESeq = 1, uint32(i+1)
	}
	if !slices.Equal(recs, want) {
		t.Errorf("recorded\n%+v\nwant\n%+v", recs, want)
	}
	if got := IPDropReason(uint8(dropNotForwarding)); got != "not_forwarding" {
		t.Errorf("reason prints %q", got)
	}
	if got := NeighbourState(200).String(); got == "" {
		t.Error("an unknown state prints nothing")
	}
}

// RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
func TestUDPChecksumZero(t *testing.T) {
	for _, mode := range []ChecksumMode{ChecksumsLazy, ChecksumsAlways} {
		x := newIPBench(t, Config{Checksums: mode}, 0, "10.0.0.1/24")
		x.know(0, "10.0.0.2")
		u := openUDP(t, x.s, "0.0.0.0:7", nil)
		u.SendTo([]byte{0, 0}, addrPort("10.0.0.2:9"), SendOptions{})
		c := x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 udp 7 > 9 len 2")[14+20+6:][:2]
		u.SendTo(c, addrPort("10.0.0.2:9"), SendOptions{})
		c = x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 udp 7 > 9 len 2")[14+20+6:][:2]
		if c[0] != 0xff || c[1] != 0xff {
			t.Errorf("mode %d: checksum %x", mode, c)
		}
	}
}

// RFC 768: the length is the datagram's own; bytes of the IP datagram after it are no data.
func TestUDPLengthBelowIPs(t *testing.T) {
	for _, cut := range []int{14, 42, 60} {
		x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
		x.cut = cut
		got := ""
		openUDP(t, x.s, "0.0.0.0:7", func(d Datagram) { got = string(d.Data) })
		x.sendIP(0, ipv4("10.0.0.2", "10.0.0.1", wire.ProtoUDP, append(udpBytes("10.0.0.2", "10.0.0.1", 9, 7, "ping"), "trailer"...)))
		if got != "ping" {
			t.Errorf("cut at %d: got %q", cut, got)
		}
	}
}

// RFC 792: a message whose checksum is wrong is not for us.
func TestICMPChecksum(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
	b := icmpBytes(8, 0, 1, 1, "abc")
	b[9] ^= 4
	x.sendIP(0, ipv4("10.0.0.2", "10.0.0.1", wire.ProtoICMP, b))
	x.wantCount("ip.dropped.transport_checksum", 1)
	x.wantIdle()
}
