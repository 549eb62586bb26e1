package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

var quick = link.Config{Rate: 100e6, Delay: 5 * sim.Millisecond}

// blob gives the lab content to serve and returns its reference.
func (l *lab) blob(path string, size int) *labv1.FileRef {
	b := make([]byte, size)
	g := generated(7, path, uint64(size))
	g.generate(b, 0)
	sum := sha256.Sum256(b)
	ref := &labv1.FileRef{Path: path, Sha256: hex.EncodeToString(sum[:]), SizeBytes: uint64(size)}
	l.blobs[ref.Sha256] = b
	return ref
}

func TestTransferCarriesAFile(t *testing.T) {
	l := newLab(t, quick)
	l.server.serve()
	file := l.blob("a.bin", 1_400_000)
	a := l.client.start(transferInput(&labv1.Transfer{Id: "t1", From: "client", To: "server", Content: &labv1.Transfer_File{File: file}, Save: true}))
	l.finish(a, 10*sim.Second)
	s := l.wantDone("t1", 1_400_000)
	if !bytes.Equal(l.saved["t1"], l.blobs[file.Sha256]) || s.Sha256 != file.Sha256 {
		t.Errorf("what was saved differs, sum %s", s.Sha256)
	}
	if s.Conn != "client/1" || s.GoodputBps < 20e6 || s.GoodputBps > 100e6 || s.SrttUs < 10_000 || s.BytesExpected != 1_400_000 {
		t.Errorf("status %v", s)
	}
	l.settle()
	if !l.server.apps[0].Done() || len(l.server.stack.Conns()) != 0 {
		t.Errorf("the server still has %d connections", len(l.server.stack.Conns()))
	}
}

// Generated content is the same however it is cut into pieces.
func TestGeneratedContentDoesNotDependOnPieces(t *testing.T) {
	c := generated(1, "x", 1000)
	whole := make([]byte, 1000)
	c.generate(whole, 0)
	for _, step := range []int{1, 3, 7, 8, 13, 1000} {
		got := make([]byte, 1000)
		for off := 0; off < len(got); off += step {
			c.generate(got[off:min(off+step, len(got))], uint64(off))
		}
		if !bytes.Equal(got, whole) {
			t.Errorf("in steps of %d it differs", step)
		}
	}
}

func TestTransferOverALossyLink(t *testing.T) {
	cfg := quick
	cfg.Loss = link.Loss{Model: link.RandomLoss, P: 0.03}
	l := newLab(t, cfg)
	l.server.serve()
	a := l.client.start(transferInput(&labv1.Transfer{Id: "t1", From: "client", To: "server", Content: generatedBytes(500_000)}))
	l.finish(a, 60*sim.Second)
	if s := l.wantDone("t1", 500_000); s.Retransmits == 0 {
		t.Errorf("no retransmission was reported: %v", s)
	}
}

func generatedBytes(n uint64) *labv1.Transfer_GeneratedBytes {
	return &labv1.Transfer_GeneratedBytes{GeneratedBytes: n}
}

// Each way to close leaves the connection's states as the transfer's description says.
func TestTransferEndings(t *testing.T) {
	for _, c := range []struct {
		name   string
		spec   *labv1.Transfer
		client tcpstack.State // 0: no connection any more
	}{
		{"graceful", &labv1.Transfer{}, tcpstack.StateTimeWait},
		{"graceful, after a reply", &labv1.Transfer{ReplyBytes: 70_000}, tcpstack.StateTimeWait},
		{"shut before the reply", &labv1.Transfer{ReplyBytes: 70_000, ShutdownBeforeReply: true, ReplyDelayNs: 1e8}, tcpstack.StateTimeWait},
		{"held open", &labv1.Transfer{HoldNs: 2e9}, tcpstack.StateTimeWait},
		{"abort", &labv1.Transfer{Close: labv1.CloseMode_CLOSE_MODE_ABORT, ReplyBytes: 500}, 0},
		{"never", &labv1.Transfer{Close: labv1.CloseMode_CLOSE_MODE_NEVER, ReplyBytes: 500}, tcpstack.StateEstablished},
		{"nothing to send", &labv1.Transfer{Content: generatedBytes(0)}, tcpstack.StateTimeWait},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, quick)
			l.server.serve()
			c.spec.Id, c.spec.From, c.spec.To = "t1", "client", "server"
			if c.spec.Content == nil {
				c.spec.Content = generatedBytes(100_000)
			}
			a := l.client.start(transferInput(c.spec))
			l.finish(a, 10*sim.Second)
			l.wantDone("t1", c.spec.GetGeneratedBytes())
			if hold := sim.Time(c.spec.HoldNs); l.loop.Now() < hold {
				t.Errorf("closed at %v, before the hold of %v was over", l.loop.Now(), hold)
			}
			l.settle()
			if got := l.clientStates(); (c.client == 0) != (len(got) == 0) || len(got) > 0 && got[0] != c.client {
				t.Errorf("the client's connections are in %v, want %v", got, c.client)
			}
			if len(l.server.stack.Conns()) > 0 && c.client != tcpstack.StateEstablished {
				t.Errorf("the server still has a connection in %v", l.server.stack.Conns()[0].State())
			}
		})
	}
}

// settle lets the last segments arrive.
func (l *lab) settle() { l.advance(l.loop.Now() + 100*sim.Millisecond) }

// clientStates are the states of the client's connections.
func (l *lab) clientStates() (states []tcpstack.State) {
	for _, c := range l.client.stack.Conns() {
		states = append(states, c.State())
	}
	for range l.client.stack.TimeWaits() {
		states = append(states, tcpstack.StateTimeWait)
	}
	return states
}

func TestTransferThatFails(t *testing.T) {
	none := func(*lab) {}
	for _, c := range []struct {
		name  string
		spec  *labv1.Transfer
		after func(*lab) // 50 ms after the start
		why   string
	}{
		{"nobody listens", &labv1.Transfer{Port: 4000}, none, "connection refused"},
		{"nobody is called so", &labv1.Transfer{To: "nowhere"}, none, "nowhere: name or address not known"},
		{"no such host on the link", &labv1.Transfer{To: "10.0.2.77"}, none, "unreachable"},
		{"no such content", &labv1.Transfer{Content: &labv1.Transfer_File{File: &labv1.FileRef{Path: "x", Sha256: "00"}}}, none, "content of x"},
		{"the receiver's node crashes and comes back", &labv1.Transfer{}, func(l *lab) { l.server.reboot() }, "reset"},
		{"the way is cut for good", &labv1.Transfer{Tcp: &labv1.TcpSettings{DataRetries: u32(3)}}, func(l *lab) {
			l.links["r1->server"].Set(link.Config{Down: true})
		}, "timed out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, link.Config{Rate: 10e6, Delay: 5 * sim.Millisecond})
			l.server.serve()
			c.spec.Id, c.spec.From = "t1", "client"
			if c.spec.To == "" {
				c.spec.To = "server"
			}
			if c.spec.Content == nil {
				c.spec.Content = generatedBytes(1_000_000)
			}
			a := l.client.start(transferInput(c.spec))
			l.advance(50 * sim.Millisecond)
			c.after(l)
			l.finish(a, 100*sim.Second)
			l.wantFailed("t1", c.why)
		})
	}
}

func u32(v uint32) *uint32 { return &v }

// reboot is a crash and a boot at one instant.
func (h *host) reboot() {
	for _, a := range h.apps {
		a.Stop()
	}
	h.stack.Shutdown()
	h.id.Boots++
	h.restart()
}

// A reader slower than the network closes the window; the transfer still ends well, as late as the reader makes it.
func TestSlowReaders(t *testing.T) {
	for _, c := range []struct {
		name     string
		reader   *labv1.Reader
		min, max sim.Time
	}{
		{"rate", &labv1.Reader{RateBps: 1e6, ReadSizeBytes: 4096}, 3900 * sim.Millisecond, 4300 * sim.Millisecond},
		{"delay at the start", &labv1.Reader{StartDelayNs: 3e9}, 3 * sim.Second, 4 * sim.Second},
		{"pause", &labv1.Reader{PauseAfterBytes: 100_000, PauseNs: 5e9}, 5 * sim.Second, 6 * sim.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, quick)
			l.server.serve()
			a := l.client.start(transferInput(&labv1.Transfer{Id: "t1", From: "client", To: "server", Content: generatedBytes(500_000), Reader: c.reader}))
			closed := false
			for !a.Done() && l.loop.Now() < 20*sim.Second {
				l.advance(l.loop.Now() + sim.Millisecond)
				for _, c := range l.client.stack.Conns() {
					closed = closed || (c.State() == tcpstack.StateEstablished || c.State() == tcpstack.StateFinWait1) && c.Info().SndWnd < 1448
				}
			}
			s := l.wantDone("t1", 500_000)
			if d := sim.Time(s.DurationNs); d < c.min || d > c.max {
				t.Errorf("it took %v, want %v to %v", d, c.min, c.max)
			}
			if !closed {
				t.Error("the window never was too small for a segment")
			}
		})
	}
}

// The sender's rate holds, whatever its write size.
func TestRateLimitedWriter(t *testing.T) {
	for _, size := range []uint32{0, 1000, 100_000} {
		l := newLab(t, quick)
		l.server.serve()
		a := l.client.start(transferInput(&labv1.Transfer{
			Id: "t1", From: "client", To: "server", Content: generatedBytes(1_000_000), RateBps: 4e6, WriteSizeBytes: size,
		}))
		l.finish(a, 10*sim.Second)
		if s := l.wantDone("t1", 1_000_000); s.GoodputBps < 3.8e6 || s.GoodputBps > 4.5e6 {
			t.Errorf("write size %d: goodput %.0f, want about 4 Mbit/s", size, s.GoodputBps)
		}
	}
}

// What the applications do is recorded with its bytes: the writes and the reads of a transfer each add up to its size.
func TestApplicationRecords(t *testing.T) {
	l := newLab(t, quick)
	l.server.serve()
	a := l.client.start(transferInput(&labv1.Transfer{Id: "t1", From: "client", To: "server", Content: generatedBytes(300_000)}))
	l.finish(a, 10*sim.Second)
	l.loop.Rec.Flush()
	bytes, blocked := map[string]uint64{}, map[string]uint64{}
	for i := range l.records {
		if e, ok := DecodeRecord(&l.records[i]); ok {
			bytes[e.Name] += e.Bytes
			blocked[e.Name] += e.BlockedUs
		}
	}
	if bytes["app:write"] != 300_000 || bytes["app:read"] != 300_000 || bytes["app:shutdown"] != 300_000 {
		t.Errorf("recorded %v", bytes)
	}
	if blocked["app:write"] < 5000 || blocked["app:read"] < 5000 {
		t.Errorf("blocked %v us, want round trips' worth", blocked)
	}
}

// A sink takes transfers too, and connections that belong to no input are read to their end.
func TestSinkAndUnknownConnections(t *testing.T) {
	l := newLab(t, quick)
	l.server.serve(&labv1.AppSpec{App: &labv1.AppSpec_Sink{Sink: &labv1.SinkApp{}}})
	a := l.client.start(transferInput(&labv1.Transfer{Id: "t1", From: "client", To: "server", Port: 9, Content: generatedBytes(50_000), ReplyBytes: 0}))
	l.finish(a, 10*sim.Second)
	l.wantDone("t1", 50_000)
	c := l.dial("server", TransferPort, "hello", true)
	l.advance(l.loop.Now() + sim.Second)
	if !c.eof {
		t.Error("the transfer server did not close after its peer")
	}
}

// Where another service takes the bytes, or nobody had the time to, a transfer ends all the same.
func TestTransferThatNobodyReceivesEnds(t *testing.T) {
	l := newLab(t, quick)
	l.server.serve(&labv1.AppSpec{App: &labv1.AppSpec_Echo{Echo: &labv1.EchoApp{}}})
	a := l.client.start(transferInput(&labv1.Transfer{Id: "echo", From: "client", To: "server", Port: EchoPort, Content: generatedBytes(1000)}))
	l.finish(a, 60*sim.Second)
	l.wantFailed("echo", "no transfer server has received it")
	// The reset overtakes the handshake's last ACK: the receiver's application never hears of the connection.
	lossy := quick
	lossy.Loss = link.Loss{Model: link.FrameLoss, Frames: []uint64{3}}
	l = newLab(t, lossy)
	l.server.serve()
	a = l.client.start(transferInput(&labv1.Transfer{Id: "empty", From: "client", To: "server", Content: generatedBytes(0), Close: labv1.CloseMode_CLOSE_MODE_ABORT}))
	l.finish(a, 60*sim.Second)
	l.wantDone("empty", 0)
}

// A rate says when the next bytes may be written, not when the writer knows that there are none: all may have been
// acknowledged long before, and nothing else would ever end the transfer.
func TestSlowWriterEndsWithItsLastByte(t *testing.T) {
	l := newLab(t, quick)
	l.server.serve()
	a := l.client.start(transferInput(&labv1.Transfer{Id: "t1", From: "client", To: "server", Content: generatedBytes(1000), RateBps: 1000, HoldNs: 1}))
	l.finish(a, 2*sim.Second)
	l.wantDone("t1", 1000)
}
