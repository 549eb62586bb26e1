// Command dumbbell measures how many packets a lab carries over its links in a second of processor time: flows from hosts of
// their own over one bottleneck between two routers, in virtual time.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	labv1 "labd.dev/proto/lab/v1"

	"labd.dev/bench/measure"
)

// The dumbbell's shape beside its bottleneck's rate.
const (
	accessFactor    = 10 // access links are so much faster than the bottleneck
	accessDelay     = time.Millisecond
	bottleneckDelay = 10 * time.Millisecond
)

// further are the numbers of flows that are printed besides the one asked for.
var further = []int{10, 100, 1000}

// recordKinds are what -record may say.
var recordKinds = map[string]labv1.Record{
	"none": labv1.Record_RECORD_NONE, "conns": labv1.Record_RECORD_CONNS, "all": labv1.Record_RECORD_ALL,
}

// result of one run.
type result struct {
	Flows          int     `json:"flows"`
	SimulatedS     float64 `json:"simulated_s"`
	CPUS           float64 `json:"cpu_s"`       // processor time that took, which is wall time on a quiet machine
	PacketHops     uint64  `json:"packet_hops"` // packets that arrived over a link, all links together
	PacketHopsPerS float64 `json:"packet_hops_per_s"`
	GoodputBps     float64 `json:"goodput_bps"` // of all flows together
	Events         uint64  `json:"events"`

	Records     uint64  `json:"records,omitempty"`      // of the trace
	RecordRatio float64 `json:"record_ratio,omitempty"` // processor time with records over that without
}

// document is the output: the run asked for, and the others.
type document struct {
	result
	RateBps uint64   `json:"rate_bps"`
	More    []result `json:"more"`
}

func main() {
	flows := flag.Int("flows", 1, "TCP flows, each between hosts of its own")
	rate := flag.String("rate", "100mbit", "rate of the bottleneck")
	dur := flag.Duration("dur", 30*time.Second, "simulated time")
	format := flag.String("o", "table", "table or json")
	record := flag.String("record", "none", "trace records: none, conns or all, as in a lab file; what they cost is printed")
	profile := flag.String("profile", "", "write a CPU profile to this file, and run only the flows asked for")
	flag.Parse()
	bps, err := parseRate(*rate)
	kind, known := recordKinds[*record]
	if err != nil || *flows < 1 || *dur <= 0 || !known || *format != "table" && *format != "json" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	runtime.GOMAXPROCS(1)
	if err := report(*flows, bps, *dur, kind, *format, *profile); err != nil {
		fmt.Fprintln(os.Stderr, "dumbbell:", err)
		os.Exit(1)
	}
}

// parseRate reads a rate with its unit, as lab files have it: "100mbit".
func parseRate(s string) (uint64, error) {
	for _, u := range []struct {
		suffix string
		bits   uint64
	}{{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}} {
		if number, ok := strings.CutSuffix(s, u.suffix); ok {
			n, err := strconv.ParseUint(number, 10, 32)
			if err != nil || n == 0 {
				return 0, fmt.Errorf("%s is not a rate", s)
			}
			return n * u.bits, nil
		}
	}
	return 0, fmt.Errorf("%s has no unit: kbit, mbit or gbit", s)
}

// rounds is how often a run with records and one without alternate; the medians are compared.
const rounds = 5

// measured is one run; with record the median of several, beside as many that record nothing.
func measured(flows int, rate uint64, dur time.Duration, record labv1.Record) (result, error) {
	if record == labv1.Record_RECORD_NONE {
		return run(flows, rate, dur, record)
	}
	var with, without []float64
	var r result
	for range rounds {
		plain, err := run(flows, rate, dur, labv1.Record_RECORD_NONE)
		if err != nil {
			return r, err
		}
		if r, err = run(flows, rate, dur, record); err != nil {
			return r, err
		}
		with, without = append(with, r.CPUS), append(without, plain.CPUS)
	}
	r.CPUS = measure.Median(with)
	r.PacketHopsPerS = float64(r.PacketHops) / r.CPUS
	r.RecordRatio = r.CPUS / measure.Median(without)
	return r, nil
}

func report(flows int, rate uint64, dur time.Duration, record labv1.Record, format, profile string) error {
	others := further
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
		others = nil
	}
	first, err := measured(flows, rate, dur, record)
	if err != nil {
		return err
	}
	d := document{result: first, RateBps: rate}
	for _, n := range others {
		r, err := measured(n, rate, dur, record)
		if err != nil {
			return err
		}
		d.More = append(d.More, r)
	}
	if format == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(d)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "flows\tsimulated\tprocessor\tpacket hops\thops/s\tgoodput, Mbit/s\tevents\t")
	for _, r := range append([]result{d.result}, d.More...) {
		fmt.Fprintf(w, "%d\t%.1fs\t%.3fs\t%d\t%.0f\t%.1f\t%d\t", r.Flows, r.SimulatedS, r.CPUS, r.PacketHops,
			r.PacketHopsPerS, r.GoodputBps/1e6, r.Events)
		if r.Records > 0 {
			fmt.Fprintf(w, "%d records, %.2f times the time\t", r.Records, r.RecordRatio)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
