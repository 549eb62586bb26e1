package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"labd.dev/bench/cluster"
	"labd.dev/internal/shards"
	"labd.dev/node/cut"
	"labd.dev/node/worker"
	workerv1 "labd.dev/proto/worker/v1"
	"runtime/pprof"
)

// workerProcess is a worker by itself: it prints where its service and its frames are reached, and ends with its input.
func workerProcess(args []string) error {
	flags := flag.NewFlagSet("worker", flag.ExitOnError)
	profile := flags.String("profile", "", "write a CPU profile to this `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	root, err := os.MkdirTemp("", "cluster-worker-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
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
	s := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	workerv1.RegisterWorkerServiceServer(s, w)
	go s.Serve(service)
	fmt.Println(service.Addr(), frames.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	s.Stop()
	return errors.Join(err, w.Close(), frames.Close())
}

// process is a worker process that was started.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	conn   *grpc.ClientConn
	frames string
}

// startWorker starts a worker process, on one core if core is not negative.
func startWorker(core int, profile string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{self, "worker", "-profile", profile}
	if core >= 0 {
		args = append([]string{"taskset", "-c", strconv.Itoa(core)}, args...)
	}
	p := &process{cmd: exec.Command(args[0], args[1:]...)}
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = in
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cluster.StartProcess(p.cmd); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	service, frames, _ := strings.Cut(strings.TrimSpace(line), " ")
	p.frames = frames
	p.conn, err = grpc.NewClient(service, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	return p, err
}

func (p *process) stop() error {
	if p.conn != nil {
		p.conn.Close()
	}
	p.stdin.Close()
	return p.cmd.Wait()
}

// used is the processor time that a process has taken, read from the kernel while it runs.
func (p *process) used() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, syscall.EINVAL
	}
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100, nil
}

// group is worker processes that host labs together.
type group struct {
	processes []*process
	client    shards.Client
}

func startGroup(n, core int, profile string) (*group, error) {
	g := &group{}
	for i := range n {
		name := ""
		if profile != "" {
			name = fmt.Sprintf("%s.%d-%d", profile, n, i)
		}
		p, err := startWorker(core, name)
		if err != nil {
			return nil, errors.Join(err, g.stop())
		}
		g.processes = append(g.processes, p)
		g.client = append(g.client, workerv1.NewWorkerServiceClient(p.conn))
	}
	return g, nil
}

func (g *group) stop() (err error) {
	for _, p := range g.processes {
		err = errors.Join(err, p.stop())
	}
	return err
}

// spent is what a run took.
type spent struct {
	wall, cpu time.Duration
	lab       *workerv1.GetLabResponse
}

// run runs a lab to its end, split over the group's workers.
func (g *group) run(ctx context.Context, req *workerv1.StartLabRequest) (s spent, err error) {
	req.Shards = nil
	if n := len(g.processes); n > 1 {
		parts, err := cut.Shards(req.GetSpec(), req.GetJournal(), n)
		if err != nil {
			return s, err
		}
		for i, p := range parts {
			req.Shards = append(req.Shards, &workerv1.Shard{Worker: fmt.Sprintf("worker %d", i), Address: g.processes[i].frames, Nodes: p})
		}
	}
	before, err := g.used()
	if err != nil {
		return s, err
	}
	began := time.Now()
	if _, err := g.client.StartLab(ctx, req); err != nil {
		return s, err
	}
	stream, err := g.client.WatchLab(ctx, &workerv1.WatchLabRequest{LabId: req.GetLabId(), IntervalMs: 60_000})
	for err == nil {
		_, err = stream.Recv()
	}
	if !errors.Is(err, io.EOF) {
		return s, err
	}
	s.wall = time.Since(began)
	after, err := g.used()
	if err != nil {
		return s, err
	}
	s.cpu = after - before
	if s.lab, err = g.client.GetLab(ctx, &workerv1.GetLabRequest{LabId: req.GetLabId()}); err != nil {
		return s, err
	}
	if e := s.lab.GetProgress().GetError(); e != "" {
		return s, errors.New(e)
	}
	_, err = g.client.StopLab(ctx, &workerv1.StopLabRequest{LabId: req.GetLabId(), Epoch: req.GetEpoch()})
	return s, err
}

func (g *group) used() (all time.Duration, err error) {
	for _, p := range g.processes {
		d, err := p.used()
		if err != nil {
			return 0, err
		}
		all += d
	}
	return all, nil
}
