package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// replayOptions are replay's flags.
type replayOptions struct {
	*app
	loops uint32
	out   string
}

func newReplayCommand(a *app) *cobra.Command {
	o := &replayOptions{app: a}
	cmd := &cobra.Command{
		Use:   "replay DIR",
		Short: "Run a run directory's lab again and compare every byte",
		Long: `Run the lab of a run directory again, from that directory alone: its lab file, its seed and its journal of inputs,
as fast as the machine can. Journal, trace and captures must come out byte for byte the same. It needs no server: a
labd runs inside this process unless --server names one.

It prints "identical", or the first event that differs, and then ends with exit code 1.`,
		Example: `  labctl replay labd-runs/download-1
  labctl replay labd-runs/download-1 --loops 2 --out again`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().Uint32Var(&o.loops, "loops", 0, "split the lab over so many event loops (default: as many as it had)")
	cmd.Flags().StringVar(&o.out, "out", "", "keep the second run's directory here")
	return cmd
}

func (o *replayOptions) run(ctx context.Context, dir string) error {
	if err := replayable(dir); err != nil {
		return err
	}
	if o.out != "" {
		if _, err := trace.Create(o.out); err != nil {
			return &usageError{err.Error()}
		}
	}
	c, stop, err := (&runOptions{app: o.app}).runClient()
	if err != nil {
		return err
	}
	defer stop()
	outcome, err := c.ReplayRun(ctx, dir, o.loops, o.out)
	if err != nil {
		return fmt.Errorf("replay of %s: %w", dir, err)
	}
	return o.print(dir, outcome)
}

// replayable says what a directory lacks for a replay.
func replayable(dir string) error {
	r, err := trace.Open(dir)
	if err != nil {
		return err
	}
	for _, name := range []string{"spec.pb", trace.JournalFile, trace.EventsFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s holds no %s: the run was ended before it was written, so there is nothing to compare with: %w",
				dir, name, trace.ErrNotRun)
		} else if err != nil {
			return err
		}
	}
	if r.Manifest.EndNs == 0 && r.Manifest.WallNs == 0 {
		return fmt.Errorf("%s: the run has not ended, or was killed: %w", dir, trace.ErrNotRun)
	}
	return nil
}

func (o *replayOptions) print(dir string, r *labv1.ReplayOutcome) error {
	switch {
	case !o.format.ForPeople():
		l := &output.List{Columns: []string{"IDENTICAL", "FILE", "DIFFERENCE", "RECORDS", "END NS"}}
		l.Add(r, fmt.Sprint(r.Identical), r.File, r.Difference, fmt.Sprint(r.Records), fmt.Sprint(r.EndNs))
		if err := o.format.WriteOne(o.app.out, l); err != nil {
			return err
		}
	case r.Identical:
		fmt.Fprintf(o.app.out, "identical: %d records, %s of lab time\n", r.Records, output.Seconds(r.EndNs))
	default:
		fmt.Fprintf(o.app.out, "%s differs from its replay: %s: %s\n", dir, r.File, r.Difference)
	}
	if !r.Identical {
		return &failedError{exitFailed}
	}
	return nil
}
