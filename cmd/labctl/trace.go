package main

import (
	"strings"

	"github.com/spf13/cobra"

	"labd.dev/internal/output"
)

func newTraceCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace",
		Short: "Export what was recorded",
		Args:  arguments(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTraceExportCommand(a))
	return cmd
}

func newTraceExportCommand(a *app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "export [CONN] -o jsonl|csv",
		Short: "Print the events of a connection, or all, in the order of lab time",
		Example: `  labctl trace export client/1 -o csv --run labd-runs/download-1
  labctl trace export -o jsonl | jq 'select(.name == "link:dropped")'`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			events, err := a.events(cmd.Context(), dir, strings.Join(args, ""))
			if err != nil {
				return err
			}
			format := a.format
			if format.ForPeople() {
				format = output.JSONL
			}
			return writeEvents(a.out, events, format)
		},
	}
	cmd.Flags().StringVar(&dir, "run", "", "read this run directory instead of a lab")
	return a.completes(cmd, connNames)
}
