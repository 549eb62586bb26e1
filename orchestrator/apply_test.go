package orchestrator

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"labd.dev/internal/runbook"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// machine is a state machine that a test feeds by hand.
type machine struct {
	t     *testing.T
	fsm   *fsm
	index uint64
	now   int64 // by how much its commands' wall clock is later

	deaths int // of workers' processes
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	store, err := newStore()
	if err != nil {
		t.Fatal(err)
	}
	return &machine{t: t, fsm: newFSM(store)}
}

func (m *machine) apply(requestID string, kind any) any {
	m.t.Helper()
	cmd := command(m.t, requestID, kind)
	cmd.NowUnixNs += m.now
	data, err := proto.Marshal(cmd)
	if err != nil {
		m.t.Fatal(err)
	}
	m.index++
	return m.fsm.Apply(&raft.Log{Index: m.index, Data: data})
}

// want applies a command that must be carried out.
func (m *machine) want(requestID string, kind any) *controlv1.RequestOutcome {
	m.t.Helper()
	res, ok := m.apply(requestID, kind).(result)
	if !ok || res.refused != nil {
		m.t.Fatalf("%T: %v", kind, res.refused)
	}
	return res.outcome
}

// wantRefusal applies a command that must change nothing.
func (m *machine) wantRefusal(reason labv1.ErrorReason, requestID string, kind any) {
	m.t.Helper()
	before := m.bytes()
	res, ok := m.apply(requestID, kind).(result)
	if !ok || res.refused == nil || res.refused.Reason != reason {
		m.t.Fatalf("%T: got %+v, want %v", kind, res, reason)
	}
	if !bytes.Equal(before, m.bytes()) {
		m.t.Fatalf("%T was refused and yet changed the state", kind)
	}
}

// bytes is the whole state.
func (m *machine) bytes() []byte {
	m.t.Helper()
	var b bytes.Buffer
	if err := writeSnapshot(&b, m.fsm.store.view()); err != nil {
		m.t.Fatal(err)
	}
	return b.Bytes()
}

// command wraps a kind of command, which is known by its message.
func command(t *testing.T, requestID string, kind any) *controlv1.Command {
	t.Helper()
	cmd := &controlv1.Command{RequestId: requestID, NowUnixNs: 1_000}
	m, into := kind.(proto.Message).ProtoReflect(), cmd.ProtoReflect()
	kinds := into.Descriptor().Oneofs().ByName("kind").Fields()
	for i := range kinds.Len() {
		if kinds.Get(i).Message() == m.Descriptor() {
			into.Set(kinds.Get(i), protoreflect.ValueOfMessage(m))
			return cmd
		}
	}
	t.Fatalf("command of kind %T", kind)
	return cmd
}

func mark(lab string, epoch uint64, t int64) *controlv1.MarkReached {
	return &controlv1.MarkReached{Marks: []*controlv1.LabMark{{LabId: lab, Epoch: epoch, TNs: t}}}
}

func createLab(name string) *controlv1.CreateLab {
	return &controlv1.CreateLab{LabId: name + ".1", Spec: testSpec(name), Workers: []string{"w"}}
}

func testSpec(name string) *labv1.LabSpec {
	return &labv1.LabSpec{Name: name, Seed: 1, Nodes: []*labv1.NodeSpec{{Name: "a"}, {Name: "b"}},
		Links: []*labv1.LinkSpec{{
			A:       &labv1.Endpoint{Node: "a", Interface: "eth0"},
			B:       &labv1.Endpoint{Node: "b", Interface: "eth0"},
			Forward: &labv1.DirectionSpec{DelayNs: 1_000_000},
			Reverse: &labv1.DirectionSpec{DelayNs: 1_000_000},
		}}}
}

func appendInput(lab string, epoch, index uint64) *controlv1.AppendInput {
	return &controlv1.AppendInput{LabId: lab, Epoch: epoch, Entry: &labv1.JournalEntry{Index: index, TNs: int64(index) * 10,
		Input: &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{Id: "t" + strconv.FormatUint(index, 10)}}}}}
}

func TestApplyLab(t *testing.T) {
	m := newMachine(t)
	if got := m.want("r1", createLab("x")); got.GetLabId() != "x.1" {
		t.Fatalf("lab id %q", got.GetLabId())
	}
	second := createLab("x")
	second.LabId = "x.2"
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAB_EXISTS, "r2", second)

	if got := m.want("r3", appendInput("x.1", 1, 1)); got.GetStamp().GetIndex() != 1 || got.GetStamp().GetTNs() != 10 || got.GetObjectId() != "t1" {
		t.Fatalf("outcome of an input: %v", got)
	}
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_WORKER, "r4", appendInput("x.1", 1, 3)) // a gap
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_WORKER, "r5", appendInput("x.1", 1, 1)) // a second first

	m.want("", &controlv1.AssignLab{LabId: "x.1", Epoch: 1, Workers: []string{"w"}})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "", &controlv1.AssignLab{LabId: "x.1", Epoch: 1, Workers: []string{"w"}})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "r6", appendInput("x.1", 1, 2)) // stamped under an old epoch
	m.want("r7", appendInput("x.1", 2, 2))

	m.want("", mark("x.1", 2, 500))
	m.want("", mark("x.1", 1, 900)) // under an old epoch
	m.want("", mark("x.1", 2, 400)) // lab time does not go back
	if got := m.fsm.store.view().lab("x.1"); got.GetReachedNs() != 500 || m.fsm.store.view().journaled("x.1") != 2 || got.GetEpoch() != 2 {
		t.Fatalf("lab %v", got)
	}

	m.want("r8", &controlv1.DeleteLab{LabId: "x.1"})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "r9", &controlv1.DeleteLab{LabId: "x.1"})
	if left := m.fsm.store.view().journals(); len(left) != 0 {
		t.Fatalf("inputs left of a deleted lab: %v", left)
	}
	m.want("r10", second)
}

func TestApplyRun(t *testing.T) {
	m := newMachine(t)
	run := &controlv1.CreateRun{Name: "d", Spec: testSpec("d"), Journal: []*labv1.JournalEntry{{Index: 1}, {Index: 2}},
		LabYaml: []byte("name: d"), Manifest: []byte("{}"), Workers: []string{"w"}}
	if got := m.want("r1", run).GetLabId(); got != "d-1" {
		t.Fatalf("first run is %q", got)
	}
	if got := m.want("r2", run).GetLabId(); got != "d-2" {
		t.Fatalf("second run is %q", got)
	}
	m.want("r3", appendInput("d-1", 1, 3))
	m.want("", &controlv1.EndRun{RunId: "d-1", Result: &controlv1.RunResult{Progress: &labv1.LabProgress{NowNs: 7}}})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "r4", appendInput("d-1", 1, 4))
	m.want("", &controlv1.EndRun{RunId: "d-1", Result: &controlv1.RunResult{Progress: &labv1.LabProgress{NowNs: 8}}})
	got := m.fsm.store.view().run("d-1")
	if got.GetResult().GetProgress().GetNowNs() != 7 || got.GetEndedUnixNs() != 1_000 || m.fsm.store.view().journaled("d-1") != 3 || got.GetLabYaml() == nil {
		t.Fatalf("ended run %v", got)
	}
	m.want("r5", &controlv1.DeleteRun{RunId: "d-2"})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_RUN_NOT_FOUND, "r6", &controlv1.DeleteRun{RunId: "d-2"})
	if got := m.want("r7", run).GetLabId(); got != "d-3" { // a number is never used again
		t.Fatalf("third run is %q", got)
	}
}

func TestQuotas(t *testing.T) {
	m := newMachine(t)
	m.want("", &controlv1.AddFile{Sha256: "a", SizeBytes: maxFilesBytes - 1})
	m.want("", &controlv1.AddFile{Sha256: "a", SizeBytes: maxFilesBytes - 1}) // the same again takes no room
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_QUOTA, "", &controlv1.AddFile{Sha256: "b", SizeBytes: 2})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_QUOTA, "", &controlv1.AddFile{Sha256: "b", SizeBytes: 1<<63 + 5})
	m.want("", &controlv1.AddFile{Sha256: "b", SizeBytes: 1})

	for i := range maxLabs {
		m.want("", createLab(fmt.Sprintf("l%d", i)))
	}
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_QUOTA, "", createLab("more"))
	m.want("", &controlv1.DeleteLab{LabId: "l0.1"})
	m.want("", createLab("more"))
}

func TestRequestIsCarriedOutOnce(t *testing.T) {
	m := newMachine(t)
	m.want("r1", createLab("x"))
	first := m.want("r2", appendInput("x.1", 1, 1))
	state := m.bytes()
	res, _ := m.apply("r2", appendInput("x.1", 1, 2)).(result)
	if !res.repeated || !proto.Equal(res.outcome, first) {
		t.Fatalf("a repeated request: %+v, want %v", res, first)
	}
	if !bytes.Equal(state, m.bytes()) {
		t.Fatal("a repeated request changed the state")
	}
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED, "r2", &controlv1.DeleteLab{LabId: "x.1"})

	m.index += keptRequests
	m.want("r3", createLab("y")) // the log has gone on: r1 and r2 are forgotten
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAB_EXISTS, "r1", createLab("x"))
	if past := m.fsm.store.view().request("r3", m.index); past == nil {
		t.Fatal("r3 is forgotten")
	}
}

// Going on without a command that a newer version wrote would let this server's state differ from the others'.
func TestUnknownCommandHalts(t *testing.T) {
	for name, data := range map[string][]byte{
		"unknown kind":  protowire.AppendBytes(protowire.AppendTag(nil, 999, protowire.BytesType), []byte("x")),
		"no kind":       {},
		"no proto":      {0xff, 0xff},
		"unknown field": protowire.AppendVarint(protowire.AppendTag(mustMarshal(t, command(t, "", createLab("z"))), 999, protowire.VarintType), 1),
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.want("", createLab("x"))
			before := m.bytes()
			err, ok := m.fsm.Apply(&raft.Log{Index: 2, Data: data}).(error)
			if !ok {
				t.Fatalf("applied: %v", err)
			}
			if name != "no proto" {
				runbook.Says(t, "a newer labd wrote into the log", err.Error())
			}
			select {
			case <-m.fsm.halted:
			default:
				t.Fatal("it goes on")
			}
			if _, ok := m.apply("", createLab("y")).(error); !ok {
				t.Fatal("the next command was applied")
			}
			if !bytes.Equal(before, m.bytes()) {
				t.Fatal("the state changed")
			}
			if _, err := m.fsm.Snapshot(); err == nil {
				t.Fatal("a snapshot without the command was taken")
			}
		})
	}
}

func mustMarshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The same log makes the same state, byte for byte, on every server and at every replay.
func TestApplyIsDeterministic(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	one, two := newMachine(t), newMachine(t)
	for _, m := range []*machine{one, two} {
		r := rand.New(rand.NewPCG(seed, 1))
		for i := range 2_000 {
			m.apply(fmt.Sprintf("r%d", r.IntN(1_500)), randomCommand(r, i))
		}
	}
	if !bytes.Equal(one.bytes(), two.bytes()) {
		t.Fatal("two states from one log")
	}
}

func linkSet(link string, delay int64) *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_LinkSet{LinkSet: &labv1.LinkSet{Link: link, Patch: &labv1.DirectionPatch{DelayNs: &delay}}}}
}

func randomCommand(r *rand.Rand, i int) any {
	lab := fmt.Sprintf("l%d", r.IntN(10))
	id := lab + ".1"
	if r.IntN(2) == 0 {
		id = fmt.Sprintf("%s-%d", lab, 1+r.IntN(20))
	}
	worker := fmt.Sprintf("w%d", r.IntN(4))
	person := []string{"", "alice", "bob"}[r.IntN(3)]
	switch r.IntN(23) {
	case 19, 22:
		return &controlv1.ShareLab{LabId: id, Member: &labv1.LabMember{Person: person, Role: labv1.LabRole(1 + r.IntN(3)), Nodes: []string{lab}}}
	case 20:
		return &controlv1.UnshareLab{LabId: id, Person: person, Role: labv1.LabRole(r.IntN(4))}
	case 21:
		return &controlv1.CreateRun{Name: lab, Spec: testSpec(lab), Workers: []string{"w"}, Owner: person, RunId: fmt.Sprintf("%s.r%d", lab, i)}
	case 0:
		c := createLab(lab)
		c.Owner = person
		return c
	case 1:
		return &controlv1.DeleteLab{LabId: id}
	case 2:
		return &controlv1.AssignLab{LabId: id, Epoch: uint64(1 + r.IntN(3)), Workers: []string{"w"}}
	case 3, 4:
		return appendInput(id, uint64(1+r.IntN(3)), uint64(1+r.IntN(3)))
	case 5:
		return &controlv1.CreateRun{Name: lab, Spec: testSpec(lab), Workers: []string{"w"}}
	case 6:
		return &controlv1.EndRun{RunId: id, Result: &controlv1.RunResult{Progress: &labv1.LabProgress{NowNs: int64(i)}}}
	case 7:
		return &controlv1.DeleteRun{RunId: id}
	case 8:
		return mark(id, uint64(1+r.IntN(3)), r.Int64N(1_000))
	case 9, 10:
		c := appendInput(id, uint64(1+r.IntN(3)), uint64(1+r.IntN(3)))
		c.Entry.Input = linkSet("a--b", r.Int64N(1_000))
		return c
	case 11:
		return &controlv1.WorkerUp{Name: worker, WorkerId: strconv.Itoa(r.IntN(4)), Instance: strconv.Itoa(r.IntN(2)), Suspects: []string{id}}
	case 12:
		return &controlv1.WorkerDown{Name: worker, Instance: strconv.Itoa(r.IntN(2)), Reason: "killed", Suspects: []string{id}}
	case 17:
		return &controlv1.ReleaseLab{LabId: id}
	case 13:
		return &controlv1.DrainWorker{Name: worker, Drain: r.IntN(2) == 0, Force: r.IntN(2) == 0}
	case 14:
		return &controlv1.RemakeRun{RunId: id, Epoch: uint64(1 + r.IntN(3)), Workers: []string{worker}}
	case 16:
		return &controlv1.DropFiles{Sha256: []string{strconv.Itoa(r.IntN(50))}, Holdings: []*controlv1.FileHolding{{Owner: person, Sha256: strconv.Itoa(r.IntN(50))}}}
	case 15:
		return &controlv1.RunRemade{RunId: id, Epoch: uint64(1 + r.IntN(3))}
	}
	return &controlv1.AddFile{Sha256: strconv.Itoa(r.IntN(50)), SizeBytes: uint64(r.IntN(1 << 20)), Servers: []string{strconv.Itoa(r.IntN(3))}, Owner: person}
}

// What applying may use: no clock, no chance, no files, no goroutines.
func TestApplyImportsNothingImpure(t *testing.T) {
	allowed := map[string]bool{"cmp": true, "errors": true, "fmt": true, "math": true, "slices": true, "strings": true,
		"github.com/hashicorp/go-memdb":                   true,
		"google.golang.org/protobuf/proto":                true,
		"google.golang.org/protobuf/reflect/protoreflect": true,
		"labd.dev/internal/auth":                          true, // roles: the rest of it is not asked here
		"labd.dev/proto/control/v1":                       true,
		"labd.dev/proto/lab/v1":                           true,
	}
	for _, name := range []string{"apply.go", "apply_deaths.go", "apply_files.go", "apply_idle.go", "apply_quota.go", "apply_sharing.go", "apply_workers.go", "inputs.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range file.Imports {
			if path, _ := strconv.Unquote(imp.Path.Value); !allowed[path] {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}
