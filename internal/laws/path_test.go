package laws

import (
	"io"
	"net/netip"
	"testing"

	"labd.dev/link"
	"labd.dev/sim"
	"labd.dev/tcpstack"
	"labd.dev/tcpstack/wire"
)

const ms = sim.Millisecond

// path is a sender and a receiver with a link between them, or several in a row.
type path struct {
	t     testing.TB
	loop  *sim.Loop
	stack [2]*tcpstack.Stack
	addr  [2]netip.Addr
	dir   [2]*link.Direction   // dir[0] carries data, dir[1] what answers it: of several links the sender's and the receiver's own
	hops  [2][]*link.Direction // all of them, in the order in which they are passed
}

// newPath joins two stacks by a link whose directions do what is given.
func newPath(t testing.TB, data, answers link.Config, seed uint64) *path {
	t.Helper()
	return newChain(t, []link.Config{data}, []link.Config{answers}, seed)
}

// newChain joins two stacks by links in a row, with a switch that takes no time between one and the next.
func newChain(t testing.TB, data, answers []link.Config, seed uint64) *path {
	t.Helper()
	p := &path{t: t, loop: sim.NewLoop(sim.LoopConfig{Name: "laws"})}
	p.addr = [2]netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}
	name := [2]string{"sender", "receiver"}
	var ifc [2]*tcpstack.Interface
	for i, cfgs := range [2][]link.Config{data, answers} {
		id := &sim.Identity{Name: name[i], Src: sim.Source{ID: sim.Origin(i + 1)}, Boots: 1}
		s, err := tcpstack.New(p.loop, id, tcpstack.Config{Name: name[i], Seed: seed, ARPTimeout: 1 << 60})
		if err != nil {
			t.Fatal(err)
		}
		p.stack[i] = s
		for n, cfg := range cfgs {
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			d := link.NewDirection(p.loop, id, sim.Source{ID: sim.Origin(2*n + i + 3)}, name[i]+"->"+name[1-i], seed, cfg)
			d.Mute()
			p.hops[i] = append(p.hops[i], d)
			if n > 0 {
				p.hops[i][n-1].Connect(link.SinkFunc(d.Send))
			}
		}
		p.dir[i] = p.hops[i][0]
		ifc[i] = s.AddInterface(tcpstack.InterfaceConfig{Name: "eth0", MAC: wire.MAC{2, 0, 0, 0, 0, byte(i + 1)},
			Prefix: netip.PrefixFrom(p.addr[i], 24)}, p.dir[i].Send)
	}
	for i := range 2 {
		p.hops[i][len(p.hops[i])-1].Connect(ifc[1-i])
	}
	t.Cleanup(func() {
		for i := range 2 {
			p.stack[i].Shutdown()
			for _, d := range p.hops[i] {
				d.Close()
			}
		}
	})
	return p
}

// run lets time pass.
func (p *path) run(d sim.Time) {
	p.t.Helper()
	if err := p.loop.RunBefore(p.loop.Now() + d); err != nil {
		p.t.Fatal(err)
	}
}

// flow is a connection over a path: its sender writes without an end, its receiver reads all.
type flow struct {
	p        *path
	snd, rcv *tcpstack.Conn
	got      uint64 // bytes read
	err      error
	buf      [64 << 10]byte
	limit    uint64 // bytes to write; 0: without end
	written  uint64
}

// start opens a flow.
func (p *path) start(cfg tcpstack.TCPConfig) *flow {
	p.t.Helper()
	f := &flow{p: p}
	port := uint16(5000 + len(p.stack[1].Listeners()))
	_, err := p.stack[1].Listen(netip.AddrPortFrom(netip.Addr{}, port), cfg, func(c *tcpstack.Conn) tcpstack.ConnHandler {
		f.rcv = c
		return receiver{f}
	})
	if err != nil {
		p.t.Fatal(err)
	}
	if f.snd, err = p.stack[0].Dial(netip.AddrPort{}, netip.AddrPortFrom(p.addr[1], port), cfg, sender{f}); err != nil {
		p.t.Fatal(err)
	}
	return f
}

// goodput is what the receiver reads in some time, bytes a second.
func (f *flow) goodput(d sim.Time) float64 {
	before := f.got
	f.p.run(d)
	return float64(f.got-before) * float64(sim.Second) / float64(d)
}

type sender struct{ *flow }

func (s sender) Established(c *tcpstack.Conn)       { s.Writable(c) }
func (s sender) Readable(*tcpstack.Conn)            {}
func (s sender) Drained(*tcpstack.Conn)             {}
func (s sender) Closed(_ *tcpstack.Conn, err error) { s.err = err }
func (s sender) Writable(c *tcpstack.Conn) {
	for {
		b := s.buf[:]
		if s.limit > 0 {
			b = b[:min(uint64(len(b)), s.limit-s.written)]
		}
		if len(b) == 0 {
			return
		}
		n, err := c.Write(b)
		s.written += uint64(n)
		if err != nil {
			return
		}
	}
}

type receiver struct{ *flow }

func (r receiver) Established(*tcpstack.Conn)       {}
func (r receiver) Writable(*tcpstack.Conn)          {}
func (r receiver) Drained(*tcpstack.Conn)           {}
func (r receiver) Closed(_ *tcpstack.Conn, _ error) {}
func (r receiver) Readable(c *tcpstack.Conn) {
	for {
		n, err := c.Read(r.buf[:])
		r.got += uint64(n)
		if err == io.EOF || err != nil {
			return
		}
	}
}
