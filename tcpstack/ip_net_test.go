package tcpstack

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// pipe carries frames from one stack's interface to another's in a fixed time.
type pipe struct {
	loop  *sim.Loop
	src   sim.Source
	delay sim.Time
	to    *Interface
	queue []looped
	timer sim.Timer
	tap   func(*sim.Frame) // sees each frame as it is sent
}

func (p *pipe) send(f *sim.Frame) {
	if p.tap != nil {
		p.tap(f)
	}
	p.queue = append(p.queue, looped{p.loop.Now() + p.delay, f})
	if !p.timer.Armed() {
		p.loop.Arm(&p.timer, &p.src, p.queue[0].at)
	}
}

func (p *pipe) Fire(now sim.Time) {
	f := p.queue[0].f
	p.queue = p.queue[:copy(p.queue, p.queue[1:])]
	if len(p.queue) > 0 {
		p.loop.Arm(&p.timer, &p.src, p.queue[0].at)
	}
	p.to.stack.Receive(p.to, f)
}

// ipNet is two hosts, 10.0.0.1 and 10.0.2.2, with two routers between them.
type ipNet struct {
	t       *testing.T
	loop    *sim.Loop
	a, z    *Stack
	routers [2]*Stack
	pipes   []*pipe
	stacks  []*Stack
}

func newIPNet(t *testing.T, mode ChecksumMode, mtu int) *ipNet {
	n := &ipNet{t: t, loop: sim.NewLoop(sim.LoopConfig{})}
	watch(t, n.loop)
	stack := func(name string, forwarding bool) *Stack {
		id := &sim.Identity{Src: sim.Source{ID: sim.Origin(len(n.stacks) + 1)}, Name: name, Boots: 1}
		s, err := New(n.loop, id, Config{Name: name, Forwarding: forwarding, Checksums: mode, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		n.stacks = append(n.stacks, s)
		return s
	}
	n.a, n.routers[0], n.routers[1], n.z = stack("a", false), stack("r0", true), stack("r1", true), stack("z", false)
	join := func(x, y *Stack, px, py string, mtu int) (ix, iy *Interface) {
		k := byte(len(n.pipes))
		there, back := n.pipe(), n.pipe()
		ix = x.AddInterface(InterfaceConfig{Name: "ix", MAC: wire.MAC{2, 0, 0, 0, k, 1}, Prefix: netip.MustParsePrefix(px), MTU: mtu}, there.send)
		iy = y.AddInterface(InterfaceConfig{Name: "iy", MAC: wire.MAC{2, 0, 0, 0, k, 2}, Prefix: netip.MustParsePrefix(py), MTU: mtu}, back.send)
		there.to, back.to = iy, ix
		return ix, iy
	}
	a0, r0a := join(n.a, n.routers[0], "10.0.0.1/30", "10.0.0.2/30", 0)
	r01, r10 := join(n.routers[0], n.routers[1], "10.0.1.1/30", "10.0.1.2/30", mtu)
	r1z, z0 := join(n.routers[1], n.z, "10.0.2.1/30", "10.0.2.2/30", 0)
	all := netip.MustParsePrefix("0.0.0.0/0")
	n.a.SetRoutes([]Route{{Dst: all, Via: r0a.Addr(), Ifc: a0}})
	n.z.SetRoutes([]Route{{Dst: all, Via: r1z.Addr(), Ifc: z0}})
	n.routers[0].SetRoutes([]Route{{Dst: all, Via: r10.Addr(), Ifc: r01}})
	n.routers[1].SetRoutes([]Route{{Dst: all, Via: r01.Addr(), Ifc: r10}})
	t.Cleanup(n.checkLeaks)
	return n
}

func (n *ipNet) pipe() *pipe {
	p := &pipe{loop: n.loop, src: sim.Source{ID: sim.Origin(100 + len(n.pipes))}, delay: sim.Microsecond}
	p.timer.H = p
	n.pipes = append(n.pipes, p)
	return p
}

func (n *ipNet) run(d sim.Time) {
	if err := n.loop.RunBefore(n.loop.Now() + d); err != nil {
		n.t.Fatal(err)
	}
}

func (n *ipNet) checkLeaks() {
	for _, s := range n.stacks {
		s.Shutdown()
	}
	n.run(sim.Second)
	if f, c := n.loop.LiveFrames(), n.loop.LiveChunks(); f != 0 || c != 0 {
		n.t.Errorf("%d frames and %d chunks leaked", f, c)
	}
}

// RFC 1122 3.2.2.6: "Data received in an ICMP Echo Request MUST be entirely included in the resulting Echo Reply."
func TestEcho(t *testing.T) {
	for _, mode := range []ChecksumMode{ChecksumsLazy, ChecksumsAlways} {
		for _, size := range []int{0, 56, 1471, 1472, 1473, 20000} {
			n := newIPNet(t, mode, 600)
			data := bytes.Repeat([]byte("abcdefg"), size/7+1)[:size]
			var got *EchoEvent
			e, err := n.a.OpenEcho(func(ev EchoEvent) {
				if !bytes.Equal(ev.Data, data) {
					t.Errorf("mode %d: %d bytes came back, want %d", mode, len(ev.Data), size)
				}
				ev.Data = nil
				got = &ev
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Send(netip.MustParseAddr("10.0.2.2"), 3, data, SendOptions{}); err != nil {
				t.Fatal(err)
			}
			n.run(sim.Second)
			want := EchoEvent{Reply: true, Seq: 3, From: netip.MustParseAddr("10.0.2.2"), TTL: 62, Len: 8 + size}
			if got == nil || fmt.Sprint(*got) != fmt.Sprint(want) {
				t.Errorf("mode %d, %d bytes: got %v, want %v", mode, size, got, want)
			}
		}
	}
}

// Traceroute's rules: RFC 1812 5.3.1 on the way, RFC 1122 4.1.3.1 at the end.
func TestTracerouteErrors(t *testing.T) {
	n := newIPNet(t, ChecksumsLazy, 0)
	u := openUDP(t, n.a, "0.0.0.0:0", nil)
	var got []ICMPError
	u.OnError(func(e ICMPError) { got = append(got, e) })
	for ttl := uint8(1); ttl <= 3; ttl++ {
		u.SendTo([]byte("probe"), netip.AddrPortFrom(netip.MustParseAddr("10.0.2.2"), 33433+uint16(ttl)), SendOptions{TTL: ttl})
		n.run(sim.Millisecond)
	}
	want := []ICMPError{
		{Type: 11, Code: 0, From: netip.MustParseAddr("10.0.0.2"), To: addrPort("10.0.2.2:33434")},
		{Type: 11, Code: 0, From: netip.MustParseAddr("10.0.1.2"), To: addrPort("10.0.2.2:33435")},
		{Type: 3, Code: 3, From: netip.MustParseAddr("10.0.2.2"), To: addrPort("10.0.2.2:33436")},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	e, _ := n.a.OpenEcho(func(ev EchoEvent) { got = append(got, ev.ICMPError) })
	got = nil
	e.Send(netip.MustParseAddr("10.0.2.2"), 1, nil, SendOptions{TTL: 2})
	n.run(sim.Millisecond)
	if len(got) != 1 || got[0].Type != 11 || got[0].From != netip.MustParseAddr("10.0.1.2") {
		t.Errorf("echo request with TTL 2: %v", got)
	}
}

// RFC 1191 section 4: the MTU in fragmentation needed comes back to who sent with DF.
func TestFragmentationNeeded(t *testing.T) {
	n := newIPNet(t, ChecksumsLazy, 900)
	u := openUDP(t, n.a, "0.0.0.0:0", nil)
	var got []ICMPError
	u.OnError(func(e ICMPError) { got = append(got, e) })
	u.SendTo(make([]byte, 1000), addrPort("10.0.2.2:7"), SendOptions{DF: true})
	n.run(sim.Millisecond)
	if len(got) != 1 || got[0].Type != 3 || got[0].Code != 4 || got[0].MTU != 900 {
		t.Errorf("got %v", got)
	}
}

// Lazy checksums change nothing on the wire: whoever looks, at whichever hop, sees the bytes that the other mode sends.
//
// RFC 9293 MUST-2.
func TestChecksumModesLookAlike(t *testing.T) {
	for _, everywhere := range []bool{true, false} { // or only where the answers come back
		testChecksumModesLookAlike(t, everywhere)
	}
}

func testChecksumModesLookAlike(t *testing.T, everywhere bool) {
	var seen [2][][]byte
	for _, mode := range []ChecksumMode{ChecksumsLazy, ChecksumsAlways} {
		n := newIPNet(t, mode, 600)
		for i, p := range n.pipes {
			if !everywhere && i != 1 {
				continue
			}
			p.tap = func(f *sim.Frame) {
				FillChecksums(f)
				b := slices.Concat(f.Header(), f.Payload)
				if s := summarise(b); bytes.Contains([]byte(s), []byte("BAD")) {
					t.Errorf("mode %d: %s", mode, s)
				}
				seen[mode] = append(seen[mode], b)
			}
		}
		u := openUDP(t, n.a, "0.0.0.0:0", nil)
		openUDP(t, n.z, "0.0.0.0:7", func(d Datagram) {})
		e, _ := n.a.OpenEcho(func(EchoEvent) {})
		for _, size := range []int{0, 1, 5, 100, 1471, 1472, 4001} {
			u.SendTo(make([]byte, size), addrPort("10.0.2.2:7"), SendOptions{})
			u.SendTo(bytes.Repeat([]byte{0xff}, size), addrPort("10.0.2.2:8"), SendOptions{})
			u.SendTo(make([]byte, size), addrPort("10.0.2.2:7"), SendOptions{TTL: 2})
			e.Send(netip.MustParseAddr("10.0.2.2"), 1, make([]byte, size), SendOptions{})
		}
		n.run(sim.Second)
	}
	if len(seen[0]) != len(seen[1]) || len(seen[0]) < 20 {
		t.Fatalf("%d frames, and %d", len(seen[0]), len(seen[1]))
	}
	for i := range seen[0] {
		if !bytes.Equal(seen[0][i], seen[1][i]) {
			t.Fatalf("frame %d: lazy\n%x\nalways\n%x", i, seen[0][i], seen[1][i])
		}
	}
}

// A single flipped bit, wherever it strikes, never reaches a socket: RFC 1071's sum catches every odd word that changes.
// What the checksums do not cover (the Ethernet header) leads the frame astray or does no harm.
//
// RFC 9293 MUST-3.
func TestEveryFlippedBitIsCaught(t *testing.T) {
	for _, mode := range []ChecksumMode{ChecksumsLazy, ChecksumsAlways} {
		n := newIPNet(t, mode, 0)
		want := []byte("thirty bytes of data to spoil.")
		got := 0
		openUDP(t, n.z, "0.0.0.0:7", func(d Datagram) {
			got++
			if !bytes.Equal(d.Data, want) || d.To.Port() != 7 {
				t.Errorf("mode %d: %q came for %v", mode, d.Data, d.To)
			}
		})
		u := openUDP(t, n.a, "0.0.0.0:0", nil)
		u.SendTo(want, addrPort("10.0.2.2:7"), SendOptions{})
		n.run(sim.Millisecond)
		bits := (14 + 28 + len(want)) * 8
		intact := 0
		for bit := range bits {
			n.pipes[2].tap = func(f *sim.Frame) { // r0 -> r1
				FillChecksums(f)
				f.Flip(bit)
				n.pipes[2].tap = nil
			}
			before := got
			u.SendTo(want, addrPort("10.0.2.2:7"), SendOptions{})
			n.run(sim.Millisecond)
			if got > before {
				intact++
			}
		}
		// the source MAC's 48 bits are nobody's business
		if intact != 48 {
			t.Errorf("mode %d: %d flipped frames arrived intact, want 48", mode, intact)
		}
	}
}

// A bit flipped in one fragment spoils the whole datagram, also where the others are known to be good.
func TestFlippedFragmentIsCaught(t *testing.T) {
	for _, mode := range []ChecksumMode{ChecksumsLazy, ChecksumsAlways} {
		for fragment := range 3 {
			n := newIPNet(t, mode, 600)
			got := 0
			openUDP(t, n.z, "0.0.0.0:7", func(Datagram) { got++ })
			u := openUDP(t, n.a, "0.0.0.0:0", nil)
			sent := 0
			n.pipes[2].tap = func(f *sim.Frame) {
				if sent++; sent == fragment+2 { // after the ARP request
					FillChecksums(f)
					f.Flip(400)
				}
			}
			u.SendTo(make([]byte, 1472), addrPort("10.0.2.2:7"), SendOptions{})
			n.run(sim.Millisecond)
			if sent != 4 || got != 0 || n.z.drops[dropTransportChecksum] != 1 {
				t.Errorf("mode %d, fragment %d: %d frames, %d datagrams came, drops %v", mode, fragment, sent, got, n.z.drops)
			}
		}
	}
}

// A crash in the middle of everything leaves no frame, chunk or timer, and a stopped stack does nothing more.
func TestShutdown(t *testing.T) {
	n := newIPNet(t, ChecksumsLazy, 600)
	u := openUDP(t, n.a, "0.0.0.0:0", nil)
	u.SendTo(make([]byte, 5000), addrPort("10.0.2.2:7"), SendOptions{})
	u.SendTo(make([]byte, 5000), addrPort("127.0.0.1:7"), SendOptions{})
	n.run(5 * sim.Microsecond)
	n.a.Shutdown()
	n.z.Shutdown()
	if err := u.SendTo(nil, addrPort("10.0.2.2:7"), SendOptions{}); err != ErrStopped {
		t.Errorf("SendTo after shutdown: %v", err)
	}
	if _, err := n.a.OpenUDP(netip.AddrPort{}, nil); err != ErrStopped {
		t.Errorf("OpenUDP after shutdown: %v", err)
	}
	if _, err := n.a.OpenEcho(nil); err != ErrStopped {
		t.Errorf("OpenEcho after shutdown: %v", err)
	}
}
