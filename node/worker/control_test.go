package worker

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

func (b *bench) control(req *workerv1.ControlClockRequest) (*workerv1.ControlClockResponse, error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	return b.ControlClock(ctx, req)
}

func (b *bench) mustControl(req *workerv1.ControlClockRequest) *workerv1.ControlClockResponse {
	b.t.Helper()
	r, err := b.control(req)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func pauseClock(id string) *workerv1.ControlClockRequest {
	return &workerv1.ControlClockRequest{LabId: id, Action: &workerv1.ControlClockRequest_Pause{Pause: &labv1.PauseClock{}}}
}

func resumeClock(id string) *workerv1.ControlClockRequest {
	return &workerv1.ControlClockRequest{LabId: id, Action: &workerv1.ControlClockRequest_Resume{Resume: &labv1.ResumeClock{}}}
}

func paceClock(id string, pace float64) *workerv1.ControlClockRequest {
	return &workerv1.ControlClockRequest{LabId: id, Action: &workerv1.ControlClockRequest_Pace{Pace: &labv1.PaceClock{Pace: pace}}}
}

func stepFor(id string, ns int64) *workerv1.ControlClockRequest {
	return &workerv1.ControlClockRequest{LabId: id, Action: &workerv1.ControlClockRequest_Step{
		Step: &labv1.StepClock{Size: &labv1.StepClock_ForNs{ForNs: ns}}}}
}

func stepEvents(id string, n uint64) *workerv1.ControlClockRequest {
	return &workerv1.ControlClockRequest{LabId: id, Action: &workerv1.ControlClockRequest_Step{
		Step: &labv1.StepClock{Size: &labv1.StepClock_Events{Events: n}}}}
}

// "`clock`, `pace`, `placement` and `capture` are not part of the lab's digest": a lab that is stopped, stepped and slowed
// down ends with the bytes of one that nobody has disturbed, on one loop and on two.
func TestClockControlChangesNothing(t *testing.T) {
	for _, loops := range []uint32{1, 2} {
		b := newBench(t)
		journal := journalOf(timed{0, transfer("t1", 300_000)}, timed{40 * ms, fault(down("r1--r2", 60*ms))}, timed{150 * ms, ping("p1")})
		request := func(id string, clock labv1.Clock) *workerv1.StartLabRequest {
			spec := path()
			spec.Clock, spec.Pace = clock, 0.001
			spec.Placement = &labv1.Placement{Loops: loops}
			return &workerv1.StartLabRequest{LabId: id, Spec: spec, Journal: journal, EndNs: 3000 * ms, Mode: workerv1.Mode_MODE_RUN, Capture: true}
		}
		_, undisturbed := b.run(request("undisturbed", labv1.Clock_CLOCK_VIRTUAL))

		l := b.start(request("disturbed", labv1.Clock_CLOCK_REAL))
		b.mustControl(pauseClock("disturbed"))
		before := b.get("disturbed").Progress
		if !before.Paused || before.NowNs > 1000*ms {
			t.Fatalf("paused: %v", before)
		}
		for range 40 {
			b.mustControl(stepEvents("disturbed", 7))
		}
		for range 20 {
			from := b.get("disturbed").Progress.NowNs
			r := b.mustControl(stepFor("disturbed", 5*ms))
			if r.Progress.NowNs != from+5*ms || !r.Progress.Paused {
				t.Fatalf("a step of 5 ms from %d led to %v", from, r.Progress)
			}
		}
		b.mustControl(paceClock("disturbed", 0.01))
		b.mustControl(resumeClock("disturbed"))
		b.mustControl(pauseClock("disturbed"))
		b.mustControl(stepFor("disturbed", 123_457))
		b.mustControl(paceClock("disturbed", 1e6))
		b.mustControl(resumeClock("disturbed"))
		b.wait(l)
		b.get("disturbed") // answered once the run directory is complete
		b.identical(undisturbed, labDir(b.root, "disturbed"))
	}
}

// While a lab is paused no lab time passes, and an input that it is given waits until the lab goes on.
func TestPausedLab(t *testing.T) {
	b := newBench(t)
	b.start(standing("l", labv1.Clock_CLOCK_REAL))
	b.mustControl(pauseClock("l"))
	at := b.get("l").Progress.NowNs
	e := b.input("l", transfer("t1", 10_000))
	if e.TNs != at || b.get("l").Progress.NowNs != at {
		t.Fatalf("paused at %d: an input at %d, then %v", at, e.TNs, b.get("l").Progress)
	}
	if s := b.get("l").Transfers[0].State; s != labv1.TransferState_TRANSFER_STATE_PENDING {
		t.Fatalf("the transfer of a paused lab is %v", s)
	}
	if r := b.mustControl(stepEvents("l", 1)); r.Events < 1 {
		t.Fatalf("a step of one event ran %d", r.Events)
	}
	b.mustControl(stepFor("l", 5000*ms))
	if tr := b.get("l").Transfers[0]; !tr.Match {
		t.Fatalf("after a step of 5 s the transfer is %v", tr)
	}
	b.mustControl(resumeClock("l"))
	if b.get("l").Progress.Paused {
		t.Fatal("resumed, and still paused")
	}
}

// A step whose answer was lost is asked for again under its id, and is taken once.
func TestStepIsTakenOnce(t *testing.T) {
	b := newBench(t)
	b.start(standing("l", labv1.Clock_CLOCK_VIRTUAL))
	req := stepFor("l", 10*ms)
	req.RequestId = "once"
	b.mustControl(req)
	if r := b.mustControl(req); r.Progress.NowNs != 10*ms {
		t.Fatalf("after the same step of 10 ms twice the lab is at %d ns", r.Progress.NowNs)
	}
}

// What the clock cannot do is refused with a reason.
func TestClockRefuses(t *testing.T) {
	b := newBench(t)
	b.start(standing("virtual", labv1.Clock_CLOCK_VIRTUAL))
	b.start(standing("real", labv1.Clock_CLOCK_REAL))
	for name, c := range map[string]struct {
		req  *workerv1.ControlClockRequest
		code codes.Code
	}{
		"pace of the virtual clock": {paceClock("virtual", 0.5), codes.FailedPrecondition},
		"no pace":                   {paceClock("real", 0), codes.InvalidArgument},
		"pace too high":             {paceClock("real", 1e7), codes.InvalidArgument},
		"step back":                 {stepFor("real", -1), codes.InvalidArgument},
		"endless step":              {stepFor("real", 1<<62), codes.InvalidArgument},
		"no events":                 {stepEvents("real", 0), codes.InvalidArgument},
		"nothing":                   {&workerv1.ControlClockRequest{LabId: "real"}, codes.InvalidArgument},
		"no lab":                    {pauseClock("nobody"), codes.NotFound},
		"another epoch":             {&workerv1.ControlClockRequest{LabId: "real", Epoch: 9}, codes.Aborted},
	} {
		if _, err := b.control(c.req); status.Code(err) != c.code {
			t.Errorf("%s: %v, want %v", name, err, c.code)
		}
	}
}

// A step that nobody waits for any more is broken off, and the next is taken.
func TestStepIsBrokenOff(t *testing.T) {
	b := newBench(t)
	l := b.start(standing("l", labv1.Clock_CLOCK_REAL))
	b.mustControl(pauseClock("l"))
	// A stamped input that nobody commits holds the lab, and with it the step.
	turn := b.turn()
	if _, err := b.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "l", Turn: turn, Input: ping("p1")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := b.ControlClock(ctx, stepFor("l", 10*ms))
		gone <- err
	}()
	for stepping := false; !stepping; {
		if err := l.do(t.Context(), func() error { stepping = l.control.step != nil; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.control(stepFor("l", ms)); status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("a second step beside the first: %v", err)
	}
	cancel()
	if err := <-gone; status.Code(err) != codes.Canceled {
		t.Fatalf("the step that was left: %v", err)
	}
	if _, err := b.AbandonInput(t.Context(), &workerv1.AbandonInputRequest{LabId: "l", Turn: turn}); err != nil {
		t.Fatal(err)
	}
	b.mustControl(stepFor("l", ms))
}
