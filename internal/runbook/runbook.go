// Package runbook holds tests to docs/operations.md: what the page says that a failure looks like is what whoever runs labd
// gets to read. The page is the one source of those words; internal/house sees to it that each failure has its test.
package runbook

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Heading begins the part of the page that has the failures.
const Heading = "## What failures look like"

// columns is the head of each of its tables.
const columns = "| failure | what it says | what to do | shown by |"

// Failure is a line of the tables.
type Failure struct {
	Name string
	// Says is what the page quotes of labctl's answers, the log and the metrics; ... stands for what differs each time.
	Says []string
	// Silent: the page says that nothing is to be read.
	Silent bool
	// Tests are what provoke it: pairs of a test and its package's directory.
	Tests [][2]string
}

var (
	quoted = regexp.MustCompile("`([^`]+)`")
	shown  = regexp.MustCompile("`(Test\\w+)` \\(([a-z0-9/]+)\\)")
)

// began is where the test's process began: in its package's directory, which some tests leave.
var began, beganErr = os.Getwd()

// Page is where the page lies, as seen from any package of this module.
func Page() (string, error) {
	if beganErr != nil {
		return "", beganErr
	}
	for dir := began; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "docs", "operations.md"), nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not in a module", dir)
		}
	}
}

// Failures reads the page's tables.
func Failures() ([]Failure, error) {
	path, err := Page()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	_, part, found := strings.Cut(string(text), "\n"+Heading+"\n")
	if !found {
		return nil, fmt.Errorf("%s has no %q", path, Heading)
	}
	part, _, _ = strings.Cut(part, "\n## ")
	return parse(part)
}

func parse(part string) ([]Failure, error) {
	var list []Failure
	names := map[string]bool{}
	inTable := false
	for line := range strings.Lines(part) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			inTable = false
			continue
		case line == columns:
			inTable = true
			continue
		case !inTable:
			return nil, fmt.Errorf("a table of failures begins with %q, not with %q", columns, line)
		case strings.HasPrefix(line, "| ---"):
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		if len(cells) != 4 {
			return nil, fmt.Errorf("%d cells: %s", len(cells), line)
		}
		f := Failure{Name: strings.TrimSpace(cells[0]), Silent: strings.HasPrefix(cells[1], "nothing")}
		if names[f.Name] {
			return nil, fmt.Errorf("%q has two lines", f.Name)
		}
		names[f.Name] = true
		for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			if !strings.HasPrefix(m[1], "labctl ") { // a command: what it answers follows
				f.Says = append(f.Says, m[1])
			}
		}
		for _, m := range shown.FindAllStringSubmatch(cells[3], -1) {
			f.Tests = append(f.Tests, [2]string{m[1], m[2]})
		}
		list = append(list, f)
	}
	return list, nil
}

// Says fails a test unless what it heard (answers, logs, metrics) holds all that the page quotes for a failure.
func Says(t testing.TB, failure string, heard ...string) {
	t.Helper()
	list, err := Failures()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.Name != failure {
			continue
		}
		all := plain(strings.Join(heard, "\n"))
		if f.Silent && all != "" {
			t.Errorf("docs/operations.md says that of %q nothing is to be read, and this is: %s", failure, all)
		}
		for _, q := range f.Says {
			if !pattern(q).MatchString(all) {
				t.Errorf("docs/operations.md says that %q reads %q, and it does not:\n%s", failure, q, strings.Join(heard, "\n"))
			}
		}
		return
	}
	t.Errorf("docs/operations.md knows no failure %q", failure)
}

// plain is a text without what tables and logs do to it: lines broken, columns filled up, quotes escaped.
func plain(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, `\"`, `"`)), " ")
}

// pattern finds a quote; what ... stands for is short.
func pattern(quote string) *regexp.Regexp {
	parts := strings.Split(plain(quote), "...")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(strings.Join(parts, ".{0,300}?"))
}
