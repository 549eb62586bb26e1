package conformance

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/conformance.md anew")

const pagePath = "../../docs/conformance.md"

func TestPageIsCurrent(t *testing.T) {
	all, err := Collect("../..")
	if err != nil {
		t.Fatal(err)
	}
	page, missing := Page(all)
	if *update {
		if err := os.WriteFile(pagePath, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got, err := os.ReadFile(pagePath); err != nil || string(got) != page {
		t.Errorf("docs/conformance.md is not what the tests say (%v); go test ./internal/conformance -update writes it", err)
	}
	for _, m := range missing {
		t.Errorf("no test shows %s", m)
	}
}

// A number that nobody knows is a slip of the pen, and would show nothing.
func TestRequirementsNamedExist(t *testing.T) {
	all, err := Collect("../..")
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, topic := range Topics {
		for _, r := range topic.Rules {
			if slices.Contains(known, r.ID) {
				t.Errorf("%s is listed twice", r.ID)
			}
			known = append(known, r.ID)
		}
	}
	if len(known) != 69+31+18+1 {
		t.Errorf("%d requirements; RFC 9293 has 69 MUST, 31 SHLD, 18 MAY and a REC", len(known))
	}
	for _, e := range all {
		for _, id := range e.IDs {
			if !slices.Contains(known, id) && !strings.Contains(e.Name, "internal/conformance") {
				t.Errorf("%s names %s, which RFC 9293 does not have", e.Name, id)
			}
		}
	}
}
