package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

func newClusterCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster members|join|remove|transfer-leadership|snapshot|health",
		Short: "See and change the servers of a cluster",
		Long: `See and change the servers of a cluster, which are started with: labd server. A server that is stopped stays one of
the cluster's until it is removed. See docs/cluster.md.`,
		Example: `  labctl cluster members
  labctl cluster snapshot save labd.snapshot`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newMembersCommand(a), newJoinCommand(a), newRemoveCommand(a), newTransferLeadershipCommand(a),
		newSnapshotCommand(a), newHealthCommand(a))
	return cmd
}

// with carries something out with a client.
func (a *app) with(ctx context.Context, do func(context.Context, *client.Client) error) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	return do(ctx, c)
}

func newMembersCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "members", Short: "List the servers", Example: "  labctl cluster members\n  labctl cluster members --stale",
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Cluster.ListMembers(ctx, &labv1.ListMembersRequest{})
				if err != nil {
					return err
				}
				return a.format.Write(a.out, memberList(r.GetMembers()))
			})
		},
	}
}

func memberList(members []*labv1.Member) *output.List {
	l := &output.List{Columns: []string{"ID", "ADDRESS", "ROLE", "REACHABLE", "TERM", "LAST", "APPLIED", "VERSION", "ERROR"},
		Brief: &output.Brief{Columns: []string{"ID", "ADDRESS", "ROLE", "REACHABLE", "LAST"}}}
	for _, m := range members {
		role, reachable := output.EnumText(m.GetRole()), yes(m.GetReachable())
		l.Add(m, m.GetServerId(), m.GetAddress(), role, reachable, fmt.Sprint(m.GetTerm()), fmt.Sprint(m.GetLastIndex()),
			fmt.Sprint(m.GetAppliedIndex()), m.GetVersion(), m.GetError())
		l.Brief.Add(m.GetError(), shortID(m.GetServerId()), m.GetAddress(), role, reachable, fmt.Sprint(m.GetLastIndex()))
	}
	return l
}

// shortID is enough of a server's id to know it by, and to name it to labctl.
func shortID(id string) string { return id[:min(len(id), 8)] }

func newJoinCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "join ADDRESS",
		Short: "Take a running server into the cluster",
		Long: `Take a server into the cluster that runs and belongs to none, or that was removed from this one. It votes once its log
has caught up. A server that is started with --join asks for that itself.`,
		Example: "  labctl cluster join s4:7070", Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Cluster.AddMember(ctx, &labv1.AddMemberRequest{Address: args[0]})
				if err != nil {
					return err
				}
				return a.member(r, r.GetMember(), "joins; it votes once its log has caught up")
			})
		},
	}
}

// member says what became of a server.
func (a *app) member(response any, m *labv1.Member, what string) error {
	if !a.format.ForPeople() {
		l := memberList([]*labv1.Member{m})
		l.Objects = []any{response}
		return a.format.WriteOne(a.out, l)
	}
	_, err := fmt.Fprintf(a.out, "%s at %s %s\n", shortID(m.GetServerId()), m.GetAddress(), what)
	return err
}

func newRemoveCommand(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "remove SERVER",
		Short: "Take a server out of the cluster for good",
		Long: `Take a server out of the cluster for good, by its id, the beginning of it, or its address. It is refused when of the
servers left too few answer for a majority.`,
		Example: "  labctl cluster remove s3:7070", Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Cluster.RemoveMember(ctx, &labv1.RemoveMemberRequest{Server: args[0], Force: force})
				if err != nil {
					return err
				}
				return a.member(r, r.GetMember(), "is removed")
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "even if too few of those left answer for a majority")
	return cmd
}

func newTransferLeadershipCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "transfer-leadership [SERVER]",
		Short:   "Have another server lead",
		Long:    "Have another server lead: the one named by its id, the beginning of it, or its address, else the one that is furthest.",
		Example: "  labctl cluster transfer-leadership s2:7070", Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &labv1.TransferLeadershipRequest{}
			if len(args) > 0 {
				req.Server = args[0]
			}
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Cluster.TransferLeadership(ctx, req)
				if err != nil {
					return err
				}
				return a.member(r, r.GetLeader(), "leads")
			})
		},
	}
}

func newSnapshotCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot save|restore FILE",
		Short: "Write the whole state into a file, or put a saved one in its place",
		Long: `Write the whole state into a file, or put a saved one in the place of the present one: labs, runs, their journals, who
the workers are. Uploaded files and what labs recorded lie beside it, on servers' and workers' disks. A file that is cut
short or changed, or of a newer labd, is refused before anything changes. After a restore every lab is rebuilt from its
journal.`,
		Example: `  labctl cluster snapshot save labd.snapshot
  labctl cluster snapshot restore labd.snapshot`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "save FILE", Short: "Write the whole state into a file", Example: "  labctl cluster snapshot save labd.snapshot",
			Args: arguments(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error { return a.saveSnapshot(ctx, c, args[0]) })
			},
		},
		&cobra.Command{
			Use: "restore FILE", Short: "Put a saved state in the place of the present one", Example: "  labctl cluster snapshot restore labd.snapshot",
			Args: arguments(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error { return a.restoreSnapshot(ctx, c, args[0]) })
			},
		},
	)
	return cmd
}

// saved is what a snapshot came to.
type saved struct {
	File      string `json:"file"`
	SizeBytes int64  `json:"size_bytes"`
}

func (a *app) saveSnapshot(ctx context.Context, c *client.Client, file string) error {
	size, err := c.SaveSnapshot(ctx, file)
	if err != nil {
		return err
	}
	if !a.format.ForPeople() {
		l := &output.List{Columns: []string{"file", "size_bytes"}}
		l.Add(saved{file, size}, file, fmt.Sprint(size))
		return a.format.WriteOne(a.out, l)
	}
	_, err = fmt.Fprintf(a.out, "%s: %s\n", file, output.Size(uint64(size)))
	return err
}

func (a *app) restoreSnapshot(ctx context.Context, c *client.Client, file string) error {
	r, err := c.RestoreSnapshot(ctx, file)
	if err != nil {
		return err
	}
	if !a.format.ForPeople() {
		l := &output.List{Columns: []string{"labs", "runs", "inputs", "files"}}
		l.Add(r, fmt.Sprint(r.GetLabs()), fmt.Sprint(r.GetRuns()), fmt.Sprint(r.GetInputs()), fmt.Sprint(r.GetFiles()))
		return a.format.WriteOne(a.out, l)
	}
	_, err = fmt.Fprintf(a.out, "restored: %d labs, %d runs, %d inputs, %d files named; labs are rebuilt\n",
		r.GetLabs(), r.GetRuns(), r.GetInputs(), r.GetFiles())
	return err
}

func newHealthCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Tell whether changes can be made, and how many servers may be lost",
		Long: `Tell whether changes can be made, and how many servers may be lost, as the server sees it that answers. Exit code 1:
changes cannot be made.`,
		Example: "  labctl cluster health", Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				h, err := c.Cluster.GetHealth(ctx, &labv1.GetHealthRequest{})
				if err != nil {
					return err
				}
				return a.health(h)
			})
		},
	}
}

func (a *app) health(h *labv1.GetHealthResponse) error {
	l := &output.List{Columns: []string{"WRITABLE", "LEADER", "VOTERS", "REACHABLE", "TOLERATES", "REASON"}}
	l.Add(h, yes(h.GetWritable()), h.GetLeader(), fmt.Sprint(h.GetVoters()), fmt.Sprint(h.GetReachableVoters()),
		fmt.Sprint(h.GetTolerates()), h.GetReason())
	if err := a.format.WriteOne(a.out, l); err != nil {
		return err
	}
	if !h.GetWritable() {
		return &failedError{exitFailed}
	}
	return nil
}
