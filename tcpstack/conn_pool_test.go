package tcpstack

import (
	"errors"
	"io"
	"net/netip"
	"testing"

	"labd.dev/sim"
)

// visitor opens one connection after the other, says a byte on each and closes it; its host answers with a byte.
type visitor struct {
	t       testing.TB
	p       *tcpPair
	buf     [4]byte
	keep    bool // it does not release them
	conns   []*Conn
	greeted int
	left    int
}

func (v *visitor) open() {
	c, err := v.p.stack[0].Dial(netip.AddrPort{}, netip.AddrPortFrom(v.p.addr[1], 80), TCPConfig{}, v)
	if err != nil {
		v.t.Error(err)
	}
	v.left--
	if v.keep {
		v.conns = append(v.conns, c)
	}
}

func (v *visitor) Established(c *Conn) {
	c.Write(greeting)
	c.CloseWrite()
}

func (v *visitor) Writable(*Conn) {}
func (v *visitor) Drained(*Conn)  {}

func (v *visitor) Readable(c *Conn) {
	for {
		n, err := c.Read(v.buf[:])
		v.greeted += n
		if err != nil {
			if errors.Is(err, io.EOF) {
				c.Close()
			}
			return
		}
	}
}

func (v *visitor) Closed(c *Conn, err error) {
	if err != nil {
		v.t.Error(err)
	}
	if !v.keep {
		c.Release()
	}
	if v.left > 0 {
		v.open()
	}
}

var greeting = []byte{'!'}

type host struct{ buf [4]byte }

func (*host) Established(*Conn) {}
func (*host) Writable(*Conn)    {}
func (*host) Drained(*Conn)     {}

func (h *host) Readable(c *Conn) {
	for {
		n, err := c.Read(h.buf[:])
		c.Write(h.buf[:n])
		if err != nil {
			if errors.Is(err, io.EOF) {
				c.Close()
			}
			return
		}
	}
}

func (*host) Closed(c *Conn, _ error) { c.Release() }

func newVisitor(t *testing.T) *visitor {
	wait := sim.Millisecond
	cfg := Config{Checksums: ChecksumsAlways, TCP: TCPConfig{TimeWait: &wait}}
	v := &visitor{t: t, p: newTCPPair(t, [2]Config{cfg, cfg}, sim.Microsecond)}
	h := new(host)
	if _, err := v.p.stack[1].Listen(netip.AddrPortFrom(netip.Addr{}, 80), TCPConfig{}, func(*Conn) ConnHandler { return h }); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *visitor) visit(n int) {
	v.left, v.greeted = n, 0
	v.open()
	for v.greeted < n {
		v.p.run(100 * sim.Microsecond)
	}
	v.p.run(10 * sim.Millisecond)
}

// In steady state a connection that both applications release makes no garbage, recorded or not.
func TestNoAllocationPerConnection(t *testing.T) {
	for _, rec := range []*sim.Recorder{nil, sim.NewRecorder(1024, func([]sim.Record) {})} {
		v := newVisitor(t)
		v.p.loop.Rec = rec
		v.visit(100)
		if n := testing.AllocsPerRun(5, func() { v.visit(100) }); n > 0 {
			t.Errorf("%v allocations for 100 connections (recorded: %v)", n, rec != nil)
		}
		v.p.teardown()
	}
}

// A connection that was released serves another, as new; one that was not stays what it was.
func TestReleasedConn(t *testing.T) {
	v := newVisitor(t)
	v.keep = true
	v.visit(2)
	for i, c := range v.conns {
		if c.State() != StateTimeWait || c.Info().BytesReceived != 2 || c.ID() == v.conns[1-i].ID() {
			t.Errorf("connection %v is %v, %d bytes received", c.ID(), c.State(), c.Info().BytesReceived)
		}
	}
	v.keep = false
	v.visit(2)
	v.keep, v.conns = true, nil
	v.left = 1
	used := v.p.stack[0].tcp.freeConn
	v.open()
	c := v.conns[0]
	if c != used || c.State() != StateSynSent || c.Info().SegsIn != 0 || c.Info().BytesSent != 0 || c.end != 0 {
		t.Errorf("a released connection was %v, begins %v with %+v", used, c.State(), c.Info())
	}
	v.p.run(sim.Millisecond)
	if c.State() != StateTimeWait || v.greeted != 3 {
		t.Errorf("it ends %v, %d bytes came", c.State(), v.greeted)
	}
	v.p.teardown()
}

// What a burst of connections leaves behind is kept up to a bound.
func TestFreeConnsBounded(t *testing.T) {
	s := newTCPPair(t, [2]Config{}, sim.Microsecond).stack[0]
	for range maxFreeConns + 10 {
		c := &Conn{stack: s}
		c.Release()
		c.reuse()
	}
	n := 0
	for c := s.tcp.freeConn; c != nil; c = c.next {
		n++
	}
	if n != maxFreeConns || s.tcp.freeConns != n {
		t.Errorf("%d are kept, %d counted", n, s.tcp.freeConns)
	}
}
