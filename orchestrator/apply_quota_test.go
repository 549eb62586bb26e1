package orchestrator

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"labd.dev/internal/auth"
	"labd.dev/internal/runbook"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

const overQuotaReason = labv1.ErrorReason_ERROR_REASON_QUOTA

// enrolled is a machine that knows bob, a student, ivy, an instructor, and eve, an administrator.
func enrolled(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	m.want("", &controlv1.ImportPeople{People: []*controlv1.ImportPerson{
		person("bob", auth.Student), person("ivy", auth.Instructor), person("eve", auth.Admin)}})
	return m
}

func labOf(owner string, i int) *controlv1.CreateLab {
	c := createLab(fmt.Sprintf("l%d", i))
	c.LabId, c.Owner = fmt.Sprintf("%s.%d", owner, i), owner
	return c
}

func runOf(owner string, i int) *controlv1.CreateRun {
	return &controlv1.CreateRun{Name: "x", Spec: testSpec("x"), Workers: []string{"w"}, Owner: owner, RunId: fmt.Sprintf("%s.r%d", owner, i)}
}

func atMost(s labv1.QuotaSubject, n uint64) *labv1.QuotaLimit {
	return &labv1.QuotaLimit{Subject: s, Bound: &labv1.QuotaLimit_AtMost{AtMost: n}}
}

func usual(s labv1.QuotaSubject) *labv1.QuotaLimit {
	return &labv1.QuotaLimit{Subject: s, Bound: &labv1.QuotaLimit_Usual{Usual: true}}
}

// Each subject is bounded, and its refusal names it, the bound and what is in use.
func TestQuotaOfEachSubject(t *testing.T) {
	larger := func() *controlv1.AppendInput {
		c := appendInput("bob.0", 1, 1)
		spec := testSpec("l0")
		spec.Nodes = append(spec.Nodes, &labv1.NodeSpec{Name: "c"})
		c.Entry.Input = &labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: spec}}}
		return c
	}
	recorded := func(run *controlv1.CreateRun, bytes uint64) any {
		run.Recorded = &controlv1.TraceUse{Bytes: bytes, Largest: "run x-1 (1.0 KiB)"}
		return run
	}
	file := func(sum string, size uint64) any {
		return &controlv1.AddFile{Sha256: sum, SizeBytes: size, Owner: "bob"}
	}
	for _, c := range []struct {
		subject labv1.QuotaSubject
		limit   uint64
		fits    []any
		over    any
		said    string
	}{
		{labv1.QuotaSubject_QUOTA_SUBJECT_LABS, 2, []any{labOf("bob", 0), labOf("bob", 1)}, labOf("bob", 2), "bob has 2 labs, and may have 2"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_NODES, 5, []any{labOf("bob", 0), runOf("bob", 1)}, labOf("bob", 2), "bob has 4 nodes in labs and runs, and may have 5: 2 more"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_NODES, 2, []any{labOf("bob", 0)}, larger(), "bob has 2 nodes in labs and runs, and may have 2: 1 more"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_LINKS, 1, []any{labOf("bob", 0)}, runOf("bob", 1), "bob has 1 links in labs and runs, and may have 1"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_CONCURRENT_RUNS, 1, []any{runOf("bob", 1), &controlv1.EndRun{RunId: "bob.r1"}, runOf("bob", 2)}, runOf("bob", 3), "bob has 1 runs at a time, and may have 1"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_RUNS, 1, []any{runOf("bob", 1), &controlv1.EndRun{RunId: "bob.r1"}}, runOf("bob", 2), "bob has 1 runs kept, and may have 1"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_FILES, 1, []any{file("aa", 3), file("aa", 3)}, file("bb", 3), "bob has 1 files, and may have 1"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_FILE_BYTES, 10, []any{file("aa", 10)}, file("bb", 1), "bob has 10 bytes of files, and may have 10: 1 more"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_FILE_BYTES, 10, nil, file("bb", ^uint64(0)), "bob has 0 bytes of files"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_TRACE_BYTES, 2048, []any{runOf("bob", 1), &controlv1.EndRun{RunId: "bob.r1"}, recorded(runOf("bob", 2), 2047)}, recorded(runOf("bob", 3), 2048),
			"what bob's labs and runs have recorded takes 2.0 KiB, and may take 2.0 KiB; most of it is of run x-1 (1.0 KiB): labctl delete run NAME"},
	} {
		t.Run(subjectName(c.subject), func(t *testing.T) {
			m := enrolled(t)
			m.want("", &controlv1.SetQuota{User: "bob", Limits: []*labv1.QuotaLimit{atMost(c.subject, c.limit)}})
			for _, cmd := range c.fits {
				m.want("", cmd)
			}
			before := m.bytes()
			res, _ := m.apply("", c.over).(result)
			if r := res.refused; r == nil || r.Reason != overQuotaReason || r.Subject != subjectName(c.subject) || !strings.Contains(r.Message, c.said) {
				t.Fatalf("%+v; want a refusal that says %q", r, c.said)
			}
			if c.subject == labv1.QuotaSubject_QUOTA_SUBJECT_LABS {
				runbook.Says(t, "somebody has reached a quota", overQuotaReason.String(), res.refused.Message)
			}
			if !bytes.Equal(before, m.bytes()) {
				t.Fatal("it was refused and yet changed the state")
			}
			// Others have their own.
			m.want("", labOf("ivy", 0))
			m.want("", runOf("ivy", 0))
		})
	}
}

// A bound below what is in use takes nothing away, and more is refused until there is less.
func TestQuotaBelowWhatIsInUse(t *testing.T) {
	m := enrolled(t)
	for i := range 4 {
		m.want("", labOf("bob", i))
	}
	m.want("", &controlv1.SetQuota{User: "bob", Limits: []*labv1.QuotaLimit{
		atMost(labv1.QuotaSubject_QUOTA_SUBJECT_LABS, 2), atMost(labv1.QuotaSubject_QUOTA_SUBJECT_NODES, 5)}})
	v := m.fsm.store.view()
	if over := v.peopleOver("bob", auth.Student, nil); len(v.labsOf("bob")) != 4 || len(over) != 1 || over[0] != "bob" {
		t.Fatalf("%d labs are left, and over are %v", len(v.labsOf("bob")), over)
	}
	same := appendInput("bob.0", 1, 1)
	same.Entry.Input = &labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: testSpec("l0")}}}
	m.want("", same) // what is there may be changed, as long as it does not grow
	for i := range 3 {
		m.wantRefusal(overQuotaReason, "", labOf("bob", 9))
		m.want("", &controlv1.DeleteLab{LabId: fmt.Sprintf("bob.%d", i)})
	}
	if over := m.fsm.store.view().peopleOver("", auth.Student, nil); over != nil {
		t.Errorf("over are %v", over)
	}
	m.want("", labOf("bob", 9))
	m.wantRefusal(overQuotaReason, "", labOf("bob", 10))
}

// A person's own bound goes before the role's, and that before what is built in. Administrators have none unless it is set, and
// who is given another role has that role's.
func TestWhoseBoundCounts(t *testing.T) {
	const labs = labv1.QuotaSubject_QUOTA_SUBJECT_LABS
	m := enrolled(t)
	want := func(person string, n uint64, by labv1.QuotaUse_Origin) {
		t.Helper()
		v := m.fsm.store.view()
		if b := v.boundsOf(person, v.person(person).GetRole()); b.most[labs] != n || b.by[labs] != by {
			t.Errorf("%s may have %d labs, by %v; want %d, by %v", person, b.most[labs], b.by[labs], n, by)
		}
	}
	want("bob", 5, labv1.QuotaUse_ORIGIN_BUILT_IN)
	want("ivy", 50, labv1.QuotaUse_ORIGIN_BUILT_IN)
	want("eve", noLimit, labv1.QuotaUse_ORIGIN_BUILT_IN)
	m.want("", &controlv1.SetQuota{Role: auth.Student, Limits: []*labv1.QuotaLimit{atMost(labs, 1)}})
	want("bob", 1, labv1.QuotaUse_ORIGIN_ROLE)
	want("ivy", 50, labv1.QuotaUse_ORIGIN_BUILT_IN)
	m.want("", &controlv1.SetQuota{User: "bob", Limits: []*labv1.QuotaLimit{{Subject: labs, Bound: &labv1.QuotaLimit_Unlimited{Unlimited: true}}}})
	want("bob", noLimit, labv1.QuotaUse_ORIGIN_USER)
	for i := range 8 {
		m.want("", labOf("bob", i))
	}
	m.want("", &controlv1.SetQuota{User: "bob", Limits: []*labv1.QuotaLimit{usual(labs)}})
	want("bob", 1, labv1.QuotaUse_ORIGIN_ROLE)
	m.want("", &controlv1.SetQuota{Role: auth.Student, Limits: []*labv1.QuotaLimit{usual(labs)}})
	want("bob", 5, labv1.QuotaUse_ORIGIN_BUILT_IN)
	m.want("", &controlv1.UpdatePerson{Name: "bob", Role: auth.Instructor})
	want("bob", 50, labv1.QuotaUse_ORIGIN_BUILT_IN)
	if left := objects(m, tableQuotas); len(left) > 0 {
		t.Errorf("what is as usual is kept: %v", left)
	}
	m.want("", &controlv1.SetQuota{User: "eve", Limits: []*labv1.QuotaLimit{atMost(labs, 0)}})
	m.wantRefusal(overQuotaReason, "", labOf("eve", 0))
	m.want("", &controlv1.RemovePerson{Name: "bob"})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_USER_NOT_FOUND, "", &controlv1.SetQuota{User: "bob", Limits: []*labv1.QuotaLimit{atMost(labs, 9)}})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_USER_NOT_FOUND, "", &controlv1.SetQuota{User: "nobody", Limits: []*labv1.QuotaLimit{atMost(labs, 9)}})
}

// A student who makes and deletes labs, runs and files in a loop ends with what is there: nothing is left counted, nothing is
// had for nothing, and a server that begins from a snapshot in the middle of it comes to the same.
func TestQuotaOfALoop(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	m := enrolled(t)
	var other *machine
	step := func(i int, kind any) {
		m.apply(fmt.Sprint("r", i), kind)
		if other != nil {
			other.apply(fmt.Sprint("r", i), kind)
		}
	}
	for i := range 2_000 {
		if i == 1_000 {
			other = newMachine(t)
			if err := other.fsm.Restore(io.NopCloser(bytes.NewReader(m.bytes()))); err != nil {
				t.Fatal(err)
			}
			other.index = m.index
		}
		n := r.IntN(12)
		switch r.IntN(7) {
		case 0, 1:
			step(i, labOf("bob", n))
		case 2:
			step(i, &controlv1.DeleteLab{LabId: fmt.Sprint("bob.", n)})
		case 3:
			if m.fsm.store.view().run(fmt.Sprint("bob.r", n)) == nil {
				step(i, runOf("bob", n))
			}
		case 4:
			step(i, &controlv1.EndRun{RunId: fmt.Sprint("bob.r", n)})
		case 5:
			step(i, &controlv1.DeleteRun{RunId: fmt.Sprint("bob.r", n)})
		case 6:
			step(i, &controlv1.AddFile{Sha256: fmt.Sprint("f", n), SizeBytes: 7, Owner: "bob"})
		}
		have, most := m.fsm.store.view().inUse("bob"), usualLimits(auth.Student)
		for s := range have {
			if have[s] > most[s] {
				t.Fatalf("step %d: %d %s, and at most %d are allowed", i, have[s], subjectWords(labv1.QuotaSubject(s)), most[s])
			}
		}
	}
	if !bytes.Equal(m.bytes(), other.bytes()) {
		t.Error("the server that began from a snapshot came to another state")
	}
	for n := range 12 {
		m.apply("", &controlv1.DeleteLab{LabId: fmt.Sprint("bob.", n)})
		m.apply("", &controlv1.DeleteRun{RunId: fmt.Sprint("bob.r", n)})
		m.apply("", &controlv1.DropFiles{Sha256: []string{fmt.Sprint("f", n)}, Holdings: []*controlv1.FileHolding{{Owner: "bob", Sha256: fmt.Sprint("f", n)}}})
	}
	if have := m.fsm.store.view().inUse("bob"); have != (amounts{}) {
		t.Errorf("nothing is left, and counted is %v", have)
	}
	for i := range 5 {
		m.want("", labOf("bob", i))
	}
	m.wantRefusal(overQuotaReason, "", labOf("bob", 5))
}

// A lab of a class counts as its student's, and made anew it takes the place of the one before.
func TestInstancesCount(t *testing.T) {
	m := enrolled(t)
	m.want("", &controlv1.SetQuota{Role: auth.Student, Limits: []*labv1.QuotaLimit{atMost(labv1.QuotaSubject_QUOTA_SUBJECT_LABS, 1)}})
	m.want("r1", publish("lab1", 0, nil))
	m.want("r2", startOf("bob", "lab1.1", false))
	m.want("r3", startOf("bob", "lab1.2", true))
	m.wantRefusal(overQuotaReason, "r4", labOf("bob", 0))
	m.want("r5", &controlv1.DeleteLab{LabId: "lab1.2"})
	m.want("r6", labOf("bob", 0))
	m.wantRefusal(overQuotaReason, "r7", startOf("bob", "lab1.3", false))
}

// Without identity nobody has a quota, as nobody is known.
func TestNobodyInParticularHasNoQuota(t *testing.T) {
	m := newMachine(t)
	m.want("", &controlv1.SetQuota{Role: auth.Student, Limits: []*labv1.QuotaLimit{atMost(labv1.QuotaSubject_QUOTA_SUBJECT_LABS, 0)}})
	for i := range 60 {
		m.want("", createLab(fmt.Sprint("l", i)))
	}
}
