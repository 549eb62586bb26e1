package orchestrator

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// The wall clock of commands in tests: see command.
const commandTime = int64(1000)

func publish(name string, ifRevision uint64, change func(*controlv1.TemplateState)) *controlv1.PublishTemplate {
	t := &controlv1.TemplateState{Name: name, Spec: testSpec(name), Secret: []byte("secret of " + name), Checks: []*labv1.Check{
		{Id: "a", Points: 4, Verb: &labv1.Check_Exists{Exists: &labv1.EventSelector{Event: "tcp:segment_sent"}}},
		{Id: "b", Points: 4, Hidden: true, Verb: &labv1.Check_Exists{Exists: &labv1.EventSelector{Event: "tcp:segment_lost"}}},
	}}
	if change != nil {
		change(t)
	}
	return &controlv1.PublishTemplate{Template: t, IfRevision: ifRevision}
}

func startOf(person, labID string, reset bool) *controlv1.StartInstance {
	made := testSpec("lab1")
	made.Seed = seedOf([]byte("secret of lab1"), person)
	return &controlv1.StartInstance{Template: "lab1", Revision: 1, Person: person, Reset_: reset,
		Lab: &controlv1.CreateLab{LabId: labID, Spec: made, Workers: []string{"w1"}, Owner: person}}
}

func submit(person, labID string) *controlv1.SubmitInstance {
	return &controlv1.SubmitInstance{Template: "lab1", Person: person, LabId: labID, EndNs: 5}
}

// Of two instructors who edit one template the later one is told so, and nothing of the earlier one's is lost.
func TestTwoInstructorsEditOneTemplate(t *testing.T) {
	m := newMachine(t)
	m.want("r1", publish("lab1", 0, nil))
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_TEMPLATE_CHANGED, "r2", publish("lab1", 0, nil))
	m.want("r3", publish("lab1", 1, func(t *controlv1.TemplateState) { t.Secret, t.LateDays = []byte("another"), 2 }))
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_TEMPLATE_CHANGED, "r4", publish("lab1", 1, nil))
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_TEMPLATE_CHANGED, "r5", publish("other", 1, nil))
	now := m.fsm.store.view().template("lab1")
	if now.GetRevision() != 2 || now.GetLateDays() != 2 || string(now.GetSecret()) != "secret of lab1" {
		t.Errorf("%v: want revision 2, with the secret that seeds are made of as it was", now)
	}
}

func TestInstances(t *testing.T) {
	m := newMachine(t)
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_TEMPLATE_NOT_FOUND, "r0", startOf("ann", "lab1.1", false))
	m.want("r1", publish("lab1", 0, nil))
	m.want("r2", startOf("ann", "lab1.1", false))
	m.want("r3", startOf("bob", "lab1.2", false))
	v := m.fsm.store.view()
	if a, b := v.lab("lab1.1").GetSpec().GetSeed(), v.lab("lab1.2").GetSpec().GetSeed(); a == b || a == 0 || b == 0 {
		t.Errorf("seeds %d and %d: want one of each person's own", a, b)
	}
	if got := m.want("r4", startOf("ann", "lab1.3", false)).GetLabId(); got != "lab1.1" {
		t.Errorf("started twice, it is lab %s", got)
	}
	m.want("r5", startOf("ann", "lab1.3", true))
	v = m.fsm.store.view()
	if i := v.instance("lab1", "ann"); v.lab("lab1.1") != nil || i.GetLabId() != "lab1.3" || i.GetResets() != 1 || v.instanceOf("lab1.3") != i || v.instanceOf("lab1.1") != nil {
		t.Errorf("reset, the instance is %v", i)
	}
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_TEMPLATE_IN_USE, "r6", &controlv1.DeleteTemplate{Name: "lab1"})
	m.want("r7", &controlv1.DeleteTemplate{Name: "lab1", Force: true})
	if v = m.fsm.store.view(); v.lab("lab1.2") == nil || v.instance("lab1", "bob") != nil {
		t.Error("withdrawn, the students' labs are not left as they were")
	}
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_TEMPLATE_NOT_FOUND, "r8", submit("bob", "lab1.2"))
}

// What is made of a published lab is the same for all, unless it is published so.
func TestPublishedLabIsFixed(t *testing.T) {
	for _, changes := range []bool{false, true} {
		m := newMachine(t)
		m.want("r1", publish("lab1", 0, func(t *controlv1.TemplateState) { t.Changes = changes }))
		m.want("r2", startOf("ann", "lab1.1", false))
		apply := &controlv1.AppendInput{LabId: "lab1.1", Epoch: 1, Entry: &labv1.JournalEntry{
			Index: 1, TNs: 1, Input: &labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: testSpec("lab1")}}}}}
		if changes {
			m.want("r3", apply)
		} else {
			m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAB_FIXED, "r3", apply)
		}
	}
}

// A template from which a hundred labs were started is not deleted unasked; deleted all the same, it leaves each as it was.
func TestTemplateOfAHundredLabsIsDeleted(t *testing.T) {
	const students = 100
	m := newMachine(t)
	m.want("r", publish("lab1", 0, nil))
	lab := func(i int) string { return fmt.Sprintf("lab1.%d", i) }
	var before []*controlv1.LabState
	for i := range students {
		m.want("start "+lab(i), startOf(fmt.Sprintf("student%d", i), lab(i), false))
		before = append(before, m.fsm.store.view().lab(lab(i)))
	}
	m.want("s", submit("student0", lab(0)))
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_TEMPLATE_IN_USE, "r1", &controlv1.DeleteTemplate{Name: "lab1"})
	m.want("r2", &controlv1.DeleteTemplate{Name: "lab1", Force: true})
	v := m.fsm.store.view()
	for i := range students {
		if !proto.Equal(v.lab(lab(i)), before[i]) || v.instanceOf(lab(i)) != nil {
			t.Errorf("lab %d: %v, instance %v", i, v.lab(lab(i)), v.instanceOf(lab(i)))
		}
	}
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_TEMPLATE_NOT_FOUND, "r3", submit("student1", lab(1)))
	m.want("r4", &controlv1.DeleteLab{LabId: lab(2)})
}

// A submission holds all that a replay needs: what becomes of the lab afterwards is all one.
func TestSubmissionOutlivesItsLab(t *testing.T) {
	m := newMachine(t)
	m.want("r1", publish("lab1", 0, nil))
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_NOT_STARTED, "r2", submit("ann", "lab1.1"))
	m.want("r3", startOf("ann", "lab1.1", false))
	m.want("r4", &controlv1.AppendInput{LabId: "lab1.1", Epoch: 1, Entry: &labv1.JournalEntry{Index: 1, TNs: 1, Input: &labv1.Input{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{}}}}})
	if a := m.want("r5", submit("ann", "lab1.1")).GetAttempt(); a != 1 {
		t.Errorf("attempt %d", a)
	}
	if a := m.want("r5", submit("ann", "lab1.1")).GetAttempt(); a != 1 {
		t.Errorf("the request once more is attempt %d", a)
	}
	m.want("r6", &controlv1.DeleteLab{LabId: "lab1.1"})
	s := m.fsm.store.view().submission("lab1", "ann", false)
	if len(s.GetJournal()) != 1 || s.GetSpec().GetSeed() == 0 || s.GetEndNs() != 5 {
		t.Errorf("submission %v", s)
	}
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_NOT_STARTED, "r7", submit("ann", "lab1.1"))
	grade := &controlv1.GradeSubmission{Template: "lab1", Person: "ann", Attempt: 1, Grade: &controlv1.Grade{Revision: 1, Whole: true}}
	m.want("r8", grade)
	// Handed in twice: the first one's grade, which comes late, is not the second one's.
	m.want("r9", startOf("ann", "lab1.2", false))
	m.want("r10", submit("ann", "lab1.2"))
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_NOT_SUBMITTED, "r11", grade)
	if s := m.fsm.store.view().submission("lab1", "ann", false); s.GetAttempt() != 2 || s.GetGrade() != nil {
		t.Errorf("%v", s)
	}
}

func TestLateness(t *testing.T) {
	const due = int64(1_000_000_000_000)
	tmpl := &controlv1.TemplateState{Name: "lab1", DueUnixNs: due, LateDays: 2}
	for _, c := range []struct {
		at   int64
		days uint32
		ok   bool
	}{
		{due, 0, true}, {due + 1, 1, true}, {due + day, 1, true}, {due + day + 1, 2, true}, {due + 2*day, 2, true}, {due + 2*day + 1, 0, false},
		{due + 1000*day, 0, false}, {0, 0, true},
	} {
		days, refused := lateness(tmpl, c.at)
		if days != c.days || (refused == nil) != c.ok {
			t.Errorf("%v after the deadline: %d days late, %v; want %d, taken: %v", time.Duration(c.at-due), days, refused, c.days, c.ok)
		}
	}
	if days, refused := lateness(&controlv1.TemplateState{}, due); days != 0 || refused != nil {
		t.Errorf("without a deadline: %d days late, %v", days, refused)
	}
}

// The last submission in time counts, or the last late one if that is worth more.
func TestWhatCounts(t *testing.T) {
	tmpl := publish("lab1", 0, func(t *controlv1.TemplateState) { t.LatePenalty = 0.25 }).GetTemplate()
	of := func(late uint32, whole bool, ok ...bool) *controlv1.SubmissionState {
		s := &controlv1.SubmissionState{Late: late > 0, DaysLate: late, Grade: &controlv1.Grade{Whole: whole}}
		for i, c := range tmpl.GetChecks() {
			s.Grade.Results = append(s.Grade.Results, &labv1.CheckResult{Id: c.GetId(), Points: c.GetPoints(), Ok: ok[i]})
		}
		return s
	}
	for _, c := range []struct {
		inTime, late *controlv1.SubmissionState
		lateCounts   bool
		score        float64
	}{
		{of(0, true, true, false), of(1, true, true, true), true, 6},
		{of(0, true, true, false), of(2, true, true, true), false, 4},
		{of(0, true, true, true), of(1, true, true, true), false, 8},
		{of(0, true, false, false), of(4, true, true, true), false, 0},
		{of(0, false, true, false), of(3, true, true, true), true, 2}, // the one in time is not graded whole yet
	} {
		s := counting(tmpl, []*controlv1.SubmissionState{c.inTime, c.late})
		if s.GetLate() != c.lateCounts || scoreOf(tmpl, s) != c.score {
			t.Errorf("%v and %v: the late one counts: %v, with %g points; want %v, %g", c.inTime, c.late, s.GetLate(), scoreOf(tmpl, s), c.lateCounts, c.score)
		}
	}
	if counting(tmpl, nil) != nil {
		t.Error("something counts of nothing")
	}
}

// Hidden checks are asked after the deadline, of all submissions; visible ones at once. The oldest come first.
func TestWhatIsToBeGraded(t *testing.T) {
	m := newMachine(t)
	m.want("r1", publish("lab1", 0, func(t *controlv1.TemplateState) { t.DueUnixNs = commandTime + day }))
	m.want("r2", startOf("ann", "lab1.1", false))
	m.want("r3", startOf("bob", "lab1.2", false))
	m.want("r4", submit("bob", "lab1.2"))
	m.want("r5", submit("ann", "lab1.1"))
	list, later := ungraded(m.fsm.store.view(), commandTime)
	if len(list) != 2 || list[0].whole || list[1].whole || !later {
		t.Fatalf("before the deadline: %v, later %v", list, later)
	}
	for i, person := range []string{"ann", "bob"} {
		m.want([]string{"r6", "r7"}[i], &controlv1.GradeSubmission{
			Template: "lab1", Person: person, Attempt: 1, Grade: &controlv1.Grade{Revision: 1}})
	}
	if list, _ := ungraded(m.fsm.store.view(), commandTime+day); len(list) != 0 {
		t.Errorf("at the deadline: %v", list)
	}
	list, later = ungraded(m.fsm.store.view(), commandTime+day+1)
	if len(list) != 2 || !list[0].whole || later {
		t.Errorf("after it: %v, later %v", list, later)
	}
	m.want("r8", &controlv1.RegradeTemplate{Name: "lab1"})
	if list, _ := ungraded(m.fsm.store.view(), commandTime); len(list) != 2 {
		t.Errorf("to be graded anew: %v", list)
	}
}
