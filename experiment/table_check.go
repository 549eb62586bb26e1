package experiment

import "labd.dev/labfile/schema"

// Check is something that must hold of a run's trace.
type Check struct {
	ID     string
	Points float64
	Count  *Selector
	Bounds []Bound // of Count; several must all hold
	Never  *Selector
	Exists *Selector
	Order  []*Selector
}

// Selector picks events: by name, and by a predicate over their fields.
type Selector struct {
	Event string
	Where string

	predicate *predicate
}

// Bound compares a count with a number.
type Bound struct {
	Op string // eq, ne, lt, le, gt, ge
	N  uint64
}

var selector = &schema.Object[Selector]{
	Name: "selector",
	Keys: selectorKeys(func(s *Selector) *Selector { return s }),
}

func selectorKeys[T any](of func(*T) *Selector) []schema.Key[T] {
	return []schema.Key[T]{
		schema.Text("event", "event", "Name of the event, `tcp:segment_sent`; absent: any.", func(v *T, s string) { of(v).Event = s }),
		schema.Text("where", "where", "Predicate over its fields, in Starlark: `node == \"client\" and len > 0`.", func(v *T, s string) { of(v).Where = s }),
	}
}

func bound(op, doc string) schema.Key[Check] {
	return schema.Whole(op, "", doc, 64, func(c *Check, n uint64) { c.Bounds = append(c.Bounds, Bound{op, n}) })
}

var count = &schema.Object[Check]{
	Name: "count",
	Doc:  "How many events there are. Without a bound there must be at least one.",
	Keys: append(selectorKeys(func(c *Check) *Selector { return c.Count }),
		bound("eq", "Just so many."), bound("ne", "Any number but this."), bound("lt", "Fewer."),
		bound("le", "So many at most."), bound("gt", "More."), bound("ge", "So many at least.")),
}

var check = &schema.Object[Check]{
	Name: "check",
	Doc:  "What must hold of the run's events, which are those of `labctl trace export`.",
	Keys: []schema.Key[Check]{
		schema.Text("id", "id", "Its name in the results.", func(c *Check, s string) { c.ID = s }).Must(),
		schema.Real("points", "points", "What it is worth; absent: 1.", func(c *Check, f float64) { c.Points = f }),
		schema.Nested("count", "count", "So many events.", count, func(c *Check) *Check { c.Count = &Selector{}; return c }),
		schema.Nested("never", "never", "No such event.", selector, func(c *Check) *Selector { c.Never = &Selector{}; return c.Never }),
		schema.Nested("exists", "exists", "At least one such event.", selector, func(c *Check) *Selector { c.Exists = &Selector{}; return c.Exists }),
		schema.List("order", "order", "Such events, one after the other; others may lie between.", selector, func(c *Check) *Selector {
			s := &Selector{}
			c.Order = append(c.Order, s)
			return s
		}),
	},
	Choices:    [][]string{{"count"}, {"never"}, {"exists"}, {"order"}},
	MustChoose: true,
}
