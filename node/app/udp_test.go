package app

import (
	"bytes"
	"testing"

	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

func udpInput(b *labv1.UdpBlast) *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_Udp{Udp: b}}
}

func (l *lab) serveUDPSink() {
	l.t.Helper()
	l.server.serve(&labv1.AppSpec{App: &labv1.AppSpec_UdpSink{UdpSink: &labv1.UdpSinkApp{}}})
}

func TestUDPBlastIsCounted(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  link.Config
		want [4]uint64 // received, lost, reordered, duplicated
	}{
		{"clean", link.Config{Delay: sim.Millisecond}, [4]uint64{1000, 0, 0, 0}},
		{"each tenth lost", link.Config{Delay: sim.Millisecond, Loss: link.Loss{Model: link.EveryLoss, Every: 10}}, [4]uint64{900, 100, 0, 0}},
		{"each doubled", link.Config{Delay: sim.Millisecond, Duplicate: link.Duplicate{Chance: 1}}, [4]uint64{1000, 0, 0, 1000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, c.cfg)
			l.serveUDPSink()
			a := l.client.start(udpInput(&labv1.UdpBlast{Id: "u1", From: "client", To: "server", Count: 1000, SizeBytes: 100, RateBps: 8e6}))
			l.finish(a, 10*sim.Second)
			l.settle()
			s := l.transfer("u1")
			got := [4]uint64{s.DatagramsReceived, s.DatagramsLost, s.DatagramsReordered, s.DatagramsDuplicated}
			if got != c.want || s.DatagramsSent != 1000 || s.State != labv1.TransferState_TRANSFER_STATE_DONE || s.Bytes != got[0]*84 {
				t.Errorf("status %v, want %v", s, c.want)
			}
			if d := sim.Time(s.DurationNs); d < 99*sim.Millisecond || d > 110*sim.Millisecond {
				t.Errorf("it took %v, want 100 ms at that rate", d)
			}
		})
	}
}

// Numbers beyond the window, old ones and wild ones: each datagram is counted once.
func TestSequenceCounts(t *testing.T) {
	var s sequence
	for _, c := range []struct {
		seq   uint64
		first bool
	}{
		{0, true}, {0, false}, {2, true}, {1, true}, {1, false}, {2, false}, {70_000, true}, {70_000 - sequenceWindow, false},
		{70_000 - sequenceWindow + 1, true}, {4_464, false}, {69_999, true}, {1 << 62, true}, {70_000, false}, {1<<62 - 1, true},
	} {
		if got := s.mark(c.seq); got != c.first {
			t.Errorf("number %d: first copy %v, want %v", c.seq, got, c.first)
		}
	}
	if s.received != 8 || s.reordered != 4 || s.duplicated != 6 {
		t.Errorf("received %d, reordered %d, duplicated %d", s.received, s.reordered, s.duplicated)
	}
}

func TestUDPTransfer(t *testing.T) {
	for _, c := range []struct {
		name  string
		cfg   link.Config
		match bool
	}{
		{"clean", link.Config{Delay: sim.Millisecond, Rate: 100e6}, true},
		{"lossy", link.Config{Delay: sim.Millisecond, Rate: 100e6, Loss: link.Loss{Model: link.RandomLoss, P: 0.05}}, false},
		{"doubled", link.Config{Delay: sim.Millisecond, Rate: 100e6, Duplicate: link.Duplicate{Chance: 0.5}}, true},
		{"all lost", link.Config{Delay: sim.Millisecond, Loss: link.Loss{Model: link.RandomLoss, P: 1}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, c.cfg)
			l.server.serve()
			file := l.blob("a.bin", 100_001)
			a := l.client.start(transferInput(&labv1.Transfer{
				Id: "t1", From: "client", To: "server", Protocol: labv1.Protocol_PROTOCOL_UDP, Content: &labv1.Transfer_File{File: file},
				RateBps: 10e6, Save: true,
			}))
			l.finish(a, 10*sim.Second)
			l.advance(l.loop.Now() + 2*udpGrace)
			s := l.transfer("t1")
			if s.Match != c.match || s.DatagramsSent != 73 || (s.DatagramsLost == 0) != c.match {
				t.Errorf("status %v", s)
			}
			if bytes.Equal(l.saved["t1"], l.blobs[file.Sha256]) != c.match {
				t.Errorf("%d bytes were saved", len(l.saved["t1"]))
			}
			if !l.server.apps[0].Done() {
				t.Error("the receiver still waits")
			}
		})
	}
}

// A transfer nobody listens for ends with what ICMP says.
func TestUDPToAClosedPort(t *testing.T) {
	l := newLab(t, link.Config{})
	l.server.serve()
	a := l.client.start(transferInput(&labv1.Transfer{
		Id: "t1", From: "client", To: "server", Protocol: labv1.Protocol_PROTOCOL_UDP, Port: 4000, Content: generatedBytes(1e6), RateBps: 10e6,
	}))
	b := l.client.start(udpInput(&labv1.UdpBlast{Id: "u1", From: "client", To: "server", Port: 4000, Count: 10}))
	l.finish(a, 10*sim.Second)
	l.finish(b, 10*sim.Second)
	l.wantFailed("t1", "Destination Port Unreachable")
	l.wantFailed("u1", "Destination Port Unreachable")
	if s := l.transfer("t1"); s.DatagramsSent > 100 {
		t.Errorf("it went on sending: %v", s)
	}
}

// Datagrams that belong to no input, or are too short to, change nothing.
func TestUDPSinkTakesGarbage(t *testing.T) {
	l := newLab(t, link.Config{})
	l.serveUDPSink()
	u, err := l.client.stack.OpenUDP(any4(0), func(tcpstack.Datagram) {})
	l.must(err)
	to, _ := l.resolve("server", labv1.Family_FAMILY_UNSPECIFIED)
	for n := range 40 {
		l.must(u.SendTo(make([]byte, n), netipPort(to, DiscardPort), tcpstack.SendOptions{}))
	}
	l.settle()
	if len(l.status) > 0 {
		t.Errorf("status %v", l.status)
	}
}

func TestEchoOverTCPAndUDP(t *testing.T) {
	l := newLab(t, quick)
	l.server.serve(&labv1.AppSpec{App: &labv1.AppSpec_Echo{Echo: &labv1.EchoApp{}}})
	file := l.blob("x", 300_000)
	text := string(l.blobs[file.Sha256])
	r := l.dial("server", EchoPort, text, true)
	var back []byte
	u, err := l.client.stack.OpenUDP(any4(0), func(d tcpstack.Datagram) { back = append(back, d.Data...) })
	l.must(err)
	to, _ := l.resolve("server", labv1.Family_FAMILY_UNSPECIFIED)
	l.must(u.SendTo([]byte("hello"), netipPort(to, EchoPort), tcpstack.SendOptions{}))
	l.advance(2 * sim.Second)
	if string(r.got) != text || !r.eof || r.err != nil {
		t.Errorf("%d bytes came back, eof %v, error %v", len(r.got), r.eof, r.err)
	}
	if string(back) != "hello" {
		t.Errorf("the datagram came back as %q", back)
	}
}

// A transfer of nothing over UDP sends no datagram: what arrived is what was sent.
func TestEmptyUDPTransferMatches(t *testing.T) {
	l := newLab(t, quick)
	l.server.serve()
	a := l.client.start(transferInput(&labv1.Transfer{Id: "t1", From: "client", To: "server", Protocol: labv1.Protocol_PROTOCOL_UDP, Content: generatedBytes(0)}))
	l.finish(a, 10*sim.Second)
	l.wantDone("t1", 0)
}
