package orchestrator

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"labd.dev/internal/runbook"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// registered is a fake worker that has registered with a server, and sends its first report when asked to.
type registered struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[workerv1.RegisterRequest, workerv1.RegisterResponse]
	n      uint64
}

// fleetServer is a server without a worker of its own, before fake ones.
type fleetServer struct {
	*server
	registry workerv1.RegistryServiceClient

	mu      sync.Mutex // guards workers
	workers map[string]workerv1.WorkerServiceClient
}

func startFleetServer(t *testing.T) *fleetServer {
	t.Helper()
	f := &fleetServer{workers: make(map[string]workerv1.WorkerServiceClient)}
	open := func(conf Config) (*Controller, error) {
		conf.Worker, conf.WorkerName = nil, ""
		conf.DialWorker = func(address string) (workerv1.WorkerServiceClient, io.Closer, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if w := f.workers[address]; w != nil {
				return w, io.NopCloser(nil), nil
			}
			return nil, nil, errors.New("nobody is there")
		}
		return Open(conf)
	}
	f.server = serve(t, newFakeWorker(), open, "")
	pipe := bufconn.Listen(1 << 16)
	srv := grpc.NewServer()
	f.control.RegisterRegistry(srv)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(pipe) }()
	conn, err := grpc.NewClient("passthrough:///registry", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		srv.Stop()
		<-done
	})
	f.registry = workerv1.NewRegistryServiceClient(conn)
	return f
}

func hello(name string) *workerv1.WorkerHello {
	return &workerv1.WorkerHello{WorkerId: "id of " + name, Instance: "1", Name: name, Address: name + ":1", Protocol: WorkerProtocol}
}

// register lets a worker register.
func (f *fleetServer) register(h *workerv1.WorkerHello) (*registered, *workerv1.WorkerWelcome, error) {
	f.t.Helper()
	stream, err := f.registry.Register(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if err := stream.Send(&workerv1.RegisterRequest{Message: &workerv1.RegisterRequest_Hello{Hello: h}}); err != nil {
		f.t.Fatal(err)
	}
	m, err := stream.Recv()
	return &registered{t: f.t, stream: stream}, m.GetWelcome(), err
}

// join lets a fake worker register and report.
func (f *fleetServer) join(name string, w *fakeWorker) *registered {
	f.t.Helper()
	client := w.connect(f.t)
	f.mu.Lock()
	f.workers[name+":1"] = client
	f.mu.Unlock()
	r, _, err := f.register(hello(name))
	if err != nil {
		f.t.Fatal(err)
	}
	r.report(&workerv1.WorkerReport{})
	return r
}

// report sends a report and waits for the lease that answers it.
func (r *registered) report(m *workerv1.WorkerReport) {
	r.t.Helper()
	r.n++
	m.Sequence = r.n
	if err := r.stream.Send(&workerv1.RegisterRequest{Message: &workerv1.RegisterRequest_Report{Report: m}}); err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.stream.Recv()
	if g := resp.GetGrant(); err != nil || g.GetSequence() != r.n || g.GetLeaseNs() != int64(defaultLease) {
		r.t.Fatalf("answer to report %d: %v %v", r.n, resp, err)
	}
}

// A lab for which a worker has no room, because its disk is full, goes to another one; where all are full it is refused
// with the reason.
func TestWorkerWhoseDiskIsFull(t *testing.T) {
	f := startFleetServer(t)
	full, err := status.New(codes.ResourceExhausted, "write events.bin: no space left on device").WithDetails(
		&errdetails.ErrorInfo{Reason: "WORKER_FULL", Domain: errorDomain})
	if err != nil {
		t.Fatal(err)
	}
	a, b := newFakeWorker(), newFakeWorker()
	a.refuse = full.Err()
	f.join("a", a)
	f.join("b", b)
	for _, name := range []string{"x", "y"} { // the first may go to either
		if lab := f.create(name); lab.GetWorker() != "b" || lab.GetState() != labv1.LabState_LAB_STATE_RUNNING {
			t.Fatalf("lab %v", lab)
		}
	}
	b.mu.Lock()
	b.refuse = full.Err()
	b.mu.Unlock()
	f.control.leading().fleet.mu.Lock()
	for _, s := range f.control.leading().fleet.sites {
		s.full = s.full.Add(-2 * fullFor) // they are asked again
	}
	f.control.leading().fleet.mu.Unlock()
	_, err = f.labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: "r", Spec: testSpec("z")})
	wantReason(t, err, codes.ResourceExhausted, "WORKER_FULL")

	// A worker that says that its disk is nearly full is not asked at all.
	f = startFleetServer(t)
	f.join("a", newFakeWorker()).report(&workerv1.WorkerReport{DiskFreeBytes: leastDisk - 1})
	_, err = f.labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: "r", Spec: testSpec("z")})
	wantReason(t, err, codes.Unavailable, "NO_WORKER")
}

// Hellos that no server takes, each with its reason.
func TestBadHellos(t *testing.T) {
	f := startFleetServer(t)
	f.join("a", newFakeWorker())
	for _, c := range []struct {
		name   string
		change func(*workerv1.WorkerHello)
		code   codes.Code
		reason string
	}{
		{"another version", func(h *workerv1.WorkerHello) { h.Protocol = 99 }, codes.FailedPrecondition, "OTHER_VERSION"},
		{"another cluster", func(h *workerv1.WorkerHello) { h.ClusterId = "other" }, codes.FailedPrecondition, "OTHER_CLUSTER"},
		{"no name", func(h *workerv1.WorkerHello) { h.Name = "" }, codes.InvalidArgument, "INVALID"},
		{"no id", func(h *workerv1.WorkerHello) { h.WorkerId = "" }, codes.InvalidArgument, "INVALID"},
		{"no instance", func(h *workerv1.WorkerHello) { h.Instance = "" }, codes.InvalidArgument, "INVALID"},
		{"no address", func(h *workerv1.WorkerHello) { h.Address = "" }, codes.InvalidArgument, "INVALID"},
		{"a name in use", func(h *workerv1.WorkerHello) { h.Name = "a" }, codes.AlreadyExists, "WORKER_NAME_IN_USE"},
		{"an id in use", func(h *workerv1.WorkerHello) { h.WorkerId = "id of a" }, codes.AlreadyExists, "WORKER_ID_IN_USE"},
		{"a second process", func(h *workerv1.WorkerHello) { h.Name, h.WorkerId, h.Instance = "a", "id of a", "2" }, codes.AlreadyExists, "WORKER_ID_IN_USE"},
	} {
		h := hello("b")
		c.change(h)
		_, _, err := f.register(h)
		if status.Code(err) == codes.OK {
			t.Errorf("%s: it is let in", c.name)
			continue
		}
		wantReason(t, err, c.code, c.reason)
	}
	stream, err := f.registry.Register(t.Context())
	if err == nil {
		err = stream.Send(&workerv1.RegisterRequest{Message: &workerv1.RegisterRequest_Report{}})
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv() // a report before the hello
	wantReason(t, err, codes.InvalidArgument, "INVALID")
	f.mu.Lock()
	f.workers["b:1"] = newFakeWorker().connect(t)
	f.mu.Unlock()
	if _, welcome, err := f.register(hello("b")); err != nil || welcome.GetClusterId() != f.control.clusterID() {
		t.Errorf("a good one: %v %v", welcome, err)
	}
}

// What a worker reports of its labs' time is committed in one entry, for the labs that it hosts under their epoch.
func TestReachedIsCommitted(t *testing.T) {
	f := startFleetServer(t)
	a := f.join("a", newFakeWorker())
	lab := f.create("x")
	l := f.control.leading()
	a.report(&workerv1.WorkerReport{Labs: []*workerv1.LabReport{{LabId: lab.GetId(), Epoch: 1, ReachedNs: 500}, {LabId: "gone", Epoch: 1, ReachedNs: 7}}})
	if err := l.commitReached(l.fleet.reached(f.control.store.view())); err != nil {
		t.Fatal(err)
	}
	a.report(&workerv1.WorkerReport{Labs: []*workerv1.LabReport{{LabId: lab.GetId(), Epoch: 2, ReachedNs: 900}}})
	if marks := l.fleet.reached(f.control.store.view()); marks != nil {
		t.Fatalf("of another epoch: %v", marks)
	}
	if got := f.control.store.view().lab(lab.GetId()).GetReachedNs(); got != 500 {
		t.Fatalf("reached %d", got)
	}
}

// A lab that shall be split and cannot be is refused with the links that hold it together.
func TestSplitThatNoCutAllows(t *testing.T) {
	f := startFleetServer(t)
	f.join("a", newFakeWorker())
	f.join("b", newFakeWorker())
	spec := testSpec("x")
	spec.Links[0].Forward = nil // no delay
	spec.Placement = &labv1.Placement{Workers: 2}
	_, err := f.labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: "r", Spec: spec})
	wantReason(t, err, codes.InvalidArgument, "INVALID")
	wantText(t, err, "cannot be split over 2 workers")
	wantText(t, err, "a--b (no delay)")
	runbook.Says(t, "a lab cannot be split as it asks", err.Error())
}
