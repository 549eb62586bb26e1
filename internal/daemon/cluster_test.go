package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"labd.dev/client"
	"labd.dev/internal/port"
	"labd.dev/internal/tlsfiles"
	labv1 "labd.dev/proto/lab/v1"
	serverv1 "labd.dev/proto/server/v1"
)

// pki is a CA with what it has signed, in files.
type pki struct {
	t      *testing.T
	dir    string
	daemon tlsfiles.Files
	client tlsfiles.Files
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := &pki{t: t, dir: t.TempDir()}
	file := func(name string) string { return filepath.Join(p.dir, name) }
	p.daemon = tlsfiles.Files{CA: file("ca.crt"), Cert: file("labd.crt"), Key: file("labd.key")}
	p.client = tlsfiles.Files{CA: file("ca.crt"), Cert: file("client.crt"), Key: file("client.key")}
	p.issue()
	return p
}

// issue makes the certificates, also anew.
func (p *pki) issue() {
	p.t.Helper()
	ca, _, err := tlsfiles.OpenAuthority(p.daemon.CA, filepath.Join(p.dir, "ca.key"), time.Now())
	if err == nil {
		err = errors.Join(ca.IssueTo(p.daemon.Cert, p.daemon.Key, "labd", []string{"127.0.0.1"}, tlsfiles.ForDaemon, time.Now()),
			ca.IssueTo(p.client.Cert, p.client.Key, "client", nil, tlsfiles.ForClient, time.Now()))
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pki) security(files tlsfiles.Files) port.Security {
	p.t.Helper()
	s, err := tlsfiles.Open(files, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// server starts a server of a cluster, with certificates if there are any.
func server(t *testing.T, expect int, security port.Security, join ...string) *Daemon {
	t.Helper()
	return start(t, Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0", NoWorker: true, Security: security,
		Cluster: &ClusterConfig{Expect: expect, Join: join}})
}

func awaitWritable(t *testing.T, servers ...*Daemon) {
	t.Helper()
	for _, d := range servers {
		eventually(t, "the cluster takes changes", func() bool {
			h, err := d.Client().Cluster.GetHealth(t.Context(), &labv1.GetHealthRequest{})
			return err == nil && h.GetWritable()
		})
	}
}

// Raft, calls between servers, clients and a worker share the port, all by certificates; new ones need no restart.
func TestClusterOverTLS(t *testing.T) {
	p := newPKI(t)
	security := p.security(p.daemon)
	a := server(t, 2, security)
	b := server(t, 2, security, a.Addr())
	awaitWritable(t, a, b)
	w, err := StartWorker(WorkerConfig{DataDir: t.TempDir(), Name: "w1", Listen: "127.0.0.1:0", Servers: []string{a.Addr(), b.Addr()}, Security: security})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop(context.Background())
	c, err := client.Open(client.Options{Servers: []string{a.Addr(), b.Addr()}, TLS: &p.client})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	spec := twoHosts("pair", labv1.Clock_CLOCK_VIRTUAL)
	if _, err := c.Labs.ApplyLab(t.Context(), &labv1.ApplyLabRequest{RequestId: client.RequestID(), Spec: spec}); err != nil {
		t.Fatal(err)
	}
	p.issue()
	later := server(t, 2, security, a.Addr(), b.Addr())
	awaitWritable(t, later)
	again, err := client.Open(client.Options{Servers: []string{later.Addr()}, TLS: &p.client})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.Labs.GetLab(t.Context(), &labv1.GetLabRequest{Lab: "pair"}); err != nil {
		t.Errorf("with new certificates: %v", err)
	}
}

// A person's certificate opens neither Raft nor what servers and workers ask of each other.
func TestClientIsNoDaemon(t *testing.T) {
	p := newPKI(t)
	d := server(t, 1, p.security(p.daemon))
	awaitWritable(t, d)
	person := &port.Dialer{Security: p.security(p.client)}
	conn, err := person.Dial(t.Context(), d.Addr(), port.Raft)
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 1)) // the server closes after its part of the handshake
		conn.Close()
	}
	if err == nil {
		t.Error("a person speaks Raft")
	}
	eventually(t, "it is counted", func() bool { return d.port.Refused()[port.NoDaemon] == 1 })
	pipe, err := dialDaemon(person, d.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	_, err = serverv1.NewPeerServiceClient(pipe).Hello(t.Context(), &serverv1.HelloRequest{})
	if got := status.Code(err); got != codes.PermissionDenied {
		t.Errorf("a person asks as a server: %v", err)
	}
	if _, err := labv1.NewLabServiceClient(pipe).ListLabs(t.Context(), &labv1.ListLabsRequest{}); err != nil {
		t.Errorf("and as a person: %v", err)
	}
}

// Off loopback there is no listening without certificates.
func TestNoListeningWithoutTLS(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":0", "example.org:0"} {
		if d, err := Start(Config{DataDir: t.TempDir(), Listen: address}); err == nil || !strings.Contains(err.Error(), "labctl tls init") {
			t.Errorf("%s: %v", address, err)
			if err == nil {
				stop(t, d)
			}
		}
	}
	p := newPKI(t)
	if _, err := Start(Config{DataDir: t.TempDir(), Listen: "0.0.0.0:0", NoWorker: true, Security: p.security(p.daemon),
		Cluster: &ClusterConfig{Expect: 1}}); err == nil || !strings.Contains(err.Error(), "--advertise") {
		t.Errorf("an address that nobody reaches: %v", err)
	}
}

// A server remembers who it is and which cluster it belongs to.
func TestServerRestarts(t *testing.T) {
	dir := t.TempDir()
	conf := Config{DataDir: dir, Listen: "127.0.0.1:0", NoWorker: true, Cluster: &ClusterConfig{Expect: 1}}
	d := start(t, conf)
	awaitWritable(t, d)
	cluster := d.control.ClusterID()
	stop(t, d)
	kept, err := os.ReadFile(filepath.Join(dir, clusterFile))
	if id, _, _ := strings.Cut(string(kept), " "); err != nil || id != cluster || cluster == "" {
		t.Fatalf("kept %q %v, want %q", kept, err, cluster)
	}
	conf.Listen, conf.Cluster = d.conf.Listen, &ClusterConfig{}
	again := start(t, conf)
	awaitWritable(t, again)
	if got := again.control.ClusterID(); got != cluster {
		t.Errorf("it belongs to cluster %q now", got)
	}
	eventually(t, "the others could find it where it is now", func() bool {
		r, err := again.Client().Cluster.ListMembers(t.Context(), &labv1.ListMembersRequest{})
		return err == nil && len(r.GetMembers()) == 1 && r.GetMembers()[0].GetAddress() == again.Addr()
	})
}

// A request that announces 1 GiB is refused before its bytes are waited for.
func TestRequestOfAGigabyte(t *testing.T) {
	d := start(t, Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0"})
	conn, err := net.Dial("tcp", d.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(conn, conn)
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", labv1.LabService_CreateLab_FullMethodName},
		{":authority", "x"}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
		if err := enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			t.Fatal(err)
		}
	}
	err = errors.Join(f.WriteSettings(), f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: true}),
		f.WriteData(1, false, []byte{0, 0x40, 0, 0, 0, 1, 2, 3})) // a gRPC message: not compressed, 2^30 bytes long
	if err != nil {
		t.Fatal(err)
	}
	ended := ""
	dec := hpack.NewDecoder(4096, func(h hpack.HeaderField) {
		if h.Name == "grpc-status" {
			ended = h.Value
		}
	})
	for ended == "" {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if h, ok := frame.(*http2.HeadersFrame); ok {
			if _, err := dec.Write(h.HeaderBlockFragment()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := strconv.Itoa(int(codes.ResourceExhausted)); ended != want {
		t.Errorf("status %s, want %s", ended, want)
	}
}

// A client that never reads its stream holds up nobody, and what waits for it is bounded by HTTP/2's window.
func TestClientThatNeverReads(t *testing.T) {
	d := start(t, Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0"})
	apply(t, d.Client(), twoHosts("pair", labv1.Clock_CLOCK_VIRTUAL))
	deaf, err := client.Dial(d.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 50 {
		stream, err := deaf.Watches.WatchLabs(ctx, &labv1.WatchLabsRequest{IntervalMs: 50})
		if err != nil {
			t.Fatal(err)
		}
		_ = stream // never read
	}
	other, err := client.Dial(d.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for range 20 {
		if _, err := other.Labs.ListLabs(t.Context(), &labv1.ListLabsRequest{}); err != nil {
			t.Fatal(err)
		}
	}
}
