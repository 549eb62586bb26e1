package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

func (o *getOptions) workers(ctx context.Context, c *client.Client) (*output.List, error) {
	r, err := c.Workers.ListWorkers(ctx, &labv1.ListWorkersRequest{})
	return workerList(r.GetWorkers()), err
}

func workerList(workers []*labv1.Worker) *output.List {
	l := &output.List{Columns: []string{"NAME", "STATE", "LABS", "EVENTS/S", "MEMORY", "OF", "CORES", "DISK", "ADDRESS", "SINCE", "VERSION", "ID", "REASON"},
		Brief: &output.Brief{Columns: []string{"NAME", "STATE", "LABS", "EVENTS/S", "MEMORY", "OF", "CORES", "ADDRESS"}}}
	for _, w := range workers {
		events, used, of := strconv.FormatFloat(w.GetEventsPerS(), 'f', 0, 64), output.Size(w.GetMemoryUsedBytes()), bound(w.GetMemoryBytes())
		l.Add(w, w.GetName(), output.EnumText(w.GetState()), fmt.Sprint(w.GetLabs()), events, used, of, fmt.Sprint(w.GetCores()), bound(w.GetDiskFreeBytes()),
			w.GetAddress(), w.GetSince().AsTime().UTC().Format(time.RFC3339), w.GetVersion(), w.GetId(), w.GetReason())
		l.Brief.Add(w.GetReason(), w.GetName(), output.EnumText(w.GetState()), fmt.Sprint(w.GetLabs()), events, used, of, fmt.Sprint(w.GetCores()), w.GetAddress())
	}
	return l
}

// bound writes an amount that may not be bounded, or not be known.
func bound(n uint64) string {
	if n == 0 {
		return "-"
	}
	return output.Size(n)
}

func newDrainCommand(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "drain WORKER",
		Short: "Let a worker have no labs: those it has move to others",
		Long: `Let a worker have no labs. Those that it has move to other workers one after another, each between two inputs: it is
stopped, given away under a new epoch, and replayed up to where it was; its trace is the one it would have had. Runs that
have not ended are run again elsewhere. The worker stays drained, also over its restarts, until it is undrained.

The last worker that takes labs is not drained, unless --force is given: then it takes no new ones, and keeps those it has
until another worker comes.`,
		Example: "  labctl drain worker-2\n  labctl get workers --watch",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := c.Workers.DrainWorker(cmd.Context(), &labv1.DrainWorkerRequest{RequestId: client.RequestID(), Worker: args[0], Force: force})
			if err != nil {
				return err
			}
			return a.printWorker(r.GetWorker())
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "even if no other worker is left that takes labs")
	return a.completes(cmd, workerNames)
}

func newUndrainCommand(a *app) *cobra.Command {
	return a.completes(&cobra.Command{
		Use: "undrain WORKER", Short: "Let a drained worker have labs again", Example: "  labctl undrain worker-2",
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := c.Workers.UndrainWorker(cmd.Context(), &labv1.UndrainWorkerRequest{RequestId: client.RequestID(), Worker: args[0]})
			if err != nil {
				return err
			}
			return a.printWorker(r.GetWorker())
		},
	}, workerNames)
}

// printWorker prints how a worker stands after a change.
func (a *app) printWorker(w *labv1.Worker) error {
	if !a.format.ForPeople() {
		return a.format.Write(a.out, workerList([]*labv1.Worker{w}))
	}
	_, err := fmt.Fprintf(a.out, "worker %s: %s, labs %d\n", w.GetName(), output.EnumText(w.GetState()), w.GetLabs())
	return err
}
