package shards_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"labd.dev/internal/shards"
	"labd.dev/node/cut"
	"labd.dev/node/worker"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
)

const ms = int64(sim.Millisecond)

// patience guards against tests that hang.
const patience = 2 * time.Minute

// member is one worker of a cluster: its service behind gRPC, its frames behind a listener on loopback or behind pipes.
type member struct {
	*worker.Worker
	root   string
	client workerv1.WorkerServiceClient
	frames net.Listener // nil: pipes
	grpc   *grpc.Server
	conn   *grpc.ClientConn
	serves sync.WaitGroup
	mu     sync.Mutex // guards conns
	conns  []net.Conn // of frames, that came in
}

// cluster is workers under test.
type cluster struct {
	t       *testing.T
	members []*member
	turns   uint64 // in which inputs were stamped
	down    func() // idempotent
}

// newCluster makes workers; loopback: their frames go over real connections.
func newCluster(t *testing.T, n int, loopback bool) *cluster {
	t.Helper()
	c := &cluster{t: t}
	for i := range n {
		m := &member{root: t.TempDir()}
		var err error
		m.Worker, err = worker.New(worker.Config{Root: m.root, Version: "test", DialFrames: c.dial})
		if err != nil {
			t.Fatal(err)
		}
		if loopback {
			if m.frames, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
				t.Fatal(err)
			}
			m.serves.Go(m.accept)
		}
		pipe := bufconn.Listen(1 << 20)
		m.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
		workerv1.RegisterWorkerServiceServer(m.grpc, m.Worker)
		m.serves.Go(func() { _ = m.grpc.Serve(pipe) })
		m.conn, err = grpc.NewClient(fmt.Sprintf("passthrough:w%d", i), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		m.client = workerv1.NewWorkerServiceClient(m.conn)
		c.members = append(c.members, m)
	}
	c.down = sync.OnceFunc(c.finish)
	t.Cleanup(c.down)
	return c
}

func (m *member) accept() {
	for {
		conn, err := m.frames.Accept()
		if err != nil {
			return
		}
		m.serve(conn)
	}
}

func (m *member) serve(conn net.Conn) {
	m.mu.Lock()
	m.conns = append(m.conns, conn)
	m.mu.Unlock()
	m.serves.Go(func() { m.ServeFrames(conn) })
}

func (c *cluster) finish() {
	for _, m := range c.members {
		m.conn.Close()
		m.grpc.Stop()
		if err := m.Close(); err != nil {
			c.t.Error(err)
		}
		if m.frames != nil {
			m.frames.Close()
		}
		m.serves.Wait()
	}
}

// address is where a member's frames are reached.
func (c *cluster) address(i int) string {
	if l := c.members[i].frames; l != nil {
		return l.Addr().String()
	}
	return fmt.Sprintf("pipe %d", i)
}

func (c *cluster) dial(ctx context.Context, address string) (net.Conn, error) {
	var i int
	if n, _ := fmt.Sscanf(address, "pipe %d", &i); n == 0 {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	near, far := net.Pipe()
	c.members[i].serve(far)
	return near, nil
}

// request asks for a lab split over all members.
func (c *cluster) request(req *workerv1.StartLabRequest) (shards.Client, *workerv1.StartLabRequest) {
	c.t.Helper()
	req = proto.Clone(req).(*workerv1.StartLabRequest)
	parts, err := cut.Shards(req.GetSpec(), req.GetJournal(), len(c.members))
	if err != nil {
		c.t.Fatal(err)
	}
	var client shards.Client
	for i, p := range parts {
		req.Shards = append(req.Shards, &workerv1.Shard{Worker: fmt.Sprintf("w%d", i), Address: c.address(i), Nodes: p})
		client = append(client, c.members[i].client)
	}
	return client, req
}

// start starts a lab split over all members.
func (c *cluster) start(req *workerv1.StartLabRequest) shards.Client {
	c.t.Helper()
	client, req := c.request(req)
	if _, err := client.StartLab(c.t.Context(), req); err != nil {
		c.t.Fatal(err)
	}
	return client
}

// run runs a lab to its end on all members and collects its run directory.
func (c *cluster) run(req *workerv1.StartLabRequest) (*workerv1.GetLabResponse, string) {
	c.t.Helper()
	client := c.start(req)
	got := c.ended(client, req.GetLabId())
	dir := c.collect(client, req.GetLabId())
	c.stop(client, req)
	return got, dir
}

func (c *cluster) stop(client shards.Client, req *workerv1.StartLabRequest) {
	c.t.Helper()
	_, err := client.StopLab(c.t.Context(), &workerv1.StopLabRequest{LabId: req.GetLabId(), Epoch: req.GetEpoch()})
	if err != nil {
		c.t.Error(err) // frames, chunks or timers that nothing owns any more
	}
}

// ended waits for a lab's end, and tells how it stands then.
func (c *cluster) ended(client shards.Client, id string) *workerv1.GetLabResponse {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	s, err := client.WatchLab(ctx, &workerv1.WatchLabRequest{LabId: id, IntervalMs: 60_000})
	var last *workerv1.WatchLabResponse
	for err == nil {
		var m *workerv1.WatchLabResponse
		if m, err = s.Recv(); err == nil {
			last = m
		}
	}
	if !errors.Is(err, io.EOF) || !last.GetProgress().GetEnded() {
		c.t.Fatalf("the lab does not end: %v, %v", last.GetProgress(), err)
	}
	got, err := client.GetLab(c.t.Context(), &workerv1.GetLabRequest{LabId: id})
	if err != nil {
		c.t.Fatal(err)
	}
	return got
}

// collect brings a lab's run directory together.
func (c *cluster) collect(client shards.Client, id string) string {
	c.t.Helper()
	dir := c.t.TempDir()
	list, err := client.ListRunFiles(c.t.Context(), &workerv1.ListRunFilesRequest{LabId: id})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range list.GetFiles() {
		name := filepath.Join(dir, filepath.FromSlash(f.GetPath()))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			c.t.Fatal(err)
		}
		s, err := client.ReadRunFile(c.t.Context(), &workerv1.ReadRunFileRequest{LabId: id, Path: f.GetPath()})
		var b []byte
		for err == nil {
			var m *workerv1.ReadRunFileResponse
			if m, err = s.Recv(); err == nil {
				b = append(b, m.GetData()...)
			}
		}
		if !errors.Is(err, io.EOF) {
			c.t.Fatalf("%s: %v", f.GetPath(), err)
		}
		if uint64(len(b)) != f.GetSizeBytes() {
			c.t.Errorf("%s: %d bytes, listed with %d", f.GetPath(), len(b), f.GetSizeBytes())
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	return dir
}

// identical compares two run directories.
func identical(t *testing.T, what, a, b string) {
	t.Helper()
	d, err := worker.CompareRuns(a, b)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if d != nil {
		t.Fatalf("%s: %v", what, d)
	}
}

// until asks until what is waited for is there.
func (c *cluster) until(client workerv1.WorkerServiceClient, id, what string, is func(*workerv1.GetLabResponse) bool) *workerv1.GetLabResponse {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	var last *workerv1.GetLabResponse
	for ctx.Err() == nil {
		got, err := client.GetLab(ctx, &workerv1.GetLabRequest{LabId: id})
		if err == nil && is(got) {
			return got
		}
		last = got
	}
	c.t.Fatalf("never: %s: %v", what, last)
	return nil
}

// turn is the next turn to stamp an input in, in whatever lab.
func (c *cluster) turn() *workerv1.Turn {
	c.turns++
	return &workerv1.Turn{Term: 1, Number: c.turns}
}

// give stamps and commits an input.
func (c *cluster) give(client workerv1.WorkerServiceClient, id string, in *labv1.Input) *labv1.JournalEntry {
	c.t.Helper()
	s, err := client.StampInput(c.t.Context(), &workerv1.StampInputRequest{LabId: id, Turn: c.turn(), Input: in, Epoch: 1})
	if err != nil {
		c.t.Fatal(err)
	}
	e := &labv1.JournalEntry{Index: s.Index, TNs: s.TNs, Input: s.Input}
	if _, err := client.CommitInput(c.t.Context(), &workerv1.CommitInputRequest{LabId: id, Entry: e, Epoch: 1}); err != nil {
		c.t.Fatal(err)
	}
	return e
}
