package orchestrator

import (
	"cmp"
	"slices"
)

// assignment is a lab or a run that a worker shall host.
type assignment struct {
	labID string
	epoch uint64
	ended bool // a run that has ended: its files are kept, it is not hosted
}

// holding is a lab or a run as a worker has it.
type holding struct {
	labID   string
	epoch   uint64
	running bool // else only files are left
	busy    bool // an action on it is under way
	failed  bool // it could not be started under this epoch
}

// action is a step from what a worker has to what it shall have.
type action struct {
	kind  actionKind
	labID string
	epoch uint64
}

type actionKind int

const (
	actionStart  actionKind = iota + 1 // build it and replay its journal
	actionStop                         // end it, its files stay
	actionRemove                       // end it, its files go
)

// reconcile lists the steps that make what a worker has what it shall have, in the order of the labs' ids. A lab that
// is busy gets its next step when it no longer is.
func reconcile(desired []assignment, actual []holding) []action {
	have := make(map[string]holding, len(actual))
	for _, h := range actual {
		have[h.labID] = h
	}
	wanted := make(map[string]bool, len(desired))
	var steps []action
	for _, d := range desired {
		wanted[d.labID] = true
		h := have[d.labID]
		switch {
		case h.busy:
		case d.ended && h.running:
			steps = append(steps, action{actionStop, d.labID, h.epoch})
		case d.ended:
		case h.epoch == d.epoch && (h.running || h.failed):
		default:
			steps = append(steps, action{actionStart, d.labID, d.epoch})
		}
	}
	for _, h := range actual {
		if !wanted[h.labID] && !h.busy {
			steps = append(steps, action{actionRemove, h.labID, h.epoch})
		}
	}
	slices.SortFunc(steps, func(a, b action) int { return cmp.Compare(a.labID, b.labID) })
	return steps
}
