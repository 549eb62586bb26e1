// Package config reads labd's configuration, from flags, environment and file, into one immutable struct.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// DefaultListen is where labd listens unless it is told otherwise.
const DefaultListen = "127.0.0.1:7070"

// A worker's lease. Ten reports are sent in its time, each of which is answered after a word of a majority: with less than 200 ms
// between them the workers of a cluster that elects a new leader would often be too late. With more than a minute a lab whose
// worker has died waits for longer than anybody does.
const (
	DefaultLease = 10 * time.Second
	LeastLease   = 2 * time.Second
	MostLease    = time.Minute
)

// Role is what a labd is.
type Role int

const (
	AllInOne Role = iota // a server and a worker in one process
	Server               // one of a cluster's servers: it keeps what there shall be
	Worker               // it hosts labs, as a cluster's servers tell it
)

// Daemon is labd's configuration. It is read once and never changed.
type Daemon struct {
	Role      Role   `mapstructure:"-"`
	Listen    string `mapstructure:"listen"`    // host:port
	Advertise string `mapstructure:"advertise"` // host:port at which others reach it; empty: where it listens
	Metrics   string `mapstructure:"metrics"`   // host:port of metrics and health; empty: nowhere
	DataDir   string `mapstructure:"data-dir"`  // never empty
	TLS       TLS    `mapstructure:"tls"`
	Log       Log    `mapstructure:"log"`

	Auth               string `mapstructure:"auth"`                 // of what people call: auto | on | off
	BootstrapTokenFile string `mapstructure:"bootstrap-token-file"` // of what people call: gets the first administrator's token
	NewAdminToken      bool   `mapstructure:"new-admin-token"`      // of what people call: make one although there was one

	BootstrapExpect int           `mapstructure:"bootstrap-expect"` // of a server: how many found a cluster; 0: it only joins
	Join            []string      `mapstructure:"join"`             // of a server: where others may be
	WorkerLease     time.Duration `mapstructure:"worker-lease"`     // of a server that founds a cluster; 0: not given
	Server          []string      `mapstructure:"server"`           // of a worker: where the servers are
	Name            string        `mapstructure:"name"`             // of a worker; empty: made from the host's
	MemoryMiB       uint64        `mapstructure:"memory-mib"`       // of a worker: what its labs may take in all; 0: three quarters of the machine's
}

// TLS names a labd's certificates; all empty: it has none.
type TLS struct {
	CA   string `mapstructure:"ca"`   // PEM: whose certificates are trusted
	Cert string `mapstructure:"cert"` // PEM: its own
	Key  string `mapstructure:"key"`  // PEM
}

// Log says what labd tells on its standard error.
type Log struct {
	Level  string `mapstructure:"level"`  // debug | info | warn | error
	Format string `mapstructure:"format"` // text | json
}

// Flags are the settings of a role as flags; each is also LABD_NAME in the environment and NAME in the file.
func Flags(role Role) *pflag.FlagSet {
	f := pflag.NewFlagSet("labd", pflag.ContinueOnError)
	listen := DefaultListen
	if role == Worker {
		listen = "127.0.0.1:0" // it tells the servers where it is
	}
	f.String("listen", listen, "address to serve at, host:port; off loopback it takes certificates (LABD_LISTEN)")
	f.String("metrics", "", "address for metrics and health, host:port, as 127.0.0.1:7071; default: none (LABD_METRICS)")
	f.String("tls.ca", "", "PEM file of the CA that others' certificates must be of (LABD_TLS_CA)")
	f.String("tls.cert", "", "PEM file of this labd's certificate (LABD_TLS_CERT)")
	f.String("tls.key", "", "PEM file of its key (LABD_TLS_KEY)")
	switch role {
	case Server:
		f.Int("bootstrap-expect", 0, "how many servers found the cluster; 0: this one only joins (LABD_BOOTSTRAP_EXPECT)")
		f.StringSlice("join", nil, "where servers may be, HOST:PORT,... (LABD_JOIN)")
		f.Duration("worker-lease", DefaultLease, fmt.Sprintf("how long workers run labs without hearing from a leader, %v to %v; the cluster keeps the one it was founded with (LABD_WORKER_LEASE)", LeastLease, MostLease))
	case Worker:
		f.StringSlice("server", []string{DefaultListen}, "where the servers are, HOST:PORT,... (LABD_SERVER)")
		f.String("name", "", "what the worker is called, unique in the cluster; default: the host's name, on loopback with part of its id (LABD_NAME)")
		f.Uint64("memory-mib", 0, "memory that its labs may take in all, MiB; 0: three quarters of the machine's (LABD_MEMORY_MIB)")
	}
	if role != Worker {
		f.String("auth", "auto", "whether callers are asked who they are, by a token: on, off, or auto: off loopback (LABD_AUTH)")
		f.String("bootstrap-token-file", "", "file for the first administrator's token, made once; default: it is printed (LABD_BOOTSTRAP_TOKEN_FILE)")
		f.Bool("new-admin-token", false, "make a token for the first administrator although there was one, and take the old ones back: they are lost (LABD_NEW_ADMIN_TOKEN)")
	}
	if role != AllInOne {
		f.String("advertise", "", "address at which others reach this one, host:port; default: where it listens (LABD_ADVERTISE)")
	}
	f.String("data-dir", "", "directory for everything that is kept; default $XDG_STATE_HOME/labd, else ~/.local/state/labd (LABD_DATA_DIR)")
	f.String("log.level", "info", "what to tell on standard error: debug, info, warn or error (LABD_LOG_LEVEL)")
	f.String("log.format", "text", "how to tell it: text or json (LABD_LOG_FORMAT)")
	return f
}

// Load joins a role's flags, environment and, if path is not empty, a YAML, TOML or JSON file: a flag that was given wins over the
// environment, that over the file, that over the default.
func Load(flags *pflag.FlagSet, role Role, path string) (Daemon, error) {
	v := viper.NewWithOptions(viper.ExperimentalBindStruct())
	v.SetEnvPrefix("LABD")
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_", "-", "_"))
	v.AutomaticEnv()
	var bound error
	Flags(role).VisitAll(func(f *pflag.Flag) {
		bound = errors.Join(bound, v.BindPFlag(f.Name, flags.Lookup(f.Name)))
	})
	if bound != nil {
		return Daemon{}, bound
	}
	if path != "" {
		v.SetConfigFile(path)
		if err := v.ReadInConfig(); err != nil {
			return Daemon{}, fmt.Errorf("configuration file: %w", err)
		}
	}
	d := Daemon{Role: role}
	if err := v.UnmarshalExact(&d); err != nil {
		return Daemon{}, fmt.Errorf("configuration: %w", err)
	}
	return d, d.complete()
}

// complete fills in what depends on the machine, and checks the rest.
func (d *Daemon) complete() error {
	if d.DataDir == "" {
		dir, err := defaultDataDir()
		if err != nil {
			return err
		}
		d.DataDir = dir
	}
	if _, err := d.Log.SlogLevel(); err != nil {
		return err
	}
	if given := d.TLS; given != (TLS{}) && (given.CA == "" || given.Cert == "" || given.Key == "") {
		return errors.New("tls: tls.ca, tls.cert and tls.key go together; labctl tls init makes them")
	}
	if l := d.WorkerLease; d.Role == Server && (l < LeastLease || l > MostLease) {
		return fmt.Errorf("worker-lease: %v is not within %v and %v", l, LeastLease, MostLease)
	}
	if d.Role != Worker && d.Auth != "auto" && d.Auth != "on" && d.Auth != "off" {
		return fmt.Errorf("auth: %q is none of auto, on, off", d.Auth)
	}
	if d.Log.Format != "text" && d.Log.Format != "json" {
		return fmt.Errorf("log.format: %q is neither text nor json", d.Log.Format)
	}
	return nil
}

// SlogLevel is the level in slog's terms.
func (l Log) SlogLevel() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return 0, fmt.Errorf("log.level: %q is none of debug, info, warn, error", l.Level)
	}
	return level, nil
}

// defaultDataDir follows the XDG base directory specification.
func defaultDataDir() (string, error) {
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "labd"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for data: give --data-dir: %w", err)
	}
	return filepath.Join(home, ".local", "state", "labd"), nil
}
