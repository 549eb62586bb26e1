// labd is the lab's daemon: a controller and a worker in one process, or a server or a worker of a cluster. labctl drives it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"labd.dev/internal/config"
	"labd.dev/internal/version"
)

// stopTimeout bounds a stop, so that a broken disk cannot hold it up for ever.
const stopTimeout = 30 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx).Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "labd:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context) *cobra.Command {
	root := roleCommand(ctx, config.AllInOne, &cobra.Command{
		Use:   "labd",
		Short: "Run labs: networks of hosts and routers, each with its own userspace TCP/IP stack",
		Long: `labd keeps labs and runs them: networks of hosts and routers, each with its own userspace TCP/IP stack, joined
by emulated links. It needs no root. labctl tells it what to do; what it keeps survives a restart.

Every setting is a flag, an environment variable (LABD_ and its name in capitals, with _ for . and -) or a key of
the configuration file; the flag wins, then the environment, then the file.`,
		Example: `  labd                                   # at 127.0.0.1:7070
  labd --listen 127.0.0.1:7171 --data-dir ./state
  labctl apply -f examples/download/lab.yaml`,
		Version: version.String(),
	})
	root.AddCommand(roleCommand(ctx, config.Server, &cobra.Command{
		Use:   "server",
		Short: "Be one server of a cluster: keep what labs there shall be, and have workers run them",
		Long: `Servers keep the state of a cluster together: of three, any one may die and nothing is lost. They find each other by
--join, found the cluster once when --bootstrap-expect of them are there, and take in those that come later. A server
that is stopped stays one of the cluster's: labctl cluster remove takes it out. See docs/cluster.md.`,
		Example: `  labd server --bootstrap-expect 3 --join s1:7070,s2:7070,s3:7070 --listen s1:7070 \
      --tls.ca ca.crt --tls.cert labd.crt --tls.key labd.key`,
	}))
	root.AddCommand(roleCommand(ctx, config.Worker, &cobra.Command{
		Use:   "worker",
		Short: "Host labs for the servers of a cluster",
		Long: `A worker registers with the servers and runs the labs that they give it, for as long as it hears from them: when they
cannot reach it, it stops its labs before they go elsewhere. Stopped, it says so, and its labs go at once. See
docs/cluster.md.`,
		Example: `  labd worker --server s1:7070,s2:7070,s3:7070 --name w1 --listen w1:7070 \
      --tls.ca ca.crt --tls.cert labd.crt --tls.key labd.key`,
	}))
	return root
}

// roleCommand makes the command of a role, with the settings that the role has.
func roleCommand(ctx context.Context, role config.Role, cmd *cobra.Command) *cobra.Command {
	var file string
	cmd.Args = cobra.NoArgs
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		conf, err := config.Load(cmd.Flags(), role, file)
		if err != nil {
			return err
		}
		return run(ctx, conf, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	cmd.Flags().AddFlagSet(config.Flags(role))
	cmd.Flags().StringVar(&file, "config", os.Getenv("LABD_CONFIG"), "configuration file, YAML, TOML or JSON (LABD_CONFIG)")
	return cmd
}
