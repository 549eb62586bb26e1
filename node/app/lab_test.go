package app

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"

	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
	"labd.dev/tcpstack/wire"
)

// lab is client - r1 - server on one loop, with what its applications have reported.
type lab struct {
	t                  *testing.T
	loop               *sim.Loop
	client, r1, server *host
	links              map[string]*link.Direction
	inputs             []*labv1.Input
	blobs              map[string][]byte
	status             map[string]*labv1.TransferStatus
	lines              map[string][]string
	codes              map[string]int
	saved              map[string][]byte
	records            []sim.Record
	ids                sim.Origin
}

type host struct {
	lab      *lab
	name     string
	forwards bool
	id       *sim.Identity
	stack    *tcpstack.Stack
	ifc      *tcpstack.Interface // the last one
	addrs    []netip.Addr
	apps     []App
}

// newLab builds the lab; cfg is that of both directions between r1 and the server, those to the client are ideal but for
// a millisecond of delay.
func newLab(t *testing.T, cfg link.Config) *lab {
	l := &lab{
		t: t, loop: sim.NewLoop(sim.LoopConfig{Name: "test"}), links: map[string]*link.Direction{}, inputs: []*labv1.Input{nil},
		blobs: map[string][]byte{}, status: map[string]*labv1.TransferStatus{}, lines: map[string][]string{},
		codes: map[string]int{}, saved: map[string][]byte{},
	}
	l.loop.Rec = sim.NewRecorder(1024, func(r []sim.Record) { l.records = append(l.records, r...) })
	l.client, l.r1, l.server = l.host("client", false), l.host("r1", true), l.host("server", false)
	l.join(l.r1, l.client, "10.0.1.2/24", "10.0.1.1/24", link.Config{Delay: sim.Millisecond})
	l.join(l.r1, l.server, "10.0.2.1/24", "10.0.2.2/24", cfg)
	t.Cleanup(l.close)
	return l
}

func (l *lab) host(name string, forwarding bool) *host {
	l.ids++
	h := &host{lab: l, name: name, forwards: forwarding, id: &sim.Identity{Name: name, Src: sim.Source{ID: l.ids}, Boots: 1}}
	h.boot()
	return h
}

func (h *host) boot() {
	var err error
	h.stack, err = tcpstack.New(h.lab.loop, h.id, tcpstack.Config{Name: h.name, Seed: 1, Forwarding: h.forwards})
	h.lab.must(err)
}

// restart boots a host of one interface again, with the services it has had.
func (h *host) restart() {
	h.boot()
	prefix := netip.PrefixFrom(h.addrs[0], 24)
	h.addrs = nil
	h.ifc = h.addInterface(prefix.String(), h.lab.links[h.name+"->r1"], h.lab.r1)
	h.apps = nil
	h.serve()
}

func (l *lab) join(a, b *host, aPrefix, bPrefix string, cfg link.Config) {
	ab, ba := l.direction(a, b, cfg), l.direction(b, a, cfg)
	aIf := a.addInterface(aPrefix, ab, b)
	b.ifc = b.addInterface(bPrefix, ba, a)
	ab.Connect(link.SinkFunc(func(f *sim.Frame) { b.stack.Receive(b.ifc, f) }))
	ba.Connect(link.SinkFunc(func(f *sim.Frame) { a.stack.Receive(aIf, f) }))
}

func (l *lab) direction(from, to *host, cfg link.Config) *link.Direction {
	l.ids++
	name := from.name + "->" + to.name
	d := link.NewDirection(l.loop, from.id, sim.Source{ID: 100 + l.ids}, name, 1, cfg)
	l.links[name] = d
	return d
}

// addInterface joins a host to its link; whoever does not forward sends all else to the peer.
func (h *host) addInterface(prefix string, out *link.Direction, peer *host) *tcpstack.Interface {
	p := netip.MustParsePrefix(prefix)
	h.addrs = append(h.addrs, p.Addr())
	ifc := h.stack.AddInterface(tcpstack.InterfaceConfig{
		Name: fmt.Sprintf("eth%d", len(h.addrs)-1), MAC: wire.MAC{2, 0, 0, 0, byte(h.id.Src.ID), byte(len(h.addrs))}, Prefix: p,
	}, out.Send)
	if !h.forwards {
		via := peer.addrs[0]
		for _, a := range peer.addrs {
			if p.Masked().Contains(a) {
				via = a
			}
		}
		h.stack.SetRoutes([]tcpstack.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: via, Ifc: ifc}})
	}
	return ifc
}

func (h *host) env() Env {
	l := h.lab
	return Env{
		Stack: h.stack, Loop: l.loop, ID: h.id, Seed: 1, Resolve: l.resolve, NameOf: l.nameOf,
		Blob: func(sum string) ([]byte, error) {
			if b, ok := l.blobs[sum]; ok {
				return b, nil
			}
			return nil, fmt.Errorf("no content %s", sum)
		},
		Sink:  func(id string) func([]byte) { return func(b []byte) { l.saved[id] = append(l.saved[id], b...) } },
		Input: func(i uint32) *labv1.Input { return l.inputs[i] }, Report: l,
	}
}

func (l *lab) resolve(name string, _ labv1.Family) (netip.Addr, bool) {
	for _, h := range []*host{l.client, l.r1, l.server} {
		if h.name == name {
			return h.addrs[0], true
		}
	}
	a, err := netip.ParseAddr(name)
	return a, err == nil
}

func (l *lab) nameOf(a netip.Addr) (string, bool) {
	for _, h := range []*host{l.client, l.r1, l.server} {
		for _, own := range h.addrs {
			if own == a {
				return h.name, true
			}
		}
	}
	return "", false
}

// Transfer, ExecLine and ExecDone make the lab the applications' Reporter.
func (l *lab) Transfer(id string, update func(*labv1.TransferStatus)) {
	if l.status[id] == nil {
		l.status[id] = &labv1.TransferStatus{}
	}
	update(l.status[id])
}
func (l *lab) ExecLine(id, line string)     { l.lines[id] = append(l.lines[id], line) }
func (l *lab) ExecDone(id string, code int) { l.codes[id] = code }
func (l *lab) advance(to sim.Time)          { l.must(l.loop.RunBefore(to)) }
func (l *lab) must(err error)               { l.t.Helper(); failIf(l.t, err) }
func (h *host) serve(specs ...*labv1.AppSpec) {
	h.lab.t.Helper()
	apps, err := StartServices(h.env(), specs, true)
	h.lab.must(err)
	h.apps = append(h.apps, apps...)
}

func failIf(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs an input on a host.
func (h *host) start(in *labv1.Input) App {
	l := h.lab
	l.inputs = append(l.inputs, in)
	a := Start(h.env(), uint32(len(l.inputs)-1), in)
	if a == nil {
		l.t.Fatalf("no application for %v", in)
	}
	h.apps = append(h.apps, a)
	return a
}

func transferInput(t *labv1.Transfer) *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: t}}
}

func getInput(g *labv1.HttpGet) *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_HttpGet{HttpGet: g}}
}

// finish runs until an application is done, at most to a time.
func (l *lab) finish(a App, limit sim.Time) {
	l.t.Helper()
	for !a.Done() {
		if l.loop.Now() >= limit {
			l.t.Fatalf("%s is not done at %v: %v", a.Name(), l.loop.Now(), l.status)
		}
		l.advance(l.loop.Now() + 10*sim.Millisecond)
	}
}

// close checks that nothing is left over once everything has been stopped.
func (l *lab) close() {
	for _, h := range []*host{l.client, l.r1, l.server} {
		for _, a := range h.apps {
			a.Stop()
		}
		h.stack.Shutdown()
	}
	for _, d := range l.links {
		d.Close()
	}
	if f, c := l.loop.LiveFrames(), l.loop.LiveChunks(); f != 0 || c != 0 {
		l.t.Errorf("%d frames and %d chunks are left over", f, c)
	}
}

// transfer returns a status that must be there.
func (l *lab) transfer(id string) *labv1.TransferStatus {
	l.t.Helper()
	s := l.status[id]
	if s == nil {
		l.t.Fatalf("no status of %s", id)
	}
	return s
}

func (l *lab) wantDone(id string, bytes uint64) *labv1.TransferStatus {
	l.t.Helper()
	s := l.transfer(id)
	if s.State != labv1.TransferState_TRANSFER_STATE_DONE || !s.Match || s.Error != "" || s.Bytes != bytes {
		l.t.Fatalf("%s: %v, want %d bytes done and matching", id, s, bytes)
	}
	return s
}

func (l *lab) wantFailed(id, errorPart string) {
	l.t.Helper()
	s := l.transfer(id)
	if s.State != labv1.TransferState_TRANSFER_STATE_FAILED || !strings.Contains(s.Error, errorPart) || s.Match {
		l.t.Fatalf("%s: %v, want a failure that says %q", id, s, errorPart)
	}
}

// rawConn is a peer that a test drives by hand: it sends what it is given, closes if told, and keeps what comes.
type rawConn struct {
	conn  *tcpstack.Conn
	send  []byte
	close bool // FIN once all is sent
	got   []byte
	eof   bool
	err   error
}

func (r *rawConn) Established(c *tcpstack.Conn) { r.Writable(c) }
func (r *rawConn) Writable(c *tcpstack.Conn) {
	n, _ := c.Write(r.send)
	r.send = r.send[n:]
	if len(r.send) == 0 && r.close {
		c.CloseWrite()
	}
}
func (r *rawConn) Readable(c *tcpstack.Conn) {
	var b [4096]byte
	for {
		n, err := c.Read(b[:])
		r.got = append(r.got, b[:n]...)
		if err != nil {
			r.eof = r.eof || err == io.EOF
			return
		}
	}
}
func (r *rawConn) Drained(*tcpstack.Conn)             {}
func (r *rawConn) Closed(_ *tcpstack.Conn, err error) { r.err = err }

// dial opens a connection from the client that sends data and, if told, its FIN after it.
func (l *lab) dial(to string, port uint16, data string, close bool) *rawConn {
	l.t.Helper()
	a, _ := l.resolve(to, labv1.Family_FAMILY_UNSPECIFIED)
	r := &rawConn{send: []byte(data), close: close}
	var err error
	r.conn, err = l.client.stack.Dial(netip.AddrPort{}, netip.AddrPortFrom(a, port), tcpstack.TCPConfig{}, r)
	l.must(err)
	return r
}
