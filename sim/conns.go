package sim

import "fmt"

// ConnsError says that a loop has more ends of connections than its budget allows.
type ConnsError struct {
	Loop  string
	At    Time
	Ends  int // that there were
	Limit int // the budget's
}

func (e *ConnsError) Error() string {
	return fmt.Sprintf("loop %q: %d ends of connections at once, more than the budget of %d, at %v", e.Loop, e.Ends, e.Limit, e.At)
}

// CountConn notes n ends of connections that the loop's stacks have made; negative: that they have let go of.
func (l *Loop) CountConn(n int) {
	l.budget.connsOpen += n
	if l.budget.connsOpen > l.budget.connEnds {
		l.watch = 0 // the next event looks at the budget
	}
}

// ConnEnds is how many ends of connections the loop's stacks have.
func (l *Loop) ConnEnds() int { return l.budget.connsOpen }
