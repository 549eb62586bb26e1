package orchestrator

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"labd.dev/internal/auth"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

const traceBytes = labv1.QuotaSubject_QUOTA_SUBJECT_TRACE_BYTES

// What a worker tells of its disk is added up by person; what is told whole takes the place of all before.
func TestRecordings(t *testing.T) {
	m := enrolled(t)
	for i := range 3 {
		m.want("", labOf("bob", i))
	}
	m.want("", labOf("ivy", 0))
	v := m.fsm.store.view()
	var r recordings
	want := func(told *workerv1.SetBoundsResponse, bob, ivy uint64) {
		t.Helper()
		r.tell(v, told)
		if r.owners["bob"] != bob || r.owners["ivy"] != ivy || r.revision != told.GetRevision() {
			t.Errorf("after %v: %+v; want %d and %d", told, r, bob, ivy)
		}
	}
	bytes := func(id string, n uint64) *workerv1.LabBytes { return &workerv1.LabBytes{LabId: id, Bytes: n} }
	want(&workerv1.SetBoundsResponse{Revision: 7, Labs: []*workerv1.LabBytes{bytes("bob.0", 10), bytes("ivy.0", 5), bytes("gone", 99)}}, 10, 5)
	want(&workerv1.SetBoundsResponse{Revision: 9, Labs: []*workerv1.LabBytes{bytes("bob.0", 4), bytes("bob.1", 30)}}, 34, 5)
	want(&workerv1.SetBoundsResponse{Revision: 9}, 34, 5)
	want(&workerv1.SetBoundsResponse{Revision: 12, Whole: true, Labs: []*workerv1.LabBytes{bytes("bob.1", 1)}}, 1, 0)
}

// Who has recorded as much as they may is told by what, gets no more labs and runs, and the worker hears how much room is left.
func TestRoomToRecord(t *testing.T) {
	w := newFakeWorker()
	s := startServer(t, w, "")
	quotas := labv1.NewQuotaServiceClient(s.conn)
	root := as(t.Context(), "root", auth.Admin)
	s.createAs(root, "awaits a leader", "any")
	s.people("bob")
	bob := student(t, "bob")
	s.createAs(bob, "one", "x")
	id := s.control.store.view().labsOf("bob")[0].GetId()
	use := func() uint64 {
		t.Helper()
		r, err := quotas.GetQuota(bob, &labv1.GetQuotaRequest{})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(r.GetUses(), func(u *labv1.QuotaUse) bool { return u.GetSubject() == traceBytes })
		return r.GetUses()[i].GetInUse()
	}
	left := func() uint64 {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, b := range w.bounds.GetOwners() {
			if b.GetOwner() == "bob" && b.TraceBytesLeft != nil {
				return b.GetTraceBytesLeft()
			}
		}
		return noLimit
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("never: %s", what)
			}
		}
	}
	tell := func(revision, bytes uint64) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.disk = &workerv1.SetBoundsResponse{Revision: revision, Labs: []*workerv1.LabBytes{{LabId: id, Bytes: bytes}}}
	}
	tell(1, 1<<30)
	until("it is known what bob has", func() bool { return use() == 1<<30 })
	until("the worker knows what is left", func() bool { return left() == 1<<30 })
	set := func(n uint64) *labv1.SetQuotaResponse {
		t.Helper()
		r, err := quotas.SetQuota(root, &labv1.SetQuotaRequest{RequestId: fmt.Sprint("q", n), User: "bob", Limits: []*labv1.QuotaLimit{atMost(traceBytes, n)}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := set(1 << 20); len(r.GetOver()) != 1 {
		t.Errorf("over are %v", r.GetOver())
	}
	until("the worker knows that nothing is left", func() bool { return left() == 0 })
	_, err := s.labs.CreateLab(bob, &labv1.CreateLabRequest{RequestId: "two", Spec: testSpec("y")})
	wantReason(t, err, codes.ResourceExhausted, "QUOTA")
	wantQuotaFailure(t, err, "trace-bytes", "takes 1.0 GiB, and may take 1.0 MiB; most of it is of lab x (1.0 GiB)")
	_, err = s.runs.CreateRun(bob, &labv1.CreateRunRequest{RequestId: "run", Spec: testSpec("z")})
	wantReason(t, err, codes.ResourceExhausted, "QUOTA")
	tell(2, 100)
	until("there is room", func() bool { return use() == 100 })
	s.createAs(bob, "three", "y")
}
