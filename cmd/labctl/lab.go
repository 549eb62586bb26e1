package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

func newLabCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Let others into a lab, or leave it; publish one for a class, and have an own one of it",
		Long: `Let others into a lab: to look at it or to act in it, in all of it or on some of its nodes. A lab of yours is called
NAME, somebody else's OWNER/NAME. Who is in a lab sees the nodes that it is shared for and the links that end there, and
nothing else of it: lists, traces, captures and events hold no more.

An instructor publishes a lab for a class (docs/instructor.md); each student starts an own one of it.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLabShareCommand(a), newLabUnshareCommand(a), newLabMembersCommand(a), newLabLeaveCommand(a),
		newPublishCommand(a), newStartCommand(a), newResetCommand(a))
	return cmd
}

// labRoles are the roles that a lab can be shared in.
var labRoles = []string{"viewer", "operator", "owner"}

// parseLabRole reads a role's name.
func parseLabRole(name string) (labv1.LabRole, error) {
	role := labv1.LabRole_value["LAB_ROLE_"+strings.ToUpper(name)]
	if role == 0 {
		return 0, &usageError{fmt.Sprintf("--role %q: there are viewer, operator and owner", name)}
	}
	return labv1.LabRole(role), nil
}

func newLabShareCommand(a *app) *cobra.Command {
	var user, role string
	var nodes []string
	cmd := &cobra.Command{
		Use:   "share LAB --user PERSON",
		Short: "Let somebody into a lab",
		Long: `Let somebody into a lab. A viewer sees what happens on the nodes named. An operator also runs commands on them, sends from
them to whatever is in view and to any address, and breaks them and what they send. An owner may do all, also change
the lab's file and its clock, share it and delete it. Sharing in the same role again replaces the nodes; somebody may be
in a lab in several roles.`,
		Example: `  labctl lab share arena --user bob --nodes 'b*' --role operator
  labctl lab share arena --user bob --nodes router --role viewer`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := parseLabRole(role)
			if err != nil {
				return err
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			resp, err := c.Sharing.ShareLab(cmd.Context(), &labv1.ShareLabRequest{RequestId: client.RequestID(), Lab: args[0],
				Member: &labv1.LabMember{Person: user, Role: r, Nodes: nodes}})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "lab %s is shared with %s as %s: %s\n", args[0], user, role, pickedText(nodes, resp.GetNodes()))
			return err
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "with whom")
	cmd.Flags().StringVar(&role, "role", "viewer", "as what: viewer, operator or owner")
	cmd.Flags().StringSliceVar(&nodes, "nodes", nil, "only these nodes, * for any letters: 'b*,router' (default: all, also those to come)")
	requires(cmd, "user")
	completesWith(cmd, "role", labRoles)
	return a.completes(cmd, labNames)
}

// pickedText says which nodes a share is for.
func pickedText(names, picked []string) string {
	const shown = 8
	switch {
	case len(names) == 0:
		return "all nodes"
	case len(picked) > shown:
		return fmt.Sprintf("%s and %d more", strings.Join(picked[:shown], ", "), len(picked)-shown)
	}
	return strings.Join(picked, ", ")
}

func newLabUnshareCommand(a *app) *cobra.Command {
	var user, role string
	cmd := &cobra.Command{
		Use:     "unshare LAB --user PERSON",
		Short:   "Take somebody out of a lab",
		Example: "  labctl lab unshare arena --user bob",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &labv1.UnshareLabRequest{RequestId: client.RequestID(), Lab: args[0], Person: user}
			if role != "" {
				r, err := parseLabRole(role)
				if err != nil {
					return err
				}
				req.Role = r
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Sharing.UnshareLab(cmd.Context(), req); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "lab %s is no longer shared with %s\n", args[0], strings.TrimSpace(user+" "+asRole(role)))
			return err
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "who")
	cmd.Flags().StringVar(&role, "role", "", "only in this role (default: in all)")
	requires(cmd, "user")
	completesWith(cmd, "role", labRoles)
	return a.completes(cmd, labNames)
}

func asRole(role string) string {
	if role == "" {
		return ""
	}
	return "as " + role
}

func newLabMembersCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "members [LAB]",
		Short:   "List who is in a lab: to its owners all, to others the owners and themselves",
		Example: "  labctl lab members arena",
		Args:    arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			lab := a.labName()
			if len(args) > 0 {
				lab = args[0]
			}
			r, err := c.Sharing.ListLabMembers(cmd.Context(), &labv1.ListLabMembersRequest{Lab: lab})
			if err != nil {
				return err
			}
			return a.format.Write(a.out, placeList(r))
		},
	}
	return a.completes(cmd, labNames)
}

func placeList(r *labv1.ListLabMembersResponse) *output.List {
	l := &output.List{Columns: []string{"PERSON", "ROLE", "NODES"}}
	members := r.GetMembers()
	if r.GetOwner() != "" {
		members = append([]*labv1.LabMember{{Person: r.GetOwner(), Role: labv1.LabRole_LAB_ROLE_OWNER}}, members...)
	}
	for _, m := range members {
		nodes := strings.Join(m.GetNodes(), " ")
		if nodes == "" {
			nodes = "all"
		}
		l.Add(m, m.GetPerson(), output.EnumText(m.GetRole()), nodes)
	}
	return l
}

func newLabLeaveCommand(a *app) *cobra.Command {
	return a.completes(&cobra.Command{
		Use:     "leave OWNER/LAB",
		Short:   "Leave a lab that somebody else owns",
		Example: "  labctl lab leave alice/arena",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Sharing.LeaveLab(cmd.Context(), &labv1.LeaveLabRequest{RequestId: client.RequestID(), Lab: args[0]}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "you have left lab %s\n", args[0])
			return err
		},
	}, labNames)
}

// requires has a command refuse to run without a flag.
func requires(cmd *cobra.Command, flag string) {
	if err := cmd.MarkFlagRequired(flag); err != nil {
		panic("labctl: " + err.Error())
	}
}

// completesWith lets a flag's value be completed with one of a few words.
func completesWith(cmd *cobra.Command, flag string, words []string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("labctl: " + err.Error())
	}
}
