package main

import (
	"context"
	"fmt"

	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/tcpstack/snmp"
)

// netstat -s of a node: its counters under the names that Linux gives them in /proc/net/snmp and /proc/net/netstat, those
// that Linux has not under the stack's own. It only looks: it is no input of the lab.

// netstat prints a node's counters.
func (a *app) netstat(ctx context.Context, node string, words []string) error {
	if len(words) != 1 || words[0] != "-s" {
		return &usageError{"netstat is netstat -s here; labctl ss lists connections"}
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := c.Nodes.GetNode(ctx, &labv1.GetNodeRequest{Lab: a.labName(), Node: node})
	if err != nil {
		return err
	}
	if !a.format.ForPeople() {
		l := &output.List{Columns: []string{"counter", "value"}}
		for _, n := range r.GetNode().GetCounters() {
			l.Add(n, n.Name, fmt.Sprint(n.Value))
		}
		return a.format.Write(a.out, l)
	}
	a.printCounters(r.GetNode().GetCounters())
	return nil
}

// printCounters groups the counters as netstat -s does; those that are zero and that Linux does not name are left out.
func (a *app) printCounters(counters []*labv1.Counter) {
	value := map[string]uint64{}
	for _, n := range counters {
		value[n.Name] = n.Value
	}
	named := map[string]bool{}
	group := ""
	for _, n := range snmp.Names {
		v, ok := value[n.Counter]
		if !ok {
			continue
		}
		if named[n.Counter] = true; n.Group != group {
			group = n.Group
			fmt.Fprintf(a.out, "%s:\n", group)
		}
		fmt.Fprintf(a.out, "    %s: %d\n", n.Name, v)
	}
	fmt.Fprintln(a.out, "Labd:")
	for _, n := range counters {
		if !named[n.Name] && n.Value != 0 {
			fmt.Fprintf(a.out, "    %s: %d\n", n.Name, n.Value)
		}
	}
}
