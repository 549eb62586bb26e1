// Command versus compares our stack with gVisor's netstack: goodput, packets, connections and memory, one process, one
// thread, alternately, medians. Rates are per second of processor time.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"text/tabwriter"
	"time"

	"labd.dev/bench/gvisor"
	"labd.dev/bench/labd"
	"labd.dev/bench/measure"
)

// rounds is how often each measurement is made; the median counts.
const rounds = 5

// maxPairs is as many as the ports of the servers above the first take.
const maxPairs = 500_000

// numbers are one side's medians under one load.
type numbers struct {
	GoodputBps  float64 `json:"goodput_bps"`
	Packets     float64 `json:"packets_per_s"`
	Connections float64 `json:"connections_per_s"`
}

// load compares the sides with so many connections at a time.
type load struct {
	Connections int     `json:"connections"`
	Labd        numbers `json:"labd"`
	Gvisor      numbers `json:"gvisor"`
	Ratio       ratio   `json:"ratio"`
}

type ratio struct {
	Goodput     float64 `json:"goodput"`
	Connections float64 `json:"connections"`
}

// result is the whole comparison; the top-level ratio is that of one connection.
type result struct {
	Dur       string  `json:"dur"`
	Rounds    int     `json:"rounds"`
	Loads     []load  `json:"loads"`
	LabdPair  float64 `json:"labd_bytes_per_idle_pair"`
	PeerPair  float64 `json:"gvisor_bytes_per_idle_pair"`
	IdlePairs int     `json:"idle_pairs"`
	Ratio     struct {
		ratio
		Memory float64 `json:"memory"` // ours over gVisor's: less is better
	} `json:"ratio"`
}

func main() {
	dur := flag.Duration("dur", 2*time.Second, "length of each measurement")
	format := flag.String("o", "table", "table or json")
	pairs := flag.Int("pairs", measure.Pairs, "idle connections whose memory is measured")
	profile := flag.String("profile", "", "write a CPU profile of our side to this file, and measure only our side")
	flag.Parse()
	if *format != "table" && *format != "json" || flag.NArg() > 0 || *dur <= 0 || *pairs < 1 || *pairs > maxPairs {
		flag.Usage()
		os.Exit(2)
	}
	runtime.GOMAXPROCS(1)
	if err := run(*dur, *pairs, *format, *profile); err != nil {
		fmt.Fprintln(os.Stderr, "versus:", err)
		os.Exit(1)
	}
}

func run(dur time.Duration, pairs int, format, profile string) error {
	sides := []measure.Side{labd.Side{}, gvisor.Side{}}
	if profile != "" {
		stop, err := startProfile(profile)
		if err != nil {
			return err
		}
		defer stop()
		sides = sides[:1]
	}
	r := result{Dur: dur.String(), Rounds: rounds, IdlePairs: pairs}
	for _, conns := range []int{1, 1000} {
		l := load{Connections: conns}
		out := []*numbers{&l.Labd, &l.Gvisor}
		if err := compare(sides, out, conns, dur); err != nil {
			return err
		}
		l.Ratio = ratio{Goodput: over(l.Labd.GoodputBps, l.Gvisor.GoodputBps), Connections: over(l.Labd.Connections, l.Gvisor.Connections)}
		r.Loads = append(r.Loads, l)
	}
	if err := memory(sides, pairs, []*float64{&r.LabdPair, &r.PeerPair}); err != nil {
		return err
	}
	r.Ratio.ratio = r.Loads[0].Ratio
	r.Ratio.Memory = over(r.LabdPair, r.PeerPair)
	if format == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.print(os.Stdout)
}

// over is a/b, or 0 where b was not measured.
func over(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func startProfile(file string) (stop func(), err error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); f.Close() }, nil
}

// compare measures the sides alternately and leaves their medians in out.
func compare(sides []measure.Side, out []*numbers, conns int, dur time.Duration) error {
	goodput, packets, connections := make([][]float64, len(sides)), make([][]float64, len(sides)), make([][]float64, len(sides))
	for range rounds {
		for i, s := range sides {
			runtime.GC() // what the side before has left is not this one's to collect
			f, err := s.Goodput(conns, dur)
			if err != nil {
				return fmt.Errorf("%s, goodput of %d: %w", s.Name(), conns, err)
			}
			goodput[i], packets[i] = append(goodput[i], f.GoodputBps()), append(packets[i], f.PacketsPerSecond())
			runtime.GC()
			if f, err = s.Connections(conns, dur); err != nil {
				return fmt.Errorf("%s, connections, %d at a time: %w", s.Name(), conns, err)
			}
			connections[i] = append(connections[i], f.ConnsPerSecond())
		}
	}
	for i := range sides {
		*out[i] = numbers{measure.Median(goodput[i]), measure.Median(packets[i]), measure.Median(connections[i])}
	}
	return nil
}

func memory(sides []measure.Side, pairs int, out []*float64) error {
	all := make([][]float64, len(sides))
	for range rounds {
		for i, s := range sides {
			each, err := s.IdlePairs(pairs)
			if err != nil {
				return fmt.Errorf("%s, idle connections: %w", s.Name(), err)
			}
			all[i] = append(all[i], each)
		}
	}
	for i := range sides {
		*out[i] = measure.Median(all[i])
	}
	return nil
}

func (r *result) print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "connections\t\tlabd\tgVisor\tratio\t")
	for _, l := range r.Loads {
		fmt.Fprintf(w, "%d\tgoodput, Gbit/s\t%.2f\t%.2f\t%.1f\t\n", l.Connections, l.Labd.GoodputBps/1e9, l.Gvisor.GoodputBps/1e9, l.Ratio.Goodput)
		fmt.Fprintf(w, "%d\tpackets/s\t%.0f\t%.0f\t%.1f\t\n", l.Connections, l.Labd.Packets, l.Gvisor.Packets, over(l.Labd.Packets, l.Gvisor.Packets))
		fmt.Fprintf(w, "%d\tconnections/s\t%.0f\t%.0f\t%.1f\t\n", l.Connections, l.Labd.Connections, l.Gvisor.Connections, l.Ratio.Connections)
	}
	fmt.Fprintf(w, "%d idle\tbytes a pair\t%.0f\t%.0f\t%.2f\t\n", r.IdlePairs, r.LabdPair, r.PeerPair, r.Ratio.Memory)
	return w.Flush()
}
