package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// untilOutput runs a command that has no end until a line of its output matches, then interrupts it, as Ctrl-C does:
// until PATTERN labctl ARGS...
func untilOutput(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN PROGRAM ARGS...")
	}
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	cmd := exec.Command(programIn(ts, args[1]), args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "LABD_SERVER=" + ts.Getenv("LABD_SERVER")}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	// The limit is for tests that hang.
	hangs := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	defer hangs.Stop()
	matched := false
	lines := bufio.NewScanner(out)
	for !matched && lines.Scan() {
		ts.Logf("%s", lines.Text())
		matched = pattern.MatchString(lines.Text())
	}
	ts.Check(cmd.Process.Signal(os.Interrupt))
	io.Copy(io.Discard, out)
	err = cmd.Wait()
	if errs.Len() > 0 {
		ts.Logf("[stderr] %s", errs.String())
	}
	if !matched {
		ts.Fatalf("%s ended (%v) and no line of its output matches %s", args[1], err, pattern)
	}
	if err == nil {
		ts.Fatalf("%s ended by itself", args[1])
	}
}

// programIn finds a program in the script's PATH.
func programIn(ts *testscript.TestScript, name string) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path := filepath.Join(dir, name); isFile(path) {
			return path
		}
	}
	ts.Fatalf("no program %s", name)
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// completes asks labctl to complete a command line until it offers a name: completes NAME ARGS... A completion is for a
// shell that waits, so that labctl offers nothing where labd's answer takes too long, as on a busy machine.
func completes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: completes NAME ARGS...")
	}
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		ts.Check(ts.Exec("labctl", append([]string{"__complete"}, args[1:]...)...))
		if slices.Contains(strings.Split(ts.ReadFile("stdout"), "\n"), args[0]) {
			return
		}
	}
	ts.Fatalf("%s is never offered", args[0])
}
