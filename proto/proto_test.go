// Package proto holds the API's definitions, and the tests that keep them and the Go code made from them in order.
package proto

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// buildBuf builds buf from the tools module, where CI=true asks for it. Where its modules cannot be had the test is
// skipped.
func buildBuf(t *testing.T) string {
	t.Helper()
	if os.Getenv("CI") != "true" {
		t.Skip("building buf takes minutes on a fresh machine; CI=true asks for it, as .ci/run does")
	}
	path := filepath.Join(t.TempDir(), "buf")
	cmd := exec.Command("go", "build", "-o", path, "github.com/bufbuild/buf/cmd/buf")
	cmd.Dir = "../tools"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("buf cannot be built here: %v\n%s", err, out)
	}
	return path
}

func run(t *testing.T, buf string, args ...string) {
	t.Helper()
	if out, err := exec.Command(buf, args...).CombinedOutput(); err != nil {
		t.Fatalf("buf %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// The committed Go code is what the definitions make, no more and no less, and buf finds nothing to say of them.
func TestRegeneratingChangesNothing(t *testing.T) {
	buf := buildBuf(t)
	run(t, buf, "lint")
	run(t, buf, "format", "--diff", "--exit-code")
	out := t.TempDir()
	run(t, buf, "generate", "--output", out)
	made, committed := goFiles(t, out), goFiles(t, ".")
	for name, text := range made {
		if !bytes.Equal(text, committed[name]) {
			t.Errorf("%s is not what its definition makes; see buf.gen.yaml", name)
		}
	}
	for name := range committed {
		if made[name] == nil {
			t.Errorf("%s is made from no definition", name)
		}
	}
}

func goFiles(t *testing.T, root string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".pb.go") {
			return err
		}
		files[path], err = os.ReadFile(filepath.Join(root, path))
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("generated files under %s: %d, %v", root, len(files), err)
	}
	return files
}

var (
	scalar   = regexp.MustCompile(`^\s+(?:optional |repeated )?(u?int(?:32|64)|double|string|bool|bytes) ([a-z]\w*) = \d+;(.*)$`)
	typeLine = regexp.MustCompile(`^\s*(?:message|enum|service) (\w+) {`)
	// unit is what a number's name may end with, so that nobody has to guess.
	unit = regexp.MustCompile(`_(ns|us|ms|bps|bytes|packets)$`)
	// call is a message that only carries a call's arguments or its answer; the call says what it is for.
	call = regexp.MustCompile(`(Request|Response)$`)
)

// Every scalar field says what it holds, or has its unit in its name; what is of a type of ours is told by that type,
// which has a comment.
func TestEveryFieldHasAComment(t *testing.T) {
	paths, err := filepath.Glob("*/v1/*.proto")
	if err != nil || len(paths) == 0 {
		t.Fatal("no definitions found", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		previous := ""
		for i, line := range strings.Split(string(text), "\n") {
			above := strings.HasPrefix(strings.TrimSpace(previous), "//")
			previous = line
			if m := typeLine.FindStringSubmatch(line); m != nil && !above && !call.MatchString(m[1]) {
				t.Errorf("proto/%s:%d: %s has no comment", path, i+1, m[1])
			}
			m := scalar.FindStringSubmatch(line)
			if m != nil && !above && !strings.Contains(m[3], "//") && !unit.MatchString(m[2]) {
				t.Errorf("proto/%s:%d: %s has no comment", path, i+1, m[2])
			}
		}
	}
}
