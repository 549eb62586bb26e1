// Package config reads labd's configuration, from flags, environment and file, into one immutable struct.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// DefaultListen is where labd listens unless it is told otherwise.
const DefaultListen = "127.0.0.1:7070"

// Daemon is labd's configuration. It is read once and never changed.
type Daemon struct {
	Listen  string `mapstructure:"listen"`   // host:port, on loopback
	DataDir string `mapstructure:"data-dir"` // never empty
	Log     Log    `mapstructure:"log"`
}

// Log says what labd tells on its standard error.
type Log struct {
	Level  string `mapstructure:"level"`  // debug | info | warn | error
	Format string `mapstructure:"format"` // text | json
}

// Flags are labd's settings as flags; each is also LABD_NAME in the environment and NAME in the file.
func Flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("labd", pflag.ContinueOnError)
	f.String("listen", DefaultListen, "address to serve at, host:port on loopback (LABD_LISTEN)")
	f.String("data-dir", "", "directory for everything that is kept; default $XDG_STATE_HOME/labd, else ~/.local/state/labd (LABD_DATA_DIR)")
	f.String("log.level", "info", "what to tell on standard error: debug, info, warn or error (LABD_LOG_LEVEL)")
	f.String("log.format", "text", "how to tell it: text or json (LABD_LOG_FORMAT)")
	return f
}

// Load joins flags, environment and, if path is not empty, a YAML, TOML or JSON file: a flag that was given wins over the
// environment, that over the file, that over the default.
func Load(flags *pflag.FlagSet, path string) (Daemon, error) {
	v := viper.NewWithOptions(viper.ExperimentalBindStruct())
	v.SetEnvPrefix("LABD")
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_", "-", "_"))
	v.AutomaticEnv()
	var bound error
	Flags().VisitAll(func(f *pflag.Flag) {
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
	var d Daemon
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
