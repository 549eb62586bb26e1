package experiment

import (
	"strings"
	"testing"

	"labd.dev/experiment/checks"
	"labd.dev/trace"
)

func TestBadChecks(t *testing.T) {
	for name, c := range map[string]struct{ src, want string }{
		"unknown event":   {`{id: c, exists: {event: "tcp:segment_send"}}`, `c.yaml:2:32: event: no event is called "tcp:segment_send"; did you mean "tcp:segment_sent"?`},
		"unknown field":   {`{id: c, exists: {event: "tcp:segment_sent", where: 'lenn > 0'}}`, `c.yaml:2:59: where: no tcp:segment_sent has a field "lenn"; did you mean "len"?`},
		"field of others": {`{id: c, order: [{event: "tcp:segment_sent", where: 'qpkts > 0'}]}`, `c.yaml:2:59: where: no tcp:segment_sent has a field "qpkts"`},
		"a loop":          {`{id: c, exists: {where: 'any([len for x in [1]])'}}`, "c.yaml:2:32: where: comprehensions and lambdas are not for predicates"},
		"a memory bomb":   {`{id: c, exists: {where: '"a" * 1000000000 == node'}}`, "c.yaml:2:32: where: * is not for predicates"},
		"a format bomb":   {`{id: c, exists: {where: '"%1000000000d" % len == node'}}`, "c.yaml:2:32: where: % is not for predicates"},
		"a long one":      {`{id: c, exists: {where: '` + strings.Repeat("(", 5000) + `'}}`, "c.yaml:2:32: where: the predicate is longer than 4096 bytes"},
		"many parens":     {`{id: c, exists: {where: '` + strings.Repeat("(", 4000) + `'}}`, "c.yaml:2:32: where: 1:78: excessive nesting"},
		"no verb":         {`{id: c, points: 2}`, "c.yaml:2:8: check of a class: one of count, never, exists, order, eventually_within, within, state_path, answer is missing"},
		"two verbs":       {`{id: c, never: {event: "link:dropped"}, exists: {event: "link:dropped"}}`, `"never" and "exists" exclude each other`},
		"no state":        {`{id: c, state_path: {path: [SYN_SENT, ESTABLISHD]}}`, `c.yaml:2:46: path: no state is called "ESTABLISHD"; did you mean "ESTABLISHED"?`},
		"no side":         {`{id: c, state_path: {side: client, path: [SYN_SENT]}}`, `a side is initiator or responder, not "client"`},
		"empty order":     {`{id: c, order: []}`, "what must hold is missing: count, never"},
		"no time":         {`{id: c, eventually_within: {event: "link:dropped", within: 0s}}`, "c.yaml:2:67: within: must be more than 0"},
		"same of nothing": {`{id: c, eventually_within: {event: "link:dropped", within: 1s, same: [conn]}}`, "the run's beginning has no fields"},
		"back in time":    {`{id: c, within: {event: "link:dropped", from: 2s, to: 1s}}`, "c.yaml:2:62: to: must not be before it begins"},
		"same id":         {`{id: c, exists: {event: "link:dropped"}}, {id: c, exists: {event: "link:dropped"}}`, `c.yaml:2:55: id: the id "c" is taken`},
		"a path as id":    {`{id: ../../c, exists: {event: "link:dropped"}}`, `"../../c" is not a name of a check`},
		"negative points": {`{id: c, points: -1, exists: {event: "link:dropped"}}`, "c.yaml:2:24: points: must be from 0 to 1e+06"},
		"NaN points":      {`{id: c, points: .nan, exists: {event: "link:dropped"}}`, "points:"},
		"no answer field": {`{id: c, answer: {event: "tcp:segment_sent", field: sek}}`, `c.yaml:2:59: field: no tcp:segment_sent has a field "sek"; did you mean "seq"?`},
	} {
		_, err := ParseChecks("c.yaml", []byte("checks:\n     [ "+strings.TrimPrefix(c.src, " ")+"]\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n%v, want\n%s", name, err, c.want)
		}
	}
	if _, err := ParseChecks("c.yaml", []byte("checks: ["+strings.Repeat(`{id: c, exists: {event: "link:dropped"}},`, 201)+"]")); err == nil || !strings.Contains(err.Error(), "there are 201 checks; there may be 200") {
		t.Errorf("201 checks: %v", err)
	}
}

// Whatever a file says, reading it and judging a run by it ends, and says where it is wrong.
func FuzzChecks(f *testing.F) {
	f.Add([]byte(`checks: [{id: a, points: 2, hidden: true, hint: h, count: {event: "tcp:segment_sent", where: 'len > 0', ge: 1, le: 3}}]`))
	f.Add([]byte("checks:\n- {id: b, eventually_within: {after: {event: 'tcp:segment_lost'}, event: 'tcp:segment_sent', within: 1s, same: [conn]}}\n"))
	f.Add([]byte("checks:\n- {id: c, state_path: {conn: a/1, path: ['...', ESTABLISHED, '...']}}\n- {id: d, answer: {event: 'tcp:segment_sent', field: seq, tolerance: 5%}}\n"))
	f.Add([]byte("checks: [{id: e, within: {where: 'node.startswith(\"a\") and max(1, t_ns) > 0', from: 1s, to: 2s}}, {id: f, order: [{where: 'cc.get(\"w\")'}]}]"))
	f.Fuzz(func(t *testing.T, src []byte) {
		list, err := ParseChecks("c.yaml", src)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "c.yaml") {
				t.Errorf("%v: where?", err)
			}
			return
		}
		events := []trace.Event{
			{Node: "a", TNs: 1, Conn: "a/1", Side: "initiator", Name: "tcp:state_updated", Data: []trace.Field{{Name: "old", Value: "CLOSED"}, {Name: "new", Value: "SYN_SENT"}}},
			{Node: "a", TNs: 2, Conn: "a/1", Name: "tcp:segment_sent", Data: []trace.Field{{Name: "len", Value: uint64(5)}, {Name: "flags", Value: "SYN"}, {Name: "seq", Value: uint64(7)}}},
			{Node: "b", TNs: 3e9, Name: "link:dropped", Data: []trace.Field{{Name: "cause", Value: "queue_full"}}},
		}
		results, err := checks.All(list, events)
		if err != nil || len(results) != len(list) {
			t.Errorf("%d results of %d checks, %v", len(results), len(list), err)
		}
		for _, r := range results {
			if r.Got == "" {
				t.Errorf("check %s: nothing is said of how it came out", r.ID)
			}
		}
	})
}
