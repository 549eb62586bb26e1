package checks_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"labd.dev/experiment"
	"labd.dev/experiment/checks"
	"labd.dev/labfile/schema"
	"labd.dev/trace"
)

// events reads a trace, a line an event: "0.1s client client/1 tcp:segment_sent len=5 flags=SYN".
func events(t *testing.T, text string) []trace.Event {
	t.Helper()
	var list []trace.Event
	for line := range strings.Lines(strings.TrimSpace(text)) {
		words := strings.Fields(line)
		at, err := schema.ParseDuration(words[0])
		if err != nil {
			t.Fatal(err)
		}
		e := trace.Event{TNs: at, Node: words[1], Conn: words[2], Name: words[3], ESeq: uint64(len(list))}
		if e.Side = "responder"; strings.HasPrefix(e.Conn, e.Node+"/") {
			e.Side = "initiator"
		}
		for _, pair := range words[4:] {
			name, text, _ := strings.Cut(pair, "=")
			var value any = text
			if n, err := strconv.ParseUint(text, 10, 64); err == nil {
				value = n
			}
			e.Data = append(e.Data, trace.Field{Name: name, Value: value})
		}
		list = append(list, e)
	}
	return list
}

const session = `
0.0s client client/1 tcp:state_updated old=CLOSED new=SYN_SENT
0.0s client client/1 tcp:segment_sent flags=SYN len=0 seq=1000
0.1s server client/1 tcp:state_updated old=CLOSED new=SYN_RCVD
0.2s client client/1 tcp:state_updated old=SYN_SENT new=ESTABLISHED
0.2s client client/1 tcp:segment_sent flags=A len=500 seq=1001
0.3s server client/1 tcp:state_updated old=SYN_RCVD new=ESTABLISHED
0.3s server client/1 tcp:segment_sent flags=A len=9 seq=7001
1.2s client client/1 tcp:segment_lost off=0 len=500
1.2s client client/1 tcp:segment_sent flags=A len=500 seq=1001
3.0s client client/1 tcp:segment_lost off=0 len=500
3.0s client client/1 tcp:state_updated old=ESTABLISHED new=CLOSED
`

func judge(t *testing.T, check, text string, answers map[string]string) trace.CheckSummary {
	t.Helper()
	list, err := experiment.ParseChecks("c.yaml", []byte("checks: [{id: c, hint: look twice, "+check+"}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	j, err := checks.New(list, answers)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events(t, text) {
		j.Event(&e)
	}
	return j.Results()[0]
}

func TestVerbs(t *testing.T) {
	for _, c := range []struct {
		check string
		ok    bool
		got   string
	}{
		{`count: {event: "tcp:segment_sent", eq: 4}`, true, "4, wanted just 4"},
		{`count: {event: "tcp:segment_sent", where: 'len > 0', eq: 2}`, false, "3, wanted just 2"},
		{`count: {where: 'node == "server"', ge: 2, lt: 3}`, false, "3, wanted fewer than 3 and at least 2"},
		{`never: {event: "tcp:segment_sent", where: 'len == 7'}`, true, "0, wanted just 0"},
		{`never: {event: "tcp:segment_sent", where: 'len == 9'}`, false, "1, wanted just 0"},
		{`exists: {where: 'flags in ("A", "SYN") and len == 9'}`, true, "1, wanted at least 1"},
		{`exists: {event: "link:dropped"}`, false, "0, wanted at least 1"},
		{`exists: {event: "tcp:segment_sent", where: 'len == 8'}`, false, "0, wanted at least 1; of 4 tcp:segment_sent none is so"},
		{`exists: {event: "tcp:segment_sent", where: 'flags > 5'}`, false, "event tcp:segment_sent of client at 0 ns: string > int not implemented"},
		{`order: [{where: 'len == 500'}, {where: 'len == 9'}]`, true, "2 of 2 in order"},
		{`order: [{event: "tcp:segment_lost", where: 'len == 3'}, {where: 'len == 9'}]`, false,
			"0 of 2 in order, no tcp:segment_lost where len == 3; of 2 tcp:segment_lost none is so"},
		{`order: [{where: 'len == 9'}, {event: "tcp:segment_sent", where: 'flags == "SYN"'}]`, false,
			`1 of 2 in order, no tcp:segment_sent where flags == "SYN" after them; of 1 tcp:segment_sent none is so`},

		{`eventually_within: {event: "tcp:segment_sent", where: 'flags == "SYN"', within: 1ms}`, true, `tcp:segment_sent where flags == "SYN" came within 0.001000000s`},
		{`eventually_within: {event: "tcp:segment_lost", within: 1s}`, false, "no tcp:segment_lost within 1.000000000s of the beginning"},
		{`eventually_within: {after: {event: "tcp:segment_lost", where: 't_ns < 2000000000'}, event: "tcp:segment_sent", within: 1ms, same: [conn, node, len]}`, true,
			"1 of 1 tcp:segment_lost where t_ns < 2000000000 were followed by tcp:segment_sent within 0.001000000s"},
		{`eventually_within: {after: {event: "tcp:segment_lost"}, event: "tcp:segment_sent", within: 1s}`, false,
			"1 of 2 tcp:segment_lost were followed by tcp:segment_sent within 1.000000000s"},
		{`eventually_within: {after: {event: "tcp:segment_sent", where: 'flags == "SYN"'}, event: "tcp:segment_sent", where: 'len > 0', within: 1s, same: [len]}`, false,
			`0 of 1 tcp:segment_sent where flags == "SYN" were followed by tcp:segment_sent where len > 0 within 1.000000000s`},
		{`eventually_within: {after: {event: "link:dropped"}, event: "tcp:segment_sent", within: 1s}`, false, "there is no link:dropped that anything could follow"},

		{`within: {event: "tcp:segment_lost", from: 1s, to: 3s}`, true, "2 from 1.000000000s to 3.000000000s, 0 outside"},
		{`within: {event: "tcp:segment_lost", from: 1s, to: 2s}`, false, "1 from 1.000000000s to 2.000000000s, 1 outside"},
		{`within: {event: "tcp:segment_lost", from: 1s}`, true, "2 from 1.000000000s to the end, 0 outside"},
		{`within: {event: "link:dropped"}`, false, "0 from 0.000000000s to the end, 0 outside"},

		{`state_path: {node: client, path: [SYN_SENT, ESTABLISHED, CLOSED]}`, true, "1 went SYN_SENT ESTABLISHED CLOSED"},
		{`state_path: {side: initiator, path: [CLOSED, SYN_SENT, ESTABLISHED, CLOSED]}`, true, "1 went CLOSED SYN_SENT ESTABLISHED CLOSED"},
		{`state_path: {conn: client/1, path: ["...", ESTABLISHED, "..."]}`, true, "2 went ... ESTABLISHED ..."},
		{`state_path: {node: client, path: [SYN_SENT, ESTABLISHED]}`, false,
			"client/1 at client went CLOSED SYN_SENT ESTABLISHED CLOSED, wanted SYN_SENT ESTABLISHED"},
		{`state_path: {conn: client/2, path: ["..."]}`, false, "there is no such end of a connection"},
	} {
		r := judge(t, c.check, session, nil)
		if r.OK != c.ok || r.Got != c.got {
			t.Errorf("%s:\n%v, %q; want\n%v, %q", c.check, r.OK, r.Got, c.ok, c.got)
		}
		if (len(r.Look) > 0 || r.Hint != "") == r.OK && !strings.Contains(r.Got, "not implemented") {
			t.Errorf("%s: %v, look at %q, hint %q", c.check, r.OK, r.Look, r.Hint)
		}
	}
}

// Who fails a check is told where to look: the connection in the ladder and the lab time.
func TestWhereToLook(t *testing.T) {
	for check, want := range map[string]string{
		`never: {event: "tcp:segment_sent", where: 'len == 9'}`:                                          "labctl ladder client/1, at 0.300000000s",
		`exists: {event: "tcp:segment_sent", where: 'len == 8'}`:                                         "labctl ladder client/1, at 0.000000000s",
		`exists: {event: "link:dropped"}`:                                                                "labctl events --name link:dropped",
		`eventually_within: {after: {event: "tcp:segment_lost"}, event: "tcp:segment_sent", within: 1s}`: "labctl ladder client/1, at 3.000000000s",
		`within: {event: "tcp:segment_lost", to: 2s}`:                                                    "labctl ladder client/1, at 3.000000000s",
		`state_path: {conn: client/2, path: [SYN_SENT]}`:                                                 "labctl ladder client/2",
		`order: [{where: 'len == 500'}, {where: 'len == 9'}, {event: "link:dropped"}]`:                   "labctl ladder client/1, at 0.300000000s",
		`state_path: {side: responder, path: [SYN_RCVD, ESTABLISHED, CLOSE_WAIT, LAST_ACK, CLOSED]}`:     "labctl ladder client/1, at 0.100000000s",
		`count: {event: "tcp:segment_sent", where: 'len == 500', eq: 1}`:                                 "labctl ladder client/1, at 0.200000000s",
		`eventually_within: {event: "tcp:segment_sent", where: 'len == 8', within: 1s}`:                  "labctl ladder client/1, at 0.000000000s",
		`eventually_within: {after: {event: "link:dropped"}, event: "tcp:segment_sent", within: 1s}`:     "labctl events --name tcp:segment_sent",
		`eventually_within: {after: {event: "tcp:segment_lost"}, event: "link:dropped", within: 1s}`:     "labctl ladder client/1, at 1.200000000s",
		`within: {event: "tcp:segment_sent", where: 'len == 8'}`:                                         "labctl ladder client/1, at 0.000000000s",
	} {
		r := judge(t, check, session, nil)
		if len(r.Look) == 0 || r.Look[0] != want {
			t.Errorf("%s: %q, want %q", check, r.Look, want)
		}
	}
}

// What was read off one trace is wrong for another: the seed makes the difference.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		check, answer string
		ok            bool
	}{
		{`answer: {event: "tcp:segment_sent", where: 'flags == "SYN"', field: seq}`, "1000", true},
		{`answer: {event: "tcp:segment_sent", where: 'flags == "SYN"', field: seq}`, " 1,000 ", true},
		{`answer: {event: "tcp:segment_sent", where: 'flags == "SYN"', field: seq}`, "1001", false},
		{`answer: {event: "tcp:segment_sent", where: 'flags == "SYN"', field: seq, tolerance: 5%}`, "1049", true},
		{`answer: {event: "tcp:segment_sent", where: 'flags == "SYN"', field: seq, tolerance: 5%}`, "1051", false},
		{`answer: {event: "tcp:segment_sent"}`, "4", true},
		{`answer: {event: "tcp:segment_sent"}`, "NaN", false},
		{`answer: {event: "tcp:state_updated", where: 'old == "SYN_RCVD"', field: new}`, "established", true},
		{`answer: {event: "link:dropped", field: cause}`, "queue_full", false},
	} {
		r := judge(t, c.check, session, map[string]string{"c": c.answer})
		if r.OK != c.ok {
			t.Errorf("%s: answer %q: %v, %s", c.check, c.answer, r.OK, r.Got)
		}
	}
	if r := judge(t, `answer: {event: "tcp:segment_sent"}`, session, nil); r.OK || r.Got != "no answer was given" {
		t.Errorf("without an answer: %v, %q", r.OK, r.Got)
	}
}

// A wrong answer must not be told the right one: it could be tried again.
func TestAnswerIsNotGivenAway(t *testing.T) {
	r := judge(t, `answer: {event: "tcp:segment_sent", where: 'flags == "SYN"', field: seq}`, session, map[string]string{"c": "5"})
	if text := fmt.Sprint(r); r.OK || strings.Contains(text, "1000") {
		t.Errorf("%s", text)
	}
}
