package main

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

// waitLimit bounds each wait for a cluster to be as it is wanted.
const waitLimit = time.Minute

// daemons are three servers and some workers, each a process.
type daemons struct {
	dir     string
	servers []string
	running map[string]*exec.Cmd // by address of a server, by name of a worker
	c       *client.Client
}

func startDaemons(workers int) (d *daemons, err error) {
	d = &daemons{running: map[string]*exec.Cmd{}}
	if d.dir, err = os.MkdirTemp("", "cluster-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.stop()
		}
	}()
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		d.servers = append(d.servers, l.Addr().String())
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	for _, address := range d.servers {
		if err := d.startServer(address); err != nil {
			return nil, err
		}
	}
	for i := range workers {
		name := fmt.Sprintf("w%d", i+1)
		if err := d.start(name, "worker", "--server", strings.Join(d.servers, ","), "--name", name); err != nil {
			return nil, err
		}
	}
	if d.c, err = client.Dial(strings.Join(d.servers, ",")); err != nil {
		return nil, err
	}
	return d, d.whole(workers)
}

func (d *daemons) startServer(address string) error {
	return d.start(address, "server", "--bootstrap-expect", "3", "--join", strings.Join(d.servers, ","), "--listen", address)
}

func (d *daemons) start(name string, args ...string) error {
	dir := filepath.Join(d.dir, strings.ReplaceAll(name, ":", "-"))
	cmd := exec.Command(*labd, append(args, "--data-dir", dir, "--log.level", "error")...)
	cmd.Stderr = os.Stderr
	if err := start(cmd); err != nil {
		return err
	}
	d.running[name] = cmd
	return nil
}

// kill is kill -9.
func (d *daemons) kill(name string) {
	_ = d.running[name].Process.Kill() // it may have ended
	_ = d.running[name].Wait()
	delete(d.running, name)
}

func (d *daemons) stop() {
	if d.c != nil {
		_ = d.c.Close()
	}
	for name := range d.running {
		d.kill(name)
	}
	_ = os.RemoveAll(d.dir)
}

// whole waits until all three servers vote and answer, and all workers take labs.
func (d *daemons) whole(workers int) error {
	return await("a whole cluster", func(ctx context.Context) bool {
		list, err := d.c.Cluster.ListMembers(ctx, &labv1.ListMembersRequest{})
		if err != nil || len(list.GetMembers()) != 3 {
			return false
		}
		for _, m := range list.GetMembers() {
			if !m.GetReachable() || m.GetRole() == labv1.MemberRole_MEMBER_ROLE_NONVOTER {
				return false
			}
		}
		up := 0
		all, err := d.c.Workers.ListWorkers(ctx, &labv1.ListWorkersRequest{})
		for _, w := range all.GetWorkers() {
			if w.GetState() == labv1.WorkerState_WORKER_STATE_UP {
				up++
			}
		}
		return err == nil && up == workers
	})
}

// leader is the address of the server that leads.
func (d *daemons) leader(ctx context.Context) (string, error) {
	list, err := d.c.Cluster.ListMembers(ctx, &labv1.ListMembersRequest{})
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

func await(what string, is func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
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

// pair is a lab of two hosts on the real clock.
func pair(name string) *labv1.LabSpec {
	return &labv1.LabSpec{Name: name, Seed: 1, Clock: labv1.Clock_CLOCK_REAL, Nodes: []*labv1.NodeSpec{{Name: "a"}, {Name: "b"}},
		Links: []*labv1.LinkSpec{link("a", "b", 10e6, time.Millisecond)}}
}

// applyLabs makes labs and waits until they run.
func (d *daemons) applyLabs(n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	for i := range n {
		if _, err := d.c.Labs.ApplyLab(ctx, &labv1.ApplyLabRequest{RequestId: client.RequestID(), Spec: pair(labName(i))}); err != nil {
			return err
		}
	}
	return await("all labs to run", func(ctx context.Context) bool {
		list, err := d.c.Labs.ListLabs(ctx, &labv1.ListLabsRequest{})
		running := 0
		for _, l := range list.GetLabs() {
			if l.GetState() == labv1.LabState_LAB_STATE_RUNNING {
				running++
			}
		}
		return err == nil && running == n
	})
}

func labName(i int) string { return fmt.Sprintf("lab-%04d", i) }

// write gives a lab an input, which is stamped by its worker and committed by the servers before it is answered.
func write(ctx context.Context, c *client.Client, lab string, n int) error {
	delay := int64(1e6 + n%2)
	_, err := c.Links.SetLink(ctx, &labv1.SetLinkRequest{RequestId: client.RequestID(), Lab: lab,
		Set: &labv1.LinkSet{Link: "a--b", Patch: &labv1.DirectionPatch{DelayNs: &delay}}})
	return err
}
