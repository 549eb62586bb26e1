package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/experiment"
	"labd.dev/internal/daemon"
	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// runsDir is where runs go that --out does not send elsewhere.
const runsDir = "labd-runs"

// runOptions are run's flags.
type runOptions struct {
	*app
	out       string
	clock     clockFlag
	seed      uint64
	seedSet   bool
	loops     uint32
	noCapture bool
}

func newRunCommand(a *app) *cobra.Command {
	o := &runOptions{app: a}
	cmd := &cobra.Command{
		Use:   "run EXPERIMENT",
		Short: "Carry out an experiment and show what came of it",
		Long: `Carry out an experiment file: build its lab, run its workload and faults, check what came of it. It needs no
server: a labd runs inside this process unless --server names one.

Ctrl-C ends the run early: what there is by then is kept and said to be partial. A second Ctrl-C leaves at once.`,
		Example: `  labctl run examples/download/experiment.yaml
  labctl run examples/download/experiment.yaml --clock real -o json`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.seedSet = cmd.Flags().Changed("seed")
			return o.run(cmd.Context(), args[0])
		},
	}
	cmd.Flags().StringVar(&o.out, "out", "", "run directory (default ./"+runsDir+"/NAME-N)")
	cmd.Flags().Var(&o.clock, "clock", "real or virtual (default: the file's, else virtual)")
	cmd.Flags().Uint64Var(&o.seed, "seed", 0, "seed instead of the file's")
	cmd.Flags().Uint32Var(&o.loops, "loops", 0, "split the lab over so many event loops; the result is the same")
	cmd.Flags().BoolVar(&o.noCapture, "no-capture", false, "write no captures")
	return cmd
}

func (o *runOptions) run(ctx context.Context, path string) error {
	// From here on Ctrl-C asks for an early end; before, it ends the process.
	interrupted := make(chan os.Signal, 2)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupted)

	x, err := experiment.Load(path)
	if err != nil {
		return fileError(err)
	}
	o.override(x.Spec)
	dir, err := o.directory(x.Name)
	if err != nil {
		return err
	}
	c, stop, err := o.runClient()
	if err != nil {
		return err
	}
	defer stop()
	run, err := o.carryOut(ctx, c, x, interrupted)
	if err != nil {
		// Nothing was recorded: the empty directory goes.
		os.Remove(filepath.Join(dir, trace.CaptureDir))
		os.Remove(dir)
		return err
	}
	if err := c.FetchRun(ctx, run.Id, dir); err != nil {
		// Without its manifest nobody takes it for a whole run.
		os.Remove(filepath.Join(dir, trace.ManifestFile))
		return fmt.Errorf("run directory %s: %w", dir, err)
	}
	return o.conclude(x, run, dir)
}

func (o *runOptions) override(spec *labv1.LabSpec) {
	if o.clock.value != labv1.Clock_CLOCK_UNSPECIFIED {
		spec.Clock = o.clock.value
	}
	if o.seedSet {
		spec.Seed = o.seed
	}
	if o.loops > 0 {
		spec.Placement = &labv1.Placement{Loops: o.loops, Workers: spec.GetPlacement().GetWorkers()}
	}
}

// directory makes the run directory.
func (o *runOptions) directory(name string) (string, error) {
	if o.out == "" {
		return trace.NextPath(runsDir, name)
	}
	d, err := trace.Create(o.out)
	if err != nil {
		return "", &usageError{err.Error()}
	}
	return d.Path(), nil
}

// runClient is a client of the labd that was named, else of one in this process.
func (o *runOptions) runClient() (*client.Client, func(), error) {
	if o.server != "" {
		c, err := o.connect()
		return c, func() { c.Close() }, err
	}
	d, err := daemon.Start(daemon.Config{})
	if err != nil {
		return nil, nil, err
	}
	return d.Client(), func() {
		if err := d.Stop(context.Background()); err != nil {
			fmt.Fprintln(o.err, "labctl:", err)
		}
	}, nil
}

// carryOut starts the run and follows it to its end, which Ctrl-C brings nearer.
func (o *runOptions) carryOut(ctx context.Context, c *client.Client, x *experiment.Experiment, interrupted <-chan os.Signal) (*labv1.Run, error) {
	req, err := x.Request(!o.noCapture)
	if err != nil {
		return nil, err
	}
	req.RequestId = client.RequestID()
	if err := upload(ctx, c, x.Uploads); err != nil {
		return nil, err
	}
	r, err := c.Runs.CreateRun(ctx, req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go interruptRun(ctx, cancel, c, r.Run.Id, interrupted)
	p, held := newProgress(o.err), false
	defer p.clear()
	return c.FollowRun(ctx, r.Run.Id, func(run *labv1.Run) {
		if why := run.GetProgress().GetHeld(); why != "" && !held {
			held = true // said once: it may be held back for moments at a time
			p.clear()
			fmt.Fprintf(o.err, "labctl: the run is held back by %s\n", why)
		}
		p.show("%s  %d events", output.Seconds(run.GetProgress().GetNowNs()), run.GetProgress().GetEvents())
	})
}

// interruptRun turns the first Ctrl-C into an input of the run and the second into leaving at once.
func interruptRun(ctx context.Context, cancel func(), c *client.Client, run string, interrupted <-chan os.Signal) {
	select {
	case <-ctx.Done():
		return
	case <-interrupted:
	}
	// A run that has ended just now needs no interrupt; one that cannot be interrupted is left.
	if _, err := c.Runs.InterruptRun(ctx, &labv1.InterruptRunRequest{RequestId: client.RequestID(), Run: run}); err != nil {
		cancel()
		return
	}
	select {
	case <-ctx.Done():
	case <-interrupted:
		cancel()
	}
}

// conclude judges what the run recorded, completes its directory and prints the outcome.
func (o *runOptions) conclude(x *experiment.Experiment, run *labv1.Run, dir string) error {
	opened, err := trace.Open(dir)
	if err != nil {
		return err
	}
	t, err := opened.Trace()
	if err != nil {
		return err
	}
	events := t.Events()
	spec := x.Spec
	s := x.Summary(run, spec, dir, events)
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", trace.SummaryFile, err)
	}
	if err := os.WriteFile(filepath.Join(dir, trace.SummaryFile), append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	if err := o.print(run, s, events); err != nil {
		return err
	}
	switch {
	case s.Error != "":
		fmt.Fprintf(o.err, "labctl: the run was ended by an error at %s, what there is was kept: %s\n", output.Seconds(s.EndNs), s.Error)
		return &failedError{exitFailed}
	case s.Partial:
		fmt.Fprintf(o.err, "labctl: interrupted at %s: the results are partial\n", output.Seconds(s.EndNs))
		return &failedError{exitInterrupted}
	case !x.Passed(run, s):
		return &failedError{exitFailed}
	}
	return nil
}
