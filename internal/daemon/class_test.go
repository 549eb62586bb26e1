package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"labd.dev/client"
	"labd.dev/internal/auth"
	labv1 "labd.dev/proto/lab/v1"
)

// class is a school with an instructor, ivy, and students: ann and bob of section mon, who are for what it has published,
// and cat of section tue.
type class struct {
	*school
	ivy, ann, bob, cat *client.Client
	spec               *labv1.LabSpec
	due                time.Time
}

func newClass(t *testing.T) *class {
	c := &class{school: newSchool(t), spec: twoHosts("http", labv1.Clock_CLOCK_VIRTUAL), due: time.Now().Add(240 * time.Hour)}
	people := map[string]*client.Client{}
	req := &labv1.ImportUsersRequest{RequestId: client.RequestID()}
	for name, section := range map[string]string{"ivy": "", "ann": "mon", "bob": "mon", "cat": "tue"} {
		token, role := auth.NewToken(), auth.Student
		if section == "" {
			role = auth.Instructor
		}
		people[name] = c.as(token.Text())
		req.Users = append(req.Users, &labv1.NewUser{Name: name, Role: role, Section: section, Email: name + "@example.org",
			Token: &labv1.NewToken{Id: token.ID, Sha256: token.Hash()}})
	}
	if _, err := c.admin.Users.ImportUsers(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	c.ivy, c.ann, c.bob, c.cat = people["ivy"], people["ann"], people["bob"], people["cat"]
	path := filepath.Join(t.TempDir(), "index.html")
	if err := os.WriteFile(path, []byte("what only the instructor has"), 0o600); err != nil {
		t.Fatal(err)
	}
	page, err := client.HashFile(path, "index.html")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ivy.Upload(t.Context(), []*client.LocalFile{page}); err != nil {
		t.Fatal(err)
	}
	c.spec.Nodes[1].Apps = []*labv1.AppSpec{{App: &labv1.AppSpec_Http{Http: &labv1.HttpServerApp{Files: []*labv1.FileRef{page.Ref}}}}}
	c.publish(0)
	return c
}

// publish publishes lab1 for section mon in place of a revision.
func (c *class) publish(revision uint64) {
	c.t.Helper()
	exists := func(event, where string) *labv1.EventSelector {
		return &labv1.EventSelector{Event: event, Where: where}
	}
	_, err := c.ivy.Classes.PublishTemplate(c.t.Context(), &labv1.PublishTemplateRequest{RequestId: client.RequestID(), Name: "lab1", Spec: c.spec,
		IfRevision: revision, Sections: []string{"mon"}, DueAt: timestamppb.New(c.due), Checks: []*labv1.Check{
			{Id: "opened", Points: 1, Verb: &labv1.Check_Exists{Exists: exists("tcp:connection_started", `node == "a"`)}},
			{Id: "iss", Points: 2, Verb: &labv1.Check_Answer{Answer: &labv1.AnswerCheck{Of: exists("tcp:connection_started", `node == "a"`), Field: "iss"}}},
			{Id: "fetched", Points: 4, Hidden: true, Verb: &labv1.Check_Exists{Exists: exists("tcp:segment_received", `node == "a" and len > 0`)}},
		}})
	if err != nil {
		c.t.Fatal(err)
	}
}

// start starts somebody's lab1, fetches the page in it, and tells its seed and the answer that is right in it.
func (c *class) start(who *client.Client) (seed uint64, iss string) {
	c.t.Helper()
	r, err := who.Classes.StartInstance(c.t.Context(), &labv1.StartInstanceRequest{RequestId: client.RequestID(), Template: "lab1"})
	if err != nil {
		c.t.Fatal(err)
	}
	got, err := who.Transfers.CreateTransfer(c.t.Context(), &labv1.CreateTransferRequest{RequestId: client.RequestID(), Lab: "lab1",
		Kind: &labv1.CreateTransferRequest_HttpGet{HttpGet: &labv1.HttpGet{From: "a", Url: "http://b/index.html"}}})
	if err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, "the page is fetched", func() bool {
		now, err := who.Transfers.GetTransfer(c.t.Context(), &labv1.GetTransferRequest{Lab: "lab1", Transfer: got.GetId()})
		return err == nil && now.GetTransfer().GetState() == labv1.TransferState_TRANSFER_STATE_DONE
	})
	checked, err := who.Classes.CheckInstance(c.t.Context(), &labv1.CheckInstanceRequest{Template: "lab1"})
	if err != nil {
		c.t.Fatal(err)
	}
	found := regexp.MustCompile(`"iss": ?"?([0-9]+)`).FindStringSubmatch(fmt.Sprint(checked.GetResults()[0].GetEvents()))
	if found == nil || len(checked.GetResults()) != 2 || !checked.GetResults()[0].GetOk() {
		c.t.Fatalf("%v: want the visible checks, and the first sequence number", checked)
	}
	return r.GetInstance().GetSeed(), found[1]
}

// submit hands somebody's lab1 in, and waits until it is graded.
func (c *class) submit(who *client.Client, iss string) *labv1.Submission {
	c.t.Helper()
	r, err := who.Classes.SubmitInstance(c.t.Context(), &labv1.SubmitInstanceRequest{RequestId: client.RequestID(), Template: "lab1",
		Answers: map[string]string{"iss": iss}})
	if err != nil {
		c.t.Fatal(err)
	}
	return c.graded(who, labv1.Submission_STATE_VISIBLE, r.GetSubmission().GetAttempt())
}

func (c *class) graded(who *client.Client, state labv1.Submission_State, attempt uint32) (s *labv1.Submission) {
	c.t.Helper()
	eventually(c.t, "the submission is "+state.String(), func() bool {
		r, err := who.Classes.GetSubmission(c.t.Context(), &labv1.GetSubmissionRequest{Template: "lab1", Attempt: attempt})
		s = r.GetSubmission()
		return err == nil && s.GetState() == state
	})
	return s
}

// Each student has a lab of an own seed, with files that only the instructor has brought; an answer copied from a neighbour's
// is wrong; hidden checks are asked after the deadline, and what they came to is hidden again when that is put off.
func TestClassOfPeople(t *testing.T) {
	c := newClass(t)
	ann, annISS := c.start(c.ann)
	bob, bobISS := c.start(c.bob)
	if ann == bob || annISS == bobISS {
		t.Fatalf("two students have seeds %d and %d, sequence numbers %s and %s", ann, bob, annISS, bobISS)
	}
	if s := c.submit(c.ann, annISS); s.GetPoints() != 3 || len(s.GetResults()) != 2 || s.GetPerson() != "ann" {
		t.Errorf("the own answer: %v, want 3 points of the visible checks", s)
	}
	if s := c.submit(c.bob, annISS); s.GetPoints() != 1 || s.GetResults()[1].GetOk() {
		t.Errorf("a copied answer: %v, want 1 point", s)
	}
	due := c.due
	c.due = time.Now().Add(-time.Hour)
	c.publish(1)
	if _, err := c.ivy.Classes.RegradeTemplate(t.Context(), &labv1.RegradeTemplateRequest{RequestId: client.RequestID(), Template: "lab1"}); err != nil {
		t.Fatal(err)
	}
	if s := c.graded(c.ann, labv1.Submission_STATE_GRADED, 0); s.GetScore() != 7 || len(s.GetResults()) != 3 {
		t.Errorf("after the deadline: %v, want 7 points of all checks", s)
	}
	c.due = due
	c.publish(2)
	r, err := c.ann.Classes.GetSubmission(t.Context(), &labv1.GetSubmissionRequest{Template: "lab1"})
	if s := r.GetSubmission(); err != nil || s.GetState() != labv1.Submission_STATE_VISIBLE || len(s.GetResults()) != 2 || s.GetPoints() != 3 {
		t.Errorf("the deadline was put off: %v, %v, want the visible checks only", r, err)
	}
	r, err = c.ivy.Classes.GetSubmission(t.Context(), &labv1.GetSubmissionRequest{Template: "lab1", Person: "ann"})
	if err != nil || len(r.GetSubmission().GetResults()) != 3 {
		t.Errorf("for the instructor: %v, %v, want all checks", r, err)
	}
}

// What is another section's, a classmate's or hidden is not there.
func TestClassKeepsApart(t *testing.T) {
	c := newClass(t)
	c.start(c.ann)
	ctx, notFound := t.Context(), labv1.ErrorReason_ERROR_REASON_TEMPLATE_NOT_FOUND
	for who, n := range map[*client.Client]int{c.ann: 1, c.cat: 0, c.ivy: 1, c.admin: 1} {
		if r, err := who.Classes.ListTemplates(ctx, &labv1.ListTemplatesRequest{}); err != nil || len(r.GetTemplates()) != n {
			t.Errorf("%v, %v: want %d templates", r, err, n)
		}
	}
	_, err := c.cat.Classes.GetTemplate(ctx, &labv1.GetTemplateRequest{Template: "lab1"})
	wantReason(t, "another section looks at the template", err, notFound)
	_, err = c.cat.Classes.StartInstance(ctx, &labv1.StartInstanceRequest{RequestId: client.RequestID(), Template: "lab1"})
	wantReason(t, "another section starts it", err, notFound)
	for person, who := range map[string]*client.Client{"ann": c.bob, "nobody": c.bob, "bob": c.cat} {
		_, err = who.Classes.GetSubmission(ctx, &labv1.GetSubmissionRequest{Template: "lab1", Person: person})
		wantReason(t, "the submission of "+person, err, notFound)
		_, err = who.Classes.CheckInstance(ctx, &labv1.CheckInstanceRequest{Template: "lab1", Person: person})
		wantReason(t, "the lab of "+person, err, notFound)
	}
	_, err = c.bob.Classes.GetScores(ctx, &labv1.GetScoresRequest{Template: "lab1"})
	wantReason(t, "a student asks for the scores", err, labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED)
	for who, n := range map[*client.Client]int{c.ann: 2, c.ivy: 3} {
		if r, err := who.Classes.GetTemplate(ctx, &labv1.GetTemplateRequest{Template: "lab1"}); err != nil || len(r.GetTemplate().GetChecks()) != n {
			t.Errorf("%v, %v: want %d checks shown", r, err, n)
		}
	}

	share := func(who *client.Client, with string) error {
		_, err := who.Sharing.ShareLab(ctx, &labv1.ShareLabRequest{RequestId: client.RequestID(), Lab: "ann/lab1",
			Member: &labv1.LabMember{Person: with, Role: labv1.LabRole_LAB_ROLE_OPERATOR}})
		return err
	}
	_, err = c.bob.Labs.GetLab(ctx, &labv1.GetLabRequest{Lab: "ann/lab1"})
	wantReason(t, "a classmate looks", err, labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND)
	wantReason(t, "a student lets a classmate in", share(c.ann, "bob"), labv1.ErrorReason_ERROR_REASON_LAB_FIXED)
	looks, err := c.ivy.Labs.GetLab(ctx, &labv1.GetLabRequest{Lab: "ann/lab1"})
	if err != nil || len(looks.GetLab().GetSpec().GetNodes()) != 2 {
		t.Errorf("the instructor looks: %v, %v", looks, err)
	}
	if r, err := c.ivy.Labs.ListLabs(ctx, &labv1.ListLabsRequest{}); err != nil || len(r.GetLabs()) != 1 {
		t.Errorf("the instructor's list: %v, %v, want the student's lab", r, err)
	}
	act := func() error {
		_, err := c.ivy.Execs.CreateExec(ctx, &labv1.CreateExecRequest{RequestId: client.RequestID(), Lab: "ann/lab1",
			Command: &labv1.CreateExecRequest_Ping{Ping: &labv1.Ping{From: "a", To: "b", Count: 1}}})
		return err
	}
	wantReason(t, "the instructor acts in it", act(), labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED)
	wantReason(t, "the instructor lets somebody in", share(c.ivy, "bob"), labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED)
	if err := share(c.ann, "ivy"); err != nil {
		t.Error("a student lets the instructor in:", err)
	}
	if err := act(); err != nil {
		t.Error("the instructor acts where a student asks for help:", err)
	}
	private := twoHosts("private", labv1.Clock_CLOCK_VIRTUAL)
	apply(t, c.ann, private)
	_, err = c.ivy.Labs.GetLab(ctx, &labv1.GetLabRequest{Lab: "ann/private"})
	wantReason(t, "the instructor looks at what is not the class's", err, labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND)
}

// Marks stay of a student who is removed while the lab runs; labs stay when what they were started from is deleted.
func TestClassLosesPeopleAndTemplate(t *testing.T) {
	c := newClass(t)
	ctx := t.Context()
	_, iss := c.start(c.ann)
	c.start(c.bob)
	c.submit(c.ann, iss)
	if _, err := c.admin.Users.RemoveUser(ctx, &labv1.RemoveUserRequest{RequestId: client.RequestID(), User: "ann"}); err != nil {
		t.Fatal(err)
	}
	r, err := c.ivy.Classes.GetScores(ctx, &labv1.GetScoresRequest{Template: "lab1"})
	if err != nil || len(r.GetSubmissions()) != 2 {
		t.Fatalf("%v, %v: want ann, who is removed, and bob", r, err)
	}
	if s := r.GetSubmissions()[0]; s.GetPerson() != "ann" || s.GetSection() != "mon" || s.GetEmail() != "ann@example.org" || s.GetPoints() != 3 {
		t.Errorf("the marks of who was removed: %v", s)
	}
	if _, err := c.ivy.Labs.GetLab(ctx, &labv1.GetLabRequest{Lab: "ann/lab1"}); err != nil {
		t.Error("the lab of who was removed:", err)
	}
	remove := func(force bool) error {
		_, err := c.ivy.Classes.DeleteTemplate(ctx, &labv1.DeleteTemplateRequest{RequestId: client.RequestID(), Template: "lab1", Force: force})
		return err
	}
	wantReason(t, "a template with labs", remove(false), labv1.ErrorReason_ERROR_REASON_TEMPLATE_IN_USE)
	if err := remove(true); err != nil {
		t.Fatal(err)
	}
	_, err = c.bob.Classes.SubmitInstance(ctx, &labv1.SubmitInstanceRequest{RequestId: client.RequestID(), Template: "lab1"})
	wantReason(t, "a submission of what is deleted", err, labv1.ErrorReason_ERROR_REASON_TEMPLATE_NOT_FOUND)
	if l, err := c.bob.Labs.GetLab(ctx, &labv1.GetLabRequest{Lab: "lab1"}); err != nil || l.GetLab().GetState() != labv1.LabState_LAB_STATE_RUNNING {
		t.Errorf("the lab whose template is deleted: %v, %v", l, err)
	}
	_, err = c.ivy.Labs.GetLab(ctx, &labv1.GetLabRequest{Lab: "bob/lab1"})
	wantReason(t, "the instructor looks at what is the class's no more", err, labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND)
}

// Streams of a lab in which nothing happens end for who may not have it any more: for who teaches when the template is withdrawn or
// the role is taken away. The lab is then not there.
func TestStreamsEndWithTheReason(t *testing.T) {
	c := newClass(t)
	if _, err := c.ann.Classes.StartInstance(t.Context(), &labv1.StartInstanceRequest{RequestId: client.RequestID(), Template: "lab1"}); err != nil {
		t.Fatal(err)
	}
	const lab = "ann/lab1"
	eventually(t, "the lab runs", func() bool {
		r, err := c.ivy.Labs.GetLab(t.Context(), &labv1.GetLabRequest{Lab: lab})
		return err == nil && r.GetLab().GetState() == labv1.LabState_LAB_STATE_RUNNING
	})
	begin := func(who *client.Client) map[string]interface{ RecvMsg(any) error } {
		t.Helper()
		records, err1 := who.Traces.WatchRecords(t.Context(), &labv1.WatchRecordsRequest{Lab: lab})
		capture, err2 := who.Captures.WatchCapture(t.Context(), &labv1.WatchCaptureRequest{Lab: lab, Node: "a"})
		state, err3 := who.Watches.WatchStatus(t.Context(), &labv1.WatchStatusRequest{Lab: lab, Kind: labv1.StatusKind_STATUS_KIND_NODES})
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		if _, err := state.Recv(); err != nil { // it has begun
			t.Fatal(err)
		}
		return map[string]interface{ RecvMsg(any) error }{"records": records, "capture": capture, "status": state}
	}
	ended := func(why string, streams map[string]interface{ RecvMsg(any) error }, end func() error) {
		t.Helper()
		if err := end(); err != nil {
			t.Fatal(why, err)
		}
		for what, s := range streams {
			var err error
			for err == nil {
				err = s.RecvMsg(&emptypb.Empty{}) // whatever it is, its fields are not looked at
			}
			wantReason(t, why+": "+what, err, labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND)
		}
	}
	role := func(r labv1.Role) func() error {
		return func() error {
			_, err := c.admin.Users.UpdateUser(t.Context(), &labv1.UpdateUserRequest{RequestId: client.RequestID(), User: "ivy", Role: r})
			return err
		}
	}
	ended("the role is taken away", begin(c.ivy), role(auth.Student))
	if err := role(auth.Instructor)(); err != nil {
		t.Fatal(err)
	}
	ended("the template is withdrawn", begin(c.ivy), func() error {
		_, err := c.admin.Classes.DeleteTemplate(t.Context(), &labv1.DeleteTemplateRequest{RequestId: client.RequestID(), Template: "lab1", Force: true})
		return err
	})
}
