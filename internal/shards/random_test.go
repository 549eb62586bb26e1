package shards_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"labd.dev/internal/randomlab"
	"labd.dev/node/cut"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

var (
	oneSeed = flag.Uint64("seed", 0, "run only the random lab of this seed")
	numLabs = flag.Uint64("labs", 16, "how many random labs to run")
)

// shortLabs are run where time is short.
const shortLabs = 5

// provide gives every member the content that random labs serve.
func (c *cluster) provide() *cluster {
	c.t.Helper()
	for _, m := range c.members {
		if err := os.WriteFile(filepath.Join(m.root, "blobs", randomlab.Content().Sha256), randomlab.Page(), 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	return c
}

// Random labs with faults, reboots, live changes and both versions of IP: byte for byte the same on one worker and on
// two or three, with one loop each and with two.
func TestRandomLabsSplit(t *testing.T) {
	var clusters [4]*cluster
	for n := 1; n < len(clusters); n++ {
		clusters[n] = newCluster(t, n, n == 3).provide()
	}
	labs, split := *numLabs, 0
	if testing.Short() {
		labs = min(labs, shortLabs)
	}
	for seed := uint64(1); seed <= labs; seed++ {
		if *oneSeed != 0 && seed != *oneSeed {
			continue
		}
		lab := randomlab.Generate(seed)
		n := min(2+int(seed%2), cut.Most(lab.Spec, lab.Journal))
		if n < 2 {
			continue
		}
		split++
		req := &workerv1.StartLabRequest{LabId: fmt.Sprintf("seed-%d", seed), Epoch: 1, Spec: lab.Spec, Journal: lab.Journal,
			Mode: workerv1.Mode_MODE_RUN, EndNs: lab.EndNs, Capture: true}
		one, want := clusters[1].run(req)
		if seed%3 == 0 {
			req = proto.Clone(req).(*workerv1.StartLabRequest)
			req.Spec.Placement = &labv1.Placement{Loops: 2}
		}
		got, dir := clusters[n].run(req)
		what := fmt.Sprintf("seed %d on %d workers (again: go test ./internal/shards -run TestRandomLabsSplit -labs %d -seed %d)", seed, n, seed, seed)
		if same(t, one, got); t.Failed() {
			t.Fatal(what)
		}
		identical(t, what, want, dir)
		for _, d := range []string{want, dir} {
			if err := os.RemoveAll(d); err != nil {
				t.Fatal(err)
			}
		}
	}
	if *oneSeed == 0 && uint64(2*split) < labs {
		t.Errorf("only %d of %d labs can be split", split, labs)
	}
}
