package examples

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "labd.dev/client" // what the program is made of; see TestMain
)

// showing is the program examples/cluster under way.
type showing struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	errOut bytes.Buffer
	tmp    string // where it makes its directory
}

func startShowing(t *testing.T, programs string) *showing {
	t.Helper()
	s := &showing{cmd: exec.Command(filepath.Join(programs, "cluster"), "-programs", programs), tmp: t.TempDir()}
	s.cmd.Env = append(os.Environ(), "TMPDIR="+s.tmp)
	s.cmd.Stderr = &s.errOut
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// end waits for its end and holds it to the exit code, and to having left nothing: no directory and no process.
func (s *showing) end(t *testing.T, code int) string {
	t.Helper()
	rest, err := io.ReadAll(s.out)
	if err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := s.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Error(err)
	}
	if got := s.cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d\n%s%s", got, code, rest, &s.errOut)
	}
	if left, err := os.ReadDir(s.tmp); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline") // none outside Linux
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range commands {
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(s.tmp)) {
			t.Errorf("it leaves a process: %s", bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
		}
	}
	return string(rest)
}

// The cluster of examples/cluster loses its leader and a worker, its run's bytes are those of one process, and nothing of it
// is left, also when it is interrupted on the way.
func TestCluster(t *testing.T) {
	programs := t.TempDir()
	build := exec.Command("go", "build", "-ldflags=-w", "-o", programs+string(filepath.Separator), "./cluster", "../cmd/labd", "../cmd/labctl")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	text := startShowing(t, programs).end(t, 0)
	for _, want := range []string{"3 servers: ", "3 workers: ", "kill -9 ", " leads, ", "goes on, ", "identical, byte for byte: "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	s := startShowing(t, programs)
	for line := ""; !strings.Contains(line, "is split over"); {
		var err error
		if line, err = s.out.ReadString('\n'); err != nil {
			t.Fatalf("%v: it says no more\n%s", err, s.end(t, 130))
		}
	}
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	s.end(t, 130)
	if !strings.Contains(s.errOut.String(), "interrupted") {
		t.Errorf("interrupted it says %q", &s.errOut)
	}
}
