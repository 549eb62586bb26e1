package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"labd.dev/client"
	"labd.dev/node/worker"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// point is where on an input's way its labd dies.
type point int

const (
	beforeStamp  point = iota // the controller has taken the input
	afterStamp                // the worker has stamped it; nothing is in the log
	withinCommit              // the log's last record is torn
	afterCommit               // it is in the log; the worker has not been told
	afterEffect               // the worker has been told; nobody has been answered
	points
)

// mortal is the way to a worker on which a labd dies: at its point it takes the data directory as a killed process leaves
// it, and answers nothing any more.
type mortal struct {
	workerv1.WorkerServiceClient
	dir  string // of the labd
	next string // where the directory of its next life goes

	mu    sync.Mutex // guards all below
	armed bool
	at    point
	dead  bool
	err   error // of the taking
}

var errDead = status.Error(codes.Internal, "killed")

// dies kills the labd if this is where, and tells whether it is dead.
func (m *mortal) dies(at point) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.armed && !m.dead && (m.at == at || m.at == withinCommit && at == afterCommit) {
		m.dead = true
		m.err = os.CopyFS(m.next, os.DirFS(m.dir))
	}
	return m.dead
}

func (m *mortal) StampInput(ctx context.Context, req *workerv1.StampInputRequest, opts ...grpc.CallOption) (*workerv1.StampInputResponse, error) {
	if m.dies(beforeStamp) {
		return nil, errDead
	}
	resp, err := m.WorkerServiceClient.StampInput(ctx, req, opts...)
	if m.dies(afterStamp) {
		return nil, errDead
	}
	return resp, err
}

func (m *mortal) CommitInput(ctx context.Context, req *workerv1.CommitInputRequest, opts ...grpc.CallOption) (*workerv1.CommitInputResponse, error) {
	if m.dies(afterCommit) {
		return nil, errDead
	}
	resp, err := m.WorkerServiceClient.CommitInput(ctx, req, opts...)
	if m.dies(afterEffect) {
		return nil, errDead
	}
	return resp, err
}

func (m *mortal) AbandonInput(ctx context.Context, req *workerv1.AbandonInputRequest, opts ...grpc.CallOption) (*workerv1.AbandonInputResponse, error) {
	m.mu.Lock()
	dead := m.dead
	m.mu.Unlock()
	if dead {
		return nil, errDead
	}
	return m.WorkerServiceClient.AbandonInput(ctx, req, opts...)
}

// startMortal brings up a labd on m.dir.
func startMortal(t *testing.T, m *mortal) *Daemon {
	t.Helper()
	d := &Daemon{conf: Config{DataDir: m.dir}, log: slog.New(slog.DiscardHandler)}
	t.Cleanup(func() { stop(t, d) })
	var err error
	if d.data, err = openDataDir(m.dir); err != nil {
		t.Fatal(err)
	}
	if d.worker, err = startWorker(d.data, d.log); err != nil {
		t.Fatal(err)
	}
	m.WorkerServiceClient = workerv1.NewWorkerServiceClient(d.worker.conn)
	if err = d.openControl(m); err == nil {
		err = d.serve()
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// tearLog cuts the last record of the log short, as a crash within its write does.
func tearLog(t *testing.T, dir string, by int) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "raft", "wal", "*.wal"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no log in %s: %v", dir, err)
	}
	name := segments[len(segments)-1]
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	end := len(bytes.TrimRight(b, "\x00"))
	clear(b[end-by : end])
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Killed at 100 seeded points between commit and effect, labd lets each input take effect exactly once: a request that is
// repeated after the restart finds what it came to, or is carried out then.
func TestEachInputTakesEffectOnce(t *testing.T) {
	const chains, kills = 4, 25 // chains of lives, each of one lab
	seed := uint64(time.Now().UnixNano())
	for chain := range uint64(chains) {
		t.Run(fmt.Sprint(chain), func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", seed)
			c := &lives{t: t, dice: rand.New(rand.NewPCG(seed, chain)), root: t.TempDir()}
			c.start()
			apply(t, c.d.Client(), twoHosts("pair", labv1.Clock_CLOCK_VIRTUAL))
			for kill := range kills {
				c.kill(point((uint64(kill)*chains+chain)%uint64(points)), kill)
			}
			c.check()
		})
	}
}

// lives are a labd's lives on one data directory.
type lives struct {
	t        *testing.T
	dice     *rand.Rand
	root     string
	m        *mortal
	d        *Daemon
	requests int
}

func (c *lives) start() {
	next := filepath.Join(c.root, "0")
	if c.m != nil {
		next = c.m.next
	}
	c.m = &mortal{dir: next, next: filepath.Join(c.root, fmt.Sprint(c.requests+1))}
	c.d = startMortal(c.t, c.m)
}

func (c *lives) transfer(n int) (*labv1.CreateTransferResponse, error) {
	return c.d.Client().Transfers.CreateTransfer(c.t.Context(), &labv1.CreateTransferRequest{RequestId: fmt.Sprint("request ", n), Lab: "pair",
		Kind: &labv1.CreateTransferRequest_Transfer{Transfer: &labv1.Transfer{From: "a", To: "b",
			Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: uint64(1000 + n)}}}})
}

// kill gives the lab an input or two, dies on the way of the last, and repeats its request in the next life.
func (c *lives) kill(at point, kill int) {
	c.t.Helper()
	for range c.dice.IntN(2) {
		c.requests++
		if _, err := c.transfer(c.requests); err != nil {
			c.t.Fatalf("kill %d, before it: %v", kill, err)
		}
	}
	c.requests++
	c.m.mu.Lock()
	c.m.armed, c.m.at = true, at
	c.m.mu.Unlock()
	// Once the input is in the log, it is answered whatever becomes of its worker; but nobody hears what the dead say.
	if _, err := c.transfer(c.requests); err == nil && at < withinCommit {
		c.t.Fatalf("kill %d at %d: an answer came", kill, at)
	}
	if err := c.d.Stop(context.Background()); err != nil {
		c.t.Fatalf("kill %d: what was left did not stop: %v", kill, err)
	}
	c.d.data = nil
	if c.m.err != nil || !c.m.dead {
		c.t.Fatalf("kill %d at %d: dead %v, %v", kill, at, c.m.dead, c.m.err)
	}
	if at == withinCommit {
		tearLog(c.t, c.m.next, 1+c.dice.IntN(60))
	}
	last := c.m.dir
	c.start()
	if err := os.RemoveAll(last); err != nil {
		c.t.Fatal(err)
	}
	c.awaitLab()
	want := c.requests
	if at < afterCommit {
		want--
	}
	if n := c.inputs(); n != want {
		c.t.Fatalf("killed at %d: %d inputs in the journal after the restart, want %d", at, n, want)
	}
	for range 2 {
		if got, err := c.transfer(c.requests); err != nil || got.GetStamp().GetIndex() != uint64(c.requests) {
			c.t.Fatalf("killed at %d: the request again: %v, %v; want input %d", at, got, err, c.requests)
		}
	}
}

func (c *lives) awaitLab() {
	c.t.Helper()
	eventually(c.t, "the lab is rebuilt", func() bool {
		got, err := c.d.Client().Labs.GetLab(c.t.Context(), &labv1.GetLabRequest{Lab: "pair"})
		if err != nil || got.GetLab().GetState() == labv1.LabState_LAB_STATE_FAILED {
			c.t.Fatalf("lab: %v %v", got, err)
		}
		return got.GetLab().GetState() == labv1.LabState_LAB_STATE_RUNNING
	})
}

func (c *lives) inputs() int {
	c.t.Helper()
	list, err := c.d.Client().Labs.ListInputs(c.t.Context(), &labv1.ListInputsRequest{Lab: "pair"})
	if err != nil {
		c.t.Fatal(err)
	}
	return len(list.GetEntries())
}

// check holds the lab to its requests: a transfer and a connection each, and a trace that a replay makes again.
func (c *lives) check() {
	c.t.Helper()
	ctx := c.t.Context()
	conns := map[string]bool{}
	for n := 1; n <= c.requests; n++ {
		got := watchTransfer(c.t, c.d.Client(), "pair", fmt.Sprint("t", n))
		if !got.GetMatch() || conns[got.GetConn()] {
			c.t.Errorf("transfer %d: %v", n, got)
		}
		conns[got.GetConn()] = true
	}
	list, err := c.d.Client().Transfers.ListTransfers(ctx, &labv1.ListTransfersRequest{Lab: "pair"})
	if err != nil || len(list.GetTransfers()) != c.requests || c.inputs() != c.requests {
		c.t.Errorf("%d transfers and %d inputs of %d requests, %v", len(list.GetTransfers()), c.inputs(), c.requests, err)
	}
	for n := 1; n <= c.requests; n++ {
		if !conns[fmt.Sprint("a/", n)] {
			c.t.Errorf("no connection a/%d", n)
		}
	}
	lab, err := c.d.Client().Labs.GetLab(ctx, &labv1.GetLabRequest{Lab: "pair"})
	if err != nil {
		c.t.Fatal(err)
	}
	dir := filepath.Join(c.m.dir, "worker", "labs", lab.GetLab().GetId())
	stop(c.t, c.d)
	difference, err := worker.Replay(ctx, dir, 0, filepath.Join(c.root, "again"))
	if err != nil || difference != nil {
		c.t.Errorf("an undisturbed replay: %v, %v", difference, err)
	}
}

// What is uploaded lies on the disk once, however many parts of a labd in one process need it.
func TestUploadLiesOnTheDiskOnce(t *testing.T) {
	dir := t.TempDir()
	d := start(t, Config{DataDir: dir})
	c := d.Client()
	apply(t, c, twoHosts("pair", labv1.Clock_CLOCK_VIRTUAL))
	file, _ := localFile(t, 100_000)
	if err := c.Upload(t.Context(), []*client.LocalFile{file}); err != nil {
		t.Fatal(err)
	}
	created, err := c.Transfers.CreateTransfer(t.Context(), &labv1.CreateTransferRequest{RequestId: client.RequestID(), Lab: "pair",
		Kind: &labv1.CreateTransferRequest_Transfer{Transfer: &labv1.Transfer{From: "a", To: "b", Content: &labv1.Transfer_File{File: file.Ref}}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := watchTransfer(t, c, "pair", created.GetId()); !got.GetMatch() {
		t.Fatalf("transfer: %v", got)
	}
	var copies []os.FileInfo
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Name() == file.Ref.GetSha256() {
			var info os.FileInfo
			info, err = e.Info()
			copies = append(copies, info)
		}
		return err
	})
	if err != nil || len(copies) != 3 { // the controller's, the worker's and the lab's names of it
		t.Fatalf("%d files, %v", len(copies), err)
	}
	for _, other := range copies[1:] {
		if !os.SameFile(copies[0], other) {
			t.Error("the content lies on the disk twice")
		}
	}
}
