package randomlab

import (
	"fmt"

	"labd.dev/trace"
)

// effects: each input takes effect once, at its time and in the order of the journal; a fault ends when it is to.
type effects struct {
	next   uint64
	starts map[struckDirection]int64
}

type struckDirection struct {
	dir   string
	input int64
}

func newEffects() *effects { return &effects{starts: map[struckDirection]int64{}} }

func (r *effects) event(c *Checker, e *trace.Event, _ *end) {
	key := struckDirection{text(e, "dir"), num(e, "input")}
	switch e.Name {
	case "lab:input":
		r.next++
		i := num(e, "index")
		if i != int64(r.next) || i > int64(len(c.lab.Journal)) {
			c.problem(e, "input %d takes effect, %d is next of %d", i, r.next, len(c.lab.Journal))
		} else if at := c.lab.Journal[i-1].TNs; at != e.TNs {
			c.problem(e, "input %d is of %d ns", i, at)
		}
	case "lab:fault_started":
		if at := c.lab.Journal[key.input-1].TNs; at != e.TNs {
			c.problem(e, "input %d is of %d ns", key.input, at)
		}
		r.starts[key] = e.TNs
	case "lab:fault_ended":
		f := c.lab.Journal[key.input-1].Input.GetFault()
		if ends := r.starts[key] + f.DurationNs; e.TNs != ends && f.DurationNs > 0 && !truth(e, "cleared") {
			c.problem(e, "the fault of input %d ends at %d ns", key.input, ends)
		}
		delete(r.starts, key)
	}
}

func (r *effects) finish(c *Checker) {
	due := uint64(0)
	for _, j := range c.lab.Journal {
		if j.TNs < c.lab.EndNs {
			due++
		}
	}
	if r.next < due {
		c.complain(fmt.Sprintf("%d of %d inputs have taken effect", r.next, due))
	}
}
