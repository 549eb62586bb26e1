package checks

import (
	"fmt"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// span is the verb within.
type span struct {
	of       *selector
	from, to int64 // to is negative: the run's end
	inside   uint64
	outside  uint64
	shown    []trace.Event // those inside
	strays   []trace.Event // those outside
}

func newSpan(w *labv1.WithinSpan) (*span, error) {
	of, err := newSelector(w.GetOf())
	s := &span{of: of, from: w.GetFromNs(), to: -1}
	if w.ToNs != nil {
		s.to = w.GetToNs()
	}
	return s, err
}

func (s *span) event(x *session, e *trace.Event) error {
	ok, err := s.of.matches(x, e)
	switch {
	case !ok:
	case e.TNs < s.from || s.to >= 0 && e.TNs > s.to:
		s.outside++
		s.strays = show(s.strays, e)
	default:
		s.inside++
		s.shown = show(s.shown, e)
	}
	return err
}

func (s *span) end(r *trace.CheckSummary) {
	until := "the end"
	if s.to >= 0 {
		until = seconds(s.to)
	}
	r.OK = s.inside > 0 && s.outside == 0
	r.Got = fmt.Sprintf("%d from %s to %s, %d outside", s.inside, seconds(s.from), until, s.outside)
	switch {
	case s.outside > 0:
		r.Events = s.strays
	case s.inside > 0:
		r.Events = s.shown
	default:
		r.Got += s.of.others()
		r.Events = s.of.near
	}
}
