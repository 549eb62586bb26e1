package orchestrator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

func filledMachine(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		m.apply(fmt.Sprintf("r%d", i), randomCommand(r, i))
	}
	return m
}

func TestSnapshotRoundTrip(t *testing.T) {
	m := filledMachine(t)
	taken := m.bytes()
	fresh := newMachine(t)
	fresh.want("", createLab("forgotten"))
	_, watched := fresh.fsm.store.watchRun("x-1")
	if err := fresh.fsm.Restore(io.NopCloser(bytes.NewReader(taken))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fresh.bytes(), taken) {
		t.Fatal("the restored state is another one")
	}
	if err := watched.WatchCtx(t.Context()); err != nil {
		t.Fatalf("a watcher was not woken: %v", err)
	}
	// Both go on alike.
	fresh.index = m.index
	for _, machine := range []*machine{m, fresh} {
		r := rand.New(rand.NewPCG(3, 4))
		for i := range 200 {
			machine.apply(fmt.Sprintf("s%d", i), randomCommand(r, i))
		}
	}
	if !bytes.Equal(fresh.bytes(), m.bytes()) {
		t.Fatal("a restored machine goes on otherwise")
	}
}

// A snapshot holds every table, and of each object every field.
func TestSnapshotHoldsEverything(t *testing.T) {
	m := newMachine(t)
	m.want("r1", createLab("x"))
	input := appendInput("x.1", 1, 1)
	input.Entry.Input = linkSet("a--b", 7)
	first := m.want("r2", input)
	m.want("", mark("x.1", 1, 99))
	m.want("r3", &controlv1.CreateRun{Name: "x", Spec: testSpec("x"), Workers: []string{"w"}, EndNs: 5, Capture: true, LabYaml: []byte("yaml"),
		Manifest: []byte("manifest"), Journal: []*labv1.JournalEntry{{Index: 1, TNs: 2, Input: linkSet("a--b", 3)}}})
	m.want("", &controlv1.FoundCluster{ClusterId: "c"})
	m.want("", &controlv1.WorkerUp{Name: "w", WorkerId: "1", Instance: "i", Address: "a:1", MemoryBytes: 7, Cores: 2})
	m.want("r4", &controlv1.AddFile{Sha256: "ab", SizeBytes: 3, Owner: "alice"})
	m.want("r5", &controlv1.ShareLab{LabId: "x.1", Member: &labv1.LabMember{Person: "bob", Role: labv1.LabRole_LAB_ROLE_VIEWER, Nodes: []string{"a*"}}})
	m.want("r6", &controlv1.Bootstrap{Token: &controlv1.TokenState{Id: "first", Sha256: []byte("hash"), Label: "first",
		Scope: &labv1.TokenScope{Most: labv1.Permission_PERMISSION_ADMIN}}})
	m.want("", &controlv1.AppendAudit{Entries: []*controlv1.AuditState{{Person: "bob", Method: "LabService.DeleteLab", Result: "NOT_ALLOWED"}}, Unnoted: 3})
	m.want("", &controlv1.SetQuota{Role: labv1.Role_ROLE_STUDENT, Limits: []*labv1.QuotaLimit{atMost(labv1.QuotaSubject_QUOTA_SUBJECT_LABS, 3)}})
	m.want("r7", publish("lab1", 0, nil))
	m.want("r8", startOf("alice", "lab1.1", false))
	m.want("r9", submit("alice", "lab1.1"))
	if lab := m.fsm.store.view().lab("x.1"); lab.GetChangedSpec() == nil || lab.GetReachedNs() != 99 {
		t.Fatalf("the lab has not changed: %v", lab)
	}
	fresh := newMachine(t)
	if err := fresh.fsm.Restore(io.NopCloser(bytes.NewReader(m.bytes()))); err != nil {
		t.Fatal(err)
	}
	for name := range schema().Tables {
		was, is := objects(m, name), objects(fresh, name)
		if len(was) == 0 {
			t.Errorf("the test puts nothing into table %s", name)
		}
		if !slices.EqualFunc(was, is, proto.Equal) {
			t.Errorf("table %s: %v, restored %v", name, was, is)
		}
	}
	fresh.index = m.index
	if res, _ := fresh.apply("r2", input).(result); !res.repeated || !proto.Equal(res.outcome, first) {
		t.Errorf("a request that was carried out before the snapshot: %+v", res)
	}
}

func objects(m *machine, table string) (list []proto.Message) {
	it := m.fsm.store.view().list(table, "id")
	for obj := it.Next(); obj != nil; obj = it.Next() {
		switch o := obj.(type) {
		case *journalRow:
			for _, in := range o.inputs {
				list = append(list, in)
			}
		case *requestRow:
			for _, r := range o.list {
				list = append(list, r)
			}
		default:
			list = append(list, obj.(proto.Message))
		}
	}
	return list
}

// A damaged snapshot is refused as a whole, and the state stays as it was.
func TestDamagedSnapshot(t *testing.T) {
	taken := filledMachine(t).bytes()
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "cut short", nil},
		{"cut in the middle", "cut short", taken[:len(taken)/2]},
		{"cut before its end", "cut short", taken[:len(taken)-3]},
		{"endless length", "cut short", append(bytes.Clone(taken[:8]), 0xff, 0xff, 0xff, 0xff, 0x7f)},
		{"a bit flipped", "cut short or damaged", flipped(taken)},
		{"longer", "goes on behind its end", append(bytes.Clone(taken), 0)},
		{"newer", "a newer labd has written it", newerSnapshot(t)},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.want("", createLab("kept"))
			err := m.fsm.Restore(io.NopCloser(bytes.NewReader(c.data)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if m.fsm.store.view().labNamed("", "kept") == nil {
				t.Fatal("the state was touched")
			}
		})
	}
	if _, err := readSnapshot(bytes.NewReader(taken[:100])); !errors.Is(err, errSnapshotCut) {
		t.Fatalf("not typed: %v", err)
	}
}

// newerSnapshot is one that a later version has written.
func newerSnapshot(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	header := &controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Header{Header: &controlv1.SnapshotHeader{Version: snapshotVersion + 1}}}
	if _, err := protodelim.MarshalTo(&b, header); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// flipped is a snapshot of which one bit of a request id has changed: every record of it can still be read.
func flipped(taken []byte) []byte {
	damaged := bytes.Clone(taken)
	damaged[bytes.Index(damaged, []byte("r2"))+1] ^= 1
	return damaged
}
