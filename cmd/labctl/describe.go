package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"labd.dev/client"
	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

// describeKinds are what describe shows one of.
var describeKinds = []struct {
	name  string
	names nameLister
	get   func(a *app, ctx context.Context, c *client.Client, name string) (proto.Message, error)
}{
	{"lab", labNames, func(_ *app, ctx context.Context, c *client.Client, name string) (proto.Message, error) {
		r, err := c.Labs.GetLab(ctx, &labv1.GetLabRequest{Lab: name})
		return r.GetLab(), err
	}},
	{"node", nodeNames, func(a *app, ctx context.Context, c *client.Client, name string) (proto.Message, error) {
		r, err := c.Nodes.GetNode(ctx, &labv1.GetNodeRequest{Lab: a.labName(), Node: name})
		return r.GetNode(), err
	}},
	{"link", linkNames, func(a *app, ctx context.Context, c *client.Client, name string) (proto.Message, error) {
		r, err := c.Links.GetLink(ctx, &labv1.GetLinkRequest{Lab: a.labName(), Link: name})
		return r.GetLink(), err
	}},
	{"conn", connNames, func(a *app, ctx context.Context, c *client.Client, name string) (proto.Message, error) {
		r, err := c.Nodes.ListConns(ctx, &labv1.ListConnsRequest{Lab: a.labName(), Conn: name})
		if err == nil && len(r.GetConns()) == 0 {
			err = &client.Error{Code: client.CodeNotFound, Message: fmt.Sprintf("no node holds connection %q; labctl get conns lists those there are", name)}
		}
		return r, err
	}},
	{"transfer", transferNames, func(a *app, ctx context.Context, c *client.Client, name string) (proto.Message, error) {
		r, err := c.Transfers.GetTransfer(ctx, &labv1.GetTransferRequest{Lab: a.labName(), Transfer: name})
		return r.GetTransfer(), err
	}},
	{"fault", faultNames, func(a *app, ctx context.Context, c *client.Client, name string) (proto.Message, error) {
		r, err := c.Faults.ListFaults(ctx, &labv1.ListFaultsRequest{Lab: a.labName()})
		for _, f := range r.GetFaults() {
			if f.Id == name {
				return f, nil
			}
		}
		if err == nil {
			err = &client.Error{Code: client.CodeNotFound, Message: fmt.Sprintf("no fault %q; labctl get faults lists those there are", name)}
		}
		return nil, err
	}},
	{"run", runNames, func(_ *app, ctx context.Context, c *client.Client, name string) (proto.Message, error) {
		r, err := c.Runs.GetRun(ctx, &labv1.GetRunRequest{Run: name})
		return r.GetRun(), err
	}},
}

func newDescribeCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "describe lab|node|link|conn|transfer|fault|run NAME",
		Short:   "Show all there is to know of one thing",
		Example: "  labctl describe node client",
		Args:    arguments(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, k := range describeKinds {
		cmd.AddCommand(a.completes(&cobra.Command{
			Use: k.name + " NAME", Short: "Show a " + k.name, Example: "  labctl describe " + k.name + " NAME", Args: arguments(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, args []string) error {
				c, err := a.connect()
				if err != nil {
					return err
				}
				defer c.Close()
				m, err := k.get(a, cmd.Context(), c, args[0])
				if err != nil {
					return err
				}
				return a.describe(m)
			},
		}, k.names))
	}
	return cmd
}

func (a *app) describe(m proto.Message) error {
	if !a.format.ForPeople() {
		l := &output.List{Columns: []string{"json"}}
		b, err := output.Marshal(m)
		if err != nil {
			return err
		}
		l.Add(m, string(b))
		return a.format.WriteOne(a.out, l)
	}
	var b strings.Builder
	if k, ok := m.(*labv1.LinkStatus); ok {
		var bdp []string
		for _, d := range []*labv1.DirectionStatus{k.Forward, k.Reverse} {
			if size := bandwidthDelay(k, d); size != "" {
				bdp = append(bdp, d.GetName()+" "+size)
			}
		}
		fmt.Fprintf(&b, "round-trip time: %s\n", output.Duration(linkRTT(k)))
		if len(bdp) > 0 {
			fmt.Fprintf(&b, "bandwidth-delay product: %s\n", strings.Join(bdp, ", "))
		}
	}
	// A strings.Builder takes everything.
	_ = output.Describe(&b, m)
	text := b.String()
	if a.format != output.Wide {
		text = output.Hanging(text, 4)
	}
	_, err := io.WriteString(a.out, text)
	return err
}
