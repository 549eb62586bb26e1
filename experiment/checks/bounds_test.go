package checks

import (
	"strings"
	"testing"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// Whatever a run holds, a judge keeps a bounded part of it, and takes a bounded number of steps.
func TestBounds(t *testing.T) {
	sent := &labv1.EventSelector{Event: "tcp:segment_sent"}
	j, err := New([]*labv1.Check{
		{Id: "pending", Verb: &labv1.Check_EventuallyWithin{EventuallyWithin: &labv1.EventuallyWithin{
			After: sent, Then: &labv1.EventSelector{Event: "link:dropped"}, WithinNs: 1e9}}},
		{Id: "steps", Verb: &labv1.Check_Exists{Exists: &labv1.EventSelector{Event: "tcp:segment_sent", Where: "len < 0"}}},
		{Id: "calm", Verb: &labv1.Check_Never{Never: &labv1.EventSelector{Event: "link:dropped"}}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	j.budget.steps = maxTotalSteps - 5*maxPending // of the predicate of "steps" there is room for as many events
	for i := range int64(3 * maxPending) {
		j.Event(&trace.Event{TNs: i, Name: "tcp:segment_sent", Data: []trace.Field{{Name: "len", Value: uint64(5)}}})
	}
	for i, want := range []string{
		"more than 10000 events wait for what must follow them",
		"the checks together took more than 200000000 steps",
		"0, wanted just 0",
	} {
		r := j.Results()[i]
		if !strings.HasPrefix(r.Got, want) || r.OK != (i == 2) {
			t.Errorf("%v, %q, want %q", r.OK, r.Got, want)
		}
	}
}

// An expression takes a bounded number of steps, whatever it is.
func TestOnePredicateIsBounded(t *testing.T) {
	j, err := New([]*labv1.Check{{Id: "c", Verb: &labv1.Check_Exists{Exists: &labv1.EventSelector{
		Where: "all([" + strings.Repeat("1,", 1900) + "])"}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	j.Event(&trace.Event{Name: "link:dropped"})
	if r := j.Results()[0]; !r.OK || j.budget.steps > maxSteps {
		t.Errorf("%q after %d steps", r.Got, j.budget.steps)
	}
}
