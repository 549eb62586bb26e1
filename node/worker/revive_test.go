package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"labd.dev/internal/runbook"
	"labd.dev/node/exchange"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// A lab whose disk fills while a transfer is saved ends with that reason. Once there is room it is back, with the transfer
// that was under way, and takes inputs.
func TestLabIsBackOnceTheDiskHasRoom(t *testing.T) {
	var heard runbook.Log
	b := loggingBench(t, heard.Logger())
	req := standing("l", labv1.Clock_CLOCK_VIRTUAL)
	l := b.start(req)
	// The disk takes nothing: where room is looked for there is none.
	probe := filepath.Join(b.root, "probe")
	if err := os.MkdirAll(filepath.Join(probe, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := b.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "l", Turn: b.turn(), Input: transfer("", 100_000)})
	if err != nil {
		t.Fatal(err)
	}
	err = l.do(t.Context(), func() error {
		l.files.saved.keep(syscall.ENOSPC)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	entry := &labv1.JournalEntry{Index: s.Index, TNs: s.TNs, Input: s.Input}
	if _, err := b.CommitInput(t.Context(), &workerv1.CommitInputRequest{LabId: "l", Entry: entry}); err != nil {
		t.Fatal(err)
	}
	b.wait(l)
	p := b.get("l").Progress
	if !p.Ended {
		t.Errorf("with a full disk: %v", p)
	}
	if err := os.RemoveAll(probe); err != nil {
		t.Fatal(err)
	}
	again := b.revived(l)
	runbook.Says(t, "a worker's disk is full", p.Error, heard.String())
	r := b.until("l", "the transfer's end", settled)
	if tr := r.Transfers[0]; !tr.Match {
		t.Errorf("rebuilt: %v", tr)
	}
	if err := again.do(t.Context(), again.files.flush); err != nil {
		t.Fatal(err)
	}
	saved, err := os.ReadFile(filepath.Join(labDir(b.root, "l"), savedDir, "t1"))
	if sum := sha256.Sum256(saved); err != nil || hex.EncodeToString(sum[:]) != r.Transfers[0].Sha256 {
		t.Errorf("%d bytes saved, %v", len(saved), err)
	}
	b.input("l", ping(""))
	b.until("l", "the end of a ping", settled)
}

// revived waits until a lab has been rebuilt.
func (b *bench) revived(old *lab) *lab {
	b.t.Helper()
	for b.t.Context().Err() == nil {
		if l, err := b.lab(old.id); err == nil && l != old {
			b.labs = append(b.labs, l)
			return l
		}
	}
	return nil
}

// A split lab is rebuilt elsewhere for what is no fault of its own, a full disk among it; a run has ended by that.
func TestShardsThatAreRebuiltElsewhere(t *testing.T) {
	full := fmt.Errorf("events.bin: %w", syscall.ENOSPC)
	for _, c := range []struct {
		mode workerv1.Mode
		err  error
		want bool
	}{
		{workerv1.Mode_MODE_STANDING, full, true},
		{workerv1.Mode_MODE_RUN, full, false},
		{workerv1.Mode_MODE_RUN, fmt.Errorf("round 3: %w", &exchange.PeerError{Peer: "w2", Err: io.EOF}), true},
		{workerv1.Mode_MODE_STANDING, &movedError{"a--b"}, true},
		{workerv1.Mode_MODE_STANDING, errors.New("an event storm"), false},
	} {
		s := &split{l: &lab{req: &workerv1.StartLabRequest{Mode: c.mode}}}
		if got := s.elsewhere(c.err); got != c.want {
			t.Errorf("%v, %v: %v", c.mode, c.err, got)
		}
	}
}
