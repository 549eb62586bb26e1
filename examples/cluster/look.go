package main

import (
	"context"
	"fmt"
	"time"

	labv1 "labd.dev/proto/lab/v1"
)

// askTimeout bounds a question, which is asked again then: long enough for the busiest machine.
const askTimeout = 20 * time.Second

// until waits for something to be so, while every labd that was not killed lives.
func (s *show) until(what string, is func() bool) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for !is() {
		if err := s.died(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, context.Cause(s.ctx))
		}
	}
	return nil
}

// reaches waits until the run that a labctl has begun comes to a lab time.
func (s *show) reaches(labctl *process, at time.Duration) (run *labv1.Run, err error) {
	err = s.until(fmt.Sprintf("%v of lab time", at), func() bool {
		run = s.run("")
		return labctl.hasEnded() || run.GetProgress().GetNowNs() >= int64(at)
	})
	if err == nil && labctl.hasEnded() {
		err = fmt.Errorf("labctl run has ended before %v of lab time: %v\n%s%s", at, labctl.err, &labctl.errOut, &labctl.out)
	}
	return run, err
}

// run is how a run stands, the first there is where no id is given; nil: nobody can tell just now.
func (s *show) run(id string) *labv1.Run {
	ctx, cancel := context.WithTimeout(s.ctx, askTimeout)
	defer cancel()
	if id == "" {
		list, err := s.c.Runs.ListRuns(ctx, &labv1.ListRunsRequest{})
		if err != nil || len(list.GetRuns()) == 0 {
			return nil
		}
		id = list.GetRuns()[0].GetId()
	}
	r, err := s.c.Runs.GetRun(ctx, &labv1.GetRunRequest{Run: id})
	if err != nil {
		return nil
	}
	return r.GetRun()
}

func ended(run *labv1.Run) bool {
	return run.GetState() == labv1.RunState_RUN_STATE_ENDED || run.GetState() == labv1.RunState_RUN_STATE_FAILED
}

func (s *show) members() []*labv1.Member {
	ctx, cancel := context.WithTimeout(s.ctx, askTimeout)
	defer cancel()
	r, err := s.c.Cluster.ListMembers(ctx, &labv1.ListMembersRequest{})
	if err != nil {
		return nil
	}
	return r.GetMembers()
}

// leader is the server that leads; nil: none just now.
func (s *show) leader() *process {
	for _, m := range s.members() {
		if m.GetRole() != labv1.MemberRole_MEMBER_ROLE_LEADER {
			continue
		}
		for _, p := range s.processes {
			if p.address == m.GetAddress() && !p.killed {
				return p
			}
		}
	}
	return nil
}

// voters are the servers that count.
func (s *show) voters() int {
	n := 0
	for _, m := range s.members() {
		if m.GetReachable() && m.GetRole() != labv1.MemberRole_MEMBER_ROLE_NONVOTER {
			n++
		}
	}
	return n
}

// up are the workers that take labs.
func (s *show) up() int {
	ctx, cancel := context.WithTimeout(s.ctx, askTimeout)
	defer cancel()
	r, err := s.c.Workers.ListWorkers(ctx, &labv1.ListWorkersRequest{})
	if err != nil {
		return 0
	}
	n := 0
	for _, w := range r.GetWorkers() {
		if w.GetState() == labv1.WorkerState_WORKER_STATE_UP {
			n++
		}
	}
	return n
}

func (s *show) process(name string) *process {
	for _, p := range s.processes {
		if p.name == name {
			return p
		}
	}
	return nil
}
