package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"labd.dev/client"
	"labd.dev/internal/runbook"
)

// operator types the commands of docs/operations.md. Each labd is a process of its own.
type operator struct {
	t        *testing.T
	labd     string // the program
	host     string // the loopback address that stands for the page's
	machines map[string]*machine
}

// machine is a labd, by its data directory.
type machine struct {
	cmd  *exec.Cmd
	args []string
	out  runbook.Log
	log  *runbook.Log // of all that ran on that directory
	gone chan struct{}
}

// pagesHost is the address that the page's commands use.
const pagesHost = "127.0.0.1"

// The page is read from its first command to its last, in that order, and each ends well. Failures of processes are provoked where
// the page has its cluster whole, before the backup.
func TestOperationsPage(t *testing.T) {
	path, err := runbook.Page()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o := newOperator(t)
	page := strings.ReplaceAll(string(text), pagesHost, o.host)
	showFiles(t, page, map[string]string{"yaml": "server.yaml", "json": "worker.json", "csv": "roster.csv"})
	before, after, ok := strings.Cut(page, "\n## Backup\n")
	if !ok {
		t.Fatal("the page has no backup")
	}
	o.typeAll(linesOf(before))
	failure := func(name string, provoke func(t *testing.T)) {
		t.Run(name, func(sub *testing.T) {
			o.t = sub
			defer func() { o.t = t }()
			provoke(sub)
		})
	}
	failure("a certificate is of another CA", func(t *testing.T) {
		o.labctl("tls init --dir other --host " + o.host)
		said := o.fails("get labs --tls-ca other/ca.crt")
		runbook.Says(t, "a certificate is of another CA", said)
	})
	failure("the administrator's token is lost", func(t *testing.T) {
		t.Setenv("XDG_CONFIG_HOME", t.TempDir())
		runbook.Says(t, "the administrator's token is lost", o.fails("get labs --tls-ca tls/ca.crt --server "+o.host+":7070"))
	})
	failure("a lab is behind the real clock", func(t *testing.T) {
		if err := os.WriteFile("hasty.yaml", []byte(hasty), 0o600); err != nil {
			t.Fatal(err)
		}
		o.labctl("apply -f hasty.yaml")
		o.labctl("transfer --lab hasty --from a --to b --bytes 100GB --detach")
		o.until("it slips", func() bool {
			table, err := csv.NewReader(strings.NewReader(o.labctl("get labs -o csv"))).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			at := slices.Index(table[0], "slip")
			return slices.ContainsFunc(table, func(row []string) bool { return row[0] == "hasty" && row[at] != "0s" })
		})
		runbook.Says(t, "a lab is behind the real clock", o.labctl("get labs -o wide"))
		o.labctl("delete lab hasty")
	})
	failure("a worker dies", func(t *testing.T) {
		has := regexp.MustCompile(`(?m)^download,running,.*,(w[12]),`)
		var name string
		o.until("the lab runs", func() bool {
			m := has.FindStringSubmatch(o.labctl("get labs -o csv"))
			if m != nil {
				name = m[1]
			}
			return m != nil
		})
		victim := o.machines[name]
		o.end(victim, syscall.SIGKILL)
		var shown string
		o.until("it is down, and its lab elsewhere", func() bool {
			shown = o.labctl("get workers")
			m := has.FindStringSubmatch(o.labctl("get labs -o csv"))
			return regexp.MustCompile(`(?m)^`+name+` +down`).MatchString(shown) && m != nil && m[1] != name &&
				strings.Contains(o.logs(), "lab is given to another worker")
		})
		runbook.Says(t, "a worker dies", shown, o.logs())
		o.start(victim.args)
		o.until("it is back", func() bool { return strings.Count(o.labctl("get workers -o csv"), ",up,") == 2 })
	})
	failure("the server that leads dies", func(t *testing.T) {
		leads := regexp.MustCompile(`(?m)^\S+ +(\S+) +leader`)
		var address string
		o.until("one leads", func() bool {
			m := leads.FindStringSubmatch(o.labctl("cluster members"))
			if m != nil {
				address = m[1]
			}
			return m != nil
		})
		victim := o.listening(address)
		led := strings.Count(o.logs(victim), `msg="this server leads"`)
		o.end(victim, syscall.SIGKILL)
		o.typeAll([]string{"labctl cluster health"})
		var shown string
		o.until("another one leads, and workers are registered there", func() bool {
			shown = o.labctl("cluster members")
			return strings.Contains(shown, "refused") && strings.Count(o.logs(victim), `msg="this server leads"`) > led && strings.Count(o.labctl("get workers -o csv"), ",up,") == 2
		})
		runbook.Says(t, "the server that leads dies", shown, o.logs(victim))
		var code int
		o.until("changes are taken", func() bool { shown, _, code = o.run("cluster health"); return code == 0 })
		runbook.Says(t, "one server of three is away", shown)
		o.start(victim.args)
		o.until("it is back", func() bool {
			out, _, _ := o.run("cluster health -o csv") // which it may be asked itself, before it knows of anybody's token
			return strings.Contains(out, ",3,3,1,")
		})
	})
	o.typeAll(linesOf(after))
	o.until("the restored lab has its file, and runs", func() bool {
		moved, _, _ := o.run("get transfers --lab download") // refused while it is rebuilt
		return strings.Contains(moved, " match ") && regexp.MustCompile(`(?m)^download +running`).MatchString(o.labctl("get labs"))
	})
}

// hasty is a lab that no machine keeps up with.
const hasty = `
name: hasty
clock: real
pace: 100
topology:
  nodes: {a: {}, b: {}}
  links:
    - {endpoints: [a, b], rate: 1gbit, delay: 1ms}
`

func newOperator(t *testing.T) *operator {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell here:", err)
	}
	o := &operator{t: t, host: fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)), machines: map[string]*machine{}}
	l, err := net.Listen("tcp", o.host+":0")
	if err != nil {
		t.Skip("one loopback address only:", err)
	}
	l.Close()
	o.labd = filepath.Join(t.TempDir(), "labd")
	if out, err := exec.Command("go", "build", "-o", o.labd, "labd.dev/cmd/labd").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	readerOf(t)
	t.Setenv("LABD_SERVER", "")
	t.Setenv("LABD_TOKEN", "")
	t.Cleanup(func() {
		for _, m := range o.machines {
			m.cmd.Process.Kill()
			<-m.gone
		}
		if t.Failed() {
			t.Log(o.logs())
		}
	})
	return o
}

// typeAll types the page's lines: labd's in the background, labctl's, and the shell's.
func (o *operator) typeAll(lines []string) {
	o.t.Helper()
	block := true // in a block of commands, which has no kind
	for _, line := range lines {
		name, _, _ := strings.Cut(line, " ")
		switch {
		case line == "":
			block = true
		case !block:
		case name == "labd":
			o.start(words(o.t, line)[1:])
		case name == "labctl" && strings.HasPrefix(line, "labctl cluster health"):
			o.until("changes are taken", func() bool { _, _, code := o.run(line); return code == 0 })
		case line == "labctl cluster members", line == "labctl get workers":
			o.until("all are there", func() bool { return o.allIn(o.labctl(strings.TrimPrefix(line, "labctl ")+" -o csv"), roleIn(line)) })
		case name == "labctl":
			if _, file, found := strings.Cut(line, "--token-file "); found {
				o.until("a token is made", func() bool { _, err := os.Stat(file); return err == nil })
			}
			o.labctl(strings.TrimPrefix(line, "labctl "))
		case name == "kill":
			o.kill(line)
		case name == "mkdir" || name == "cp" || name == "rm" || name == "echo":
			if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
				o.t.Fatalf("%s: %v\n%s", line, err, out)
			}
		default:
			block = false // a file that the page shows, or what a command prints
		}
	}
}

// roleIn is what a list lists.
func roleIn(line string) string {
	if strings.HasSuffix(line, "workers") {
		return "worker"
	}
	return "server"
}

// allIn tells whether a list has all processes of a role, as reachable or up: whoever has started one looks until it has.
func (o *operator) allIn(list, role string) bool {
	for _, m := range o.machines {
		at := slices.Index(m.args, "--listen")
		there := false
		for line := range strings.Lines(list) { // one that is gone may have had the address before
			there = there || strings.Contains(line, m.args[at+1]) && (strings.Contains(line, ",yes,") || strings.Contains(line, ",up,"))
		}
		if m.args[0] == role && m.cmd.ProcessState == nil && !there {
			return false
		}
	}
	return true
}

func (o *operator) run(line string) (out, errOut string, code int) {
	o.t.Helper()
	var a, b bytes.Buffer
	code = execute(words(o.t, strings.TrimPrefix(line, "labctl ")), strings.NewReader(""), &a, &b)
	return a.String(), b.String(), code
}

// labctl runs a command that ends well, be it only once there is a leader again, which it tells.
func (o *operator) labctl(line string) (out string) {
	o.t.Helper()
	o.until("labctl "+line, func() bool {
		said, errOut, code := o.run(line)
		if code != 0 && code != int(client.CodeUnavailable) {
			o.t.Fatalf("labctl %s: exit %d\n%s%s", line, code, said, errOut)
		}
		out = said
		return code == 0
	})
	return out
}

// fails runs a command that does not, and tells what it says.
func (o *operator) fails(line string) string {
	o.t.Helper()
	out, errOut, code := o.run(line)
	if code == 0 {
		o.t.Fatalf("labctl %s: it ends well\n%s", line, out)
	}
	return errOut
}

// start starts a labd and waits until it listens.
func (o *operator) start(args []string) {
	o.t.Helper()
	dir := args[slices.Index(args, "--data-dir")+1]
	m := &machine{cmd: exec.Command(o.labd, args...), args: args, log: &runbook.Log{}, gone: make(chan struct{})}
	if was := o.machines[dir]; was != nil {
		m.log = was.log
	}
	o.machines[dir] = m
	m.cmd.Stderr = m.log
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	first := make(chan struct{})
	go func() {
		defer close(m.gone)
		lines := bufio.NewScanner(out)
		for told := false; lines.Scan(); {
			fmt.Fprintln(&m.out, lines.Text())
			if !told && strings.Contains(lines.Text(), "labd listens at ") {
				told = true
				close(first)
			}
		}
		_ = m.cmd.Wait() // how it ends is for who ended it
	}()
	select {
	case <-first:
	case <-m.gone:
		o.t.Fatalf("labd %s ends\n%s%s", strings.Join(args, " "), &m.out, m.log)
	}
}

// kill ends the labd whose lock a line names, by the signal that it says, and waits for that.
func (o *operator) kill(line string) {
	o.t.Helper()
	named := regexp.MustCompile(`^kill (-9 )?\$\(cat (\w+)/lock\)$`).FindStringSubmatch(line)
	if named == nil || o.machines[named[2]] == nil {
		o.t.Fatalf("%s: of whom?", line)
	}
	m := o.machines[named[2]]
	if pid, err := os.ReadFile(filepath.Join(named[2], "lock")); err != nil || strings.TrimSpace(string(pid)) != fmt.Sprint(m.cmd.Process.Pid) {
		o.t.Fatalf("%s: process %d, and the lock says %q, %v", line, m.cmd.Process.Pid, pid, err)
	}
	how := syscall.SIGTERM
	if named[1] != "" {
		how = syscall.SIGKILL
	}
	o.end(m, how)
	if how == syscall.SIGTERM && !m.cmd.ProcessState.Success() {
		o.t.Errorf("%s: %v\n%s", line, m.cmd.ProcessState, m.log)
	}
}

func (o *operator) end(m *machine, how syscall.Signal) {
	o.t.Helper()
	if err := m.cmd.Process.Signal(how); err != nil {
		o.t.Error(err)
	}
	<-m.gone
}

func (o *operator) listening(address string) *machine {
	o.t.Helper()
	for _, m := range o.machines {
		if m.args[slices.Index(m.args, "--listen")+1] == address {
			return m
		}
	}
	o.t.Fatalf("nobody listens at %s", address)
	return nil
}

// logs is what all machines but some have logged.
func (o *operator) logs(but ...*machine) string {
	var all strings.Builder
	for _, dir := range []string{"s1", "s2", "s3", "s4", "w1", "w2", "w3", "n1", "n2", "n3", "m1"} {
		if m := o.machines[dir]; m != nil && !slices.Contains(but, m) {
			fmt.Fprintf(&all, "%s:\n%s", dir, m.log)
		}
	}
	return all.String()
}

// until waits for what processes bring about.
func (o *operator) until(what string, happened func() bool) {
	o.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !happened(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.t.Fatalf("in vain: %s", what)
		}
	}
}
