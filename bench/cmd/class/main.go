// Command class has a class of students work on a cluster as people do: each starts a lab of a template, gives it two commands,
// tries it by the checks and submits it, while with -kill the server that leads dies and comes back. It tells how long each kind
// of call took, whether a submission was lost, and how soon after the deadline all were graded.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"labd.dev/bench/cluster"
)

var (
	labd     = flag.String("labd", "labd", "labd's `binary`, made by: go build ./cmd/labd")
	students = flag.Int("students", 300, "students, each with a connection and a token of their own")
	dur      = flag.Duration("dur", 3*time.Minute, "wall time over which students begin")
	kill     = flag.Bool("kill", false, "in the middle, kill the server that leads and start it again")
	seed     = flag.Uint64("seed", 1, "of the times at which students begin and give commands")
)

const (
	// workers beside the three servers.
	workers = 3
	// grace is how long after the last student has begun the deadline is: a session takes some 10 s.
	grace = 45 * time.Second
	// awayFor is how long the killed server stays away.
	awayFor = 5 * time.Second
)

func main() {
	flag.Parse()
	leave, err := cluster.Place()
	if err == nil {
		err = run()
		leave()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "class:", err)
		os.Exit(1)
	}
}

func run() error {
	d, err := cluster.Start(cluster.Config{Labd: *labd, Workers: workers, Identity: true})
	if err != nil {
		return err
	}
	defer d.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), *dur+grace+10*cluster.WaitLimit)
	defer cancel()
	class, err := enrol(ctx, d, *students)
	if err != nil {
		return err
	}
	defer class.close()
	empty, err := measureUse(d)
	if err != nil {
		return err
	}
	due := time.Now().Add(*dur + grace)
	if err := class.publish(ctx, due); err != nil {
		return err
	}
	r := newResults()
	err = work(ctx, d, class, r)
	r.tellCalls()
	if err != nil {
		return err
	}
	full, err := measureUse(d)
	if err != nil {
		return err
	}
	full.tell(empty, *students)
	return class.tellMarks(ctx, due, r)
}

// work has all students work, and the server die and come back.
func work(ctx context.Context, d *cluster.Daemons, class *class, r *results) error {
	var all sync.WaitGroup
	for i, s := range class.students {
		random := rand.New(rand.NewPCG(*seed, uint64(i)))
		all.Go(func() {
			if err := s.work(ctx, random, r); err != nil {
				r.fail(fmt.Errorf("%s: %w", s.name, err))
			}
		})
	}
	var died error
	if *kill {
		died = restartLeader(ctx, d)
	}
	all.Wait()
	return died
}

func restartLeader(ctx context.Context, d *cluster.Daemons) error {
	if err := pause(ctx, *dur/2); err != nil {
		return err
	}
	leader, err := d.Leader(ctx)
	if err != nil {
		return err
	}
	d.Kill(leader)
	fmt.Printf("%s, which led, is killed\n", leader)
	if err := pause(ctx, awayFor); err != nil {
		return err
	}
	if err := d.StartServer(leader); err != nil {
		return err
	}
	return d.Whole()
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
