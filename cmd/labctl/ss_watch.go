package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"labd.dev/client"
	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

// watchSockets shows a node's connections over and over: on a terminal in one place, else one table after another.
func (a *app) watchSockets(ctx context.Context, c *client.Client, node string, show socketDetail, listening bool) error {
	if a.format == output.JSON {
		return &usageError{"--watch has no end, and json has one; use -o jsonl"}
	}
	w := newRowWatch(a, socketName)
	req := &labv1.WatchStatusRequest{Lab: a.labName(), Kind: labv1.StatusKind_STATUS_KIND_CONNS, Node: node, Listening: true}
	first := true
	return c.FollowStatus(ctx, req, func(m *labv1.WatchStatusResponse) error {
		if listening {
			m.Conns = slices.DeleteFunc(m.Conns, connected)
		}
		if !a.format.ForPeople() {
			return w.update(connList(m.Conns))
		}
		head := fmt.Sprintf("at %s\n", output.Seconds(m.NowNs))
		switch {
		case terminal(a.out):
			head = clearScreen + head
		case !first:
			head = "\n" + head
		}
		first = false
		if _, err := io.WriteString(a.out, head); err != nil {
			return err
		}
		return printSockets(a.out, m.Conns, show, a.format)
	})
}

// socketName names a row of connList: a connection's end, or where a node listens.
func socketName(row []string) string {
	if row[0] == "" {
		return row[1] + " " + row[3]
	}
	return row[0] + " " + row[1]
}

// clearScreen moves a terminal's cursor home and clears what is there.
const clearScreen = "\x1b[H\x1b[2J"
