package client

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"labd.dev/internal/port"
	"labd.dev/internal/runbook"
	"labd.dev/internal/tlsfiles"
	labv1 "labd.dev/proto/lab/v1"
)

// serveAt serves a fake labd on loopback, with TLS if there is any, and gives its address.
func serveAt(t *testing.T, fake *fakeServer, security port.Security) string {
	t.Helper()
	fake.held = make(map[string][]byte)
	p, err := port.Listen("127.0.0.1:0", port.Config{Security: security})
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.Creds(port.Credentials(nil)))
	labv1.RegisterLabServiceServer(srv, fake)
	labv1.RegisterRunServiceServer(srv, fake)
	done, l := make(chan error, 1), p.Listener(port.HTTP2)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		<-done
		p.Close()
	})
	return p.Addr().String()
}

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func dialAll(t *testing.T, addresses ...string) *Client {
	t.Helper()
	c, err := Dial(strings.Join(addresses, ","))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Of several servers the next is asked when one does not answer, at once, and stays the one that is asked.
func TestNextServer(t *testing.T) {
	fake := &fakeServer{answer: func(int) error { return nil }, runFile: "x"}
	address := serveAt(t, fake, nil)
	c := dialAll(t, nobody(t), nobody(t), address)
	if err := get(c); err != nil {
		t.Fatal(err)
	}
	if now := c.link.current().address; now != address {
		t.Errorf("%s is asked, want %s", now, address)
	}
	if err := create("")(dialAll(t, nobody(t), address)); ExitCode(err) != 5 {
		t.Errorf("a mutation without an id was sent to a second server: %v", err)
	}
	// A stream goes to a server that answers without another call before it.
	fake.answer = nil
	if err := dialAll(t, nobody(t), address).FetchRun(t.Context(), "x-1", filepath.Join(t.TempDir(), "run")); err != nil {
		t.Errorf("a stream: %v", err)
	}
}

// The server that leads is asked next, once another has said that it handed a call on to it; a server that the client was not
// told of is not.
func TestLeaderIsFollowed(t *testing.T) {
	fine := func(int) error { return nil }
	leads, follows := &fakeServer{answer: fine}, &fakeServer{answer: fine, leader: "192.0.2.1:7070"}
	b, a := serveAt(t, leads, nil), serveAt(t, follows, nil)
	c := dialAll(t, a, nobody(t), b)
	for range 2 {
		if err := get(c); err != nil || c.link.current().address != a {
			t.Fatalf("%v; %s is asked next", err, c.link.current().address)
		}
	}
	follows.leader = b
	for range 3 {
		if err := get(c); err != nil || c.link.current().address != b {
			t.Fatalf("%v; %s is asked next", err, c.link.current().address)
		}
	}
	if follows.calls.Load() != 3 || leads.calls.Load() != 2 {
		t.Errorf("%d calls of the one that follows, %d of the leader", follows.calls.Load(), leads.calls.Load())
	}
}

func TestNobodyOfSeveralListens(t *testing.T) {
	a, b := nobody(t), nobody(t)
	err := get(dialAll(t, a, b))
	if want := "no labd at " + a + "," + b + "; start one with: labd server"; err == nil || err.Error() != want || ExitCode(err) != 5 {
		t.Errorf("error %v, want %q", err, want)
	}
}

// A server that reaches no majority is left for one that may.
func TestMinorityIsLeft(t *testing.T) {
	refused, err := status.New(codes.Unavailable, "no majority").WithDetails(&errdetails.ErrorInfo{Reason: "NO_QUORUM", Domain: "labd.dev"})
	if err != nil {
		t.Fatal(err)
	}
	minority := &fakeServer{answer: func(int) error { return refused.Err() }}
	majority := &fakeServer{answer: func(int) error { return nil }}
	a, b := serveAt(t, minority, nil), serveAt(t, majority, nil)
	if err := create("r1")(dialAll(t, a, b)); err != nil || minority.calls.Load() != 1 || majority.calls.Load() != 1 {
		t.Errorf("%v after %d and %d calls", err, minority.calls.Load(), majority.calls.Load())
	}
	// Where there is no other, it is not asked again: it has waited for a majority already.
	if err := create("r2")(dialAll(t, a)); ExitCode(err) != 5 || minority.calls.Load() != 2 {
		t.Errorf("%v after %d calls", err, minority.calls.Load())
	}
}

// certificates makes a CA with a daemon's and a client's certificate.
func certificates(t *testing.T) (daemon, client tlsfiles.Files) {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	ca, _, err := tlsfiles.OpenAuthority(file("ca.crt"), file("ca.key"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, usage := range map[string]tlsfiles.Usage{"labd": tlsfiles.ForDaemon, "client": tlsfiles.ForClient} {
		if err := ca.IssueTo(file(name+".crt"), file(name+".key"), name, []string{"127.0.0.1"}, usage, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	return tlsfiles.Files{CA: file("ca.crt"), Cert: file("labd.crt"), Key: file("labd.key")},
		tlsfiles.Files{CA: file("ca.crt"), Cert: file("client.crt"), Key: file("client.key")}
}

// staticTLS shows one certificate and asks for none.
type staticTLS struct {
	port.Security
	cert tls.Certificate
}

func (s *staticTLS) Server() (*tls.Config, error) {
	return &tls.Config{Certificates: []tls.Certificate{s.cert}, MinVersion: tls.VersionTLS13}, nil
}

// expiredCertificate is of a CA's, and ran out a day ago.
func expiredCertificate(t *testing.T, caFile string) *staticTLS {
	t.Helper()
	now := time.Now().Add(-400 * 24 * time.Hour)
	ca, _, err := tlsfiles.OpenAuthority(caFile, filepath.Join(filepath.Dir(caFile), "ca.key"), now)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	if err := ca.IssueTo(cert, key, "labd", []string{"127.0.0.1"}, tlsfiles.ForDaemon, now); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &staticTLS{cert: pair}
}

// What is wrong with certificates is said, whichever end has found it, and nothing is repeated.
func TestCertificateTrouble(t *testing.T) {
	daemon, good := certificates(t)
	_, other := certificates(t)
	source, err := tlsfiles.Open(daemon, nil)
	if err != nil {
		t.Fatal(err)
	}
	fake := &fakeServer{answer: func(int) error { return nil }}
	secured, plain := serveAt(t, fake, source), serveAt(t, fake, nil)
	call := func(address string, files *tlsfiles.Files) error {
		c, err := Open(Options{Servers: []string{address}, TLS: files})
		if err != nil {
			return err
		}
		defer c.Close()
		return get(c)
	}
	if err := call(secured, &good); err != nil {
		t.Fatal(err)
	}
	expired := serveAt(t, fake, expiredCertificate(t, good.CA))
	mixed := tlsfiles.Files{CA: good.CA, Cert: other.Cert, Key: other.Key}
	late := call(expired, &good)
	if late == nil {
		t.Fatal("an expired certificate is taken")
	}
	runbook.Says(t, "a certificate has expired", late.Error())
	for _, c := range []struct {
		want string
		err  error
		exit int
	}{
		{"the wrong CA", call(secured, &other), 4},
		{"is not of the CA in", call(secured, &mixed), 2},
		{"if it has TLS", call(secured, nil), 5},
		{"if it has no TLS", call(plain, &good), 5},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) || ExitCode(c.err) != c.exit {
			t.Errorf("error %v (exit %d), want %q (exit %d)", c.err, ExitCode(c.err), c.want, c.exit)
		}
	}
}
