package mutants

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// docs/testing.md lists every mutant, what it breaks and which rule catches it, and no other.
func TestPageListsMutants(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(fromRoot, "docs", "testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## Deliberate faults\n")
	if !found {
		t.Fatal("docs/testing.md has no section \"Deliberate faults\"")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var want, got []string
	for _, m := range table {
		want = append(want, fmt.Sprintf("| %s | %s | %s | %s |", m.name, m.file, m.breaks, m.rule))
	}
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| ---") && !strings.HasPrefix(line, "| fault |") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the table of docs/testing.md is to be:\n%s", strings.Join(want, "\n"))
	}
}
