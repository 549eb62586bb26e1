package worker

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

func exists(id, event, where string) *labv1.Check {
	return &labv1.Check{Id: id, Points: 1, Verb: &labv1.Check_Exists{Exists: &labv1.EventSelector{Event: event, Where: where}}}
}

func (b *bench) grade(req *workerv1.GradeLabRequest) *workerv1.GradeLabResponse {
	b.t.Helper()
	resp, err := b.GradeLab(b.t.Context(), req)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp
}

// What a lab is worth follows from its specification and its journal: not from what is recorded or paced, nor from who judges
// it. What happened after its end is not part of it.
func TestGradeFollowsFromTheJournal(t *testing.T) {
	b := newBench(t)
	spec := path()
	req := &workerv1.GradeLabRequest{
		Spec: spec, EndNs: 3000 * ms,
		Journal: journalOf(timed{10 * ms, transfer("t1", 200_000)}, timed{20 * ms, ping("")}, timed{4000 * ms, fault(down("r1--r2", 10*ms))}),
		Checks: []*labv1.Check{
			exists("opened", "tcp:state_updated", `new == "ESTABLISHED" and node == "client"`),
			exists("pinged", "icmp:received", ""),
			exists("down", "lab:fault_started", ""),
			{Id: "closed", Verb: &labv1.Check_StatePath{StatePath: &labv1.StatePath{Side: "initiator", States: []string{"SYN_SENT", "ESTABLISHED", "..."}}}},
		},
	}
	first := b.grade(req)
	for i, ok := range []bool{true, true, false, true} {
		if r := first.GetResults()[i]; r.GetOk() != ok {
			t.Errorf("%s: %v, %s", r.GetId(), r.GetOk(), r.GetGot())
		}
	}
	if down := first.GetResults()[2]; len(down.GetLook()) == 0 {
		t.Error("a check that failed does not say where to look")
	}
	again := proto.CloneOf(req)
	again.Spec.Clock, again.Spec.Pace, again.Spec.Placement = labv1.Clock_CLOCK_REAL, 0.001, &labv1.Placement{Loops: 2}
	again.Spec.Record, again.Spec.RetentionRecords = labv1.Record_RECORD_NONE, 5
	if second := newBench(t).grade(again); !proto.Equal(first, second) {
		t.Errorf("another worker comes to\n%v, not\n%v", second, first)
	}
	b.share.paced.Store(math.MaxInt64 / 2) // a lab has kept up at all times: this gives way to it
	if behind := b.grade(req); !proto.Equal(first, behind) || b.background.threads == 0 {
		t.Errorf("in the background, which has %d threads, it comes to\n%v, not\n%v", b.background.threads, behind, first)
	}
	again.Spec.Seed++
	if other := b.grade(again); bytes.Equal(other.GetTraceSha256(), first.GetTraceSha256()) {
		t.Error("another seed has the same trace")
	}
	if left, err := os.ReadDir(filepath.Join(b.root, replaysDir)); err != nil || len(left) != 0 {
		t.Errorf("%d directories are left, %v", len(left), err)
	}
}

// What was read off one's own lab is right in it and wrong in a neighbour's.
func TestAnswerOfAnotherSeedIsWrong(t *testing.T) {
	b := newBench(t)
	req := &workerv1.GradeLabRequest{
		Spec: twoHosts(), EndNs: 2000 * ms, Journal: journalOf(timed{10 * ms, transfer("t1", 1000)}),
		Checks: []*labv1.Check{{Id: "iss", Verb: &labv1.Check_Answer{Answer: &labv1.AnswerCheck{
			Of: &labv1.EventSelector{Event: "tcp:connection_started", Where: `node == "client"`}, Field: "iss"}}}},
	}
	isn := func(seed uint64) string {
		req.Spec.Seed = seed
		req.Checks[0].Verb.(*labv1.Check_Answer).Answer.Field = ""
		req.Answers = map[string]string{"iss": "1"}
		r := b.grade(req).GetResults()[0]
		req.Checks[0].Verb.(*labv1.Check_Answer).Answer.Field = "iss"
		if !r.GetOk() {
			t.Fatalf("seed %d: %s", seed, r.GetGot())
		}
		shown := exists("shown", "tcp:connection_started", `node == "client"`)
		line := b.grade(&workerv1.GradeLabRequest{Spec: req.Spec, EndNs: req.EndNs, Journal: req.Journal, Checks: []*labv1.Check{shown}}).GetResults()[0].GetEvents()[0]
		_, after, _ := strings.Cut(line, `"iss":`)
		value, _, _ := strings.Cut(after, ",")
		return value
	}
	mine, theirs := isn(1), isn(2)
	for answer, ok := range map[string]bool{mine: true, theirs: false} {
		req.Spec.Seed, req.Answers = 1, map[string]string{"iss": answer}
		if r := b.grade(req).GetResults()[0]; r.GetOk() != ok {
			t.Errorf("answer %s: %v, %s", answer, r.GetOk(), r.GetGot())
		}
	}
}

func TestBadGrades(t *testing.T) {
	b := newBench(t)
	good := &workerv1.GradeLabRequest{Spec: twoHosts(), EndNs: 10 * ms, Checks: []*labv1.Check{exists("c", "link:dropped", "")}}
	for name, c := range map[string]struct {
		spoil func(*workerv1.GradeLabRequest)
		code  codes.Code
		text  string
	}{
		"unknown event":    {func(r *workerv1.GradeLabRequest) { r.Checks[0].GetExists().Event = "tcp:sent" }, codes.InvalidArgument, `checks[0].exists.event: no event is called "tcp:sent"`},
		"before the start": {func(r *workerv1.GradeLabRequest) { r.EndNs = -1 }, codes.InvalidArgument, "no lab time -1"},
		"a gap in the journal": {func(r *workerv1.GradeLabRequest) {
			r.Journal = journalOf(timed{ms, ping("")})
			r.Journal[0].Index = 2
		}, codes.InvalidArgument, "entry 2 where 1 should be"},
		"missing content": {func(r *workerv1.GradeLabRequest) {
			r.Spec.Nodes[0].Apps = []*labv1.AppSpec{{App: &labv1.AppSpec_Http{Http: &labv1.HttpServerApp{Port: 80,
				Files: []*labv1.FileRef{{Path: "a", Sha256: strings.Repeat("0", 64), SizeBytes: 1}}}}}}
		}, codes.FailedPrecondition, "has not been uploaded"},
	} {
		req := proto.CloneOf(good)
		c.spoil(req)
		_, err := b.GradeLab(t.Context(), req)
		if status.Code(err) != c.code || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %v %q", name, err, c.code, c.text)
		}
	}
	if resp := b.grade(good); resp.GetResults()[0].GetOk() || resp.GetError() != "" {
		t.Errorf("%v", resp)
	}
}

// A lab that an event storm ends is judged up to there.
func TestGradeOfALabThatFailed(t *testing.T) {
	b := newBench(t)
	spec := twoHosts()
	spec.Budget = &labv1.EventBudget{PerSecond: 1000}
	resp := b.grade(&workerv1.GradeLabRequest{Spec: spec, EndNs: 5000 * ms, Journal: journalOf(timed{10 * ms, transfer("t1", 50_000_000)}),
		Checks: []*labv1.Check{exists("opened", "tcp:state_updated", `new == "ESTABLISHED"`)}})
	if !resp.GetResults()[0].GetOk() || !strings.Contains(resp.GetError(), "events") {
		t.Errorf("%v", resp)
	}
}
