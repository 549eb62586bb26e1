package packetdrill

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"labd.dev/tcpstack/snmp"
)

// shellPipe runs a command whose output others look at: nstat and sysctl, through grep and wc.
func (m *machine) shellPipe(s shellCommand, pipe []shellCommand) (ok bool, err error) {
	var lines []string
	switch path.Base(s.words[0]) {
	case "nstat":
		lines, err = m.nstat(s)
	case "sysctl":
		lines, err = m.sysctlLines(s)
	default:
		return s.unknown()
	}
	for _, f := range pipe {
		if err != nil {
			return false, err
		}
		switch path.Base(f.words[0]) {
		case "grep":
			lines, ok, err = f.grep(lines)
		case "wc":
			if len(f.words) != 2 || f.words[1] != "-l" {
				return f.unknown()
			}
			lines, ok = []string{strconv.Itoa(len(lines))}, true
		default:
			return f.unknown()
		}
	}
	return ok, err
}

// sysctlLines is what sysctl name ... prints.
func (m *machine) sysctlLines(s shellCommand) ([]string, error) {
	var lines []string
	bare := false
	for _, w := range s.words[1:] {
		v, ok := m.sysctls.get(w)
		switch {
		case w == "-n":
			bare = true
		case !ok:
			_, err := s.unknown()
			return nil, err
		case bare:
			lines = append(lines, v)
		default:
			lines = append(lines, w+" = "+v)
		}
	}
	return lines, nil
}

// grep keeps the lines that a pattern matches; ok says whether there are any. -c prints how many.
func (s shellCommand) grep(lines []string) (kept []string, ok bool, err error) {
	words := s.words[1:]
	options := ""
	for len(words) > 0 && len(words[0]) > 1 && words[0][0] == '-' {
		options += words[0][1:]
		words = words[1:]
	}
	if len(words) != 1 || strings.Trim(options, "qvcEewFi") != "" || !patternKnown(words[0]) {
		_, err := s.unknown()
		return nil, false, err
	}
	pattern := words[0]
	switch {
	case strings.Contains(options, "F"):
		pattern = regexp.QuoteMeta(pattern)
	case !strings.Contains(options, "E"):
		pattern = basicPattern.Replace(pattern)
	}
	if strings.Contains(options, "w") {
		pattern = `\b(?:` + pattern + `)\b`
	}
	if strings.Contains(options, "i") {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, false, skipf("shell line `%s`: %v", s.text, err)
	}
	for _, l := range lines {
		if re.MatchString(l) != strings.Contains(options, "v") {
			kept = append(kept, l)
		}
	}
	ok = len(kept) > 0
	if strings.Contains(options, "c") {
		kept = []string{strconv.Itoa(len(kept))}
	}
	return kept, ok, nil
}

// basicPattern makes an extended regular expression of a basic one, in which these bytes stand for themselves unless a
// backslash precedes them.
var basicPattern = strings.NewReplacer(`\|`, `|`, `\+`, `+`, `\?`, `?`, `\(`, `(`, `\)`, `)`, `\{`, `{`, `\}`, `}`,
	`\\`, `\\`, `|`, `\|`, `+`, `\+`, `?`, `\?`, `(`, `\(`, `)`, `\)`, `{`, `\{`, `}`, `\}`)

var counterWord = regexp.MustCompile(`(?:Ip|Icmp|Tcp|TcpExt|IpExt|Udp|TCP|MPTcpExt)\w+`)

// patternKnown says whether a pattern names no counter of Linux that the stack has not: where one is missing, that it is
// not printed says nothing.
func patternKnown(pattern string) bool {
	for _, w := range counterWord.FindAllString(pattern, -1) {
		if !slices.ContainsFunc(snmp.Names, func(n snmp.Name) bool { return strings.Contains(n.Group+n.Name, w) }) {
			return false
		}
	}
	return true
}

// shellNstat is nstat for itself, which only resets what the next one counts from.
func (m *machine) shellNstat(s shellCommand) (bool, error) {
	_, err := m.nstat(s)
	return err == nil, err
}

// nstat prints how far the counters have moved since the last one that kept what it saw: -n prints nothing, -s keeps nothing,
// -r forgets what was kept, -a prints the counters themselves, -z those that are 0 as well.
func (m *machine) nstat(s shellCommand) ([]string, error) {
	options := ""
	var only []string
	for _, w := range s.words[1:] {
		long := map[string]string{"--ignore": "r", "--reset": "r", "--zeros": "z", "--noupdate": "s", "--nooutput": "n"}[w]
		switch {
		case long != "":
			options += long
		case len(w) > 1 && w[0] == '-' && strings.Trim(w[1:], "nszra") == "":
			options += w[1:]
		case w[0] != '-' && patternKnown(w):
			only = append(only, w)
		default:
			_, err := s.unknown()
			return nil, err
		}
	}
	now := make(map[string]uint64)
	for _, c := range m.h.stack.Counters() {
		now[c.Name] = c.Value
	}
	base := m.counted
	if strings.ContainsAny(options, "ra") {
		base = nil
	}
	var lines []string
	for _, n := range snmp.Names {
		name, moved := n.Group+n.Name, now[n.Counter]-base[n.Counter]
		if moved == 0 && !strings.Contains(options, "z") || len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		lines = append(lines, fmt.Sprintf("%-32s%-16d0.0", name, moved))
	}
	if !strings.Contains(options, "s") {
		m.counted = now
	}
	if strings.Contains(options, "n") {
		return nil, nil
	}
	return lines, nil
}
