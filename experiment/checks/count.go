package checks

import (
	"fmt"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// bound compares a count with a number.
type bound struct {
	op string // eq, ne, lt, le, gt, ge
	n  uint64
}

// boundsOf lists a count's bounds; without any there must be at least one event.
func boundsOf(c *labv1.EventCount) []bound {
	var list []bound
	for _, b := range []struct {
		op string
		n  *uint64
	}{{"eq", c.Eq}, {"ne", c.Ne}, {"lt", c.Lt}, {"le", c.Le}, {"gt", c.Gt}, {"ge", c.Ge}} {
		if b.n != nil {
			list = append(list, bound{b.op, *b.n})
		}
	}
	if list == nil {
		list = []bound{{"ge", 1}}
	}
	return list
}

func (b bound) holds(n uint64) bool {
	switch b.op {
	case "eq":
		return n == b.n
	case "ne":
		return n != b.n
	case "lt":
		return n < b.n
	case "le":
		return n <= b.n
	case "gt":
		return n > b.n
	}
	return n >= b.n
}

var boundWords = map[string]string{"eq": "just", "ne": "not", "lt": "fewer than", "le": "at most", "gt": "more than", "ge": "at least"}

func (b bound) String() string { return fmt.Sprintf("%s %d", boundWords[b.op], b.n) }

// count is the verb of count, never and exists.
type count struct {
	of     *selector
	bounds []bound
	n      uint64
	shown  []trace.Event
}

func newCount(of *labv1.EventSelector, bounds []bound) (*count, error) {
	s, err := newSelector(of)
	return &count{of: s, bounds: bounds}, err
}

func (c *count) event(x *session, e *trace.Event) error {
	ok, err := c.of.matches(x, e)
	if ok {
		c.n++
		c.shown = show(c.shown, e)
	}
	return err
}

func (c *count) end(r *trace.CheckSummary) {
	r.OK, r.Events = true, c.shown
	var wanted []string
	for _, b := range c.bounds {
		r.OK = r.OK && b.holds(c.n)
		wanted = append(wanted, b.String())
	}
	r.Got = fmt.Sprintf("%d, wanted %s", c.n, strings.Join(wanted, " and "))
	if !r.OK && c.n == 0 {
		r.Got += c.of.others()
		r.Events = c.of.near
	}
}
