package checks

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.starlark.net/starlark"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// answer is the verb of the same name: what somebody read off a trace is compared with this trace, which differs with the seed.
type answer struct {
	spec  *labv1.AnswerCheck
	of    *selector
	given string
	some  bool // an answer was given
	n     uint64
	value string // of the field, in the first such event that has it
	found *trace.Event
}

func newAnswer(id string, spec *labv1.AnswerCheck, answers map[string]string) (*answer, error) {
	of, err := newSelector(spec.GetOf())
	a := &answer{spec: spec, of: of}
	a.given, a.some = answers[id]
	a.given = strings.TrimSpace(a.given)
	return a, err
}

func (a *answer) event(x *session, e *trace.Event) error {
	ok, err := a.of.matches(x, e)
	if !ok {
		return err
	}
	a.n++
	if a.found != nil || a.spec.GetField() == "" {
		return nil
	}
	if v := fieldOf(e, a.spec.GetField()); v != starlark.None {
		first := *e
		a.found, a.value = &first, plainText(v)
	}
	return nil
}

// plainText is a value as people write it.
func plainText(v starlark.Value) string {
	if s, ok := starlark.AsString(v); ok {
		return s
	}
	return v.String()
}

// end tells whether the answer is right, and never what the right one is: who asked may still be answering.
func (a *answer) end(r *trace.CheckSummary) {
	switch {
	case !a.some:
		r.Got = "no answer was given"
	case a.spec.GetField() == "":
		r.OK = a.alike(strconv.FormatUint(a.n, 10))
	case a.found == nil:
		r.Got = fmt.Sprintf("there is no %s with a field %s to compare it with", a.of, a.spec.GetField())
	default:
		r.OK = a.alike(a.value)
	}
	if r.Got != "" {
		return
	}
	r.Got = fmt.Sprintf("%q is right", clip(a.given))
	if !r.OK {
		r.Got = fmt.Sprintf("%q is not what this trace has", clip(a.given))
	}
}

func (a *answer) alike(value string) bool {
	if a.given == value {
		return true
	}
	got, err1 := strconv.ParseFloat(strings.ReplaceAll(a.given, ",", ""), 64)
	want, err2 := strconv.ParseFloat(value, 64)
	if err1 != nil || err2 != nil {
		return strings.EqualFold(a.given, value)
	}
	return math.Abs(got-want) <= a.spec.GetTolerance()*math.Abs(want)
}

func clip(s string) string {
	const shown = 60
	if len(s) > shown {
		return s[:shown] + "..."
	}
	return s
}
