package orchestrator

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// The sequential model of what clients see of a lab's name: which lab has it, and that lab's journal. A lab is known by
// the seed in its specification, an input by its id; both are of one request alone.

type deed string

const (
	deedCreate deed = "create"
	deedDelete deed = "delete"
	deedInput  deed = "input"
	deedGet    deed = "get"
	deedList   deed = "inputs"
)

// call is what a client asks for.
type call struct {
	deed deed
	lab  string
	seed int64  // create
	tag  string // input
}

func (c call) String() string {
	switch c.deed {
	case deedCreate:
		return fmt.Sprintf("%s %s with seed %d", c.deed, c.lab, c.seed)
	case deedInput:
		return fmt.Sprintf("input %s to %s", c.tag, c.lab)
	}
	return fmt.Sprintf("%s %s", c.deed, c.lab)
}

// answer is what came of it. Open: it may have been done at any time since, or never.
type answer struct {
	open  bool
	fails string // the reason; empty: it succeeded
	seed  int64  // of the lab
	tags  string // the journal's ids
	index uint64 // of the input
}

func (a answer) String() string {
	switch {
	case a.open:
		return "nobody knows"
	case a.fails != "":
		return a.fails
	}
	return fmt.Sprintf("ok (seed %d, index %d, journal [%s])", a.seed, a.index, a.tags)
}

// named is the model's state for one name. Seed 0: there is no such lab.
type named struct {
	seed int64
	tags string
}

func (s named) inputs() uint64 {
	if s.tags == "" {
		return 0
	}
	return uint64(strings.Count(s.tags, " ")) + 1
}

func (s named) with(tag string) named {
	return named{s.seed, strings.TrimSpace(s.tags + " " + tag)}
}

// step tells whether a call may have had an answer in a state, and the state behind it.
func step(s named, c call, a answer) (bool, named) {
	there := s.seed != 0
	switch c.deed {
	case deedCreate:
		switch {
		case !there && (a.open || a.fails == ""):
			return true, named{seed: c.seed}
		case a.open:
			return true, s
		}
		return there && a.fails == "LAB_EXISTS", s
	case deedDelete:
		if a.fails != "" {
			return !there, s
		}
		return there || a.open, named{}
	case deedInput:
		switch {
		case there && (a.open || a.fails == "" && a.index == s.inputs()+1):
			return true, s.with(c.tag)
		}
		return a.open, s
	case deedGet:
		if a.fails != "" {
			return !there, s
		}
		return there && a.seed == s.seed, s
	default:
		if a.fails != "" {
			return !there, s
		}
		return there && a.tags == s.tags, s
	}
}

// model is step for porcupine.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byName := make(map[string][]porcupine.Operation)
		var names []string
		for _, op := range history {
			name := op.Input.(call).lab
			if byName[name] == nil {
				names = append(names, name)
			}
			byName[name] = append(byName[name], op)
		}
		var parts [][]porcupine.Operation
		for _, name := range names {
			parts = append(parts, byName[name])
		}
		return parts
	},
	Init: func() any { return named{} },
	Step: func(state, in, out any) (bool, any) { return step(state.(named), in.(call), out.(answer)) },
}

// checkTimeout bounds the search for an order, which takes exponential time at worst; a history that takes longer shows
// nothing.
const checkTimeout = 20 * time.Second

// linearizable tells whether there is an order of the operations that explains all answers.
func linearizable(history []porcupine.Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model, history, checkTimeout)
}

// never is when a call returns of which nobody knows what became.
const never = math.MaxInt64
