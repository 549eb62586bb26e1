package packetdrill

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/packetdrill.md")

const page = "../../docs/packetdrill.md"

// The tables of docs/packetdrill.md are what the code does.
func TestPageAgrees(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, part := range []struct{ name, content string }{
		{"calls", callWords()}, {"options", optionTable()}, {"harmless", harmlessTable()}, {"missing", missingTable()}, {"sysctls", sysctlTable()},
	} {
		text = between(t, text, part.name, part.content)
	}
	if text == string(b) {
		return
	}
	if !*update {
		t.Fatal("docs/packetdrill.md is not what the code does; go test ./tcpstack/packetdrill -update writes it")
	}
	if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// between puts content between the marks of a part.
func between(t *testing.T, text, name, content string) string {
	t.Helper()
	before, rest, ok := strings.Cut(text, "<!-- "+name+" -->\n")
	_, after, closed := strings.Cut(rest, "<!-- end -->")
	if !ok || !closed {
		t.Fatalf("docs/packetdrill.md has no part %q", name)
	}
	return before + "<!-- " + name + " -->\n" + content + "<!-- end -->" + after
}

func callWords() string {
	names := slices.Sorted(maps.Keys(systemCalls))
	return "`" + strings.Join(names, "`, `") + "`.\n"
}

var levels = map[int64]string{solIP: "SOL_IP", solSocket: "SOL_SOCKET", solTCP: "SOL_TCP", solUDP: "SOL_UDP", solIPv6: "SOL_IPV6"}

func optionTable() string {
	by := map[int64][]string{}
	for _, o := range socketOptions {
		if o.harmless != "" || o.why != "" {
			continue
		}
		name := "`" + o.symbol + "`"
		if o.set == nil {
			name += " (get)"
		}
		by[o.level] = append(by[o.level], name)
	}
	var b strings.Builder
	b.WriteString("| level | options |\n| --- | --- |\n")
	for _, level := range []int64{solSocket, solTCP, solIP, solIPv6} {
		fmt.Fprintf(&b, "| `%s` | %s |\n", levels[level], strings.Join(by[level], ", "))
	}
	return b.String()
}

func harmlessTable() string {
	return reasons(func(o sockopt) string { return o.harmless })
}

func missingTable() string {
	return reasons(func(o sockopt) string { return o.why })
}

// reasons lists the options that have a reason, those with the same one together.
func reasons(of func(sockopt) string) string {
	var order []string
	by := map[string][]string{}
	for _, o := range socketOptions {
		if why := of(o); why != "" {
			if by[why] == nil {
				order = append(order, why)
			}
			by[why] = append(by[why], "`"+o.symbol+"`")
		}
	}
	var b strings.Builder
	b.WriteString("| options | why |\n| --- | --- |\n")
	for _, why := range order {
		fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(by[why], ", "), why)
	}
	return b.String()
}

func sysctlTable() string {
	var b strings.Builder
	b.WriteString("| sysctl | default | effect |\n| --- | --- | --- |\n")
	for _, s := range sysctls {
		note := s.note
		if s.apply == nil {
			note = "none here: " + note
		}
		if s.live {
			note += "; live"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.name, s.value, note)
	}
	return b.String()
}

// Each sysctl's default is a value that it takes and that leaves the stack as it is, but for switches that it names.
func TestDefaultsOfSysctlsAreTaken(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sysctls {
		if seen[s.name] {
			t.Errorf("%s is listed twice", s.name)
		}
		seen[s.name] = true
		if s.note == "" {
			t.Errorf("%s has no note", s.name)
		}
		m := newMachine(t)
		if err := m.sysctls.set(s.name, s.value); err != nil {
			t.Errorf("%s=%s: %v", s.name, s.value, err)
		}
	}
	for _, d := range defaultSysctls {
		if newMachine(t).sysctls.index(d.name) < 0 {
			t.Errorf("defaults.sh sets %s, which the table lacks", d.name)
		}
	}
}
