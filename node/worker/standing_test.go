package worker

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
	"labd.dev/trace"
)

func standing(id string, c labv1.Clock) *workerv1.StartLabRequest {
	spec := path()
	spec.Clock = c
	return &workerv1.StartLabRequest{LabId: id, Spec: spec, Mode: workerv1.Mode_MODE_STANDING}
}

func settled(r *workerv1.GetLabResponse) bool {
	for _, t := range r.Transfers {
		if !t.Ended {
			return false
		}
	}
	for _, e := range r.Execs {
		if !e.Done {
			return false
		}
	}
	for _, f := range r.Faults {
		if f.EndNs > r.Progress.NowNs {
			return false
		}
	}
	return true
}

// "A standing lab with the virtual clock advances only while a transfer, exec or experiment runs."
func TestStandingVirtualLabSleeps(t *testing.T) {
	b := newBench(t)
	l := b.start(standing("l", labv1.Clock_CLOCK_VIRTUAL))
	if now := b.get("l").Progress.NowNs; now != 0 {
		t.Errorf("nothing has happened and it is %d ns", now)
	}
	if e := b.input("l", transfer("", 100_000)); e.Index != 1 || e.TNs != 0 || inputID(e.Input) != "t1" {
		t.Errorf("first input %v", e)
	}
	r := b.until("l", "the transfer's end", settled)
	if !r.Transfers[0].Match {
		t.Errorf("%v", r.Transfers[0])
	}
	// Who waits for the transfer's end and goes on finds the lab at the same time, however long that takes.
	if err := l.do(t.Context(), func() error {
		if !l.asleep() {
			t.Error("the transfer has ended and the lab is awake")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	then := r.Progress.NowNs
	if then == 0 {
		t.Fatal("no lab time has passed")
	}
	for range 5 {
		b.get("l")
	}
	if now := b.get("l").Progress.NowNs; now != then {
		t.Errorf("the clock went on from %d to %d", then, now)
	}
	// A fault waits for something to meet it: no time passes for it alone.
	e := b.input("l", fault(down("r1--r2", 500*ms)))
	if r = b.get("l"); inputID(e.Input) != "f1" || r.Progress.NowNs != e.TNs || !r.Faults[0].Active {
		t.Errorf("fault %v, now %d: %v", e, r.Progress.NowNs, r.Faults[0])
	}
	b.input("l", transfer("", 100_000))
	r = b.until("l", "the end of a transfer that met the fault", settled)
	if tr := r.Transfers[1]; !tr.Match || tr.DurationNs < 500*ms || r.Faults[0].Active {
		t.Errorf("%v, %v", tr, r.Faults[0])
	}
}

// Whoever has been told that an input is committed finds its effect, though the lab is asked before it has had a moment for
// anything but answers.
func TestCommittedInputIsSeen(t *testing.T) {
	b := newBench(t)
	l := b.start(standing("l", labv1.Clock_CLOCK_VIRTUAL))
	s, err := b.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "l", Turn: b.turn(), Input: fault(down("r1--r2", 500*ms))})
	if err != nil {
		t.Fatal(err)
	}
	committed, seen := make(chan error, 1), make(chan *labv1.FaultStatus, 1)
	err = l.do(t.Context(), func() error {
		l.calls <- func() {
			committed <- l.commit(&labv1.JournalEntry{Index: s.Index, TNs: s.TNs, Input: s.Input})
		}
		l.calls <- func() { seen <- l.faults()[0] }
		return nil
	})
	if err := errors.Join(err, <-committed); err != nil {
		t.Fatal(err)
	}
	if f := <-seen; !f.Active || f.StartNs != s.TNs {
		t.Errorf("the lab is asked next, and its fault is %v", f)
	}
}

// "An input's time T is strictly after every event that any loop of the lab has run", and the lab waits before T until
// the input is committed or abandoned.
func TestStampHoldsTheLab(t *testing.T) {
	b := newBench(t)
	b.start(standing("l", labv1.Clock_CLOCK_VIRTUAL))
	endless := transfer("", 1<<40)
	endless.GetTransfer().Save = false
	b.input("l", endless)
	turn := b.turn()
	stamp := func(turn *workerv1.Turn) (*workerv1.StampInputResponse, error) {
		return b.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "l", Turn: turn, Input: ping("")})
	}
	abandon := func(turn *workerv1.Turn) {
		t.Helper()
		if _, err := b.AbandonInput(t.Context(), &workerv1.AbandonInputRequest{LabId: "l", Turn: turn}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := stamp(turn)
	if err != nil {
		t.Fatal(err)
	}
	held := b.until("l", "the lab at the stamp", func(r *workerv1.GetLabResponse) bool { return r.Progress.NowNs == s.TNs })
	for range 5 {
		if r := b.get("l"); r.Progress.NowNs != s.TNs || r.Progress.Events != held.Progress.Events {
			t.Fatalf("went on past the stamp of %d: %v", s.TNs, r.Progress)
		}
	}
	// Asked for again it is the same stamp: an answer may have been lost.
	if again, err := stamp(turn); err != nil || !proto.Equal(again, s) {
		t.Errorf("the same turn again: %v, %v; want %v", again, err, s)
	}
	abandon(&workerv1.Turn{Term: turn.Term, Number: turn.Number - 1}) // late
	if r := b.get("l"); r.Progress.NowNs != s.TNs {
		t.Errorf("ended by an earlier turn: %v", r.Progress)
	}
	for range 2 {
		abandon(turn)
	}
	if _, err := stamp(turn); status.Code(err) != codes.Aborted {
		t.Errorf("a turn that has been ended: %v", err)
	}
	b.until("l", "the lab going on", func(r *workerv1.GetLabResponse) bool { return r.Progress.NowNs > s.TNs })
	e := b.input("l", ping(""))
	if e.Index != s.Index || e.TNs <= s.TNs {
		t.Errorf("after an abandoned %d at %d: %d at %d", s.Index, s.TNs, e.Index, e.TNs)
	}
	// A commit that is repeated does nothing, a different one is refused.
	if _, err := b.CommitInput(t.Context(), &workerv1.CommitInputRequest{LabId: "l", Entry: e}); err != nil {
		t.Error(err)
	}
	e.TNs++
	if _, err := b.CommitInput(t.Context(), &workerv1.CommitInputRequest{LabId: "l", Entry: e}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("another entry of the same index: %v", err)
	}
}

// A later turn takes the place of one that nobody has committed or ended, however late the earlier one comes: the lab does not
// wait for a leader that is gone.
func TestLaterTurnComesFirst(t *testing.T) {
	b := newBench(t)
	b.start(standing("l", labv1.Clock_CLOCK_VIRTUAL))
	stamp := func(term, number uint64, id string) (*workerv1.StampInputResponse, error) {
		return b.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "l", Turn: &workerv1.Turn{Term: term, Number: number}, Input: ping(id)})
	}
	if _, err := stamp(1, 5, "p1"); err != nil {
		t.Fatal(err)
	}
	late, err := stamp(1, 6, "p1") // the name is free again
	if err != nil || late.Index != 1 {
		t.Fatalf("the turn after one that was left: %v, %v", late, err)
	}
	if _, err := stamp(1, 5, "p1"); status.Code(err) != codes.Aborted {
		t.Errorf("the one that was left, late: %v", err)
	}
	if _, err := b.AbandonInput(t.Context(), &workerv1.AbandonInputRequest{LabId: "l", Turn: &workerv1.Turn{Term: 2}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stamp(1, 7, "p2"); status.Code(err) != codes.Aborted {
		t.Errorf("of a leader that is one no more: %v", err)
	}
	e := &labv1.JournalEntry{Index: late.Index, TNs: late.TNs, Input: late.Input}
	if _, err := b.CommitInput(t.Context(), &workerv1.CommitInputRequest{LabId: "l", Entry: e}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("committed though abandoned: %v", err)
	}
	if s, err := stamp(2, 1, "p1"); err != nil || s.Index != 1 {
		t.Errorf("a new leader's first: %v, %v", s, err)
	}
	if s, err := stamp(2, 2, "p1"); err != nil || s.Index != 1 {
		t.Errorf("a new leader's second: %v, %v", s, err)
	}
}

// Promises 2 and 5: a standing lab with live inputs on the real clock is rebuilt from its run directory, and from its
// journal under a new epoch, with the same bytes.
func TestStandingLabIsRebuilt(t *testing.T) {
	b := newBench(t)
	req := standing("l", labv1.Clock_CLOCK_REAL)
	req.Spec.Placement = &labv1.Placement{Loops: 2}
	req.Capture = true
	b.start(req)
	var entries []*labv1.JournalEntry
	for _, in := range []*labv1.Input{
		transfer("", 150_000), ping(""), fault(down("r1--r2", 40*ms)),
		fault(&labv1.Fault{Node: "r1", DurationNs: 30 * ms, Effect: &labv1.Fault_Crash{Crash: &labv1.Crash{}}}),
	} {
		entries = append(entries, b.input("l", in))
	}
	r := b.until("l", "all settled", settled)
	if _, err := b.StopLab(t.Context(), &workerv1.StopLabRequest{LabId: "l", KeepFiles: true}); err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(t.TempDir(), "kept")
	if err := os.CopyFS(kept, os.DirFS(labDir(b.root, "l"))); err != nil {
		t.Fatal(err)
	}
	d, err := Replay(t.Context(), kept, 1, filepath.Join(t.TempDir(), "again"))
	if err != nil || d != nil {
		t.Fatalf("replay: %v, %v", d, err)
	}

	req = standing("l", labv1.Clock_CLOCK_REAL)
	req.Epoch, req.Journal, req.ReplayToNs = 2, entries, r.Progress.NowNs
	b.start(req)
	again := b.until("l", "the rebuilt lab", func(a *workerv1.GetLabResponse) bool { return a.Progress.NowNs >= r.Progress.NowNs })
	for i, x := range again.Transfers {
		if y := r.Transfers[i]; x.Sha256 != y.Sha256 || x.DurationNs != y.DurationNs || x.Retransmits != y.Retransmits {
			t.Errorf("rebuilt: %v\nbefore: %v", x, y)
		}
	}
	if _, err := b.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "l", Turn: b.turn(), Epoch: 1, Input: ping("")}); status.Code(err) != codes.Aborted {
		t.Errorf("the old epoch still stamps: %v", err)
	}
}

// Ctrl-C is an input: the run ends at its time, its results are kept and said to be partial, and it can be replayed.
func TestInterrupt(t *testing.T) {
	b := newBench(t)
	spec := path()
	spec.Clock, spec.Pace = labv1.Clock_CLOCK_REAL, 1
	l := b.start(&workerv1.StartLabRequest{LabId: "l", Spec: spec, Mode: workerv1.Mode_MODE_RUN, Journal: journalOf(
		timed{0, transfer("", 100_000_000)}, timed{3600_000 * ms, transfer("", 1)})})
	b.until("l", "some bytes", func(r *workerv1.GetLabResponse) bool { return r.Transfers[0].Bytes > 0 })
	if _, err := b.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "l", Turn: b.turn(), Input: ping("")}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a run took an input after its beginning: %v", err)
	}
	e := b.input("l", &labv1.Input{Kind: &labv1.Input_Interrupt{Interrupt: &labv1.Interrupt{}}})
	b.wait(l)
	r := b.get("l")
	if !r.Progress.Partial || r.Progress.NowNs != e.TNs || r.Progress.Error != "" {
		t.Errorf("%v, interrupted at %d", r.Progress, e.TNs)
	}
	d, err := Replay(t.Context(), labDir(b.root, "l"), 2, filepath.Join(t.TempDir(), "again"))
	if err != nil || d != nil {
		t.Errorf("replay: %v, %v", d, err)
	}
}

// One lab's panic ends that lab with its reason and a kept trace, and no other.
func TestPanicEndsOneLab(t *testing.T) {
	b := newBench(t)
	bad := b.start(standing("bad", labv1.Clock_CLOCK_VIRTUAL))
	b.start(standing("good", labv1.Clock_CLOCK_VIRTUAL))
	b.input("bad", transfer("", 10_000))
	b.until("bad", "the transfer's end", settled)
	err := bad.do(t.Context(), func() error {
		var src sim.Source
		bad.x.loops[0].Arm(&sim.Timer{H: bomb{}}, &src, bad.x.now()+1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// It may already be going off: the lab may still have had something to do.
	if s, err := b.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "bad", Turn: b.turn(), Input: ping("")}); err == nil {
		e := &labv1.JournalEntry{Index: s.Index, TNs: s.TNs, Input: s.Input}
		if _, err := b.CommitInput(t.Context(), &workerv1.CommitInputRequest{LabId: "bad", Entry: e}); err != nil {
			t.Error(err)
		}
	}
	b.wait(bad)
	if p := b.get("bad").Progress; !strings.Contains(p.Error, "tick tock") || !p.Ended {
		t.Errorf("%v", p)
	}
	if text, err := os.ReadFile(filepath.Join(labDir(b.root, "bad"), "panic.txt")); err != nil || !bytes.Contains(text, []byte("bomb")) {
		t.Errorf("panic.txt: %q, %v", text, err)
	}
	if i, err := os.Stat(filepath.Join(labDir(b.root, "bad"), trace.EventsFile)); err != nil || i.Size() < 1000 {
		t.Errorf("the trace is gone: %v", err)
	}
	if _, err := b.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "bad", Turn: b.turn(), Input: ping("")}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a dead lab took an input: %v", err)
	}
	b.input("good", transfer("", 10_000))
	if r := b.until("good", "the transfer's end", settled); !r.Transfers[0].Match {
		t.Errorf("%v", r.Transfers[0])
	}
}

type bomb struct{}

func (bomb) Fire(sim.Time) { panic("tick tock") }

// A file that cannot be written ends the lab with the reason.
func TestFullDiskEndsTheRun(t *testing.T) {
	b := newBench(t)
	l := b.start(standing("l", labv1.Clock_CLOCK_VIRTUAL))
	err := l.do(t.Context(), func() error { l.files.saved.dir = "/dev/null/nowhere"; return nil })
	if err != nil {
		t.Fatal(err)
	}
	b.input("l", transfer("", 10_000))
	b.wait(l)
	if p := b.get("l").Progress; !strings.Contains(p.Error, "saved transfer") {
		t.Errorf("%v", p)
	}
}

func TestFilesGoInByTheirContent(t *testing.T) {
	b := newBench(t)
	data := bytes.Repeat([]byte("all roads lead to Rome\n"), 20_000)
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	in := &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{
		From: "client", To: "server", Save: true,
		Content: &labv1.Transfer_File{File: &labv1.FileRef{Path: "roads.txt", Sha256: name, SizeBytes: uint64(len(data))}},
	}}}
	b.start(standing("l", labv1.Clock_CLOCK_VIRTUAL))
	if _, err := b.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "l", Turn: b.turn(), Input: in}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("content that nobody has sent: %v", err)
	}
	wrong, err := b.blobs.create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(wrong.write(data[1:]), wrong.commit()); !errors.Is(err, errBadRequest) || b.blobs.has(name) {
		t.Errorf("content with another sum: %v", err)
	}
	right, err := b.blobs.create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(right.write(data[:7]), right.write(data[7:]), right.commit()); err != nil {
		t.Fatal(err)
	}
	b.input("l", in)
	r := b.until("l", "the transfer's end", settled)
	if !r.Transfers[0].Match || r.Transfers[0].Sha256 != name {
		t.Errorf("%v", r.Transfers[0])
	}
	if err := b.Worker.labs["l"].do(t.Context(), b.Worker.labs["l"].files.flush); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(labDir(b.root, "l"), "received", "t1")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("saved %d bytes of %d, %v", len(got), len(data), err)
	}
}

// Every packet lately seen can be shown on each interface it crossed, captures or not.
func TestReadPacket(t *testing.T) {
	b := newBench(t)
	b.start(standing("l", labv1.Clock_CLOCK_VIRTUAL))
	b.input("l", transfer("", 2_000))
	b.until("l", "the transfer's end", settled)
	// The client's first packets are ARP's; its SYN crosses six interfaces.
	found := false
	for _, p := range []string{"client:1", "client:2", "client:3"} {
		r, err := b.ReadPacket(t.Context(), &workerv1.ReadPacketRequest{LabId: "l", Packet: p})
		if err != nil || len(r.Hops) != 6 {
			continue
		}
		found = true
		if r.Hops[0].Node != "client" || !r.Hops[0].Out || r.Hops[0].State != tcpstack.StateSynSent.String() ||
			r.Hops[5].Node != "server" || r.Hops[5].Out || len(r.Hops[0].Data) < 54 {
			t.Errorf("%v", r.Hops)
		}
		if !r.Hops[2].Out || r.Hops[1].Out || r.Hops[1].Node != "r1" || r.Hops[2].Node != "r1" {
			t.Errorf("order at the router: %v", r.Hops)
		}
		break
	}
	if !found {
		t.Error("no packet crossed the path")
	}
	if _, err := b.ReadPacket(t.Context(), &workerv1.ReadPacketRequest{LabId: "l", Packet: "client:999999"}); status.Code(err) != codes.NotFound {
		t.Errorf("a packet that never was: %v", err)
	}
}
