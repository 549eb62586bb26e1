package orchestrator

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// Bounds that workers keep, since nobody else sees what is bounded: events a second, bytes recorded, and connections at once. They
// change nothing that a lab computes. The first two hold a lab back, and may be changed at any time; how many connections a lab
// may have ends it, and is fixed when the lab is made, so that its journal means the same for ever.

// boundsEvery is how often workers are told what persons may use there. A lab that is started brings its owner's bounds along.
const boundsEvery = time.Second

// connectionsOf is how many connections a lab may have that a person makes now; 0: as many as there is room for.
func (v view) connectionsOf(person string) uint64 {
	p := v.person(person)
	if p == nil {
		return 0
	}
	if most := v.boundsOf(person, p.GetRole()).most[labv1.QuotaSubject_QUOTA_SUBJECT_CONNECTIONS]; most != noLimit {
		return most
	}
	return 0
}

// atOnce refuses a run whose inputs open more connections at one instant than it may have.
func atOnce(journal []*labv1.JournalEntry, most uint64) *Refusal {
	if most == 0 {
		return nil
	}
	opened := make(map[int64]uint64)
	for _, e := range journal {
		if in := e.GetInput(); in.GetTransfer() == nil && in.GetHttpGet() == nil {
			continue
		}
		if opened[e.GetTNs()]++; opened[e.GetTNs()] > most {
			r := refuse(labv1.ErrorReason_ERROR_REASON_QUOTA, "at %v of lab time the run opens more than %d connections at once, which is what it may have; "+
				"spread them over time, or ask for more; see `labctl quota get`", time.Duration(e.GetTNs()), most)
			r.Subject = subjectName(labv1.QuotaSubject_QUOTA_SUBJECT_CONNECTIONS)
			return r
		}
	}
	return nil
}

// boundsAt is what persons may use of each worker. A person's rate is shared out by how many labs each worker has of them; what
// may yet be recorded is told to each that has something of theirs.
func (l *leadership) boundsAt(v view) map[string][]*workerv1.OwnerBounds {
	at := make(map[string]map[string]*workerv1.OwnerBounds)
	bound := func(worker, owner string) *workerv1.OwnerBounds {
		if at[worker] == nil {
			at[worker] = make(map[string]*workerv1.OwnerBounds)
		}
		if at[worker][owner] == nil {
			at[worker][owner] = &workerv1.OwnerBounds{Owner: owner}
		}
		return at[worker][owner]
	}
	if v.anySet(labv1.QuotaSubject_QUOTA_SUBJECT_EVENT_RATE) {
		for _, p := range v.people() {
			for worker, most := range v.ratesOf(p.GetName()) {
				bound(worker, p.GetName()).EventsPerS = most
			}
		}
	}
	bytes, on := l.fleet.recordedBy()
	for owner, workers := range on {
		most := noLimit
		if p := v.person(owner); p != nil {
			most = v.boundsOf(owner, p.GetRole()).most[labv1.QuotaSubject_QUOTA_SUBJECT_TRACE_BYTES]
		}
		if most == noLimit {
			continue
		}
		left := most - min(most, bytes[owner])
		for _, worker := range workers {
			bound(worker, owner).TraceBytesLeft = &left
		}
	}
	lists := make(map[string][]*workerv1.OwnerBounds)
	for worker, owners := range at {
		for _, owner := range slices.Sorted(maps.Keys(owners)) {
			lists[worker] = append(lists[worker], owners[owner])
		}
	}
	return lists
}

// anySet tells whether a bound of a subject was set for anybody: of some, nothing is bounded by itself.
func (v view) anySet(s labv1.QuotaSubject) bool {
	return slices.ContainsFunc(all[controlv1.QuotaState](v, tableQuotas, "id"), func(q *controlv1.QuotaState) bool {
		return slices.ContainsFunc(q.GetLimits(), func(l *labv1.QuotaLimit) bool { return l.GetSubject() == s })
	})
}

// ratesOf is what a person may run on each worker that has labs of theirs; nil: as much as there is room for.
func (v view) ratesOf(person string) map[string]uint64 {
	p := v.person(person)
	if p == nil {
		return nil
	}
	most := v.boundsOf(person, p.GetRole()).most[labv1.QuotaSubject_QUOTA_SUBJECT_EVENT_RATE]
	if most == noLimit {
		return nil
	}
	labs, total := make(map[string]uint64), uint64(0)
	count := func(workers []string) {
		for _, w := range workers {
			labs[w]++
			total++
		}
	}
	for _, lab := range v.labsOf(person) {
		count(lab.GetWorkers())
	}
	for _, run := range v.runsOf(person) {
		if live(run) {
			count(run.GetWorkers())
		}
	}
	for w, n := range labs {
		labs[w] = max(1, uint64(float64(most)*float64(n)/float64(total)))
	}
	return labs
}

// keepBounds tells the workers what persons may use there, for as long as this server leads.
func (l *leadership) keepBounds() {
	for l.ctx.Err() == nil {
		l.tellBounds()
		pause(l.ctx, boundsEvery)
	}
}

// tellBounds tells each worker of all bounds there, also where there are none: what it was told before, with a lab or by a
// leader before, counts no more. The workers tell how much of their disks labs take.
func (l *leadership) tellBounds() {
	v := l.c.store.view()
	bounds := l.boundsAt(v)
	var asked sync.WaitGroup
	for name, client := range l.fleet.present() {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(l.ctx, askTimeout)
			defer cancel()
			told, err := client.SetBounds(ctx, &workerv1.SetBoundsRequest{Term: l.term, Owners: bounds[name], Revision: l.fleet.heardRecorded(name)})
			if err == nil {
				l.fleet.noteRecorded(v, name, told)
			} else if len(bounds[name]) > 0 && l.ctx.Err() == nil {
				l.c.log.Warn("a worker could not be told what persons may use there", "worker", name, "error", err)
			}
		})
	}
	asked.Wait()
}

// measured is what only workers know of what a person has: how busy it is, the connections of the lab that has most, and what is
// recorded.
func (l *leadership) measured(ctx context.Context, v view, person string) (n amounts) {
	l.askLocal(ctx)
	its := make(map[string]bool)
	for _, lab := range v.labsOf(person) {
		its[lab.GetId()] = true
	}
	for _, run := range v.runsOf(person) {
		its[run.GetId()] = live(run)
	}
	events, conns := 0.0, make(map[string]uint64)
	for _, lab := range l.fleet.labReports() {
		if its[lab.GetLabId()] {
			events += lab.GetEventsPerS()
			conns[lab.GetLabId()] += lab.GetConnections()
		}
	}
	n[labv1.QuotaSubject_QUOTA_SUBJECT_EVENT_RATE] = uint64(events)
	n[labv1.QuotaSubject_QUOTA_SUBJECT_TRACE_BYTES] = l.recorded(v, person).GetBytes()
	for _, c := range conns {
		n[labv1.QuotaSubject_QUOTA_SUBJECT_CONNECTIONS] = max(n[labv1.QuotaSubject_QUOTA_SUBJECT_CONNECTIONS], c)
	}
	return n
}

// labReports is what all workers have told of their labs last.
func (f *fleet) labReports() (list []*workerv1.LabReport) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sites {
		list = append(list, s.report.GetLabs()...)
	}
	return list
}
