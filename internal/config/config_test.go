package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, file string, args ...string) (Daemon, error) {
	t.Helper()
	flags := Flags(AllInOne)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "labd.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(flags, AllInOne, path)
}

func TestDefaults(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	d, err := load(t, "")
	if want := (Daemon{Listen: "127.0.0.1:7070", DataDir: "/state/labd", Log: Log{Level: "info", Format: "text"}, Auth: "auto"}); err != nil || !reflect.DeepEqual(d, want) {
		t.Fatalf("%+v %v, want %+v", d, err, want)
	}
	t.Setenv("XDG_STATE_HOME", "not/absolute") // which the XDG specification has us ignore
	t.Setenv("HOME", "/home/x")
	if d, err = load(t, ""); err != nil || d.DataDir != "/home/x/.local/state/labd" {
		t.Fatalf("%+v %v", d, err)
	}
}

// A flag wins over the environment, that over the file, that over the default; nested keys too.
func TestPrecedence(t *testing.T) {
	const file = "listen: 127.0.0.1:1\ndata-dir: /file\nlog: {level: debug, format: json}\n"
	d, err := load(t, file)
	if want := (Daemon{Listen: "127.0.0.1:1", DataDir: "/file", Log: Log{Level: "debug", Format: "json"}, Auth: "auto"}); err != nil || !reflect.DeepEqual(d, want) {
		t.Fatalf("file: %+v %v", d, err)
	}
	t.Setenv("LABD_LISTEN", "127.0.0.1:2")
	t.Setenv("LABD_DATA_DIR", "/env")
	t.Setenv("LABD_LOG_LEVEL", "warn")
	d, err = load(t, file)
	if want := (Daemon{Listen: "127.0.0.1:2", DataDir: "/env", Log: Log{Level: "warn", Format: "json"}, Auth: "auto"}); err != nil || !reflect.DeepEqual(d, want) {
		t.Fatalf("environment: %+v %v", d, err)
	}
	d, err = load(t, file, "--listen", "127.0.0.1:3", "--log.level", "error")
	if want := (Daemon{Listen: "127.0.0.1:3", DataDir: "/env", Log: Log{Level: "error", Format: "json"}, Auth: "auto"}); err != nil || !reflect.DeepEqual(d, want) {
		t.Fatalf("flags: %+v %v", d, err)
	}
	if level, err := d.Log.SlogLevel(); err != nil || level != slog.LevelError {
		t.Fatalf("level %v %v", level, err)
	}
}

func TestUnknownKeyIsRefused(t *testing.T) {
	if _, err := load(t, "lisen: 127.0.0.1:1\n"); err == nil || !strings.Contains(err.Error(), "lisen") {
		t.Fatalf("error %v", err)
	}
}

// A worker's lease is bounded, and only a server has it.
func TestWorkerLease(t *testing.T) {
	load := func(lease string) (Daemon, error) {
		flags := Flags(Server)
		if err := flags.Parse([]string{"--data-dir", "/x", "--worker-lease", lease}); err != nil {
			t.Fatal(err)
		}
		return Load(flags, Server, "")
	}
	for _, lease := range []time.Duration{LeastLease, DefaultLease, MostLease} {
		if d, err := load(lease.String()); err != nil || d.WorkerLease != lease {
			t.Errorf("%v: %v %v", lease, d.WorkerLease, err)
		}
	}
	for _, lease := range []string{"0s", "1999ms", "61s", "-5s"} {
		if _, err := load(lease); err == nil || !strings.Contains(err.Error(), "worker-lease") {
			t.Errorf("%s: %v", lease, err)
		}
	}
	if Flags(Worker).Lookup("worker-lease") != nil || Flags(AllInOne).Lookup("worker-lease") != nil {
		t.Error("not only servers have it")
	}
}
