package orchestrator

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"labd.dev/internal/auth"
	"labd.dev/internal/runbook"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

const idleLifetime = labv1.QuotaSubject_QUOTA_SUBJECT_IDLE_LIFETIME

// What is done about a lab, by when it was used: warned when four fifths of its time have passed, stopped when all has and who
// leads has known of the warning for the last fifth by its own clock. A wall clock that jumps stops nothing by itself.
func TestIdleStep(t *testing.T) {
	const h = time.Hour
	ns := func(d time.Duration) int64 { return int64(d) }
	for _, c := range []struct {
		name string
		lab  idleLab
		do   idleAction
	}{
		{"no bound", idleLab{now: ns(1000 * h), seen: -1}, idleNothing},
		{"young", idleLab{lifetime: 10 * h, now: ns(7 * h), seen: -1}, idleNothing},
		{"four fifths", idleLab{lifetime: 10 * h, now: ns(8 * h), seen: -1}, idleWarn},
		{"seen lately", idleLab{lifetime: 10 * h, now: ns(8 * h), known: ns(h + h/2), seen: 6 * h}, idleNothing},
		{"seen, and not committed", idleLab{lifetime: 10 * h, now: ns(8 * h), seen: h}, idleUse},
		{"warned", idleLab{lifetime: 10 * h, now: ns(9 * h), seen: -1, stops: ns(10 * h), warned: h}, idleNothing},
		{"over", idleLab{lifetime: 10 * h, now: ns(10 * h), seen: -1, stops: ns(10 * h), warned: 2 * h}, idleStop},
		{"over, to a new leader", idleLab{lifetime: 10 * h, now: ns(10 * h), seen: -1, stops: ns(10 * h), warned: 0}, idleNothing},
		{"used after the warning", idleLab{lifetime: 10 * h, now: ns(9 * h), seen: 0, stops: ns(10 * h), warned: h}, idleUse},
		{"the wall jumps ahead by a year, unwarned", idleLab{lifetime: 10 * h, now: ns(9000 * h), seen: -1}, idleWarn},
		{"the wall jumps ahead, just warned", idleLab{lifetime: 10 * h, now: ns(9000 * h), seen: -1, stops: ns(10 * h), warned: time.Minute}, idleNothing},
		{"the wall jumps ahead, in use", idleLab{lifetime: 10 * h, now: ns(9000 * h), seen: 0}, idleUse},
		{"the wall jumps back", idleLab{lifetime: 10 * h, now: 0, known: ns(9 * h), seen: -1}, idleNothing},
		{"the bound is taken back", idleLab{now: ns(9 * h), seen: -1, stops: ns(10 * h), warned: h}, idleUse},
		{"the bound is raised", idleLab{lifetime: 100 * h, now: ns(9 * h), seen: -1, stops: ns(10 * h), warned: h}, idleUse},
	} {
		if do, _ := c.lab.step(); do != c.do {
			t.Errorf("%s: %d, want %d", c.name, do, c.do)
		}
	}
}

// A warning is void for a lab that was used meanwhile, and taken back by any use; without one no lab is stopped. One that is
// stopped keeps what it is, also in a snapshot, and goes on when it is released.
func TestIdleLabsInTheLog(t *testing.T) {
	m := enrolled(t)
	m.want("", labOf("bob", 0))
	lab := func() *controlv1.LabState { return m.fsm.store.view().lab("bob.0") }
	used := func() int64 { v := m.fsm.store.view(); return v.lastUse(v.lab("bob.0")) }
	warn := func(at int64) *controlv1.WarnIdle {
		return &controlv1.WarnIdle{LabId: "bob.0", UsedUnixNs: at, StopsUnixNs: 77}
	}
	stop := func() *controlv1.StopIdle {
		return &controlv1.StopIdle{LabId: "bob.0", Epoch: lab().GetEpoch(), StopsUnixNs: 77, ReachedNs: 5}
	}
	void := func(cmd any) {
		t.Helper()
		m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "", cmd)
	}
	void(stop())
	void(warn(used() - 1))
	m.want("", warn(used()))
	void(warn(used()))
	m.want("", appendInput("bob.0", 1, 1))
	if lab().GetStopsUnixNs() != 0 {
		t.Error("an input does not take the warning back")
	}
	void(stop())
	m.want("", warn(used()))
	m.want("", &controlv1.NoteUse{Uses: []*controlv1.LabUse{{LabId: "bob.0", AtUnixNs: used() + 3}, {LabId: "gone", AtUnixNs: 1}}})
	void(stop())
	m.want("", warn(used()))
	late := stop()
	late.Epoch++
	void(late)
	m.want("", stop())
	if l := lab(); !l.GetStopped() || len(l.GetWorkers()) > 0 || l.GetReachedNs() != 5 || l.GetEpoch() != 2 || m.fsm.store.view().journaled("bob.0") != 1 {
		t.Errorf("%v", l)
	}
	void(warn(used()))
	v := m.fsm.store.view()
	if v.inUse("bob")[labv1.QuotaSubject_QUOTA_SUBJECT_LABS] != 1 {
		t.Error("it counts no more")
	}
	other := newMachine(t)
	if err := other.fsm.Restore(io.NopCloser(bytes.NewReader(m.bytes()))); err != nil || !bytes.Equal(m.bytes(), other.bytes()) {
		t.Errorf("a snapshot comes to another state: %v", err)
	}
	m.want("", &controlv1.ReleaseLab{LabId: "bob.0"})
	if l := lab(); l.GetStopped() || l.GetEpoch() != 3 || l.GetUsedUnixNs() == 0 {
		t.Errorf("%v", l)
	}
}

// The wall clock jumps by an hour: the owner is warned, with whatever is asked next, and the lab is not stopped before the
// warning has stood for its time. It is when it has, and goes on when it is resumed.
func TestIdleLabsAreWarnedThenStopped(t *testing.T) {
	w := newFakeWorker()
	var jump atomic.Int64
	s := serve(t, w, func(c Config) (*Controller, error) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(jump.Load())) }
		return Open(c)
	}, "")
	quotas, clocks := labv1.NewQuotaServiceClient(s.conn), labv1.NewClockServiceClient(s.conn)
	root := as(t.Context(), "root", auth.Admin)
	s.createAs(root, "awaits a leader", "any")
	s.people("bob")
	bob := student(t, "bob")
	s.createAs(bob, "one", "x")
	lab := func() *controlv1.LabState { return s.control.store.view().labsOf("bob")[0] }
	idle := s.control.leading().idle
	looked := func() uint64 {
		idle.mu.Lock()
		defer idle.mu.Unlock()
		return idle.looked
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("never: %s", what)
			}
		}
	}
	set := func(seconds uint64) {
		t.Helper()
		if _, err := quotas.SetQuota(root, &labv1.SetQuotaRequest{RequestId: fmt.Sprint("q", seconds), User: "bob",
			Limits: []*labv1.QuotaLimit{atMost(idleLifetime, seconds)}}); err != nil {
			t.Fatal(err)
		}
	}
	set(3600)
	// A new leader that has seen nobody use it, so that the wall clock alone says how long it has stood.
	idle.mu.Lock()
	clear(idle.uses)
	idle.mu.Unlock()
	jump.Store(int64(time.Hour))
	until("its owner is warned", func() bool { return lab().GetStopsUnixNs() != 0 })
	from := looked()
	until("the labs are looked at again", func() bool { return looked() > from+2 })
	if lab().GetStopped() {
		t.Fatal("it is stopped, and has not been warned of for its time")
	}
	var header metadata.MD
	if _, err := quotas.GetQuota(bob, &labv1.GetQuotaRequest{}, grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	if texts := header.Get(noticeHeader); len(texts) != 1 || !strings.HasPrefix(texts[0], "lab x: nobody has used it since ") {
		t.Errorf("notices: %q", texts)
	}
	if r, err := s.labs.ListLabs(bob, &labv1.ListLabsRequest{}); err != nil || !strings.Contains(r.GetLabs()[0].GetNotice(), "it is stopped after") {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := s.labs.GetLab(root, &labv1.GetLabRequest{Lab: "bob/x"}); err != nil {
		t.Fatal(err) // who is not in the lab does not use it
	}
	from = looked()
	until("the labs are looked at again", func() bool { return looked() > from+1 })
	if lab().GetStopsUnixNs() == 0 {
		t.Error("an administrator's look counts as a use")
	}
	if _, err := s.labs.GetLab(bob, &labv1.GetLabRequest{Lab: "x"}); err != nil {
		t.Fatal(err)
	}
	until("the use is noted", func() bool { return lab().GetStopsUnixNs() == 0 && lab().GetUsedUnixNs() != 0 })
	set(1)
	until("it is stopped", func() bool { return lab().GetStopped() })
	_, err := s.moves.CreateTransfer(bob, &labv1.CreateTransferRequest{RequestId: "t", Lab: "x", Kind: &labv1.CreateTransferRequest_Transfer{Transfer: &labv1.Transfer{From: "a", To: "b"}}})
	wantReason(t, err, codes.FailedPrecondition, "LAB_STOPPED")
	runbook.Says(t, "nobody has used a lab for its owner's `idle-lifetime`", "LAB_STOPPED", status.Convert(err).Message())
	if r, err := s.labs.ListLabs(bob, &labv1.ListLabsRequest{}); err != nil || r.GetLabs()[0].GetState() != labv1.LabState_LAB_STATE_STOPPED {
		t.Errorf("%v, %v", r, err)
	}
	set(3600)
	if _, err := clocks.ControlClock(bob, &labv1.ControlClockRequest{RequestId: "c", Lab: "x",
		Action: &labv1.ControlClockRequest_Resume{Resume: &labv1.ResumeClock{}}}); err != nil {
		t.Fatal(err)
	}
	if lab().GetStopped() || len(lab().GetWorkers()) == 0 {
		t.Errorf("%v", lab())
	}
}
