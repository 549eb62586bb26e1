package tcpstack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// tcpPair is two stacks joined by a pipe that a test may make lossy, slow or reordering.
type tcpPair struct {
	t     testing.TB
	loop  *sim.Loop
	stack [2]*Stack
	addr  [2]netip.Addr
	pipe  [2]*tcpWire // pipe[0] carries what stack 0 sends
}

// tcpWire is one direction: every frame arrives delay after it was sent, but for what fate says.
type tcpWire struct {
	loop  *sim.Loop
	src   sim.Source
	delay sim.Time
	to    *Stack
	ifc   *Interface
	n     uint64
	// fate may drop frame n (counted from 1), add to its delay, or double it.
	fate  func(n uint64, f *sim.Frame) (drop bool, extra sim.Time, copies int)
	inPip int
	free  *arrival
}

type arrival struct {
	sim.Timer
	p    *tcpWire
	f    *sim.Frame
	next *arrival
}

func (a *arrival) Fire(sim.Time) {
	p, f := a.p, a.f
	a.f, a.next, p.free = nil, p.free, a
	p.inPip--
	p.to.Receive(p.ifc, f)
}

func (p *tcpWire) send(f *sim.Frame) {
	p.n++
	at, copies := p.delay, 1
	if p.fate != nil {
		drop, extra, more := p.fate(p.n, f)
		if drop {
			f.Release()
			return
		}
		at, copies = at+extra, copies+more
	}
	for i := copies; i > 0; i-- {
		g := f
		if i > 1 {
			g = f.Clone()
		}
		a := p.free
		if a == nil {
			a = &arrival{p: p}
			a.H = a
		} else {
			p.free = a.next
		}
		a.f = g
		p.inPip++
		p.loop.Arm(&a.Timer, &p.src, p.loop.Now()+at+sim.Time(i-1))
	}
}

func newTCPPair(t testing.TB, cfg [2]Config, delay sim.Time) *tcpPair {
	t.Helper()
	p := &tcpPair{t: t, loop: sim.NewLoop(sim.LoopConfig{Name: "test"})}
	if _, bench := t.(*testing.B); !bench {
		watch(t, p.loop)
	}
	p.addr = [2]netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}
	var ifc [2]*Interface
	for i := range 2 {
		cfg[i].Name = [2]string{"client", "server"}[i]
		if cfg[i].Seed == 0 {
			cfg[i].Seed = 1
		}
		id := &sim.Identity{Name: cfg[i].Name, Src: sim.Source{ID: sim.Origin(i + 1)}, Boots: 1}
		s, err := New(p.loop, id, cfg[i])
		if err != nil {
			t.Fatal(err)
		}
		p.stack[i] = s
		p.pipe[i] = &tcpWire{loop: p.loop, src: sim.Source{ID: sim.Origin(i + 3)}, delay: max(delay, 1)}
		ifc[i] = s.AddInterface(InterfaceConfig{Name: "eth0", MAC: wire.MAC{2, 0, 0, 0, 0, byte(i + 1)},
			Prefix: netip.PrefixFrom(p.addr[i], 24), Prefixes6: []netip.Prefix{netip.PrefixFrom(addrs6[i], 64)}}, p.pipe[i].send)
	}
	for i := range 2 {
		p.pipe[i].to, p.pipe[i].ifc = p.stack[1-i], ifc[1-i]
	}
	return p
}

// addrs6 are the IPv6 addresses of a pair's ends.
var addrs6 = [2]netip.Addr{netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")}

// useIPv6 makes connect dial the server's IPv6 address.
func (p *tcpPair) useIPv6() { p.addr = addrs6 }

func (p *tcpPair) run(d sim.Time) {
	p.t.Helper()
	if err := p.loop.RunBefore(p.loop.Now() + d); err != nil {
		p.t.Fatal(err)
	}
}

// teardown shuts both stacks down and checks that nothing leaks.
func (p *tcpPair) teardown() {
	p.t.Helper()
	for _, s := range p.stack {
		s.Shutdown()
	}
	p.run(10 * sim.Second)
	if n := p.loop.LiveFrames(); n != 0 {
		p.t.Errorf("%d frames leaked", n)
	}
	if n := p.loop.LiveChunks(); n != 0 {
		p.t.Errorf("%d chunks leaked", n)
	}
}

// peer is an application at one end: it sends what it is told to, keeps what it gets, and notes what it hears.
type peer struct {
	t        testing.TB
	c        *Conn
	out      []byte
	in       bytes.Buffer
	eof      bool
	closeOut bool // CloseWrite after out
	closeEOF bool // Close at EOF
	paused   bool // does not read
	heard    []string
	closed   bool
	err      error
}

func (a *peer) Established(c *Conn) { a.c = c; a.note("established"); a.push() }
func (a *peer) Writable(*Conn)      { a.note("writable"); a.push() }
func (a *peer) Drained(*Conn)       { a.note("drained") }
func (a *peer) note(s string)       { a.heard = append(a.heard, s) }

func (a *peer) push() {
	for len(a.out) > 0 {
		n, err := a.c.Write(a.out)
		a.out = a.out[n:]
		if err != nil {
			if !errors.Is(err, ErrWouldBlock) {
				a.note("write: " + err.Error())
			}
			return
		}
	}
	if a.closeOut {
		a.c.CloseWrite()
	}
}

func (a *peer) Readable(c *Conn) {
	if !a.paused {
		a.pull()
	}
}

func (a *peer) pull() {
	var b [3000]byte
	for {
		n, err := a.c.Read(b[:])
		a.in.Write(b[:n])
		switch {
		case err == io.EOF:
			if !a.eof {
				a.eof = true
				a.note("eof")
				if a.closeEOF && len(a.out) == 0 {
					a.c.Close()
				}
				a.closeOut = a.closeOut || a.closeEOF
			}
			return
		case err != nil:
			return
		}
	}
}

func (a *peer) Closed(c *Conn, err error) {
	if a.closed {
		a.t.Error("Closed was called twice")
	}
	a.closed, a.err = true, err
	a.note(fmt.Sprintf("closed %v", err))
}

// connect dials from stack 0 to a listener at stack 1.
func (p *tcpPair) connect(cfg TCPConfig, client, server *peer) *Listener {
	p.t.Helper()
	l, err := p.stack[1].Listen(netip.AddrPortFrom(netip.Addr{}, 80), cfg, func(*Conn) ConnHandler { return server })
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := p.stack[0].Dial(netip.AddrPort{}, netip.AddrPortFrom(p.addr[1], 80), cfg, client)
	if err != nil {
		p.t.Fatal(err)
	}
	client.c = c
	return l
}

// pattern is n bytes that tell their place.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func TestTransferBothWays(t *testing.T) {
	for _, n := range []int{0, 1, 100, 1448, 1449, 100_000, 3_000_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			p := newTCPPair(t, [2]Config{{Checksums: ChecksumsAlways}, {Checksums: ChecksumsAlways}}, sim.Millisecond)
			ab, ba := pattern(n, 1), pattern(n/2, 2)
			a := &peer{t: t, out: ab, closeOut: true}
			b := &peer{t: t, out: ba, closeEOF: true, closeOut: false}
			p.connect(TCPConfig{}, a, b)
			p.run(20 * sim.Second)
			if !bytes.Equal(b.in.Bytes(), ab) || !bytes.Equal(a.in.Bytes(), ba) {
				t.Fatalf("got %d of %d and %d of %d bytes, or wrong ones; %v %v", b.in.Len(), n, a.in.Len(), n/2, a.heard, b.heard)
			}
			if !a.closed || a.err != nil || !b.closed || b.err != nil {
				t.Errorf("not closed: %v; %v", a.heard, b.heard)
			}
			if len(p.stack[0].TimeWaits()) != 1 || len(p.stack[0].Conns())+len(p.stack[1].Conns()) != 0 {
				t.Errorf("TIME-WAIT %v, connections %v %v", p.stack[0].TimeWaits(), p.stack[0].Conns(), p.stack[1].Conns())
			}
			p.run(61 * sim.Second)
			if len(p.stack[0].TimeWaits()) != 0 {
				t.Error("TIME-WAIT did not end")
			}
			p.teardown()
		})
	}
}
