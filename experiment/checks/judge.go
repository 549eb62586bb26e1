package checks

import (
	"errors"
	"fmt"

	"go.starlark.net/starlark"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

const (
	// maxShown bounds the events that a check's result holds: enough to see what decided it.
	maxShown = 20
	// maxNear bounds the events that came near to what was asked for and are shown when nothing did.
	maxNear = 3
	// maxTotalSteps bounds the Starlark steps of all checks over a run together: some ten seconds. An honest check of a
	// million events takes a few tens of millions.
	maxTotalSteps = 200_000_000
)

var errTooManySteps = fmt.Errorf("the checks together took more than %d steps over this run; ask for fewer events by name", maxTotalSteps)

// Judge follows a run's events and decides what its checks come to. It is not safe for several goroutines.
type Judge struct {
	checks []*judged
	budget session
}

// judged is one check while events come in.
type judged struct {
	spec *labv1.Check
	verb verdict
	err  error // why it could not be decided
}

// verdict is a verb's state.
type verdict interface {
	// event takes the next event. After an error it gets no more.
	event(s *session, e *trace.Event) error
	// end decides.
	end(r *trace.CheckSummary)
}

// session is what the predicates of all checks share.
type session struct {
	thread *starlark.Thread
	steps  uint64
}

// New makes a judge of checks in which Validate finds nothing. answers holds what was answered, by the name of the check.
func New(list []*labv1.Check, answers map[string]string) (*Judge, error) {
	j := &Judge{budget: session{thread: &starlark.Thread{Name: "checks", Print: func(*starlark.Thread, string) {}}}}
	for _, c := range list {
		v, err := newVerdict(c, answers)
		if err != nil {
			return nil, fmt.Errorf("check %s: %w", c.GetId(), err)
		}
		j.checks = append(j.checks, &judged{spec: c, verb: v})
	}
	return j, nil
}

func newVerdict(c *labv1.Check, answers map[string]string) (verdict, error) {
	switch v := c.GetVerb().(type) {
	case *labv1.Check_Count:
		return newCount(v.Count.GetOf(), boundsOf(v.Count))
	case *labv1.Check_Never:
		return newCount(v.Never, []bound{{"eq", 0}})
	case *labv1.Check_Exists:
		return newCount(v.Exists, []bound{{"ge", 1}})
	case *labv1.Check_Order:
		return newSequence(v.Order)
	case *labv1.Check_EventuallyWithin:
		return newEventually(v.EventuallyWithin)
	case *labv1.Check_Within:
		return newSpan(v.Within)
	case *labv1.Check_StatePath:
		return newPath(v.StatePath), nil
	case *labv1.Check_Answer:
		return newAnswer(c.GetId(), v.Answer, answers)
	}
	return nil, errors.New("it says nothing that must hold")
}

// Event takes the run's next event, in the order of time.
func (j *Judge) Event(e *trace.Event) {
	for _, c := range j.checks {
		if c.err == nil {
			c.err = c.verb.event(&j.budget, e)
		}
	}
}

// Results tells what the checks came to, in their order, once the run's last event is in.
func (j *Judge) Results() []trace.CheckSummary {
	results := make([]trace.CheckSummary, len(j.checks))
	for i, c := range j.checks {
		r := &results[i]
		r.ID, r.Points = c.spec.GetId(), c.spec.GetPoints()
		if c.err != nil {
			r.Got = c.err.Error()
			continue
		}
		c.verb.end(r)
		if !r.OK {
			r.Look, r.Hint = look(c.spec, r.Events), c.spec.GetHint()
		}
	}
	return results
}

// All judges events that are at hand.
func All(list []*labv1.Check, events []trace.Event) ([]trace.CheckSummary, error) {
	j, err := New(list, nil)
	if err != nil {
		return nil, err
	}
	for i := range events {
		j.Event(&events[i])
	}
	return j.Results(), nil
}

// selector picks events.
type selector struct {
	spec      *labv1.EventSelector
	predicate *predicate // nil: each
	near      []trace.Event
	named     uint64 // events of the name that the predicate did not pick
}

func newSelector(spec *labv1.EventSelector) (*selector, error) {
	s := &selector{spec: spec}
	if spec.GetWhere() == "" {
		return s, nil
	}
	var err error
	s.predicate, err = compile(spec.GetWhere())
	return s, err
}

func (s *selector) matches(x *session, e *trace.Event) (bool, error) {
	if s.spec.GetEvent() != "" && s.spec.GetEvent() != e.Name {
		return false, nil
	}
	if s.predicate == nil {
		return true, nil
	}
	if x.steps > maxTotalSteps {
		return false, errTooManySteps
	}
	ok, steps, err := s.predicate.holds(x.thread, e)
	x.steps += steps
	if err == nil && !ok && s.spec.GetEvent() != "" {
		s.named++
		if len(s.near) < maxNear {
			s.near = append(s.near, *e)
		}
	}
	return ok, err
}

func (s *selector) String() string {
	name := s.spec.GetEvent()
	if name == "" {
		name = "event"
	}
	if s.spec.GetWhere() != "" {
		name += " where " + s.spec.GetWhere()
	}
	return name
}

// others says that there are events of the name, but not such ones.
func (s *selector) others() string {
	if s.named == 0 {
		return ""
	}
	return fmt.Sprintf("; of %d %s none is so", s.named, s.spec.GetEvent())
}

func show(shown []trace.Event, e *trace.Event) []trace.Event {
	if len(shown) < maxShown {
		shown = append(shown, *e)
	}
	return shown
}
