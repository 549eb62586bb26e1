package tcpstack

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// tcpTrace is one stack against a peer that the test plays: send lets a segment arrive, want takes the next one that the
// stack has sent. A segment is written as its flags and key=value pairs, as "PA seq=101 ack=2001 len=100"; want compares
// flags, seq, ack and len, absent ones being 0, and of the rest what is given. The stack's ISN is 1000.
//
// What was sent and not wanted fails the test.
type tcpTrace struct {
	t        *testing.T
	loop     *sim.Loop
	s        *Stack
	ifc      *Interface
	out      []traceSegment
	app      *peer
	c        *Conn
	cfg      TCPConfig
	us, them netip.AddrPort
	// Of what the peer sends, beside what deliver is told.
	tos                   uint8
	ipOptions, tcpOptions []byte // whole words
}

type traceSegment struct {
	wire.TCP
	opt  wire.TCPOptions
	len  int
	at   sim.Time
	data []byte

	// Of the IP header.
	tos, ttl  uint8
	src, dst  netip.Addr
	ipOptions []byte
}

func newTCPTrace(t *testing.T, cfg TCPConfig) *tcpTrace {
	t.Helper()
	isn := uint32(1000)
	off := false
	cfg = cfg.Merge(TCPConfig{ISN: &isn, Timestamps: &off, WindowScaling: &off, QuickACK: &off})
	x := &tcpTrace{t: t, cfg: cfg, loop: sim.NewLoop(sim.LoopConfig{})}
	watch(t, x.loop)
	s, err := New(x.loop, &sim.Identity{Src: sim.Source{ID: 1}, Name: "x", Boots: 1},
		Config{Name: "x", Checksums: ChecksumsAlways, ARPTimeout: 1 << 60, TCP: cfg})
	if err != nil {
		t.Fatal(err)
	}
	x.s = s
	x.ifc = s.AddInterface(InterfaceConfig{Name: "eth0", MAC: wire.MAC{2, 0, 0, 0, 0, 1},
		Prefix: netip.MustParsePrefix("10.0.0.1/24")}, x.sent)
	x.us, x.them = netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.2:5000")
	x.ifc.neighbour(num4(x.them.Addr())).learn(wire.MAC{2, 0, 0, 0, 0, 2})
	x.app = &peer{t: t}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		x.wantIdle()
		s.Shutdown()
		if x.loop.LiveFrames() != 0 || x.loop.LiveChunks() != 0 {
			t.Errorf("%d frames and %d chunks leaked", x.loop.LiveFrames(), x.loop.LiveChunks())
		}
	})
	return x
}

// useIPv6 has what follows be over IPv6.
func (x *tcpTrace) useIPv6() {
	cfg := x.ifc.cfg
	cfg.Prefixes6 = []netip.Prefix{netip.PrefixFrom(addrs6[0], 64)}
	x.ifc.Readdress(cfg)
	x.us, x.them = netip.AddrPortFrom(addrs6[0], x.us.Port()), netip.AddrPortFrom(addrs6[1], x.them.Port())
	x.ifc.neighbourAt(ipAddrOf(addrs6[1])).learn(wire.MAC{2, 0, 0, 0, 0, 2})
}

// sent takes a frame that the stack sends.
func (x *tcpTrace) sent(f *sim.Frame) {
	if x.us.Addr().Is6() {
		x.sentIPv6(f)
		return
	}
	f.Strip(14)
	if !x.s.checksumOK(f) {
		x.t.Error("sent a segment with a wrong checksum")
	}
	ip, err := wire.ParseIPv4(f.Header())
	if err != nil {
		x.t.Fatal(err)
	}
	x.sentSegment(f, ip.HeaderLen, traceSegment{tos: ip.TOS, ttl: ip.TTL, src: ip.Src, dst: ip.Dst, ipOptions: slices.Clone(ip.Options)})
}

// sentIPv6 is sent over IPv6. What asks whether the neighbour is still there is no segment.
func (x *tcpTrace) sentIPv6(f *sim.Frame) {
	f.Strip(14)
	ip, err := wire.ParseIPv6(f.Header())
	if err != nil {
		x.t.Fatal(err)
	}
	if ip.NextHeader == wire.ProtoICMPv6 {
		f.Release()
		return
	}
	src, dst := ip.Src.As16(), ip.Dst.As16()
	length := len(f.Header()) - wire.IPv6Len
	sum := wire.AddSums(wire.PseudoSum6(src, dst, wire.ProtoTCP, length+len(f.Payload)), wire.Sum(f.Header()[wire.IPv6Len:]))
	if wire.AddSums(sum, wire.Sum(f.Payload)) != 0xffff {
		x.t.Error("sent a segment with a wrong checksum")
	}
	x.sentSegment(f, wire.IPv6Len, traceSegment{tos: ip.TrafficClass, ttl: ip.HopLimit, src: ip.Src, dst: ip.Dst})
}

// sentSegment notes the segment in a frame behind an IP header, of which g tells.
func (x *tcpTrace) sentSegment(f *sim.Frame, ihl int, g traceSegment) {
	h := f.Header()[ihl:]
	p, err := wire.ParseTCP(h)
	g.TCP, g.len, g.at, g.data = p, len(f.Payload), x.loop.Now(), slices.Clone(f.Payload)
	if err == nil {
		err = wire.ParseTCPOptions(h[wire.TCPMinLen:p.HeaderLen], &g.opt)
	}
	if err != nil {
		x.t.Error(err)
	}
	x.out = append(x.out, g)
	f.Release()
}

// send lets a segment from the peer arrive.
func (x *tcpTrace) send(text string) {
	x.t.Helper()
	g := x.parse(text)
	x.deliver(g.TCP, g.opt, g.len)
}

// deliver lets a segment with n bytes of data, each its sequence number, arrive; a SYN's data begins after it.
func (x *tcpTrace) deliver(h wire.TCP, opt wire.TCPOptions, n int) {
	f := x.loop.NewFrame()
	ihl, etherType := wire.IPv4MinLen+len(x.ipOptions), wire.EtherTypeIPv4
	if x.us.Addr().Is6() {
		ihl, etherType = wire.IPv6Len, wire.EtherTypeIPv6
	}
	h.HeaderLen = wire.TCPMinLen + opt.Len() + len(x.tcpOptions)
	b := f.Append(ihl + h.HeaderLen)
	if x.us.Addr().Is6() {
		wire.IPv6{TrafficClass: x.tos, PayloadLen: h.HeaderLen + n, HopLimit: 64, NextHeader: wire.ProtoTCP, Src: x.them.Addr(), Dst: x.us.Addr()}.Put(b)
	} else {
		wire.IPv4{TOS: x.tos, TotalLen: len(b) + n, TTL: 64, Protocol: wire.ProtoTCP, Src: x.them.Addr(), Dst: x.us.Addr()}.Put(b)
		b[0] += uint8(len(x.ipOptions) / 4)
		copy(b[wire.IPv4MinLen:], x.ipOptions)
	}
	h.SrcPort, h.DstPort = x.them.Port(), x.us.Port()
	h.Put(b[ihl:])
	copy(b[ihl+wire.TCPMinLen+opt.Put(b[ihl+wire.TCPMinLen:]):], x.tcpOptions)
	if n > 0 {
		c := x.loop.NewChunk(n)
		first := byte(h.Seq)
		if h.Flags&wire.FlagSYN != 0 {
			first++
		}
		for i := range c.Data {
			c.Data[i] = first + byte(i)
		}
		f.SetPayload(c, 0, n)
		c.Release()
	}
	f.Prepend(14)
	wire.Ethernet{Dst: wire.MAC{2, 0, 0, 0, 0, 1}, Src: wire.MAC{2, 0, 0, 0, 0, 2}, Type: etherType}.Put(f.Header())
	f.Verified = true
	FillChecksums(f)
	x.s.Receive(x.ifc, f)
}

// want takes the oldest segment sent and compares it.
func (x *tcpTrace) want(text string) traceSegment {
	x.t.Helper()
	if len(x.out) == 0 {
		x.t.Fatalf("%v: nothing sent, want %s", x.loop.Now(), text)
	}
	got := x.out[0]
	x.out = x.out[1:]
	w := x.parse(text)
	if !strings.Contains(text, "win=") {
		w.Window = got.Window
	}
	if w.opt == (wire.TCPOptions{}) && !strings.Contains(text, "noopt") {
		w.opt = got.opt
	}
	if got.Flags != w.Flags || got.Seq != w.Seq || got.Ack != w.Ack || got.len != w.len || got.Window != w.Window || got.Urgent != w.Urgent || got.opt != w.opt {
		x.t.Fatalf("%v: sent\n\t%v\nwant\n\t%v", x.loop.Now(), got, w)
	}
	return got
}

func (g traceSegment) String() string {
	return fmt.Sprintf("%v seq=%d ack=%d len=%d win=%d %+v", g.Flags, g.Seq, g.Ack, g.len, g.Window, g.opt)
}

// wantIdle fails if anything was sent that nobody wanted.
func (x *tcpTrace) wantIdle() {
	x.t.Helper()
	for _, g := range x.out {
		x.t.Errorf("%v: unwanted %v", g.at, g)
	}
	x.out = nil
}

// advance lets time pass.
func (x *tcpTrace) advance(d sim.Time) {
	x.t.Helper()
	if err := x.loop.RunBefore(x.loop.Now() + d); err != nil {
		x.t.Fatal(err)
	}
}

func (x *tcpTrace) parse(text string) (g traceSegment) {
	x.t.Helper()
	letters := map[rune]wire.TCPFlags{'S': wire.FlagSYN, 'A': wire.FlagACK, 'F': wire.FlagFIN, 'R': wire.FlagRST, 'P': wire.FlagPSH,
		'E': wire.FlagECE, 'C': wire.FlagCWR, 'U': wire.FlagURG}
	fields := strings.Fields(text)
	for _, r := range fields[0] {
		g.Flags |= letters[r]
	}
	g.Window = 65535
	for _, f := range fields[1:] {
		k, v, _ := strings.Cut(f, "=")
		n64, _ := strconv.ParseUint(v, 10, 32)
		n := uint32(n64)
		switch k {
		case "seq":
			g.Seq = n
		case "ack":
			g.Ack = n
		case "len":
			g.len = int(n)
		case "win":
			g.Window = uint16(n)
		case "urg":
			g.Urgent = uint16(n)
		case "mss":
			g.opt.MSS = uint16(n)
		case "ws":
			g.opt.WindowScale, g.opt.HasWindowScale = uint8(n), true
		case "uto":
			g.opt.UserTimeout, g.opt.HasUserTimeout = uint16(n), true
		case "sackok":
			g.opt.SACKPermitted = true
		case "ts":
			a, b, _ := strings.Cut(v, ",")
			val, _ := strconv.ParseUint(a, 10, 32)
			ecr, _ := strconv.ParseUint(b, 10, 32)
			g.opt.HasTimestamps, g.opt.TSVal, g.opt.TSEcr = true, uint32(val), uint32(ecr)
		case "sack":
			for _, blk := range strings.Split(v, ",") {
				a, b, _ := strings.Cut(blk, "-")
				l, _ := strconv.ParseUint(a, 10, 32)
				r, _ := strconv.ParseUint(b, 10, 32)
				g.opt.SACK[g.opt.NSACK] = wire.SACKBlock{Left: uint32(l), Right: uint32(r)}
				g.opt.NSACK++
			}
		case "noopt":
		default:
			x.t.Fatalf("no key %q", k)
		}
	}
	return g
}

// listen makes the stack listen on port 80.
func (x *tcpTrace) listen() *Listener {
	x.t.Helper()
	l, err := x.s.Listen(x.us, TCPConfig{}, func(c *Conn) ConnHandler { x.c, x.app.c = c, c; return x.app })
	if err != nil {
		x.t.Fatal(err)
	}
	return l
}

// dial makes the stack open a connection to the peer.
func (x *tcpTrace) dial() {
	x.t.Helper()
	c, err := x.s.Dial(x.us, x.them, TCPConfig{}, x.app)
	if err != nil {
		x.t.Fatal(err)
	}
	x.c, x.app.c = c, c
}

// accept brings a connection, opened by the peer with ISN 100 and these options, to ESTABLISHED.
func (x *tcpTrace) accept(options string) {
	x.t.Helper()
	x.listen()
	x.send("S seq=100 " + options)
	x.want("SA seq=1000 ack=101")
	x.send("A seq=101 ack=1001")
	x.wantState(StateEstablished)
}

// write hands the connection n bytes, each its sequence number.
func (x *tcpTrace) write(n int) {
	x.t.Helper()
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(x.c.sndEnd) + byte(i)
	}
	if m, err := x.c.Write(b); m != n || err != nil {
		x.t.Fatalf("wrote %d of %d: %v", m, n, err)
	}
}

func (x *tcpTrace) wantState(s State) {
	x.t.Helper()
	if x.c.State() != s {
		x.t.Fatalf("state %v, want %v", x.c.State(), s)
	}
}

// wantHeard compares what the application heard since the last time.
func (x *tcpTrace) wantHeard(events ...string) {
	x.t.Helper()
	if !slices.Equal(x.app.heard, events) {
		x.t.Fatalf("the application heard %q, want %q", x.app.heard, events)
	}
	x.app.heard = nil
}

func netipPort(a netip.AddrPort, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr(), port)
}
