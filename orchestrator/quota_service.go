package orchestrator

import (
	"context"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

type quotaService struct {
	labv1.UnimplementedQuotaServiceServer
	c *Controller
}

func (s *quotaService) SetQuota(ctx context.Context, req *labv1.SetQuotaRequest) (*labv1.SetQuotaResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	if err := checkLimits(req); err != nil {
		return nil, err
	}
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	caller, v := auth.CallerOf(ctx), s.c.store.view()
	role := req.GetRole()
	if req.GetUser() != "" {
		p := v.person(req.GetUser())
		if p == nil || p.GetRemovedUnixNs() != 0 {
			return nil, noPerson(req.GetUser())
		}
		role = p.GetRole()
	}
	if err := mayManage(caller, role, holderOf(req.GetUser(), role)); err != nil {
		return nil, err
	}
	if err := mayGive(caller, v, req); err != nil {
		return nil, err
	}
	_, err = s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_SetQuota{
		SetQuota: &controlv1.SetQuota{User: req.GetUser(), Role: req.GetRole(), Limits: req.GetLimits()}}})
	if err != nil {
		return nil, err
	}
	v = s.c.store.view()
	return &labv1.SetQuotaResponse{Uses: l.usesOf(ctx, v, req.GetUser(), role), Over: l.peopleOver(v, req.GetUser(), role)}, nil
}

// checkLimits refuses what names nobody, or no bound, or a subject twice.
func checkLimits(req *labv1.SetQuotaRequest) error {
	switch {
	case (req.GetUser() == "") == (req.GetRole() == labv1.Role_ROLE_UNSPECIFIED):
		return invalid("user", "say whose quota: a person's or a role's")
	case req.GetUser() == "" && (req.GetRole() < auth.Student || req.GetRole() > auth.Admin):
		return invalid("role", "there is no role %d", req.GetRole())
	case len(req.GetLimits()) == 0:
		return invalid("limits", "say what is bounded")
	}
	var named [subjects]bool
	for i, l := range req.GetLimits() {
		path, subject := elementPath("limits", i), l.GetSubject()
		switch {
		case subject <= 0 || int(subject) >= subjects:
			return invalid(path+".subject", "there is no subject %d", subject)
		case named[subject]:
			return invalid(path+".subject", "%s is there twice", subjectName(subject))
		}
		named[subject] = true
		switch b := l.GetBound().(type) {
		case *labv1.QuotaLimit_AtMost:
			if b.AtMost > setLimit {
				return invalid(path+".at_most", "at most %d; or unlimited", setLimit)
			}
			if b.AtMost == 0 && bare(subject) {
				return invalid(path+".at_most", "with no %s a lab is of no use: at least 1", subjectWords(subject))
			}
		case *labv1.QuotaLimit_Unlimited:
			if !b.Unlimited {
				return invalid(path+".unlimited", "true, or another bound")
			}
		case *labv1.QuotaLimit_Usual:
			if !b.Usual {
				return invalid(path+".usual", "true, or another bound")
			}
		default:
			return invalid(path, "say how many")
		}
	}
	return nil
}

// bare tells whether labs can do nothing at all with none of a subject.
func bare(s labv1.QuotaSubject) bool {
	return s >= labv1.QuotaSubject_QUOTA_SUBJECT_EVENT_RATE
}

// mayGive refuses an instructor who gives more than the instructor may have: a student's token is one that the instructor can
// make.
func mayGive(caller auth.Caller, v view, req *labv1.SetQuotaRequest) error {
	if caller.Role == auth.Admin {
		return nil
	}
	own := v.boundsOf(caller.Person, caller.Role).most
	for _, l := range req.GetLimits() {
		if most := own[l.GetSubject()]; !l.GetUsual() && boundOf(l) > most {
			return refuse(labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED, "you may have %d %s yourself: more is for administrators to give",
				most, subjectWords(l.GetSubject()))
		}
	}
	return nil
}

// usesOf are a person's bounds with what the person has, or a role's with nothing.
func (l *leadership) usesOf(ctx context.Context, v view, person string, role labv1.Role) []*labv1.QuotaUse {
	b, have := v.boundsOf(person, role), amounts{}
	if person != "" {
		have = l.has(ctx, v, person)
	}
	return b.uses(have)
}

// has is what a person has, with what only workers know.
func (l *leadership) has(ctx context.Context, v view, person string) amounts {
	have, more := v.inUse(person), l.measured(ctx, v, person)
	for s := range have {
		have[s] += more[s]
	}
	return have
}

func (b *bounds) uses(have amounts) (list []*labv1.QuotaUse) {
	for s := 1; s < subjects; s++ {
		use := &labv1.QuotaUse{Subject: labv1.QuotaSubject(s), InUse: have[s], Origin: b.by[s]}
		if b.most[s] != noLimit {
			use.AtMost = &b.most[s]
		}
		list = append(list, use)
	}
	return list
}

// peopleOver lists who has more than he may: the person, or those of the role.
func (l *leadership) peopleOver(v view, person string, role labv1.Role) []string {
	recorded, _ := l.fleet.recordedBy()
	return v.peopleOver(person, role, recorded)
}

// peopleOver lists them by what each has recorded, too.
func (v view) peopleOver(person string, role labv1.Role, recorded map[string]uint64) (over []string) {
	for _, p := range v.people() {
		if p.GetRemovedUnixNs() != 0 || p.GetRole() != role || person != "" && person != p.GetName() {
			continue
		}
		most, have := v.boundsOf(p.GetName(), role).most, v.inUse(p.GetName())
		have[labv1.QuotaSubject_QUOTA_SUBJECT_TRACE_BYTES] = recorded[p.GetName()]
		for s := range have {
			if have[s] > most[s] {
				over = append(over, p.GetName())
				break
			}
		}
	}
	return over
}

func (s *quotaService) GetQuota(ctx context.Context, req *labv1.GetQuotaRequest) (*labv1.GetQuotaResponse, error) {
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	caller, v := auth.CallerOf(ctx), s.c.store.view()
	user, role := req.GetUser(), req.GetRole()
	if user != "" && role != labv1.Role_ROLE_UNSPECIFIED {
		return nil, invalid("role", "say whose quota: a person's or a role's")
	}
	if (user != "" && user != caller.Person || role != labv1.Role_ROLE_UNSPECIFIED) && caller.Role != auth.Admin && caller.Role != auth.Instructor {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED, "what others may have is for instructors to see")
	}
	switch {
	case role != labv1.Role_ROLE_UNSPECIFIED:
		if role < auth.Student || role > auth.Admin {
			return nil, invalid("role", "there is no role %d", role)
		}
		return &labv1.GetQuotaResponse{Role: role, Uses: l.usesOf(ctx, v, "", role)}, nil
	case user == "" && caller.Person == "": // whoever calls a labd without identity is bounded by what the server keeps
		b := bounds{most: usualLimits(auth.Admin)}
		return &labv1.GetQuotaResponse{Role: auth.Admin, Uses: b.uses(l.has(ctx, v, ""))}, nil
	case user == "":
		user = caller.Person
	}
	p := v.person(user)
	if p == nil {
		return nil, noPerson(user)
	}
	return &labv1.GetQuotaResponse{User: user, Role: p.GetRole(), Uses: l.usesOf(ctx, v, user, p.GetRole())}, nil
}
