package orchestrator

import (
	"cmp"
	"slices"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// maxLabMembers bounds who is in a lab: a class, each in every role.
const maxLabMembers = 2_000

// shareLab lets a person into a lab, in place of what the person may do there in that role already.
func (a *applier) shareLab(c *controlv1.ShareLab) (*controlv1.RequestOutcome, *Refusal) {
	lab := a.view.lab(c.GetLabId())
	if lab == nil {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "the lab is gone")
	}
	if refused := a.stillOwns(lab); refused != nil {
		return nil, refused
	}
	m := c.GetMember()
	if refused := a.view.ownWork(a.by, lab.GetId(), m.GetPerson()); refused != nil {
		return nil, refused
	}
	members := slices.DeleteFunc(slices.Clone(lab.GetMembers()), func(old *labv1.LabMember) bool {
		return old.GetPerson() == m.GetPerson() && old.GetRole() == m.GetRole()
	})
	if len(members) >= maxLabMembers {
		return nil, overQuota("members of a lab", maxLabMembers)
	}
	members = append(members, m)
	slices.SortFunc(members, func(x, y *labv1.LabMember) int {
		return cmp.Or(cmp.Compare(x.GetPerson(), y.GetPerson()), cmp.Compare(x.GetRole(), y.GetRole()))
	})
	a.insert(tableLabs, with(lab, func(l *controlv1.LabState) { l.Members = members }))
	return &controlv1.RequestOutcome{LabId: lab.GetId()}, nil
}

// stillOwns asks once more whether who asked for a change of a lab's members may: another owner may have taken them out, or a
// role may have been taken from them, since the call was let in.
func (a *applier) stillOwns(lab *controlv1.LabState) *Refusal {
	if a.by == "" {
		return nil // nobody is asked who they are
	}
	place := a.view.placeIn(auth.Caller{Person: a.by, Role: a.view.person(a.by).GetRole()}, lab)
	switch {
	case place == nil:
		return refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "lab %q is gone", lab.GetSpec().GetName())
	case !place.Owns():
		return refuse(labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED, "lab %q is not yours any more: this is for its owners", lab.GetSpec().GetName())
	}
	return nil
}

// unshareLab takes a person out of a lab, or out of one role there.
func (a *applier) unshareLab(c *controlv1.UnshareLab) (*controlv1.RequestOutcome, *Refusal) {
	lab := a.view.lab(c.GetLabId())
	if lab == nil {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "the lab is gone")
	}
	if c.GetPerson() != a.by { // who leaves needs nobody's leave
		if refused := a.stillOwns(lab); refused != nil {
			return nil, refused
		}
	}
	members := slices.DeleteFunc(slices.Clone(lab.GetMembers()), func(m *labv1.LabMember) bool {
		return m.GetPerson() == c.GetPerson() && (c.GetRole() == labv1.LabRole_LAB_ROLE_UNSPECIFIED || c.GetRole() == m.GetRole())
	})
	if len(members) == len(lab.GetMembers()) {
		return nil, notShared(lab, c.GetPerson(), c.GetRole())
	}
	a.insert(tableLabs, with(lab, func(l *controlv1.LabState) { l.Members = members }))
	return &controlv1.RequestOutcome{LabId: lab.GetId()}, nil
}

// notShared says that a person is not in a lab, or not in that role.
func notShared(lab *controlv1.LabState, person string, role labv1.LabRole) *Refusal {
	as := ""
	if role != labv1.LabRole_LAB_ROLE_UNSPECIFIED {
		as = " as " + labRoleName(role)
	}
	return refuse(labv1.ErrorReason_ERROR_REASON_NOT_SHARED, "lab %q is not shared with %q%s", lab.GetSpec().GetName(), person, as)
}
