package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"labd.dev/client"
	labv1 "labd.dev/proto/lab/v1"
)

// spawn starts a labd of any role as a process of its own.
func spawn(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], args...)}
	p.cmd.Env = append(os.Environ(), asLabd+"=1")
	p.cmd.Stderr = &p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil { // the test has failed before its end
			p.cmd.Process.Kill()
			p.cmd.Wait()
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("labd says %q: %v, %v", line, err, p.end(syscall.SIGKILL))
	}
	p.address = strings.TrimSpace(strings.TrimPrefix(line, "labd listens at "))
	return p
}

// until waits for what processes bring about.
func until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func health(t *testing.T, address string) *labv1.GetHealthResponse {
	t.Helper()
	c, err := client.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h, _ := c.Cluster.GetHealth(t.Context(), &labv1.GetHealthRequest{})
	return h
}

// Three servers and a worker as processes: the leader is killed, and nothing that was acknowledged is lost; it comes back
// and catches up.
func TestLeaderIsKilled(t *testing.T) {
	host := loopback(t)
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	servers := make([]*process, 3)
	var addresses []string
	for i := range servers {
		servers[i] = spawn(t, "server", "--listen", host, "--data-dir", dirs[i], "--bootstrap-expect", "3", "--join", strings.Join(addresses, ","))
		addresses = append(addresses, servers[i].address)
	}
	all := strings.Join(addresses, ",")
	worker := spawn(t, "worker", "--listen", host, "--data-dir", t.TempDir(), "--name", "w1", "--server", all)
	until(t, "the cluster takes changes", func() bool { return health(t, addresses[0]).GetWritable() })
	c, err := client.Dial(all)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	apply := func(i int) {
		t.Helper()
		spec := lossy(fmt.Sprintf("lab%d", i))
		spec.Clock = labv1.Clock_CLOCK_VIRTUAL
		request := &labv1.ApplyLabRequest{RequestId: fmt.Sprint("apply ", i), Spec: spec}
		until(t, "the lab is there", func() bool { // an answer that was lost with the leader is asked for again
			_, err := c.Labs.ApplyLab(t.Context(), request)
			if err != nil && client.ExitCode(err) != int(client.CodeUnavailable) {
				t.Fatal(err)
			}
			return err == nil
		})
	}
	const before, after = 3, 6
	for i := range before {
		apply(i)
	}
	leader := 0
	until(t, "a leader", func() bool {
		for i, a := range addresses {
			if h := health(t, addresses[0]); h.GetLeader() == a {
				leader = i
				return true
			}
		}
		return false
	})
	servers[leader].end(syscall.SIGKILL)
	for i := before; i < after; i++ {
		apply(i)
	}
	if r, err := c.Labs.ListLabs(t.Context(), &labv1.ListLabsRequest{}); err != nil || len(r.GetLabs()) != after {
		t.Errorf("%d labs, %v, want %d", len(r.GetLabs()), err, after)
	}
	servers[leader] = spawn(t, "server", "--listen", addresses[leader], "--data-dir", dirs[leader], "--join", all)
	itself, err := client.Open(client.Options{Servers: []string{addresses[leader]}, Stale: true})
	if err != nil {
		t.Fatal(err)
	}
	defer itself.Close()
	until(t, "the killed one knows all", func() bool {
		r, err := itself.Labs.ListLabs(t.Context(), &labv1.ListLabsRequest{})
		return err == nil && len(r.GetLabs()) == after
	})
	worker.end(syscall.SIGTERM)
	for _, s := range servers {
		if log := s.end(syscall.SIGTERM); strings.Contains(log, "level=ERROR") || strings.Contains(log, "panic") {
			t.Errorf("the log of a server:\n%s", log)
		}
	}
}
