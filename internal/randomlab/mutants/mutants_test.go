//go:build mutants

package mutants

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var maxSeed = flag.Uint64("seeds", 300, "how many random labs to try on a mutant, after the one that is known to catch it")

// oneRun is the longest that one lab may take: one that takes longer hangs, and no rule says so.
const oneRun = time.Minute

// "20 deliberate faults in the stack, links and loop, each caught by the random-lab checkers alone": the random labs are
// built anew with each fault, and must fail by the rule that the table names; without one they must pass the same labs.
func TestMutants(t *testing.T) {
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		binary := build(t, nil)
		for _, m := range table {
			if caught, out := runLab(t, binary, m.seed); caught != nil || out != "" {
				t.Errorf("seed %d, with no fault:\n%s", m.seed, out)
			}
		}
	})
	for _, m := range table {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			m.mustBeCaught(t, build(t, &m))
		})
	}
}

func (m *mutant) mustBeCaught(t *testing.T, binary string) {
	var others []string
	for _, seed := range m.seeds() {
		caught, out := runLab(t, binary, seed)
		if slices.Contains(caught, m.rule) {
			t.Logf("seed %d: caught by %s", seed, strings.Join(caught, ", "))
			return
		}
		if len(caught) == 0 && out != "" {
			t.Fatalf("seed %d fails, but by no rule:\n%s", seed, out)
		}
		for _, r := range caught {
			if w := fmt.Sprintf("%s (seed %d)", r, seed); len(others) < 10 {
				others = append(others, w)
			}
		}
	}
	t.Errorf("not caught by %s in %d labs; by others: %s", m.rule, *maxSeed, strings.Join(others, ", "))
}

// seeds begin with the one that is known to catch the fault. It may no longer, once the labs are made in another way.
func (m *mutant) seeds() []uint64 {
	list := []uint64{m.seed}
	for s := range *maxSeed {
		list = append(list, s+1)
	}
	return list
}

// build makes the random labs' test binary with the fault in place.
func build(t *testing.T, m *mutant) string {
	t.Helper()
	root, err := filepath.Abs(fromRoot)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replaced := map[string]string{}
	if m != nil {
		text, err := m.apply()
		if err != nil {
			t.Fatal(err)
		}
		mutated := filepath.Join(dir, "mutated.go")
		if err := os.WriteFile(mutated, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replaced[filepath.Join(root, filepath.FromSlash(m.file))] = mutated
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "labs.test")
	// Without symbols it links in half the time.
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", list, "-o", binary, "./internal/randomlab")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the fault does not compile: %v\n%s", err, out)
	}
	return binary
}

// foundBy is how a problem begins that a rule of the checkers has found.
var foundBy = regexp.MustCompile(`(?m)^ +([a-zA-Z]+): `)

// The rules that compare whole runs, by what they say.
var comparisons = [][2]string{
	{"one loop and two", "split"}, {"replay in a fresh process", "replay"}, {" leaked ", "leaks"},
}

// runLab runs one lab and returns the rules that it breaks, and what it printed if it failed.
func runLab(t *testing.T, binary string, seed uint64) (rules []string, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), oneRun)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run=^TestRandomLabs$", fmt.Sprintf("-seed=%d", seed))
	cmd.Dir = t.TempDir()
	text, err := cmd.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed || ctx.Err() != nil {
		t.Fatalf("seed %d: %v %v", seed, err, ctx.Err())
	}
	if err == nil {
		return nil, ""
	}
	for _, found := range foundBy.FindAllStringSubmatch(string(text), -1) {
		if !slices.Contains(rules, found[1]) {
			rules = append(rules, found[1])
		}
	}
	for _, c := range comparisons {
		if strings.Contains(string(text), c[0]) {
			rules = append(rules, c[1])
		}
	}
	return rules, string(text)
}
