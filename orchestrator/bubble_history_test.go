package orchestrator

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	labv1 "labd.dev/proto/lab/v1"
)

// The sequential model of what clients see of a lab's name: which lab has it, what its links have been set to, and its
// journal. A lab is known by the seed in its specification, a setting by its delay, an input by its id; a setting and an
// input are of one request alone.

type deed string

const (
	deedCreate   deed = "create"
	deedDelete   deed = "delete"
	deedApply    deed = "apply"
	deedInput    deed = "input"
	deedTransfer deed = "transfer"
	deedResult   deed = "result"
	deedGet      deed = "get"
	deedList     deed = "inputs"
)

// call is what a client asks for.
type call struct {
	deed  deed
	lab   string
	seed  int64  // create, apply
	delay int64  // apply
	tag   string // of the input that it makes, or result: of the transfer
}

func (c call) String() string {
	switch c.deed {
	case deedCreate:
		return fmt.Sprintf("%s %s with seed %d", c.deed, c.lab, c.seed)
	case deedApply:
		return fmt.Sprintf("%s delay %d to %s with seed %d", c.deed, c.delay, c.lab, c.seed)
	case deedInput, deedTransfer, deedResult:
		return fmt.Sprintf("%s %s of %s", c.deed, c.tag, c.lab)
	}
	return fmt.Sprintf("%s %s", c.deed, c.lab)
}

// reads tells whether a call changes nothing.
func (c call) reads() bool { return c.deed == deedGet || c.deed == deedList || c.deed == deedResult }

// answer is what came of it. Open: it may have been done at any time since, or never.
type answer struct {
	open  bool
	fails string // the reason; empty: it succeeded
	seed  int64  // of the lab
	delay int64  // of its link
	tags  string // the journal's ids
	index uint64 // of the input
	did   labv1.ApplyLabResponse_Outcome
}

func (a answer) String() string {
	switch {
	case a.open:
		return "nobody knows"
	case a.fails != "":
		return a.fails
	}
	return fmt.Sprintf("ok (seed %d, delay %d, index %d, journal [%s])", a.seed, a.delay, a.index, a.tags)
}

// named is the model's state for one name. Seed 0: there is no such lab.
type named struct {
	seed, delay int64
	tags        string
}

// firstDelay is what a lab's link has that nobody has changed.
const firstDelay = 1_000_000

func (s named) inputs() uint64 {
	if s.tags == "" {
		return 0
	}
	return uint64(strings.Count(s.tags, " ")) + 1
}

func (s named) with(tag string) named {
	s.tags = strings.TrimSpace(s.tags + " " + tag)
	return s
}

func (s named) has(tag string) bool { return strings.Contains(" "+s.tags+" ", " "+tag+" ") }

// step tells whether a call may have had an answer in a state, and the state behind it.
func step(s named, c call, a answer) (bool, named) {
	there := s.seed != 0
	if a.fails == "LAB_NOT_FOUND" {
		return !there, s
	}
	switch c.deed {
	case deedCreate:
		switch {
		case !there && (a.open || a.fails == ""):
			return true, named{seed: c.seed, delay: firstDelay}
		case a.open:
			return true, s
		}
		return there && a.fails == "LAB_EXISTS", s
	case deedDelete:
		return there || a.open, named{}
	case deedApply:
		return applied(s, c, a)
	case deedInput, deedTransfer:
		if there && (a.open || a.index == s.inputs()+1) {
			return true, s.with(c.tag)
		}
		return a.open, s
	case deedResult:
		return there && s.has(c.tag) == (a.fails == ""), s
	case deedGet:
		return there && a.seed == s.seed && a.delay == s.delay, s
	default:
		return there && a.tags == s.tags, s
	}
}

// applied is step for an apply, which makes a lab, changes it, or leaves it as it is. A lab of another seed is another one.
func applied(s named, c call, a answer) (bool, named) {
	made, changed := named{seed: c.seed, delay: c.delay}, s.with(c.tag)
	changed.delay = c.delay
	switch {
	case a.fails == "LAB_DIFFERS":
		return s.seed != 0 && s.seed != c.seed, s
	case s.seed == 0:
		return a.open || a.did == labv1.ApplyLabResponse_OUTCOME_CREATED, made
	case s.seed != c.seed:
		return a.open, s
	case a.did == labv1.ApplyLabResponse_OUTCOME_UNCHANGED:
		return s.delay == c.delay, s
	}
	return a.open || a.did == labv1.ApplyLabResponse_OUTCOME_CHANGED && a.index == s.inputs()+1, changed
}

// byName parts a history: names have nothing to do with each other, and each part is soon checked.
func byName(history []porcupine.Operation) [][]porcupine.Operation {
	at := make(map[string]int)
	var parts [][]porcupine.Operation
	for _, op := range history {
		name := op.Input.(call).lab
		i, known := at[name]
		if !known {
			i = len(parts)
			at[name] = i
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], op)
	}
	return parts
}

// maxSteps bounds the search for an order of one history, which takes exponential time at worst: by steps and not by the clock,
// so that the verdict does not depend on the machine. The longest of some thousand histories took a tenth of it.
const maxSteps = 20_000_000

// checkOrder tells what is wrong with a history's answers: that no order of the operations explains them all, or that it would
// take too many steps to find out. Empty: nothing is.
func checkOrder(history []porcupine.Operation) string {
	for _, part := range byName(history) {
		var steps atomic.Int64
		ok := porcupine.CheckOperations(porcupine.Model{
			Init: func() any { return named{} },
			Step: func(state, in, out any) (bool, any) {
				if steps.Add(1) > maxSteps {
					return false, state
				}
				return step(state.(named), in.(call), out.(answer))
			},
		}, part)
		name := part[0].Input.(call).lab
		switch {
		case steps.Load() > maxSteps:
			return fmt.Sprintf("%d steps do not tell whether an order of the calls of %s explains their answers", maxSteps, name)
		case !ok:
			return fmt.Sprintf("no order of the calls of %s explains their answers:\n%s", name, inWords(part))
		}
	}
	return ""
}

// inWords lists operations by when they were answered.
func inWords(ops []porcupine.Operation) string {
	var b strings.Builder
	for _, op := range slices.SortedFunc(slices.Values(ops), func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) }) {
		end := "never"
		if op.Return != never {
			end = time.Duration(op.Return).String()
		}
		fmt.Fprintf(&b, "%v to %s, client %d: %v: %v\n", time.Duration(op.Call), end, op.ClientId, op.Input, op.Output)
	}
	return b.String()
}

// never is when a call returns of which nobody knows what became.
const never = math.MaxInt64
