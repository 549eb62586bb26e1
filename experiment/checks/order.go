package checks

import (
	"fmt"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// sequence is the verb order: the first event of the first selector, then the first of the second after it, and so on.
type sequence struct {
	steps []*selector
	found []trace.Event
}

func newSequence(o *labv1.EventOrder) (*sequence, error) {
	q := &sequence{}
	for _, spec := range o.GetEvents() {
		s, err := newSelector(spec)
		if err != nil {
			return nil, err
		}
		q.steps = append(q.steps, s)
	}
	return q, nil
}

func (q *sequence) event(x *session, e *trace.Event) error {
	if len(q.found) == len(q.steps) {
		return nil
	}
	ok, err := q.steps[len(q.found)].matches(x, e)
	if ok {
		q.found = append(q.found, *e)
	}
	return err
}

func (q *sequence) end(r *trace.CheckSummary) {
	r.OK, r.Events = len(q.found) == len(q.steps), q.found
	r.Got = fmt.Sprintf("%d of %d in order", len(q.found), len(q.steps))
	if !r.OK {
		missing := q.steps[len(q.found)]
		r.Got += ", no " + missing.String()
		if len(q.found) == 0 {
			r.Events = missing.near
		} else {
			r.Got += " after them"
		}
		r.Got += missing.others()
		// What is nearest to the gap is looked at first.
		if n := len(q.found); n > 1 {
			r.Events = append([]trace.Event{q.found[n-1]}, q.found[:n-1]...)
		}
	}
	r.Events = r.Events[:min(len(r.Events), maxShown)]
}
