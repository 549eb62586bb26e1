package orchestrator

import (
	"strings"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// Quotas of people. What a person has is counted from the tables each time, by the indexes that begin with the owner: no
// counter is kept beside them that could come to differ, and what was made before there were quotas counts too. The bounds
// themselves keep short what is counted.

// subjects is how many subjects a quota has, the unspecified one included.
const subjects = int(labv1.QuotaSubject_QUOTA_SUBJECT_IDLE_LIFETIME) + 1

// amounts are what of each subject there is, or is to come.
type amounts [subjects]uint64

const (
	// noLimit stands for a bound that is none.
	noLimit = ^uint64(0)
	// setLimit is the greatest bound that can be set; one above says noLimit.
	setLimit = uint64(1) << 62
)

// usualLimits are what people of a role have for whom, and for whose role, nobody has set anything. A student's are for a course:
// some labs side by side, the largest of them with some dozens of nodes, and the runs of one experiment kept. An instructor
// tries out what a class will do. Administrators answer for the servers. Nobody's rate of events is bounded, for persons share a
// worker evenly as it is; nor how long a lab may stand unused, which depends on the course. Bounds that a log knows nothing of must not be among those that applying it asks for: it would come to
// another state than when it was written.
func usualLimits(role labv1.Role) amounts {
	switch role {
	case auth.Student:
		return amounts{0, 5, 200, 400, 2, 50, 200, 1 << 30, noLimit, 10_000, 2 << 30, noLimit}
	case auth.Instructor:
		return amounts{0, 50, 5_000, 10_000, 10, 1_000, 2_000, 4 << 30, noLimit, 100_000, 20 << 30, noLimit}
	}
	return amounts{noLimit, noLimit, noLimit, noLimit, noLimit, noLimit, noLimit, noLimit, noLimit, noLimit, noLimit, noLimit}
}

// holderOf is whose bounds were set: a person's, or a role's. A person's name has no slash.
func holderOf(user string, role labv1.Role) string {
	if user == "" {
		return "role/" + auth.RoleName(role)
	}
	return user
}

func (v view) quota(holder string) *controlv1.QuotaState {
	return get[controlv1.QuotaState](v, tableQuotas, "id", holder)
}

// bounds are a person's or a role's, and who has set each.
type bounds struct {
	most amounts
	by   [subjects]labv1.QuotaUse_Origin
}

func (b *bounds) set(q *controlv1.QuotaState, by labv1.QuotaUse_Origin) {
	for _, l := range q.GetLimits() {
		b.by[l.GetSubject()] = by
		b.most[l.GetSubject()] = boundOf(l)
	}
}

func boundOf(l *labv1.QuotaLimit) uint64 {
	if l.GetUnlimited() {
		return noLimit
	}
	return l.GetAtMost()
}

// boundsOf are the bounds of a person; of the role alone, where the person is "".
func (v view) boundsOf(person string, role labv1.Role) bounds {
	b := bounds{most: usualLimits(role)}
	for i := range b.by {
		b.by[i] = labv1.QuotaUse_ORIGIN_BUILT_IN
	}
	b.set(v.quota(holderOf("", role)), labv1.QuotaUse_ORIGIN_ROLE)
	if person != "" {
		b.set(v.quota(person), labv1.QuotaUse_ORIGIN_USER)
	}
	return b
}

// inUse is what a person has.
func (v view) inUse(person string) amounts {
	var n amounts
	for _, lab := range v.labsOf(person) {
		n.addLab(presentSpec(lab))
	}
	for _, run := range v.runsOf(person) {
		n.addRun(run.GetSpec(), run.GetEndedUnixNs() != 0)
	}
	n[labv1.QuotaSubject_QUOTA_SUBJECT_FILES] = v.counter(ofOwner(counterFiles, person))
	n[labv1.QuotaSubject_QUOTA_SUBJECT_FILE_BYTES] = v.counter(ofOwner(counterFileBytes, person))
	return n
}

func (n *amounts) addSpec(spec *labv1.LabSpec) {
	n[labv1.QuotaSubject_QUOTA_SUBJECT_NODES] += uint64(len(spec.GetNodes()))
	n[labv1.QuotaSubject_QUOTA_SUBJECT_LINKS] += uint64(len(spec.GetLinks()))
}

func (n *amounts) addLab(spec *labv1.LabSpec) {
	n[labv1.QuotaSubject_QUOTA_SUBJECT_LABS]++
	n.addSpec(spec)
}

func (n *amounts) addRun(spec *labv1.LabSpec, ended bool) {
	n[labv1.QuotaSubject_QUOTA_SUBJECT_RUNS]++
	if !ended {
		n[labv1.QuotaSubject_QUOTA_SUBJECT_CONCURRENT_RUNS]++
		n.addSpec(spec)
	}
}

// moreForLab, moreForRun and moreForFile are what each adds to what its owner has.
func moreForLab(spec *labv1.LabSpec) (n amounts) { n.addLab(spec); return n }
func moreForRun(spec *labv1.LabSpec) (n amounts) { n.addRun(spec, false); return n }

func moreForFile(size uint64) (n amounts) {
	n[labv1.QuotaSubject_QUOTA_SUBJECT_FILES]++
	n[labv1.QuotaSubject_QUOTA_SUBJECT_FILE_BYTES] = size
	return n
}

// within refuses what would take a person above a bound, or further above. What the person has above it already stays.
func (v view) within(person string, more amounts) *Refusal {
	p := v.person(person)
	if p == nil {
		return nil // nobody in particular: labd asks nobody who they are
	}
	most := v.boundsOf(person, p.GetRole()).most
	if most == usualLimits(auth.Admin) {
		return nil
	}
	have := v.inUse(person)
	for s, add := range more {
		if limit := most[s]; add > 0 && limit != noLimit && (have[s] > limit || add > limit-have[s]) {
			return overPersons(person, labv1.QuotaSubject(s), have[s], add, limit)
		}
	}
	return nil
}

// mayGrow refuses an input that makes a lab larger than its owner's quota lets it be.
func (v view) mayGrow(lab *controlv1.LabState, in *labv1.Input) *Refusal {
	apply := in.GetApply()
	if lab == nil || apply == nil {
		return nil
	}
	var was, will, more amounts
	was.addSpec(presentSpec(lab))
	will.addSpec(apply.GetSpec())
	for s := range more {
		more[s] = will[s] - min(was[s], will[s])
	}
	if more == (amounts{}) {
		return nil
	}
	return v.within(lab.GetOwner(), more)
}

// subjectWords is what people call a subject.
func subjectWords(s labv1.QuotaSubject) string {
	return [subjects]string{"", "labs", "nodes in labs and runs", "links in labs and runs", "runs at a time", "runs kept", "files", "bytes of files", "events a second", "connections at once in a lab", "bytes recorded", "seconds that a lab may stand unused"}[s]
}

// subjectName is a subject as it is given on a command line: "concurrent-runs".
func subjectName(s labv1.QuotaSubject) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(s.String(), "QUOTA_SUBJECT_")), "_", "-")
}

func overPersons(person string, s labv1.QuotaSubject, have, add, limit uint64) *Refusal {
	r := refuse(labv1.ErrorReason_ERROR_REASON_QUOTA, "%s has %d %s, and may have %d: %d more would be too many; see `labctl quota get`",
		person, have, subjectWords(s), limit, add)
	r.Subject = subjectName(s)
	return r
}
