package port

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listen opens a port on loopback that ends with the test.
func listen(t *testing.T, conf Config) *Port {
	t.Helper()
	p, err := Listen("127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// echo serves one protocol: it answers each line with the protocol's name and the line.
func echo(t *testing.T, p *Port, protocol Protocol) {
	t.Helper()
	l := p.Listener(protocol)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				var line []byte
				for b := make([]byte, 1); ; {
					if _, err := conn.Read(b); err != nil {
						return
					}
					if line = append(line, b[0]); b[0] == '\n' {
						io.WriteString(conn, string(protocol)+" "+string(line))
						line = nil
					}
				}
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
}

// noSettings is a SETTINGS frame without any.
const noSettings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// answer is what the other end says to a line.
func answer(t *testing.T, conn net.Conn, line string) string {
	t.Helper()
	if _, err := io.WriteString(conn, line); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for b := make([]byte, 1); len(got) == 0 || got[len(got)-1] != '\n'; {
		if _, err := io.ReadFull(conn, b); err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, b[0])
	}
	return string(got)
}

func dialRaw(t *testing.T, p *Port) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// wantRefused waits until a reason was counted so often.
func wantRefused(t *testing.T, p *Port, reason Reason, n uint64) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); p.Refused()[reason] != n; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("refused %v, want %d of %s", p.Refused(), n, reason)
		}
	}
}

// wantClosed waits for the other end to close.
func wantClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	if n, err := io.Copy(io.Discard, conn); n != 0 {
		t.Fatalf("%d bytes came, %v", n, err)
	}
}

func TestProtocolsShareThePort(t *testing.T) {
	p := listen(t, Config{})
	echo(t, p, Raft)
	echo(t, p, Frames)
	echo(t, p, HTTP2)
	d := &Dialer{}
	for _, protocol := range []Protocol{Raft, Frames} {
		conn, err := d.Dial(t.Context(), p.Addr().String(), protocol)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := answer(t, conn, "hello\n"); got != string(protocol)+" hello\n" {
			t.Errorf("%s answers %q", protocol, got)
		}
	}
	conn := dialRaw(t, p)
	if got := answer(t, conn, http2Preface+noSettings); got != "h2 PRI * HTTP/2.0\r\n" { // the preface goes to the protocol itself
		t.Errorf("HTTP/2 answers %q", got)
	}
	if refused := p.Refused(); len(refused) != 0 {
		t.Errorf("refused %v", refused)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, first string
		reason      Reason
	}{
		{"another protocol", "GET / HTTP/1.1\r\n\r\n", UnknownProtocol},
		{"a later version", "labd-raft/2\n", UnknownProtocol},
		{"a protocol that nobody serves", "labd-frames/1\n", UnknownProtocol},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", TLSHere},
		{"HTTP/2 without settings", http2Preface + "\x00\x00\x00\x01\x05\x00\x00\x00\x01", UnknownProtocol},
		{"HTTP/2 with too many settings", http2Preface + "\x00\x10\x00\x04\x00\x00\x00\x00\x00", UnknownProtocol},
		{"the end", "", GoneAway},
		{"a preface, then the end", http2Preface, GoneAway},
		{"half a preface, then the end", "PRI * HT", GoneAway},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := listen(t, Config{})
			echo(t, p, Raft)
			echo(t, p, HTTP2)
			conn := dialRaw(t, p)
			if _, err := io.WriteString(conn, c.first); err != nil {
				t.Fatal(err)
			}
			if c.reason == GoneAway {
				conn.(*net.TCPConn).CloseWrite()
			}
			wantRefused(t, p, c.reason, 1)
			// Unread bytes make the system reset the connection, so that its end may be an error.
			if n, _ := io.Copy(io.Discard, conn); n != 0 {
				t.Errorf("%d bytes came", n)
			}
		})
	}
}

func TestNothingIsServed(t *testing.T) {
	p := listen(t, Config{})
	dialRaw(t, p)
	wantRefused(t, p, UnknownProtocol, 1)
}

// The time for saying what one speaks is one for all of it: who sends a byte now and then gets no more of it.
func TestSlowPreface(t *testing.T) {
	p := listen(t, Config{HandshakeTimeout: 300 * time.Millisecond})
	echo(t, p, HTTP2)
	silent, slow, unsettled := dialRaw(t, p), dialRaw(t, p), dialRaw(t, p)
	if _, err := io.WriteString(unsettled, http2Preface+"\x00\x00\x06\x04"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan error, 1)
	go func() {
		// However slowly or quickly these go, their end is never sent.
		for _, b := range []byte(http2Preface[:len(http2Preface)-1]) {
			if _, err := slow.Write([]byte{b}); err != nil || ctx.Err() != nil {
				break
			}
			runtime.Gosched()
		}
		sent <- nil
	}()
	wantRefused(t, p, Timeout, 3)
	cancel()
	<-sent
	wantClosed(t, silent)
	wantClosed(t, unsettled)
}

// Those who say nothing cannot keep out those who do.
func TestTooManyPending(t *testing.T) {
	p := listen(t, Config{MaxPending: 4, HandshakeTimeout: time.Hour})
	echo(t, p, Raft)
	first := dialRaw(t, p)
	for range 9 {
		dialRaw(t, p)
	}
	wantRefused(t, p, Evicted, 6)
	wantClosed(t, first)
	conn, err := new(Dialer).Dial(t.Context(), p.Addr().String(), Raft)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := answer(t, conn, "in\n"); got != "labd-raft/1 in\n" {
		t.Errorf("answer %q", got)
	}
}

func TestTooManyOpen(t *testing.T) {
	p := listen(t, Config{MaxOpen: 2})
	echo(t, p, Raft)
	d := &Dialer{}
	var open []net.Conn
	for range 2 {
		conn, err := d.Dial(t.Context(), p.Addr().String(), Raft)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		answer(t, conn, "in\n")
		open = append(open, conn)
	}
	if conn, err := d.Dial(t.Context(), p.Addr().String(), Raft); err == nil {
		defer conn.Close()
	}
	wantRefused(t, p, TooManyOpen, 1)
	open[0].Close() // makes room, once its owner has seen it
	for deadline := time.Now().Add(2 * time.Minute); ; {
		conn, err := d.Dial(t.Context(), p.Addr().String(), Raft)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(time.Second))
		_, err = io.WriteString(conn, "x\n")
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		conn.Close()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no room again")
		}
	}
}

// A listener that does not accept holds up nobody else, and what waits for it is bounded.
func TestBacklog(t *testing.T) {
	p := listen(t, Config{})
	frames := p.Listener(Frames)
	echo(t, p, Raft)
	d := &Dialer{}
	for range backlog + 1 {
		conn, err := d.Dial(t.Context(), p.Addr().String(), Frames)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	wantRefused(t, p, Backlog, 1)
	conn, err := d.Dial(t.Context(), p.Addr().String(), Raft)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer(t, conn, "in\n")
	if err := frames.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := frames.Accept(); err == nil {
		t.Error("a closed listener accepts")
	}
	late := dialRaw(t, p)
	io.WriteString(late, Frames.opening())
	wantRefused(t, p, UnknownProtocol, 1)
}

// Close ends what is between a connection's beginning and its protocol.
func TestCloseWithPending(t *testing.T) {
	p := listen(t, Config{HandshakeTimeout: time.Hour})
	echo(t, p, Raft)
	conn := dialRaw(t, p)
	io.WriteString(conn, "labd-")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	if len(p.Refused()) != 0 {
		t.Errorf("refused %v by a close", p.Refused())
	}
}

func TestDialGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	near, far := net.Pipe()
	defer far.Close()
	d := &Dialer{Connect: func(context.Context, string) (net.Conn, error) { return near, nil }}
	if conn, err := d.Dial(ctx, "x:1", Raft); err == nil {
		conn.Close()
		t.Fatal("it is connected")
	}
	far.SetReadDeadline(time.Now().Add(2 * time.Minute))
	if _, err := io.Copy(io.Discard, far); err == os.ErrDeadlineExceeded {
		t.Error("the connection stays open")
	}
}

// docs/cluster.md explains every reason, and none that there is not.
func TestReasonsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "## The port's refusals")
	if !found {
		t.Fatal("docs/cluster.md has no such section")
	}
	rows := strings.Count(table, "\n| `")
	for _, r := range Reasons {
		if !strings.Contains(table, "\n| `"+string(r)+"` |") {
			t.Errorf("%s is not there", r)
		}
	}
	if rows != len(Reasons) {
		t.Errorf("%d reasons are there, want %d", rows, len(Reasons))
	}
}
