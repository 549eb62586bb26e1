package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"labd.dev/internal/runbook"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

func bounds(owner string, perS uint64) *workerv1.OwnerBounds {
	return &workerv1.OwnerBounds{Owner: owner, EventsPerS: perS}
}

// What is run beyond the bound is made up for by waiting, of what was not used a tenth of a second's worth is kept, and a later
// leader's word goes before an earlier one's.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newRates()
		r := all.rate("bob")
		wait := func(want time.Duration) {
			t.Helper()
			if d := r.wait(); d != want {
				t.Errorf("wait %v, want %v", d, want)
			}
		}
		r.ran(1e9)
		wait(0)
		all.setAll(2, []*workerv1.OwnerBounds{bounds("bob", 1000)})
		time.Sleep(time.Hour)
		r.ran(100)
		wait(0)
		r.ran(1000)
		wait(time.Second)
		time.Sleep(400 * time.Millisecond)
		wait(600 * time.Millisecond)
		all.setAll(3, []*workerv1.OwnerBounds{bounds("bob", 2000), bounds("eve", 1)})
		wait(300 * time.Millisecond)
		all.setAll(2, []*workerv1.OwnerBounds{bounds("bob", 1)})
		wait(300 * time.Millisecond)
		all.set(bounds("bob", 6000))
		wait(100 * time.Millisecond)
		if all.rate("bob") != r || all.rate("eve") == r || all.rate("") != nil {
			t.Error("each person has one rate, and nobody in particular has none")
		}
		all.setAll(3, nil)
		wait(0)
		left := uint64(10)
		all.setAll(3, []*workerv1.OwnerBounds{{Owner: "bob", TraceBytesLeft: &left}})
		r.recorded(9)
		if r.full() {
			t.Error("there is room for one more byte")
		}
		r.recorded(9)
		if !r.full() || all.rate("eve").full() {
			t.Error("bob has no more room, and eve's is not bounded")
		}
		all.setAll(3, nil)
		if r.full() {
			t.Error("nobody is bounded any more")
		}
		r = nil
		r.recorded(1)
		r.ran(1)
		wait(0)
	})
}

func ofOwner(req *workerv1.StartLabRequest, owner string) *workerv1.StartLabRequest {
	req.Owner = owner
	return req
}

// A person's runs together run no more events in a second of wall time than the person may, and what they come to is the same
// to the byte. Others are not held back.
func TestEventRateChangesNothing(t *testing.T) {
	b := newBench(t)
	const perS = 10_000
	request := func(id, owner string) *workerv1.StartLabRequest {
		return ofOwner(&workerv1.StartLabRequest{LabId: id, Epoch: 1, Spec: path(), Capture: true, Mode: workerv1.Mode_MODE_RUN,
			Journal: journalOf(timed{0, transfer("t1", 300_000)})}, owner)
	}
	began := time.Now()
	first := request("first", "bob")
	first.Bounds = bounds("bob", perS)
	one, two, free := b.start(first), b.start(request("second", "bob")), b.start(request("free", "eve"))
	b.wait(one)
	b.wait(two)
	took := time.Since(began)
	b.wait(free)
	events := b.get("first").Progress.GetEvents() + b.get("second").Progress.GetEvents()
	// The last window of each may be ahead of its time.
	if least := time.Duration((float64(events)/perS - 0.5) * float64(time.Second)); took < least {
		t.Errorf("%d events in %v, at %d a second: %v at the least", events, took, perS, least)
	}
	b.get("free")
	if free.back.at != 0 {
		t.Errorf("eve's was held back")
	}
	for _, id := range []string{"first", "second"} {
		b.identical(labDir(b.root, id), labDir(b.root, "free"))
	}
}

// A lab on the real clock that would run more falls behind, and says why; when the bound is raised it goes on.
func TestHeldBackOnTheRealClock(t *testing.T) {
	b := newBench(t)
	req := ofOwner(standing("l", labv1.Clock_CLOCK_REAL), "bob")
	req.Bounds = bounds("bob", 100)
	b.start(req)
	b.input("l", flood())
	p := b.until("l", "it is held back", func(r *workerv1.GetLabResponse) bool {
		return r.Progress.GetHeld() != "" && r.Progress.GetLagNs() > 0
	}).Progress
	runbook.Says(t, "a lab is held back", p.GetHeld())
	before := p.GetEvents()
	if _, err := b.SetBounds(t.Context(), &workerv1.SetBoundsRequest{Term: 1}); err != nil {
		t.Fatal(err)
	}
	b.until("l", "it goes on", func(r *workerv1.GetLabResponse) bool {
		return r.Progress.GetHeld() == "" && r.Progress.GetEvents() > before+1000
	})
}

// A step of a paused lab is held back as well, and comes to its end.
func TestHeldBackInAStep(t *testing.T) {
	b := newBench(t)
	b.start(ofOwner(standing("l", labv1.Clock_CLOCK_REAL), "bob"))
	control := func(req *workerv1.ControlClockRequest) *workerv1.ControlClockResponse {
		t.Helper()
		req.LabId = "l"
		r, err := b.ControlClock(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	control(&workerv1.ControlClockRequest{Action: &workerv1.ControlClockRequest_Pause{Pause: &labv1.PauseClock{}}})
	b.input("l", transfer("", 1_000_000))
	if _, err := b.SetBounds(t.Context(), &workerv1.SetBoundsRequest{Owners: []*workerv1.OwnerBounds{bounds("bob", 1000)}}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r := control(&workerv1.ControlClockRequest{RequestId: "s", Action: &workerv1.ControlClockRequest_Step{
		Step: &labv1.StepClock{Size: &labv1.StepClock_Events{Events: 300}}}})
	if r.GetEvents() < 300 || time.Since(began) < 100*time.Millisecond {
		t.Errorf("%d events in %v", r.GetEvents(), time.Since(began))
	}
}
