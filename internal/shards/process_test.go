package shards_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"labd.dev/internal/shards"
	"labd.dev/node/cut"
	"labd.dev/node/worker"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// The environment that makes this test binary a worker instead of running tests.
const workerEnv = "LABD_WORKER_ROOT"

func TestMain(m *testing.M) {
	if root := os.Getenv(workerEnv); root != "" {
		if err := workerProcess(root); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// workerProcess hosts shards until its input ends; it prints where its service and its frames are reached.
func workerProcess(root string) error {
	w, err := worker.New(worker.Config{Root: root, DialFrames: func(ctx context.Context, address string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}})
	if err != nil {
		return err
	}
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	frames, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := frames.Accept()
			if err != nil {
				return
			}
			go w.ServeFrames(c)
		}
	}()
	s := grpc.NewServer()
	workerv1.RegisterWorkerServiceServer(s, w)
	go s.Serve(service)
	fmt.Println(service.Addr(), frames.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// spawn starts a worker process.
func spawn(t *testing.T) (cmd *exec.Cmd, client workerv1.WorkerServiceClient, frames string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(self)
	cmd.Env = append(os.Environ(), workerEnv+"="+t.TempDir())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // one of them is killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	service, frames, _ := strings.Cut(strings.TrimSpace(line), " ")
	conn, err := grpc.NewClient(service, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return cmd, workerv1.NewWorkerServiceClient(conn), frames
}

// "The same bytes as one process does": two real processes, then three of which one is killed with SIGKILL in the midst of
// it, and the lab is rebuilt on the other two under a new epoch.
func TestRealProcesses(t *testing.T) {
	c := newCluster(t, 1, false)
	_, want := c.run(busy(0))
	var commands []*exec.Cmd
	var clients shards.Client
	var addresses []string
	for range 3 {
		cmd, client, frames := spawn(t)
		commands, clients, addresses = append(commands, cmd), append(clients, client), append(addresses, frames)
	}
	start := func(clients shards.Client, req *workerv1.StartLabRequest) {
		t.Helper()
		parts, err := cut.Shards(req.Spec, req.Journal, len(clients))
		if err != nil {
			t.Fatal(err)
		}
		req.Shards = nil
		for i, p := range parts {
			req.Shards = append(req.Shards, &workerv1.Shard{Worker: fmt.Sprintf("w%d", i), Address: addresses[i], Nodes: p})
		}
		if _, err := clients.StartLab(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	start(clients[:2], busy(0))
	c.ended(clients[:2], "busy")
	identical(t, "one process and two", want, c.collect(clients[:2], "busy"))

	req := standing(path())
	start(clients, req)
	journal := []*labv1.JournalEntry{c.give(clients, "live", transfer("t1", "client", "server", 3_000_000))}
	c.until(clients, "live", "some of t1", func(got *workerv1.GetLabResponse) bool { return got.Transfers[0].Bytes > 0 })
	if err := commands[2].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, m := range clients[:2] {
		c.until(m, "live", "that the shard is broken", func(got *workerv1.GetLabResponse) bool { return got.Broken != "" })
	}
	req.Epoch, req.Journal = 2, journal
	start(clients[:2], req)
	if got := c.settled(clients[:2], "t1"); !got.Transfers[0].Match {
		t.Errorf("%v", got.Transfers[0])
	}
	c.kept(clients[:2], clients[:2], 2)
}
