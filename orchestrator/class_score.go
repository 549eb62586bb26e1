package orchestrator

import (
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// pointsOf are what checks that hold are worth.
func pointsOf(results []*labv1.CheckResult) (points float64) {
	for _, r := range results {
		if r.GetOk() {
			points += r.GetPoints()
		}
	}
	return points
}

// maxPointsOf are what all checks are worth.
func maxPointsOf(checks []*labv1.Check) (points float64) {
	for _, c := range checks {
		points += c.GetPoints()
	}
	return points
}

func visible(checks []*labv1.Check) []*labv1.Check {
	return slices.DeleteFunc(slices.Clone(checks), func(c *labv1.Check) bool { return c.GetHidden() })
}

// scoreOf is what a submission's points count: a part is taken off for each day that it is late.
func scoreOf(t *controlv1.TemplateState, s *controlv1.SubmissionState) float64 {
	return pointsOf(s.GetGrade().GetResults()) * max(0, 1-float64(s.GetDaysLate())*t.GetLatePenalty())
}

// counting is the submission that counts: the last in time, or the last late one if that is worth more. Until both are graded
// whole it is the newer one.
func counting(t *controlv1.TemplateState, list []*controlv1.SubmissionState) *controlv1.SubmissionState {
	switch {
	case len(list) == 0:
		return nil
	case len(list) == 1:
		return list[0]
	case list[0].GetGrade().GetWhole() && list[1].GetGrade().GetWhole() && scoreOf(t, list[0]) >= scoreOf(t, list[1]):
		return list[0]
	}
	return list[1]
}

// untilDue is a submission without what hidden checks came to. They may have been asked already: a deadline can be put off.
func untilDue(t *controlv1.TemplateState, s *controlv1.SubmissionState) *controlv1.SubmissionState {
	if !s.GetGrade().GetWhole() {
		return s
	}
	shown := make(map[string]bool)
	for _, c := range visible(t.GetChecks()) {
		shown[c.GetId()] = true
	}
	return with(s, func(s *controlv1.SubmissionState) {
		s.Grade = with(s.GetGrade(), func(g *controlv1.Grade) {
			g.Results = slices.DeleteFunc(slices.Clone(g.GetResults()), func(r *labv1.CheckResult) bool { return !shown[r.GetId()] })
			g.Whole = len(shown) == len(t.GetChecks())
		})
	})
}

// describeSubmission tells what came of a submission.
func describeSubmission(v view, t *controlv1.TemplateState, s *controlv1.SubmissionState) *labv1.Submission {
	g, p := s.GetGrade(), v.person(s.GetPerson())
	d := &labv1.Submission{
		Template: s.GetTemplate(), Person: s.GetPerson(), Section: p.GetSection(), Attempt: s.GetAttempt(), SubmittedAt: timestamppb.New(unixTime(s.GetSubmittedUnixNs())),
		DaysLate: s.GetDaysLate(), State: labv1.Submission_STATE_PENDING, Results: g.GetResults(), Points: pointsOf(g.GetResults()),
		MaxPoints: maxPointsOf(t.GetChecks()), Score: scoreOf(t, s), Error: g.GetError(), Seed: s.GetSpec().GetSeed(), EndNs: s.GetEndNs(),
		TraceSha256: g.GetTraceSha256(), Revision: g.GetRevision(),
	}
	switch {
	case g == nil:
	case g.GetError() != "" && len(g.GetResults()) == 0:
		d.State = labv1.Submission_STATE_FAILED
	case g.GetWhole():
		d.State = labv1.Submission_STATE_GRADED
	default:
		d.State = labv1.Submission_STATE_VISIBLE
	}
	return d
}
