package orchestrator

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

const (
	eventRate   = labv1.QuotaSubject_QUOTA_SUBJECT_EVENT_RATE
	connections = labv1.QuotaSubject_QUOTA_SUBJECT_CONNECTIONS
)

// SetBounds implements the service: it keeps what it is told.
func (w *fakeWorker) SetBounds(_ context.Context, req *workerv1.SetBoundsRequest) (*workerv1.SetBoundsResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bounds = req
	return proto.CloneOf(w.disk), nil
}

func opening(at ...int64) (journal []*labv1.JournalEntry) {
	for i, t := range at {
		in := &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{Id: fmt.Sprint("t", i)}}}
		journal = append(journal, &labv1.JournalEntry{Index: uint64(i) + 1, TNs: t, Input: in})
	}
	return journal
}

// A lab and a run keep the bound on connections that they were made under, whatever becomes of the quota. A run that opens more at
// one instant is refused.
func TestConnectionsAreFixedAtTheMaking(t *testing.T) {
	m := enrolled(t)
	lab, run := labOf("bob", 0), runOf("bob", 0)
	v := m.fsm.store.view()
	for person, want := range map[string]uint64{"bob": 10_000, "ivy": 100_000, "eve": 0, "nobody": 0, "": 0} {
		if got := v.connectionsOf(person); got != want {
			t.Errorf("%q: %d connections, want %d", person, got, want)
		}
	}
	lab.ConnectionsAtMost, run.ConnectionsAtMost, run.Journal = 7, 2, opening(5, 5, 6, 6, 8)
	m.want("", lab)
	m.want("", run)
	m.want("", &controlv1.SetQuota{User: "bob", Limits: []*labv1.QuotaLimit{atMost(connections, 1)}})
	v = m.fsm.store.view()
	if v.lab("bob.0").GetConnectionsAtMost() != 7 || v.run("bob.r0").GetConnectionsAtMost() != 2 || v.connectionsOf("bob") != 1 {
		t.Errorf("%v, %v, %d", v.lab("bob.0"), v.run("bob.r0"), v.connectionsOf("bob"))
	}
	over := runOf("bob", 1)
	over.ConnectionsAtMost, over.Journal = 2, opening(5, 6, 6, 6)
	m.wantRefusal(overQuotaReason, "", over)
	over.ConnectionsAtMost = 0
	m.want("", over)
}

// A person's rate is shared out among workers by how many labs each has; who is not bounded is not among them.
func TestRatesOfWorkers(t *testing.T) {
	m := enrolled(t)
	for i := range 5 {
		lab := labOf("bob", i)
		if i == 4 {
			lab.Workers = []string{"x", "y"}
		}
		m.want("", lab)
		m.want("", labOf("ivy", i))
	}
	for i := range 2 {
		m.want("", runOf("bob", i))
	}
	m.want("", &controlv1.EndRun{RunId: "bob.r0"})
	boundsAt := func(v view) map[string][]*workerv1.OwnerBounds {
		return (&leadership{fleet: newFleet(time.Second, nil)}).boundsAt(v)
	}
	if at := boundsAt(m.fsm.store.view()); len(at) > 0 {
		t.Errorf("nobody is bounded, and yet %v", at)
	}
	want := func(rates map[string]uint64) {
		t.Helper()
		v := m.fsm.store.view()
		if got := v.ratesOf("bob"); !maps.Equal(got, rates) {
			t.Errorf("bob's rates: %v, want %v", got, rates)
		}
		told := make(map[string]uint64)
		for w, list := range boundsAt(v) {
			for _, b := range list {
				if told[w] = b.GetEventsPerS(); b.GetOwner() != "bob" {
					t.Errorf("%s is bounded at %s", b.GetOwner(), w)
				}
			}
		}
		if !maps.Equal(told, rates) {
			t.Errorf("told: %v, want %v", told, rates)
		}
	}
	m.want("", &controlv1.SetQuota{User: "bob", Limits: []*labv1.QuotaLimit{atMost(eventRate, 7000)}})
	want(map[string]uint64{"w": 5000, "x": 1000, "y": 1000})
	m.want("", &controlv1.SetQuota{User: "bob", Limits: []*labv1.QuotaLimit{atMost(eventRate, 3)}})
	want(map[string]uint64{"w": 2, "x": 1, "y": 1})
	m.want("", &controlv1.SetQuota{User: "bob", Limits: []*labv1.QuotaLimit{usual(eventRate)}})
	want(map[string]uint64{})
}

// Workers are told what persons may use there with the lab and whenever that is changed.
func TestWorkersAreToldOfBounds(t *testing.T) {
	w := newFakeWorker()
	s := startServer(t, w, "")
	quotas := labv1.NewQuotaServiceClient(s.conn)
	s.createAs(as(t.Context(), "root", auth.Admin), "awaits a leader", "any")
	s.people("bob")
	root := as(t.Context(), "root", auth.Admin)
	n := 0
	set := func(l ...*labv1.QuotaLimit) {
		t.Helper()
		n++
		if _, err := quotas.SetQuota(root, &labv1.SetQuotaRequest{RequestId: fmt.Sprint("q", n), User: "bob", Limits: l}); err != nil {
			t.Fatal(err)
		}
	}
	told := func(want uint64) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			w.mu.Lock()
			got := w.bounds
			w.mu.Unlock()
			is := uint64(0)
			for _, b := range got.GetOwners() {
				is += b.GetEventsPerS()
			}
			if got.GetTerm() > 0 && is == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("told %v, want %d", got, want)
			}
		}
	}
	told(0)
	set(atMost(eventRate, 6000), atMost(connections, 5))
	bob := student(t, "bob")
	s.createAs(bob, "one", "x")
	w.mu.Lock()
	for _, lab := range w.labs {
		if r := lab.start; r.GetOwner() == "bob" && (r.GetConnectionsAtMost() != 5 || r.GetBounds().GetEventsPerS() != 6000) {
			t.Errorf("it was started with %v, %d", r.GetBounds(), r.GetConnectionsAtMost())
		}
	}
	w.mu.Unlock()
	told(6000)
	set(atMost(eventRate, 9000))
	told(9000)
	set(usual(eventRate))
	told(0)
}
