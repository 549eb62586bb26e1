// Package cluster starts a cluster of labd's as processes of this machine, to be measured, killed and started again.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"labd.dev/client"
	labv1 "labd.dev/proto/lab/v1"
)

// WaitLimit bounds each wait for a cluster to be as it is wanted.
const WaitLimit = time.Minute

// Config says what a cluster is of.
type Config struct {
	Labd    string // the binary
	Workers int
	// Identity has it ask who calls, for which its servers and workers get certificates; its Client is the first administrator's.
	Identity bool
}

// Daemons are three servers and some workers, each a process.
type Daemons struct {
	Dir     string // what they write is in it
	Servers []string
	Client  *client.Client

	conf     Config
	identity *identity            // nil: nobody is asked
	running  map[string]*exec.Cmd // by address of a server, by name of a worker
}

// Start starts them, and waits until they are whole.
func Start(conf Config) (d *Daemons, err error) {
	d = &Daemons{conf: conf, running: map[string]*exec.Cmd{}}
	if d.Dir, err = os.MkdirTemp("", "cluster-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.Stop()
		}
	}()
	if conf.Identity {
		if d.identity, err = newIdentity(d.Dir); err != nil {
			return nil, err
		}
	}
	if err := d.choosePorts(); err != nil {
		return nil, err
	}
	for _, address := range d.Servers {
		if err := d.StartServer(address); err != nil {
			return nil, err
		}
	}
	for i := range conf.Workers {
		name := fmt.Sprintf("w%d", i+1)
		if err := d.start(name, "worker", "--server", strings.Join(d.Servers, ","), "--name", name); err != nil {
			return nil, err
		}
	}
	token := ""
	if conf.Identity {
		if token, err = d.identity.firstToken(); err != nil {
			return nil, err
		}
	}
	if d.Client, err = d.Open(token); err != nil {
		return nil, err
	}
	return d, d.Whole()
}

// choosePorts finds ports that are free, all of them held until the last is found.
func (d *Daemons) choosePorts() error {
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		d.Servers = append(d.Servers, l.Addr().String())
	}
	return nil
}

// Open makes a client of all servers, with connections of its own. Where nobody is asked who calls the token is empty.
func (d *Daemons) Open(token string) (*client.Client, error) {
	o := client.Options{Servers: d.Servers, Token: token}
	if d.identity != nil {
		o.TLS = d.identity.forPeople()
	}
	return client.Open(o)
}

// StartServer starts a server, or starts it again.
func (d *Daemons) StartServer(address string) error {
	args := []string{"server", "--bootstrap-expect", "3", "--join", strings.Join(d.Servers, ","), "--listen", address}
	if d.identity != nil {
		args = append(args, d.identity.serverFlags()...)
	}
	return d.start(address, args...)
}

func (d *Daemons) start(name string, args ...string) error {
	dir := filepath.Join(d.Dir, strings.ReplaceAll(name, ":", "-"))
	args = append(args, "--data-dir", dir, "--log.level", "error")
	if d.identity != nil {
		args = append(args, d.identity.tlsFlags()...)
	}
	cmd := exec.Command(d.conf.Labd, args...)
	cmd.Stderr = os.Stderr
	if err := StartProcess(cmd); err != nil {
		return err
	}
	d.running[name] = cmd
	return nil
}

// Pid is a server's, by its address, or a worker's, by its name: w1, w2, ...
func (d *Daemons) Pid(name string) int { return d.running[name].Process.Pid }

// Kill is kill -9.
func (d *Daemons) Kill(name string) {
	_ = d.running[name].Process.Kill() // it may have ended
	_ = d.running[name].Wait()
	delete(d.running, name)
}

// Stop kills all of them and removes what they wrote.
func (d *Daemons) Stop() {
	if d.Client != nil {
		_ = d.Client.Close()
	}
	for name := range d.running {
		d.Kill(name)
	}
	_ = os.RemoveAll(d.Dir)
}

// Whole waits until all three servers vote and answer, and all workers take labs.
func (d *Daemons) Whole() error {
	return Await("a whole cluster", func(ctx context.Context) bool {
		list, err := d.Client.Cluster.ListMembers(ctx, &labv1.ListMembersRequest{})
		if err != nil || len(list.GetMembers()) != 3 {
			return false
		}
		for _, m := range list.GetMembers() {
			if !m.GetReachable() || m.GetRole() == labv1.MemberRole_MEMBER_ROLE_NONVOTER {
				return false
			}
		}
		up := 0
		all, err := d.Client.Workers.ListWorkers(ctx, &labv1.ListWorkersRequest{})
		for _, w := range all.GetWorkers() {
			if w.GetState() == labv1.WorkerState_WORKER_STATE_UP {
				up++
			}
		}
		return err == nil && up == d.conf.Workers
	})
}

// Leader is the address of the server that leads.
func (d *Daemons) Leader(ctx context.Context) (string, error) {
	list, err := d.Client.Cluster.ListMembers(ctx, &labv1.ListMembersRequest{})
	if err != nil {
		return "", err
	}
	for _, m := range list.GetMembers() {
		if m.GetRole() == labv1.MemberRole_MEMBER_ROLE_LEADER {
			return m.GetAddress(), nil
		}
	}
	return "", errors.New("nobody leads")
}

// Await waits until something is so.
func Await(what string, is func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), WaitLimit)
	defer cancel()
	for !is(ctx) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s", what)
		}
	}
	return nil
}
