package trace

import (
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"

	"labd.dev/link"
	"labd.dev/sim"
	"labd.dev/tcpstack"
	"labd.dev/tcpstack/wire"
)

// pair is two hosts, client (1) and server (2), and the link between them (directions 3 and 4), recorded into a run
// directory with a capture at each end.
type pair struct {
	t        *testing.T
	loop     *sim.Loop
	stacks   [2]*tcpstack.Stack
	dir      *Dir
	merger   *Merger
	writer   *Writer
	events   *os.File
	captures [2]*CaptureWriter
	files    [2]*os.File
}

var pairNames = Names{
	Nodes:      []string{"", "client", "server"},
	Directions: []string{"", "", "", "client->server", "server->client"},
	Links:      []string{"", "", "", "client--server", "client--server"},
}

func newPair(t *testing.T, path string, there, back link.Config) *pair {
	t.Helper()
	p := &pair{t: t, loop: sim.NewLoop(sim.LoopConfig{})}
	p.check2(Create(path))
	var ids [2]*sim.Identity
	var dirs [2]*link.Direction
	var ifcs [2]*tcpstack.Interface
	for i, name := range []string{"client", "server"} {
		ids[i] = &sim.Identity{Src: sim.Source{ID: sim.Origin(1 + i)}, Name: name, Boots: 1}
	}
	for i, cfg := range []link.Config{there, back} {
		dirs[i] = link.NewDirection(p.loop, ids[i], sim.Source{ID: sim.Origin(3 + i)}, pairNames.Directions[3+i], 7, cfg)
	}
	for i, id := range ids {
		s, err := tcpstack.New(p.loop, id, tcpstack.Config{Name: id.Name, Seed: 7})
		p.check(err)
		p.stacks[i] = s
		ic := tcpstack.InterfaceConfig{Name: "eth0", MAC: wire.MAC{2, 0, 0, 0, 0, byte(1 + i)}, Prefix: netip.PrefixFrom(addr4(0x0a000001+uint32(i)), 30)}
		p.capture(i, ic)
		ifcs[i] = s.AddInterface(ic, func(f *sim.Frame) {
			tcpstack.FillChecksums(f)
			p.captured(i, true, f)
			dirs[i].Send(f)
		})
		dirs[1-i].Connect(link.SinkFunc(func(f *sim.Frame) {
			p.captured(i, false, f)
			p.stacks[i].Receive(ifcs[i], f)
		}))
	}
	var err error
	p.events, err = p.dir.File(EventsFile)
	p.check(err)
	p.writer, err = NewWriter(p.events, pairNames)
	p.check(err)
	p.merger = NewMerger(1, p.writer.Write)
	p.loop.Rec = sim.NewRecorder(64, p.merger.Source(0).Add)
	return p
}

func (p *pair) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) check2(d *Dir, err error) {
	p.t.Helper()
	p.check(err)
	p.dir = d
}

func (p *pair) capture(i int, ic tcpstack.InterfaceConfig) {
	p.t.Helper()
	node := pairNames.Nodes[1+i]
	f, err := p.dir.File(CaptureName(node, ic.Name))
	p.check(err)
	p.files[i] = f
	p.captures[i], err = NewCaptureWriter(f, CaptureInterface{Node: node, Name: ic.Name, MAC: ic.MAC, Prefix: ic.Prefix,
		Hosts: []HostName{{addr4(0x0a000001), "client"}, {addr4(0x0a000002), "server"}}})
	p.check(err)
}

func (p *pair) captured(i int, out bool, f *sim.Frame) {
	comment := AppendComment(nil, &pairNames, f.Pkt, f.Conn, "")
	if err := p.captures[i].Packet(p.loop.Now(), f.Pkt, out, comment, f.Header(), f.Payload); err != nil {
		p.t.Error(err)
	}
}

// finish runs the lab to its end and closes all files.
func (p *pair) finish(end sim.Time) *Run {
	p.t.Helper()
	p.check(p.loop.RunBefore(end))
	p.loop.Rec.Flush()
	p.check(p.merger.Close())
	p.check(p.writer.Close())
	p.check(p.events.Close())
	for i := range p.captures {
		p.check(p.captures[i].Flush())
		p.check(p.files[i].Close())
	}
	p.check(p.dir.WriteManifest(Manifest{Version: "test", Lab: "pair", Seed: 7, Clock: "virtual", EndNs: int64(end)}))
	run, err := Open(p.dir.Path())
	p.check(err)
	return run
}

// speaker is an application: it writes what it has to say once it may, reads everything, answers when it has enough, and
// closes as it is told.
type speaker struct {
	say     []byte
	after   int // bytes to have read first
	read    int
	closeAt int // bytes read after which it closes; negative: never
}

func (s *speaker) speak(c *tcpstack.Conn) {
	for len(s.say) > 0 && s.read >= s.after {
		n, err := c.Write(s.say)
		s.say = s.say[n:]
		if err != nil {
			return
		}
	}
	if len(s.say) == 0 && s.closeAt >= 0 && s.read >= s.closeAt {
		c.CloseWrite()
	}
}

func (s *speaker) Established(c *tcpstack.Conn) { s.speak(c) }
func (s *speaker) Writable(c *tcpstack.Conn)    { s.speak(c) }
func (s *speaker) Drained(*tcpstack.Conn)       {}
func (s *speaker) Closed(*tcpstack.Conn, error) {}
func (s *speaker) Readable(c *tcpstack.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		s.read += n
		if err == io.EOF && s.closeAt >= 0 {
			s.closeAt = s.read
		}
		if err != nil {
			break
		}
	}
	s.speak(c)
}

func ptr[T any](v T) *T { return &v }

// talk opens a connection from client to server, each with its application.
func (p *pair) talk(client, server *speaker, cfg, serverCfg tcpstack.TCPConfig) {
	p.t.Helper()
	at := netip.AddrPortFrom(addr4(0x0a000002), 5001)
	_, err := p.stacks[1].Listen(netip.AddrPortFrom(netip.Addr{}, 5001), serverCfg, func(*tcpstack.Conn) tcpstack.ConnHandler { return server })
	p.check(err)
	_, err = p.stacks[0].Dial(netip.AddrPort{}, at, cfg, client)
	p.check(err)
}

// The handshake example: 100 bytes there, 500 back, the acknowledgments riding on the answer.
func TestLadderOfRealHandshake(t *testing.T) {
	dir := t.TempDir()
	delay := link.Config{Delay: 10 * ms}
	p := newPair(t, dir, delay, delay)
	cfg := tcpstack.TCPConfig{ISN: ptr(uint32(100)), QuickACK: ptr(false), Timestamps: ptr(false), DelayedACK: ptr(100 * ms)}
	back := cfg
	back.ISN = ptr(uint32(2000))
	p.talk(&speaker{say: make([]byte, 100), closeAt: -1}, &speaker{say: make([]byte, 500), after: 100, closeAt: -1}, cfg, back)
	run := p.finish(2 * sim.Second)
	tr, err := run.Conn("client/1")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "real-handshake.ladder", Ladder(tr.Events(), LadderOptions{Absolute: true}))
	syn := ""
	for _, e := range tr.Events() {
		if e.Name == "tcp:segment_sent" && e.text("flags") == "S" {
			syn = e.text("pkt")
		}
	}
	hops, err := run.Packet(syn)
	if err != nil {
		t.Fatal(err)
	}
	text := Decode(syn, hops, DecodeOptions{})
	for _, want := range []string{"out of client eth0", "into server eth0\n      unchanged", "Sequence number         100",
		"Header checksum         0x", "(correct)", "Maximum segment size    1460"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func lossyRun(t *testing.T, dir string) *Run {
	t.Helper()
	delay := link.Config{Delay: 10 * ms, Rate: 10_000_000}
	lossy := delay
	lossy.Loss = link.Loss{Model: link.RandomLoss, P: 0.03}
	p := newPair(t, dir, lossy, delay)
	p.talk(&speaker{say: make([]byte, 200_000)}, &speaker{closeAt: 1 << 30}, tcpstack.TCPConfig{}, tcpstack.TCPConfig{})
	return p.finish(70 * sim.Second)
}

func TestLadderOfRealTransfer(t *testing.T) {
	run := lossyRun(t, t.TempDir())
	tr, err := run.Trace()
	if err != nil {
		t.Fatal(err)
	}
	conns := Conns(tr.Events())
	if len(conns) != 1 {
		t.Fatalf("%d connections", len(conns))
	}
	c := conns[0]
	if c.Conn != "client/1" || c.Responder != "server" || c.BytesSent != 200_000 || c.Retransmits == 0 || c.Lost == 0 {
		t.Errorf("%+v", c)
	}
	tr, err = run.Conn("client/1")
	if err != nil {
		t.Fatal(err)
	}
	// How the transfer goes is the stack's business; the ladder tells its beginning, its losses and its end.
	text := Ladder(tr.Events(), LadderOptions{Condensed: true})
	for _, want := range []string{"SYN_SENT", "SYN_RCVD", "ESTABLISHED", "never arrived: ", " lost client->server", "FIN_WAIT_1",
		"CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSED", "retransmitted"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "\n"); n > 45 {
		t.Errorf("a condensed ladder of %d lines\n%s", n, text)
	}
}

// RFC 9293 3.5: in a simultaneous open both ends send a SYN; the connection then has a name from each, and is found under
// both.
func TestLadderOfRealSimultaneousOpen(t *testing.T) {
	delay := link.Config{Delay: 10 * ms}
	p := newPair(t, t.TempDir(), delay, delay)
	ends := [2]netip.AddrPort{netip.AddrPortFrom(addr4(0x0a000001), 1000), netip.AddrPortFrom(addr4(0x0a000002), 2000)}
	for i := range ends {
		_, err := p.stacks[i].Dial(ends[i], ends[1-i], tcpstack.TCPConfig{ISN: ptr(uint32(100 + 200*i))}, &speaker{closeAt: -1})
		p.check(err)
	}
	run := p.finish(sim.Second)
	var ladders []string
	for _, name := range []string{"client/1", "server/1"} {
		tr, err := run.Conn(name)
		if err != nil {
			t.Fatal(err)
		}
		_, drawn, _ := strings.Cut(Ladder(tr.Events(), LadderOptions{}), "\n")
		ladders = append(ladders, drawn)
	}
	if ladders[0] != ladders[1] {
		t.Errorf("the ladder differs by the name that is asked for:\n%s\n%s", ladders[0], ladders[1])
	}
	for _, want := range []string{"SYN_SENT │ SYN S=0", "│ SYN_SENT", "SYN_RCVD", "│ ESTABLISHED", "client 100, server 300"} {
		if !strings.Contains(ladders[0], want) {
			t.Errorf("no %q in\n%s", want, ladders[0])
		}
	}
}
