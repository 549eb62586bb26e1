package daemon

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"labd.dev/internal/port"
	labv1 "labd.dev/proto/lab/v1"
)

// slowClients is a labd with little patience, off which nobody but slow clients wants anything.
type slowClients struct {
	t *testing.T
	p *pki
	d *Daemon
}

func newSlowClients(t *testing.T, patience patience) *slowClients {
	t.Helper()
	s := &slowClients{t: t, p: newPKI(t)}
	s.d = start(t, Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0", NoWorker: true, Security: s.p.security(s.p.daemon),
		Cluster: &ClusterConfig{Expect: 1}, patience: patience})
	return s
}

func (s *slowClients) tcp(first string) net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.d.Addr())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, first); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

func (s *slowClients) tls(first string) net.Conn {
	s.t.Helper()
	conn, err := (&port.Dialer{Security: s.p.security(s.p.client)}).Dial(s.t.Context(), s.d.Addr(), port.HTTP2)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, first); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// trickle writes until the other end has closed the connection.
func trickle(write func() error) (ended chan struct{}) {
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond) // nothing depends on how slowly they come
		defer tick.Stop()
		for write() == nil {
			<-tick.C
		}
	}()
	return ended
}

// Until a connection says what it speaks, whatever it does takes no longer than the handshake may: silence after TCP's handshake,
// half of TLS's, nothing after it, HTTP/2's preface without the settings that belong to it, and half of these.
func TestSlowHandshakes(t *testing.T) {
	s := newSlowClients(t, patience{handshake: 500 * time.Millisecond})
	conns := []net.Conn{
		s.tcp(""),
		s.tcp("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), // the beginning of a ClientHello (RFC 8446 4.1.2)
		s.tls(""),
		s.tls(http2.ClientPreface),
		s.tls(http2.ClientPreface + "\x00\x00\x0c\x04\x00\x00\x00\x00\x00\x00\x03"),
	}
	for _, conn := range conns {
		io.Copy(io.Discard, conn) // to its end
	}
	eventually(t, "each of them is counted", func() bool { return s.d.port.Refused()[port.Timeout] == uint64(len(conns)) })
}

// A client that has gone without a word, and one that never comes to the end of a call's headers however much it sends, are given
// up when no sign of life comes.
func TestVanishedClients(t *testing.T) {
	s := newSlowClients(t, patience{keepaliveTime: time.Second, keepaliveTimeout: 100 * time.Millisecond})
	rawHTTP2On(t, s.tls("")) // nobody reads there, and nothing is ever sent: as of a machine that has lost its power
	r := rawHTTP2On(t, s.tls(""))
	err := r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x83}}) // :method POST, RFC 7541 A
	if err != nil {
		t.Fatal(err)
	}
	ended := trickle(func() error { return r.framer.WriteContinuation(1, false, nil) })
	eventually(t, "both are counted", func() bool { return s.d.port.Refused()[port.GivenUp] == 2 })
	<-ended
}

// A call whose message does not come, or comes a byte at a time, ends, and is counted; its connection goes on.
func TestSlowMessages(t *testing.T) {
	s := newSlowClients(t, patience{message: slowness{wait: 300 * time.Millisecond, rate: 1 << 20}})
	r := rawHTTP2On(t, s.tls(""))
	begin := func(method string, some []byte) uint32 {
		t.Helper()
		id, err := r.call(method)
		if err != nil {
			t.Fatal(err)
		}
		r.data(id, some)
		return id
	}
	slow := map[string]uint32{
		"no message":                  begin(healthv1.Health_Check_FullMethodName, nil),
		"half of a length":            begin(healthv1.Health_Watch_FullMethodName, announced(10)[:3]),
		"a length alone":              begin(labv1.LabService_ListLabs_FullMethodName, announced(10)),
		"nothing of a stream":         begin(labv1.FileService_UploadFile_FullMethodName, nil),
		"a message without its end":   begin(labv1.WatchService_WatchLabs_FullMethodName, announced(0)),
		"a message a byte at a time ": begin(labv1.LabService_CreateLab_FullMethodName, announced(1<<16)),
	}
	last := slow["a message a byte at a time "]
	stop := make(chan struct{})
	ended := trickle(func() error {
		select {
		case <-stop:
			return io.EOF
		default:
			return r.framer.WriteData(last, false, []byte{0})
		}
	})
	left := make(map[uint32]string)
	for what, id := range slow {
		left[id] = what
	}
	r.until("the end of all", func(f http2.Frame) bool {
		m, ok := f.(*http2.MetaHeadersFrame)
		if ok && m.StreamEnded() {
			if got := reasonInTrailers(t, m.Fields); got != "MESSAGE_TOO_SLOW" {
				t.Errorf("%s: %s", left[m.StreamID], got)
			}
			delete(left, m.StreamID)
		}
		return len(left) == 0
	})
	close(stop)
	<-ended
	if n := s.d.intake.Refused()["MESSAGE_TOO_SLOW"]; n != uint64(len(slow)) {
		t.Errorf("%d are counted, want %d", n, len(slow))
	}
	id, err := r.call(healthv1.Health_Check_FullMethodName, hpack.HeaderField{Name: "x", Value: "y"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.framer.WriteData(id, true, announced(0)); err != nil {
		t.Fatal(err)
	}
	if got := r.outcome(id); got != "OK" {
		t.Errorf("another call on the connection: %s", got)
	}
}

// A call whose caller goes away ends as gRPC says, and not as one that labd has failed in.
func TestGoneCallerIsNoFailure(t *testing.T) {
	err := (&lateness{}).of(status.Error(codes.Canceled, "context canceled"))
	if status.Code(err) != codes.Canceled {
		t.Error(err)
	}
}
