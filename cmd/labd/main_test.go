package main

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// A test that kills a labd starts this binary as one.
func TestMain(m *testing.M) {
	if os.Getenv(asLabd) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// execute runs labd with arguments until ctx ends.
func execute(ctx context.Context, out io.Writer, args ...string) error {
	cmd := command(ctx)
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(out)
	return cmd.Execute()
}

// lines gives what is written to it line by line.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		l <- strings.TrimSpace(line)
	}
	return len(p), nil
}

func TestServesUntilToldToStop(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, done := make(lines, 100), make(chan error, 1)
	go func() { done <- execute(ctx, out, "--listen", "127.0.0.1:0", "--data-dir", dir) }()
	address, found := strings.CutPrefix(next(t, out, done), "labd listens at ")
	if !found {
		t.Fatalf("it does not say where it listens: %q", address)
	}
	if data := next(t, out, done); !strings.HasSuffix(data, dir) {
		t.Fatalf("it does not say where its data is: %q", data)
	}
	if try := next(t, out, done); !strings.Contains(try, "labctl --server "+address+" apply -f") {
		t.Fatalf("it does not say what to try: %q", try)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := execute(t.Context(), io.Discard, "--listen", "127.0.0.1:0", "--data-dir", dir); err == nil || !strings.Contains(err.Error(), "already uses "+dir) {
		t.Fatalf("a second labd: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func next(t *testing.T, out lines, done chan error) string {
	t.Helper()
	select {
	case line := <-out:
		return line
	case err := <-done:
		t.Fatalf("labd ended: %v", err)
	case <-time.After(2 * time.Minute):
		t.Fatal("labd says nothing")
	}
	return ""
}

func TestBadSettings(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"other machines":   {[]string{"--listen", "0.0.0.0:7070"}, "not on loopback"},
		"no address":       {[]string{"--listen", "here"}, `listen address "here"`},
		"unknown level":    {[]string{"--log.level", "loud"}, "log.level"},
		"unknown format":   {[]string{"--log.format", "xml"}, "log.format"},
		"unknown flag":     {[]string{"--no-such"}, "unknown flag"},
		"an argument":      {[]string{"serve"}, "unknown command"},
		"no such file":     {[]string{"--config", "/no/such/file.yaml"}, "configuration file"},
		"unwritable place": {[]string{"--listen", "127.0.0.1:0", "--data-dir", "/dev/null/x"}, "data directory"},
	} {
		args := append([]string{"--data-dir", t.TempDir()}, c.args...)
		if err := execute(t.Context(), io.Discard, args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
