package orchestrator

import (
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// A lab that nobody uses is stopped after a while, of which its people are warned before (idle.go decides when). It keeps its
// file, its journal and its members; what it took of a worker is free for others.

// lastUse is the wall time at which a lab is known to have been used last.
func (v view) lastUse(lab *controlv1.LabState) int64 {
	last := max(lab.GetCreatedUnixNs(), lab.GetUsedUnixNs())
	if inputs := v.journal(lab.GetId()); len(inputs) > 0 {
		last = max(last, inputs[len(inputs)-1].GetAtUnixNs())
	}
	return last
}

// parked tells whether no worker is given a lab, until somebody asks for it.
func parked(lab *controlv1.LabState) bool { return lab.GetQuarantined() || lab.GetStopped() }

func (a *applier) noteUse(c *controlv1.NoteUse) (*controlv1.RequestOutcome, *Refusal) {
	for _, u := range c.GetUses() {
		if lab := a.view.lab(u.GetLabId()); lab != nil && !lab.GetStopped() {
			a.insert(tableLabs, with(lab, func(l *controlv1.LabState) {
				l.UsedUnixNs, l.StopsUnixNs = max(lab.GetUsedUnixNs(), u.GetAtUnixNs()), 0
			}))
		}
	}
	return &controlv1.RequestOutcome{}, nil
}

func (a *applier) warnIdle(c *controlv1.WarnIdle) (*controlv1.RequestOutcome, *Refusal) {
	lab := a.view.lab(c.GetLabId())
	if lab == nil || parked(lab) || lab.GetStopsUnixNs() != 0 || a.view.lastUse(lab) != c.GetUsedUnixNs() {
		return nil, usedMeanwhile()
	}
	lab = with(lab, func(l *controlv1.LabState) { l.StopsUnixNs = c.GetStopsUnixNs() })
	a.insert(tableLabs, lab)
	a.noteIdle(lab, "idle-lifetime: warned", idleNotice(a.view, lab))
	return &controlv1.RequestOutcome{LabId: lab.GetId()}, nil
}

func (a *applier) stopIdle(c *controlv1.StopIdle) (*controlv1.RequestOutcome, *Refusal) {
	lab := a.view.lab(c.GetLabId())
	if lab == nil || parked(lab) || lab.GetEpoch() != c.GetEpoch() || lab.GetStopsUnixNs() == 0 || lab.GetStopsUnixNs() != c.GetStopsUnixNs() {
		return nil, usedMeanwhile()
	}
	lab = with(lab, func(l *controlv1.LabState) {
		l.Stopped, l.StopsUnixNs, l.Workers, l.Epoch = true, 0, nil, lab.GetEpoch()+1
		l.ReachedNs = max(lab.GetReachedNs(), c.GetReachedNs())
	})
	a.insert(tableLabs, lab)
	a.noteIdle(lab, "idle-lifetime: stopped", stoppedReason(a.view, lab))
	return &controlv1.RequestOutcome{LabId: lab.GetId()}, nil
}

// noteIdle writes what labd has done to a lab by itself into the audit.
func (a *applier) noteIdle(lab *controlv1.LabState, what, detail string) {
	a.keepAudit(&controlv1.AuditState{TimeUnixNs: a.now, Method: what, Lab: fullName(lab.GetOwner(), lab.GetSpec().GetName()),
		Object: "lab of " + lab.GetOwner(), Result: resultOK, Detail: detail}, 0)
}

func usedMeanwhile() *Refusal {
	return refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "the lab is gone, or was used meanwhile")
}
