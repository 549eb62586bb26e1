package app

import (
	"net/netip"
	"testing"

	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// tagged opens a connection by hand that claims to be the transfer of an input.
func (l *lab) tagged(index uint32, data []byte, close bool) *rawConn {
	l.t.Helper()
	to, _ := l.resolve("server", labv1.Family_FAMILY_UNSPECIFIED)
	r := &rawConn{send: data, close: close}
	var err error
	r.conn, err = l.client.stack.Dial(netip.AddrPort{}, netipPort(to, TransferPort), tcpstack.TCPConfig{Tag: index}, r)
	l.must(err)
	return r
}

// A sender that sends other bytes, or fewer, or more than the transfer has, is found out by the receiver.
func TestReceiverChecksWhatCame(t *testing.T) {
	want := make([]byte, 1000)
	c := generated(1, "transfer t1", 1000)
	c.generate(want, 0)
	other := append([]byte(nil), want...)
	other[777] ^= 1
	file := func(l *lab) *labv1.Transfer {
		ref := l.blob("f", 1000)
		copy(l.blobs[ref.Sha256], want) // so that the reference no longer says what is in it
		return &labv1.Transfer{Id: "t1", Content: &labv1.Transfer_File{File: ref}}
	}
	plain := func(*lab) *labv1.Transfer { return &labv1.Transfer{Id: "t1", Content: generatedBytes(1000)} }
	for _, c := range []struct {
		name  string
		spec  func(*lab) *labv1.Transfer
		sent  []byte
		match bool
		why   string
	}{
		{"as it should be", plain, want, true, ""},
		{"a bit differs", plain, other, false, ""},
		{"a file differs", file, want, false, ""},
		{"less", plain, want[:999], false, "the sender closed after 999 of 1000 bytes"},
		{"more", plain, append(want[:1000:1000], 1), false, "1001 bytes came, 1000 were announced"},
		{"nothing", plain, nil, false, "the sender closed after 0 of 1000 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, link.Config{})
			l.server.serve()
			l.inputs = append(l.inputs, transferInput(c.spec(l)))
			r := l.tagged(1, c.sent, true)
			l.advance(sim.Second)
			s := l.transfer("t1")
			if s.Match != c.match || s.Error != c.why || !r.eof {
				t.Errorf("status %v, the receiver closed: %v", s, r.eof)
			}
		})
	}
}

// What comes after the announced bytes is refused even if it comes later.
func TestReceiverRefusesAnExtraByteLater(t *testing.T) {
	l := newLab(t, link.Config{})
	l.server.serve()
	l.inputs = append(l.inputs, transferInput(&labv1.Transfer{Id: "t1", Content: generatedBytes(4)}))
	b := make([]byte, 4)
	c := generated(1, "transfer t1", 4)
	c.generate(b, 0)
	r := l.tagged(1, b, false)
	l.advance(100 * sim.Millisecond)
	l.wantDone("t1", 4)
	_, err := r.conn.Write([]byte{1})
	l.must(err)
	l.advance(200 * sim.Millisecond)
	if s := l.transfer("t1"); s.State != labv1.TransferState_TRANSFER_STATE_FAILED || s.Error != "5 bytes came, 4 were announced" {
		t.Errorf("status %v", s)
	}
}

// A reply that differs, or ends early, is found out by the sender.
func TestSenderChecksTheReply(t *testing.T) {
	right := make([]byte, 500)
	c := replyOf(1, &labv1.Transfer{Id: "t1", ReplyBytes: 500})
	c.generate(right, 0)
	wrong := append([]byte(nil), right...)
	wrong[499] ^= 0x80
	for _, c := range []struct {
		name  string
		reply []byte
		why   string
	}{
		{"right", right, ""},
		{"wrong", wrong, "the reply differs from what was to be sent"},
		{"short", right[:499], "the peer closed after 499 of 500 bytes of its reply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, link.Config{})
			_, err := l.server.stack.Listen(any4(4000), tcpstack.TCPConfig{}, func(*tcpstack.Conn) tcpstack.ConnHandler {
				return &rawConn{send: c.reply, close: true}
			})
			l.must(err)
			a := l.client.start(transferInput(&labv1.Transfer{Id: "t1", From: "client", To: "server", Port: 4000, Content: generatedBytes(10), ReplyBytes: 500}))
			l.finish(a, 10*sim.Second)
			if s := l.transfer("t1"); s.Error != c.why {
				t.Errorf("status %v, want %q", s, c.why)
			}
		})
	}
}

// Everything can be stopped at any time, and nothing is left over: the lab's end checks frames and chunks, and a stopped
// application hears and says nothing more.
func TestStopInTheMiddle(t *testing.T) {
	for at := sim.Time(0); at < 60*sim.Millisecond; at += 3 * sim.Millisecond {
		l := newLab(t, quick)
		f := l.blob("a.bin", 1_000_000)
		l.server.serve(
			&labv1.AppSpec{App: &labv1.AppSpec_Http{Http: &labv1.HttpServerApp{Files: []*labv1.FileRef{f}}}},
			&labv1.AppSpec{App: &labv1.AppSpec_Echo{Echo: &labv1.EchoApp{}}},
			&labv1.AppSpec{App: &labv1.AppSpec_UdpSink{UdpSink: &labv1.UdpSinkApp{}}},
			&labv1.AppSpec{App: &labv1.AppSpec_Sink{Sink: &labv1.SinkApp{Reader: &labv1.Reader{RateBps: 1e6}}}})
		for i, in := range []*labv1.Input{
			transferInput(&labv1.Transfer{Id: "t1", To: "server", Content: generatedBytes(1e6), ReplyBytes: 1e6, RateBps: 50e6}),
			transferInput(&labv1.Transfer{Id: "t2", To: "server", Content: &labv1.Transfer_File{File: f}, HoldNs: 1e9}),
			transferInput(&labv1.Transfer{Id: "t3", To: "server", Port: 9, Content: generatedBytes(1e6)}),
			transferInput(&labv1.Transfer{Id: "t4", To: "server", Protocol: labv1.Protocol_PROTOCOL_UDP, Content: generatedBytes(1e6), RateBps: 1e6}),
			getInput(&labv1.HttpGet{Id: "g1", Url: "http://server/a.bin"}), udpInput(&labv1.UdpBlast{Id: "u1", To: "server", Count: 1e6, RateBps: 1e7}),
			pingInput(&labv1.Ping{Id: "p1", To: "server"}), traceInput(&labv1.Traceroute{Id: "r1", To: "server"}),
		} {
			if a := l.client.start(in); a.Name() == "" || a.Done() {
				t.Fatalf("input %d: %q, done: %v", i, a.Name(), a.Done())
			}
		}
		l.advance(at)
		l.close()
		status := len(l.lines["p1"]) + int(l.transfer("t1").Bytes)
		l.advance(at + 10*sim.Second)
		if len(l.lines["p1"])+int(l.transfer("t1").Bytes) != status {
			t.Error("something went on after the stop")
		}
	}
}

// A service that finds its port taken is an error that names it, and those before it are stopped.
func TestServicesNeedTheirPorts(t *testing.T) {
	l := newLab(t, link.Config{})
	sink := &labv1.AppSpec{App: &labv1.AppSpec_Sink{Sink: &labv1.SinkApp{Port: 5001}}}
	if _, err := StartServices(l.server.env(), []*labv1.AppSpec{sink}, true); err == nil || err.Error() != "app: transfer :5001: tcpstack: address already in use" {
		t.Errorf("error %v", err)
	}
	if _, err := StartServices(l.server.env(), []*labv1.AppSpec{sink}, false); err != nil {
		t.Errorf("the port is still taken: %v", err)
	}
	if _, err := StartServices(l.server.env(), []*labv1.AppSpec{{}}, false); err == nil {
		t.Error("an application of no kind was started")
	}
}
