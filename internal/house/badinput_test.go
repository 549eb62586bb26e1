package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each line of docs/testing.md's lists of bad input names tests, which are in the packages that it names.
func TestBadInputIsShown(t *testing.T) {
	page, err := os.ReadFile("../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, least := range map[string]int{"## What a cluster is given that is bad": 18, "## What a class is given that is bad": 13} {
		_, part, found := strings.Cut(string(page), "\n"+heading+"\n")
		if !found {
			t.Fatalf("docs/testing.md has no %q", heading)
		}
		part, _, _ = strings.Cut(part, "\n## ")
		lines := regexp.MustCompile(`(?m)^\| (.+) \| (.+) \|$`).FindAllStringSubmatch(part, -1)
		for _, line := range lines[min(2, len(lines)):] { // below the table's head
			checkShown(t, line[1], line[2])
		}
		if len(lines)-2 < least {
			t.Errorf("%q has %d lines", heading, len(lines)-2)
		}
	}
}

// checkShown looks for the tests that a line names, each in the package that is named after it.
func checkShown(t *testing.T, bad, cell string) {
	t.Helper()
	var waiting []string
	tests := 0
	for _, m := range regexp.MustCompile("`(Test\\w+)`|\\(([^)]*)\\)").FindAllStringSubmatch(cell, -1) {
		if m[1] != "" {
			waiting = append(waiting, m[1])
			continue
		}
		words := strings.Fields(m[2])
		dir := filepath.Join("../..", words[len(words)-1])
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue // what becomes of it
		}
		for _, name := range waiting {
			if !declares(t, dir, name) {
				t.Errorf("%s: there is no %s in %s", bad, name, words[len(words)-1])
			}
		}
		tests += len(waiting)
		waiting = nil
	}
	if tests == 0 || len(waiting) > 0 {
		t.Errorf("%s: %d tests, and of %v no package is named", bad, tests, waiting)
	}
}

// declares tells whether a package's tests have one of that name.
func declares(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(src), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}
