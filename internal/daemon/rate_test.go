package daemon

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"labd.dev/client"
	"labd.dev/internal/auth"
	"labd.dev/internal/runbook"
	"labd.dev/orchestrator"
	labv1 "labd.dev/proto/lab/v1"
)

// A person makes so many calls at once and so many a second, and no more; nobody else is held up by that, nor are those who
// are not asked who they are.
func TestRates(t *testing.T) {
	now := time.Unix(1e9, 0)
	r := newRates(func() time.Time { return now })
	ann := auth.Caller{Person: "ann", From: "192.0.2.1"}
	take := func(n int) (in int) {
		for range n {
			if r.take(ann) == nil {
				in++
			}
		}
		return in
	}
	if in := take(3 * callsAtOnce); in != callsAtOnce {
		t.Errorf("%d calls at once were taken, want %d", in, callsAtOnce)
	}
	var refused *orchestrator.Refusal
	if err := r.take(ann); !errors.As(err, &refused) || refused.RetryAfter != time.Second/callsPerSecond {
		t.Fatalf("one more: %v", err)
	}
	wantRetry(t, refused, time.Second/callsPerSecond)
	if err := r.take(auth.Caller{Person: "bob", From: ann.From}); err != nil {
		t.Errorf("another from the same address: %v", err)
	}
	now = now.Add(refused.RetryAfter)
	if in := take(3); in != 1 {
		t.Errorf("after the wait that was told %d were taken, want 1", in)
	}
	now = now.Add(time.Second)
	if in := take(3 * callsPerSecond); in != callsPerSecond {
		t.Errorf("a second later %d were taken, want %d", in, callsPerSecond)
	}
	for range 3 * callsAtOnce {
		for _, from := range []string{"", "127.0.0.1", "::1"} {
			if err := errors.Join(r.take(auth.Anybody(from, "x")), r.takeAnyone(from)); err != nil {
				t.Fatalf("on the machine itself: %v", err)
			}
		}
	}
}

// wantRetry holds a refusal to what a caller is told of it: RESOURCE_EXHAUSTED, and when to try again.
func wantRetry(t *testing.T, refused *orchestrator.Refusal, want time.Duration) {
	t.Helper()
	s := status.Convert(refused.Status())
	for _, d := range s.Details() {
		if d, ok := d.(*errdetails.RetryInfo); ok && s.Code() == codes.ResourceExhausted && d.RetryDelay.AsDuration() == want {
			return
		}
	}
	t.Errorf("the caller is told %v with %v", s.Code(), s.Details())
}

// Where a call asks for nothing, its address counts; an IPv6 host has a /64 of them.
func TestRatesOfAnyone(t *testing.T) {
	r := newRates(func() time.Time { return time.Unix(1e9, 0) })
	in := 0
	for i := range 2 * callsAtOnce {
		if r.takeAnyone(fmt.Sprintf("2001:db8::%x", i)) == nil {
			in++
		}
	}
	if in != callsAtOnce {
		t.Errorf("%d were taken of one /64, want %d", in, callsAtOnce)
	}
	if err := r.takeAnyone("2001:db8:1::1"); err != nil {
		t.Errorf("another /64: %v", err)
	}
}

// What is remembered is bounded, and who calls is not forgotten for others who come by.
func TestRatesAreBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	var b buckets[string]
	for range callsAtOnce {
		b.take("busy", now)
	}
	for i := range 2 * maxRated {
		b.take(fmt.Sprint(i), now)
		if i%1000 == 0 && b.take("busy", now) == 0 {
			t.Fatalf("after %d others it may call as if anew", i)
		}
	}
	if len(b.of) != maxRated || b.order.Len() != maxRated {
		t.Errorf("%d and %d are remembered, want %d", len(b.of), b.order.Len(), maxRated)
	}
}

// Through the gate: a student's flood of calls is refused as the protocol says it, and others are answered meanwhile.
func TestFloodOfCalls(t *testing.T) {
	s := newSchool(t)
	ann, bob := s.enrol("ann", auth.Student), s.enrol("bob", auth.Student)
	ask := func(c *client.Client) error {
		_, err := c.Labs.ListLabs(t.Context(), &labv1.ListLabsRequest{})
		return err
	}
	if err := ask(ann); err != nil {
		t.Fatal(err)
	}
	// Ann's calls of a time to come: until then nothing is added, however long this test takes.
	for later := time.Now().Add(time.Hour); s.d.rates.people.take("ann", later) == 0; {
	}
	err := ask(ann)
	wantReason(t, "a call too many", err, labv1.ErrorReason_ERROR_REASON_TOO_MANY_CALLS)
	runbook.Says(t, "somebody calls too often", err.Error())
	if err := ask(bob); err != nil {
		t.Errorf("another person: %v", err)
	}
}
