package orchestrator

import (
	"cmp"
	"slices"
)

// assignment is a lab or a run and the workers that shall host it.
type assignment struct {
	labID   string
	epoch   uint64
	workers []string // the first is the head, which is asked for all; none: it waits for one
	ended   bool     // a run that has ended: its files are kept, it is not hosted
	held    bool     // too many workers died with it: it is hosted nowhere
	suspect bool     // workers died with it: it is rebuilt when no other suspect is
}

// standing is what this leadership has done about a lab.
type standing struct {
	busy   bool   // a step is under way
	epoch  uint64 // that all below is about
	begun  bool   // it has been started there, or found running, or a leader before may have
	mine   bool   // it has been started or found running under this leadership, and is followed
	rising bool   // it has been started and has not come to where it was
	failed bool   // it could not be built
}

// holding is a lab or a run as a worker has it.
type holding struct {
	epoch     uint64
	running   bool   // else only files are left
	broken    bool   // it cannot go on here, through no fault of its own
	pending   uint64 // index of the input that is stamped and waits for its commit; 0: none
	journaled uint64 // inputs committed there
}

// siteView is a worker as its leader knows it.
type siteView struct {
	up       bool // its lease runs, for all that is known
	draining bool
	known    bool               // it has told what it holds
	held     map[string]holding // by lab
}

// action is a step from what workers have to what they shall have.
type action struct {
	kind   actionKind
	labID  string
	epoch  uint64 // that the lab has, or is ended under
	worker string // where it is to be stopped or removed
}

type actionKind int

const (
	actionStart  actionKind = iota + 1 // build it where it is assigned, and replay its journal
	actionAdopt                        // it runs where it is assigned: go on with it
	actionAssign                       // give it to other workers, or anew to the same, under the next epoch
	actionMove                         // stop it and give it to others: its worker is being emptied
	actionStop                         // end it at a worker, its files stay
	actionRemove                       // end it at a worker, its files go
)

// reconcile lists the steps that make what workers have what they shall have, in the order of the labs' ids. A lab that is
// busy gets its next step when it no longer is; of a worker that is up and has not told what it holds nothing is concluded.
func reconcile(desired []assignment, done map[string]standing, sites map[string]siteView) []action {
	var steps []action
	wanted := make(map[string]assignment, len(desired))
	moving, rising := movingFrom(desired, done), suspectRises(desired, done)
	for _, d := range desired {
		wanted[d.labID] = d
		kind := nextFor(d, done[d.labID], sites, moving)
		if d.suspect && kind == actionStart {
			if rising {
				continue
			}
			rising = true
		}
		if kind != 0 {
			steps = append(steps, action{kind: kind, labID: d.labID, epoch: d.epoch})
		}
	}
	for name, site := range sites {
		for labID, h := range site.held {
			d, is := wanted[labID]
			mine := is && slices.Contains(d.workers, name)
			switch {
			case done[labID].busy:
			case !mine:
				steps = append(steps, action{kind: actionRemove, labID: labID, epoch: h.epoch, worker: name})
			case d.ended && h.running:
				steps = append(steps, action{kind: actionStop, labID: labID, epoch: h.epoch, worker: name})
			}
		}
	}
	slices.SortFunc(steps, func(a, b action) int {
		return cmp.Or(cmp.Compare(a.labID, b.labID), cmp.Compare(a.kind, b.kind), cmp.Compare(a.worker, b.worker))
	})
	return steps
}

// nextFor is the next step towards a lab's running where it shall; 0: none.
func nextFor(d assignment, s standing, sites map[string]siteView, moving map[string]bool) actionKind {
	if s.busy || d.ended || d.held {
		return 0
	}
	if s.epoch != d.epoch {
		s = standing{}
	}
	if len(d.workers) == 0 {
		return actionAssign
	}
	known, runs := true, true
	for _, name := range d.workers {
		site := sites[name]
		h := site.held[d.labID]
		if !site.up || site.known && h.broken && h.epoch == d.epoch {
			return actionAssign
		}
		known = known && site.known
		runs = runs && h.running && h.epoch == d.epoch
	}
	switch {
	case s.failed || !known:
		return 0
	case emptied(d, sites, moving):
		return actionMove
	case runs && !s.mine:
		return actionAdopt
	case runs:
		return 0
	case !s.begun:
		return actionStart
	}
	// Its worker has lost it. What the worker stamped under this epoch must count no more.
	return actionAssign
}

// suspectRises tells whether a lab is being built that workers have died with.
func suspectRises(desired []assignment, done map[string]standing) bool {
	return slices.ContainsFunc(desired, func(d assignment) bool {
		s := done[d.labID]
		return d.suspect && s.epoch == d.epoch && (s.busy || s.rising)
	})
}

// emptied tells whether a lab is the next one to leave a worker that is being drained, and marks the worker.
func emptied(d assignment, sites map[string]siteView, moving map[string]bool) bool {
	for _, name := range d.workers {
		if sites[name].draining && !moving[name] {
			moving[name] = true
			return true
		}
	}
	return false
}

// movingFrom names the workers that have a lab with a step under way: a worker is emptied lab by lab, so that not all who
// use it wait at once.
func movingFrom(desired []assignment, done map[string]standing) map[string]bool {
	moving := map[string]bool{}
	for _, d := range desired {
		if done[d.labID].busy {
			for _, name := range d.workers {
				moving[name] = true
			}
		}
	}
	return moving
}
