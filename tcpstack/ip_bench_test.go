package tcpstack

import (
	"net/netip"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// hop is a router that hands what it forwards back to the test.
type hop struct {
	s    *Stack
	in   *Interface
	sent *sim.Frame
}

func newHop(tb testing.TB, mode ChecksumMode) *hop {
	loop := sim.NewLoop(sim.LoopConfig{})
	s, err := New(loop, &sim.Identity{Src: sim.Source{ID: 1}, Boots: 1}, Config{Name: "r", Forwarding: true, Checksums: mode})
	if err != nil {
		tb.Fatal(err)
	}
	h := &hop{s: s}
	h.in = s.AddInterface(InterfaceConfig{Name: "eth0", MAC: wire.MAC{2, 0, 0, 0, 0, 1}, Prefix: netip.MustParsePrefix("10.0.0.1/24")}, func(f *sim.Frame) { h.sent = f })
	out := s.AddInterface(InterfaceConfig{Name: "eth1", MAC: wire.MAC{2, 0, 0, 0, 1, 1}, Prefix: netip.MustParsePrefix("10.0.1.1/24")}, func(f *sim.Frame) { h.sent = f })
	out.neighbour(num4(netip.MustParseAddr("10.0.1.2"))).learn(wire.MAC{2, 0, 0, 0, 1, 2})
	return h
}

// frame is a full-sized TCP segment in transit, as a stack makes it.
func (h *hop) frame(port uint16) *sim.Frame {
	f := h.s.loop.NewFrame()
	copy(f.Append(wire.IPv4MinLen), ipv4("10.0.0.2", "10.0.1.2", wire.ProtoTCP, make([]byte, 1480)))
	(&wire.TCP{SrcPort: port, DstPort: 80, HeaderLen: 32, Flags: wire.FlagACK}).Put(f.Append(32))
	c := h.s.loop.NewChunk(1448)
	f.SetPayload(c, 0, 1448)
	c.Release()
	f.Verified = true
	wire.Ethernet{Dst: h.in.MAC(), Src: wire.MAC{2, 0, 0, 0, 0, 2}, Type: wire.EtherTypeIPv4}.Put(f.Prepend(wire.EthernetLen))
	FillChecksums(f)
	return f
}

// again makes the frame that was just forwarded one that arrives.
func (h *hop) again(f *sim.Frame) {
	b := f.Header()
	copy(b, h.in.cfg.MAC[:])
	b[wire.EthernetLen+wire.IPv4OffTTL] = 64
}

func benchmarkForward(b *testing.B, mode ChecksumMode, flows int) {
	h := newHop(b, mode)
	frames := make([]*sim.Frame, flows)
	for i := range frames {
		frames[i] = h.frame(uint16(1000 + i))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f := frames[i%flows]
		h.sent = nil
		if mode == ChecksumsAlways {
			wire.SetIPv4Checksum(f.Header()[wire.EthernetLen:][:wire.IPv4MinLen])
		}
		h.s.Receive(h.in, f)
		if h.sent != f {
			b.Fatal("not forwarded")
		}
		h.again(f)
	}
}

// BenchmarkForward is a router's part of one hop: from the frame's arrival to its hand-over to the next link. The always
// mode includes making the header checksum afresh for every round.
func BenchmarkForward(b *testing.B)          { benchmarkForward(b, ChecksumsLazy, 1) }
func BenchmarkForwardAlways(b *testing.B)    { benchmarkForward(b, ChecksumsAlways, 1) }
func BenchmarkForward1000Flows(b *testing.B) { benchmarkForward(b, ChecksumsLazy, 1000) }

// newUDPPair is two stacks on one link without delay, both of whose neighbours are known.
func newUDPPair(tb testing.TB, mode ChecksumMode) (u *UDPSocket, to netip.AddrPort, got *int) {
	loop := sim.NewLoop(sim.LoopConfig{})
	var ifcs [2]*Interface
	got = new(int)
	for i, p := range []string{"10.0.0.1/24", "10.0.0.2/24"} {
		s, err := New(loop, &sim.Identity{Src: sim.Source{ID: sim.Origin(i + 1)}, Boots: 1}, Config{Name: p, Checksums: mode})
		if err != nil {
			tb.Fatal(err)
		}
		ifcs[i] = s.AddInterface(InterfaceConfig{Name: "eth0", MAC: wire.MAC{2, 0, 0, 0, 0, byte(i + 1)}, Prefix: netip.MustParsePrefix(p)},
			func(f *sim.Frame) { ifcs[1-i].stack.Receive(ifcs[1-i], f) })
	}
	ifcs[0].neighbour(num4(ifcs[1].Addr())).learn(ifcs[1].MAC())
	if _, err := ifcs[1].stack.OpenUDP(netip.AddrPortFrom(netip.Addr{}, 7), func(Datagram) { *got++ }); err != nil {
		tb.Fatal(err)
	}
	u, err := ifcs[0].stack.OpenUDP(netip.AddrPort{}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return u, netip.AddrPortFrom(ifcs[1].Addr(), 7), got
}

func benchmarkUDP(b *testing.B, mode ChecksumMode) {
	u, to, got := newUDPPair(b, mode)
	data := make([]byte, 1472)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if err := u.SendTo(data, to, SendOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	if *got != n {
		b.Fatalf("%d of %d came", *got, n)
	}
}

// BenchmarkUDP is a full-sized datagram from SendTo to the receiving handler.
func BenchmarkUDP(b *testing.B)       { benchmarkUDP(b, ChecksumsLazy) }
func BenchmarkUDPAlways(b *testing.B) { benchmarkUDP(b, ChecksumsAlways) }

// Neither a hop nor a datagram allocates.
func TestNoAllocation(t *testing.T) {
	for _, mode := range []ChecksumMode{ChecksumsLazy, ChecksumsAlways} {
		h := newHop(t, mode)
		f := h.frame(1000)
		if n := testing.AllocsPerRun(100, func() {
			h.again(f)
			FillChecksums(f)
			h.s.Receive(h.in, f)
		}); n != 0 || h.sent != f {
			t.Errorf("mode %d: a hop allocates %v times", mode, n)
		}
		u, to, _ := newUDPPair(t, mode)
		data := make([]byte, 1472)
		if n := testing.AllocsPerRun(100, func() { u.SendTo(data, to, SendOptions{}) }); n != 0 {
			t.Errorf("mode %d: a datagram allocates %v times", mode, n)
		}
	}
}
