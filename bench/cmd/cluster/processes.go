package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"labd.dev/bench/cluster"
)

// tellSpent prints what a write has cost the cores since then, which says more than its rate where others use them as well.
func (d *daemons) tellSpent(since map[string]time.Duration, writes int) error {
	ctx, cancel := context.WithTimeout(context.Background(), cluster.WaitLimit)
	defer cancel()
	leader, err := d.Leader(ctx)
	if err != nil {
		return err
	}
	by := map[string]time.Duration{}
	var sum time.Duration
	for name, now := range d.Spent() {
		role := "followers"
		switch {
		case name == "":
			role = "clients"
		case name == leader:
			role = "leader"
		case strings.HasPrefix(name, "w"):
			role = "workers"
		}
		by[role] += now - since[name]
		sum += now - since[name]
	}
	each := func(t time.Duration) time.Duration { return (t / time.Duration(writes)).Round(time.Microsecond) }
	fmt.Printf("  a write took %v of the cores: leader %v, followers %v, workers %v, clients %v\n", each(sum),
		each(by["leader"]), each(by["followers"]), each(by["workers"]), each(by["clients"]))
	return nil
}
