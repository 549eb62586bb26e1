package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"labd.dev/internal/daemon"
)

// said takes what several goroutines write.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// However a token reaches labctl but on its command line, its secret is in no process list, in nothing that labctl prints, in no log
// of labd's, not even of each call, in no audit, in nothing that labd keeps, and in no snapshot.
func TestSecretsStayWhereTheyAre(t *testing.T) {
	dir := t.TempDir()
	file, log := filepath.Join(dir, "first.token"), &said{}
	d, err := daemon.Start(daemon.Config{DataDir: filepath.Join(dir, "data"), Listen: "127.0.0.1:0",
		Logger:   slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Identity: daemon.IdentityConfig{Auth: daemon.AuthOn, TokenFile: file}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	var token string
	for ; token == ""; time.Sleep(5 * time.Millisecond) { // the test's own time bounds the wait
		text, _ := os.ReadFile(file)
		token = strings.TrimSpace(string(text))
	}
	wrong := token[:len(token)-1] + "7" // of the check: what is mistyped is a secret, too
	if wrong == token {
		wrong = token[:len(token)-1] + "6"
	}
	roster := filepath.Join(dir, "roster.csv")
	if err := os.WriteFile(roster, []byte("name\nann\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := &said{}
	labctl := func(in, shown string, args ...string) {
		t.Helper()
		cmd := exec.Command("labctl", args...)
		cmd.Env = append(os.Environ(), "LABD_SERVER="+d.Addr(), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "LABD_TOKEN="+shown)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), all, all
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, _ := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/cmdline") // where there is one
		all.Write(line)
		cmd.Wait() // some are refused
	}
	labctl(token, "", "login", "--token", "-")
	labctl("", "", "login", "--token-file", file)
	labctl("", token, "login")
	labctl("", wrong, "whoami", "-o", "json")
	labctl(wrong, "", "login", "--token", "-")
	for _, args := range [][]string{
		{"whoami"}, {"user", "import", roster, "--tokens-dir", filepath.Join(dir, "tokens")}, {"user", "get", "ann"}, {"token", "list"},
		{"token", "create", "--label", "x", "--token-out", filepath.Join(dir, "x.token")}, {"user", "get", "nobody"},
		{"apply", "-f", "../../examples/two-hosts/lab.yaml"}, {"get", "labs", "-o", "json"}, {"audit", "-o", "jsonl"},
		{"cluster", "snapshot", "save", filepath.Join(dir, "state")},
	} {
		labctl("", "", args...)
	}
	secrets := map[string]string{"the first administrator's": token}
	for what, path := range map[string]string{"ann's": "tokens/ann.token", "the new one": "x.token"} {
		text, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatalf("%v\n%s", err, all)
		}
		secrets[what] = strings.TrimSpace(string(text))
	}
	places := map[string]string{"what labctl says and is started with": all.String(), "labd's log": log.String()}
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if kept := strings.HasPrefix(path, filepath.Join(dir, "data")) || path == filepath.Join(dir, "state"); err != nil || e.IsDir() || !kept {
			return err
		}
		b, err := os.ReadFile(path)
		places[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for whose, text := range secrets {
		secret := text[len("labd_")+11 : len(text)-4] // between the id and the check, which are no secrets
		for where, what := range places {
			if strings.Contains(what, secret) {
				t.Errorf("%s secret is in %s", whose, where)
			}
		}
	}
	for where, want := range map[string]string{"what labctl says and is started with": "two-hosts", "labd's log": "WhoAmI", filepath.Join(dir, "state"): "two-hosts"} {
		if !strings.Contains(places[where], want) {
			t.Errorf("%s was not looked through: it has no %q", where, want)
		}
	}
}
