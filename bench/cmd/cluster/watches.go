package main

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"time"

	"labd.dev/bench/cluster"
	"labd.dev/client"
	labv1 "labd.dev/proto/lab/v1"
)

// watches opens many watch streams of all changes on one server, makes changes, and tells what memory the server has then
// and how long it took until the last stream had told of the last change.
func watches(args []string) error {
	flags := flag.NewFlagSet("watches", flag.ExitOnError)
	conns := flags.Int("conns", 100, "connections")
	each := flags.Int("streams", 100, "streams on each")
	changes := flags.Int("changes", 20, "inputs given while all watch")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return d3(1, func(d *daemons) error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*cluster.WaitLimit)
		defer cancel()
		leader, err := d.Leader(ctx)
		if err != nil {
			return err
		}
		pid := d.Pid(leader)
		before, err := cluster.ResidentBytes(pid)
		if err != nil {
			return err
		}
		var begun, told sync.WaitGroup
		var l cluster.Latencies
		for range *conns {
			c, err := client.Dial(leader)
			if err != nil {
				return err
			}
			defer c.Close()
			for range *each {
				begun.Add(1)
				told.Add(1)
				go watch(ctx, c, *changes, &begun, &told, &l)
			}
		}
		begun.Wait()
		open, err := cluster.ResidentBytes(pid)
		if err != nil {
			return err
		}
		began := time.Now()
		for n := range *changes {
			if err := write(ctx, d.Client, labName(0), n); err != nil {
				return err
			}
		}
		told.Wait()
		took := time.Since(began)
		after, err := cluster.ResidentBytes(pid)
		if err != nil || l.Err() != nil {
			return fmt.Errorf("%v %w", err, l.Err())
		}
		fmt.Printf("watches: %d streams on %d connections: the server has %d MiB with all open, %d MiB after %d changes, %d MiB before; all were told of all within %v\n",
			*conns**each, *conns, open>>20, after>>20, *changes, before>>20, took.Round(time.Millisecond))
		return nil
	})
}

// watch follows all changes until it was told of so many inputs, each once and in order, and stays open.
func watch(ctx context.Context, c *client.Client, inputs int, begun, told *sync.WaitGroup, l *cluster.Latencies) {
	open, seen := false, 0
	err := c.FollowChanges(ctx, "", func(m *labv1.WatchChangesResponse) error {
		if !open {
			open = true
			begun.Done()
			return nil
		}
		for _, change := range m.GetChanges() {
			if change.GetObject() != labv1.ObjectKind_OBJECT_KIND_INPUT {
				continue
			}
			if seen++; seen == inputs {
				told.Done()
			}
		}
		return nil
	})
	if seen < inputs {
		l.Add(0, fmt.Errorf("a stream ended after %d of %d inputs: %w", seen, inputs, err))
		if !open {
			begun.Done()
		}
		told.Done()
	}
}

// lists opens many streams that tell of all labs, whole, while the labs' clocks run, makes one more lab, and tells how long it
// took until all had been told of it, and what the server that leads had of the cores meanwhile.
func lists(args []string) error {
	flags := flag.NewFlagSet("lists", flag.ExitOnError)
	conns := flags.Int("conns", 100, "connections")
	each := flags.Int("streams", 100, "streams on each")
	labs := flags.Int("labs", 100, "labs on the real clock")
	dur := flags.Duration("dur", 20*time.Second, "wall time for which all watch")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return d3(*labs, func(d *daemons) error {
		ctx, cancel := context.WithTimeout(context.Background(), 3*cluster.WaitLimit+*dur)
		defer cancel()
		leader, err := d.Leader(ctx)
		if err != nil {
			return err
		}
		pid := d.Pid(leader)
		var begun, told sync.WaitGroup
		var l cluster.Latencies
		began := time.Now()
		for range *conns {
			c, err := client.Dial(leader)
			if err != nil {
				return err
			}
			defer c.Close()
			for range *each {
				begun.Add(1)
				told.Add(1)
				go list(ctx, c, *labs, &begun, &told, &l)
			}
		}
		begun.Wait()
		open, spent, since := time.Since(began), cluster.CPUTime(pid), time.Now()
		time.Sleep(*dur)
		busy := float64(cluster.CPUTime(pid)-spent) / float64(time.Since(since))
		asked := time.Now()
		if _, err := d.Client.Labs.ApplyLab(ctx, &labv1.ApplyLabRequest{RequestId: client.RequestID(), Spec: pair("one-more")}); err != nil {
			return err
		}
		told.Wait()
		took := time.Since(asked)
		after, err := cluster.ResidentBytes(pid)
		if err != nil || l.Err() != nil {
			return fmt.Errorf("%v %w", err, l.Err())
		}
		fmt.Printf("lists: %d streams on %d connections of all of %d labs: open within %v, then the leader took %.2f cores and %d MiB; all were told of one lab more within %v\n",
			*conns**each, *conns, *labs, open.Round(time.Millisecond), busy, after>>20, took.Round(time.Millisecond))
		return nil
	})
}

// list follows all labs until it was told of one more than there were, and stays open.
func list(ctx context.Context, c *client.Client, labs int, begun, told *sync.WaitGroup, l *cluster.Latencies) {
	open, done := false, false
	err := c.FollowLabs(ctx, func(m *labv1.WatchLabsResponse) error {
		if !open {
			open = true
			begun.Done()
		}
		if !done && len(m.GetLabs()) > labs {
			done = true
			told.Done()
		}
		return nil
	})
	if !done {
		l.Add(0, fmt.Errorf("a stream ended before it was told of the last lab: %w", err))
		if !open {
			begun.Done()
		}
		told.Done()
	}
}
