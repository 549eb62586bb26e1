package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"
)

// windowsResult is what windows measures.
type windowsResult struct {
	Splits []split `json:"splits"`
	Model  *model  `json:"model,omitempty"`
}

// split is one lab in one piece and over workers.
type split struct {
	Workers  int     `json:"workers"`
	Kind     string  `json:"kind"`           // tcp or udp
	Crossing float64 `json:"crossing_share"` // of the frames that hosts sent
	Frames   uint64  `json:"frames"`         // that hosts sent
	WholeS   float64 `json:"whole_wall_s"`
	SplitS   float64 `json:"split_wall_s"`
	WholeCPU float64 `json:"whole_cpu_s"`
	SplitCPU float64 `json:"split_cpu_s"` // all workers together
	Speed    float64 `json:"speed"`       // of the split lab beside that of the whole one, by processor time
	SpeedW   float64 `json:"speed_wall"`
}

// windows measures what a split costs: three groups of pairs at 1 Gbit/s, some of whose frames cross links of 10 ms, on one
// worker process and on three that share its core; then, with -model, what a window costs, by peers and by frames.
func windows(args []string) error {
	flags := flag.NewFlagSet("windows", flag.ExitOnError)
	pairs := flags.Int("pairs", 20, "pairs in each of the three groups")
	across := flags.Int("across", 1, "of these, pairs that send to the next group")
	dur := flags.Duration("dur", 2*time.Second, "lab time")
	core := flags.Int("core", 0, "the core that all processes share; -1: any")
	times := flags.Int("n", 5, "runs of each, alternately; medians are told")
	fit := flags.Bool("model", false, "measure windows of labs with little in them, and fit the model")
	profile := flags.String("profile", "", "write CPU profiles of the workers to files that begin with this `name`")
	format := flags.String("o", "table", "table or json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *pairs < 1 || *across < 0 || *across > *pairs || *dur <= 0 || *times < 1 || *format != "table" && *format != "json" || flags.NArg() > 0 {
		flags.Usage()
		os.Exit(2)
	}
	var r windowsResult
	for _, udp := range []bool{false, true} {
		s, err := measureSplit(sites{groups: 3, pairs: *pairs, across: *across, rate: 1e9, near: 100 * time.Microsecond,
			far: 10 * time.Millisecond, udp: udp}, *dur, *core, *times, *profile)
		if err != nil {
			return err
		}
		r.Splits = append(r.Splits, s)
		if *format == "table" {
			s.print()
		}
	}
	if *fit {
		m, err := fitModel(*core, *times)
		if err != nil {
			return err
		}
		r.Model = m
		if *format == "table" {
			m.print()
		}
	}
	if *format == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return nil
}

// measureSplit runs a lab in one piece and split, alternately.
func measureSplit(lab sites, dur time.Duration, core, times int, profile string) (s split, err error) {
	whole, err := startGroup(1, core, profile)
	if err != nil {
		return s, err
	}
	defer func() { _ = whole.stop() }()
	parts, err := startGroup(lab.groups, core, profile)
	if err != nil {
		return s, err
	}
	defer func() { _ = parts.stop() }()
	s = split{Workers: lab.groups, Kind: "tcp"}
	if lab.udp {
		s.Kind = "udp"
	}
	var wall, cpu [2][]float64
	for i := range times {
		for j, g := range []*group{whole, parts} {
			got, err := g.run(context.Background(), lab.request(fmt.Sprintf("%s-%d", s.Kind, i), dur))
			if err != nil {
				return s, err
			}
			wall[j], cpu[j] = append(wall[j], got.wall.Seconds()), append(cpu[j], got.cpu.Seconds())
			s.count(&got)
		}
	}
	s.WholeS, s.SplitS, s.WholeCPU, s.SplitCPU = median(wall[0]), median(wall[1]), median(cpu[0]), median(cpu[1])
	s.Speed, s.SpeedW = s.WholeCPU/s.SplitCPU, s.WholeS/s.SplitS
	return s, nil
}

// count counts the frames that hosts sent, and those that crossed between routers.
func (s *split) count(got *spent) {
	var sent, crossed uint64
	for _, l := range got.lab.GetLinks() {
		for _, d := range []interface {
			GetName() string
			GetSentPackets() uint64
		}{l.GetForward(), l.GetReverse()} {
			switch {
			case d.GetName()[0] != 'r':
				sent += d.GetSentPackets()
			case l.GetName()[0] == 'r':
				crossed += d.GetSentPackets()
			}
		}
	}
	s.Frames, s.Crossing = sent, float64(crossed)/float64(sent)
}

func (s *split) print() {
	fmt.Printf("%s over %d workers: %d frames, %.1f%% of them cross; whole %.2f s (cpu %.2f), split %.2f s (cpu %.2f): %.0f%% of the speed by processor time, %.0f%% by the clock\n",
		s.Kind, s.Workers, s.Frames, 100*s.Crossing, s.WholeS, s.WholeCPU, s.SplitS, s.SplitCPU, 100*s.Speed, 100*s.SpeedW)
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}
