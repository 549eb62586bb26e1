package worker

import (
	"math"
	"testing"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// Where all threads are taken, what is to be run is run by who asks for it.
func TestBackgroundIsBounded(t *testing.T) {
	b := newBackground(2)
	deep := 0
	var dig func()
	dig = func() {
		if deep++; deep < 5 {
			b.run(dig)
		}
	}
	b.run(dig)
	b.run(func() { deep++ })
	if deep != 6 || b.threads != 2 || b.idle != 2 {
		t.Errorf("%d were run in %d threads, %d of them idle now", deep, b.threads, b.idle)
	}
	b.close()
	b.run(func() { deep++ })
	if deep != 7 {
		t.Error("after the end it was not run")
	}
}

// Beside labs that keep up with the real clock a run goes to the background, and computes what it does elsewhere, also one of
// several loops.
func TestBatchInTheBackground(t *testing.T) {
	b := newBench(t)
	run := func(id string, loops uint32) string {
		spec := path()
		spec.Placement = &labv1.Placement{Loops: loops}
		_, dir := b.run(&workerv1.StartLabRequest{LabId: id, Spec: spec, Mode: workerv1.Mode_MODE_RUN, EndNs: 2000 * ms,
			Journal: journalOf(timed{ms, transfer("t1", 200_000)})})
		return dir
	}
	own := run("own", 1)
	if b.background.threads != 0 {
		t.Error("it went to the background, with nobody to leave a core to")
	}
	b.share.paced.Store(math.MaxInt64 / 2) // a lab has kept up at all times
	b.identical(own, run("behind", 1))
	b.identical(own, run("several", 2))
	if b.background.threads == 0 {
		t.Error("nothing went to the background")
	}
}
