package orchestrator

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// Instructors set what students may have, and no more than they may have themselves; students see their own.
func TestWhoSetsAQuota(t *testing.T) {
	const labs = labv1.QuotaSubject_QUOTA_SUBJECT_LABS
	s := startServer(t, newFakeWorker(), "")
	quotas := labv1.NewQuotaServiceClient(s.conn)
	s.createAs(as(t.Context(), "root", auth.Admin), "awaits a leader", "any")
	s.people("bob", "carol")
	cmd := &controlv1.ImportPeople{People: []*controlv1.ImportPerson{{Name: "ivy", Role: auth.Instructor}, {Name: "root", Role: auth.Admin}}}
	if _, err := s.control.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_ImportPeople{ImportPeople: cmd}}); err != nil {
		t.Fatal(err)
	}
	bob, ivy, root := student(t, "bob"), as(t.Context(), "ivy", auth.Instructor), as(t.Context(), "root", auth.Admin)
	n := 0
	set := func(req *labv1.SetQuotaRequest) *labv1.SetQuotaRequest {
		n++
		req.RequestId = fmt.Sprint("q", n)
		return req
	}
	for _, c := range []struct {
		req    *labv1.SetQuotaRequest
		code   codes.Code
		reason string
	}{
		{&labv1.SetQuotaRequest{User: "ivy", Limits: []*labv1.QuotaLimit{atMost(labs, 1)}}, codes.PermissionDenied, "NOT_ALLOWED"},
		{&labv1.SetQuotaRequest{Role: auth.Instructor, Limits: []*labv1.QuotaLimit{atMost(labs, 1)}}, codes.PermissionDenied, "NOT_ALLOWED"},
		{&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{atMost(labs, 51)}}, codes.PermissionDenied, "NOT_ALLOWED"},
		{&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{{Subject: labs, Bound: &labv1.QuotaLimit_Unlimited{Unlimited: true}}}}, codes.PermissionDenied, "NOT_ALLOWED"},
		{&labv1.SetQuotaRequest{User: "dave", Limits: []*labv1.QuotaLimit{atMost(labs, 1)}}, codes.NotFound, "USER_NOT_FOUND"},
		{&labv1.SetQuotaRequest{Limits: []*labv1.QuotaLimit{atMost(labs, 1)}}, codes.InvalidArgument, "INVALID"},
		{&labv1.SetQuotaRequest{User: "bob", Role: auth.Student, Limits: []*labv1.QuotaLimit{atMost(labs, 1)}}, codes.InvalidArgument, "INVALID"},
		{&labv1.SetQuotaRequest{Role: 9, Limits: []*labv1.QuotaLimit{atMost(labs, 1)}}, codes.InvalidArgument, "INVALID"},
		{&labv1.SetQuotaRequest{User: "bob"}, codes.InvalidArgument, "INVALID"},
		{&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{{Subject: labs}}}, codes.InvalidArgument, "INVALID"},
		{&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{{Subject: labs, Bound: &labv1.QuotaLimit_Usual{}}}}, codes.InvalidArgument, "INVALID"},
		{&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{atMost(0, 1)}}, codes.InvalidArgument, "INVALID"},
		{&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{atMost(99, 1)}}, codes.InvalidArgument, "INVALID"},
		{&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{atMost(-1, 1)}}, codes.InvalidArgument, "INVALID"},
		{&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{atMost(labs, noLimit)}}, codes.InvalidArgument, "INVALID"},
		{&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{atMost(eventRate, 0)}}, codes.InvalidArgument, "INVALID"},
		{&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{atMost(connections, 0)}}, codes.InvalidArgument, "INVALID"},
		{&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{atMost(idleLifetime, 0)}}, codes.InvalidArgument, "INVALID"},
		{&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{atMost(labs, 1), atMost(labs, 2)}}, codes.InvalidArgument, "INVALID"},
	} {
		_, err := quotas.SetQuota(ivy, set(c.req))
		wantReason(t, err, c.code, c.reason)
	}
	req := set(&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{atMost(labs, 1)}})
	for range 2 { // sent again, it answers as the first did
		r, err := quotas.SetQuota(ivy, req)
		if err != nil || r.GetUses()[0].GetAtMost() != 1 || r.GetUses()[0].GetOrigin() != labv1.QuotaUse_ORIGIN_USER || len(r.GetOver()) > 0 {
			t.Fatal(r, err)
		}
	}
	for _, ask := range []*labv1.GetQuotaRequest{{User: "carol"}, {User: "nobody"}, {Role: auth.Student}} {
		_, err := quotas.GetQuota(bob, ask)
		wantReason(t, err, codes.PermissionDenied, "NOT_ALLOWED")
	}
	s.createAs(bob, "first", "x")
	if r, err := quotas.GetQuota(bob, &labv1.GetQuotaRequest{}); err != nil || r.GetUser() != "bob" || r.GetUses()[0].GetInUse() != 1 || len(r.GetUses()) != subjects-1 {
		t.Fatal(r, err)
	}
	if r, err := quotas.GetQuota(root, &labv1.GetQuotaRequest{}); err != nil || r.GetUses()[0].AtMost != nil {
		t.Fatal(r, err)
	}
	_, err := s.labs.CreateLab(bob, &labv1.CreateLabRequest{RequestId: "second", Spec: testSpec("y")})
	wantReason(t, err, codes.ResourceExhausted, "QUOTA")
	wantQuotaFailure(t, err, "labs", "bob has 1 labs, and may have 1")
	if r, err := quotas.SetQuota(root, set(&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{atMost(labs, 0)}})); err != nil || len(r.GetOver()) != 1 {
		t.Fatal(r, err)
	}
	// A lab that is too large is refused before a worker has to do with it.
	if _, err := quotas.SetQuota(root, set(&labv1.SetQuotaRequest{User: "bob", Limits: []*labv1.QuotaLimit{
		usual(labs), atMost(labv1.QuotaSubject_QUOTA_SUBJECT_NODES, 2)}})); err != nil {
		t.Fatal(err)
	}
	larger := testSpec("x")
	larger.Nodes = append(larger.Nodes, &labv1.NodeSpec{Name: "c"})
	_, err = s.labs.ApplyLab(bob, &labv1.ApplyLabRequest{RequestId: "larger", Spec: larger})
	wantReason(t, err, codes.ResourceExhausted, "QUOTA")
	wantQuotaFailure(t, err, "nodes", "bob has 2 nodes in labs and runs, and may have 2")
}

func wantQuotaFailure(t *testing.T, err error, subject, said string) {
	t.Helper()
	for _, d := range status.Convert(err).Details() {
		if q, ok := d.(*errdetails.QuotaFailure); ok && q.GetViolations()[0].GetSubject() == subject && strings.Contains(q.GetViolations()[0].GetDescription(), said) {
			return
		}
	}
	t.Errorf("%v: want a QuotaFailure of %s that says %q", status.Convert(err).Details(), subject, said)
}
