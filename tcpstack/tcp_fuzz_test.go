package tcpstack

import (
	"encoding/binary"
	"reflect"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// FuzzConn lets arbitrary segments meet a connection over IPv4 or IPv6 while its application calls whatever it likes: nothing panics,
// nothing grows beyond its bound, no data goes beyond the window that was announced, no wrong byte is delivered, and
// nothing leaks.
func FuzzConn(f *testing.F) {
	f.Add([]byte{0x10, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 100, 2, 0x18, 0, 0, 0, 100, 0, 0, 1, 3, 4, 5, 0x11, 0, 0, 0, 0, 0, 0, 6})
	f.Fuzz(func(t *testing.T, script []byte) { fuzzConn(t, script) })
}

// The same with scripts of chance, so that every test run tries many.
func TestArbitrarySegments(t *testing.T) {
	seed := uint64(0)
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	for ; seed < 300; seed++ {
		dice := sim.NewStream(seed, "arbitrary segments")
		script := make([]byte, 1200)
		for i := range script {
			script[i] = byte(dice.Uint64(uint64(i)) >> 30)
			if dice.Below(uint64(i)+1<<32, 3) == 0 {
				script[i] = 0 // what is near the expected sequence numbers goes deeper
			}
		}
		if fuzzConn(t, script); t.Failed() {
			return
		}
	}
}

// fuzzer reads a script byte by byte; after its end everything is 0.
type fuzzer struct {
	urgent int // pointers sent to a connection that takes urgent bytes out of the stream
	script []byte
	x      *tcpTrace
	edge   seqNum // the highest right edge that the peer has announced
}

func (z *fuzzer) byte() byte {
	if len(z.script) == 0 {
		return 0
	}
	b := z.script[0]
	z.script = z.script[1:]
	return b
}

// near is a number near n: the low bits of the script decide how near.
func (z *fuzzer) near(n seqNum) seqNum {
	switch b := z.byte(); {
	case b < 128:
		return n
	case b < 200:
		return n + seqNum(int8(z.byte()))
	case b < 240:
		return n + seqNum(int16(binary.BigEndian.Uint16([]byte{z.byte(), z.byte()})))
	default:
		return seqNum(binary.BigEndian.Uint32([]byte{z.byte(), z.byte(), z.byte(), z.byte()}))
	}
}

func fuzzConn(t *testing.T, script []byte) {
	z := &fuzzer{script: script}
	mode := z.byte()
	cfg := TCPConfig{SendBuffer: 8192, RecvBuffer: 8192}
	if mode&8 != 0 {
		cfg = cfg.Merge(z.settings())
	}
	if on := true; mode&1 != 0 {
		cfg.Timestamps = &on
	}
	x := newTCPTrace(t, cfg)
	z.x = x
	if mode&32 != 0 {
		x.useIPv6()
	}
	z.open(mode)
	if x.c != nil {
		x.c.SetUrgentInline(mode&4 == 0)
	}
	for len(z.script) > 0 && x.c != nil && !x.c.dead() {
		z.step()
		z.check(t)
	}
	x.out = nil
}

// open begins a connection: from here or from the peer, which may have data with its SYN.
func (z *fuzzer) open(mode byte) {
	x := z.x
	switch {
	case mode&2 != 0 && mode&16 != 0:
		data := pattern(int(z.byte())*10, 0)
		if c, _, err := x.s.DialFastOpen(x.us, x.them, TCPConfig{}, data, x.app); err == nil {
			x.c, x.app.c, z.edge = c, c, c.sndNxt // what goes with the SYN knows no window
		}
	case mode&2 != 0:
		x.dial()
	default:
		_, err := x.s.Listen(x.us, TCPConfig{}, func(c *Conn) ConnHandler {
			x.c, x.app, z.edge, z.urgent = c, &peer{t: x.t, c: c}, 0, 0
			return x.app
		})
		if err != nil {
			x.t.Fatal(err)
		}
		syn := x.parse("S seq=100 mss=500 sackok")
		if mode&1 != 0 {
			syn.opt.HasTimestamps, syn.opt.TSVal = true, 1
		}
		n := 0
		if mode&16 != 0 {
			syn.opt.FastOpen.Present, n = true, int(z.byte())
		}
		x.deliver(syn.TCP, syn.opt, n)
		for range z.byte() & 3 { // what may come before the handshake's end
			h := wire.TCP{Flags: wire.TCPFlags(z.byte()) &^ wire.FlagURG, Seq: uint32(z.near(101)), Ack: uint32(z.near(1001)), Window: 1000}
			x.deliver(h, wire.TCPOptions{}, int(z.byte()))
		}
		if len(x.out) > 0 && x.c == nil {
			ack := x.parse("A seq=101")
			ack.Ack, ack.opt.HasTimestamps = x.out[0].Seq+1, x.out[0].opt.HasTimestamps
			ack.opt.TSVal, ack.opt.TSEcr = 2, x.out[0].opt.TSVal
			x.deliver(ack.TCP, ack.opt, 0)
		}
	}
}

// settings are any switches but those of sizes and times, which the bounds that are checked depend on.
func (z *fuzzer) settings() (cfg TCPConfig) {
	v := reflect.ValueOf(&cfg).Elem()
	for i := range v.NumField() {
		if p, ok := v.Field(i).Addr().Interface().(**bool); ok {
			if b := z.byte(); b < 64 {
				on := b&1 == 0
				*p = &on
			}
		}
	}
	pick := func(words ...string) string { return words[int(z.byte())%len(words)] }
	cfg.Congestion = pick("", "reno", "bbr", "bbr3", "dctcp")
	cfg.HyStart = pick(append(hystartWords[:], "")...)
	cfg.ECN = pick(append(ecnWords[:], "")...)
	cfg.FastOpen = pick(append(fastOpenWords[:], "")...)
	cfg.SYNCookies = pick(append(synCookiesWords[:], "")...)
	cfg.TimeWaitReuse = pick(append(timeWaitReuseWords[:], "")...)
	cfg.MTUProbing = pick(append(mtuProbingWords[:], "")...)
	cfg.Personality = pick(append(personalityWords[:], "")...)
	return cfg
}

// step is one thing that happens.
func (z *fuzzer) step() {
	c := z.x.c
	switch op := z.byte(); {
	case op < 160:
		z.arrive()
	case op < 190:
		c.Write(pattern(int(z.byte())*20, 0))
	case op < 200:
		z.x.advance(sim.Time(z.byte()) * 10 * sim.Millisecond)
	case op < 205:
		z.x.advance(sim.Time(z.byte()) * sim.Second)
	case op < 215:
		z.x.app.paused = !z.x.app.paused
	case op < 235:
		if z.x.app.c != nil {
			z.x.app.pull()
		}
	case op < 245:
		c.CloseWrite()
	case op < 250:
		c.Close()
	case op < 251:
		c.Abort()
	case op < 252:
		c.Reconfigure(z.settings())
	case op < 253:
		c.WriteFlags(pattern(int(z.byte()), 0), WriteFlags(z.byte()))
	case op < 254:
		z.x.tos = z.byte()
	default:
		kinds := []ICMPError{{Type: wire.ICMPUnreachable, Code: wire.ICMPFragNeeded, MTU: int(z.byte()) * 8},
			{Type: wire.ICMPUnreachable, Code: z.byte() & 15}, {Type: wire.ICMPTimeExceeded}}
		z.x.s.tcpControl(kinds[int(z.byte())%len(kinds)], z.x.us, z.x.them, uint32(z.near(c.sndUna)))
	}
}

// arrive lets a segment arrive whose fields lie near what is expected.
func (z *fuzzer) arrive() {
	c := z.x.c
	var opt wire.TCPOptions
	h := wire.TCP{Flags: wire.TCPFlags(z.byte()) &^ (wire.FlagSYN | wire.FlagRST)}
	if z.byte() < 200 {
		h.Flags |= wire.FlagACK
	}
	if b := z.byte(); b > 250 {
		h.Flags |= wire.FlagRST
	} else if b > 240 || c.state < StateEstablished && b > 100 {
		h.Flags |= wire.FlagSYN
	}
	if z.byte() < 150 {
		h.Flags &^= wire.FlagFIN
	}
	h.Seq, h.Ack = uint32(z.near(c.rcvNxt)), uint32(z.near(c.sndNxt))
	if z.byte() > 128 {
		h.Ack = uint32(z.near(c.sndUna))
	}
	h.Window = uint16(z.byte()) << (z.byte() & 7)
	n := int(z.byte()) * int(z.byte()&7)
	if z.byte() < 128 {
		opt.NSACK = z.byte() % (wire.MaxSACKBlocks)
		for i := range opt.NSACK {
			l := z.near(c.sndUna)
			opt.SACK[i] = wire.SACKBlock{Left: uint32(l), Right: uint32(z.near(l + seqNum(c.sndMSS)))}
		}
	}
	if z.byte() < 128 {
		opt.HasTimestamps, opt.TSVal, opt.TSEcr = true, uint32(z.near(seqNum(c.tsRecent))), uint32(z.near(seqNum(c.tsNow())))
		opt.NSACK = min(opt.NSACK, 3)
	}
	if h.Flags&wire.FlagURG != 0 {
		h.Urgent = uint16(z.byte()) << (z.byte() & 7)
		if c.urg == nil || !c.urg.inline {
			z.urgent++
		}
	}
	z.x.deliver(h, opt, n)
}

func (z *fuzzer) check(t *testing.T) {
	x := z.x
	c := x.c
	if right := c.sndUna + seqNum(c.sndWnd); z.edge == 0 || z.edge.less(right) {
		z.edge = right
	}
	for _, g := range x.out {
		if g.len > 0 && g.Flags&wire.FlagSYN == 0 && c.state != StateClosed && z.edge.less(seqNum(g.Seq)+seqNum(g.len)) {
			t.Fatalf("sent %v beyond the window's edge %d", g, z.edge)
		}
	}
	x.out = x.out[:0]
	pieces := 2*8192/skbOverhead + 8
	if c.Buffered() > 8192+8 || c.rcv != nil && (len(c.rcv.ooo) > pieces || len(c.rcv.q) > 8192/gatherBelow+pieces+64) {
		t.Fatalf("receive buffer: %d bytes, %d and %d pieces", c.Buffered(), len(c.rcv.q), len(c.rcv.ooo))
	}
	if q := c.rtx; q != nil {
		if q.n > c.maxSegments() || q.inFlight() < 0 || q.sackedOut > q.n || q.lostOut > q.n {
			t.Fatalf("%+v", q)
		}
	}
	in, skipped := x.app.in.Bytes(), 0
	for i, b := range in {
		for b != byte(c.irs+1)+byte(i+skipped) && skipped < z.urgent {
			skipped++ // an urgent byte, at most one a pointer, is not in the stream
		}
		if b != byte(c.irs+1)+byte(i+skipped) {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
	if x.loop.LiveChunks() > 2000 || x.loop.LiveFrames() > 10 {
		t.Fatalf("%d chunks, %d frames", x.loop.LiveChunks(), x.loop.LiveFrames())
	}
}
