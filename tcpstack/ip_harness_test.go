package tcpstack

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// ipBench is one stack whose links end in the test: what it sends is kept until it is wanted.
type ipBench struct {
	t    *testing.T
	loop *sim.Loop
	s    *Stack
	ifcs []*Interface
	out  [][]byte // frames sent, as on the wire, not yet wanted
	from []int    // the interface of each
	cut  int      // sent frames have this many bytes in the header region, the rest as payload
}

// stationMAC is the hardware address of the test's station on an interface's link.
func stationMAC(ifc int) wire.MAC { return wire.MAC{2, 0, 0, 0, byte(ifc), 0x99} }

// newIPBench makes a stack with an interface for each prefix, or several with spaces between them, with the MTU that cfgMTU names (0: 1500).
func newIPBench(t *testing.T, cfg Config, mtu int, prefixes ...string) *ipBench {
	t.Helper()
	x := &ipBench{t: t, loop: sim.NewLoop(sim.LoopConfig{}), cut: 14 + 28}
	watch(t, x.loop)
	if cfg.Name == "" {
		cfg.Name = "x"
	}
	s, err := New(x.loop, &sim.Identity{Src: sim.Source{ID: 1}, Name: cfg.Name, Boots: 1}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	x.s = s
	for i, p := range prefixes {
		m := mtu
		if i == 0 {
			m = 0 // the first link is never the narrow one
		}
		ic := InterfaceConfig{Name: fmt.Sprintf("eth%d", i), MAC: wire.MAC{2, 0, 0, 0, byte(i), 1}, MTU: m}
		for _, text := range strings.Fields(p) {
			if p := netip.MustParsePrefix(text); p.Addr().Is4() {
				ic.Prefix = p
			} else {
				ic.Prefixes6 = append(ic.Prefixes6, p)
			}
		}
		x.ifcs = append(x.ifcs, s.AddInterface(ic, func(f *sim.Frame) {
			FillChecksums(f)
			x.out = append(x.out, slices.Concat(f.Header(), f.Payload))
			x.from = append(x.from, i)
			f.Release()
		}))
	}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		x.wantIdle()
		s.Shutdown()
		if n, c := x.loop.LiveFrames(), x.loop.LiveChunks(); n != 0 || c != 0 {
			t.Errorf("after shutdown %d frames and %d chunks are alive", n, c)
		}
		if x.loop.Next() != sim.Never {
			t.Errorf("after shutdown a timer is armed for %v", x.loop.Next())
		}
	})
	return x
}

// advance lets lab time pass.
func (x *ipBench) advance(d sim.Time) {
	x.t.Helper()
	if err := x.loop.RunBefore(x.loop.Now() + d); err != nil {
		x.t.Fatal(err)
	}
}

// frame makes a frame of raw bytes, cut between header region and payload at x.cut.
func (x *ipBench) frame(b []byte) *sim.Frame {
	f := x.loop.NewFrame()
	n := min(x.cut, len(b))
	copy(f.Append(n), b)
	if n < len(b) {
		c := x.loop.NewChunk(len(b) - n)
		copy(c.Data, b[n:])
		f.SetPayload(c, 0, len(c.Data))
		c.Release()
	}
	return f
}

// send lets raw bytes arrive at an interface.
func (x *ipBench) send(ifc int, b []byte) { x.s.Receive(x.ifcs[ifc], x.frame(b)) }

// sendIP lets a datagram arrive at an interface, from the test's station there.
func (x *ipBench) sendIP(ifc int, ip []byte) {
	x.send(ifc, ethernet(x.ifcs[ifc].cfg.MAC, stationMAC(ifc), wire.EtherTypeIPv4, ip))
}

// sendARP lets an ARP packet arrive at an interface.
func (x *ipBench) sendARP(ifc int, dst wire.MAC, a wire.ARP) {
	b := make([]byte, wire.ARPLen)
	a.Put(b)
	x.send(ifc, ethernet(dst, a.SenderMAC, wire.EtherTypeARP, b))
}

// know makes the stack know a station's hardware address, by an ARP reply.
func (x *ipBench) know(ifc int, ip string) {
	i := x.ifcs[ifc]
	i.neighbourAt(ipAddrOf(netip.MustParseAddr(ip))).learn(stationMAC(ifc))
}

// want takes the oldest frame sent and compares its summary.
func (x *ipBench) want(ifc int, summary string) []byte {
	x.t.Helper()
	if len(x.out) == 0 {
		x.t.Fatalf("nothing sent, want %q", summary)
	}
	b, from := x.out[0], x.from[0]
	x.out, x.from = x.out[1:], x.from[1:]
	if got := summarise(b); got != summary || from != ifc {
		x.t.Fatalf("eth%d sent\n\t%s\nwant from eth%d\n\t%s", from, got, ifc, summary)
	}
	return b
}

// wantIdle fails if a frame was sent that nobody wanted.
func (x *ipBench) wantIdle() {
	x.t.Helper()
	for i, b := range x.out {
		x.t.Errorf("eth%d sent unwanted %s", x.from[i], summarise(b))
	}
	x.out, x.from = nil, nil
}

// wantCount compares a counter.
func (x *ipBench) wantCount(name string, n uint64) {
	x.t.Helper()
	if got := x.counted(name); got != n {
		x.t.Errorf("%s is %d, want %d", name, got, n)
	}
}

// counted is a counter's value.
func (x *ipBench) counted(name string) uint64 {
	x.t.Helper()
	for _, c := range x.s.Counters() {
		if c.Name == name {
			return c.Value
		}
	}
	x.t.Fatalf("no counter %s", name)
	return 0
}

func ethernet(dst, src wire.MAC, typ wire.EtherType, body []byte) []byte {
	b := make([]byte, wire.EthernetLen, wire.EthernetLen+len(body))
	wire.Ethernet{Dst: dst, Src: src, Type: typ}.Put(b)
	return append(b, body...)
}

// ipv4 builds IPv4 bytes with true checksum; mod changes the header first.
func ipv4(src, dst string, p wire.Protocol, body []byte, mod ...func(*wire.IPv4)) []byte {
	h := wire.IPv4{TTL: 64, Protocol: p, ID: 7, TotalLen: wire.IPv4MinLen + len(body),
		Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst)}
	for _, m := range mod {
		m(&h)
	}
	b := make([]byte, wire.IPv4MinLen, wire.IPv4MinLen+len(body))
	h.Put(b)
	return append(b, body...)
}

// udpBytes builds UDP bytes with true checksum.
func udpBytes(src, dst string, sport, dport uint16, data string) []byte {
	b := make([]byte, wire.UDPLen, wire.UDPLen+len(data))
	wire.UDP{SrcPort: sport, DstPort: dport, Length: wire.UDPLen + len(data)}.Put(b)
	b = append(b, data...)
	s4, d4 := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	c := ^wire.AddSums(wire.PseudoSum(s4, d4, wire.ProtoUDP, len(b)), wire.Sum(b))
	b[6], b[7] = byte(c>>8), byte(c)
	return b
}

// icmpBytes builds an ICMP message with true checksum.
func icmpBytes(typ, code uint8, id, seq uint16, data string) []byte {
	b := make([]byte, wire.ICMPLen, wire.ICMPLen+len(data))
	wire.ICMP{Type: typ, Code: code, ID: id, Seq: seq}.Put(b)
	b = append(b, data...)
	c := ^wire.Sum(b)
	b[2], b[3] = byte(c>>8), byte(c)
	return b
}

// summarise prints what the tests compare of a frame, and any checksum that does not hold.
func summarise(b []byte) string {
	e, err := wire.ParseEthernet(b)
	if err != nil {
		return err.Error()
	}
	b = b[wire.EthernetLen:]
	if e.Type == wire.EtherTypeARP {
		a, err := wire.ParseARP(b)
		if err != nil {
			return err.Error()
		}
		if a.Op == wire.ARPRequest {
			return fmt.Sprintf("to %v: arp who-has %v tell %v", e.Dst, a.TargetIP, a.SenderIP)
		}
		return fmt.Sprintf("to %v: arp %v is-at %v", e.Dst, a.SenderIP, a.SenderMAC)
	}
	if e.Type == wire.EtherTypeIPv6 {
		return "to " + e.Dst.String() + ": " + summariseIPv6(b)
	}
	return "to " + e.Dst.String() + ": " + summariseIP(b)
}

func summariseIP(b []byte) string {
	h, err := wire.ParseIPv4(b)
	if err != nil {
		return err.Error()
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%v > %v ttl %d", h.Src, h.Dst, h.TTL)
	if wire.Sum(b[:h.HeaderLen]) != 0xffff {
		s.WriteString(" BAD IP CHECKSUM")
	}
	if h.TotalLen != len(b) {
		fmt.Fprintf(&s, " total %d of %d", h.TotalLen, len(b))
	}
	body := b[h.HeaderLen:]
	if h.MF || h.Offset != 0 {
		fmt.Fprintf(&s, " frag %d+%d", h.Offset, len(body))
		if h.MF {
			s.WriteString(" mf")
		}
		return s.String()
	}
	switch h.Protocol {
	case wire.ProtoUDP:
		u, err := wire.ParseUDP(body)
		if err != nil {
			return s.String() + " " + err.Error()
		}
		fmt.Fprintf(&s, " udp %d > %d len %d", u.SrcPort, u.DstPort, u.Length-wire.UDPLen)
		if wire.AddSums(wire.PseudoSum(h.Src.As4(), h.Dst.As4(), wire.ProtoUDP, len(body)), wire.Sum(body)) != 0xffff {
			s.WriteString(" BAD UDP CHECKSUM")
		}
	case wire.ProtoICMP:
		m, err := wire.ParseICMP(body)
		if err != nil {
			return s.String() + " " + err.Error()
		}
		fmt.Fprintf(&s, " icmp %d/%d", m.Type, m.Code)
		if wire.Sum(body) != 0xffff {
			s.WriteString(" BAD ICMP CHECKSUM")
		}
		if wire.ICMPIsError(m.Type) {
			if m.Seq != 0 {
				if m.Type == wire.ICMPRedirect {
					fmt.Fprintf(&s, " gateway %v", addr4(uint32(m.ID)<<16|uint32(m.Seq)))
				} else {
					fmt.Fprintf(&s, " mtu %d", m.Seq)
				}
			}
			fmt.Fprintf(&s, " quoting %d", len(body)-wire.ICMPLen)
		} else {
			fmt.Fprintf(&s, " seq %d len %d", m.Seq, len(body)-wire.ICMPLen)
		}
	default:
		fmt.Fprintf(&s, " proto %d len %d", h.Protocol, len(body))
	}
	return s.String()
}
