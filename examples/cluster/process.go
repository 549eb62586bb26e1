package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// logTail is how much of what a labd has told is shown after a failure.
const logTail = 1500

// process is a labd or a labctl that was started.
type process struct {
	name        string // of a labctl: that
	address     string // of a labd
	cmd         *exec.Cmd
	out, errOut bytes.Buffer  // of a labctl, complete once it has ended
	ended       chan struct{} // closed once it has
	err         error         // how it has
	killed      bool          // by the show: its end is no failure
}

// spawn starts a process whose output goes to out and errOut. It does not see the terminal's Ctrl-C: the show ends it.
func (s *show) spawn(p *process, out, errOut io.Writer, args ...string) error {
	program := "labd"
	if p.address == "" {
		program = "labctl"
	}
	p.cmd, p.ended = exec.Command(filepath.Join(s.programs, program), args...), make(chan struct{})
	p.cmd.Stdout, p.cmd.Stderr = out, errOut
	p.cmd.Env = s.environment()
	p.cmd.SysProcAttr = ownGroup()
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	s.processes = append(s.processes, p)
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return nil
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// labd starts a daemon, whose log goes to a file of its own.
func (s *show) labd(name, address string, args ...string) error {
	log, err := os.Create(s.logOf(name))
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own descriptor
	args = append(args, "--listen", address, "--data-dir", filepath.Join(s.dir, name))
	return s.spawn(&process{name: name, address: address}, log, log, args...)
}

func (s *show) logOf(name string) string { return filepath.Join(s.dir, name+".log") }

// environment is the caller's, without what would have labd and labctl do something else than they are told, or leave
// something outside the show's directory.
func (s *show) environment() []string {
	env := []string{"XDG_CONFIG_HOME=" + s.dir, "XDG_STATE_HOME=" + s.dir, "TMPDIR=" + s.dir, "TMP=" + s.dir}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "LABD_") && !strings.HasPrefix(e, "XDG_") && !strings.HasPrefix(e, "TMP") {
			env = append(env, e)
		}
	}
	return env
}

// kill is kill -9.
func (p *process) kill() error {
	p.killed = true
	err := p.cmd.Process.Kill()
	<-p.ended
	return err
}

// died tells of the first labd that has ended unasked.
func (s *show) died() error {
	for _, p := range s.processes {
		if p.address != "" && !p.killed && p.hasEnded() {
			return fmt.Errorf("%s has ended: %v", p.name, p.err)
		}
	}
	return nil
}

// killAll ends what still runs. Nothing of it is wanted any more: all that it has is in the show's directory.
func (s *show) killAll() {
	for _, p := range s.processes {
		_ = p.kill() // it may have ended
	}
}

// logs prints the end of what each labd has told.
func (s *show) logs(w io.Writer) {
	for _, p := range s.processes {
		b, err := os.ReadFile(s.logOf(p.name))
		if p.address == "" || err != nil {
			continue
		}
		if len(b) > logTail {
			b = b[len(b)-logTail:]
			b = b[bytes.IndexByte(b, '\n')+1:]
		}
		fmt.Fprintf(w, "\n%s:\n%s", p.name, b)
	}
}

// addresses finds n free ports on one address of this machine's loopback network, which but for this show nobody is likely
// to use: a port stays free between here and the labd that takes it. Where there is but one such address it is that.
func addresses(n int) ([]string, error) {
	host := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	found, err := freePorts(host, n)
	if err != nil {
		return freePorts("127.0.0.1", n)
	}
	return found, nil
}

func freePorts(host string, n int) ([]string, error) {
	var found []string
	var open []io.Closer
	var err error
	for range n {
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			break
		}
		open, found = append(open, l), append(found, l.Addr().String())
	}
	for _, l := range open {
		err = errors.Join(err, l.Close())
	}
	return found, err
}
