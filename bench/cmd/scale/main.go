// Command scale measures how long a large lab takes to come up, and what a node of it takes in memory: fat trees of
// routers and hosts, built as a worker builds them.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"text/tabwriter"
	"time"

	"labd.dev/node"
	"labd.dev/node/worker"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"

	"labd.dev/bench/measure"
)

// rounds is how often each lab is built; the median counts.
const rounds = 5

// sizes are the numbers of nodes that are measured if none is asked for.
var sizes = []int{1000, 10000}

// result is of one size of lab. Times are wall time.
type result struct {
	Nodes        int     `json:"nodes"`
	Links        int     `json:"links"`
	UpMs         float64 `json:"up_ms"`        // from the spec to booted nodes
	AssignMs     float64 `json:"assign_ms"`    // of these, names, ids and addresses
	StartMs      float64 `json:"start_lab_ms"` // StartLab of a worker: validation, run directory and journal too
	BytesPerNode float64 `json:"bytes_per_node"`
}

func main() {
	nodes := flag.Int("nodes", 0, "nodes of the lab; 0: 1,000 and 10,000")
	format := flag.String("o", "table", "table or json")
	profile := flag.String("profile", "", "write a CPU profile to this file")
	flag.Parse()
	if *nodes != 0 && *nodes < 100 || *format != "table" && *format != "json" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if *nodes != 0 {
		sizes = []int{*nodes}
	}
	runtime.GOMAXPROCS(1)
	if err := report(*format, *profile); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func report(format, profile string) error {
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
	}
	var all []result
	for _, n := range sizes {
		r, err := run(fatTree(n))
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	if format == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"rounds": rounds, "labs": all})
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "nodes\tlinks\tup, ms\tnames and addresses, ms\tStartLab, ms\tbytes a node\t")
	for _, r := range all {
		fmt.Fprintf(w, "%d\t%d\t%.1f\t%.1f\t%.1f\t%.0f\t\n", r.Nodes, r.Links, r.UpMs, r.AssignMs, r.StartMs, r.BytesPerNode)
	}
	return w.Flush()
}

func run(spec *labv1.LabSpec) (result, error) {
	r := result{Nodes: len(spec.Nodes), Links: len(spec.Links)}
	up, assign, start, each := []float64{}, []float64{}, []float64{}, []float64{}
	for range rounds {
		u, a, b, err := build(spec)
		if err != nil {
			return r, err
		}
		s, err := startLab(spec)
		if err != nil {
			return r, err
		}
		up, assign, start = append(up, ms(u)), append(assign, ms(a)), append(start, ms(s))
		each = append(each, b/float64(r.Nodes))
	}
	r.UpMs, r.AssignMs, r.StartMs = measure.Median(up), measure.Median(assign), measure.Median(start)
	r.BytesPerNode = measure.Median(each)
	return r, nil
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// build makes the lab's network and tells how long it took, how much of that the plan, and the heap that it takes.
func build(spec *labv1.LabSpec) (up, assign time.Duration, bytes float64, err error) {
	before := measure.Heap()
	start := time.Now()
	plan, err := node.Assign(spec, nil)
	if err != nil {
		return 0, 0, 0, err
	}
	assign = time.Since(start)
	loop := sim.NewLoop(sim.LoopConfig{Name: "scale"})
	net, err := node.NewNetwork(node.Config{Spec: spec, Plan: plan, Loops: []*sim.Loop{loop}})
	if err != nil {
		return 0, 0, 0, err
	}
	up = time.Since(start)
	bytes = float64(int64(measure.Heap()) - int64(before))
	net.Close()
	return up, assign, bytes, nil
}

// startLab has a worker start the lab.
func startLab(spec *labv1.LabSpec) (time.Duration, error) {
	root, err := os.MkdirTemp("", "scale")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(root)
	w, err := worker.New(worker.Config{Root: root})
	if err != nil {
		return 0, err
	}
	defer w.Close()
	runtime.GC()
	start := time.Now()
	if _, err = w.StartLab(context.Background(), &workerv1.StartLabRequest{LabId: spec.Name, Epoch: 1, Spec: spec}); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}
