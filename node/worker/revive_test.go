package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// A lab whose disk fills while a transfer is saved ends with that reason. Once there is room it is back, with the transfer
// that was under way, and takes inputs.
func TestLabIsBackOnceTheDiskHasRoom(t *testing.T) {
	b := newBench(t)
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
	if p := b.get("l").Progress; !p.Ended || !strings.Contains(p.Error, "no space left on device (the lab is rebuilt once there is room)") {
		t.Errorf("with a full disk: %v", p)
	}
	if err := os.RemoveAll(probe); err != nil {
		t.Fatal(err)
	}
	again := b.revived(l)
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
