package orchestrator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

func repeatedContext(t *testing.T) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), repeatedHeader, "true")
}

// A request that was refused for good after it had been repeated stays refused: an attempt that was held back on its way does
// nothing to the lab that has the name when it comes, whoever leads then, at whatever server it comes.
func TestLateAttemptOfARefusedRequest(t *testing.T) {
	_, all := three(t)
	leader := leaderOf(t, all)
	first := others(all, leader)[0]
	_, refused := first.labs().DeleteLab(repeatedContext(t), &labv1.DeleteLabRequest{RequestId: "r1", Lab: "x"})
	wantReason(t, refused, codes.NotFound, "LAB_NOT_FOUND")
	if _, err := first.create("r2", "x"); err != nil {
		t.Fatal(err)
	}
	try := func(m *member) {
		t.Helper()
		_, err := m.labs().DeleteLab(t.Context(), &labv1.DeleteLabRequest{RequestId: "r1", Lab: "x"})
		if status.Code(err) == codes.Unavailable {
			eventually(t, "an answer", func() bool {
				_, err = m.labs().DeleteLab(t.Context(), &labv1.DeleteLabRequest{RequestId: "r1", Lab: "x"})
				return status.Code(err) != codes.Unavailable
			})
		}
		if !proto.Equal(status.Convert(err).Proto(), status.Convert(refused).Proto()) {
			t.Errorf("the attempt at %s came to %v, and the caller was told %v", m.address, err, refused)
		}
	}
	for _, m := range all {
		try(m)
	}
	leader.kill()
	rest := others(all, leader)
	leaderOf(t, rest)
	for _, m := range rest {
		try(m)
		if m.control.store.view().labNamed("", "x") == nil {
			t.Errorf("the lab is gone at %s", m.address)
		}
	}
}

// An apply that found nothing to do, after it had been repeated, does nothing when an attempt of it comes that was held back.
func TestLateAttemptOfAnApplyWithoutEffect(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	s.create("x")
	spec := func(delay int64) *labv1.LabSpec {
		spec := testSpec("x")
		spec.Links[0].Forward.DelayNs = delay
		return spec
	}
	apply := func(ctx context.Context, request string, delay int64, want labv1.ApplyLabResponse_Outcome) {
		t.Helper()
		resp, err := s.labs.ApplyLab(ctx, &labv1.ApplyLabRequest{RequestId: request, Spec: spec(delay)})
		if err != nil || resp.GetOutcome() != want {
			t.Fatalf("%s: %v, %v, want %v", request, resp.GetOutcome(), err, want)
		}
	}
	apply(t.Context(), "r1", 5, labv1.ApplyLabResponse_OUTCOME_CHANGED)
	apply(repeatedContext(t), "r2", 5, labv1.ApplyLabResponse_OUTCOME_UNCHANGED)
	apply(t.Context(), "r3", 6, labv1.ApplyLabResponse_OUTCOME_CHANGED)
	for range 2 {
		apply(t.Context(), "r2", 5, labv1.ApplyLabResponse_OUTCOME_UNCHANGED)
		apply(repeatedContext(t), "r2", 5, labv1.ApplyLabResponse_OUTCOME_UNCHANGED)
	}
	if got := delayOf(presentSpec(s.control.store.view().labNamed("", "x"))); got != 6 {
		t.Errorf("the link's delay is %d", got)
	}
}

// Where an earlier attempt is carried out while a later one is being refused, the caller is told what it came to.
func TestEarlierAttemptComesInBetween(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	lab := s.create("x")
	ctx := asRepeated(t.Context())
	req := &labv1.DeleteLabRequest{RequestId: "r1", Lab: "x"}
	attempts := 0
	resp, err := s.control.final(ctx, req, func(ctx context.Context, _ any) (any, error) {
		if attempts++; attempts > 1 {
			past, err := s.control.pastRequest(ctx, "r1", "delete_lab")
			return past.GetLabId(), err
		}
		_, err := s.control.propose(context.Background(), "r1", &controlv1.Command{Kind: &controlv1.Command_DeleteLab{
			DeleteLab: &controlv1.DeleteLab{LabId: lab.GetId()}}})
		return nil, errors.Join(err, noLab("x"))
	})
	if resp != lab.GetId() || err != nil || attempts != 2 {
		t.Errorf("%v, %v after %d attempts", resp, err, attempts)
	}
}

// What is not known to be refused for good is not made so: the next attempt may be carried out.
func TestOpenAnswersAreNotFinal(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	for _, open := range []error{notLeading(), labMoves(), storageError(io.ErrShortWrite), context.DeadlineExceeded, status.Error(codes.Unavailable, "away")} {
		before := s.control.node.raft.LastIndex()
		_, err := s.control.final(asRepeated(t.Context()), &labv1.DeleteLabRequest{RequestId: "r1"}, func(context.Context, any) (any, error) { return nil, open })
		if !errors.Is(err, open) || s.control.node.raft.LastIndex() != before {
			t.Errorf("%v: %v, and the log has grown", open, err)
		}
	}
	// Nor is what nobody has tried before: then there is nothing that could come late.
	_, err := s.labs.DeleteLab(t.Context(), &labv1.DeleteLabRequest{RequestId: "r1", Lab: "x"})
	wantReason(t, err, codes.NotFound, "LAB_NOT_FOUND")
	s.create("x")
	if _, err := s.labs.DeleteLab(t.Context(), &labv1.DeleteLabRequest{RequestId: "r1", Lab: "x"}); err != nil {
		t.Error(err)
	}
}

// A void request is refused as its caller was told, also by a state that comes from a snapshot, and for as long as requests are
// remembered. One that was carried out cannot be made void.
func TestVoidRequest(t *testing.T) {
	m := newMachine(t)
	m.want("", createLab("x"))
	told := &controlv1.Refusal{Reason: labv1.ErrorReason_ERROR_REASON_QUOTA, Code: uint32(codes.ResourceExhausted), Message: "no more", Subject: "labs"}
	m.want("r1", &controlv1.VoidRequest{Refusal: told})
	if err := m.fsm.Restore(io.NopCloser(bytes.NewReader(m.bytes()))); err != nil {
		t.Fatal(err)
	}
	res := m.apply("r1", &controlv1.DeleteLab{LabId: "x.1"}).(result)
	if res.refused == nil || res.refused.Reason != told.GetReason() || res.refused.code != codes.ResourceExhausted || res.refused.Message != "no more" ||
		res.refused.Subject != "labs" {
		t.Errorf("a void request came to %+v", res.refused)
	}
	done := m.want("r2", appendInput("x.1", 1, 1))
	if res := m.apply("r2", &controlv1.VoidRequest{Refusal: told}).(result); !res.repeated || !proto.Equal(res.outcome, done) {
		t.Errorf("a request that was carried out was made void: %+v", res)
	}
	m.index += keptRequests
	m.want("r1", &controlv1.DeleteLab{LabId: "x.1"})
}

// A refusal takes no more room than it may, whatever it says.
func TestKeptRefusalIsBounded(t *testing.T) {
	r, over := forGood(t.Context(), refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "%s", strings.Repeat("ä", 1<<20)))
	if !over || proto.Size(r) > maxRefusalText+100 || r.GetReason() != labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND || codes.Code(r.GetCode()) != codes.NotFound {
		t.Errorf("%t, %d bytes, %v, %d", over, proto.Size(r), r.GetReason(), r.GetCode())
	}
}

// A server that hands a call on again, after it has lost the leader with it, says so.
func TestCallThatIsHandedOnAgain(t *testing.T) {
	_, all := three(t)
	leader := leaderOf(t, all)
	follower := others(all, leader)[0]
	var marks []string
	answers := []error{refuse(labv1.ErrorReason_ERROR_REASON_NOT_LEADER, "").Status(), status.Error(codes.Unavailable, "the connection broke"), nil}
	here, err := follower.control.atLeader(t.Context(), true, func(ctx context.Context, _ grpc.ClientConnInterface) error {
		marks = append(marks, headerOf(ctx, repeatedHeader))
		return answers[min(len(marks), len(answers))-1]
	})
	if err != nil || here != nil || strings.Join(marks, ",") != ",,true" {
		t.Errorf("%v, %v, marked %q", here, err, marks)
	}
}

// An input that is given again is answered as it was first, also when its lab has been deleted since.
func TestRepeatedInputOfALabThatIsGone(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	s.create("x")
	first, err := s.transferIn("x", "r1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.labs.DeleteLab(t.Context(), &labv1.DeleteLabRequest{RequestId: "r2", Lab: "x"}); err != nil {
		t.Fatal(err)
	}
	if again, err := s.transferIn("x", "r1"); err != nil || !proto.Equal(again, first) {
		t.Errorf("%v, %v, and first %v", again, err, first)
	}
	_, err = s.transferIn("x", "r3")
	wantReason(t, err, codes.NotFound, "LAB_NOT_FOUND")
}

// workerThatSays answers what a lab is, or that it has none.
type workerThatSays struct {
	workerv1.WorkerServiceClient
	lab error
}

func (w workerThatSays) GetLab(context.Context, *workerv1.GetLabRequest, ...grpc.CallOption) (*workerv1.GetLabResponse, error) {
	return &workerv1.GetLabResponse{}, w.lab
}

// A lab that its worker has lost, or that has a newer epoch, is on its way back: who gives it an input is told to try again, and not
// that there is no lab.
func TestInputOfALabOnItsWay(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	lab := s.create("x")
	l := s.control.leading()
	none, aborted := status.Error(codes.NotFound, "this worker has no lab"), status.Error(codes.Aborted, "stale epoch")
	inLog := refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "the lab is gone, or was rebuilt meanwhile")
	lacks := status.Error(codes.NotFound, "no fault is in force")
	for _, c := range []struct {
		what   string
		labID  string
		worker workerThatSays
		err    error
		again  bool
	}{
		{"the worker has no lab", lab.GetId(), workerThatSays{lab: none}, none, true},
		{"a stamp of an older epoch", lab.GetId(), workerThatSays{}, aborted, true},
		{"a commit of an older epoch", lab.GetId(), workerThatSays{}, inLog, true},
		{"something that the lab lacks", lab.GetId(), workerThatSays{}, lacks, false},
		{"a full journal", lab.GetId(), workerThatSays{}, overQuota("inputs of a lab", maxInputs), false},
		{"a lab that was deleted", "gone", workerThatSays{lab: none}, inLog, false},
	} {
		err := l.moving(t.Context(), c.worker, newHosting(c.labID, 1), c.err)
		var refused *Refusal
		again := errors.As(err, &refused) && refused.Reason == labv1.ErrorReason_ERROR_REASON_LAB_STARTING
		if again != c.again || !again && !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}
