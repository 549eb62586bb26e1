package tcpstack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/nettest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"labd.dev/sim"
)

// outside is a pair of stacks that a Driver runs, with a listener at the second one.
type outside struct {
	*tcpPair
	drive *Driver
	lsn   *NetListener
}

func newOutside(t testing.TB, cfg TCPConfig) *outside {
	t.Helper()
	p := newTCPPair(t, [2]Config{{TCP: cfg}, {TCP: cfg}}, 10*sim.Microsecond)
	o := &outside{tcpPair: p, drive: NewDriver(p.loop, sim.PacerConfig{})}
	t.Cleanup(func() {
		if err := o.drive.Close(); err != nil {
			t.Error(err)
		}
		p.teardown()
	})
	l, err := ListenNet(o.drive, p.stack[1], netip.AddrPortFrom(netip.Addr{}, 80), TCPConfig{})
	if err != nil {
		t.Fatal(err)
	}
	o.lsn = l
	t.Cleanup(func() { l.Close() })
	return o
}

func (o *outside) dial(ctx context.Context) (net.Conn, error) {
	return DialContext(ctx, o.drive, o.stack[0], netip.AddrPortFrom(o.addr[1], 80), TCPConfig{})
}

// The net package's own tests of what a net.Conn must do.
func TestBlockingFaceIsANetConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		o := newOutside(t, TCPConfig{})
		if c1, err = o.dial(t.Context()); err != nil {
			return nil, nil, nil, err
		}
		if c2, err = o.lsn.Accept(); err != nil {
			return nil, nil, nil, err
		}
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

// download has a client get so many bytes of a server on the listener.
func download(t *testing.T, l net.Listener, client *http.Client, url string) {
	t.Helper()
	content := bytes.Repeat([]byte("every byte arrives, once and in order. "), 20000)
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(content)
	})}}
	if url[:5] == "https" {
		srv.StartTLS()
		client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"}
	} else {
		srv.Start()
	}
	defer srv.Close()
	defer client.CloseIdleConnections()
	for range 3 {
		r, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || sha256.Sum256(got) != sha256.Sum256(content) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(content), err)
		}
	}
}

func (o *outside) httpClient() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return o.dial(ctx) },
	}}
}

func TestHTTPOverTheBlockingFace(t *testing.T) {
	o := newOutside(t, TCPConfig{})
	download(t, o.lsn, o.httpClient(), "http://server/")
}

func TestTLSOverTheBlockingFace(t *testing.T) {
	o := newOutside(t, TCPConfig{})
	download(t, o.lsn, o.httpClient(), "https://server/")
}

func TestGRPCOverTheBlockingFace(t *testing.T) {
	o := newOutside(t, TCPConfig{})
	srv := grpc.NewServer()
	healthpb.RegisterHealthServer(srv, health.NewServer())
	go srv.Serve(o.lsn)
	defer srv.Stop()
	cc, err := grpc.NewClient("passthrough:///server", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return o.dial(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	for range 20 {
		r, err := healthpb.NewHealthClient(cc).Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil || r.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Fatalf("%v, %v", r, err)
		}
	}
}

func TestDialErrors(t *testing.T) {
	o := newOutside(t, TCPConfig{})
	_, err := DialContext(t.Context(), o.drive, o.stack[0], netip.AddrPortFrom(o.addr[1], 81), TCPConfig{})
	if !errors.Is(err, ErrRefused) {
		t.Errorf("a port without a listener: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	o.drive.Do(func() { o.pipe[0].fate = func(uint64, *sim.Frame) (bool, sim.Time, int) { return true, 0, 0 } })
	if _, err := o.dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers: %v", err)
	}
}

// What a goroutine waits for ends with the driver.
func TestNothingWaitsForAnEndedLoop(t *testing.T) {
	o := newOutside(t, TCPConfig{})
	c, err := o.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan error, 2)
	go func() { _, err := c.Read(make([]byte, 1)); waits <- err }()
	go func() {
		_, err := o.lsn.Accept() // the connection above
		if err == nil {
			_, err = o.lsn.Accept()
		}
		waits <- err
	}()
	if err := o.drive.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-waits; !errors.Is(err, net.ErrClosed) {
			t.Errorf("what waited: %v", err)
		}
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read: %v", err)
	}
	c.Close()
}

func TestAcceptQueueIsBounded(t *testing.T) {
	o := newOutside(t, TCPConfig{Backlog: 2})
	var open []net.Conn
	for range 2 {
		c, err := o.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	// The reset may come before the connection is in our hands, or after.
	for range 3 {
		c, err := o.dial(t.Context())
		if err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		if !errors.Is(err, ErrReset) && !errors.Is(err, ErrRefused) {
			t.Errorf("a connection beyond a queue of 2: %v", err)
		}
	}
	for _, c := range open {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		accepted, err := o.lsn.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := accepted.Read(make([]byte, 1)); err != nil {
			t.Errorf("one that waited in the queue: %v", err)
		}
	}
}
