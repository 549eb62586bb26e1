// Package mutants holds deliberate faults, each of which the checkers of the random labs catch. With the build tag
// "mutants" its test builds the labs with each of them; without, the tests see to it that every fault still has its place.
package mutants

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fromRoot leads to the repository's root.
const fromRoot = "../../.."

// apply is the file with the fault in place.
func (m *mutant) apply() (string, error) {
	b, err := os.ReadFile(filepath.Join(fromRoot, filepath.FromSlash(m.file)))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(b), m.old); n != 1 {
		return "", fmt.Errorf("the mutant %s is stale: %s holds its snippet %d times", m.name, m.file, n)
	}
	return strings.Replace(string(b), m.old, m.fault, 1), nil
}

// A mutant whose snippet has changed proves nothing: it has to be put in anew.
func TestNoMutantIsStale(t *testing.T) {
	names := map[string]bool{}
	for _, m := range table {
		if _, err := m.apply(); err != nil {
			t.Error(err)
		}
		if names[m.name] {
			t.Errorf("two mutants are called %s", m.name)
		}
		names[m.name] = true
		if m.seed == 0 || m.rule == "" {
			t.Errorf("%s does not say what catches it, and where", m.name)
		}
	}
}
