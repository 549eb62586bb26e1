package worker

import (
	"testing"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// Files that somebody has asked for are still there, and whole, when the lab is stopped before they are read.
func TestFilesOfALabThatStopsMeanwhile(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	if _, err := c.StartLab(t.Context(), standing("l", labv1.Clock_CLOCK_VIRTUAL)); err != nil {
		t.Fatal(err)
	}
	h, err := b.held("l")
	if err != nil || h.lab == nil {
		t.Fatalf("%+v, %v", h, err)
	}
	if _, err := c.StopLab(t.Context(), &workerv1.StopLabRequest{LabId: "l", KeepFiles: true}); err != nil {
		t.Fatal(err)
	}
	if err := h.flush(t.Context()); err != nil {
		t.Errorf("flush: %v", err)
	}
	if r, err := c.ListRunFiles(t.Context(), &workerv1.ListRunFilesRequest{LabId: "l"}); err != nil || len(r.GetFiles()) < 3 {
		t.Errorf("%d files, %v", len(r.GetFiles()), err)
	}
}
