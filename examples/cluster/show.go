package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"labd.dev/client"
	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

const (
	experimentFile = "examples/cluster/experiment.yaml"
	// killAt is the lab time of the kills. The run takes four times as long, a window of at most 10 ms after the other, for
	// each of which the workers wait for each other: however busy the machine is, the show sees that time before the end.
	killAt = 2 * time.Second
	// look is how often the show looks whether what it waits for is there.
	look = 50 * time.Millisecond
)

// show is one showing: a directory, processes, and a client of the servers.
type show struct {
	ctx       context.Context
	began     time.Time
	root      string // of the module
	dir       string // everything that is made
	programs  string // labd and labctl
	built     bool   // they are
	processes []*process
	servers   []string
	c         *client.Client
}

// newShow prepares a showing of the labd and labctl in a directory; empty: of those of the sources.
func newShow(ctx context.Context, programs string) (*show, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOMOD: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(mod)))
	if _, err := os.Stat(filepath.Join(root, experimentFile)); err != nil {
		return nil, fmt.Errorf("call it within labd's sources: %w", err)
	}
	dir, err := os.MkdirTemp("", "labd-cluster-")
	if err != nil {
		return nil, err
	}
	s := &show{ctx: ctx, began: time.Now(), root: root, dir: dir, programs: programs, built: programs != ""}
	if !s.built {
		s.programs = filepath.Join(dir, "bin")
	}
	return s, nil
}

// build builds labd and labctl, if they are not there.
func (s *show) build() error {
	if s.built {
		return nil
	}
	s.tell("building labd and labctl")
	build := exec.CommandContext(s.ctx, "go", "build", "-o", s.programs+string(filepath.Separator), "./cmd/labd", "./cmd/labctl")
	build.Dir, build.Stderr = s.root, os.Stderr
	build.Cancel = func() error { return build.Process.Signal(os.Interrupt) } // killed, it would leave its own directory
	if err := build.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	return nil
}

// close ends every process and removes everything.
func (s *show) close() error {
	var err error
	if s.c != nil {
		err = s.c.Close()
	}
	s.killAll()
	return errors.Join(err, os.RemoveAll(s.dir))
}

// tell says what is done, and when.
func (s *show) tell(format string, args ...any) {
	fmt.Printf("%5.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func (s *show) play() error {
	if err := s.build(); err != nil {
		return err
	}
	if err := s.bringUp(); err != nil {
		return err
	}
	cluster, single := filepath.Join(s.dir, "run-cluster"), filepath.Join(s.dir, "run-single")
	if err := s.runOnCluster(cluster); err != nil {
		return err
	}
	s.tell("the same experiment in one process: labctl run experiment.yaml")
	labctl, err := s.labctl("--out", single)
	if err != nil {
		return err
	}
	if err := s.wait(labctl); err != nil {
		return err
	}
	return s.compare(cluster, single)
}

// bringUp starts three servers, which found a cluster, and three workers.
func (s *show) bringUp() (err error) {
	if s.servers, err = addresses(3); err != nil {
		return err
	}
	join := strings.Join(s.servers, ",")
	for i, address := range s.servers {
		if err := s.labd(fmt.Sprintf("s%d", i+1), address, "server", "--bootstrap-expect", "3", "--join", join); err != nil {
			return err
		}
	}
	if s.c, err = client.Dial(join); err != nil {
		return err
	}
	var leader *process
	err = s.until("three servers, of which one leads", func() bool {
		leader = s.leader()
		return leader != nil && s.voters() == 3
	})
	if err != nil {
		return err
	}
	s.tell("3 servers: %s; %s leads", join, leader.name)
	ports, err := addresses(3)
	if err != nil {
		return err
	}
	for i, address := range ports {
		name := fmt.Sprintf("w%d", i+1)
		if err := s.labd(name, address, "worker", "--server", join, "--name", name); err != nil {
			return err
		}
	}
	if err := s.until("three workers", func() bool { return s.up() == 3 }); err != nil {
		return err
	}
	s.tell("3 workers: w1, w2, w3")
	return nil
}

// runOnCluster has the cluster run the experiment, and kills two of its processes on the way.
func (s *show) runOnCluster(out string) error {
	s.tell("labctl run experiment.yaml --clock real --server s1,s2,s3")
	labctl, err := s.labctl("--clock", "real", "--server", strings.Join(s.servers, ","), "--out", out)
	if err != nil {
		return err
	}
	run, err := s.reaches(labctl, killAt)
	if err != nil {
		return err
	}
	s.tell("the lab of 9 nodes is split over %s", strings.ReplaceAll(run.GetWorker(), ",", ", "))
	if err := s.killTwo(run); err != nil {
		return err
	}
	if err := s.wait(labctl); err != nil {
		return err
	}
	s.tell("the run has ended, and labctl has fetched its directory:")
	for line := range strings.Lines(labctl.out.String()) {
		if strings.TrimSpace(line) == "" {
			break // after the transfers come ladders
		}
		fmt.Print("         ", line)
	}
	return nil
}

// labctl has a labctl run the experiment.
func (s *show) labctl(args ...string) (*process, error) {
	p := &process{name: "labctl"}
	return p, s.spawn(p, &p.out, &p.errOut, append([]string{"run", filepath.Join(s.root, experimentFile)}, args...)...)
}

// wait waits for a labctl to end well.
func (s *show) wait(labctl *process) error {
	if err := s.until("labctl's end", labctl.hasEnded); err != nil {
		return err
	}
	if labctl.err != nil {
		return fmt.Errorf("labctl run: %w\n%s%s", labctl.err, &labctl.errOut, &labctl.out)
	}
	return nil
}

// killTwo kills the server that leads, and the last of the workers that the run is on before another leads, which has to
// see to the lab then. It waits until the lab goes on.
func (s *show) killTwo(run *labv1.Run) error {
	workers := strings.Split(run.GetWorker(), ",")
	worker := s.process(workers[len(workers)-1])
	if worker == nil {
		return fmt.Errorf("the run is on %q, which nobody has started", run.GetWorker())
	}
	var leader, next *process
	if err := s.until("a leader", func() bool { leader = s.leader(); return leader != nil }); err != nil {
		return err
	}
	at, was := time.Now(), run.GetProgress().GetNowNs()
	s.tell("at %s of lab time: kill -9 %s, the server that leads, and %s, which has a third of the lab", output.Seconds(was), leader.name, worker.name)
	if err := errors.Join(leader.kill(), worker.kill()); err != nil {
		return err
	}
	if err := s.until("another leader", func() bool { next = s.leader(); return next != nil }); err != nil {
		return err
	}
	s.tell("%s leads, %.1f s later", next.name, time.Since(at).Seconds())
	err := s.until("the lab to go on", func() bool {
		now := s.run(run.GetId())
		if now == nil || slices.Contains(strings.Split(now.GetWorker(), ","), worker.name) {
			return false
		}
		run = now
		return ended(now) || !now.GetProgress().GetRecovering() && now.GetProgress().GetNowNs() > was
	})
	if err != nil {
		return err
	}
	s.tell("the lab has been replayed from its journal on %s and goes on, %.1f s after the kills",
		strings.ReplaceAll(run.GetWorker(), ",", ", "), time.Since(at).Seconds())
	return nil
}
