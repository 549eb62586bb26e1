package main

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"time"

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
		ctx, cancel := context.WithTimeout(context.Background(), 2*waitLimit)
		defer cancel()
		leader, err := d.leader(ctx)
		if err != nil {
			return err
		}
		pid := d.running[leader].Process.Pid
		before, err := residentBytes(pid)
		if err != nil {
			return err
		}
		var begun, told sync.WaitGroup
		var l latencies
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
		open, err := residentBytes(pid)
		if err != nil {
			return err
		}
		began := time.Now()
		for n := range *changes {
			if err := write(ctx, d.c, labName(0), n); err != nil {
				return err
			}
		}
		told.Wait()
		took := time.Since(began)
		after, err := residentBytes(pid)
		if err != nil || l.err != nil {
			return fmt.Errorf("%v %w", err, l.err)
		}
		fmt.Printf("watches: %d streams on %d connections: the server has %d MiB with all open, %d MiB after %d changes, %d MiB before; all were told of all within %v\n",
			*conns**each, *conns, open>>20, after>>20, *changes, before>>20, took.Round(time.Millisecond))
		return nil
	})
}

// watch follows all changes until it was told of so many inputs, each once and in order, and stays open.
func watch(ctx context.Context, c *client.Client, inputs int, begun, told *sync.WaitGroup, l *latencies) {
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
		l.add(0, fmt.Errorf("a stream ended after %d of %d inputs: %w", seen, inputs, err))
		if !open {
			begun.Done()
		}
		told.Done()
	}
}
