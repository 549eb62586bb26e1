package worker

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"labd.dev/internal/runbook"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
)

// A mark that was torn, or is not what was written, counts for nothing; the one before it does.
func TestMarksSurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), marksFile)
	open := func() *marks {
		t.Helper()
		m, err := openMarks(path)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := open()
	for _, at := range []sim.Time{10, 30, 20} { // a mark never goes back
		if err := m.put(map[string]sim.Time{"a.1": at, "b.2": 2 * at}); err != nil {
			t.Fatal(err)
		}
	}
	m.forget("b.2")
	if err := m.close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := appendMark(nil, "a.1", 40)
	for cut := range last[:len(last)-1] {
		if err := os.WriteFile(path, append(append([]byte{}, text...), last[:cut]...), 0o600); err != nil {
			t.Fatal(err)
		}
		m := open()
		if got := m.of("a.1"); got != 30 {
			t.Fatalf("cut after %d bytes: the mark is %d", cut, got)
		}
		if err := m.put(map[string]sim.Time{"a.1": 50}); err != nil {
			t.Fatal(err)
		}
		if err := m.close(); err != nil {
			t.Fatal(err)
		}
		m = open()
		if got := m.of("a.1"); got != 50 {
			t.Fatalf("after a torn mark the next one is lost: %d", got)
		}
		if err := m.close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(last), "40", "90", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if m = open(); m.of("a.1") != 0 {
		t.Error("a mark whose sum is wrong counts")
	}
	// The file does not grow for ever.
	for at := sim.Time(1); at < 40_000; at++ {
		m.bytes = maxMarksBytes - 20
		if err := m.put(map[string]sim.Time{"a.1": at}); err != nil || at == 3 {
			break
		}
	}
	if i, err := os.Stat(path); err != nil || i.Size() > 200 {
		t.Errorf("%v, %v", i, err)
	}
	if err := m.close(); err != nil {
		t.Error(err)
	}
}

// A lab's mark follows it while events run, and while it waits for the wall time of the next.
func TestReach(t *testing.T) {
	wake := make(chan struct{}, 1)
	r := &reach{wake: wake}
	r.ran(5)
	r.ran(7)
	if len(wake) != 1 || r.passed() != 7 {
		t.Errorf("%d wakes, passed %d", len(wake), r.passed())
	}
	<-wake
	r.ran(9)
	if len(wake) != 1 {
		t.Error("a lab that goes on after it was marked wakes nobody")
	}
	r.waits(9, 20, 1)
	r.since = r.since.Add(-time.Second)
	if got := r.passed(); got != 20 {
		t.Errorf("while it waits for 20 it has come to %d", got)
	}
	r.waits(20, sim.Never, 0.5)
	r.since = r.since.Add(-2 * time.Second)
	if got := r.passed(); got < 20+sim.Second || got > 20+30*sim.Second {
		t.Errorf("after 2 s at half the pace: %d", got)
	}
	r.busy()
	if got := r.passed(); got != 20 {
		t.Errorf("busy again at 20: %d", got)
	}
}

// A worker that comes back has its labs replay their journals to where they were, tells how far that is, takes no input
// meanwhile, and goes on from there.
func TestRecoveryTells(t *testing.T) {
	root := t.TempDir()
	first, err := New(Config{Root: root, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Worker: first, t: t}
	req := standing("l", labv1.Clock_CLOCK_VIRTUAL)
	b.start(req)
	entry := b.input("l", transfer("", 8_000_000))
	done := b.until("l", "the transfer's end", settled)
	b.finish()

	again, err := New(Config{Root: root, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	b = &bench{Worker: again, t: t}
	t.Cleanup(b.finish)
	req = standing("l", labv1.Clock_CLOCK_VIRTUAL)
	req.Epoch, req.Journal = 2, []*labv1.JournalEntry{entry}
	// Before its goroutine runs: a recovery may be over before anybody asks.
	if err := os.RemoveAll(labDir(root, "l")); err != nil {
		t.Fatal(err)
	}
	l, err := newLab(again, req, labDir(root, "l"))
	if err != nil {
		t.Fatal(err)
	}
	b.labs = append(b.labs, l)
	again.labs["l"] = l
	p := l.progress()
	if !p.Recovering || p.RecoverToNs < done.Transfers[0].DurationNs || p.NowNs >= p.RecoverToNs {
		t.Errorf("while it recovers: %v", p)
	}
	if _, err := l.makeStamp(again, ping("")); !errors.Is(err, errRefused) {
		t.Errorf("while it recovers it takes an input: %v", err)
	}
	go l.run()
	halfway := b.until("l", "half the way", func(r *workerv1.GetLabResponse) bool {
		return !r.Progress.Recovering || r.Progress.NowNs > r.Progress.RecoverToNs/2
	}).Progress
	if halfway.Recovering && halfway.RecoverSpeed <= 0 {
		t.Errorf("no speed: %v", halfway)
	}
	t.Logf("replayed at %.0f lab seconds a second", halfway.RecoverSpeed)
	got := b.until("l", "the recovery's end", func(r *workerv1.GetLabResponse) bool { return !r.Progress.Recovering })
	if got.Progress.NowNs < p.RecoverToNs || !got.Transfers[0].Match || got.Transfers[0].DurationNs != done.Transfers[0].DurationNs {
		t.Errorf("recovered: %v, before: %v", got, done)
	}
}

// A disk that takes no marks is told of once, and labs go on.
func TestMarksThatCannotBeKept(t *testing.T) {
	var heard runbook.Log
	b := loggingBench(t, heard.Logger())
	broken, err := os.Open(b.marks.path) // to be read only
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	b.marks.mu.Lock()
	kept := b.marks.file
	b.marks.file = broken
	b.marks.mu.Unlock()
	b.start(standing("l", labv1.Clock_CLOCK_VIRTUAL))
	for i := range 2 {
		b.input("l", transfer("", 100_000))
		b.until("l", "the transfer's end", settled)
		for b.t.Context().Err() == nil && i == 0 && !strings.Contains(heard.String(), "cannot be kept") {
			runtime.Gosched()
		}
	}
	runbook.Says(t, "a worker cannot write down how far its labs are", heard.String())
	if n := strings.Count(heard.String(), "cannot be kept"); n != 1 {
		t.Errorf("it is told %d times", n)
	}
	b.marks.mu.Lock()
	b.marks.file = kept
	b.marks.mu.Unlock()
}
