package tcpstack

import (
	"net/netip"
	"testing"
	"time"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// FuzzReceive lets frames of any bytes, cut anywhere between header region and payload, arrive at a router and a host.
// Nothing panics, what is held stays within its bounds, and nothing is left after a crash.
func FuzzReceive(f *testing.F) {
	mac := wire.MAC{2, 0, 0, 0, 0, 1}
	frag, _ := fragmentsOf(1, 100, 64)
	for _, ip := range [][]byte{
		ipv4("10.0.0.2", "10.0.0.1", wire.ProtoUDP, udpBytes("10.0.0.2", "10.0.0.1", 9, 4000, "hello")),
		ipv4("10.0.0.2", "10.0.1.2", wire.ProtoTCP, make([]byte, 40)),
		ipv4("10.0.0.2", "10.0.0.1", wire.ProtoICMP, icmpBytes(8, 0, 1, 1, "abc")),
		ipv4("10.0.0.2", "10.0.0.1", wire.ProtoICMP, icmpBytes(3, 4, 0, 1400, string(ipv4("10.0.0.1", "10.0.0.2", 17, make([]byte, 8))))),
		frag[0], frag[1],
		routed("10.0.0.2", "10.0.0.1", looseRoute(optLooseRoute, 4, "10.0.0.1", "10.0.1.2"), make([]byte, 8)),
		redirect4("10.0.0.2", far, "10.0.0.7", 1),
		routed("10.0.0.2", "10.0.0.1", looseRoute(optStrictRoute, 8, "10.0.1.2"), make([]byte, 8)),
	} {
		f.Add(ethernet(mac, stationMAC(0), wire.EtherTypeIPv4, ip), uint8(34))
	}
	for _, ip := range [][]byte{
		ipv6(them6, us6, wire.ProtoUDP, udp6(them6, us6, 9, 4000, "hello")),
		ipv6(them6, "fd00:1::2", wire.ProtoTCP, make([]byte, 40)),
		ipv6(them6, us6, wire.ProtoHopByHop, append(optionHeader(17, 0x9e), udp6(them6, us6, 9, 4000, "hello")...)),
		ipv6(them6, us6, wire.ProtoFragment, append([]byte{17, 0, 0, 1, 0, 0, 0, 9}, make([]byte, 16)...)),
		icmp6(them6, us6, wire.ICMPv6PacketTooBig, 0, 1300, string(ipv6(us6, them6, 17, make([]byte, 8)))),
		neighbor6(them6, us6, solicitation(us6)),
		neighbor6(them6, us6, advertisement(them6, true, true)),
		redirect6To(router7),
		mldQuery(station0, "ff02::1", "", 1000),
	} {
		f.Add(ethernet(mac, stationMAC(0), wire.EtherTypeIPv6, ip), uint8(54))
	}
	f.Add(ethernet(wire.MAC{0x33, 0x33, 0, 0, 0, 1}, stationMAC(0), wire.EtherTypeIPv6,
		routerAdvert6(station0, routerSays("fd00:7::/64", time.Hour, time.Hour))), uint8(54))
	arp := make([]byte, wire.ARPLen)
	arpReply("10.0.0.2", stationMAC(0)).Put(arp)
	f.Add(ethernet(mac, stationMAC(0), wire.EtherTypeARP, arp), uint8(14))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		for _, forwarding := range []bool{false, true} {
			loop := sim.NewLoop(sim.LoopConfig{})
			s, err := New(loop, &sim.Identity{Src: sim.Source{ID: 1}, Boots: 1}, Config{Forwarding: forwarding, AcceptSourceRoute: true, RouterAdvertisements: forwarding, SLAAC: !forwarding, MLD: true})
			if err != nil {
				t.Fatal(err)
			}
			tx := func(f *sim.Frame) { FillChecksums(f); f.Release() }
			var ifcs [2]*Interface
			for i, p := range []string{"10.0.0.1/24", "10.0.1.1/24"} {
				ifcs[i] = s.AddInterface(InterfaceConfig{Name: p, MAC: wire.MAC{2, 0, 0, 0, byte(i), 1}, Prefix: netip.MustParsePrefix(p), MTU: 1500 - 1400*i,
					Prefixes6: []netip.Prefix{netip.PrefixFrom(ipAddr{0xfd00<<48 | uint64(i), 1}.netip(), 64)}}, tx)
				ifcs[i].neighbour(num4(ifcs[i].Addr()) + 1).learn(stationMAC(i))
			}
			if _, err := s.OpenUDP(netip.AddrPortFrom(netip.Addr{}, 4000), func(Datagram) {}); err != nil {
				t.Fatal(err)
			}
			x := &ipBench{loop: loop, cut: int(cut) % (sim.HeaderRoom - 18)}
			for i := range ifcs {
				for _, fill := range []bool{true, false} {
					frame := x.frame(b)
					if h := frame.Header(); fill && len(h) >= 34 { // past the checksum, which fuzzing rarely meets
						if h[0] != 0x33 {
							copy(h, ifcs[i].cfg.MAC[:])
						}
						frame.Verified = true
						FillChecksums(frame)
						frame.Verified = false
					}
					s.Receive(ifcs[i], frame)
				}
			}
			if err := loop.RunBefore(sim.Millisecond); err != nil {
				t.Fatal(err)
			}
			s.Shutdown()
			if loop.LiveFrames() != 0 || loop.LiveChunks() != 0 || loop.Next() != sim.Never {
				t.Errorf("left: %d frames, %d chunks, next event %v", loop.LiveFrames(), loop.LiveChunks(), loop.Next())
			}
		}
	})
}
