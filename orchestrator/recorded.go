package orchestrator

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// What labs and runs have recorded lies on workers, who tell the leader how much it is. The leader puts it into the commands that
// make labs and runs, so that whoever applies them decides by the same figure.

// largestNamed is how many of the largest are named to who has too much.
const largestNamed = 3

// recordings is how much of a worker's disk labs and runs take, as the worker has told.
type recordings struct {
	revision uint64
	labs     map[string]uint64 // bytes, by id
	owners   map[string]uint64 // bytes of all, by person
}

// tell takes in what a worker tells.
func (r *recordings) tell(v view, told *workerv1.SetBoundsResponse) {
	if told.GetWhole() || r.labs == nil {
		r.labs, r.owners = make(map[string]uint64), make(map[string]uint64)
	}
	r.revision = told.GetRevision()
	for _, l := range told.GetLabs() {
		owner := v.ownerOf(l.GetLabId())
		r.owners[owner] += l.GetBytes() - r.labs[l.GetLabId()]
		r.labs[l.GetLabId()] = l.GetBytes()
	}
}

// ownerOf is whose a lab or a run is.
func (v view) ownerOf(id string) string {
	if lab := v.lab(id); lab != nil {
		return lab.GetOwner()
	}
	return v.run(id).GetOwner()
}

// noteRecorded takes in what a worker has told of its disk.
func (f *fleet) noteRecorded(v view, name string, told *workerv1.SetBoundsResponse) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sites[name]; s != nil {
		s.recorded.tell(v, told)
	}
}

// heardRecorded is the revision of what a worker has told of its disk last.
func (f *fleet) heardRecorded(name string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sites[name]; s != nil {
		return s.recorded.revision
	}
	return 0
}

// recordedBy is how much each person has recorded, and on which workers it is.
func (f *fleet) recordedBy() (bytes map[string]uint64, on map[string][]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	bytes, on = make(map[string]uint64), make(map[string][]string)
	for name, s := range f.sites {
		for owner, n := range s.recorded.owners {
			if owner != "" {
				bytes[owner] += n
				on[owner] = append(on[owner], name)
			}
		}
	}
	return bytes, on
}

// recordedIn is how much the directories of a lab or a run take, on all workers.
func (f *fleet) recordedIn(ids []string) []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]uint64, len(ids))
	for _, s := range f.sites {
		for i, id := range ids {
			list[i] += s.recorded.labs[id]
		}
	}
	return list
}

// recorded is how much a person has recorded, and the largest of it.
func (l *leadership) recorded(v view, person string) *controlv1.TraceUse {
	type holder struct {
		name  string
		bytes uint64
	}
	var ids []string
	var all []holder
	for _, lab := range v.labsOf(person) {
		ids, all = append(ids, lab.GetId()), append(all, holder{name: "lab " + lab.GetSpec().GetName()})
	}
	for _, run := range v.runsOf(person) {
		ids, all = append(ids, run.GetId()), append(all, holder{name: "run " + runCall(run)})
	}
	use := &controlv1.TraceUse{}
	for i, bytes := range l.fleet.recordedIn(ids) {
		all[i].bytes = bytes
		use.Bytes += bytes
	}
	slices.SortStableFunc(all, func(a, b holder) int { return cmp.Compare(b.bytes, a.bytes) })
	var named []string
	for _, h := range all[:min(largestNamed, len(all))] {
		if h.bytes > 0 {
			named = append(named, fmt.Sprintf("%s (%s)", h.name, sizeText(h.bytes)))
		}
	}
	use.Largest = strings.Join(named, ", ")
	return use
}

// roomToRecord refuses a lab or a run of a person who has recorded as much as they may.
func (v view) roomToRecord(person string, has *controlv1.TraceUse) *Refusal {
	p := v.person(person)
	if p == nil {
		return nil
	}
	const subject = labv1.QuotaSubject_QUOTA_SUBJECT_TRACE_BYTES
	most := v.boundsOf(person, p.GetRole()).most[subject]
	if has.GetBytes() < most {
		return nil
	}
	r := refuse(labv1.ErrorReason_ERROR_REASON_QUOTA,
		"what %s's labs and runs have recorded takes %s, and may take %s; most of it is of %s: labctl delete run NAME, labctl delete lab NAME",
		person, sizeText(has.GetBytes()), sizeText(most), cmp.Or(has.GetLargest(), "none that is left"))
	r.Subject = subjectName(subject)
	return r
}

// sizeText is a number of bytes for people.
func sizeText(n uint64) string {
	for _, u := range []struct {
		shift uint
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n >= 1<<u.shift {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(uint64(1)<<u.shift), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
