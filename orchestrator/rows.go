package orchestrator

import (
	"cmp"
	"fmt"
	"slices"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// What every change adds to is kept as lists that only grow at their end: a row of the store for each input and each request
// would cost more than all else that a change costs. A longer list shares its predecessor's array, so that a state that is
// read from stays what it is: nothing before a list's end ever changes, and a state reads no further than its own ends.

// journalRow is the journal of a lab or a run: input n has index n+1.
type journalRow struct {
	labID  string
	inputs []*controlv1.InputState
}

// requestRow is the requests that have been carried out whose ids fall to it, in the order of the log.
type requestRow struct {
	key  string
	list []*controlv1.RequestState
}

// requestRows is how many there are: of 100,000 requests that are kept, some twenty-five fall to each.
const requestRows = 4096

// requestRowKey is the row that a request's id falls to.
func requestRowKey(requestID string) string {
	h := uint32(2166136261) // FNV-1a
	for i := range len(requestID) {
		h = (h ^ uint32(requestID[i])) * 16777619
	}
	return fmt.Sprintf("%03x", h%requestRows)
}

// with gives the row with one request more, and without those that are no longer kept then.
func (r *requestRow) with(more *controlv1.RequestState) *requestRow {
	kept := 0
	if r != nil {
		for kept < len(r.list) && !remembered(r.list[kept], more.GetRaftIndex()) {
			kept++
		}
		return &requestRow{key: r.key, list: append(r.list[kept:], more)}
	}
	return &requestRow{key: requestRowKey(more.GetRequestId()), list: []*controlv1.RequestState{more}}
}

// remembered tells whether a request is still known when the log is at an index.
func remembered(r *controlv1.RequestState, index uint64) bool {
	return r.GetRaftIndex()+keptRequests > index
}

func (v view) journal(lab string) []*controlv1.InputState {
	if row := get[journalRow](v, tableJournals, "id", lab); row != nil {
		return row.inputs
	}
	return nil
}

func (v view) input(lab string, index uint64) *labv1.JournalEntry {
	if inputs := v.journal(lab); index > 0 && index <= uint64(len(inputs)) {
		return inputs[index-1].GetEntry()
	}
	return nil
}

// inputs lists a lab's journal after an index, at most limit entries; 0: all.
func (v view) inputs(lab string, after uint64, limit int) []*labv1.JournalEntry {
	var list []*labv1.JournalEntry
	v.eachInput(lab, after, func(in *controlv1.InputState) bool {
		list = append(list, in.GetEntry())
		return limit == 0 || len(list) < limit
	})
	return list
}

// eachInput visits a lab's journal after an index, as long as visit says true.
func (v view) eachInput(lab string, after uint64, visit func(*controlv1.InputState) bool) {
	inputs := v.journal(lab)
	for _, in := range inputs[min(after, uint64(len(inputs))):] {
		if !visit(in) {
			return
		}
	}
}

// journaled is how many inputs a lab or a run has had.
func (v view) journaled(lab string) uint64 { return uint64(len(v.journal(lab))) }

func (v view) journals() []*journalRow { return all[journalRow](v, tableJournals, "id") }

// request is what a request came to, if that is still known when the log is at an index; with 0, if it is known at all.
func (v view) request(requestID string, index uint64) *controlv1.RequestState {
	row := get[requestRow](v, tableRequests, "id", requestRowKey(requestID))
	if row == nil || requestID == "" {
		return nil
	}
	for _, r := range slices.Backward(row.list) {
		if r.GetRequestId() == requestID {
			if !remembered(r, index) {
				return nil
			}
			return r
		}
	}
	return nil
}

// requests lists what has been carried out, in the order of the log.
func (v view) requests() []*controlv1.RequestState {
	var list []*controlv1.RequestState
	for _, row := range all[requestRow](v, tableRequests, "id") {
		list = append(list, row.list...)
	}
	slices.SortFunc(list, func(a, b *controlv1.RequestState) int { return cmp.Compare(a.GetRaftIndex(), b.GetRaftIndex()) })
	return list
}
