package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"labd.dev/internal/output"
	"labd.dev/trace"
)

// buffersOptions are buffers' flags.
type buffersOptions struct {
	*app
	dir   string
	rows  int
	ascii bool
}

func newBuffersCommand(a *app) *cobra.Command {
	o := &buffersOptions{app: a}
	cmd := &cobra.Command{
		Use:   "buffers CONN",
		Short: "Show how a connection's buffers fill and empty over time, at both ends",
		Long: `Show where a connection's bytes lie over time, at both ends: read by the application from the file that it sends and not yet
written (app buffer), written and not yet acknowledged (send buffer), of these sent (in flight), received behind a gap
(reassembly), received in order and not yet read (receive buffer), read by the application, and the window announced to
the other end. A receiving application is done with what it has read at once.

For people it is a chart, 80 columns wide, and a table of a few instants; with -o csv, jsonl or json it is every instant
at which anything changed.`,
		Example: `  labctl buffers client/1
  labctl buffers client/1 --run labd-runs/download-1 -o csv`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			events, err := a.events(cmd.Context(), o.dir, args[0])
			if err != nil {
				return err
			}
			return o.print(args[0], trace.Buffers(events))
		},
	}
	cmd.Flags().StringVar(&o.dir, "run", "", "read this run directory instead of a lab")
	cmd.Flags().IntVar(&o.rows, "rows", 12, "instants in the table for each end; 0: no table")
	cmd.Flags().BoolVar(&o.ascii, "ascii", false, "no block characters")
	return cmd
}

// bufferQuantities are what a chart shows and how it is called.
var bufferQuantities = []struct {
	name   string
	column string
	short  string // the column's head in the table, which is to be 80 columns wide
	of     func(*trace.BufferSample) int64
}{
	{"app buffer", "APP BUF", "APP", func(s *trace.BufferSample) int64 { return s.AppBuffer }},
	{"send buffer", "SEND BUF", "SEND", func(s *trace.BufferSample) int64 { return s.SendBuffer }},
	{"in flight", "IN FLIGHT", "FLIGHT", func(s *trace.BufferSample) int64 { return s.InFlight }},
	{"reassembly", "REASM", "REASM", func(s *trace.BufferSample) int64 { return s.Reassembly }},
	{"recv buffer", "RECV BUF", "RECV", func(s *trace.BufferSample) int64 { return s.RecvBuffer }},
	{"window", "WINDOW", "WINDOW", func(s *trace.BufferSample) int64 { return s.Window }},
	{"written", "WRITTEN", "WRITTEN", func(s *trace.BufferSample) int64 { return s.Written }},
	{"read", "READ", "READ", func(s *trace.BufferSample) int64 { return s.Read }},
}

func (o *buffersOptions) print(conn string, samples []trace.BufferSample) error {
	if len(samples) == 0 {
		return fmt.Errorf("connection %s has sent and received nothing", conn)
	}
	if !o.format.ForPeople() {
		return o.format.Write(o.out, bufferList(samples))
	}
	from, to := samples[0].TNs, samples[len(samples)-1].TNs
	var b strings.Builder
	b.WriteString(output.Hanging(fmt.Sprintf("connection %s, %s to %s; a column: the most in %s\n", conn, output.Seconds(from),
		output.Seconds(to), output.Duration(max((to-from)/chartColumns, 1))), 4))
	for _, side := range []string{"initiator", "responder"} {
		end := sideOf(samples, side)
		if len(end) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%-*s %9s\n", 15+chartColumns, fmt.Sprintf("%s (%s)", end[0].Node, side), "most")
		for _, q := range bufferQuantities {
			columns, most := chart(end, from, to, q.of)
			fmt.Fprintf(&b, "  %-12s %s %9s\n", q.name, o.bars(columns, most), output.Size(uint64(most)))
		}
	}
	if _, err := io.WriteString(o.out, b.String()); err != nil || o.rows <= 0 {
		return err
	}
	for _, side := range []string{"initiator", "responder"} {
		if end := sideOf(samples, side); len(end) > 0 {
			fmt.Fprintf(o.out, "\n%s (%s), bytes\n", end[0].Node, side)
			if err := o.format.Write(o.out, instants(thinned(end, o.rows))); err != nil {
				return err
			}
		}
	}
	return nil
}

func sideOf(samples []trace.BufferSample, side string) (out []trace.BufferSample) {
	for _, s := range samples {
		if s.Side == side {
			out = append(out, s)
		}
	}
	return out
}

// bufferList is all samples, for programs.
func bufferList(samples []trace.BufferSample) *output.List {
	l := &output.List{Columns: append([]string{"T NS", "NODE"}, quantityColumns()...)}
	for i := range samples {
		s := &samples[i]
		l.Add(*s, append([]string{fmt.Sprint(s.TNs), s.Node}, quantityCells(s)...)...)
	}
	return l
}

// instants is samples of one end, for people.
func instants(samples []trace.BufferSample) *output.List {
	l := &output.List{Columns: append([]string{"T"}, quantityHeads()...)}
	for i := range samples {
		l.Add(samples[i], append([]string{output.Seconds(samples[i].TNs)}, quantityCells(&samples[i])...)...)
	}
	return l
}

func quantityHeads() (out []string) {
	for _, q := range bufferQuantities {
		out = append(out, q.short)
	}
	return out
}

func quantityColumns() (out []string) {
	for _, q := range bufferQuantities {
		out = append(out, q.column)
	}
	return out
}

func quantityCells(s *trace.BufferSample) (out []string) {
	for _, q := range bufferQuantities {
		out = append(out, fmt.Sprint(q.of(s)))
	}
	return out
}

// thinned picks so many samples, spread evenly, the first and the last among them.
func thinned(samples []trace.BufferSample, n int) []trace.BufferSample {
	if len(samples) <= n {
		return samples
	}
	if n == 1 {
		return samples[len(samples)-1:]
	}
	out := make([]trace.BufferSample, n)
	for i := range out {
		out[i] = samples[i*(len(samples)-1)/(n-1)]
	}
	return out
}

// chartColumns is how wide a chart is: with its label and its maximum 80 columns are not passed.
const chartColumns = 52

// chart is the most of a quantity in each column of time, and in all. A quantity stays what it is until it changes.
func chart(samples []trace.BufferSample, from, to int64, of func(*trace.BufferSample) int64) (columns [chartColumns]int64, most int64) {
	column := func(t int64) int {
		if to == from {
			return 0
		}
		return min(int(float64(t-from)/float64(to-from)*chartColumns), chartColumns-1)
	}
	at, last := 0, int64(0)
	for i := range samples {
		for c := column(samples[i].TNs); at < c; {
			at++
			columns[at] = last
		}
		last = of(&samples[i])
		columns[at] = max(columns[at], last)
		most = max(most, last)
	}
	for at < chartColumns-1 {
		at++
		columns[at] = last
	}
	return columns, most
}

// bars draws a quantity; what is not zero is seen.
func (o *buffersOptions) bars(columns [chartColumns]int64, most int64) string {
	levels := []rune(" ▁▂▃▄▅▆▇█")
	if o.ascii {
		levels = []rune(" .:-=+*#@")
	}
	var b strings.Builder
	for _, v := range columns {
		i := 0
		if v > 0 {
			i = 1 + int(float64(v)/float64(most)*float64(len(levels)-2))
		}
		b.WriteRune(levels[i])
	}
	return b.String()
}
