package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"labd.dev/internal/config"
	"labd.dev/internal/daemon"
	"labd.dev/internal/metrics"
	"labd.dev/internal/port"
	"labd.dev/internal/tlsfiles"
)

// running is a labd of any role.
type running interface {
	Addr() string
	DataDir() string
	Failed() <-chan struct{}
	Err() error
	Stop(context.Context) error
	Figures() metrics.Sources
	Health() metrics.Health
}

// run serves until it is told to stop, or cannot go on.
func run(ctx context.Context, conf config.Daemon, out, errOut io.Writer) error {
	log := logger(conf.Log, errOut)
	security, err := openTLS(conf.TLS, log)
	if err != nil {
		return err
	}
	d, err := start(conf, security, log, out)
	if err != nil {
		return err
	}
	figures, err := serveMetrics(conf, security, d)
	if err != nil {
		return errors.Join(err, d.Stop(context.Background()))
	}
	greet(out, conf, d)
	var failure error
	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "labd stops")
	case <-d.Failed():
		failure = d.Err()
	}
	if figures != nil {
		failure = errors.Join(failure, figures.Close())
	}
	stopCtx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := d.Stop(stopCtx); err != nil && failure == nil {
		failure = err
	}
	return failure
}

// serveMetrics serves metrics and health where that is asked for; nil: it is not.
func serveMetrics(conf config.Daemon, security port.Security, d running) (*metrics.Server, error) {
	if conf.Metrics == "" {
		return nil, nil
	}
	if err := daemon.CheckListen(conf.Metrics, security); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return metrics.Listen(conf.Metrics, security, d.Figures(), d.Health())
}

// start brings up a labd of the role that is asked for.
func start(conf config.Daemon, security port.Security, log *slog.Logger, out io.Writer) (running, error) {
	if conf.Role == config.Worker {
		return daemon.StartWorker(daemon.WorkerConfig{DataDir: conf.DataDir, Listen: conf.Listen, Advertise: conf.Advertise, Name: conf.Name,
			Servers: conf.Server, MemoryBytes: conf.MemoryMiB << 20, Security: security, Logger: log})
	}
	d := daemon.Config{DataDir: conf.DataDir, Listen: conf.Listen, Security: security, Logger: log, Identity: daemon.IdentityConfig{
		Auth: daemon.Auth(conf.Auth), TokenFile: conf.BootstrapTokenFile, Out: out, Renew: conf.NewAdminToken}}
	if conf.Role == config.Server {
		d.NoWorker, d.Lease = true, conf.WorkerLease
		d.Cluster = &daemon.ClusterConfig{Expect: conf.BootstrapExpect, Join: conf.Join, Advertise: conf.Advertise}
	}
	return daemon.Start(d)
}

// openTLS reads the certificates; nil if there are none.
func openTLS(conf config.TLS, log *slog.Logger) (port.Security, error) {
	if conf == (config.TLS{}) {
		return nil, nil
	}
	source, err := tlsfiles.Open(tlsfiles.Files{CA: conf.CA, Cert: conf.Cert, Key: conf.Key}, log)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return source, nil
}

// greet says where labd is, and what to do next.
func greet(out io.Writer, conf config.Daemon, d running) {
	fmt.Fprintf(out, "labd listens at %s\n  data  %s\n", d.Addr(), d.DataDir())
	if conf.Metrics != "" {
		fmt.Fprintf(out, "  tells http://%s/metrics\n", conf.Metrics)
	}
	switch conf.Role {
	case config.AllInOne:
		fmt.Fprintf(out, "  try   labctl%s apply -f examples/download/lab.yaml\n", serverFlag(d.Addr()))
	case config.Worker:
		fmt.Fprintf(out, "  for   %s\n", strings.Join(conf.Server, ", "))
	case config.Server:
		if len(conf.Join) > 0 {
			fmt.Fprintf(out, "  join  %s\n", strings.Join(conf.Join, ", "))
		}
		fmt.Fprintf(out, "  try   labctl%s cluster members\n", serverFlag(d.Addr()))
	}
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
