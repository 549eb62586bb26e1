package worker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// fakeRegistry grants leases as a leader does, until it is told to fall silent.
type fakeRegistry struct {
	workerv1.UnimplementedRegistryServiceServer
	hellos  chan *workerv1.WorkerHello
	reports chan *workerv1.WorkerReport
	delay   time.Duration // between a report's coming and its answer

	mu     sync.Mutex // guards what is below
	refuse error
	lease  time.Duration // 0: it falls silent
}

func (r *fakeRegistry) set(refuse error, lease time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse, r.lease = refuse, lease
}

func (r *fakeRegistry) get() (lease time.Duration, refuse error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lease, r.refuse
}

func (r *fakeRegistry) Register(in grpc.BidiStreamingServer[workerv1.RegisterRequest, workerv1.RegisterResponse]) error {
	m, err := in.Recv()
	if err != nil {
		return err
	}
	r.hellos <- m.GetHello()
	if _, refuse := r.get(); refuse != nil {
		return refuse
	}
	if err := in.Send(&workerv1.RegisterResponse{Message: &workerv1.RegisterResponse_Welcome{
		Welcome: &workerv1.WorkerWelcome{ClusterId: "c", ReportEveryNs: int64(time.Second), Term: 5}}}); err != nil {
		return err
	}
	for {
		m, err := in.Recv()
		if err != nil {
			return nil
		}
		r.reports <- m.GetReport()
		time.Sleep(r.delay)
		if lease, _ := r.get(); lease > 0 {
			err := in.Send(&workerv1.RegisterResponse{Message: &workerv1.RegisterResponse_Grant{
				Grant: &workerv1.LeaseGrant{Sequence: m.GetReport().GetSequence(), LeaseNs: int64(lease)}}})
			if err != nil {
				return err
			}
		}
	}
}

// leased is a worker registered with a fake registry, in a bubble.
type leased struct {
	*Worker
	registry *fakeRegistry
	cluster  string
	ended    chan error
	stop     func()
}

func startLeased(t *testing.T, registry *fakeRegistry) *leased {
	t.Helper()
	w, err := New(Config{Root: t.TempDir(), Leased: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	registry.hellos, registry.reports = make(chan *workerv1.WorkerHello, 100), make(chan *workerv1.WorkerReport, 1000)
	pipe := bufconn.Listen(1 << 16)
	srv := grpc.NewServer()
	workerv1.RegisterRegistryServiceServer(srv, registry)
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(pipe)
	}()
	l := &leased{Worker: w, registry: registry, ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		l.ended <- w.Serve(ctx, Member{Hello: &workerv1.WorkerHello{Name: "w"},
			Joined: func(id string) error { l.cluster = id; return nil },
			Connect: func(context.Context) (workerv1.RegistryServiceClient, io.Closer, error) {
				conn, err := grpc.NewClient("passthrough:///registry", grpc.WithTransportCredentials(insecure.NewCredentials()),
					grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
				return workerv1.NewRegistryServiceClient(conn), conn, err
			}})
	}()
	l.stop = func() {
		cancel()
		if err := <-l.ended; err != nil {
			t.Errorf("serve: %v", err)
		}
		srv.Stop()
		<-served
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	return l
}

// A worker's lease counts from when its report went out, not from when the answer came, and ends by its own clock.
func TestLeaseCountsFromTheReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLeased(t, &fakeRegistry{lease: 10 * time.Second, delay: 900 * time.Millisecond})
		defer l.stop()
		if l.tenure.holds() {
			t.Fatal("it holds a lease before any was granted")
		}
		time.Sleep(950 * time.Millisecond)
		synctest.Wait()
		// The first report went out at 0, its answer came at 0.9 s.
		if left := l.tenure.left(); left != 9050*time.Millisecond {
			t.Fatalf("the lease lasts for another %v", left)
		}
		if l.cluster != "c" {
			t.Fatalf("it has joined %q", l.cluster)
		}
	})
}

// A worker that wakes so late that the grant of an old report comes before anybody has seen that the lease ran out stops its
// labs first: they may have been given away meanwhile.
func TestLateGrantFencesFirst(t *testing.T) {
	w, err := New(Config{Root: t.TempDir(), Leased: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	hosts := func() bool {
		_, err := w.lab("l")
		return err == nil
	}
	w.tenure.extend(time.Now().Add(time.Hour))
	if _, err := w.StartLab(t.Context(), standing("l", labv1.Clock_CLOCK_VIRTUAL)); err != nil {
		t.Fatal(err)
	}
	s := &membership{w: w, sent: map[uint64]time.Time{1: time.Now(), 2: time.Now()}}
	s.granted(&workerv1.LeaseGrant{Sequence: 1, LeaseNs: int64(2 * time.Hour)})
	if !hosts() || !w.tenure.holds() {
		t.Fatal("a grant in time has stopped the lab")
	}
	w.tenure.until.Store(int64(time.Since(w.tenure.begin))) // it runs out, and nobody watches it
	s.granted(&workerv1.LeaseGrant{Sequence: 2, LeaseNs: int64(time.Hour)})
	if hosts() || !w.tenure.holds() {
		t.Fatalf("after a late grant: hosts the lab: %v, holds a lease: %v", hosts(), w.tenure.holds())
	}
}

// When its lease runs out a worker drops its labs, though nobody tells it to, and takes none.
func TestLabsEndWithTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &fakeRegistry{lease: 10 * time.Second}
		l := startLeased(t, r)
		defer l.stop()
		time.Sleep(time.Second)
		synctest.Wait()
		spec := twoHosts()
		if _, err := l.StartLab(t.Context(), &workerv1.StartLabRequest{LabId: "x", Epoch: 1, Spec: spec, Mode: workerv1.Mode_MODE_STANDING}); err != nil {
			t.Fatal(err)
		}
		r.set(nil, 0) // the leader is cut off from here on
		held := func() int {
			synctest.Wait()
			resp, err := l.ListLabs(t.Context(), &workerv1.ListLabsRequest{})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, h := range resp.GetLabs() {
				if h.GetRunning() {
					n++
				}
			}
			return n
		}
		left := l.tenure.left()
		time.Sleep(left - time.Millisecond)
		if held() != 1 {
			t.Fatal("the lab ended before the lease")
		}
		time.Sleep(time.Millisecond)
		if held() != 0 {
			t.Fatal("the lab outlives the lease")
		}
		_, err := l.StartLab(t.Context(), &workerv1.StartLabRequest{LabId: "y", Epoch: 1, Spec: spec, Mode: workerv1.Mode_MODE_STANDING})
		if status.Code(err) != codes.Unavailable {
			t.Fatalf("a lab without a lease: %v", err)
		}
		r.set(nil, 10*time.Second)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !l.tenure.holds() {
			t.Fatal("it is not back")
		}
	})
}

// A worker that goes says so when its labs have stopped.
func TestFarewell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &fakeRegistry{lease: 10 * time.Second}
		l := startLeased(t, r)
		time.Sleep(time.Second)
		synctest.Wait()
		l.stop()
		var last *workerv1.WorkerReport
		for len(r.reports) > 0 {
			last = <-r.reports
		}
		if !last.GetLeaving() {
			t.Fatalf("the last report is %v", last)
		}
	})
}

// What no server will ever take ends the worker; what may pass is tried again, about once a second.
func TestRefusedRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &fakeRegistry{refuse: status.Error(codes.AlreadyExists, "another worker has the name")}
		l := startLeased(t, r)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(r.hellos); n < 10 || n > 20 {
			t.Fatalf("%d tries in 10 s", n)
		}
		r.set(status.Error(codes.FailedPrecondition, "of another cluster"), 0)
		err := <-l.ended
		if err == nil || err.Error() != "this worker cannot register: of another cluster" {
			t.Fatalf("ended with %v", err)
		}
		l.ended <- nil
		l.stop()
	})
}

// A lease does not end sooner because an older answer comes late.
func TestTenureNeverShrinks(t *testing.T) {
	n := newTenure(true)
	n.extend(n.begin.Add(time.Hour))
	n.extend(n.begin.Add(time.Minute))
	if n.left() < 50*time.Minute {
		t.Fatalf("it lasts for %v", n.left())
	}
	if free := newTenure(false); !free.holds() || free.left() < 1000*time.Hour {
		t.Fatal("a worker that needs no lease holds none")
	}
	w := &Worker{tenure: newTenure(true)}
	if err := w.checkTenure(); !errors.Is(err, errNoLease) {
		t.Fatalf("without a lease: %v", err)
	}
}

// A leader that leads no more, and does not know it, starts nothing at a worker that follows the next one: the lab may be another
// worker's by now.
func TestFormerLeaderStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLeased(t, &fakeRegistry{lease: 10 * time.Second})
		defer l.stop()
		time.Sleep(time.Second)
		start := func(id string, term uint64) error {
			_, err := l.StartLab(t.Context(), &workerv1.StartLabRequest{LabId: id, Epoch: 1, Term: term, Spec: path(), Mode: workerv1.Mode_MODE_STANDING})
			return err
		}
		if err := start("late", 4); status.Code(err) != codes.Aborted {
			t.Errorf("the leader of term 4 starts a lab beside that of term 5: %v", err)
		}
		for id, term := range map[string]uint64{"now": 5, "next": 6} {
			if err := start(id, term); err != nil {
				t.Error(err)
			}
		}
	})
}
