package packetdrill

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"labd.dev/sim"
)

// shellCommand is one simple command of a shell line.
type shellCommand struct {
	words []string
	into  string // "> file"; empty: not redirected
	// after is how it depends on the one before it: ";" always, "&&" if that succeeded, "||" if it failed, "|" on what that
	// prints.
	after string
	text  string
}

// Command runs a back-ticked shell line. Its commands are mapped by the table of docs/packetdrill.md; one that the table
// lacks is a skip with its text.
func (m *machine) Command(c *Command) error {
	list, err := m.shellCommands(c.Text)
	if err != nil {
		return err
	}
	ok := true
	for len(list) > 0 {
		s, n := list[0], 1
		for n < len(list) && list[n].after == "|" {
			n++
		}
		pipe := list[1:n]
		list = list[n:]
		if s.after == "&&" && !ok || s.after == "||" && ok {
			continue
		}
		if len(pipe) == 0 {
			ok, err = m.shellCommand(s)
		} else {
			ok, err = m.shellPipe(s, pipe)
		}
		if err != nil {
			return err
		}
	}
	if !ok {
		return fmt.Errorf("the command `%s` fails", strings.TrimSpace(c.Text))
	}
	return nil
}

// shellTable maps the names of commands, without their paths, to what they do here. ok is the command's exit status.
var shellTable map[string]func(m *machine, s shellCommand) (ok bool, err error)

func init() {
	shellTable = map[string]func(*machine, shellCommand) (bool, error){
		"sysctl": (*machine).shellSysctl, "set_sysctls.py": (*machine).shellSetSysctls, "defaults.sh": (*machine).shellDefaults,
		"echo": (*machine).shellEcho, "cat": (*machine).shellCat, "[": (*machine).shellTest, "test": (*machine).shellTest,
		"tc": (*machine).shellTC, "ip": (*machine).shellIP, "ifconfig": (*machine).shellIfconfig, "ethtool": (*machine).shellEthtool,
		"true": shellNothing, ":": shellNothing, "sync": shellNothing, "modprobe": shellNothing, "ulimit": shellNothing,
		"false": func(*machine, shellCommand) (bool, error) { return false, nil },
		"sleep": (*machine).shellSleep, "nstat": (*machine).shellNstat,
	}
}

func shellNothing(*machine, shellCommand) (bool, error) { return true, nil }

func (s shellCommand) unknown() (bool, error) { return false, skipf("shell line `%s`", s.text) }

// shellCommand runs one command.
func (m *machine) shellCommand(s shellCommand) (bool, error) {
	for len(s.words) > 0 && (s.words[0] == "sudo" || s.words[0] == "." || s.words[0] == "source" ||
		(path.Base(s.words[0]) == "bash" || path.Base(s.words[0]) == "sh" || path.Base(s.words[0]) == "python" || path.Base(s.words[0]) == "python3") && len(s.words) > 1) {
		s.words = s.words[1:]
	}
	if len(s.words) == 0 {
		return true, nil
	}
	name := path.Base(s.words[0])
	if strings.HasPrefix(s.words[0], "/tmp/sysctl_restore_") {
		return true, nil // written by set_sysctls.py: the next script begins with the defaults anyway
	}
	run, ok := shellTable[name]
	if !ok {
		return s.unknown()
	}
	return run(m, s)
}

// shellSysctl is sysctl [-q] [-w] [-n] [-e] name=value ... and reads.
func (m *machine) shellSysctl(s shellCommand) (bool, error) {
	for _, w := range s.words[1:] {
		if strings.HasPrefix(w, "-") {
			if strings.Trim(w, "-qwne") != "" && w != "--quiet" && w != "--write" && w != "--values" && w != "--ignore" {
				return s.unknown()
			}
			continue
		}
		name, value, set := strings.Cut(w, "=")
		if !set {
			if _, ok := m.sysctls.get(name); !ok {
				return s.unknown()
			}
			continue
		}
		if err := m.sysctls.set(strings.TrimSpace(name), value); err != nil {
			return false, err
		}
	}
	return true, nil
}

// shellSetSysctls is google's set_sysctls.py: /proc/sys/net/ipv4/tcp_sack=0 ...
func (m *machine) shellSetSysctls(s shellCommand) (bool, error) {
	for _, w := range s.words[1:] {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return s.unknown()
		}
		if err := m.sysctls.set(name, value); err != nil {
			return false, err
		}
	}
	return true, nil
}

// defaultSysctls are the settings with which google's scripts begin (gtests/net/common/defaults.sh).
var defaultSysctls = []struct{ name, value string }{
	{"net.ipv4.tcp_rmem", "4096 540000 15728640"},
	{"net.ipv4.tcp_wmem", "4096 262144 4194304"},
	{"net.ipv4.tcp_timestamps", "1"},
	{"net.ipv4.tcp_syn_retries", "5"},
	{"net.ipv4.tcp_synack_retries", "5"},
	{"net.ipv4.tcp_frto", "2"},
	{"net.ipv4.tcp_sack", "1"},
	{"net.ipv4.tcp_dsack", "1"},
	{"net.ipv4.tcp_fack", "0"},
	{"net.ipv4.tcp_reordering", "3"},
	{"net.ipv4.tcp_congestion_control", "cubic"},
	{"net.ipv4.tcp_slow_start_after_idle", "0"},
	{"net.ipv4.tcp_early_retrans", "4"},
	{"net.ipv4.tcp_recovery", "1"},
	{"net.ipv4.tcp_tso_win_divisor", "3"},
	{"net.ipv4.tcp_ecn", "0"},
	{"net.ipv4.tcp_pacing_ss_ratio", "200"},
	{"net.ipv4.tcp_pacing_ca_ratio", "120"},
	{"net.ipv4.tcp_notsent_lowat", "4294967295"},
	{"net.ipv4.tcp_fastopen", "0x70403"},
	{"net.ipv4.tcp_fastopen_key", "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4"},
	{"net.ipv4.tcp_syncookies", "1"},
	{"net.mptcp.enabled", "1"},
}

// shellDefaults is defaults.sh: it also forgets what is known of peers, and makes tun0's queue a plain one. google's own lies
// in common/; the kernel's selftests have it beside their scripts, which are of its own time.
func (m *machine) shellDefaults(s shellCommand) (bool, error) {
	for _, d := range defaultSysctls {
		if err := m.sysctls.set(d.name, d.value); err != nil {
			return false, err
		}
	}
	if path.Base(path.Dir(s.words[0])) == "common" {
		// Those scripts are older than Linux 6.5, whose SYNs would go again at times that none of them expects.
		if err := m.sysctls.set("net.ipv4.tcp_syn_linear_timeouts", "0"); err != nil {
			return false, err
		}
	}
	m.flushMetrics()
	return true, nil
}

// shellEcho writes a sysctl's file, or nothing that counts.
func (m *machine) shellEcho(s shellCommand) (bool, error) {
	words := s.words[1:]
	if len(words) > 0 && words[0] == "-n" {
		words = words[1:]
	}
	switch {
	case s.into == "" || s.into == "/dev/null" || s.into == "/dev/stderr":
		return true, nil
	case strings.HasPrefix(s.into, "/proc/sys/"):
		return true, m.sysctls.set(s.into, strings.Join(words, " "))
	}
	return s.unknown()
}

// shellCat reads a sysctl's file.
func (m *machine) shellCat(s shellCommand) (bool, error) {
	for _, w := range s.words[1:] {
		if _, ok := m.sysctls.get(w); !ok || !strings.HasPrefix(w, "/proc/sys/") {
			return s.unknown()
		}
	}
	return true, nil
}

// shellTest is [ a = b ] and its like.
func (m *machine) shellTest(s shellCommand) (bool, error) {
	words := s.words[1:]
	if n := len(words); s.words[0] == "[" {
		if n == 0 || words[n-1] != "]" {
			return s.unknown()
		}
		words = words[:n-1]
	}
	if len(words) != 3 {
		return s.unknown()
	}
	x, errX := strconv.ParseInt(words[0], 0, 64)
	y, errY := strconv.ParseInt(words[2], 0, 64)
	numbers := errX == nil && errY == nil
	switch op := words[1]; {
	case op == "=" || op == "==":
		return words[0] == words[2], nil
	case op == "!=":
		return words[0] != words[2], nil
	case !numbers:
	case op == "-eq":
		return x == y, nil
	case op == "-ne":
		return x != y, nil
	case op == "-lt":
		return x < y, nil
	case op == "-le":
		return x <= y, nil
	case op == "-gt":
		return x > y, nil
	case op == "-ge":
		return x >= y, nil
	}
	return s.unknown()
}

// maxSleep bounds what a script may sleep: the original's driver gives up on a script after as long.
const maxSleep = 180 * sim.Second

// shellSleep is sleep N: the script goes on as much later.
func (m *machine) shellSleep(s shellCommand) (bool, error) {
	for _, w := range s.words[1:] {
		n, err := strconv.ParseFloat(strings.TrimSuffix(w, "s"), 64)
		if err != nil || !(n >= 0 && n <= float64(maxSleep/sim.Second)) {
			return s.unknown()
		}
		m.h.pause += sim.Time(n * float64(sim.Second))
	}
	return true, nil
}
