package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"labd.dev/internal/output"
)

func newTraceCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace",
		Short: "Export or collect what was recorded",
		Args:  arguments(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTraceExportCommand(a), newTraceCollectCommand(a))
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

func newTraceCollectCommand(a *app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "collect RUN",
		Short: "Fetch a run's directory from whichever workers hold it",
		Long: `Fetch a run's directory from whichever workers hold it, and write it as one directory, as "run" leaves it. What was lost
with a worker is made again first, by running the run again: it comes to the same bytes.`,
		Example: "  labctl trace collect download-1 --out ./download",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			to := dir
			if to == "" {
				to = filepath.Join("labd-runs", args[0])
			}
			if old, err := os.ReadDir(to); err == nil && len(old) > 0 {
				return &usageError{fmt.Sprintf("%s is there already and not empty; name another directory with --out", to)}
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.FetchRun(cmd.Context(), args[0], to); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, to)
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "out", "", "directory to write; default labd-runs/RUN")
	return a.completes(cmd, runNames)
}
