package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// createAs makes a lab of a person's.
func (s *server) createAs(ctx context.Context, id, name string) *labv1.Lab {
	s.t.Helper()
	resp, err := s.labs.CreateLab(ctx, &labv1.CreateLabRequest{RequestId: id, Spec: testSpec(name)})
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.GetLab()
}

func labNames(r *labv1.ListLabsResponse) (list []string) {
	for _, l := range r.GetLabs() {
		list = append(list, l.GetName())
	}
	return list
}

// What somebody else owns answers to the byte as what is not there.
func TestSomebodyElsesIsNotThere(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	alice, bob := student(t, "alice"), student(t, "bob")
	s.createAs(alice, "r", "arena")
	if _, err := s.runs.CreateRun(alice, &labv1.CreateRunRequest{RequestId: "run", Spec: testSpec("probe")}); err != nil {
		t.Fatal(err)
	}
	calls := map[string]func(ctx context.Context, name string) error{
		"get": func(ctx context.Context, name string) error {
			_, err := s.labs.GetLab(ctx, &labv1.GetLabRequest{Lab: name})
			return err
		},
		"delete": func(ctx context.Context, name string) error {
			_, err := s.labs.DeleteLab(ctx, &labv1.DeleteLabRequest{RequestId: "d", Lab: name})
			return err
		},
		"inputs": func(ctx context.Context, name string) error {
			_, err := s.labs.ListInputs(ctx, &labv1.ListInputsRequest{Lab: name})
			return err
		},
		"nodes": func(ctx context.Context, name string) error {
			_, err := s.nodes.ListNodes(ctx, &labv1.ListNodesRequest{Lab: name})
			return err
		},
		"apply": func(ctx context.Context, name string) error {
			_, err := s.labs.ApplyLab(ctx, &labv1.ApplyLabRequest{RequestId: "a", Lab: name, Spec: testSpec("arena")})
			return err
		},
		"fault": func(ctx context.Context, name string) error {
			_, err := s.faults.CreateFault(ctx, &labv1.CreateFaultRequest{RequestId: "f", Lab: name, Fault: &labv1.Fault{Node: "a", Effect: &labv1.Fault_Crash{}}})
			return err
		},
		"watch": func(ctx context.Context, name string) error {
			stream, err := s.watches.WatchStatus(ctx, &labv1.WatchStatusRequest{Lab: name, Kind: labv1.StatusKind_STATUS_KIND_NODES})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"run": func(ctx context.Context, name string) error {
			_, err := s.runs.GetRun(ctx, &labv1.GetRunRequest{Run: name + "-1"})
			return err
		},
		"delrun": func(ctx context.Context, name string) error {
			_, err := s.runs.DeleteRun(ctx, &labv1.DeleteRunRequest{RequestId: "dr", Run: name + "-1"})
			return err
		},
	}
	for what, call := range calls {
		there, missing := "alice/arena", "alice/other"
		if what == "run" || what == "delrun" {
			there = "alice/probe"
		}
		is, isNot := status.Convert(call(bob, there)).Proto(), status.Convert(call(bob, missing)).Proto()
		if is.GetCode() != int32(codes.NotFound) {
			t.Errorf("%s of somebody else's: %v", what, is)
		}
		got, want := fmt.Sprint(is), fmt.Sprint(isNot)
		if replaced(got, there) != replaced(want, missing) {
			t.Errorf("%s: somebody else's: %s\nwhat is not there: %s", what, got, want)
		}
	}
	if r, err := s.labs.ListLabs(bob, &labv1.ListLabsRequest{}); err != nil || len(r.GetLabs()) != 0 {
		t.Errorf("bob lists %v, %v", labNames(r), err)
	}
	if r, err := s.runs.ListRuns(bob, &labv1.ListRunsRequest{}); err != nil || len(r.GetRuns()) != 0 {
		t.Errorf("bob lists runs %v, %v", r, err)
	}
	if _, err := s.labs.GetLab(bob, &labv1.GetLabRequest{}); status.Code(err) != codes.NotFound {
		t.Errorf("the only lab: %v", err)
	}
}

// replaced is a text with every occurrence of a name taken out.
func replaced(text, name string) string {
	out := []byte(text)
	for i := 0; i+len(name) <= len(out); i++ {
		if string(out[i:i+len(name)]) == name {
			out = append(out[:i], out[i+len(name):]...)
		}
	}
	return string(out)
}

// Names are each owner's own, and what runs are called tells nothing of other people's.
func TestNamesAreTheOwners(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	alice, bob, admin := student(t, "alice"), student(t, "bob"), as(t.Context(), "root", auth.Admin)
	first, second := s.createAs(alice, "r", "x"), s.createAs(bob, "r", "x")
	if first.GetId() == second.GetId() || first.GetOwner() != "alice" || second.GetOwner() != "bob" || second.GetName() != "x" {
		t.Fatalf("two labs x: %v and %v", first, second)
	}
	for _, c := range []struct {
		ctx  context.Context
		want []string
	}{{alice, []string{"x"}}, {bob, []string{"x"}}, {admin, []string{"alice/x", "bob/x"}}, {t.Context(), []string{"alice/x", "bob/x"}}} {
		if r, err := s.labs.ListLabs(c.ctx, &labv1.ListLabsRequest{}); err != nil || !slices.Equal(labNames(r), c.want) {
			t.Errorf("lists %v, want %v (%v)", labNames(r), c.want, err)
		}
	}
	for i := range 3 {
		for ctx, want := range map[context.Context]string{alice: fmt.Sprint("e-", i+1), bob: fmt.Sprint("e-", i+1)} {
			r, err := s.runs.CreateRun(ctx, &labv1.CreateRunRequest{RequestId: fmt.Sprint("run", i), Name: "e", Spec: testSpec("x")})
			if err != nil || r.GetRun().GetId() != want {
				t.Fatalf("run %d: %v, %v, want %s", i, r.GetRun().GetId(), err, want)
			}
		}
	}
	r, err := s.runs.GetRun(admin, &labv1.GetRunRequest{Run: "bob/e-2"})
	if err != nil || r.GetRun().GetOwner() != "bob" || r.GetRun().GetId() != "bob/e-2" {
		t.Fatalf("bob's second: %v, %v", r, err)
	}
	for _, wrong := range []string{"bob/f-2", "bob/e-02", "bob/e-2 ", "bob/e-", "bob/2", "e-2"} {
		if _, err := s.runs.GetRun(admin, &labv1.GetRunRequest{Run: wrong}); status.Code(err) != codes.NotFound {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// What was made before anybody was asked who they are stays what it was, and is an administrator's to reach.
func TestNobodysLabsStay(t *testing.T) {
	dir := t.TempDir()
	worker := newFakeWorker()
	s := startServer(t, worker, dir)
	s.create("old")
	if r, err := s.runs.CreateRun(t.Context(), &labv1.CreateRunRequest{RequestId: "r", Spec: testSpec("old")}); err != nil || r.GetRun().GetId() != "old-1" {
		t.Fatalf("%v, %v", r, err)
	}
	s.stop()
	s = startServer(t, worker, dir)
	if _, err := s.labs.GetLab(t.Context(), &labv1.GetLabRequest{Lab: "old"}); err != nil {
		t.Fatal(err)
	}
	admin := as(t.Context(), "root", auth.Admin)
	if r, err := s.labs.GetLab(admin, &labv1.GetLabRequest{Lab: "/old"}); err != nil || r.GetLab().GetName() != "/old" {
		t.Fatalf("%v, %v", r.GetLab().GetName(), err)
	}
	if _, err := s.runs.GetRun(admin, &labv1.GetRunRequest{Run: "/old-1"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"old", "/old"} {
		_, err := s.labs.GetLab(student(t, "alice"), &labv1.GetLabRequest{Lab: name})
		wantReason(t, err, codes.NotFound, "LAB_NOT_FOUND")
	}
}

// Nobody learns what others have uploaded, nobody uses it, and each one's uploads count for themselves.
func TestFilesAreTheOwners(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	alice, bob := student(t, "alice"), student(t, "bob")
	raw := sha256.Sum256([]byte("content"))
	sum := hex.EncodeToString(raw[:])
	upload := func(ctx context.Context) {
		t.Helper()
		stream, err := s.files.UploadFile(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&labv1.UploadFileRequest{Sha256: sum, SizeBytes: 7, Data: []byte("content")}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.CloseAndRecv(); err != nil {
			t.Fatal(err)
		}
	}
	missing := func(ctx context.Context) bool {
		t.Helper()
		r, err := s.files.MissingFiles(ctx, &labv1.MissingFilesRequest{Sha256: []string{sum}})
		if err != nil {
			t.Fatal(err)
		}
		return len(r.GetSha256()) == 1
	}
	upload(alice)
	if missing(alice) || !missing(bob) {
		t.Fatalf("missing: alice %v, bob %v", missing(alice), missing(bob))
	}
	_, err := s.labs.CreateLab(bob, &labv1.CreateLabRequest{RequestId: "b", Spec: serving("x", sum)})
	wantReason(t, err, codes.FailedPrecondition, "FILE_MISSING")
	if _, err := s.labs.CreateLab(alice, &labv1.CreateLabRequest{RequestId: "a", Spec: serving("x", sum)}); err != nil {
		t.Fatal(err)
	}
	upload(bob)
	v := s.control.store.view()
	for _, c := range []string{"files/alice", "files/bob", "files"} {
		if n := v.counter(c); n != 1 {
			t.Errorf("counter %s is %d", c, n)
		}
	}
	// Bob's is named by nothing of bob's; the content stays, as alice's lab names it.
	m := &controlv1.DropFiles{Sha256: []string{sum}, Holdings: []*controlv1.FileHolding{{Owner: "bob", Sha256: sum}, {Owner: "alice", Sha256: sum}}}
	if _, err := s.control.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_DropFiles{DropFiles: m}}); err != nil {
		t.Fatal(err)
	}
	if missing(alice) || !missing(bob) || s.control.store.view().file(sum) == nil || s.control.store.view().counter("file_bytes/bob") != 0 {
		t.Errorf("after letting go: alice %v, bob %v", missing(alice), missing(bob))
	}
}

// Two people may choose the same request id; nobody hears what came of another's.
func TestRequestIDsAreTheCallers(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	s.createAs(student(t, "alice"), "same", "x")
	lab := s.createAs(student(t, "bob"), "same", "y")
	if lab.GetName() != "y" || lab.GetOwner() != "bob" {
		t.Fatalf("bob's request came to %v", lab)
	}
}

// An input is known by who gave it and when, and its journal at the worker holds nothing of that.
func TestInputsHaveAuthors(t *testing.T) {
	worker := newFakeWorker()
	s := startServer(t, worker, "")
	alice := student(t, "alice")
	s.createAs(alice, "r", "x")
	req := &labv1.CreateTransferRequest{RequestId: "t", Kind: &labv1.CreateTransferRequest_Transfer{
		Transfer: &labv1.Transfer{From: "a", To: "b", Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 1}}}}
	if _, err := s.moves.CreateTransfer(alice, req); err != nil {
		t.Fatal(err)
	}
	r, err := s.labs.ListInputs(alice, &labv1.ListInputsRequest{})
	if err != nil || len(r.GetAuthors()) != 1 || r.GetAuthors()[0].GetBy() != "alice" || r.GetAuthors()[0].GetAt() == nil || r.GetAuthors()[0].GetIndex() != 1 {
		t.Fatalf("authors %v, %v", r.GetAuthors(), err)
	}
	if applied := worker.only(t).applied; !proto.Equal(applied[0], r.GetEntries()[0]) || bytesHold(applied[0], "alice") {
		t.Errorf("the worker has journaled %v", applied[0])
	}
}

func bytesHold(m proto.Message, text string) bool {
	b, err := proto.Marshal(m)
	return err != nil || replaced(string(b), text) != string(b)
}

// What a server answers from its own state, without the leader, is for the same people.
func TestStaleAnswersAreForOwners(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	s.createAs(student(t, "alice"), "r", "x")
	ask := func(person string, req proto.Message, method string) (any, error) {
		return s.control.stale(auth.WithCaller(t.Context(), auth.Caller{Person: person, Role: auth.Student}), method, req)
	}
	get, list := labv1.LabService_GetLab_FullMethodName, labv1.LabService_ListLabs_FullMethodName
	if r, err := ask("alice", &labv1.GetLabRequest{Lab: "x"}, get); err != nil || r.(*labv1.GetLabResponse).GetLab().GetName() != "x" {
		t.Errorf("alice: %v, %v", r, err)
	}
	if _, err := ask("bob", &labv1.GetLabRequest{Lab: "alice/x"}, get); err == nil || err.Error() != noLab("alice/x").Error() {
		t.Errorf("bob: %v", err)
	}
	if _, err := ask("bob", &labv1.ListInputsRequest{Lab: "alice/x"}, labv1.LabService_ListInputs_FullMethodName); err == nil {
		t.Error("bob reads the journal")
	}
	if r, err := ask("bob", &labv1.ListLabsRequest{}, list); err != nil || len(r.(*labv1.ListLabsResponse).GetLabs()) != 0 {
		t.Errorf("bob lists %v, %v", r, err)
	}
}
