package experiment

import (
	"fmt"
	"iter"
	"strings"

	"go.starlark.net/starlark"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// maxShown bounds the events that a check's result holds: enough to see what decided it.
const maxShown = 20

// selectors are a check's selectors with the place of each, relative to the check.
func (c *Check) selectors() iter.Seq2[string, *Selector] {
	return func(yield func(string, *Selector) bool) {
		for _, one := range []struct {
			path string
			*Selector
		}{{".count", c.Count}, {".never", c.Never}, {".exists", c.Exists}} {
			if one.Selector != nil && !yield(one.path, one.Selector) {
				return
			}
		}
		for i, s := range c.Order {
			if !yield(fmt.Sprintf(".order[%d]", i), s) {
				return
			}
		}
	}
}

// Judge checks the events of a run, which are in the order of time.
func (x *Experiment) Judge(events []trace.Event) []trace.CheckSummary {
	thread := &starlark.Thread{Name: "checks", Print: func(*starlark.Thread, string) {}}
	results := make([]trace.CheckSummary, len(x.Checks))
	for i, c := range x.Checks {
		results[i] = c.judge(thread, events)
	}
	return results
}

func (c *Check) judge(thread *starlark.Thread, events []trace.Event) trace.CheckSummary {
	r := trace.CheckSummary{ID: c.ID, Points: c.Points}
	var err error
	if c.Order != nil {
		err = c.judgeOrder(thread, events, &r)
	} else {
		err = c.judgeNumber(thread, events, &r)
	}
	if err == nil {
		err = c.misnamed(events)
	}
	if err != nil {
		r.OK, r.Got = false, err.Error()
	}
	return r
}

// matches reports whether a selector picks an event.
func (s *Selector) matches(thread *starlark.Thread, e *trace.Event) (bool, error) {
	if s.Event != "" && s.Event != e.Name {
		return false, nil
	}
	if s.predicate == nil {
		return true, nil
	}
	return s.predicate.holds(thread, e)
}

func (c *Check) judgeNumber(thread *starlark.Thread, events []trace.Event, r *trace.CheckSummary) error {
	s, bounds := c.Count, c.Bounds
	switch {
	case c.Never != nil:
		s, bounds = c.Never, []Bound{{"eq", 0}}
	case c.Exists != nil || bounds == nil:
		bounds = []Bound{{"ge", 1}}
		if c.Exists != nil {
			s = c.Exists
		}
	}
	n := uint64(0)
	for i := range events {
		ok, err := s.matches(thread, &events[i])
		if err != nil {
			return err
		}
		if ok {
			n++
			if len(r.Events) < maxShown {
				r.Events = append(r.Events, events[i])
			}
		}
	}
	r.OK = true
	var wanted []string
	for _, b := range bounds {
		r.OK = r.OK && b.holds(n)
		wanted = append(wanted, b.String())
	}
	r.Got = fmt.Sprintf("%d, wanted %s", n, strings.Join(wanted, " and "))
	return nil
}

func (b Bound) holds(n uint64) bool {
	switch b.Op {
	case "eq":
		return n == b.N
	case "ne":
		return n != b.N
	case "lt":
		return n < b.N
	case "le":
		return n <= b.N
	case "gt":
		return n > b.N
	}
	return n >= b.N
}

var boundWords = map[string]string{"eq": "just", "ne": "not", "lt": "fewer than", "le": "at most", "gt": "more than", "ge": "at least"}

func (b Bound) String() string { return fmt.Sprintf("%s %d", boundWords[b.Op], b.N) }

// judgeOrder looks for the first event of the first selector, then for the first of the second after it, and so on.
func (c *Check) judgeOrder(thread *starlark.Thread, events []trace.Event, r *trace.CheckSummary) error {
	next := 0
	for i := range events {
		if next == len(c.Order) {
			break
		}
		ok, err := c.Order[next].matches(thread, &events[i])
		if err != nil {
			return err
		}
		if ok {
			next++
			r.Events = append(r.Events, events[i])
		}
	}
	r.OK = next == len(c.Order)
	r.Got = fmt.Sprintf("%d of %d in order", next, len(c.Order))
	if !r.OK {
		r.Got += ", no " + c.Order[next].String() + " after them"
	}
	return nil
}

func (s *Selector) String() string {
	name := s.Event
	if name == "" {
		name = "event"
	}
	if s.Where != "" {
		name += " where " + s.Where
	}
	return name
}

// misnamed is an error if a predicate asks for a field that none of the events it was asked about has: a misspelled name
// would else make a check that nothing can fail.
func (c *Check) misnamed(events []trace.Event) error {
	for _, s := range c.selectors() {
		if s.predicate == nil {
			continue
		}
		name := s.predicate.unknown()
		if name == "" || !asked(s, events) || c.Order != nil {
			continue
		}
		what := s.Event
		if what == "" {
			what = "event"
		}
		return fmt.Errorf("no %s has a field %q", what, name)
	}
	return nil
}

func asked(s *Selector, events []trace.Event) bool {
	for i := range events {
		if s.Event == "" || s.Event == events[i].Name {
			return true
		}
	}
	return false
}

// Summary puts together how a run went.
func (x *Experiment) Summary(run *labv1.Run, spec *labv1.LabSpec, dir string, events []trace.Event) *trace.Summary {
	s := &trace.Summary{
		RunDir: dir, Clock: "virtual", Seed: spec.GetSeed(), EndNs: run.GetProgress().GetNowNs(),
		Partial: run.GetProgress().GetPartial(), Error: run.GetProgress().GetError(), Checks: x.Judge(events),
	}
	if spec.GetClock() == labv1.Clock_CLOCK_REAL {
		s.Clock = "real"
	}
	for _, t := range run.GetTransfers() {
		s.Transfers = append(s.Transfers, trace.TransferSummary{
			ID: t.GetId(), Conn: t.GetConn(), From: t.GetFrom(), To: t.GetTo(), Bytes: t.GetBytes(), SHA256: t.GetSha256(), Match: t.GetMatch(),
			StartNs: t.GetStartNs(), DurationNs: t.GetDurationNs(), GoodputBps: t.GetGoodputBps(), Retransmits: t.GetRetransmits(),
			SRTTUs: t.GetSrttUs(), Error: t.GetError(),
		})
	}
	s.Checks = append(s.Checks, x.judgeEnds(run.GetTransfers())...)
	s.Normalize()
	return s
}

// endOf says how a transfer ended.
func endOf(t *labv1.TransferStatus) End {
	switch {
	case t.GetState() == labv1.TransferState_TRANSFER_STATE_DONE && t.GetMatch():
		return EndMatch
	case t.GetState() == labv1.TransferState_TRANSFER_STATE_DONE:
		return EndMismatch
	}
	return EndFailure
}

// judgeEnds makes a check of each transfer's end that was expected.
func (x *Experiment) judgeEnds(transfers []*labv1.TransferStatus) []trace.CheckSummary {
	var results []trace.CheckSummary
	for _, e := range x.Expect {
		r := trace.CheckSummary{ID: "expect-" + e.ID, Points: 1, Got: "it is not there"}
		for _, t := range transfers {
			if t.GetId() == e.ID {
				r.OK = e.End == EndAny || e.End == endOf(t)
				r.Got = fmt.Sprintf("%s, wanted %s", endOf(t), e.End)
			}
		}
		results = append(results, r)
	}
	return results
}

// Passed reports whether all transfers ended as they should and all checks hold.
func (x *Experiment) Passed(run *labv1.Run, s *trace.Summary) bool {
	for _, c := range s.Checks {
		if !c.OK {
			return false
		}
	}
	for _, t := range run.GetTransfers() {
		if !x.expected(t.GetId()) && endOf(t) != EndMatch {
			return false
		}
	}
	return s.Error == "" && !s.Partial
}

func (x *Experiment) expected(id string) bool {
	for _, e := range x.Expect {
		if e.ID == id {
			return true
		}
	}
	return false
}
