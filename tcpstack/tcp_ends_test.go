package tcpstack

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// RFC 9293 3.5, Figure 7, with two real ends: both dial at once and one connection comes of it.
//
// RFC 9293 MUST-10.
func TestSimultaneousOpenOfTwoStacks(t *testing.T) {
	p := newTCPPair(t, [2]Config{}, 10*sim.Millisecond)
	var tr traceOf
	p.loop.Rec = tr.recorder()
	// Both must know the other's hardware address, or ARP makes one SYN late.
	for i, s := range p.stack {
		s.ifcs[len(s.ifcs)-1].neighbour(num4(p.addr[1-i])).learn(wire.MAC{2, 0, 0, 0, 0, byte(2 - i)})
	}
	ends := [2]*peer{{t: t, out: pattern(5000, 1), closeOut: true, closeEOF: true}, {t: t, out: pattern(3000, 2), closeOut: true, closeEOF: true}}
	for i, s := range p.stack {
		c, err := s.Dial(netip.AddrPortFrom(p.addr[i], 7000), netip.AddrPortFrom(p.addr[1-i], 7000), TCPConfig{}, ends[i])
		if err != nil {
			t.Fatal(err)
		}
		ends[i].c = c
	}
	p.run(10 * sim.Second)
	if !bytes.Equal(ends[1].in.Bytes(), pattern(5000, 1)) || !bytes.Equal(ends[0].in.Bytes(), pattern(3000, 2)) {
		t.Errorf("%v %v", ends[0].heard, ends[1].heard)
	}
	aliases, closing := 0, 0
	for _, e := range tr.events(t, p.loop.Rec) {
		switch e := e.(type) {
		case *ConnAlias:
			aliases++
		case *StateUpdated:
			if e.New == StateClosing {
				closing++
			}
		}
	}
	if aliases != 2 || closing == 0 {
		t.Errorf("%d aliases, CLOSING %d times", aliases, closing)
	}
	p.teardown()
}

// Closed waits, after an orderly end, until the application has read what had come.
func TestClosedWaitsForTheReader(t *testing.T) {
	p := newTCPPair(t, [2]Config{}, sim.Millisecond)
	a, b := &peer{t: t, out: pattern(10_000, 1), closeOut: true}, &peer{t: t, paused: true, closeOut: true}
	p.connect(TCPConfig{}, a, b)
	p.run(10 * sim.Second)
	if !a.closed || b.closed || !b.c.gone() {
		t.Fatalf("%v %v %v", a.heard, b.heard, b.c.State())
	}
	b.pull()
	p.run(1)
	if !b.closed || b.err != nil || !bytes.Equal(b.in.Bytes(), pattern(10_000, 1)) {
		t.Errorf("%v, %d bytes", b.heard, b.in.Len())
	}
	p.teardown()
}

// A node that crashes in the middle of transfers leaves nothing behind.
//
// RFC 9293 MUST-12.
func TestShutdownInTheMiddle(t *testing.T) {
	p := newTCPPair(t, [2]Config{}, 20*sim.Millisecond)
	for i := range p.pipe {
		p.pipe[i].fate = func(n uint64, f *sim.Frame) (bool, sim.Time, int) { return n%7 == 6, 0, 0 }
	}
	a, b := &peer{t: t, out: pattern(500_000, 1)}, &peer{t: t, out: pattern(500_000, 2)}
	p.connect(TCPConfig{}, a, b)
	p.run(300 * sim.Millisecond)
	heard := len(a.heard) + len(b.heard)
	p.teardown()
	if len(a.heard)+len(b.heard) != heard {
		t.Error("something was heard after the shutdown")
	}
}

// WriteChunk delivers an immutable chunk's bytes, alone and between copies, in full segments wherever they are cut.
func TestWriteChunk(t *testing.T) {
	for _, mode := range []ChecksumMode{ChecksumsLazy, ChecksumsAlways} {
		p := newTCPPair(t, [2]Config{{Checksums: mode}, {Checksums: mode}}, sim.Millisecond)
		data := pattern(200_000, 1)
		a, b := &chunked{peer: peer{t: t}, data: data}, &peer{t: t}
		var short, full int
		p.pipe[0].fate = func(_ uint64, f *sim.Frame) (bool, sim.Time, int) {
			switch len(f.Payload) {
			case 0:
			case 1448:
				full++
			default:
				short++
			}
			return false, 0, 0
		}
		a.chunk = p.loop.NewStaticChunk(data)
		if _, err := p.stack[1].Listen(netip.AddrPortFrom(netip.Addr{}, 80), TCPConfig{}, func(c *Conn) ConnHandler { b.c = c; return b }); err != nil {
			t.Fatal(err)
		}
		if _, err := p.stack[0].Dial(netip.AddrPort{}, netip.AddrPortFrom(p.addr[1], 80), TCPConfig{}, a); err != nil {
			t.Fatal(err)
		}
		p.run(10 * sim.Second)
		if !bytes.Equal(b.in.Bytes(), data) {
			t.Errorf("%d of %d bytes, or wrong ones", b.in.Len(), len(data))
		}
		if short > 3 {
			t.Errorf("%d short segments, %d full ones", short, full)
		}
		a.chunk.Release()
		p.teardown()
	}
}

// chunked writes slices of a chunk and copies in turn.
type chunked struct {
	peer
	chunk *sim.Chunk
	data  []byte
	off   int
}

func (a *chunked) Established(c *Conn) { a.c = c; a.Writable(c) }
func (a *chunked) Writable(c *Conn) {
	for a.off < len(a.data) {
		n, err := 0, error(nil)
		want := min(10_001, len(a.data)-a.off)
		if a.off/10_001%3 == 1 {
			n, err = c.Write(a.data[a.off : a.off+want])
		} else {
			n, err = c.WriteChunk(a.chunk, a.off, want)
		}
		a.off += n
		if err != nil {
			return
		}
	}
}

// RFC 9293 3.9.2.2 and RFC 5927 4: an ICMP error ends a connection that is being opened, not one that is established, and
// only if it quotes a sequence number in flight.
//
// RFC 9293 MUST-54.
func TestICMPErrors(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.dial()
	x.want("S seq=1000")
	e := ICMPError{Type: wire.ICMPUnreachable, Code: wire.ICMPHostUnreachable}
	x.s.tcpControl(e, x.us, x.them, 5)
	x.wantState(StateSynSent)
	x.s.tcpControl(e, x.us, x.them, 1000)
	x.wantHeard("closed tcp: destination unreachable")

	y := newTCPTrace(t, TCPConfig{})
	y.accept("mss=1000")
	y.write(10)
	y.want("PA seq=1001 ack=101 len=10")
	y.s.tcpControl(e, y.us, y.them, 1001)
	y.wantState(StateEstablished)
}

// tcp_fin_timeout: a FIN-WAIT-2 whose application has closed ends by itself.
func TestOrphanedFinWait2(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	x.c.Close()
	x.want("FA seq=1001 ack=101")
	x.send("A seq=101 ack=1002")
	x.wantState(StateFinWait2)
	x.advance(61 * sim.Second)
	x.wantState(StateClosed)
	x.wantHeard("established", "closed <nil>")
}

// A FIN takes a sequence number: it waits for the window like data does.
func TestFinWaitsForTheWindow(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.listen()
	x.send("S seq=100 mss=1000 win=500")
	x.want("SA seq=1000 ack=101")
	x.send("A seq=101 ack=1001 win=500")
	x.write(500)
	x.c.CloseWrite()
	x.want("PA seq=1001 ack=101 len=500")
	x.send("A seq=101 ack=1501 win=0")
	x.wantIdle()
	x.advance(250 * sim.Millisecond)
	x.want("A seq=1500 ack=101") // a probe
	x.send("A seq=101 ack=1501 win=500")
	x.want("FA seq=1501 ack=101")
}

// RFC 6528: the ISN grows with the clock, differs by connection and by boot, and can be fixed. SipHash-2-4 is checked
// against its authors' test vector in spirit: one bit of the tuple or key changes about half the bits.
//
// RFC 9293 MUST-8, SHLD-1, MUST-9.
func TestISN(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	set := *x.s.tcp.defaults
	set.fixedISN = false
	a := tuple{local: ipAddr4(1), remote: ipAddr4(2), localPort: 1, remotePort: 2}
	b := a
	b.remotePort = 3
	i, j := x.s.chooseISN(&a, &set), x.s.chooseISN(&b, &set)
	if d := uint32(i - j); d < 1000 {
		t.Errorf("ISNs %d and %d", i, j)
	}
	x.advance(4 * sim.Millisecond)
	if k := x.s.chooseISN(&a, &set); k != i+1000 {
		t.Errorf("ISN moved by %d in 4 ms, want 1000", k-i)
	}
	if k := x.s.chooseISN(&a, x.s.tcp.defaults); k != 1000 {
		t.Errorf("fixed ISN %d", k)
	}
}

// Ports: an address in use is refused, ephemeral ports run out, a listener's port is not dealt out.
//
// RFC 9293 MUST-43, MUST-21.
func TestPortsAndConfig(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.dial()
	x.want("S seq=1000")
	if _, err := x.s.Dial(x.us, x.them, TCPConfig{}, x.app); err != ErrAddrInUse {
		t.Errorf("second dial: %v", err)
	}
	l := x.listen()
	if _, err := x.s.Listen(x.us, TCPConfig{}, nil); err != ErrAddrInUse {
		t.Errorf("second listen: %v", err)
	}
	if l.Addr() != x.us {
		t.Errorf("listens on %v", l.Addr())
	}
	any, err := x.s.Listen(netip.AddrPort{}, TCPConfig{}, nil)
	if err != nil || any.Addr().Port() < ephemeralFirst {
		t.Errorf("%v %v", any, err)
	}
	neg := -sim.Second
	many := uint32(256)
	for _, bad := range []TCPConfig{{Congestion: "vegas"}, {SendBuffer: 1}, {RecvBuffer: 1 << 31}, {MSS: 10}, {MSS: 70000},
		{InitialWindow: 1 << 20}, {Backlog: 1 << 20}, {SYNRetries: &many}, {MinRTO: neg}, {DelayedACK: &neg}} {
		if _, err := x.s.Dial(netip.AddrPort{}, x.them, bad, x.app); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// Every setting of an inner configuration wins, and each that it leaves out comes from the outer one.
func TestMerge(t *testing.T) {
	on, d, n := true, sim.Second, uint32(3)
	full := TCPConfig{Congestion: "reno", SACK: &on, Timestamps: &on, WindowScaling: &on, ISN: &n, DelayedACK: &d, Nagle: &on,
		MSS: 1, SendBuffer: 2, RecvBuffer: 3, InitialWindow: 4, MinRTO: 5, InitialRTO: 6, TimeWait: &d, SYNRetries: &n,
		DataRetries: &n, FastRetransmit: &on, Backlog: 7, QuickACK: &on}
	if got := (TCPConfig{}).Merge(full); got != full {
		t.Errorf("%+v", got)
	}
	if got := full.Merge(TCPConfig{Congestion: "cubic", MSS: 9}); got != full {
		t.Errorf("%+v", got)
	}
	if got := (TCPConfig{Tag: 1}).Merge(TCPConfig{Tag: 2}); got.Tag != 1 {
		t.Errorf("tag %d", got.Tag)
	}
}

// The demultiplexer finds what is in it and nothing else, through growth and removals that close gaps.
//
// RFC 9293 MUST-41, MUST-42.
func TestDemux(t *testing.T) {
	var d demux[*timeWait]
	dice := sim.NewStream(5, "demux")
	var in []*timeWait
	for i := range uint64(5000) {
		if len(in) > 0 && dice.Below(i, 5) < 2 {
			k := int(dice.Below(i+1<<20, uint64(len(in))))
			d.remove(in[k], in[k].hashed)
			in = slices.Delete(in, k, k+1)
		} else {
			w := &timeWait{tuple: tuple{local: ipAddr4(1), remote: ipAddr4(uint32(i)), localPort: uint16(i)}}
			w.hashed = w.hash(9) & 0xff // many collisions
			d.insert(w, w.hashed)
			in = append(in, w)
		}
		if i%500 == 0 {
			for _, w := range in {
				if d.find(&w.tuple, w.hashed) != w {
					t.Fatalf("after %d steps %v is lost", i, w.tuple)
				}
			}
		}
	}
	if d.n != len(in) {
		t.Errorf("%d of %d", d.n, len(in))
	}
}
