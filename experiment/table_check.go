package experiment

import (
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

var selector = &schema.Object[labv1.EventSelector]{
	Name: "selector",
	Keys: selectorKeys("", func(s *labv1.EventSelector) *labv1.EventSelector { return s }),
}

// selectorKeys are the keys of a selector that stand in a verb's own map; field is the verb's for the selector.
func selectorKeys[T any](field string, of func(*T) *labv1.EventSelector) []schema.Key[T] {
	if field != "" {
		field += "."
	}
	return []schema.Key[T]{
		schema.Text("event", field+"event", "Name of the event, `tcp:segment_sent`; absent: any.", func(v *T, s string) { of(v).Event = s }),
		schema.Text("where", field+"where", "Predicate over its fields, in Starlark: `node == \"client\" and len > 0`.", func(v *T, s string) { of(v).Where = s }),
	}
}

func bound(op, doc string, of func(*labv1.EventCount) **uint64) schema.Key[labv1.EventCount] {
	return schema.Whole(op, op, doc, 64, func(c *labv1.EventCount, n uint64) { *of(c) = &n })
}

var count = &schema.Object[labv1.EventCount]{
	Name: "count",
	Doc:  "How many events there are. Without a bound there must be at least one.",
	Keys: append(selectorKeys("of", (*labv1.EventCount).GetOf),
		bound("eq", "Just so many.", func(c *labv1.EventCount) **uint64 { return &c.Eq }),
		bound("ne", "Any number but this.", func(c *labv1.EventCount) **uint64 { return &c.Ne }),
		bound("lt", "Fewer.", func(c *labv1.EventCount) **uint64 { return &c.Lt }),
		bound("le", "So many at most.", func(c *labv1.EventCount) **uint64 { return &c.Le }),
		bound("gt", "More.", func(c *labv1.EventCount) **uint64 { return &c.Gt }),
		bound("ge", "So many at least.", func(c *labv1.EventCount) **uint64 { return &c.Ge })),
}

var eventuallyWithin = &schema.Object[labv1.EventuallyWithin]{
	Name: "eventually_within",
	Doc:  "After each event of one kind, one of another comes in time: a retransmission after each loss, an answer to each request.",
	Keys: append(selectorKeys("then", (*labv1.EventuallyWithin).GetThen),
		schema.Nested("after", "after", "Each of these must be followed; absent: the run's beginning.", selector, func(v *labv1.EventuallyWithin) *labv1.EventSelector {
			v.After = &labv1.EventSelector{}
			return v.After
		}),
		schema.Duration("within", "within_ns", "So much lab time later at most.", func(v *labv1.EventuallyWithin, ns int64) { v.WithinNs = ns }).Must(),
		schema.Texts("same", "same", "Fields that the two must have alike: `[conn]`.", func(v *labv1.EventuallyWithin, s string) { v.Same = append(v.Same, s) })),
}

var within = &schema.Object[labv1.WithinSpan]{
	Name: "within",
	Doc:  "There are such events, and all of them in a span of lab time.",
	Keys: append(selectorKeys("of", (*labv1.WithinSpan).GetOf),
		schema.Duration("from", "from_ns", "Its beginning; absent: the run's.", func(w *labv1.WithinSpan, ns int64) { w.FromNs = ns }),
		schema.Duration("to", "to_ns", "Its end; absent: the run's.", func(w *labv1.WithinSpan, ns int64) { w.ToNs = &ns })),
}

var statePath = &schema.Object[labv1.StatePath]{
	Name: "state_path",
	Doc:  "The states that an end of a connection went through, all of them. Several ends must each have gone that way.",
	Keys: []schema.Key[labv1.StatePath]{
		schema.Text("conn", "conn", "The connection, `client/1`; absent: each.", func(p *labv1.StatePath, s string) { p.Conn = s }),
		schema.Text("node", "node", "Whose end; absent: both.", func(p *labv1.StatePath, s string) { p.Node = s }),
		schema.Text("side", "side", "Whose end: `initiator` or `responder`; absent: both.", func(p *labv1.StatePath, s string) { p.Side = s }),
		schema.Texts("path", "states", "`[SYN_SENT, ESTABLISHED, ...]`; the state before the first may be left out, and `\"...\"` stands for any, or none.", func(p *labv1.StatePath, s string) { p.States = append(p.States, s) }).Must(),
	},
}

var answer = &schema.Object[labv1.AnswerCheck]{
	Name: "answer",
	Doc:  "What somebody read off the trace and handed in, `labctl submit --answer ID=VALUE`, is what this trace has. Another seed has other values.",
	Keys: append(selectorKeys("of", (*labv1.AnswerCheck).GetOf),
		schema.Text("field", "field", "A field of the first such event; absent: how many there are.", func(a *labv1.AnswerCheck, s string) { a.Field = s }),
		schema.Chance("tolerance", "tolerance", "How far off a number may be: `5%`; absent: not at all.", func(a *labv1.AnswerCheck, p float64) { a.Tolerance = p })),
}

// verbs are what a check may ask for, one of them.
var verbs = []schema.Key[labv1.Check]{
	schema.Nested("count", "count", "So many events.", count, func(c *labv1.Check) *labv1.EventCount {
		v := &labv1.EventCount{Of: &labv1.EventSelector{}}
		c.Verb = &labv1.Check_Count{Count: v}
		return v
	}),
	schema.Nested("never", "never", "No such event.", selector, func(c *labv1.Check) *labv1.EventSelector {
		v := &labv1.Check_Never{Never: &labv1.EventSelector{}}
		c.Verb = v
		return v.Never
	}),
	schema.Nested("exists", "exists", "At least one such event.", selector, func(c *labv1.Check) *labv1.EventSelector {
		v := &labv1.Check_Exists{Exists: &labv1.EventSelector{}}
		c.Verb = v
		return v.Exists
	}),
	schema.List("order", "order.events", "Such events, one after the other; others may lie between.", selector, func(c *labv1.Check) *labv1.EventSelector {
		s := &labv1.EventSelector{}
		if c.GetOrder() == nil {
			c.Verb = &labv1.Check_Order{Order: &labv1.EventOrder{}}
		}
		c.GetOrder().Events = append(c.GetOrder().Events, s)
		return s
	}),
	schema.Nested("eventually_within", "eventually_within", "What must follow, in time.", eventuallyWithin, func(c *labv1.Check) *labv1.EventuallyWithin {
		v := &labv1.EventuallyWithin{Then: &labv1.EventSelector{}}
		c.Verb = &labv1.Check_EventuallyWithin{EventuallyWithin: v}
		return v
	}),
	schema.Nested("within", "within", "Such events, in a span of lab time only.", within, func(c *labv1.Check) *labv1.WithinSpan {
		v := &labv1.WithinSpan{Of: &labv1.EventSelector{}}
		c.Verb = &labv1.Check_Within{Within: v}
		return v
	}),
	schema.Nested("state_path", "state_path", "The states that an end of a connection went through.", statePath, func(c *labv1.Check) *labv1.StatePath {
		v := &labv1.StatePath{}
		c.Verb = &labv1.Check_StatePath{StatePath: v}
		return v
	}),
}

var commonKeys = []schema.Key[labv1.Check]{
	schema.Text("id", "id", "Its name in the results.", func(c *labv1.Check, s string) { c.Id = s }).Must(),
	schema.Real("points", "points", "What it is worth; absent: 1.", func(c *labv1.Check, f float64) { c.Points = f }),
	schema.Text("hint", "hint", "Told when it fails.", func(c *labv1.Check, s string) { c.Hint = s }),
}

// check is an experiment's check.
var check = &schema.Object[labv1.Check]{
	Name:       "check",
	Doc:        "What must hold of the run's events, which are those of `labctl trace export`.",
	Keys:       append(commonKeys[:len(commonKeys):len(commonKeys)], verbs...),
	Choices:    choicesOf(verbs),
	MustChoose: true,
}

func choicesOf(keys []schema.Key[labv1.Check]) [][]string {
	var choices [][]string
	for _, k := range keys {
		choices = append(choices, []string{k.Name})
	}
	return choices
}

// newCheck is a check before its keys are read.
func newCheck() *labv1.Check { return &labv1.Check{Points: 1} }
