package orchestrator

import (
	"slices"
	"time"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

const (
	// maxTemplates bounds the labs that are published.
	maxTemplates = 1000
	// maxSubmittedInputs bounds the journal of a submission, which is kept with it: a student types some dozens.
	maxSubmittedInputs = 10_000
)

// day is what lateness is counted in.
const day = int64(24 * time.Hour)

func (a *applier) dispatchClass(cmd *controlv1.Command) (*controlv1.RequestOutcome, *Refusal) {
	switch k := cmd.GetKind().(type) {
	case *controlv1.Command_PublishTemplate:
		return a.publishTemplate(k.PublishTemplate)
	case *controlv1.Command_DeleteTemplate:
		return a.deleteTemplate(k.DeleteTemplate)
	case *controlv1.Command_StartInstance:
		return a.startInstance(k.StartInstance)
	case *controlv1.Command_SubmitInstance:
		return a.submitInstance(k.SubmitInstance)
	case *controlv1.Command_GradeSubmission:
		return a.gradeSubmission(k.GradeSubmission)
	case *controlv1.Command_RegradeTemplate:
		return a.regradeTemplate(k.RegradeTemplate)
	case *controlv1.Command_SetQuota:
		return a.setQuota(k.SetQuota)
	case *controlv1.Command_NoteUse:
		return a.noteUse(k.NoteUse)
	case *controlv1.Command_WarnIdle:
		return a.warnIdle(k.WarnIdle)
	case *controlv1.Command_StopIdle:
		return a.stopIdle(k.StopIdle)
	}
	panic("a command has a kind that dispatch lacks") // kindOf let it pass
}

// publishTemplate takes a publication that was made of the revision that is there: of two instructors who edit a template at
// once, the later one is told so.
func (a *applier) publishTemplate(c *controlv1.PublishTemplate) (*controlv1.RequestOutcome, *Refusal) {
	past := a.view.template(c.GetTemplate().GetName())
	switch {
	case c.GetIfRevision() != past.GetRevision():
		return nil, anotherRevision(c.GetTemplate().GetName(), past, c.GetIfRevision())
	case past == nil && !a.count(counterTemplates, +1, maxTemplates):
		return nil, overQuota("templates", maxTemplates)
	}
	if refused := a.view.lacks(a.by, templateLab(past), specFiles(c.GetTemplate().GetSpec())); refused != nil {
		return nil, refused
	}
	a.insert(tableTemplates, with(c.GetTemplate(), func(t *controlv1.TemplateState) {
		t.Revision, t.Publisher, t.PublishedUnixNs = past.GetRevision()+1, a.by, a.now
		if past != nil {
			t.Secret = past.GetSecret() // seeds stay as they are
		}
	}))
	return &controlv1.RequestOutcome{ObjectId: c.GetTemplate().GetName()}, nil
}

// templateLab stands for the labs of a template, nil for none, where it is asked what content they may name.
func templateLab(t *controlv1.TemplateState) *controlv1.LabState {
	if t == nil {
		return nil
	}
	return &controlv1.LabState{Owner: t.GetPublisher(), Spec: t.GetSpec()}
}

func anotherRevision(name string, present *controlv1.TemplateState, meant uint64) *Refusal {
	if present == nil {
		return refuse(labv1.ErrorReason_ERROR_REASON_TEMPLATE_CHANGED, "there is no template %q, of which revision %d was to be replaced", name, meant)
	}
	at := unixTime(present.GetPublishedUnixNs()).UTC().Format(time.DateTime)
	if meant == 0 {
		return refuse(labv1.ErrorReason_ERROR_REASON_TEMPLATE_CHANGED,
			"%q is published already: revision %d, by %s at %s UTC; give --revision %[2]d to replace it", name, present.GetRevision(), somebody(present.GetPublisher()), at)
	}
	return refuse(labv1.ErrorReason_ERROR_REASON_TEMPLATE_CHANGED,
		"%q is not at revision %d any more: %s has published revision %d at %s UTC; look at it, then give --revision %[4]d to replace it",
		name, meant, somebody(present.GetPublisher()), present.GetRevision(), at)
}

// somebody names a person, where labd knows people.
func somebody(person string) string {
	if person == "" {
		return "somebody"
	}
	return person
}

func (a *applier) deleteTemplate(c *controlv1.DeleteTemplate) (*controlv1.RequestOutcome, *Refusal) {
	t := a.view.template(c.GetName())
	if t == nil {
		return nil, noTemplate(c.GetName())
	}
	instances, submissions := a.view.instancesOf(t.GetName()), a.view.submissionsOf(t.GetName())
	if !c.GetForce() && len(instances)+len(submissions) > 0 {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_TEMPLATE_IN_USE,
			"%q has %d labs and %d submissions: with --force the submissions go too, and the labs stay their students'", t.GetName(), len(instances), len(submissions))
	}
	for _, i := range instances {
		a.remove(tableInstances, i)
	}
	for _, s := range submissions {
		a.remove(tableSubmissions, s)
	}
	a.remove(tableTemplates, t)
	a.count(counterTemplates, -1, maxTemplates)
	return &controlv1.RequestOutcome{ObjectId: t.GetName()}, nil
}

func noTemplate(name string) *Refusal {
	return refuse(labv1.ErrorReason_ERROR_REASON_TEMPLATE_NOT_FOUND, "no lab %q is published for you", name)
}

// startInstance makes a person's lab of a template. The one that there is stays, unless it is to be made anew.
func (a *applier) startInstance(c *controlv1.StartInstance) (*controlv1.RequestOutcome, *Refusal) {
	t := a.view.template(c.GetTemplate())
	if t == nil {
		return nil, noTemplate(c.GetTemplate())
	}
	if t.GetRevision() != c.GetRevision() {
		return nil, anotherRevision(t.GetName(), t, c.GetRevision())
	}
	past := a.view.instance(t.GetName(), c.GetPerson())
	old := a.view.lab(past.GetLabId())
	switch {
	case old != nil && !c.GetReset_():
		return &controlv1.RequestOutcome{LabId: old.GetId(), ObjectId: t.GetName()}, nil
	case old != nil:
		if _, refused := a.deleteLab(&controlv1.DeleteLab{LabId: old.GetId()}); refused != nil {
			return nil, refused
		}
	}
	outcome, refused := a.addLab(c.GetLab(), templateLab(t))
	if refused != nil {
		return nil, refused
	}
	i := &controlv1.InstanceState{Template: t.GetName(), Person: c.GetPerson(), LabId: outcome.GetLabId(),
		Seed: c.GetLab().GetSpec().GetSeed(), Revision: t.GetRevision(), StartedUnixNs: a.now}
	if past != nil {
		i.StartedUnixNs, i.Resets = past.GetStartedUnixNs(), past.GetResets()+1
	}
	a.insert(tableInstances, i)
	outcome.ObjectId = t.GetName()
	return outcome, nil
}

// fixed refuses to change what a lab of a class is made of, unless its template lets students do that. Settings of links and
// faults are what many a lab is about: they can be seen in what is submitted.
func (v view) fixed(labID string, in *labv1.Input) *Refusal {
	if _, changes := in.GetKind().(*labv1.Input_Apply); !changes {
		return nil
	}
	if t := v.templateOf(labID); t != nil && !t.GetChanges() {
		return refuse(labv1.ErrorReason_ERROR_REASON_LAB_FIXED, "what %q is made of is the same for the whole class, and stays as it is", t.GetName())
	}
	return nil
}

// ownWork refuses to let classmates into a lab of a class: what is submitted is its owner's work. Who teaches may let in
// anybody, and anybody who teaches may be let in, to help.
func (v view) ownWork(giver, labID, to string) *Refusal {
	t := v.templateOf(labID)
	if t == nil || giver == "" || v.person(giver).GetRole() >= auth.Instructor || v.person(to).GetRole() >= auth.Instructor {
		return nil
	}
	return refuse(labv1.ErrorReason_ERROR_REASON_LAB_FIXED, "a lab of %q is its owner's own work: only who teaches is let into it", t.GetName())
}

// submitInstance keeps a lab's specification and journal as they are now.
func (a *applier) submitInstance(c *controlv1.SubmitInstance) (*controlv1.RequestOutcome, *Refusal) {
	t := a.view.template(c.GetTemplate())
	if t == nil {
		return nil, noTemplate(c.GetTemplate())
	}
	i := a.view.instance(t.GetName(), c.GetPerson())
	lab := a.view.lab(i.GetLabId())
	if lab == nil || lab.GetId() != c.GetLabId() {
		return nil, notStarted(t.GetName(), i)
	}
	late, refused := lateness(t, a.now)
	if refused != nil {
		return nil, refused
	}
	if a.view.journaled(lab.GetId()) > maxSubmittedInputs {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_QUOTA,
			"the lab has had %d inputs, and %d may be submitted: `labctl lab reset %s`, and do only what is asked for", a.view.journaled(lab.GetId()), maxSubmittedInputs, t.GetName())
	}
	s := &controlv1.SubmissionState{
		Template: t.GetName(), Person: c.GetPerson(), Late: late > 0, Attempt: 1, SubmittedUnixNs: a.now, DaysLate: late,
		Spec: lab.GetSpec(), Journal: slices.Clone(a.view.inputs(lab.GetId(), 0, 0)), EndNs: c.GetEndNs(), Answers: c.GetAnswers(),
	}
	for _, past := range a.view.submissionsBy(t.GetName(), c.GetPerson()) {
		s.Attempt = max(s.Attempt, past.GetAttempt()+1)
	}
	a.insert(tableSubmissions, s)
	return &controlv1.RequestOutcome{LabId: lab.GetId(), ObjectId: t.GetName(), Attempt: s.GetAttempt()}, nil
}

func notStarted(template string, i *controlv1.InstanceState) *Refusal {
	if i == nil {
		return refuse(labv1.ErrorReason_ERROR_REASON_NOT_STARTED, "you have not started %q: labctl lab start %[1]s", template)
	}
	return refuse(labv1.ErrorReason_ERROR_REASON_NOT_STARTED, "your lab of %q was deleted: labctl lab start %[1]s makes it anew", template)
}

// lateness is by how many days, those begun included, a submission at a time is late.
func lateness(t *controlv1.TemplateState, now int64) (uint32, *Refusal) {
	if t.GetDueUnixNs() == 0 || now <= t.GetDueUnixNs() {
		return 0, nil
	}
	late := uint64((now-t.GetDueUnixNs()-1)/day) + 1
	if late > uint64(t.GetLateDays()) {
		return 0, refuse(labv1.ErrorReason_ERROR_REASON_DEADLINE_PASSED, "submissions of %q were taken until %s UTC", t.GetName(),
			unixTime(t.GetDueUnixNs()+int64(t.GetLateDays())*day).UTC().Format(time.DateTime))
	}
	return uint32(late), nil
}

func (a *applier) gradeSubmission(c *controlv1.GradeSubmission) (*controlv1.RequestOutcome, *Refusal) {
	s := a.view.submission(c.GetTemplate(), c.GetPerson(), c.GetLate())
	if s == nil || s.GetAttempt() != c.GetAttempt() {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_NOT_SUBMITTED, "the submission is gone, or another has come meanwhile")
	}
	a.insert(tableSubmissions, with(s, func(s *controlv1.SubmissionState) {
		s.Grade = with(c.GetGrade(), func(g *controlv1.Grade) { g.GradedUnixNs = a.now })
	}))
	return &controlv1.RequestOutcome{ObjectId: c.GetTemplate()}, nil
}

func (a *applier) regradeTemplate(c *controlv1.RegradeTemplate) (*controlv1.RequestOutcome, *Refusal) {
	if a.view.template(c.GetName()) == nil {
		return nil, noTemplate(c.GetName())
	}
	for _, s := range a.view.submissionsOf(c.GetName()) {
		a.insert(tableSubmissions, with(s, func(s *controlv1.SubmissionState) { s.Grade = nil }))
	}
	return &controlv1.RequestOutcome{ObjectId: c.GetName()}, nil
}
