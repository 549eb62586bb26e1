package orchestrator

import (
	"fmt"
	"slices"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// A lab that ends its worker's process (it takes more memory than there is, or runs into a fault of ours that ends more than
// the lab) would do so wherever it goes, for it is the same lab everywhere. So each lab has the deaths counted that it may
// have caused, and one with too many is given to nobody any more, until it is applied anew. A worker that turns out to live,
// having been cut off or stopped, takes its death back.

const (
	// maxDeaths within deathWindow quarantine a lab. Fewer than these a lab may meet by no fault of its own, on machines
	// that are being replaced one after the other; a lab that kills is rebuilt in seconds, and comes to them in minutes.
	maxDeaths   = 5
	deathWindow = int64(10 * 60 * 1e9) // ns
	// suspectAfter is how many deaths make a lab a suspect: suspects are rebuilt one at a time, so that the next death is
	// that one's alone.
	suspectAfter = 2
)

// died counts the death of a worker's process against labs and runs.
func (a *applier) died(worker, instance string, suspects []string) {
	death := &controlv1.LabDeath{Worker: worker, Instance: instance, AtUnixNs: a.now}
	for _, id := range suspects {
		if lab := a.view.lab(id); lab != nil && !lab.GetQuarantined() {
			a.insert(tableLabs, with(lab, func(l *controlv1.LabState) {
				l.Deaths = a.deathsWith(lab.GetDeaths(), death)
				if len(l.GetDeaths()) >= maxDeaths {
					l.Quarantined, l.Workers, l.Epoch = true, nil, lab.GetEpoch()+1
				}
			}))
		} else if run := a.view.run(id); run != nil && live(run) {
			a.insert(tableRuns, with(run, func(r *controlv1.RunState) { a.diedRunning(r, run, death) }))
		}
	}
}

// diedRunning counts a death against a run. One with too many has ended by them.
func (a *applier) diedRunning(r, was *controlv1.RunState, death *controlv1.LabDeath) {
	r.Deaths = a.deathsWith(was.GetDeaths(), death)
	if len(r.GetDeaths()) < maxDeaths {
		return
	}
	r.Quarantined, r.Workers, r.Epoch, r.Remaking = true, nil, was.GetEpoch()+1, false
	if was.GetEndedUnixNs() == 0 {
		r.EndedUnixNs = a.now
		r.Result = &controlv1.RunResult{Progress: &labv1.LabProgress{NowNs: was.GetReachedNs(), Ended: true, Partial: true,
			Error: "quarantined: " + deathsText(r.GetDeaths())}}
	}
}

// deathsWith lists the deaths within the window, one more among them. A wall clock that was set back leaves none of the
// future.
func (a *applier) deathsWith(deaths []*controlv1.LabDeath, one *controlv1.LabDeath) []*controlv1.LabDeath {
	recent := slices.DeleteFunc(slices.Clone(deaths), func(d *controlv1.LabDeath) bool {
		return max(a.now-d.GetAtUnixNs(), d.GetAtUnixNs()-a.now) > deathWindow
	})
	return append(recent, one)
}

// lives takes back the death of a worker's process that has been heard of again.
func (a *applier) lives(instance string) {
	its := func(d *controlv1.LabDeath) bool { return d.GetInstance() == instance }
	without := func(deaths []*controlv1.LabDeath) []*controlv1.LabDeath {
		return slices.DeleteFunc(slices.Clone(deaths), its)
	}
	for _, lab := range a.view.labs() {
		if slices.ContainsFunc(lab.GetDeaths(), its) {
			a.insert(tableLabs, with(lab, func(l *controlv1.LabState) {
				l.Deaths = without(lab.GetDeaths())
				l.Quarantined = lab.GetQuarantined() && len(l.GetDeaths()) >= maxDeaths
			}))
		}
	}
	for _, run := range a.view.runs() {
		if live(run) && slices.ContainsFunc(run.GetDeaths(), its) {
			a.insert(tableRuns, with(run, func(r *controlv1.RunState) { r.Deaths = without(run.GetDeaths()) }))
		}
	}
}

// releaseLab ends a quarantine, or has a lab go on that nobody had used.
func (a *applier) releaseLab(c *controlv1.ReleaseLab) (*controlv1.RequestOutcome, *Refusal) {
	lab := a.view.lab(c.GetLabId())
	if lab == nil {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "the lab is gone")
	}
	a.insert(tableLabs, with(lab, func(l *controlv1.LabState) {
		l.Quarantined, l.Deaths, l.Epoch = false, nil, lab.GetEpoch()+1 // what waited for it under this one has been answered
		if lab.GetStopped() {
			l.Stopped, l.UsedUnixNs = false, a.now
		}
	}))
	return &controlv1.RequestOutcome{LabId: lab.GetId()}, nil
}

// deathsText tells which workers died.
func deathsText(deaths []*controlv1.LabDeath) string {
	text := fmt.Sprintf("%d processes of workers died within 10 minutes while they had it:", len(deaths))
	for i, d := range deaths {
		if i > 0 {
			text += ","
		}
		text += " " + d.GetWorker()
	}
	return text
}

// quarantineReason says why a lab is nowhere, and what to do.
func quarantineReason(lab *controlv1.LabState) string {
	return fmt.Sprintf("quarantined: %s; to have it tried again, apply it again", deathsText(lab.GetDeaths()))
}
