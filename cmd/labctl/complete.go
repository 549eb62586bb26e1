package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"labd.dev/client"
	labv1 "labd.dev/proto/lab/v1"
)

// completionWait is how long a shell waits for names: longer feels stuck, and without them it offers none.
const completionWait = 500 * time.Millisecond

// nameLister asks a labd for the names of one kind.
type nameLister func(a *app, ctx context.Context, c *client.Client) []string

// completes lets a command's arguments be completed with names that labd knows, a lister for each place.
func (a *app) completes(cmd *cobra.Command, places ...nameLister) *cobra.Command {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(places) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.names(cmd.Context(), places[len(args)]), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// completesFlag is completes for a flag's value.
func (a *app) completesFlag(cmd *cobra.Command, flag string, names nameLister) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.names(cmd.Context(), names), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic("labctl: " + err.Error())
	}
}

// names are none where no labd answers in time: a shell cannot show an error.
func (a *app) names(ctx context.Context, list nameLister) []string {
	if a.settle() != nil {
		return nil
	}
	c, err := a.dial()
	if err != nil {
		return nil
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, completionWait)
	defer cancel()
	names := list(a, ctx, c)
	slices.Sort(names)
	return slices.Compact(names)
}

func labNames(_ *app, ctx context.Context, c *client.Client) (names []string) {
	r, _ := c.Labs.ListLabs(ctx, &labv1.ListLabsRequest{})
	for _, l := range r.GetLabs() {
		names = append(names, l.Name)
	}
	return names
}

func workerNames(_ *app, ctx context.Context, c *client.Client) (names []string) {
	r, _ := c.Workers.ListWorkers(ctx, &labv1.ListWorkersRequest{})
	for _, w := range r.GetWorkers() {
		names = append(names, w.Name)
	}
	return names
}

func nodeNames(a *app, ctx context.Context, c *client.Client) (names []string) {
	r, _ := c.Nodes.ListNodes(ctx, &labv1.ListNodesRequest{Lab: a.lab})
	for _, n := range r.GetNodes() {
		names = append(names, n.Name)
	}
	return names
}

func linkNames(a *app, ctx context.Context, c *client.Client) (names []string) {
	r, _ := c.Links.ListLinks(ctx, &labv1.ListLinksRequest{Lab: a.lab})
	for _, l := range r.GetLinks() {
		names = append(names, l.Name)
	}
	return names
}

func connNames(a *app, ctx context.Context, c *client.Client) (names []string) {
	r, _ := c.Nodes.ListConns(ctx, &labv1.ListConnsRequest{Lab: a.lab})
	for _, conn := range r.GetConns() {
		names = append(names, conn.Conn)
	}
	return names
}

func faultNames(a *app, ctx context.Context, c *client.Client) (names []string) {
	r, _ := c.Faults.ListFaults(ctx, &labv1.ListFaultsRequest{Lab: a.lab})
	for _, f := range r.GetFaults() {
		if f.Active {
			names = append(names, f.Id)
		}
	}
	return names
}

func runNames(_ *app, ctx context.Context, c *client.Client) (names []string) {
	r, _ := c.Runs.ListRuns(ctx, &labv1.ListRunsRequest{})
	for _, run := range r.GetRuns() {
		names = append(names, run.Id)
	}
	return names
}

func transferNames(a *app, ctx context.Context, c *client.Client) (names []string) {
	r, _ := c.Transfers.ListTransfers(ctx, &labv1.ListTransfersRequest{Lab: a.lab})
	for _, t := range r.GetTransfers() {
		names = append(names, t.Id)
	}
	return names
}
