package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"labd.dev/internal/tlsfiles"
)

// machine is a labd in a network namespace of its own. It has two addresses: one on the cluster's network, which can be cut,
// and one at which the test reaches it whatever becomes of the other.
type machine struct {
	name      string
	namespace string
	near      string // the host's end of its cable to the cluster's network
	mac       string // its own on the cluster's network
	ip        string // on the cluster's network
	cluster   string // host:port there
	test      string // host:port for the test
	args      []string
	cmd       *exec.Cmd
}

// site is three servers and three workers, their namespaces, cables and certificates.
type site struct {
	t        *testing.T
	dir      string
	tag      string // in every name, so that two tests do not meet
	machines map[string]*machine
}

// ip runs iproute2's ip.
func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func (s *site) ip(args ...string) {
	s.t.Helper()
	if err := ip(args...); err != nil {
		s.t.Fatal(err)
	}
}

// mayMakeNetworks tells why this process cannot make namespaces, cables and bridges; nil: it can.
func mayMakeNetworks(tag string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("it takes root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return err
	}
	if err := ip("netns", "add", tag); err != nil {
		return err
	}
	if err := ip("netns", "del", tag); err != nil {
		return err
	}
	if err := ip("link", "add", tag, "type", "bridge"); err != nil {
		return err
	}
	return ip("link", "del", tag)
}

// newSite lays the networks. Their addresses are of those that RFC 2544 sets aside for tests: 198.18.0.0/15.
func newSite(t *testing.T) *site {
	t.Helper()
	tag := fmt.Sprintf("lb%04x", rand.IntN(1<<16))
	if err := mayMakeNetworks(tag); err != nil {
		t.Skipf("no network namespaces here: %v", err)
	}
	s := &site{t: t, dir: t.TempDir(), tag: tag, machines: map[string]*machine{}}
	t.Cleanup(s.takeDown)
	net := rand.IntN(256)
	for _, bridge := range []string{tag + "c", tag + "t"} {
		s.ip("link", "add", bridge, "type", "bridge")
		s.ip("link", "set", bridge, "up")
	}
	s.ip("address", "add", fmt.Sprintf("198.19.%d.254/24", net), "dev", tag+"t")
	var hosts []string
	for i, name := range []string{"s1", "s2", "s3", "w1", "w2", "w3"} {
		m := &machine{name: name, namespace: tag + name, near: tag + name + "c", mac: fmt.Sprintf("02:00:00:00:00:%02x", i+1),
			ip: fmt.Sprintf("198.18.%d.%d", net, i+1)}
		other := fmt.Sprintf("198.19.%d.%d", net, i+1)
		m.cluster, m.test = m.ip+":7070", other+":7070"
		s.machines[name] = m
		hosts = append(hosts, m.ip, other)
		s.ip("netns", "add", m.namespace)
		s.ip("-n", m.namespace, "link", "set", "lo", "up")
		s.cable(m, m.near, tag+"c", "eth0", m.ip)
		s.cable(m, tag+name+"t", tag+"t", "eth1", other)
		s.ip("-n", m.namespace, "link", "set", "eth0", "address", m.mac)
	}
	s.certify(hosts)
	return s
}

// cable connects a machine to a bridge.
func (s *site) cable(m *machine, near, bridge, dev, address string) {
	s.t.Helper()
	s.ip("link", "add", near, "type", "veth", "peer", "name", dev, "netns", m.namespace)
	s.ip("link", "set", near, "master", bridge, "up")
	s.ip("-n", m.namespace, "address", "add", address+"/24", "dev", dev)
	s.ip("-n", m.namespace, "link", "set", dev, "up")
}

// takeDown ends every labd and removes what newSite has made.
func (s *site) takeDown() {
	for _, m := range s.machines {
		if m.cmd != nil {
			_ = m.cmd.Process.Kill() // it may have ended
			_ = m.cmd.Wait()
		}
		if s.t.Failed() {
			b, _ := os.ReadFile(filepath.Join(s.dir, m.name+".log"))
			s.t.Logf("%s:\n%s", m.name, b[max(0, len(b)-6000):])
		}
		_ = ip("netns", "del", m.namespace) // and with it the ends of its cables; it may not have been made
	}
	for _, bridge := range []string{s.tag + "c", s.tag + "t"} {
		_ = ip("link", "del", bridge)
	}
}

// certify makes a CA, and certificates for the daemons and for the test.
func (s *site) certify(hosts []string) {
	s.t.Helper()
	now := time.Now()
	ca, _, err := tlsfiles.OpenAuthority(s.file("ca.crt"), s.file("ca.key"), now)
	if err == nil {
		err = ca.IssueTo(s.file("labd.crt"), s.file("labd.key"), "labd", hosts, tlsfiles.ForDaemon, now)
	}
	if err == nil {
		err = ca.IssueTo(s.file("client.crt"), s.file("client.key"), "client", nil, tlsfiles.ForClient, now)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) file(name string) string { return filepath.Join(s.dir, name) }

// start brings a machine's labd up, for the first time or again, with the settings that it always has.
func (s *site) start(m *machine) {
	s.t.Helper()
	log, err := os.OpenFile(s.file(m.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close() // the process has its own descriptor
	args := append([]string{"netns", "exec", m.namespace, os.Args[0]}, m.args...)
	m.cmd = exec.Command("ip", append(args, "--listen", "0.0.0.0:7070", "--advertise", m.cluster, "--data-dir", s.file(m.name),
		"--tls.ca", s.file("ca.crt"), "--tls.cert", s.file("labd.crt"), "--tls.key", s.file("labd.key"))...)
	m.cmd.Env = append(os.Environ(), asLabd+"=1")
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// kill is kill -9: ip has become labd by exec.
func (s *site) kill(m *machine) {
	s.t.Helper()
	if err := m.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = m.cmd.Wait() // killed
}

func (s *site) signal(m *machine, how syscall.Signal) {
	s.t.Helper()
	if err := m.cmd.Process.Signal(how); err != nil {
		s.t.Fatal(err)
	}
}

// cutOff pulls the cable that joins a machine to the cluster; what it sends vanishes.
func (s *site) cutOff(m *machine) { s.t.Helper(); s.ip("link", "set", m.near, "down") }

func (s *site) joinUp(m *machine) { s.t.Helper(); s.ip("link", "set", m.near, "up") }

// deafen lets nothing that one machine sends to the other arrive, while it hears all that the other sends: its frames go to
// an Ethernet address that nobody has.
func (s *site) deafen(from, to *machine) {
	s.t.Helper()
	s.ip("-n", from.namespace, "neighbour", "replace", to.ip, "lladdr", "02:00:00:00:00:fe", "dev", "eth0", "nud", "permanent")
}

func (s *site) hear(from, to *machine) {
	s.t.Helper()
	s.ip("-n", from.namespace, "neighbour", "replace", to.ip, "lladdr", to.mac, "dev", "eth0", "nud", "permanent")
}
