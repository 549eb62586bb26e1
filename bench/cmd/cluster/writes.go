package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"time"

	"labd.dev/bench/cluster"
	"labd.dev/client"
)

// failover kills the leader again and again, and tells how long until the next write is acknowledged. The write is asked for
// at the instant of the kill and repeated under its request id by the client, as any is.
func failover(args []string) error {
	flags := flag.NewFlagSet("failover", flag.ExitOnError)
	kills := flags.Int("kills", 20, "kills")
	if err := flags.Parse(args); err != nil {
		return err
	}
	const workers = 3
	d, err := startDaemons(workers)
	if err != nil {
		return err
	}
	defer d.Stop()
	if err := d.applyLabs(1); err != nil {
		return err
	}
	var took []time.Duration
	for n := range *kills {
		ctx, cancel := context.WithTimeout(context.Background(), cluster.WaitLimit)
		leader, err := d.Leader(ctx)
		if err == nil {
			err = write(ctx, d.Client, labName(0), 2*n)
		}
		if err != nil {
			cancel()
			return err
		}
		d.Kill(leader)
		began := time.Now()
		for err = write(ctx, d.Client, labName(0), 2*n+1); err != nil && ctx.Err() == nil; {
			err = write(ctx, d.Client, labName(0), 2*n+1)
		}
		took = append(took, time.Since(began))
		cancel()
		if err != nil {
			return fmt.Errorf("after kill %d: %w", n+1, err)
		}
		if err := d.StartServer(leader); err != nil {
			return err
		}
		if err := d.Whole(); err != nil {
			return err
		}
	}
	slices.Sort(took)
	within := 0
	for _, t := range took {
		if t <= 2*time.Second {
			within++
		}
	}
	fmt.Printf("failover: %d kills, next acknowledged write after %v (median), %v (worst); within 2 s: %d\n", len(took),
		took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), within)
	return nil
}

// writes measures acknowledged inputs a second, many clients writing as fast as they are answered.
func writes(args []string) error {
	flags := flag.NewFlagSet("writes", flag.ExitOnError)
	clients := flags.Int("clients", 64, "clients, each with a connection and a lab of its own")
	dur := flags.Duration("dur", 10*time.Second, "wall time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return d3(*clients, func(d *daemons) error {
		ctx, cancel := context.WithTimeout(context.Background(), *dur)
		defer cancel()
		var l cluster.Latencies
		began, spent := time.Now(), d.Spent()
		err := d.eachLab(*clients, func(c *client.Client, i int) {
			for n := 0; ctx.Err() == nil; n++ {
				asked := time.Now()
				if err := write(context.WithoutCancel(ctx), c, labName(i), n); err != nil {
					l.Add(0, err)
					return
				}
				l.Add(time.Since(asked), nil)
			}
		})
		if err != nil || l.Err() != nil {
			return fmt.Errorf("%v %w", err, l.Err())
		}
		fmt.Printf("writes: %d clients, %.0f acknowledged writes/s; p50 %v, p99 %v\n", *clients,
			float64(l.Len())/time.Since(began).Seconds(), l.Quantile(0.5), l.Quantile(0.99))
		return d.tellSpent(spent, l.Len())
	})
}

// labs measures how long a command takes when many labs on the real clock get one a second each.
func labs(args []string) error {
	flags := flag.NewFlagSet("labs", flag.ExitOnError)
	n := flags.Int("labs", 300, "labs")
	dur := flags.Duration("dur", 20*time.Second, "wall time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return d3(*n, func(d *daemons) error {
		ctx, cancel := context.WithTimeout(context.Background(), *dur)
		defer cancel()
		var l cluster.Latencies
		err := d.eachLab(*n, func(c *client.Client, i int) {
			first := time.NewTimer(time.Second * time.Duration(i) / time.Duration(*n)) // spread over the second
			<-first.C
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				asked := time.Now()
				err := write(context.WithoutCancel(ctx), c, labName(i), n)
				l.Add(time.Since(asked), err)
				<-tick.C
			}
		})
		if err != nil || l.Err() != nil {
			return fmt.Errorf("%v %w", err, l.Err())
		}
		fmt.Printf("labs: %d labs on the real clock, one command a second each: p50 %v, p99 %v, worst %v of %d\n", *n,
			l.Quantile(0.5), l.Quantile(0.99), l.Quantile(1), l.Len())
		return nil
	})
}

// d3 does something with a cluster of three servers and three workers with labs.
func d3(labs int, do func(*daemons) error) error {
	d, err := startDaemons(3)
	if err != nil {
		return err
	}
	defer d.Stop()
	if err := d.applyLabs(labs); err != nil {
		return err
	}
	return do(d)
}

// eachLab runs something for each lab at once, each with a client of its own.
func (d *daemons) eachLab(n int, do func(*client.Client, int)) error {
	var all sync.WaitGroup
	defer all.Wait()
	for i := range n {
		c, err := d.Open("")
		if err != nil {
			return err
		}
		all.Go(func() {
			defer c.Close()
			do(c, i)
		})
	}
	return nil
}
