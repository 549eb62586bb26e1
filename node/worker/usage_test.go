package worker

import (
	"os"
	"path/filepath"
	"testing"

	"labd.dev/internal/runbook"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

func sizes(r *workerv1.SetBoundsResponse) map[string]uint64 {
	m := make(map[string]uint64)
	for _, l := range r.GetLabs() {
		m[l.GetLabId()] = l.GetBytes()
	}
	return m
}

// What labs take of the disk is told as it changes, of labs of processes before as well, without what was uploaded.
func TestUsage(t *testing.T) {
	b := newBench(t)
	write := func(name string, n int) {
		t.Helper()
		name = filepath.Join(b.root, "labs", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old-1/events.bin", 1000)
	write("old-1/pcap/a-eth0.pcapng", 500)
	write("old-1/blobs/abc", 1<<20)
	write("old-2/events.bin", 7)
	b.measure(true)
	first := b.usage.since(0)
	if got := sizes(first); !first.GetWhole() || got["old-1"] != 1500 || got["old-2"] != 7 || len(got) != 2 {
		t.Errorf("%v", first)
	}
	if again := b.usage.since(first.GetRevision()); again.GetWhole() || len(again.GetLabs()) > 0 {
		t.Errorf("nothing has changed, and yet %v", again)
	}
	write("old-2/events.bin", 70)
	write("new/events.bin", 1)
	b.measure(false) // it is not known yet that old-2 has settled
	second := b.usage.since(first.GetRevision())
	if got := sizes(second); second.GetWhole() || got["old-2"] != 70 || got["new"] != 1 || len(got) != 2 {
		t.Errorf("%v", second)
	}
	b.measure(false)
	if was, _ := b.usage.of("old-2"); !was.settled {
		t.Error("what nobody writes any more is measured for ever")
	}
	if err := os.RemoveAll(filepath.Join(b.root, "labs", "old-1")); err != nil {
		t.Fatal(err)
	}
	b.measure(false)
	third := b.usage.since(second.GetRevision())
	if got := sizes(third); !third.GetWhole() || got["old-2"] != 70 || got["new"] != 1 || len(got) != 2 {
		t.Errorf("%v", third)
	}
	if other := newUsage().since(third.GetRevision()); !other.GetWhole() {
		t.Error("another process's revisions are taken for this one's")
	}
}

// A run whose owner has no room left is held back and says so; a standing lab that saves nothing is not. When there is room the
// run goes on, and comes to the same.
func TestHeldBackWithoutRoom(t *testing.T) {
	b := newBench(t)
	request := func(id, owner string) *workerv1.StartLabRequest {
		return ofOwner(&workerv1.StartLabRequest{LabId: id, Epoch: 1, Spec: path(), Mode: workerv1.Mode_MODE_RUN,
			Journal: journalOf(timed{0, transfer("t1", 100_000)})}, owner)
	}
	none := uint64(0)
	tell := func(left *uint64) {
		t.Helper()
		if _, err := b.SetBounds(t.Context(), &workerv1.SetBoundsRequest{Term: 1, Owners: []*workerv1.OwnerBounds{{Owner: "bob", TraceBytesLeft: left}}}); err != nil {
			t.Fatal(err)
		}
	}
	tell(&none)
	run := b.start(request("run", "bob"))
	p := b.until("run", "it is held back", func(r *workerv1.GetLabResponse) bool { return r.Progress.GetHeld() != "" }).Progress
	runbook.Says(t, "a run does not go on", p.GetHeld())
	if p.GetNowNs() > 0 {
		t.Errorf("at %d it is held back by %q", p.GetNowNs(), p.GetHeld())
	}
	still := ofOwner(standing("still", labv1.Clock_CLOCK_VIRTUAL), "bob")
	b.start(still)
	unsaved := transfer("", 1000)
	unsaved.GetTransfer().Save = false
	b.input("still", unsaved)
	b.until("still", "its transfer's end", settled)
	b.input("still", ping(""))
	b.until("still", "its ping's end", func(r *workerv1.GetLabResponse) bool { return len(r.Execs) == 1 && r.Execs[0].GetDone() })
	tell(nil)
	b.wait(run)
	b.wait(b.start(request("free", "eve")))
	b.get("run") // their files are whole
	b.get("free")
	b.identical(labDir(b.root, "run"), labDir(b.root, "free"))
}
