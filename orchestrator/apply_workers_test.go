package orchestrator

import (
	"testing"
	"time"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

func up(name, id, instance string) *controlv1.WorkerUp {
	return &controlv1.WorkerUp{Name: name, WorkerId: id, Instance: instance, Address: name + ":1"}
}

func TestApplyWorkers(t *testing.T) {
	m := newMachine(t)
	m.want("", up("w1", "id1", "p1"))
	m.want("", up("w1", "id1", "p2")) // its process has begun anew
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_WORKER_NAME_IN_USE, "", up("w1", "id9", "p9"))
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_WORKER_ID_IN_USE, "", up("w2", "id1", "p9"))
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_WORKER_NOT_FOUND, "", &controlv1.WorkerDown{Name: "w1", Instance: "p1"}) // it is back
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_WORKER_NOT_FOUND, "", &controlv1.DrainWorker{Name: "w7", Drain: true})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAST_WORKER, "", &controlv1.DrainWorker{Name: "w1", Drain: true})
	m.want("", up("w2", "id2", "p1"))
	m.want("", &controlv1.DrainWorker{Name: "w1", Drain: true})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAST_WORKER, "", &controlv1.DrainWorker{Name: "w2", Drain: true})
	m.want("", &controlv1.WorkerDown{Name: "w1", Instance: "p2", Reason: "killed"})
	m.want("", up("w1", "id1", "p3"))
	if w := m.fsm.store.view().worker("w1"); !w.GetUp() || !w.GetDraining() || w.GetReason() != "" {
		t.Fatalf("a drained worker came back as %v", w)
	}
	m.want("", &controlv1.WorkerDown{Name: "w1", Instance: "p3"})
	m.want("", up("w3", "id1", "p4")) // the same worker under another name
	if v := m.fsm.store.view(); v.worker("w1") != nil || v.counter(counterWorkers) != 2 {
		t.Fatalf("workers %v", v.workers())
	}
	m.want("", &controlv1.DrainWorker{Name: "w3", Drain: true})
	m.want("", &controlv1.DrainWorker{Name: "w2", Drain: true, Force: true})
	m.want("", &controlv1.DrainWorker{Name: "w2"})
}

func TestApplyFoundCluster(t *testing.T) {
	m := newMachine(t)
	m.want("", &controlv1.FoundCluster{ClusterId: "first", LeaseNs: int64(7 * time.Second)})
	m.want("", &controlv1.FoundCluster{ClusterId: "second", LeaseNs: 1})
	if lease := m.fsm.store.view().lease(); lease != 7*time.Second {
		t.Fatalf("workers are granted %v", lease)
	}
	if id := m.fsm.store.view().clusterID(); id != "first" {
		t.Fatalf("the cluster is %q", id)
	}
}

// A run that is made again has a new epoch, under which alone it can end; its result stays.
func TestApplyRemake(t *testing.T) {
	m := newMachine(t)
	m.want("", &controlv1.CreateRun{Name: "d", Spec: testSpec("d"), Workers: []string{"w1"}})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_REMAKING, "", &controlv1.RemakeRun{RunId: "d-1", Epoch: 1})
	m.want("", mark("d-1", 1, 50))
	m.want("", &controlv1.AssignLab{LabId: "d-1", Epoch: 1, Workers: []string{"w2"}})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "", &controlv1.EndRun{RunId: "d-1", Epoch: 1})
	m.want("", &controlv1.EndRun{RunId: "d-1", Epoch: 2, Result: &controlv1.RunResult{Progress: &labv1.LabProgress{NowNs: 7}}})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "", &controlv1.AssignLab{LabId: "d-1", Epoch: 2, Workers: []string{"w1"}})
	m.want("", &controlv1.RemakeRun{RunId: "d-1", Epoch: 2, Workers: []string{"w3"}})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_REMAKING, "", &controlv1.RemakeRun{RunId: "d-1", Epoch: 2, Workers: []string{"w3"}})
	m.want("", &controlv1.AssignLab{LabId: "d-1", Epoch: 3, Workers: []string{"w1"}}) // its worker died as well
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_RUN_NOT_FOUND, "", &controlv1.RunRemade{RunId: "d-1", Epoch: 3})
	m.want("", &controlv1.RunRemade{RunId: "d-1", Epoch: 4})
	run := m.fsm.store.view().run("d-1")
	if run.GetRemaking() || run.GetReachedNs() != 50 || run.GetResult().GetProgress().GetNowNs() != 7 || run.GetWorkers()[0] != "w1" {
		t.Fatalf("remade %v", run)
	}
}
