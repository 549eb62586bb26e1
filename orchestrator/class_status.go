package orchestrator

import (
	"cmp"
	"context"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"labd.dev/internal/sight"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// classmates lists the people of a template by section and name: the students whom it is for, and whoever has a lab or a
// submission of it.
func classmates(v view, t *controlv1.TemplateState, section string) []string {
	there := map[string]bool{}
	for _, p := range v.people() {
		if p.GetRole() == labv1.Role_ROLE_STUDENT && p.GetRemovedUnixNs() == 0 && (len(t.GetSections()) == 0 || slices.Contains(t.GetSections(), p.GetSection())) {
			there[p.GetName()] = true
		}
	}
	for _, i := range v.instancesOf(t.GetName()) {
		there[i.GetPerson()] = true
	}
	for _, s := range v.submissionsOf(t.GetName()) {
		there[s.GetPerson()] = true
	}
	var list []string
	for name := range there {
		if section == "" || v.person(name).GetSection() == section {
			list = append(list, name)
		}
	}
	slices.SortFunc(list, func(a, b string) int {
		return cmp.Or(cmp.Compare(v.person(a).GetSection(), v.person(b).GetSection()), cmp.Compare(a, b))
	})
	return list
}

func (s *classService) GetClassStatus(ctx context.Context, req *labv1.GetClassStatusRequest) (*labv1.GetClassStatusResponse, error) {
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	v := s.c.store.view()
	t := v.template(req.GetTemplate())
	if t == nil {
		return nil, noTemplate(req.GetTemplate())
	}
	progress := l.progress(ctx)
	resp := &labv1.GetClassStatusResponse{Template: describeTemplate(v, t, true, false)}
	for _, name := range classmates(v, t, req.GetSection()) {
		st := &labv1.StudentStatus{Person: name, Section: v.person(name).GetSection()}
		if i := v.instance(t.GetName(), name); i != nil {
			st.StartedAt, st.Resets = timestamppb.New(unixTime(i.GetStartedUnixNs())), i.GetResets()
			if lab := v.lab(i.GetLabId()); lab != nil {
				st.Inputs = v.journaled(lab.GetId())
				st.LabState = describeLab(l, &grant{lab: lab, place: sight.Whole()}, progress[lab.GetId()]).GetState()
			}
		}
		if s := counting(t, v.submissionsBy(t.GetName(), name)); s != nil {
			st.Submission = describeSubmission(v, t, s)
			st.Submission.Results = nil
		}
		resp.Students = append(resp.Students, st)
	}
	return resp, nil
}

func (s *classService) GetScores(ctx context.Context, req *labv1.GetScoresRequest) (*labv1.GetScoresResponse, error) {
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	v := s.c.store.view()
	t := v.template(req.GetTemplate())
	if t == nil {
		return nil, noTemplate(req.GetTemplate())
	}
	resp := &labv1.GetScoresResponse{Template: describeTemplate(v, t, true, false)}
	for _, name := range classmates(v, t, req.GetSection()) {
		if req.GetPerson() != "" && name != req.GetPerson() {
			continue
		}
		d := &labv1.Submission{Template: t.GetName(), Person: name, Section: v.person(name).GetSection(), MaxPoints: maxPointsOf(t.GetChecks())}
		if s := counting(t, v.submissionsBy(t.GetName(), name)); s != nil {
			d = describeSubmission(v, t, s)
		}
		d.Email = v.person(name).GetEmail()
		resp.Submissions = append(resp.Submissions, d)
	}
	return resp, nil
}
