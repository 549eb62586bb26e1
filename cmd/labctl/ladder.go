package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"labd.dev/internal/output"
	"labd.dev/trace"
)

func newLadderCommand(a *app) *cobra.Command {
	var dir string
	var opts trace.LadderOptions
	var follow bool
	cmd := &cobra.Command{
		Use:   "ladder CONN",
		Short: "Draw a connection: every segment, both ends' states, what was lost",
		Example: `  labctl ladder client/3
  labctl ladder client/4 --follow
  labctl ladder client/1 --run labd-runs/download-1 --absolute`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if follow {
				return a.followLadder(cmd.Context(), dir, args[0], opts)
			}
			events, err := a.events(cmd.Context(), dir, args[0])
			if err != nil {
				return err
			}
			if !a.format.ForPeople() {
				return writeEvents(a.out, events, a.format)
			}
			opts.Color = colour(a.out)
			text := trace.Ladder(events, opts)
			if text == "" {
				return fmt.Errorf("connection %s has sent no segment", args[0])
			}
			_, err = io.WriteString(a.out, text)
			return err
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "draw what comes, until the connection is closed")
	cmd.Flags().StringVar(&dir, "run", "", "read this run directory instead of a lab")
	cmd.Flags().BoolVar(&opts.Absolute, "absolute", false, "sequence numbers as on the wire")
	cmd.Flags().BoolVar(&opts.Condensed, "condensed", false, "only the handshake, the first data and the close")
	cmd.Flags().BoolVar(&opts.ASCII, "ascii", false, "no box-drawing characters")
	cmd.Flags().IntVar(&opts.Width, "width", 0, "columns (default 80)")
	return a.completes(cmd, connNames)
}

// writeEvents prints events for programs.
func writeEvents(w io.Writer, events []trace.Event, format output.Format) error {
	switch format {
	case output.CSV:
		return trace.WriteCSV(w, events)
	case output.JSON:
		if events == nil {
			events = []trace.Event{}
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(events)
	}
	return trace.WriteJSONL(w, events)
}
