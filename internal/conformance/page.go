package conformance

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// maxNamed is how many tests are named for one line; the rest are counted.
const maxNamed = 3

// Page makes docs/conformance.md of the evidence, and lists what must be shown and is not.
func Page(all []Evidence) (page string, missing []string) {
	var b strings.Builder
	b.WriteString(`# What the TCP here conforms to

This page is made from the tests: a test shows the requirements and RFCs that its comments name. ` + "`go test ./internal/conformance -update`" + `
writes it anew; a test fails when it is stale, or when a MUST, a SHOULD or a mechanism has nothing to show it.

## RFC 9293

The numbers are those of its appendix B. Where Linux does otherwise by default, so does labd: such a line says **departure**,
and what to set.

`)
	for _, t := range Topics {
		fmt.Fprintf(&b, "### %s\n\n| | section | | shown by |\n| --- | --- | --- | --- |\n", t.Title)
		for _, r := range t.Rules {
			by := named(all, func(e Evidence) bool { return slices.Contains(e.IDs, r.ID) })
			switch advice := Advice[r.ID]; {
			case by != "":
			case advice != "":
				by = advice
			case strings.HasPrefix(r.ID, "MAY"):
				by = "not done"
			default:
				by = "**nothing**"
				missing = append(missing, r.ID+" (RFC 9293 "+r.Section+"): "+r.Rule)
			}
			if d := Departures[r.ID]; d != "" {
				by += ". **Departure**, " + d
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.ID, r.Section, r.Rule, by)
		}
		b.WriteString("\n")
	}
	b.WriteString("## Mechanisms\n\nThe switches are keys of [a lab file's `tcp`](labfile.md#tcp).\n\n| | RFC | switch | shown by |\n| --- | --- | --- | --- |\n")
	for _, m := range Mechanisms {
		by := named(all, func(e Evidence) bool { return overlap(e.RFCs, m.RFCs) || says(e.Text, m.Words) })
		if by == "" {
			by = "**nothing**"
			missing = append(missing, m.Name+" ("+strings.Join(append(m.RFCs, m.Words...), ", ")+")")
		}
		key := ""
		if m.Switch != "" {
			key = "`" + m.Switch + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", m.Name, strings.Join(m.RFCs, ", "), key, by)
	}
	return b.String(), missing
}

func says(text string, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// named lists the tests that are picked: Go tests by name, scripts by their folders.
func named(all []Evidence, pick func(Evidence) bool) string {
	var tests, folders []string
	scripts := map[string]int{}
	for _, e := range all {
		if !pick(e) {
			continue
		}
		if strings.HasSuffix(e.Name, ".pkt") {
			folder := path.Base(path.Dir(e.Name))
			if scripts[folder]++; scripts[folder] == 1 {
				folders = append(folders, folder)
			}
			continue
		}
		name, where, _ := strings.Cut(e.Name, " ")
		tests = append(tests, fmt.Sprintf("`%s` %s", name, where))
	}
	more := ""
	if len(tests) > maxNamed {
		if more = "1 more test"; len(tests) > maxNamed+1 {
			more = fmt.Sprintf("%d more tests", len(tests)-maxNamed)
		}
		tests = tests[:maxNamed]
	}
	for _, f := range folders {
		if scripts[f] == 1 {
			tests = append(tests, "a script in `"+f+"`")
		} else {
			tests = append(tests, fmt.Sprintf("%d scripts in `%s`", scripts[f], f))
		}
	}
	if more != "" {
		tests = append(tests, more)
	}
	return strings.Join(tests, ", ")
}
