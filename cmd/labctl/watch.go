package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

// watchKinds are the kinds of things that can be watched, with how many of a row's first cells name the thing.
var watchKinds = map[string]struct {
	kind labv1.StatusKind
	key  int
	list func(*labv1.WatchStatusResponse) *output.List
}{
	"labs":    {key: 1},
	"workers": {key: 1},
	"nodes": {labv1.StatusKind_STATUS_KIND_NODES, 1,
		func(m *labv1.WatchStatusResponse) *output.List { return nodeList(m.Nodes) }},
	"links": {labv1.StatusKind_STATUS_KIND_LINKS, 2,
		func(m *labv1.WatchStatusResponse) *output.List { return linkList(m.Links) }},
	"conns": {labv1.StatusKind_STATUS_KIND_CONNS, 2,
		func(m *labv1.WatchStatusResponse) *output.List { return connList(m.Conns) }},
	"transfers": {labv1.StatusKind_STATUS_KIND_TRANSFERS, 1,
		func(m *labv1.WatchStatusResponse) *output.List { return transferList(m.Transfers) }},
	"faults": {labv1.StatusKind_STATUS_KIND_FAULTS, 1,
		func(m *labv1.WatchStatusResponse) *output.List { return faultList(m.Faults) }},
}

func watched(kind string) bool {
	_, ok := watchKinds[kind]
	return ok
}

// watchList prints the things of a kind, and each again when it has changed.
func (o *getOptions) watchList(ctx context.Context, name string) error {
	switch {
	case o.format == output.JSON:
		return &usageError{"--watch has no end, and json has one; use -o jsonl"}
	case o.runDir != "":
		return &usageError{"--watch and --run: a run directory does not change"}
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	k := watchKinds[name]
	w := newRowWatch(o.app, func(row []string) string { return strings.Join(row[:k.key], " ") })
	if name == "labs" {
		return c.FollowLabs(ctx, func(m *labv1.WatchLabsResponse) error { return w.update(labList(m.Labs)) })
	}
	if name == "workers" {
		return c.FollowWorkers(ctx, func(m *labv1.WatchWorkersResponse) error { return w.update(workerList(m.Workers)) })
	}
	req := &labv1.WatchStatusRequest{Lab: o.labName(), Kind: k.kind}
	return c.FollowStatus(ctx, req, func(m *labv1.WatchStatusResponse) error { return w.update(k.list(m)) })
}

// rowWatch prints a list's rows as they change.
type rowWatch struct {
	*app
	name   func(row []string) string
	known  map[string]string // by name: the row as it was printed last
	order  []string          // names, in the order of the list
	begun  bool
	widths []int
}

func newRowWatch(a *app, name func(row []string) string) *rowWatch {
	return &rowWatch{app: a, name: name, known: map[string]string{}}
}

// update prints what has changed since the list before, and what is gone.
func (w *rowWatch) update(l *output.List) error {
	changed := &output.List{Columns: l.Columns}
	grid := w.format.Grid(l)
	var shown []int
	var order []string
	now := map[string]bool{}
	for i, row := range l.Rows {
		name := w.name(row)
		text := strings.Join(row, "\x00")
		switch w.format {
		case output.Table:
			text = strings.Join(grid.Rows[i], "\x00")
			if grid.Notes != nil {
				text += "\x00" + grid.Notes[i]
			}
		case output.JSONL:
			b, err := output.Marshal(l.Objects[i])
			if err != nil {
				return err
			}
			text = string(b)
		}
		if old, known := w.known[name]; !known || old != text {
			changed.Add(l.Objects[i], row...)
			shown = append(shown, i)
		}
		w.known[name], now[name] = text, true
		order = append(order, name)
	}
	var gone []string
	for _, name := range w.order {
		if !now[name] {
			gone = append(gone, name)
			delete(w.known, name)
		}
	}
	w.order = order
	if err := w.print(changed, grid.Pick(shown)); err != nil {
		return err
	}
	return w.printGone(gone)
}

func (w *rowWatch) print(l *output.List, g *output.Grid) error {
	switch {
	case w.format == output.JSONL:
		return w.format.Write(w.out, l)
	case w.format == output.CSV && w.begun:
		return w.format.WriteRows(w.out, l)
	case w.format == output.CSV:
		w.begun = true
		return w.format.Write(w.out, l)
	}
	if len(l.Rows) == 0 {
		return nil // the columns are as wide as the first rows need
	}
	w.widths = g.Widths(w.widths)
	header := !w.begun
	w.begun = true
	return g.Write(w.out, w.widths, header)
}

func (w *rowWatch) printGone(names []string) error {
	for _, name := range names {
		line := name + " is gone"
		if w.format == output.JSONL {
			b, err := json.Marshal(map[string]string{"gone": name})
			if err != nil {
				return err
			}
			line = string(b)
		}
		if w.format == output.CSV {
			continue // a row of another shape would break who reads it
		}
		if _, err := fmt.Fprintln(w.out, line); err != nil {
			return err
		}
	}
	return nil
}
