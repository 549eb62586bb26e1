package tcpstack

import (
	"net/netip"
	"testing"

	"labd.dev/sim"
)

// source writes as fast as it may; sinkApp reads all there is.
type source struct {
	c    *Conn
	buf  []byte
	left int
}

func (a *source) Established(c *Conn) { a.c = c; a.push() }
func (a *source) Writable(*Conn)      { a.push() }
func (a *source) Drained(*Conn)       {}
func (a *source) Readable(*Conn)      {}
func (a *source) Closed(*Conn, error) {}

func (a *source) push() {
	for a.left > 0 {
		n, err := a.c.Write(a.buf[:min(len(a.buf), a.left)])
		a.left -= n
		if err != nil {
			return
		}
	}
}

type sinkApp struct {
	buf []byte
	got int
}

func (a *sinkApp) Established(*Conn)   {}
func (a *sinkApp) Writable(*Conn)      {}
func (a *sinkApp) Drained(*Conn)       {}
func (a *sinkApp) Closed(*Conn, error) {}
func (a *sinkApp) Readable(c *Conn) {
	for {
		n, err := c.Read(a.buf)
		a.got += n
		if err != nil || n < len(a.buf) {
			return
		}
	}
}

// BenchmarkSegment is one full data segment from write to read, with its half ACK, both checksums made and verified.
func BenchmarkSegment(b *testing.B) { benchSegment(b, nil) }

// BenchmarkSegmentRecorded is the same with every event recorded.
func BenchmarkSegmentRecorded(b *testing.B) {
	benchSegment(b, sim.NewRecorder(4096, func([]sim.Record) {}))
}

func benchSegment(b *testing.B, rec *sim.Recorder) {
	cfg := Config{Checksums: ChecksumsAlways}
	p := newTCPPair(b, [2]Config{cfg, cfg}, sim.Nanosecond)
	p.loop.Rec = rec
	src, dst := &source{buf: make([]byte, 64<<10)}, &sinkApp{buf: make([]byte, 64<<10)}
	if _, err := p.stack[1].Listen(netip.AddrPortFrom(netip.Addr{}, 80), TCPConfig{}, func(*Conn) ConnHandler { return dst }); err != nil {
		b.Fatal(err)
	}
	c, err := p.stack[0].Dial(netip.AddrPort{}, netip.AddrPortFrom(p.addr[1], 80), TCPConfig{}, src)
	if err != nil {
		b.Fatal(err)
	}
	src.c = c
	p.run(sim.Millisecond)
	src.left = 1 << 20
	src.push()
	p.run(sim.Millisecond)
	const mss = 1448
	b.SetBytes(mss)
	b.ReportAllocs()
	start := dst.got
	b.ResetTimer()
	src.left = b.N * mss
	src.push()
	for dst.got-start < b.N*mss {
		p.run(sim.Microsecond)
	}
}

// BenchmarkConnection is one connection opened, closed from one end, and gone at both.
func BenchmarkConnection(b *testing.B) {
	p := newTCPPair(b, [2]Config{{Checksums: ChecksumsAlways}, {Checksums: ChecksumsAlways}}, sim.Nanosecond)
	none := sim.Time(0)
	cfg := TCPConfig{TimeWait: &none}
	closed := 0
	if _, err := p.stack[1].Listen(netip.AddrPortFrom(netip.Addr{}, 80), cfg, func(*Conn) ConnHandler { return &closer{n: &closed} }); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := range b.N {
		if _, err := p.stack[0].Dial(netip.AddrPort{}, netip.AddrPortFrom(p.addr[1], 80), cfg, &closer{active: true, n: &closed}); err != nil {
			b.Fatal(err)
		}
		for closed < 2*(i+1) {
			p.run(sim.Microsecond)
		}
	}
}

type closer struct {
	active bool
	n      *int
}

func (a *closer) Established(c *Conn) {
	if a.active {
		c.Close()
	}
}
func (a *closer) Writable(*Conn)      {}
func (a *closer) Drained(*Conn)       {}
func (a *closer) Readable(c *Conn)    { c.Close() }
func (a *closer) Closed(*Conn, error) { *a.n++ }
