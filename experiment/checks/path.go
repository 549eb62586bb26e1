package checks

import (
	"fmt"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

const (
	// maxEnds bounds the ends of connections that one check follows.
	maxEnds = 100_000
	// maxMoves bounds the states of one end: RFC 9293's longest way, a simultaneous open and close, has seven.
	maxMoves = 16
	// anyStates stands for any states, or none.
	anyStates = "..."

	stateEvent = "tcp:state_updated"
)

var errTooManyEnds = fmt.Errorf("more than %d ends of connections; name one", maxEnds)

// path is the verb state_path.
type path struct {
	spec *labv1.StatePath
	ends []*endPath
	at   map[[2]string]*endPath // by connection and node
}

// endPath is the way of one end of a connection.
type endPath struct {
	states []string // the one before its first move, and each that it came to
	moves  []trace.Event
}

func newPath(spec *labv1.StatePath) *path {
	return &path{spec: spec, at: map[[2]string]*endPath{}}
}

func (p *path) event(_ *session, e *trace.Event) error {
	if e.Name != stateEvent || e.Conn == "" ||
		p.spec.GetConn() != "" && p.spec.GetConn() != e.Conn ||
		p.spec.GetNode() != "" && p.spec.GetNode() != e.Node ||
		p.spec.GetSide() != "" && p.spec.GetSide() != e.Side {
		return nil
	}
	key := [2]string{e.Conn, e.Node + " " + e.Side} // a node may talk to itself
	end := p.at[key]
	if end == nil {
		if len(p.ends) == maxEnds {
			return errTooManyEnds
		}
		end = &endPath{states: []string{textOf(e, "old")}}
		p.at[key] = end
		p.ends = append(p.ends, end)
	}
	if len(end.states) <= maxMoves {
		end.states = append(end.states, textOf(e, "new"))
		end.moves = append(end.moves, *e)
	}
	return nil
}

func textOf(e *trace.Event, field string) string {
	v, _ := e.Get(field)
	s, _ := v.(string)
	return s
}

func (p *path) end(r *trace.CheckSummary) {
	wanted := strings.Join(p.spec.GetStates(), " ")
	for _, end := range p.ends {
		// The state before the first move may be left out.
		if follows(end.states[1:], p.spec.GetStates()) || follows(end.states, p.spec.GetStates()) {
			continue
		}
		e := end.moves[0]
		r.Got = fmt.Sprintf("%s at %s went %s, wanted %s", e.Conn, e.Node, strings.Join(end.states, " "), wanted)
		r.Events = end.moves
		return
	}
	r.OK = len(p.ends) > 0
	if !r.OK {
		r.Got = "there is no such end of a connection"
		return
	}
	r.Got = fmt.Sprintf("%d went %s", len(p.ends), wanted)
	r.Events = p.ends[0].moves
}

// follows reports whether states are as a pattern says.
func follows(states, pattern []string) bool {
	// at[i]: the first i states can be what the pattern so far stands for.
	at := make([]bool, len(states)+1)
	at[0] = true
	for _, want := range pattern {
		next := make([]bool, len(at))
		for i := range at {
			switch {
			case want == anyStates:
				next[i] = at[i] || i > 0 && next[i-1]
			case i > 0:
				next[i] = at[i-1] && states[i-1] == want
			}
		}
		at = next
	}
	return at[len(states)]
}
