package orchestrator

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"labd.dev/node/worker"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
)

// What a lab has come to on the workers of a proof, and on one of its own that nothing disturbs.

// outcome is all of a lab up to a time.
type outcome struct {
	now       int64
	trace     []byte
	transfers []*labv1.TransferStatus
}

// outcomeAt holds a lab's clock, and reads what it has come to.
func outcomeAt(w *worker.Worker, id string, epoch uint64) (outcome, error) {
	ctx := context.Background()
	if _, err := w.ControlClock(ctx, &workerv1.ControlClockRequest{LabId: id, Epoch: epoch, RequestId: "hold",
		Action: &workerv1.ControlClockRequest_Pause{Pause: &labv1.PauseClock{}}}); err != nil {
		return outcome{}, err
	}
	return outcomeOf(ctx, w, id)
}

func outcomeOf(ctx context.Context, w *worker.Worker, id string) (outcome, error) {
	lab, err := w.GetLab(ctx, &workerv1.GetLabRequest{LabId: id})
	if err != nil {
		return outcome{}, err
	}
	if lab.GetProgress().GetRecovering() {
		return outcome{}, errors.New("it is being rebuilt")
	}
	sink := &traceSink{ctx: ctx}
	err = w.ReadTrace(&workerv1.ReadTraceRequest{LabId: id}, sink)
	return outcome{lab.GetProgress().GetNowNs(), sink.trace, lab.GetTransfers()}, err
}

// undisturbed is what the lab of a journal comes to on a worker that nothing happens to.
func (c *bubble) undisturbed(spec *labv1.LabSpec, journal []*labv1.JournalEntry, to int64) (outcome, error) {
	w, err := worker.New(worker.Config{Root: c.diskless()})
	if err != nil {
		return outcome{}, err
	}
	defer w.Close()
	ctx := context.Background()
	spec = proto.CloneOf(spec)
	spec.Clock = labv1.Clock_CLOCK_VIRTUAL
	if _, err := w.StartLab(ctx, &workerv1.StartLabRequest{LabId: "again", Epoch: 1, Spec: spec, Mode: workerv1.Mode_MODE_STANDING,
		Journal: journal, ReplayToNs: to}); err != nil {
		return outcome{}, err
	}
	for {
		lab, err := w.GetLab(ctx, &workerv1.GetLabRequest{LabId: "again"})
		if err != nil {
			return outcome{}, err
		}
		if !lab.GetProgress().GetRecovering() {
			return outcomeOf(ctx, w, "again")
		}
		time.Sleep(time.Millisecond)
	}
}

// traceSink takes the records of a trace.
type traceSink struct {
	grpc.ServerStreamingServer[workerv1.ReadTraceResponse]
	ctx   context.Context
	trace []byte
}

func (s *traceSink) Context() context.Context { return s.ctx }

func (s *traceSink) Send(m *workerv1.ReadTraceResponse) error {
	s.trace = append(s.trace, m.GetRecords()...)
	return nil
}

// bubbleClock is the wall clock of labs in a bubble: the bubble's. The kernel, in which the system's waits, knows nothing of
// that.
type bubbleClock struct {
	began time.Time
	wake  chan struct{}
}

func newBubbleClock() sim.WallClock { return &bubbleClock{time.Now(), make(chan struct{}, 1)} }

func (c *bubbleClock) Now() time.Duration { return time.Since(c.began) }

func (c *bubbleClock) Sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.wake:
	}
}

func (c *bubbleClock) Interrupt() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *bubbleClock) Close() {}
