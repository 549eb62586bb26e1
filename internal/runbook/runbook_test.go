package runbook

import (
	"slices"
	"strings"
	"testing"
)

func TestPageIsRead(t *testing.T) {
	list, err := Failures()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.Silent != (len(f.Says) == 0) || len(f.Tests) == 0 {
			t.Errorf("%s: it says %q, shown by %v", f.Name, f.Says, f.Tests)
		}
	}
	if len(list) < 20 {
		t.Errorf("%d failures", len(list))
	}
}

func TestParse(t *testing.T) {
	head := "text\n\n" + columns + "\n| --- | --- | --- | --- |\n"
	list, err := parse(head + "| x | `labctl get labs`: `a ... b`, `c` | `labctl y` | `TestX` (cmd/labctl), `TestY` (node/worker) |\n")
	if err != nil || len(list) != 1 || list[0].Name != "x" || !slices.Equal(list[0].Says, []string{"a ... b", "c"}) ||
		!slices.Equal(list[0].Tests, [][2]string{{"TestX", "cmd/labctl"}, {"TestY", "node/worker"}}) {
		t.Errorf("%v, %v", list, err)
	}
	for bad, want := range map[string]string{
		head + "| x | y | z |\n":                        "3 cells",
		head + "| x | a | b | c |\n| x | d | e | f |\n": "two lines",
		"| other | head |\n| --- | --- |\n":             "begins with",
	} {
		if _, err := parse(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", bad, err, want)
		}
	}
}

// What a quote leaves out may be anything, but not much; tables break lines, and logs escape quotes.
func TestPattern(t *testing.T) {
	heard := plain("level=ERROR msg=\"lab \\\"x\\\"   is\n   gone\" at=7")
	for quote, found := range map[string]bool{`lab "x" is gone`: true, "level=ERROR ... at=7": true, "at=7 ... level": false, "is. gone": false} {
		if pattern(quote).MatchString(heard) != found {
			t.Errorf("%q in %q is not %v", quote, heard, found)
		}
	}
	if pattern("a ... b").MatchString("a " + strings.Repeat("x", 1000) + " b") {
		t.Error("... stands for a long text")
	}
}
