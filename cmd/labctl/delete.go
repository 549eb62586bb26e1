package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"labd.dev/client"
	labv1 "labd.dev/proto/lab/v1"
)

func newDeleteCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "delete lab|run NAME",
		Short:   "End a lab or a run; what it recorded goes with it",
		Example: "  labctl delete lab download",
		Args:    arguments(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.completes(&cobra.Command{
			Use: "lab NAME", Short: "End a lab", Example: "  labctl delete lab download", Args: arguments(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, args []string) error {
				c, err := a.connect()
				if err != nil {
					return err
				}
				defer c.Close()
				if _, err := c.Labs.DeleteLab(cmd.Context(), &labv1.DeleteLabRequest{RequestId: client.RequestID(), Lab: args[0]}); err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.out, "lab %s is deleted\n", args[0])
				return err
			},
		}, labNames),
		a.completes(&cobra.Command{
			Use: "run ID", Short: "Remove a run from labd", Example: "  labctl delete run download-1", Args: arguments(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, args []string) error {
				c, err := a.connect()
				if err != nil {
					return err
				}
				defer c.Close()
				if _, err := c.Runs.DeleteRun(cmd.Context(), &labv1.DeleteRunRequest{RequestId: client.RequestID(), Run: args[0]}); err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.out, "run %s is deleted\n", args[0])
				return err
			},
		}, runNames),
	)
	return cmd
}
