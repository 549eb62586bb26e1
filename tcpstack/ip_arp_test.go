package tcpstack

import (
	"fmt"
	"net/netip"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

const bcastMAC = "ff:ff:ff:ff:ff:ff"

func openUDP(t *testing.T, s *Stack, local string, h func(Datagram)) *UDPSocket {
	t.Helper()
	u, err := s.OpenUDP(netip.MustParseAddrPort(local), h)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func arpReply(ip string, mac wire.MAC) wire.ARP {
	return wire.ARP{Op: wire.ARPReply, SenderMAC: mac, SenderIP: netip.MustParseAddr(ip),
		TargetMAC: wire.MAC{2, 0, 0, 0, 0, 1}, TargetIP: netip.MustParseAddr("10.0.0.1")}
}

// RFC 1122 2.3.2.2: "The link layer SHOULD save (rather than discard) at least one (the latest) packet of each set of
// packets destined to the same unresolved IP address, and transmit the saved packet when the address has been resolved."
func TestARPResolvesAndSendsWhatWaits(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
	u := openUDP(t, x.s, "0.0.0.0:4000", nil)
	to := netip.MustParseAddrPort("10.0.0.2:7")
	for range 2 {
		if err := u.SendTo([]byte("hello"), to, SendOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	x.want(0, "to "+bcastMAC+": arp who-has 10.0.0.2 tell 10.0.0.1")
	x.wantIdle()
	x.sendARP(0, x.ifcs[0].MAC(), arpReply("10.0.0.2", stationMAC(0)))
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 udp 4000 > 7 len 5")
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 udp 4000 > 7 len 5")
	if err := u.SendTo(nil, to, SendOptions{TTL: 3}); err != nil {
		t.Fatal(err)
	}
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 3 udp 4000 > 7 len 0")
}

// Three requests a second apart; then the sender learns that the host is unreachable, and the next datagram asks anew.
func TestARPGivesUp(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
	u := openUDP(t, x.s, "0.0.0.0:4000", nil)
	var errs []ICMPError
	u.OnError(func(e ICMPError) { errs = append(errs, e) })
	to := netip.MustParseAddrPort("10.0.0.2:7")
	u.SendTo([]byte("a"), to, SendOptions{})
	u.SendTo([]byte("b"), to, SendOptions{})
	for i := range 3 {
		x.want(0, "to "+bcastMAC+": arp who-has 10.0.0.2 tell 10.0.0.1")
		x.wantIdle()
		if len(errs) != 0 {
			t.Fatalf("error after %d requests", i+1)
		}
		x.advance(sim.Second + 1)
	}
	want := ICMPError{Type: 3, Code: 1, From: netip.MustParseAddr("10.0.0.1"), To: to}
	if len(errs) != 2 || errs[0] != want || errs[1] != want {
		t.Fatalf("errors %v, want two of %v", errs, want)
	}
	u.SendTo([]byte("c"), to, SendOptions{})
	x.want(0, "to "+bcastMAC+": arp who-has 10.0.0.2 tell 10.0.0.1")
}

// RFC 1122 2.3.2.1: an entry is verified by unicast polls and flushed when none is answered.
func TestARPEntryAges(t *testing.T) {
	x := newIPBench(t, Config{ARPTimeout: 10 * sim.Second}, 0, "10.0.0.1/24")
	x.know(0, "10.0.0.2")
	u := openUDP(t, x.s, "0.0.0.0:4000", nil)
	to := netip.MustParseAddrPort("10.0.0.2:7")
	data := "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 udp 4000 > 7 len 0"
	poll := "to 02:00:00:00:00:99: arp who-has 10.0.0.2 tell 10.0.0.1"
	x.advance(10*sim.Second - 1)
	u.SendTo(nil, to, SendOptions{})
	x.want(0, data)
	x.advance(1)
	u.SendTo(nil, to, SendOptions{})
	x.want(0, poll)
	x.want(0, data)
	x.sendARP(0, x.ifcs[0].MAC(), arpReply("10.0.0.2", stationMAC(0)))
	x.advance(10 * sim.Second)
	x.wantIdle()
	u.SendTo(nil, to, SendOptions{})
	x.want(0, poll)
	x.want(0, data)
	x.advance(2*sim.Second + 1)
	x.want(0, poll)
	x.want(0, poll)
	x.advance(sim.Second)
	u.SendTo(nil, to, SendOptions{})
	x.want(0, "to "+bcastMAC+": arp who-has 10.0.0.2 tell 10.0.0.1")
}

// RFC 826 "Packet Reception": a request for our address is answered, and its sender learned; a packet for another only
// updates what is known.
func TestARPReception(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
	other := wire.MAC{2, 0, 0, 0, 0, 0x55}
	ask := wire.ARP{Op: wire.ARPRequest, SenderMAC: other, SenderIP: netip.MustParseAddr("10.0.0.5"), TargetIP: netip.MustParseAddr("10.0.0.1")}
	x.sendARP(0, wire.Broadcast, ask)
	x.want(0, "to 02:00:00:00:00:55: arp 10.0.0.1 is-at 02:00:00:00:00:01")
	u := openUDP(t, x.s, "0.0.0.0:4000", nil)
	u.SendTo(nil, netip.MustParseAddrPort("10.0.0.5:7"), SendOptions{})
	x.want(0, "to 02:00:00:00:00:55: 10.0.0.1 > 10.0.0.5 ttl 64 udp 4000 > 7 len 0")

	moved := wire.MAC{2, 0, 0, 0, 0, 0x56}
	gratuitous := wire.ARP{Op: wire.ARPRequest, SenderMAC: moved, SenderIP: ask.SenderIP, TargetIP: ask.SenderIP}
	x.sendARP(0, wire.Broadcast, gratuitous)
	u.SendTo(nil, netip.MustParseAddrPort("10.0.0.5:7"), SendOptions{})
	x.want(0, "to 02:00:00:00:00:56: 10.0.0.1 > 10.0.0.5 ttl 64 udp 4000 > 7 len 0")

	for _, c := range []struct {
		why string
		a   wire.ARP
		src wire.MAC
	}{
		{"gratuitous of a stranger", wire.ARP{Op: 1, SenderMAC: other, SenderIP: netip.MustParseAddr("10.0.0.9"), TargetIP: netip.MustParseAddr("10.0.0.9")}, other},
		{"off the link's network", wire.ARP{Op: 2, SenderMAC: other, SenderIP: netip.MustParseAddr("10.9.0.9"), TargetIP: netip.MustParseAddr("10.0.0.1")}, other},
		{"our own address", wire.ARP{Op: 2, SenderMAC: other, SenderIP: netip.MustParseAddr("10.0.0.1"), TargetIP: netip.MustParseAddr("10.0.0.1")}, other},
		{"not who sent the frame", wire.ARP{Op: 2, SenderMAC: other, SenderIP: netip.MustParseAddr("10.0.0.9"), TargetIP: netip.MustParseAddr("10.0.0.1")}, moved},
		{"unknown operation", wire.ARP{Op: 9, SenderMAC: other, SenderIP: netip.MustParseAddr("10.0.0.9"), TargetIP: netip.MustParseAddr("10.0.0.1")}, other},
	} {
		b := make([]byte, wire.ARPLen)
		c.a.Put(b)
		x.send(0, ethernet(wire.Broadcast, c.src, wire.EtherTypeARP, b))
		x.wantIdle()
		if n := len(x.s.neighbours); n != 1 {
			t.Errorf("%s: %d entries", c.why, n)
		}
	}
	x.wantCount("arp.conflicts", 1)
	x.wantCount("ip.dropped.arp", 2)
}

// The table and each entry's queue are bounded.
func TestARPBounds(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/16")
	u := openUDP(t, x.s, "0.0.0.0:4000", nil)
	for range maxPendingPerNeighbour + 5 {
		u.SendTo(nil, netip.MustParseAddrPort("10.0.0.2:7"), SendOptions{})
	}
	x.wantCount("ip.dropped.neighbour_queue", 5)
	for i := range maxNeighbours + 10 {
		to := netip.MustParseAddrPort(fmt.Sprintf("10.0.%d.%d:7", 1+i/250, 1+i%250))
		if err := u.SendTo(nil, to, SendOptions{}); (err != nil) != (i >= maxNeighbours-1) {
			t.Fatalf("datagram %d: %v", i, err)
		}
	}
	x.out, x.from = nil, nil
	x.advance(10 * sim.Second)
	x.out, x.from = nil, nil
	for i := range 10 {
		if err := u.SendTo(nil, netip.MustParseAddrPort(fmt.Sprintf("10.0.200.%d:7", 1+i)), SendOptions{}); err != nil {
			t.Fatal("no entry was evicted:", err)
		}
	}
	x.wantCount("arp.evicted", 10)
	if len(x.s.neighbours) != maxNeighbours {
		t.Errorf("%d entries", len(x.s.neighbours))
	}
	x.out, x.from = nil, nil
}

// A sweep through a router over a network's addresses meets the same bound.
func TestARPBoundOfARouter(t *testing.T) {
	x := newIPBench(t, Config{Forwarding: true}, 0, "10.0.0.1/24", "10.1.0.1/16")
	for i := range maxNeighbours + 3 {
		x.sendIP(0, ipv4("10.0.0.2", fmt.Sprintf("10.1.%d.%d", 1+i/250, 1+i%250), 99, nil))
	}
	x.wantCount("ip.dropped.neighbour_table", 3)
	x.out, x.from = nil, nil
}

// A connection's remembered next hop does not outlive the table's entry: after its eviction the address is asked for anew.
func TestEvictedNeighbourIsAskedAgain(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/16")
	x.know(0, "10.0.0.2")
	u := openUDP(t, x.s, "0.0.0.0:4000", nil)
	u.SendTo(nil, netip.MustParseAddrPort("10.0.0.2:7"), SendOptions{})
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 udp 4000 > 7 len 0")
	x.advance(1)
	for i := range maxNeighbours {
		x.know(0, fmt.Sprintf("10.0.%d.%d", 1+i/250, 1+i%250))
	}
	x.wantCount("arp.evicted", 1)
	u.SendTo(nil, netip.MustParseAddrPort("10.0.0.2:7"), SendOptions{})
	x.want(0, "to "+bcastMAC+": arp who-has 10.0.0.2 tell 10.0.0.1")
	x.sendARP(0, x.ifcs[0].MAC(), arpReply("10.0.0.2", stationMAC(0)))
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 udp 4000 > 7 len 0")
}
