package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

const (
	// maxGrading bounds the submissions that are graded at a time: two to a worker of a small cluster.
	maxGrading = 6
	// maxGradeTries bounds how often a submission is given to a worker that has no room, or fails.
	maxGradeTries = 5
	// dueInterval is how often, in wall time, deadlines are looked at.
	dueInterval = 5 * time.Second
	// gradeTimeout bounds one grading, in wall time: the worker's own bound, and its waiting for others to end.
	gradeTimeout = 10 * time.Minute
)

// toGrade is a submission that has to be graded: whole, or by the visible checks only.
type toGrade struct {
	template   *controlv1.TemplateState
	submission *controlv1.SubmissionState
	whole      bool
}

// pastDue tells whether a template's deadline is over: then hidden checks are asked.
func pastDue(t *controlv1.TemplateState, now int64) bool {
	return t.GetDueUnixNs() == 0 || now > t.GetDueUnixNs()
}

// ungraded lists the submissions that have to be graded now, the oldest first, and whether deadlines are still to come.
func ungraded(v view, now int64) (list []toGrade, later bool) {
	for _, t := range v.templates() {
		whole := pastDue(t, now)
		later = later || !whole
		for _, s := range v.submissionsOf(t.GetName()) {
			if s.GetGrade() == nil || whole && !s.GetGrade().GetWhole() {
				list = append(list, toGrade{t, s, whole})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b toGrade) int {
		return int(min(1, max(-1, a.submission.GetSubmittedUnixNs()-b.submission.GetSubmittedUnixNs())))
	})
	return list, later
}

// gradeSoon has submissions looked for.
func (l *leadership) gradeSoon() {
	select {
	case l.grade <- struct{}{}:
	default:
	}
}

// gradeLoop grades what is submitted, a few at a time.
func (l *leadership) gradeLoop() {
	l.gradeSoon()
	free := make(chan struct{}, maxGrading)
	underWay := make(map[string]bool) // by person and so on: read and written in this goroutine only
	ended := make(chan string)
	for {
		list, later := ungraded(l.c.store.view(), l.c.conf.Now().UnixNano())
		for _, g := range list {
			key := string(personKey(g.template.GetName(), g.submission.GetPerson())) + fmt.Sprint(g.submission.GetLate())
			if underWay[key] || len(underWay) == cap(free) {
				continue
			}
			underWay[key] = true
			l.tasks.Go(func() {
				l.gradeOne(g)
				select {
				case ended <- key:
				case <-l.ctx.Done():
				}
			})
		}
		if !l.awaitGrading(later, ended, underWay) {
			return
		}
	}
}

// awaitGrading waits until there may be something to grade; false: the leadership is over.
func (l *leadership) awaitGrading(later bool, ended <-chan string, underWay map[string]bool) bool {
	var deadlines <-chan time.Time
	if later {
		t := time.NewTimer(dueInterval)
		defer t.Stop()
		deadlines = t.C
	}
	select {
	case <-l.grade:
	case key := <-ended:
		delete(underWay, key)
	case <-deadlines:
	case <-l.ctx.Done():
		return false
	}
	return true
}

// gradeOne has a worker replay and judge a submission, and keeps what it comes to. What cannot be replayed or judged is
// graded so, with the reason; what a worker's death prevents is tried again.
func (l *leadership) gradeOne(g toGrade) {
	grade := &controlv1.Grade{Revision: g.template.GetRevision(), Whole: g.whole}
	for tries := 1; l.ctx.Err() == nil; tries++ {
		resp, err := l.askGrade(g)
		if err == nil {
			grade.Results, grade.Error, grade.TraceSha256 = resp.GetResults(), resp.GetError(), resp.GetTraceSha256()
			break
		}
		lasting := !transient(err) && !noRoomThere(err) && !errors.As(err, new(*Refusal))
		if l.ctx.Err() == nil && (lasting || tries >= maxGradeTries && status.Code(err) == codes.ResourceExhausted) {
			grade.Error = status.Convert(err).Message()
			break
		}
		l.c.log.Warn("a submission could not be graded yet", "template", g.template.GetName(), "person", g.submission.GetPerson(), "error", err)
		pause(l.ctx, retryPause)
	}
	if l.ctx.Err() != nil {
		return // the next leader does
	}
	_, err := l.c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_GradeSubmission{GradeSubmission: &controlv1.GradeSubmission{
		Template: g.template.GetName(), Person: g.submission.GetPerson(), Late: g.submission.GetLate(), Attempt: g.submission.GetAttempt(), Grade: grade}}})
	if err != nil {
		l.c.log.Info("a grade was not kept", "template", g.template.GetName(), "person", g.submission.GetPerson(), "error", err)
	}
}

func (l *leadership) askGrade(g toGrade) (*workerv1.GradeLabResponse, error) {
	ctx, cancel := context.WithTimeout(l.ctx, gradeTimeout)
	defer cancel()
	list := g.template.GetChecks()
	if !g.whole {
		list = visible(list)
	}
	s := g.submission
	return l.judge(ctx, s.GetSpec(), s.GetJournal(), s.GetEndNs(), list, s.GetAnswers())
}

// judge has a worker replay a lab and judge it.
func (l *leadership) judge(ctx context.Context, spec *labv1.LabSpec, journal []*labv1.JournalEntry, end int64, list []*labv1.Check, answers map[string]string) (
	*workerv1.GradeLabResponse, error) {
	one := needOf(spec, journal)
	one.workers = 1
	workers, err := l.choose(ctx, one)
	if err != nil {
		return nil, err
	}
	client, err := l.fleet.client(workers[0])
	if err != nil {
		return nil, err
	}
	files := specFiles(spec)
	for _, e := range journal {
		files = append(files, inputFiles(e.GetInput())...)
	}
	if err := l.c.pushFiles(ctx, client, files); err != nil {
		return nil, err
	}
	return client.GradeLab(ctx, &workerv1.GradeLabRequest{Spec: spec, Journal: journal, EndNs: end, Checks: list, Answers: answers})
}
