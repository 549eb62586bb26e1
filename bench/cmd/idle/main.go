// Command idle measures what labs cost on the real clock while nothing happens in them: processor time and memory of a
// whole process that hosts many of them.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"labd.dev/node/worker"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"

	"labd.dev/bench/measure"
)

// settle is how long the labs run before the measurement: what starting them left is done by then.
const settle = 2 * time.Second

type result struct {
	Labs        int     `json:"labs"`
	Nodes       int     `json:"nodes_per_lab"`
	Dur         string  `json:"dur"`
	CPUShare    float64 `json:"cpu_share"` // of one core, all labs together
	Resident    uint64  `json:"resident_bytes"`
	BytesPerLab float64 `json:"resident_bytes_per_lab"` // over the process without labs
	StartMs     float64 `json:"start_ms"`               // all labs
}

func main() {
	labs := flag.Int("labs", 300, "labs, each client - r1 - r2 - server")
	dur := flag.Duration("dur", 10*time.Second, "length of the measurement")
	format := flag.String("o", "table", "table or json")
	flag.Parse()
	if *labs < 1 || *dur <= 0 || *format != "table" && *format != "json" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	r, err := run(*labs, *dur)
	if err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
	if *format == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			fmt.Fprintln(os.Stderr, "idle:", err)
			os.Exit(1)
		}
		return
	}
	fmt.Printf("%d labs of %d nodes up in %.0f ms: %.2f%% of a core, %.1f MiB resident, %.0f KiB a lab\n", r.Labs, r.Nodes,
		r.StartMs, 100*r.CPUShare, float64(r.Resident)/(1<<20), r.BytesPerLab/(1<<10))
}

func spec(name string) *labv1.LabSpec {
	s := &labv1.LabSpec{Name: name, Seed: 1, Clock: labv1.Clock_CLOCK_REAL}
	names := []string{"client", "r1", "r2", "server"}
	for i, n := range names {
		kind := labv1.NodeKind_NODE_KIND_HOST
		if n[0] == 'r' {
			kind = labv1.NodeKind_NODE_KIND_ROUTER
		}
		s.Nodes = append(s.Nodes, &labv1.NodeSpec{Name: n, Kind: kind})
		if i > 0 {
			d := &labv1.DirectionSpec{RateBps: 10_000_000, DelayNs: int64(5 * time.Millisecond)}
			s.Links = append(s.Links, &labv1.LinkSpec{
				A: &labv1.Endpoint{Node: names[i-1]}, B: &labv1.Endpoint{Node: n}, Forward: d, Reverse: d,
			})
		}
	}
	return s
}

func run(labs int, dur time.Duration) (result, error) {
	r := result{Labs: labs, Dur: dur.String()}
	root, err := os.MkdirTemp("", "idle")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(root)
	w, err := worker.New(worker.Config{Root: root})
	if err != nil {
		return r, err
	}
	defer w.Close()
	before, err := resident()
	if err != nil {
		return r, err
	}
	start := time.Now()
	for i := range labs {
		s := spec(fmt.Sprintf("idle%d", i))
		r.Nodes = len(s.Nodes)
		req := &workerv1.StartLabRequest{LabId: s.Name, Epoch: 1, Spec: s, Mode: workerv1.Mode_MODE_STANDING}
		if _, err := w.StartLab(context.Background(), req); err != nil {
			return r, err
		}
	}
	r.StartMs = float64(time.Since(start)) / 1e6
	time.Sleep(settle)
	cpu, begin := measure.Start(), time.Now()
	time.Sleep(dur)
	r.CPUShare = cpu.Elapsed().Seconds() / time.Since(begin).Seconds()
	debug.FreeOSMemory()
	if r.Resident, err = resident(); err != nil {
		return r, err
	}
	r.BytesPerLab = (float64(r.Resident) - float64(before)) / float64(labs)
	return r, nil
}

// resident is the memory that the process has in use, by the kernel's account.
func resident() (uint64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseUint(strings.Fields(v)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no VmRSS")
}
