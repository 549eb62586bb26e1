package orchestrator

import (
	"cmp"
	"slices"
	"strings"

	"labd.dev/internal/auth"
	"labd.dev/internal/sight"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// What a caller calls NAME is the caller's own; what is somebody else's is OWNER/NAME. What is not the caller's and not shared
// with the caller is answered as what is not there.

// calledBy is what a caller calls somebody's lab or run.
func calledBy(caller auth.Caller, owner, name string) string {
	if owner == caller.Person {
		return name
	}
	return owner + "/" + name
}

// meantBy is whose lab or run, and called how by its owner, a caller means.
func meantBy(caller auth.Caller, name string) (owner, own string) {
	if owner, own, ok := strings.Cut(name, "/"); ok {
		return owner, own
	}
	return caller.Person, name
}

// labFor finds the lab that a caller means, or the only one where none is named, and the caller's place in it.
func (v view) labFor(caller auth.Caller, name string) (*controlv1.LabState, *sight.Place, error) {
	if name == "" {
		return v.onlyLab(caller)
	}
	lab := v.labNamed(meantBy(caller, name))
	if place := v.placeIn(caller, lab); place != nil {
		return lab, place, nil
	}
	return nil, nil, noLab(name)
}

func noLab(name string) error {
	return refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "there is no lab %q", name)
}

// placeIn is a caller's place in a lab; nil: none. There may be no such lab.
func (v view) placeIn(caller auth.Caller, lab *controlv1.LabState) *sight.Place {
	switch {
	case lab == nil || !caller.Scope.Covers(lab.GetOwner(), lab.GetSpec().GetName()):
		return nil
	case ownsAll(caller, lab.GetOwner()):
		return sight.Whole()
	}
	place := sight.Of(caller.Person, lab.GetMembers())
	if teaches(caller) && v.templateOf(lab.GetId()) != nil {
		return place.Watching()
	}
	return place
}

// ownsAll tells whether a caller may do everything with what somebody owns.
func ownsAll(caller auth.Caller, owner string) bool {
	return caller.Role == auth.Admin || caller.Identified() && caller.Person == owner
}

// onlyLab is the lab that is meant where none is named: the only one that is the caller's own or shared with the caller.
func (v view) onlyLab(caller auth.Caller) (*controlv1.LabState, *sight.Place, error) {
	var mine []*controlv1.LabState
	for _, lab := range append(v.labsOf(caller.Person), v.labsWith(caller.Person)...) {
		if v.placeIn(caller, lab) != nil {
			mine = append(mine, lab)
		}
	}
	switch len(mine) {
	case 0:
		return nil, nil, refuse(labv1.ErrorReason_ERROR_REASON_NO_LAB, "there is no lab; make one with: labctl apply -f FILE")
	case 1:
		return mine[0], v.placeIn(caller, mine[0]), nil
	}
	called := func(i int) string { return calledBy(caller, mine[i].GetOwner(), mine[i].GetSpec().GetName()) }
	return nil, nil, refuse(labv1.ErrorReason_ERROR_REASON_SEVERAL_LABS,
		"there are %d labs, %q and %q among them; say which one", len(mine), called(0), called(1))
}

// seenLab is a lab with the place of who looks at it.
type seenLab struct {
	*controlv1.LabState
	place *sight.Place
}

// labsFor lists the labs that a caller may see: the caller's own by name, then others by owner and name.
func (v view) labsFor(caller auth.Caller) []seenLab {
	labs := v.labs()
	if caller.Role != auth.Admin {
		others := v.labsWith(caller.Person)
		if teaches(caller) {
			others = slices.DeleteFunc(v.labs(), func(lab *controlv1.LabState) bool { return lab.GetOwner() == caller.Person })
		}
		slices.SortFunc(others, func(a, b *controlv1.LabState) int {
			return cmp.Or(cmp.Compare(a.GetOwner(), b.GetOwner()), cmp.Compare(a.GetSpec().GetName(), b.GetSpec().GetName()))
		})
		labs = append(v.labsOf(caller.Person), others...)
	}
	var list []seenLab
	for _, lab := range labs {
		if place := v.placeIn(caller, lab); place != nil {
			list = append(list, seenLab{LabState: lab, place: place})
		}
	}
	return list
}

// runFor finds the run that a caller means. Runs are not shared.
func (v view) runFor(caller auth.Caller, name string) (*controlv1.RunState, *sight.Place, error) {
	if run := v.runCalled(meantBy(caller, name)); mayHaveRun(caller, run) {
		return run, sight.Whole(), nil
	}
	return nil, nil, noRun(name)
}

func mayHaveRun(caller auth.Caller, run *controlv1.RunState) bool {
	return run != nil && ownsAll(caller, run.GetOwner()) && caller.Scope.Covers(run.GetOwner(), runCall(run))
}

// runsFor lists the runs that a caller may see, those of each owner in the order they were made.
func (v view) runsFor(caller auth.Caller) []*controlv1.RunState {
	runs := v.runs()
	if caller.Role != auth.Admin {
		runs = v.runsOf(caller.Person)
	}
	return slices.DeleteFunc(runs, func(r *controlv1.RunState) bool { return !mayHaveRun(caller, r) })
}

// labRoleName is a role in a lab as people write it: "operator".
func labRoleName(r labv1.LabRole) string {
	return strings.ToLower(strings.TrimPrefix(r.String(), "LAB_ROLE_"))
}
