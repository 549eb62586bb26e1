package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	workerv1 "labd.dev/proto/worker/v1"
)

const (
	// Protocol is the version of the registration and of the service that this worker speaks.
	Protocol = 1
	// redialPause is the first wait between two tries to register, each at the next server. While there is no leader the
	// wait is at most seekPause, so that a new one is found right after its election; else it grows to maxRedialPause.
	redialPause    = 50 * time.Millisecond
	seekPause      = 100 * time.Millisecond
	maxRedialPause = time.Second
	// maxReasonsTold bounds the reasons that are logged while a worker finds no server: more are words that change each time.
	maxReasonsTold = 16
	// firstGrant bounds the wait for the first lease.
	firstGrant = 5 * time.Second
	// farewell bounds the wait for the leader to hear that the worker goes.
	farewell = 2 * time.Second
)

// Member says as who a worker registers.
type Member struct {
	Hello *workerv1.WorkerHello // all but the protocol's version
	// Joined keeps the id of the cluster that has let the worker in.
	Joined func(clusterID string) error
	// Connect makes the way to a server that may lead; it is called anew for each try, to try another one. The closer
	// ends it.
	Connect func(ctx context.Context) (workerv1.RegistryServiceClient, io.Closer, error)
}

// Serve keeps a leased worker registered until ctx ends, and lets go of its labs then. It returns an error when no server
// will ever take the worker as it is.
func (w *Worker) Serve(ctx context.Context, m Member) error {
	quit := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		w.watchTenure(quit)
	}()
	defer func() {
		close(quit)
		<-watched
	}()
	m.Hello.Protocol = Protocol
	pause, told := redialPause, map[string]bool{}
	for ctx.Err() == nil {
		began := time.Now()
		err := w.member(ctx, m)
		if ctx.Err() != nil {
			break
		}
		if final(err) {
			w.fence()
			return fmt.Errorf("this worker cannot register: %s", status.Convert(err).Message())
		}
		if time.Since(began) > maxRedialPause {
			pause = redialPause
			clear(told)
		}
		// One line for each reason: the servers are asked in turn, several times a second.
		if text := fmt.Sprint(err); !told[text] && len(told) < maxReasonsTold {
			told[text] = true
			w.log.Warn("not registered; trying again", "error", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		pause = min(2*pause, maxRedialPause)
		if status.Code(err) == codes.Unavailable {
			pause = min(pause, seekPause)
		}
	}
	w.fence()
	return nil
}

// final tells whether trying again is of no use.
func final(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.Unimplemented, codes.Unauthenticated, codes.PermissionDenied:
		return true
	}
	return false
}

// membership is one registration, for as long as its stream lasts.
type membership struct {
	w      *Worker
	stream interface {
		Send(*workerv1.RegisterRequest) error
		CloseSend() error
	}
	every  time.Duration
	report reporter
	sent   map[uint64]time.Time // when the reports went out that are not answered yet
	grants chan *workerv1.LeaseGrant
	broken chan error // why the stream has ended
}

// member registers once and reports until the stream breaks.
func (w *Worker) member(ctx context.Context, m Member) error {
	client, closer, err := m.Connect(ctx)
	if err != nil {
		return err
	}
	defer closer.Close()
	// The stream outlives ctx for the farewell.
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(farewell, cancel) })
	defer stop()
	stream, err := client.Register(streamCtx)
	if err != nil {
		return err
	}
	if err := stream.Send(&workerv1.RegisterRequest{Message: &workerv1.RegisterRequest_Hello{Hello: m.Hello}}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	welcome := first.GetWelcome()
	if m.Hello.GetClusterId() == "" {
		if err := m.Joined(welcome.GetClusterId()); err != nil {
			return fmt.Errorf("keep the cluster's id: %w", err)
		}
		m.Hello.ClusterId = welcome.GetClusterId()
	}
	w.follow(welcome.GetTerm())
	s := &membership{w: w, stream: stream, every: max(time.Duration(welcome.GetReportEveryNs()), time.Millisecond), sent: map[uint64]time.Time{},
		grants: make(chan *workerv1.LeaseGrant), broken: make(chan error, 1)}
	go func() {
		for {
			in, err := stream.Recv()
			if err != nil {
				s.broken <- err
				return
			}
			select {
			case s.grants <- in.GetGrant():
			case <-streamCtx.Done():
				return
			}
		}
	}()
	w.log.Info("registered", "worker", m.Hello.GetName(), "cluster", welcome.GetClusterId())
	return s.run(ctx)
}

// run reports until the stream breaks, is silent for too long, or the worker goes.
func (s *membership) run(ctx context.Context) error {
	if err := s.send(s.w.report(&s.report)); err != nil {
		return s.why(err)
	}
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	silence := time.NewTimer(firstGrant)
	defer silence.Stop()
	for {
		select {
		case <-tick.C:
			if err := s.send(s.w.report(&s.report)); err != nil {
				return s.why(err)
			}
		case g := <-s.grants:
			s.granted(g)
			// Half of the lease is left to find the leader anew.
			silence.Reset(time.Duration(g.GetLeaseNs()) / 2)
		case <-silence.C:
			return status.Error(codes.Unavailable, "the server does not answer reports")
		case err := <-s.broken:
			return err
		case <-ctx.Done():
			return s.leave()
		}
	}
}

// why is why the stream broke: Send itself only says that it did.
func (s *membership) why(err error) error {
	if errors.Is(err, io.EOF) {
		return <-s.broken
	}
	return err
}

func (s *membership) send(r *workerv1.WorkerReport) error {
	s.sent[r.GetSequence()] = time.Now()
	return s.stream.Send(&workerv1.RegisterRequest{Message: &workerv1.RegisterRequest_Report{Report: r}})
}

// granted lets the worker go on. The lease counts from when the report went out that it answers: the server counts from
// when it came.
func (s *membership) granted(g *workerv1.LeaseGrant) {
	at, known := s.sent[g.GetSequence()]
	if !known {
		return
	}
	for n := range s.sent {
		if n <= g.GetSequence() {
			delete(s.sent, n)
		}
	}
	if !s.w.tenure.holds() {
		s.w.fence() // before the lease is renewed: the labs may have been given away, and who watches it may be late
	}
	s.w.tenure.extend(at.Add(time.Duration(g.GetLeaseNs())))
}

// leave stops the labs and tells so, so that they go elsewhere at once.
func (s *membership) leave() error {
	r := s.w.report(&s.report) // how far they are
	s.w.fence()
	r.Leaving = true
	if err := s.send(r); err != nil {
		return s.why(err)
	}
	last := r.GetSequence()
	for {
		select {
		case g := <-s.grants:
			if g.GetSequence() == last {
				return s.stream.CloseSend()
			}
		case err := <-s.broken:
			return err
		}
	}
}
