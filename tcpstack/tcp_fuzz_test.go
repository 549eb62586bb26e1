package tcpstack

import (
	"encoding/binary"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// FuzzConn lets arbitrary segments meet a connection while its application calls whatever it likes: nothing panics,
// nothing grows beyond its bound, no data goes beyond the window that was announced, no wrong byte is delivered, and
// nothing leaks.
func FuzzConn(f *testing.F) {
	f.Add([]byte{0x10, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 100, 2, 0x18, 0, 0, 0, 100, 0, 0, 1, 3, 4, 5, 0x11, 0, 0, 0, 0, 0, 0, 6})
	f.Fuzz(func(t *testing.T, script []byte) { fuzzConn(t, script) })
}

// The same with scripts of chance, so that every test run tries many.
func TestArbitrarySegments(t *testing.T) {
	for seed := range uint64(300) {
		dice := sim.NewStream(seed, "arbitrary segments")
		script := make([]byte, 1200)
		for i := range script {
			script[i] = byte(dice.Uint64(uint64(i)) >> 30)
			if dice.Below(uint64(i)+1<<32, 3) == 0 {
				script[i] = 0 // what is near the expected sequence numbers goes deeper
			}
		}
		fuzzConn(t, script)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
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
	on := true
	mode := z.byte()
	cfg := TCPConfig{SendBuffer: 8192, RecvBuffer: 8192}
	if mode&1 != 0 {
		cfg.Timestamps = &on
	}
	x := newTCPTrace(t, cfg)
	z.x = x
	if mode&2 != 0 {
		x.dial()
	} else {
		x.listen()
		syn := "S seq=100 mss=500 sackok"
		if mode&1 != 0 {
			syn += " ts=1,0"
		}
		x.send(syn)
		x.c = x.s.tcp.first
	}
	if x.c != nil {
		x.c.SetUrgentInline(mode&4 == 0)
	}
	for len(z.script) > 0 && x.c != nil && !x.c.dead() {
		z.step()
		z.check(t)
	}
	x.out = nil
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
	case op < 252:
		c.Abort()
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
		if g.len > 0 && c.state != StateClosed && z.edge.less(seqNum(g.Seq)+seqNum(g.len)) {
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
