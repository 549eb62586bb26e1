package orchestrator

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"labd.dev/internal/runbook"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// dies has a process of a worker replaced by the next, at a wall time, with a lab or a run under suspicion.
func (m *machine) dies(worker string, at time.Duration, suspects ...string) {
	m.t.Helper()
	m.deaths++
	m.now = int64(at)
	u := up(worker, "id of "+worker, strconv.Itoa(m.deaths))
	u.Suspects = suspects
	m.want("", u)
}

// Too many deaths within the window quarantine a lab; others, and older ones, do not.
func TestDeathsQuarantine(t *testing.T) {
	m := newMachine(t)
	m.want("", createLab("a"))
	m.want("", createLab("b"))
	m.want("", up("w", "id of w", "0"))
	a := func() *controlv1.LabState { return m.fsm.store.view().lab("a.1") }
	for i := range maxDeaths - 1 {
		m.dies("w", time.Duration(i)*time.Second, "a.1")
	}
	late := time.Duration(deathWindow) + time.Duration(maxDeaths)*time.Second
	m.dies("w", late, "a.1") // those before are long ago
	if len(a().GetDeaths()) != 1 || a().GetQuarantined() {
		t.Fatalf("deaths %v", a())
	}
	m.dies("w", late-2*time.Duration(deathWindow), "a.1") // a clock was set back
	if len(a().GetDeaths()) != 1 {
		t.Fatalf("deaths %v", a())
	}
	for i := range maxDeaths - 2 {
		m.dies("w", late-2*time.Duration(deathWindow)+time.Duration(i), "a.1")
	}
	epoch := a().GetEpoch()
	if a().GetQuarantined() {
		t.Fatal("too early")
	}
	m.want("", &controlv1.WorkerDown{Name: "w", Instance: strconv.Itoa(m.deaths), Suspects: []string{"a.1", "gone"}})
	if s := a(); !s.GetQuarantined() || len(s.GetWorkers()) != 0 || s.GetEpoch() != epoch+1 {
		t.Fatalf("after %d deaths: %v", maxDeaths, s)
	}
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "", &controlv1.AssignLab{LabId: "a.1", Epoch: epoch, Workers: []string{"w"}})
	if b := m.fsm.store.view().lab("b.1"); len(b.GetDeaths()) != 0 {
		t.Errorf("the other lab: %v", b)
	}
	m.want("", up("w", "id of w", strconv.Itoa(m.deaths))) // it was cut off only
	if s := a(); s.GetQuarantined() || len(s.GetDeaths()) != maxDeaths-1 {
		t.Errorf("after the worker came back: %v", s)
	}
	m.want("", &controlv1.ReleaseLab{LabId: "a.1"})
	if s := a(); len(s.GetDeaths()) != 0 || s.GetEpoch() != epoch+2 {
		t.Errorf("released: %v", s)
	}
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "", &controlv1.ReleaseLab{LabId: "gone"})
}

// A run that kills has ended by it, and is not made again.
func TestDeathsEndARun(t *testing.T) {
	m := newMachine(t)
	m.want("", &controlv1.CreateRun{Name: "d", Spec: testSpec("d"), Workers: []string{"w"}})
	m.want("", up("w", "id of w", "0"))
	for range maxDeaths {
		m.dies("w", time.Second, "d-1")
	}
	run := m.fsm.store.view().run("d-1")
	if p := run.GetResult().GetProgress(); run.GetEndedUnixNs() == 0 || !p.GetEnded() || !strings.Contains(p.GetError(), "quarantined: 5 processes") {
		t.Fatalf("the run: %v", run)
	}
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAB_QUARANTINED, "", &controlv1.RemakeRun{RunId: "d-1", Epoch: run.GetEpoch(), Workers: []string{"w"}})
}

// Labs that workers died with are rebuilt one at a time, others meanwhile.
func TestSuspectsRiseOneByOne(t *testing.T) {
	sites := map[string]siteView{"w": {up: true, known: true}}
	labs := []assignment{
		{labID: "a", epoch: 1, workers: []string{"w"}, suspect: true},
		{labID: "b", epoch: 1, workers: []string{"w"}, suspect: true},
		{labID: "c", epoch: 1, workers: []string{"w"}},
		{labID: "d", epoch: 1, held: true},
	}
	start := func(ids ...string) (list []action) {
		for _, id := range ids {
			list = append(list, action{kind: actionStart, labID: id, epoch: 1})
		}
		return list
	}
	for name, c := range map[string]struct {
		a    standing
		want []action
	}{
		"none rises":     {standing{}, start("a", "c")},
		"one is begun":   {standing{epoch: 1, busy: true}, start("c")},
		"one replays":    {standing{epoch: 1, begun: true, mine: true, rising: true}, append([]action{{kind: actionAssign, labID: "a", epoch: 1}}, start("c")...)},
		"one has failed": {standing{epoch: 1, begun: true, failed: true}, start("b", "c")},
	} {
		if got := reconcile(labs, map[string]standing{"a": c.a}, sites); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A lab that ends the process of each worker that has it is given up, says why, and is tried again when it is applied again.
func TestLabThatKillsItsWorkers(t *testing.T) {
	f := startFleetServer(t)
	a := f.join("a", newFakeWorker())
	lab := f.create("x")
	for i := range maxDeaths {
		if err := a.stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		client := newFakeWorker().connect(t)
		f.mu.Lock()
		f.workers["a:1"] = client
		f.mu.Unlock()
		eventually(t, "the next process is let in", func() bool {
			h := hello("a")
			h.Instance = fmt.Sprintf("next %d", i)
			var err error
			a, _, err = f.register(h)
			return err == nil
		})
		eventually(t, "the lab runs again, or no more", func() bool {
			got, err := f.labs.GetLab(t.Context(), &labv1.GetLabRequest{Lab: "x"})
			if err != nil {
				t.Fatal(err)
			}
			lab = got.GetLab()
			return lab.GetEpoch() >= uint64(2+i) && (lab.GetState() == labv1.LabState_LAB_STATE_RUNNING || i == maxDeaths-1)
		})
	}
	if lab.GetState() != labv1.LabState_LAB_STATE_QUARANTINED || !strings.Contains(lab.GetReason(), "5 processes of workers died") || lab.GetWorker() != "" {
		t.Fatalf("the lab: %v", lab)
	}
	_, err := f.transferIn("x", "t")
	wantReason(t, err, codes.FailedPrecondition, "LAB_QUARANTINED")
	runbook.Says(t, "a lab kills its workers' processes", reasonIn(err), err.Error())
	resp, err := f.labs.ApplyLab(t.Context(), &labv1.ApplyLabRequest{RequestId: "again", Spec: lab.GetSpec()})
	if err != nil || resp.GetOutcome() != labv1.ApplyLabResponse_OUTCOME_UNCHANGED || resp.GetLab().GetState() != labv1.LabState_LAB_STATE_RUNNING {
		t.Fatalf("applied again: %v %v", resp, err)
	}
}
