package randomlab_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"labd.dev/internal/randomlab"
	"labd.dev/node/worker"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/trace"
)

var (
	oneSeed = flag.Uint64("seed", 0, "run only the random lab of this seed")
	numLabs = flag.Uint64("labs", fullLabs, "how many random labs to run")
)

const (
	fullLabs  = 1000
	shortLabs = 20
	// One in so many meets each of randomlab.Meets at least: 20 of a thousand.
	oneMeetsIn = 50
	// A lab is busy enough over the cut with so many frames across it; half of the labs have to be.
	busyCut = 100
)

// outcome is what one lab's runs gave.
type outcome struct {
	lab     *randomlab.Lab
	dir     string // of the run on one loop
	check   *randomlab.Checker
	cut     uint64 // frames delivered over the cut of the run on two loops
	faulted bool   // a fault met a link across it
}

// Random small labs, each run on one loop and on two, with checkers that know no lab: "every byte delivered once and in
// order or the connection reports its error (a frame flipped at least twice whose checksum still holds is excused and
// counted); no leak of frames, timers, connections; replay in a fresh process identical; one loop and two identical, with
// at least 100 frames and one fault across the cut in half of them".
func TestRandomLabs(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "blobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "blobs", randomlab.Content().Sha256), randomlab.Page(), 0o644); err != nil {
		t.Fatal(err)
	}
	w, err := worker.New(worker.Config{Root: root, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	outcomes := runAll(t, w, root)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	replay(t, outcomes)
	if *oneSeed == 0 && !t.Failed() {
		summarise(t, outcomes)
	}
}

// seeds are those of the labs to run.
func seeds() (list []uint64) {
	if *oneSeed != 0 {
		return []uint64{*oneSeed}
	}
	n := *numLabs
	if testing.Short() {
		n = min(n, shortLabs)
	}
	for s := range n {
		list = append(list, s+1)
	}
	return list
}

func runAll(t *testing.T, w *worker.Worker, root string) []*outcome {
	list := seeds()
	outcomes := make([]*outcome, len(list))
	var next sync.Mutex
	taken := 0
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for {
				next.Lock()
				i := taken
				taken++
				next.Unlock()
				if i >= len(list) {
					return
				}
				o, problems := runOne(t.Context(), w, root, list[i])
				outcomes[i] = o
				if len(problems) > 0 {
					t.Errorf("seed %d (again: go test ./internal/randomlab -run TestRandomLabs -seed %d):\n  %s",
						list[i], list[i], strings.Join(problems, "\n  "))
				}
			}
		})
	}
	all.Wait()
	return outcomes
}

// runOne runs a lab on one loop and on two.
func runOne(ctx context.Context, w *worker.Worker, root string, seed uint64) (*outcome, []string) {
	o := &outcome{lab: randomlab.Generate(seed)}
	o.check = randomlab.NewChecker(o.lab)
	one, two := fmt.Sprintf("seed-%d-1", seed), fmt.Sprintf("seed-%d-2", seed)
	o.dir = filepath.Join(root, "labs", one)
	if err := o.first(ctx, w, one); err != nil {
		return o, append(o.check.Problems, err.Error())
	}
	problems := o.check.Problems
	// Every other time without captures: that somebody looks changes nothing either.
	capture := seed%2 != 0
	if _, _, err := run(ctx, w, o.lab, two, 2, capture); err != nil {
		return o, append(problems, err.Error())
	}
	other := filepath.Join(root, "labs", two)
	if d, err := compare(o.dir, other, capture); d != "" || err != nil {
		problems = append(problems, fmt.Sprintf("one loop and two, captures there %v: %s %v", capture, d, err))
	}
	o.cut, o.faulted = o.lab.Crossing(o.check.Seen.Frames)
	if err := os.RemoveAll(other); err != nil {
		problems = append(problems, err.Error())
	}
	return o, problems
}

// compare compares two runs: all of their bytes, or the events alone.
func compare(a, b string, captures bool) (string, error) {
	if captures {
		d, err := worker.CompareRuns(a, b)
		if d == nil || err != nil {
			return "", err
		}
		return d.String(), nil
	}
	var files [2]*os.File
	for i, dir := range []string{a, b} {
		f, err := os.Open(filepath.Join(dir, trace.EventsFile))
		if err != nil {
			return "", err
		}
		defer f.Close()
		files[i] = f
	}
	d, err := trace.Compare(files[0], files[1])
	if d == nil || err != nil {
		return "", err
	}
	return d.Text, nil
}

// first runs the lab on one loop and has the checkers look at it.
func (o *outcome) first(ctx context.Context, w *worker.Worker, id string) error {
	got, conns, err := run(ctx, w, o.lab, id, 1, true)
	if err != nil {
		return err
	}
	r, err := trace.Open(o.dir)
	if err != nil {
		return err
	}
	events, err := r.Trace()
	if err != nil {
		return err
	}
	o.check.Check(events)
	o.check.Books(got, conns)
	return nil
}

// run runs a lab to its end, and stops it: a lab that then still holds a frame, a chunk or a timer reports that.
func run(ctx context.Context, w *worker.Worker, lab *randomlab.Lab, id string, loops uint32, capture bool) (*workerv1.GetLabResponse, []*labv1.ConnStatus, error) {
	spec := proto.Clone(lab.Spec).(*labv1.LabSpec)
	spec.Placement = &labv1.Placement{Loops: loops}
	_, err := w.StartLab(ctx, &workerv1.StartLabRequest{
		LabId: id, Epoch: 1, Spec: spec, Mode: workerv1.Mode_MODE_RUN, Journal: lab.Journal, EndNs: lab.EndNs, Capture: capture,
	})
	if err != nil {
		return nil, nil, err
	}
	if err := w.WatchLab(&workerv1.WatchLabRequest{LabId: id, IntervalMs: 60_000}, &watch{ctx: ctx}); err != nil {
		return nil, nil, err
	}
	got, err := w.GetLab(ctx, &workerv1.GetLabRequest{LabId: id})
	if err != nil {
		return nil, nil, err
	}
	conns, err := w.ListConns(ctx, &workerv1.ListConnsRequest{LabId: id})
	if err != nil {
		return nil, nil, err
	}
	_, err = w.StopLab(ctx, &workerv1.StopLabRequest{LabId: id, Epoch: 1, KeepFiles: true})
	return got, conns.GetConns(), err
}

// watch is the stream of a watch that nobody reads; WatchLab returns when the lab has ended.
type watch struct {
	grpc.ServerStream
	ctx context.Context
}

func (w *watch) Context() context.Context            { return w.ctx }
func (*watch) Send(*workerv1.WatchLabResponse) error { return nil }

// The environment that makes this test binary replay runs instead of running tests.
const replayEnv = "LABD_REPLAY_RUNS"

// replay repeats the runs from their directories alone in fresh processes, each with some of them, on another number of
// loops and another GOMAXPROCS.
func replay(t *testing.T, outcomes []*outcome) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for procs := 1; procs <= 2; procs++ {
		var dirs []string
		for i, o := range outcomes {
			if i%2 == procs-1 {
				dirs = append(dirs, o.dir)
			}
		}
		if len(dirs) == 0 {
			continue
		}
		all.Go(func() {
			cmd := exec.CommandContext(t.Context(), binary, "-test.run=^TestReplayInThisProcess$")
			cmd.Env = append(os.Environ(), replayEnv+"="+strings.Join(dirs, string(os.PathListSeparator)), fmt.Sprintf("GOMAXPROCS=%d", procs))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("replay in a fresh process, GOMAXPROCS=%d: %v\n%s", procs, err, out)
			}
		})
	}
	all.Wait()
}

// The other half of replay, in the fresh process.
func TestReplayInThisProcess(t *testing.T) {
	list := os.Getenv(replayEnv)
	if list == "" {
		return
	}
	for i, dir := range filepath.SplitList(list) {
		again := filepath.Join(t.TempDir(), "again")
		d, err := worker.Replay(t.Context(), dir, 1+i%3, again)
		if err != nil || d != nil {
			t.Errorf("%s: %v %v", filepath.Base(dir), d, err)
		}
		if err := os.RemoveAll(again); err != nil {
			t.Error(err)
		}
	}
}

// summarise prints what the labs met, and holds them to it.
func summarise(t *testing.T, outcomes []*outcome) {
	t.Helper()
	busy, excused, frames, failed := 0, 0, uint64(0), 0
	met := map[string]int{}
	for _, o := range outcomes {
		excused += o.check.Excused
		failed += o.check.Failed
		for _, n := range o.check.Seen.Frames {
			frames += n
		}
		if o.cut >= busyCut && o.faulted {
			busy++
		}
		for what, n := range o.check.Seen.Met() {
			if n > 0 {
				met[what]++
			}
		}
	}
	t.Logf("%d labs, %d frames delivered, %d of the labs with at least %d frames and a fault across the cut, %d transfers reported an error, %d packets with two flipped bits taken in",
		len(outcomes), frames, busy, busyCut, failed, excused)
	for _, what := range randomlab.Meets {
		t.Logf("%3d labs with %s", met[what], what)
		if least := len(outcomes) / oneMeetsIn; len(outcomes) >= fullLabs && met[what] < least {
			t.Errorf("%s in %d of %d labs, want at least %d", what, met[what], len(outcomes), least)
		}
	}
	if 2*busy < len(outcomes) {
		t.Errorf("%d of %d labs have at least %d frames and a fault across the cut, want half", busy, len(outcomes), busyCut)
	}
}
