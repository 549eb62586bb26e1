package main

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"labd.dev/internal/output"
	"labd.dev/trace"
)

// eventsOptions are events' flags.
type eventsOptions struct {
	*app
	dir    string
	follow bool
	conn   string
	names  []string
}

func newEventsCommand(a *app) *cobra.Command {
	o := &eventsOptions{app: a}
	cmd := &cobra.Command{
		Use:   "events [LAB]",
		Short: "Print what happened in a lab, event by event, and with --follow what happens",
		Long: `Print a lab's events in the order of lab time: those that it still keeps, and with --follow those to come, until the
lab ends or Ctrl-C. A connection to labd that breaks is taken up again where it broke. Who reads so slowly that the lab
no longer keeps what follows is told so; the lab never waits. Of inputs it is told what they were, when they were given
and, where labd asks people who they are, by whom: labctl events LAB --name lab:input.`,
		Example: `  labctl events --follow --conn client/1 --name 'tcp:*'
  labctl events demo --name 'link:dropped' --name 'lab:*' -o jsonl
  labctl events alice/arena --name lab:input --follow     # who does what, as they do it
  labctl events --run labd-runs/download-1 --name tcp:recovery_entered`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), strings.Join(args, "")) },
	}
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "go on with what happens from now on")
	cmd.Flags().StringVar(&o.conn, "conn", "", "only this connection: client/1")
	cmd.Flags().StringArrayVar(&o.names, "name", nil, "only events of this name, * for any letters: 'tcp:*'; may be repeated")
	cmd.Flags().StringVar(&o.dir, "run", "", "read this run directory instead of a lab")
	return cmd
}

func (o *eventsOptions) run(ctx context.Context, lab string) error {
	for _, pattern := range o.names {
		if _, err := path.Match(pattern, ""); err != nil {
			return &usageError{fmt.Sprintf("--name %q: not a pattern: [ has no ]", pattern)}
		}
	}
	if lab != "" {
		o.lab = lab
	}
	switch {
	case o.follow && o.dir != "":
		return &usageError{"--follow and --run: a run directory holds what there was; nothing follows"}
	case o.follow && !o.format.ForPeople() && o.format != output.JSONL:
		return &usageError{fmt.Sprintf("--follow has no end, and %s has one; use -o jsonl or table", string(o.format))}
	case o.follow:
		return o.followEvents(ctx, o.labName(), o.conn, func(events []trace.Event, _ int64) error {
			return o.print(o.wanted(events))
		})
	}
	events, err := o.events(ctx, o.dir, o.conn)
	if err != nil {
		return err
	}
	return o.print(o.wanted(events))
}

// wanted are the events of the names asked for.
func (o *eventsOptions) wanted(events []trace.Event) []trace.Event {
	if len(o.names) == 0 {
		return events
	}
	var out []trace.Event
	for _, e := range events {
		for _, pattern := range o.names {
			if ok, err := path.Match(pattern, e.Name); ok && err == nil {
				out = append(out, e)
				break
			}
		}
	}
	return out
}

func (o *eventsOptions) print(events []trace.Event) error {
	if !o.format.ForPeople() {
		return writeEvents(o.out, events, o.format)
	}
	for i := range events {
		line := eventLine(&events[i])
		if o.format != output.Wide {
			line = output.Elided(output.Hanging(line, eventIndent)) // a lab file in an input is one long word
		}
		if _, err := io.WriteString(o.out, line); err != nil {
			return err
		}
	}
	return nil
}

// eventIndent is where an event's data goes on that its line does not hold: under the node.
const eventIndent = 15

// eventLine is an event for people: when, where, of what connection, what, and its data as words.
func eventLine(e *trace.Event) string {
	line := fmt.Sprintf("%13s  %-8s %-9s %-22s %s", output.Seconds(e.TNs), orDash(e.Node), orDash(e.Conn), e.Name, trace.DataText(e))
	return strings.TrimRight(line, " ") + "\n"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
