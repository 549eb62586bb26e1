package checks

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"labd.dev/internal/validate"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

const (
	// maxChecks bounds a list of checks: each is asked about each event.
	maxChecks = 200
	// maxOrder and maxStates bound what one check lists.
	maxOrder  = 100
	maxStates = 32
	maxSame   = 8
	maxPoints = 1e6
	maxText   = 1000 // bytes of a hint
)

var checkID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,63}$`)

var sides = []string{"initiator", "responder"}

// kinds are the events that a trace may hold, by name.
var kinds = func() map[string]trace.EventKind {
	m := map[string]trace.EventKind{}
	for _, k := range trace.Catalog() {
		m[k.Name] = k
	}
	return m
}()

// states are the states of a connection.
var states = func() []string {
	var names []string
	for _, f := range kinds[stateEvent].Fields {
		if f.Name == "new" {
			for _, v := range f.Values {
				names = append(names, v.Name)
			}
		}
	}
	return names
}()

// Validate tells what is wrong with checks, by the proto's field paths: "[2].count.of.where".
func Validate(list []*labv1.Check) []validate.Violation {
	f := &findings{ids: map[string]bool{}}
	if len(list) > maxChecks {
		f.add(fmt.Sprintf("[%d]", maxChecks), "", "there are %d checks; there may be %d", len(list), maxChecks)
		return f.list
	}
	for i, c := range list {
		f.check(fmt.Sprintf("[%d]", i), c)
	}
	return f.list
}

type findings struct {
	list []validate.Violation
	ids  map[string]bool
}

func (f *findings) add(path, suggestion, format string, args ...any) {
	f.list = append(f.list, validate.Violation{Path: path, Message: fmt.Sprintf(format, args...), Suggestion: suggestion})
}

func (f *findings) check(at string, c *labv1.Check) {
	switch id := c.GetId(); {
	case !checkID.MatchString(id):
		f.add(at+".id", "", "%q is not a name of a check: letters, digits, - _ and ., at most 63", clip(id))
	case f.ids[id]:
		f.add(at+".id", "", "the id %q is taken", id)
	}
	f.ids[c.GetId()] = true
	if p := c.GetPoints(); !(p >= 0 && p <= maxPoints) {
		f.add(at+".points", "", "must be from 0 to %g", float64(maxPoints))
	}
	if len(c.GetHint()) > maxText {
		f.add(at+".hint", "", "must not be longer than %d bytes", maxText)
	}
	for _, s := range selectorsOf(c) {
		f.selector(at+s.path, s.spec)
	}
	switch v := c.GetVerb().(type) {
	case *labv1.Check_Order:
		f.number(at+".order.events", len(v.Order.GetEvents()), maxOrder, "events")
	case *labv1.Check_EventuallyWithin:
		f.eventually(at+".eventually_within", v.EventuallyWithin)
	case *labv1.Check_Within:
		f.span(at+".within", v.Within)
	case *labv1.Check_StatePath:
		f.path(at+".state_path", v.StatePath)
	case *labv1.Check_Answer:
		f.answer(at+".answer", v.Answer)
	case nil:
		f.add(at, "", "what must hold is missing: count, never, exists, order, eventually_within, within, state_path or answer")
	}
}

// selectorAt is a selector of a check and the proto's path to it, from the check.
type selectorAt struct {
	path string
	spec *labv1.EventSelector
}

func selectorsOf(c *labv1.Check) []selectorAt {
	switch v := c.GetVerb().(type) {
	case *labv1.Check_Count:
		return []selectorAt{{".count.of", v.Count.GetOf()}}
	case *labv1.Check_Never:
		return []selectorAt{{".never", v.Never}}
	case *labv1.Check_Exists:
		return []selectorAt{{".exists", v.Exists}}
	case *labv1.Check_Order:
		var list []selectorAt
		for i, s := range v.Order.GetEvents() {
			list = append(list, selectorAt{fmt.Sprintf(".order.events[%d]", i), s})
		}
		return list
	case *labv1.Check_EventuallyWithin:
		list := []selectorAt{{".eventually_within.then", v.EventuallyWithin.GetThen()}}
		if v.EventuallyWithin.GetAfter() != nil {
			list = append(list, selectorAt{".eventually_within.after", v.EventuallyWithin.GetAfter()})
		}
		return list
	case *labv1.Check_Within:
		return []selectorAt{{".within.of", v.Within.GetOf()}}
	case *labv1.Check_Answer:
		return []selectorAt{{".answer.of", v.Answer.GetOf()}}
	}
	return nil
}

func (f *findings) selector(at string, s *labv1.EventSelector) {
	if s.GetEvent() == "" && s.GetWhere() == "" {
		f.add(at, "", "which events is missing: event, where or both")
		return
	}
	if _, known := kinds[s.GetEvent()]; s.GetEvent() != "" && !known {
		f.add(at+".event", validate.Nearest(s.GetEvent(), trace.EventNames()), "no event is called %q", clip(s.GetEvent()))
		return
	}
	if s.GetWhere() == "" {
		return
	}
	p, err := compile(s.GetWhere())
	if err != nil {
		f.add(at+".where", "", "%v", err)
		return
	}
	for _, name := range p.names {
		f.field(at+".where", s.GetEvent(), name)
	}
}

// field refuses a field that no such event can have: a misspelled one would else make a check that nothing can fail.
func (f *findings) field(at, event, name string) {
	var known []string
	for _, e := range trace.Envelope {
		if e.Name != "data" {
			known = append(known, e.Name)
		}
	}
	what := event
	if event == "" {
		what = "event"
	}
	for _, k := range trace.Catalog() {
		if event != "" && k.Name != event {
			continue
		}
		for _, field := range k.Fields {
			known = append(known, field.Name)
		}
	}
	if !slices.Contains(known, name) {
		f.add(at, validate.Nearest(name, known), "no %s has a field %q", what, clip(name))
	}
}

func (f *findings) number(at string, n, most int, what string) {
	if n == 0 || n > most {
		f.add(at, "", "there must be 1 to %d %s, and are %d", most, what, n)
	}
}

func (f *findings) eventually(at string, v *labv1.EventuallyWithin) {
	if v.GetWithinNs() <= 0 {
		f.add(at+".within_ns", "", "must be more than 0")
	}
	if len(v.GetSame()) > maxSame {
		f.add(at+".same", "", "there may be %d fields at most", maxSame)
	}
	if v.GetAfter() == nil && len(v.GetSame()) > 0 {
		f.add(at+".same", "", "the run's beginning has no fields: say after which event")
	}
	for i, name := range v.GetSame() {
		where := fmt.Sprintf("%s.same[%d]", at, i)
		f.field(where, v.GetAfter().GetEvent(), name)
		f.field(where, v.GetThen().GetEvent(), name)
	}
}

func (f *findings) span(at string, w *labv1.WithinSpan) {
	if w.GetFromNs() < 0 {
		f.add(at+".from_ns", "", "must not be negative")
	}
	if w.ToNs != nil && w.GetToNs() < w.GetFromNs() {
		f.add(at+".to_ns", "", "must not be before it begins")
	}
}

func (f *findings) path(at string, p *labv1.StatePath) {
	f.number(at+".states", len(p.GetStates()), maxStates, "states")
	for i, s := range p.GetStates() {
		if s != anyStates && !slices.Contains(states, s) {
			f.add(fmt.Sprintf("%s.states[%d]", at, i), validate.Nearest(strings.ToUpper(s), states), "no state is called %q", clip(s))
		}
	}
	if s := p.GetSide(); s != "" && !slices.Contains(sides, s) {
		f.add(at+".side", validate.Nearest(s, sides), "a side is initiator or responder, not %q", clip(s))
	}
}

func (f *findings) answer(at string, a *labv1.AnswerCheck) {
	if a.GetField() != "" {
		f.field(at+".field", a.GetOf().GetEvent(), a.GetField())
	}
	if t := a.GetTolerance(); !(t >= 0 && t <= 1) || math.IsNaN(t) {
		f.add(at+".tolerance", "", "must be from 0%% to 100%%")
	}
}
