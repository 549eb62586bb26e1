// labd is the lab's daemon: a controller and a worker in one process. labctl drives it.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"labd.dev/internal/config"
	"labd.dev/internal/daemon"
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
	var file string
	cmd := &cobra.Command{
		Use:   "labd",
		Short: "Run labs: networks of hosts and routers, each with its own userspace TCP/IP stack",
		Long: `labd keeps labs and runs them: networks of hosts and routers, each with its own userspace TCP/IP stack, joined
by emulated links. It needs no root. labctl tells it what to do; what it keeps survives a restart.

Every setting is a flag, an environment variable (LABD_ and its name in capitals, with _ for . and -) or a key of
the configuration file; the flag wins, then the environment, then the file.`,
		Example: `  labd                                   # at 127.0.0.1:7070
  labd --listen 127.0.0.1:7171 --data-dir ./state
  labctl apply -f examples/download/lab.yaml`,
		Version:       version.String(),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := config.Load(cmd.Flags(), file)
			if err != nil {
				return err
			}
			return run(ctx, conf, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().AddFlagSet(config.Flags())
	cmd.Flags().StringVar(&file, "config", os.Getenv("LABD_CONFIG"), "configuration file, YAML, TOML or JSON (LABD_CONFIG)")
	return cmd
}

// run serves until it is told to stop, or cannot go on.
func run(ctx context.Context, conf config.Daemon, out, errOut io.Writer) error {
	d, err := daemon.Start(daemon.Config{DataDir: conf.DataDir, Listen: conf.Listen, Logger: logger(conf.Log, errOut)})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "labd listens at %s\n  data  %s\n  try   labctl%s apply -f examples/download/lab.yaml\n",
		d.Addr(), d.DataDir(), serverFlag(d.Addr()))
	var failure error
	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "labd stops")
	case <-d.Failed():
		failure = d.Err()
	}
	stopCtx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := d.Stop(stopCtx); err != nil && failure == nil {
		failure = err
	}
	return failure
}

// serverFlag is what labctl needs to find a labd that is not where it looks first.
func serverFlag(addr string) string {
	if addr == config.DefaultListen {
		return ""
	}
	return " --server " + addr
}

func logger(conf config.Log, w io.Writer) *slog.Logger {
	level, err := conf.SlogLevel()
	if err != nil {
		level = slog.LevelInfo // config.Load has checked it
	}
	opts := &slog.HandlerOptions{Level: level}
	if conf.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
