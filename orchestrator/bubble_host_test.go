package orchestrator

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"labd.dev/node/worker"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// bubbleWorker is one worker of a proof.
type bubbleWorker interface {
	address() string
	kill()
	dead() bool
	stop() // SIGSTOP
	resume()
	hosts() bool // whether it has a lab
	// holdsLab complains unless the worker runs the lab as its journal says. It gives the lab's trace, if there is one.
	holdsLab(lab *controlv1.LabState, journal []*labv1.JournalEntry) []byte
}

// startWorker starts a worker's process, if there is none.
func (c *bubble) startWorker(name string) {
	if w := c.workers[name]; w != nil && !w.dead() {
		return
	}
	c.instances++
	if c.real {
		c.workers[name] = c.newHost(name)
	} else {
		c.workers[name] = c.newModel(name)
	}
}

// hostWorker is a worker of a proof that is one: node/worker, with stacks and links, on the bubble's clock. Its labs run in
// real time, so that faults come while transfers are under way.
type hostWorker struct {
	*worker.Worker
	c        *bubble
	name     string
	instance string
	root     string

	ctx    context.Context // ends when the process is killed
	cancel context.CancelFunc
	all    sync.WaitGroup
	server *grpc.Server

	mu    sync.Mutex // guards what is below
	until time.Time  // its right to run labs, as it knows it
	labs  map[string]bool
	awake chan struct{} // closed while the process is not stopped
}

func (c *bubble) newHost(name string) *hostWorker {
	w := &hostWorker{c: c, name: name, instance: fmt.Sprint(c.instances), root: c.diskless(), labs: make(map[string]bool), awake: make(chan struct{})}
	close(w.awake)
	w.ctx, w.cancel = context.WithCancel(context.Background())
	var err error
	w.Worker, err = worker.New(worker.Config{Root: w.root, Leased: true, WallClock: newBubbleClock, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.t.Fatal(err)
	}
	pipe := bufconn.Listen(1 << 16)
	w.server = grpc.NewServer(grpc.UnaryInterceptor(w.unary), grpc.StreamInterceptor(w.stream))
	workerv1.RegisterWorkerServiceServer(w.server, w.Worker)
	w.all.Go(func() { w.server.Serve(pipe) })
	c.ways.set(w.address(), &end{accept: func(ctx context.Context) (net.Conn, error) { return pipe.DialContext(ctx) }})
	w.all.Go(w.serve)
	return w
}

// diskless is a directory in memory, where there is one: in the bubble's time a worker syncs its marks thousands of times.
func (c *bubble) diskless() string {
	dir, err := os.MkdirTemp("/dev/shm", "labd-bubble-")
	if err != nil {
		return c.t.TempDir()
	}
	c.t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (w *hostWorker) address() string { return w.name + ":1" }

func (w *hostWorker) dead() bool { return w.ctx.Err() != nil }

func (w *hostWorker) hosts() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.labs) > 0
}

// serve keeps the worker registered, at whatever server leads.
func (w *hostWorker) serve() {
	hello := hello(w.name)
	hello.Instance, hello.Address = w.instance, w.address()
	servers := w.c.addresses()
	next := rand.IntN(len(servers))
	err := w.Serve(w.ctx, worker.Member{Hello: hello, Joined: func(string) error { return nil },
		Connect: func(context.Context) (workerv1.RegistryServiceClient, io.Closer, error) {
			next++
			conn, err := w.c.grpc(w.address(), servers[next%len(servers)], grpc.WithStreamInterceptor(w.registration))
			return workerv1.NewRegistryServiceClient(conn), conn, err
		}})
	if err != nil {
		w.c.complain("worker %s: %v", w.name, err)
	}
}

// kill ends the process; what is on its disk is found by nobody.
func (w *hostWorker) kill() {
	w.resume()
	w.c.ways.set(w.address(), nil)
	w.cancel()
	w.server.Stop()
	w.all.Wait()
	if err := w.Close(); err != nil {
		w.c.complain("worker %s: %v", w.name, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.labs {
		w.c.runs.ends(id, w.name)
	}
	clear(w.labs)
}

// stop is as much of SIGSTOP as others can see: nothing comes from the worker, and nothing gets to it. What it computes
// meanwhile it must throw away when its lease has run out.
func (w *hostWorker) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.awake:
		w.awake = make(chan struct{})
	default:
	}
}

func (w *hostWorker) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.awake:
	default:
		close(w.awake)
	}
}

// breathe waits while the process is stopped.
func (w *hostWorker) breathe() {
	w.mu.Lock()
	awake := w.awake
	w.mu.Unlock()
	select {
	case <-awake:
	case <-w.ctx.Done():
	}
}

// unary notes which labs run here, and what takes effect.
func (w *hostWorker) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	w.breathe()
	if w.c.losses.loses(info.FullMethod, false) {
		return nil, errLost
	}
	resp, err := handle(ctx, req)
	switch r := req.(type) {
	case *workerv1.StartLabRequest:
		if err == nil {
			w.started(r)
		}
	case *workerv1.StopLabRequest:
		if err == nil {
			w.stopped(r.GetLabId())
		}
	case *workerv1.CommitInputRequest:
		if err == nil {
			w.c.runs.applied(r.GetLabId(), r.GetEntry())
		}
	}
	w.breathe()
	if w.c.losses.loses(info.FullMethod, true) {
		return nil, errLost
	}
	return resp, err
}

func (w *hostWorker) stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	w.breathe()
	return handle(srv, ss)
}

func (w *hostWorker) started(r *workerv1.StartLabRequest) {
	w.mu.Lock()
	w.labs[r.GetLabId()] = true
	until := w.until
	w.mu.Unlock()
	w.c.runs.holds(r.GetLabId(), w.name, until)
	w.c.runs.began(r)
	if r.GetEpoch() > 1 {
		w.c.saw("a lab has moved to another worker")
	}
}

func (w *hostWorker) stopped(id string) {
	w.mu.Lock()
	delete(w.labs, id)
	w.mu.Unlock()
	w.c.runs.ends(id, w.name)
}

// registration listens to what the worker reports and is granted.
func (w *hostWorker) registration(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := streamer(ctx, desc, cc, method, opts...)
	return &heardStream{ClientStream: s, w: w, sent: make(map[uint64]time.Time)}, err
}

type heardStream struct {
	grpc.ClientStream
	w *hostWorker

	mu   sync.Mutex // guards sent
	sent map[uint64]time.Time
}

func (s *heardStream) SendMsg(m any) error {
	s.w.breathe()
	if r := m.(*workerv1.RegisterRequest).GetReport(); r != nil {
		s.mu.Lock()
		s.sent[r.GetSequence()] = time.Now()
		s.mu.Unlock()
	}
	return s.ClientStream.SendMsg(m)
}

func (s *heardStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	s.w.breathe()
	if g := m.(*workerv1.RegisterResponse).GetGrant(); g != nil && err == nil {
		if s.w.c.how == leaseTooLong {
			g.LeaseNs *= 2
		}
		s.mu.Lock()
		at := s.sent[g.GetSequence()]
		delete(s.sent, g.GetSequence())
		s.mu.Unlock()
		s.w.granted(at.Add(time.Duration(g.GetLeaseNs())))
	}
	return err
}

// granted notes until when the worker will take itself to have the right to run its labs.
func (w *hostWorker) granted(until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Now().After(w.until) {
		clear(w.labs) // it has stopped them all
	}
	if until.After(w.until) {
		w.until = until
	}
	for id := range w.labs {
		w.c.runs.holds(id, w.name, w.until)
	}
}

// holdsLab compares what the lab has come to with an undisturbed replay of its journal.
func (w *hostWorker) holdsLab(lab *controlv1.LabState, journal []*labv1.JournalEntry) []byte {
	got, err := outcomeAt(w.Worker, lab.GetId(), lab.GetEpoch())
	if err != nil {
		w.c.complain("lab %s at %s under epoch %d: %v", lab.GetId(), w.name, lab.GetEpoch(), err)
		return nil
	}
	want, err := w.c.undisturbed(lab.GetSpec(), journal, got.now)
	if err != nil {
		w.c.complain("a replay of lab %s: %v", lab.GetId(), err)
		return nil
	}
	if !bytes.Equal(got.trace, want.trace) || got.now != want.now {
		w.c.complain("lab %s under epoch %d: its trace of %d bytes up to %d is not that of an undisturbed replay, of %d bytes up to %d",
			lab.GetId(), lab.GetEpoch(), len(got.trace), got.now, len(want.trace), want.now)
	}
	if !slices.EqualFunc(got.transfers, want.transfers, func(a, b *labv1.TransferStatus) bool { return proto.Equal(a, b) }) {
		w.c.complain("lab %s under epoch %d: its transfers are %v, those of an undisturbed replay %v", lab.GetId(), lab.GetEpoch(), got.transfers, want.transfers)
	}
	if lab.GetEpoch() > 1 {
		w.c.saw("the trace of a lab that has moved is that of a replay")
	}
	return got.trace
}
