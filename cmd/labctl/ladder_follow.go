package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"labd.dev/internal/output"
	"labd.dev/trace"
)

// errConnOver ends a stream: the connection is closed.
var errConnOver = errors.New("the connection is over")

// followLadder draws a connection as it goes on.
func (a *app) followLadder(ctx context.Context, dir, conn string, opts trace.LadderOptions) error {
	switch {
	case dir != "":
		return &usageError{"--follow and --run: a run directory holds what there was; nothing follows"}
	case !a.format.ForPeople() && a.format != output.JSONL:
		return &usageError{fmt.Sprintf("--follow has no end, and %s has one; use -o jsonl or table", string(a.format))}
	}
	opts.Color = colour(a.out)
	l := &liveLadder{app: a, opts: opts, states: map[string]string{}, live: terminal(a.out)}
	err := a.followEvents(ctx, a.labName(), conn, func(events []trace.Event, _ int64) error { return l.add(events) })
	if errors.Is(err, errConnOver) {
		err = nil
	}
	return errors.Join(err, l.finish())
}

// liveLadder is a ladder that grows. On a terminal it is drawn anew each time; elsewhere lines are printed once they no
// longer change: a segment's line does until it has arrived.
type liveLadder struct {
	*app
	opts    trace.LadderOptions
	live    bool
	events  []trace.Event
	states  map[string]string // by side
	drawn   []string          // lines of the last drawing
	printed []string
}

func (l *liveLadder) add(events []trace.Event) error {
	if len(events) == 0 {
		return nil
	}
	if !l.format.ForPeople() {
		if err := writeEvents(l.out, events, l.format); err != nil {
			return err
		}
	} else if err := l.draw(append(l.events, events...)); err != nil {
		return err
	}
	for i := range events {
		if e := &events[i]; e.Name == "tcp:state_updated" {
			state, _ := e.Get("new")
			l.states[e.Side], _ = state.(string)
		}
	}
	return l.over()
}

// over says that both ends have come to the end of the connection.
func (l *liveLadder) over() error {
	for _, state := range l.states {
		if state != "CLOSED" && state != "TIME_WAIT" {
			return nil
		}
	}
	if len(l.states) == 0 {
		return nil
	}
	return errConnOver
}

func (l *liveLadder) draw(events []trace.Event) error {
	l.events = events
	text := trace.Ladder(events, l.opts)
	if l.live {
		_, err := io.WriteString(l.out, clearScreen+text)
		return err
	}
	lines := strings.SplitAfter(text, "\n")
	settled := 0
	for settled < min(len(lines), len(l.drawn)) && lines[settled] == l.drawn[settled] {
		settled++
	}
	l.drawn = lines
	return l.print(lines[:settled])
}

// print prints lines that have not been printed. Where what was printed is no longer so (a column has grown) all is
// printed again.
func (l *liveLadder) print(lines []string) error {
	if len(lines) < len(l.printed) && slices.Equal(lines, l.printed[:len(lines)]) {
		return nil
	}
	from := len(l.printed)
	if from > len(lines) || !slices.Equal(lines[:from], l.printed) {
		from = 0
		if _, err := io.WriteString(l.out, "\n"); err != nil {
			return err
		}
	}
	l.printed = lines
	_, err := io.WriteString(l.out, strings.Join(lines[from:], ""))
	return err
}

// finish prints what was not printed yet.
func (l *liveLadder) finish() error {
	if l.live || !l.format.ForPeople() {
		return nil
	}
	return l.print(l.drawn)
}
