package orchestrator

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"labd.dev/experiment/checks"
	"labd.dev/internal/auth"
	"labd.dev/internal/sight"
	"labd.dev/internal/validate"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

const (
	// maxLateDays bounds how long after the deadline submissions are taken.
	maxLateDays = 365
	// maxSections bounds the sections of one template.
	maxSections = 100
	// maxLabYAML is what a run's lab file may have.
	maxTemplateYAML = 1 << 20
	// maxAnswers and maxAnswer bound what is handed in beside a lab.
	maxAnswers = 200
	maxAnswer  = 1 << 10
)

type classService struct {
	labv1.UnimplementedClassServiceServer
	c    *Controller
	labs *labService
}

// seedOf is the seed of a person's own lab: it can be told again by whoever knows the template's secret, and by nobody else.
func seedOf(secret []byte, person string) uint64 {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(person))
	// Not 0, and within what every reader of JSON takes for a whole number (2^53).
	return binary.BigEndian.Uint64(mac.Sum(nil))>>11 | 1
}

func (s *classService) PublishTemplate(ctx context.Context, req *labv1.PublishTemplateRequest) (*labv1.PublishTemplateResponse, error) {
	if err := checkPublication(req); err != nil {
		return nil, err
	}
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	spec := proto.CloneOf(req.GetSpec())
	spec.Name, spec.Seed = req.GetName(), 1
	t := &controlv1.TemplateState{
		Name: req.GetName(), Spec: spec, LabYaml: req.GetLabYaml(), Checks: req.GetChecks(), LateDays: req.GetLateDays(), LatePenalty: req.GetLatePenalty(),
		Sections: req.GetSections(), Secret: make([]byte, sha256.Size), Changes: req.GetChanges(),
	}
	rand.Read(t.Secret)
	if req.GetDueAt() != nil {
		t.DueUnixNs = req.GetDueAt().AsTime().UnixNano()
	}
	_, err := s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_PublishTemplate{
		PublishTemplate: &controlv1.PublishTemplate{Template: t, IfRevision: req.GetIfRevision()}}})
	if err != nil {
		return nil, err
	}
	v := s.c.store.view()
	return &labv1.PublishTemplateResponse{Template: describeTemplate(v, v.template(t.GetName()), true, false)}, nil
}

func checkPublication(req *labv1.PublishTemplateRequest) error {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return err
	}
	if !validate.RunName(req.GetName()) {
		return invalid("name", "%q is not a name of a lab: lower-case letters, digits and -, at most 63", req.GetName())
	}
	named := proto.CloneOf(req.GetSpec())
	if named != nil {
		named.Name = req.GetName()
	}
	if err := checkLab("spec", named); err != nil {
		return err
	}
	for _, v := range checks.Validate(req.GetChecks()) {
		return invalid("checks"+v.Path, "%s", v.Message)
	}
	switch hidden := len(req.GetChecks()) - len(visible(req.GetChecks())); {
	case len(req.GetChecks()) == 0:
		return invalid("checks", "there is none: what is a submission worth?")
	case req.GetDueAt() != nil && (req.GetDueAt().CheckValid() != nil || req.GetDueAt().AsTime().UnixNano() <= 0):
		return invalid("due_at", "it is no time")
	case hidden > 0 && req.GetDueAt() == nil:
		return invalid("due_at", "%d checks are hidden until the deadline, and there is none", hidden)
	case req.GetLateDays() > maxLateDays || req.GetLateDays() > 0 && req.GetDueAt() == nil:
		return invalid("late_days", "there may be %d, after a deadline", maxLateDays)
	case !(req.GetLatePenalty() >= 0 && req.GetLatePenalty() <= 1):
		return invalid("late_penalty", "must be from 0 to 1 a day")
	case len(req.GetSections()) > maxSections:
		return invalid("sections", "there may be %d", maxSections)
	case len(req.GetLabYaml()) > maxTemplateYAML:
		return invalid("lab_yaml", "must not be longer than %d bytes", maxTemplateYAML)
	}
	for _, section := range req.GetSections() {
		if wrong := auth.CheckSection(section); wrong != "" || section == "" {
			return invalid("sections", "%q: %s", section, cmp.Or(wrong, "it is empty"))
		}
	}
	return nil
}

// teaches tells whether a caller sees all of a class.
func teaches(caller auth.Caller) bool { return caller.Role >= labv1.Role_ROLE_INSTRUCTOR }

// isFor tells whether a template is for a caller.
func isFor(v view, t *controlv1.TemplateState, caller auth.Caller) bool {
	return t != nil && (teaches(caller) || len(t.GetSections()) == 0 || slices.Contains(t.GetSections(), v.person(caller.Person).GetSection()) ||
		v.instance(t.GetName(), caller.Person) != nil) // who was moved to another section keeps what was begun
}

// templateFor finds a template that is for the caller. Without a name it is the only one of which the caller has a lab.
func templateFor(v view, caller auth.Caller, name string) (*controlv1.TemplateState, error) {
	if name != "" {
		if t := v.template(name); isFor(v, t, caller) {
			return t, nil
		}
		return nil, noTemplate(name)
	}
	var found *controlv1.TemplateState
	for _, t := range v.templates() {
		if v.lab(v.instance(t.GetName(), caller.Person).GetLabId()) == nil {
			continue
		}
		if found != nil {
			return nil, refuse(labv1.ErrorReason_ERROR_REASON_SEVERAL_TEMPLATES, "you have several labs of the class: %s, %s, ...; say which", found.GetName(), t.GetName())
		}
		found = t
	}
	if found == nil {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_NOT_STARTED, "you have started no lab of the class: labctl class list, then labctl lab start NAME")
	}
	return found, nil
}

func describeTemplate(v view, t *controlv1.TemplateState, teaches, whole bool) *labv1.Template {
	d := &labv1.Template{
		Name: t.GetName(), Revision: t.GetRevision(), Publisher: t.GetPublisher(), PublishedAt: timestamppb.New(unixTime(t.GetPublishedUnixNs())),
		HiddenChecks: uint32(len(t.GetChecks()) - len(visible(t.GetChecks()))), LateDays: t.GetLateDays(), LatePenalty: t.GetLatePenalty(),
		Sections: t.GetSections(), Changes: t.GetChanges(), MaxPoints: maxPointsOf(t.GetChecks()),
	}
	if t.GetDueUnixNs() != 0 {
		d.DueAt = timestamppb.New(unixTime(t.GetDueUnixNs()))
	}
	if whole {
		d.Spec, d.Checks = t.GetSpec(), visible(t.GetChecks())
	}
	if teaches {
		d.Instances = uint32(len(v.instancesOf(t.GetName())))
		people := map[string]bool{}
		for _, s := range v.submissionsOf(t.GetName()) {
			people[s.GetPerson()] = true
		}
		d.Submissions = uint32(len(people))
		if whole {
			d.Checks = t.GetChecks()
		}
	}
	return d
}

func (s *classService) ListTemplates(ctx context.Context, _ *labv1.ListTemplatesRequest) (*labv1.ListTemplatesResponse, error) {
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	v, caller, resp := s.c.store.view(), auth.CallerOf(ctx), &labv1.ListTemplatesResponse{}
	for _, t := range v.templates() {
		if isFor(v, t, caller) {
			resp.Templates = append(resp.Templates, describeTemplate(v, t, teaches(caller), false))
		}
	}
	return resp, nil
}

func (s *classService) GetTemplate(ctx context.Context, req *labv1.GetTemplateRequest) (*labv1.GetTemplateResponse, error) {
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	v, caller := s.c.store.view(), auth.CallerOf(ctx)
	t := v.template(req.GetTemplate())
	if !isFor(v, t, caller) {
		return nil, noTemplate(req.GetTemplate())
	}
	return &labv1.GetTemplateResponse{Template: describeTemplate(v, t, teaches(caller), true)}, nil
}

func (s *classService) DeleteTemplate(ctx context.Context, req *labv1.DeleteTemplateRequest) (*labv1.DeleteTemplateResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	_, err := s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_DeleteTemplate{
		DeleteTemplate: &controlv1.DeleteTemplate{Name: req.GetTemplate(), Force: req.GetForce()}}})
	return &labv1.DeleteTemplateResponse{}, err
}

func (s *classService) StartInstance(ctx context.Context, req *labv1.StartInstanceRequest) (*labv1.StartInstanceResponse, error) {
	i, err := s.start(ctx, req.GetRequestId(), req.GetTemplate(), false)
	return &labv1.StartInstanceResponse{Instance: i}, err
}

func (s *classService) ResetInstance(ctx context.Context, req *labv1.ResetInstanceRequest) (*labv1.ResetInstanceResponse, error) {
	i, err := s.start(ctx, req.GetRequestId(), req.GetTemplate(), true)
	return &labv1.ResetInstanceResponse{Instance: i}, err
}

// start makes the caller's lab of a template, or makes it anew, and waits until it runs.
func (s *classService) start(ctx context.Context, requestID, name string, reset bool) (*labv1.Instance, error) {
	if err := checkRequestID(requestID); err != nil {
		return nil, err
	}
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	caller, v := auth.CallerOf(ctx), s.c.store.view()
	if name == "" && !reset {
		return nil, invalid("template", "which lab is missing; labctl class list tells what there is")
	}
	t, err := templateFor(v, caller, name)
	if err != nil {
		return nil, err
	}
	if i := v.instance(t.GetName(), caller.Person); v.lab(i.GetLabId()) != nil && !reset {
		lab := v.lab(i.GetLabId())
		l.idle.used(lab, caller, 0)
		if lab.GetStopped() {
			_, err = s.c.resume(ctx, l, lab)
		}
		return s.describe(ctx, l, i), err
	}
	spec := proto.CloneOf(t.GetSpec())
	spec.Seed = seedOf(t.GetSecret(), caller.Person)
	_, err = s.labs.place(ctx, l, spec, func(workers []string) (*controlv1.RequestOutcome, error) {
		res, err := s.c.propose(ctx, requestID, &controlv1.Command{Kind: &controlv1.Command_StartInstance{StartInstance: &controlv1.StartInstance{
			Template: t.GetName(), Revision: t.GetRevision(), Person: caller.Person, Reset_: reset,
			Lab: &controlv1.CreateLab{LabId: newLabID(spec.GetName()), Spec: spec, Workers: workers, Owner: caller.Person,
				ConnectionsAtMost: s.c.store.view().connectionsOf(caller.Person), Recorded: l.recorded(s.c.store.view(), caller.Person)}}}})
		return res.outcome, err
	})
	if err != nil {
		return nil, err
	}
	return s.describe(ctx, l, s.c.store.view().instance(t.GetName(), caller.Person)), nil
}

func (s *classService) describe(ctx context.Context, l *leadership, i *controlv1.InstanceState) *labv1.Instance {
	d := &labv1.Instance{Template: i.GetTemplate(), Person: i.GetPerson(), Seed: i.GetSeed(), Revision: i.GetRevision(),
		StartedAt: timestamppb.New(unixTime(i.GetStartedUnixNs())), Resets: i.GetResets()}
	if lab := s.c.store.view().lab(i.GetLabId()); lab != nil {
		d.Lab = s.labs.describe(ctx, l, &grant{caller: auth.CallerOf(ctx), lab: lab, place: sight.Whole()})
	}
	return d
}

// reached finds a person's lab of a template, and how far it is.
func (s *classService) reached(ctx context.Context, l *leadership, t *controlv1.TemplateState, person string) (*controlv1.LabState, int64, error) {
	v := s.c.store.view()
	i := v.instance(t.GetName(), person)
	lab := v.lab(i.GetLabId())
	if lab == nil {
		return nil, 0, notStarted(t.GetName(), i)
	}
	l.idle.used(lab, auth.CallerOf(ctx), 0)
	if lab.GetStopped() {
		return lab, lab.GetReachedNs(), nil
	}
	client, err := l.hosts(lab.GetId())
	if err != nil {
		return nil, 0, err
	}
	resp, err := client.GetLab(ctx, &workerv1.GetLabRequest{LabId: lab.GetId()})
	if err != nil {
		return nil, 0, s.c.movedMeanwhile(lab, err)
	}
	if resp.GetProgress().GetRecovering() {
		return nil, 0, refuse(labv1.ErrorReason_ERROR_REASON_LAB_STARTING, "the lab is being rebuilt from its journal; try again soon")
	}
	return lab, resp.GetProgress().GetNowNs(), nil
}

func (s *classService) CheckInstance(ctx context.Context, req *labv1.CheckInstanceRequest) (*labv1.CheckInstanceResponse, error) {
	if err := checkAnswers(req.GetAnswers()); err != nil {
		return nil, err
	}
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	caller := auth.CallerOf(ctx)
	if req.GetPerson() != "" && req.GetPerson() != caller.Person && !teaches(caller) {
		return nil, noTemplate(req.GetTemplate())
	}
	t, err := templateFor(s.c.store.view(), caller, req.GetTemplate())
	if err != nil {
		return nil, err
	}
	lab, end, err := s.reached(ctx, l, t, cmp.Or(req.GetPerson(), caller.Person))
	if err != nil {
		return nil, err
	}
	list := visible(t.GetChecks())
	judged, err := l.judge(ctx, lab.GetSpec(), s.c.store.view().inputs(lab.GetId(), 0, 0), end, list, req.GetAnswers())
	if err != nil {
		return nil, err
	}
	return &labv1.CheckInstanceResponse{Template: t.GetName(), Results: judged.GetResults(), HiddenChecks: uint32(len(t.GetChecks()) - len(list)),
		Points: pointsOf(judged.GetResults()), MaxPoints: maxPointsOf(list), EndNs: end, Error: judged.GetError()}, nil
}

func checkAnswers(answers map[string]string) error {
	if len(answers) > maxAnswers {
		return invalid("answers", "there may be %d", maxAnswers)
	}
	for id, text := range answers {
		if len(id) > maxAnswer || len(text) > maxAnswer {
			return invalid("answers", "none may be longer than %d bytes", maxAnswer)
		}
	}
	return nil
}

func (s *classService) SubmitInstance(ctx context.Context, req *labv1.SubmitInstanceRequest) (*labv1.SubmitInstanceResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	if err := checkAnswers(req.GetAnswers()); err != nil {
		return nil, err
	}
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	caller, v := auth.CallerOf(ctx), s.c.store.view()
	past, err := s.c.pastRequest(ctx, req.GetRequestId(), "submit_instance")
	if err != nil {
		return nil, err
	}
	if past == nil {
		t, err := templateFor(v, caller, req.GetTemplate())
		if err != nil {
			return nil, err
		}
		lab, end, err := s.reached(ctx, l, t, caller.Person)
		if err != nil {
			return nil, err
		}
		res, err := s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_SubmitInstance{SubmitInstance: &controlv1.SubmitInstance{
			Template: t.GetName(), Person: caller.Person, LabId: lab.GetId(), EndNs: end, Answers: req.GetAnswers()}}})
		if err != nil {
			return nil, err
		}
		past = res.outcome
		l.gradeSoon()
	}
	d, err := s.submission(caller, past.GetObjectId(), caller.Person, past.GetAttempt())
	return &labv1.SubmitInstanceResponse{Submission: d}, err
}

// submission describes a person's submission to a caller: the one so numbered, or with 0 the one that counts.
func (s *classService) submission(caller auth.Caller, template, person string, attempt uint32) (*labv1.Submission, error) {
	v := s.c.store.view()
	t := v.template(template)
	if t == nil {
		return nil, noTemplate(template)
	}
	list := v.submissionsBy(template, person)
	found := counting(t, list)
	if attempt != 0 {
		found = nil
		for _, s := range list {
			if s.GetAttempt() == attempt {
				found = s
			}
		}
	}
	switch {
	case found != nil && !teaches(caller) && !pastDue(t, s.c.conf.Now().UnixNano()):
		return describeSubmission(v, t, untilDue(t, found)), nil
	case found != nil:
		return describeSubmission(v, t, found), nil
	case attempt != 0:
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_NOT_SUBMITTED, "submission %d of %q is not kept: a later one has taken its place", attempt, template)
	}
	return nil, refuse(labv1.ErrorReason_ERROR_REASON_NOT_SUBMITTED, "nothing was submitted of %q: labctl submit %[1]s", template)
}

func (s *classService) GetSubmission(ctx context.Context, req *labv1.GetSubmissionRequest) (*labv1.GetSubmissionResponse, error) {
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	caller, v := auth.CallerOf(ctx), s.c.store.view()
	if req.GetPerson() != "" && req.GetPerson() != caller.Person && !teaches(caller) {
		return nil, noTemplate(req.GetTemplate())
	}
	t, err := templateFor(v, caller, req.GetTemplate())
	if err != nil {
		return nil, err
	}
	d, err := s.submission(caller, t.GetName(), cmp.Or(req.GetPerson(), caller.Person), req.GetAttempt())
	return &labv1.GetSubmissionResponse{Submission: d}, err
}

func (s *classService) RegradeTemplate(ctx context.Context, req *labv1.RegradeTemplateRequest) (*labv1.RegradeTemplateResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	_, err = s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_RegradeTemplate{
		RegradeTemplate: &controlv1.RegradeTemplate{Name: req.GetTemplate()}}})
	if err != nil {
		return nil, err
	}
	l.gradeSoon()
	return &labv1.RegradeTemplateResponse{Submissions: uint32(len(s.c.store.view().submissionsOf(req.GetTemplate())))}, nil
}
