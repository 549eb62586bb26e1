package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// maxLadders bounds the connections that run draws; labctl ladder draws the others.
const maxLadders = 3

// print shows a run's outcome.
func (o *runOptions) print(run *labv1.Run, s *trace.Summary, events []trace.Event) error {
	switch o.format {
	case output.JSON, output.JSONL:
		l := &output.List{}
		l.Add(s)
		return o.format.WriteOne(o.app.out, l)
	case output.CSV:
		return o.format.Write(o.app.out, transferList(run.GetTransfers()))
	}
	var b strings.Builder
	o.reportTransfers(&b, run)
	reportExecs(&b, run)
	o.reportLadders(&b, run, events)
	o.reportChecks(&b, s)
	reportPlace(&b, s)
	_, err := io.WriteString(o.app.out, b.String())
	return err
}

func (o *runOptions) reportTransfers(b *strings.Builder, run *labv1.Run) {
	if len(run.GetTransfers()) == 0 {
		return
	}
	// A strings.Builder takes everything.
	_ = o.format.Write(b, transferList(run.GetTransfers()))
	for _, t := range run.GetTransfers() {
		if t.DatagramsSent > 0 {
			fmt.Fprintf(b, "%s: %d datagrams sent, %d received, %d lost, %d reordered, %d duplicated\n",
				t.Id, t.DatagramsSent, t.DatagramsReceived, t.DatagramsLost, t.DatagramsReordered, t.DatagramsDuplicated)
		}
	}
}

func reportExecs(b *strings.Builder, run *labv1.Run) {
	for _, e := range run.GetExecs() {
		fmt.Fprintf(b, "\n%s$ %s\n", e.Node, e.Command)
		for _, line := range e.Lines {
			fmt.Fprintln(b, line)
		}
	}
}

// reportLadders draws the connections of the transfers, condensed.
func (o *runOptions) reportLadders(b *strings.Builder, run *labv1.Run, events []trace.Event) {
	drawn := 0
	for _, t := range run.GetTransfers() {
		if t.Conn == "" {
			continue
		}
		if drawn == maxLadders {
			fmt.Fprintf(b, "\nmore connections: labctl get conns --run DIR\n")
			return
		}
		var own []trace.Event
		for _, e := range events {
			if e.Conn == t.Conn {
				own = append(own, e)
			}
		}
		if text := trace.Ladder(own, trace.LadderOptions{Condensed: true, Color: colour(o.app.out)}); text != "" {
			fmt.Fprintf(b, "\n%s", text)
			drawn++
		}
	}
}

func (o *runOptions) reportChecks(b *strings.Builder, s *trace.Summary) {
	if len(s.Checks) == 0 {
		return
	}
	l := &output.List{Columns: []string{"CHECK", "RESULT", "POINTS", "GOT"}}
	for _, c := range s.Checks {
		result := "ok"
		if !c.OK {
			result = "FAILED"
		}
		l.Add(c, c.ID, result, fmt.Sprint(c.Points), c.Got)
	}
	b.WriteString("\n")
	_ = o.format.Write(b, l)
	reportFailures(b, s.Checks)
}

// reportFailures says where to see why checks failed.
func reportFailures(b *strings.Builder, checks []trace.CheckSummary) {
	for _, c := range checks {
		if len(c.Look) > 0 {
			fmt.Fprintf(b, "\n%s: see %s\n", c.ID, strings.Join(c.Look, "; "))
		}
		if c.Hint != "" {
			fmt.Fprintf(b, "  %s\n", c.Hint)
		}
	}
}

func reportPlace(b *strings.Builder, s *trace.Summary) {
	fmt.Fprintf(b, "\nended at %s of lab time, seed %d, %s clock", output.Seconds(s.EndNs), s.Seed, s.Clock)
	switch {
	case s.Error != "":
		fmt.Fprintf(b, ", by an error: these results are partial\n%s", s.Error)
	case s.Partial:
		b.WriteString(", interrupted: these results are partial")
	}
	fmt.Fprintf(b, "\nrun directory  %s\n", s.RunDir)
	fmt.Fprintf(b, "trace          %s\n", filepath.Join(s.RunDir, trace.EventsFile))
	fmt.Fprintf(b, "captures       %s\n", filepath.Join(s.RunDir, trace.CaptureDir, "*.pcapng"))
	fmt.Fprintf(b, "all events     labctl trace export --run %s -o jsonl\n", s.RunDir)
}
