// Command fair measures what one person's runaway lab does to others: how late the events of paced labs run on a worker, alone
// and beside a lab that has far more events than a core can run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"

	"labd.dev/node/worker"
)

func main() {
	labs := flag.Int("labs", 50, "paced labs")
	floods := flag.Int("floods", 1, "runaway labs beside them")
	trials := flag.Int("trials", 5, "trials of each kind, in turns")
	warm := flag.Duration("warm", time.Second, "how long the runaway labs have run before the paced ones start; as long is waited where there are none")
	dur := flag.Duration("dur", 5*time.Second, "wall time of a trial")
	batch := flag.Bool("batch", false, "the runaway labs are on the virtual clock, as runs are")
	flag.Parse()
	if err := compare(*labs, *floods, *trials, *warm, *dur, *batch); err != nil {
		fmt.Fprintln(os.Stderr, "fair:", err)
		os.Exit(1)
	}
}

func compare(labs, floods, trials int, warm, dur time.Duration, batch bool) error {
	var alone, beside []time.Duration
	for i := range trials {
		a, err := trial(labs, 0, warm, dur, batch)
		if err != nil {
			return err
		}
		b, err := trial(labs, floods, warm, dur, batch)
		if err != nil {
			return err
		}
		fmt.Printf("trial %d: p99 %v alone, %v beside a flood\n", i+1, a, b)
		alone, beside = append(alone, a), append(beside, b)
	}
	slices.Sort(alone)
	slices.Sort(beside)
	a, b := alone[len(alone)/2], beside[len(beside)/2]
	fmt.Printf("fair: %d paced labs, p99 of their events' lateness %v alone, %v beside %d runaway labs: %+.1f%% (medians of %d)\n",
		labs, a, b, floods, 100*(float64(b)/float64(a)-1), trials)
	return nil
}

// trial is the median of the labs' p99s.
func trial(labs, floods int, warm, dur time.Duration, batch bool) (time.Duration, error) {
	debug.FreeOSMemory() // what the trial before has left
	dir, err := os.MkdirTemp("", "fair-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	w, err := worker.New(worker.Config{Root: dir})
	if err != nil {
		return 0, err
	}
	defer w.Close()
	ctx := context.Background()
	for i := range floods {
		if err := flood(ctx, w, fmt.Sprintf("flood-%d", i), batch); err != nil {
			return 0, err
		}
	}
	time.Sleep(warm)
	for i := range labs {
		if err := paced(ctx, w, name(i)); err != nil {
			return 0, err
		}
	}
	time.Sleep(dur)
	var late []time.Duration
	for i := range labs {
		r, err := w.GetLab(ctx, &workerv1.GetLabRequest{LabId: name(i)})
		if err != nil {
			return 0, err
		}
		if p := r.GetProgress(); p.GetError() != "" || p.GetLateP99Ns() == 0 {
			return 0, fmt.Errorf("%s: %s", name(i), p)
		}
		late = append(late, time.Duration(r.GetProgress().GetLateP99Ns()))
	}
	slices.Sort(late)
	return late[len(late)/2], nil
}

func name(i int) string { return fmt.Sprintf("paced-%d", i) }

func pair(name string, rate uint64, delay time.Duration, clock labv1.Clock) *labv1.LabSpec {
	d := &labv1.DirectionSpec{RateBps: rate, DelayNs: int64(delay)}
	return &labv1.LabSpec{Name: name, Seed: 1, Clock: clock, Nodes: []*labv1.NodeSpec{{Name: "a"}, {Name: "b"}},
		Links: []*labv1.LinkSpec{{A: &labv1.Endpoint{Node: "a"}, B: &labv1.Endpoint{Node: "b"}, Forward: d, Reverse: d}}}
}

func start(ctx context.Context, w *worker.Worker, spec *labv1.LabSpec, in *labv1.Input) error {
	_, err := w.StartLab(ctx, &workerv1.StartLabRequest{LabId: spec.GetName(), Epoch: 1, Spec: spec, Mode: workerv1.Mode_MODE_RUN,
		Journal: []*labv1.JournalEntry{{Index: 1, TNs: 1e6, Input: in}}, EndNs: int64(time.Hour)})
	return err
}

// paced is a lab with an echo every 20 ms.
func paced(ctx context.Context, w *worker.Worker, name string) error {
	return start(ctx, w, pair(name, 10e6, 5*time.Millisecond, labv1.Clock_CLOCK_REAL), &labv1.Input{Kind: &labv1.Input_Ping{
		Ping: &labv1.Ping{Id: "p", From: "a", To: "b", Count: 100_000, IntervalNs: int64(20 * time.Millisecond)}}})
}

// flood is a lab that sends at 400 Gbit/s.
func flood(ctx context.Context, w *worker.Worker, name string, batch bool) error {
	const rate, size = 400e9, 1400
	clock := labv1.Clock_CLOCK_REAL
	if batch {
		clock = labv1.Clock_CLOCK_VIRTUAL
	}
	spec := pair(name, rate, time.Millisecond, clock)
	spec.Record, spec.Budget = labv1.Record_RECORD_NONE, &labv1.EventBudget{MemoryBytes: 2 << 30}
	return start(ctx, w, spec, &labv1.Input{Kind: &labv1.Input_Udp{
		Udp: &labv1.UdpBlast{Id: "f", From: "a", To: "b", Count: 1 << 40, SizeBytes: size, RateBps: rate}}})
}
