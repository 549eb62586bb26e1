package orchestrator

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	controlv1 "labd.dev/proto/control/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

func testFleet() *fleet {
	return newFleet(10*time.Second, func(string) (workerv1.WorkerServiceClient, io.Closer, error) {
		return workerv1.NewWorkerServiceClient(nil), io.NopCloser(nil), nil
	})
}

func wantLapsed(t *testing.T, f *fleet, want ...string) {
	t.Helper()
	var got []string
	for _, l := range f.lapsed() {
		got = append(got, l.name)
	}
	if len(got) != len(want) || len(got) > 0 && got[0] != want[0] {
		t.Fatalf("lapsed %v, want %v", got, want)
	}
}

// A worker's labs are given away when its lease and a margin have passed since its last report, whether its stream broke
// or fell silent.
func TestLeaseRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testFleet()
		defer f.close()
		hello := &workerv1.WorkerHello{Name: "w", Instance: "i"}
		n, err := f.join(hello)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		if !f.heard("w", n, &workerv1.WorkerReport{Sequence: 1}) {
			t.Fatal("its report counts not")
		}
		if _, there := f.present()["w"]; !there {
			t.Fatal("it is away")
		}
		time.Sleep(3*time.Second + 1)
		if _, there := f.present()["w"]; there {
			t.Fatal("it was silent for three reports, and is asked")
		}
		time.Sleep(9500*time.Millisecond - 1)
		wantLapsed(t, f) // 12.5 s: a lease and its margin
		time.Sleep(1 * time.Nanosecond)
		wantLapsed(t, f, "w")
		if f.heard("w", n+1, &workerv1.WorkerReport{}) {
			t.Fatal("a report of another registration counts")
		}
		f.forget("w", "other")
		wantLapsed(t, f, "w")
		f.forget("w", "i")
		wantLapsed(t, f)
		if f.heard("w", n, &workerv1.WorkerReport{}) {
			t.Fatal("a report counts of a worker whose labs were given away")
		}
	})
}

// A worker whose labs are being given away is granted nothing while that is being recorded, however late its report comes.
func TestNoGrantOnceGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testFleet()
		defer f.close()
		h := &workerv1.WorkerHello{Name: "w", Instance: "i"}
		n, err := f.join(h)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		wantLapsed(t, f, "w")
		if f.heard("w", n, &workerv1.WorkerReport{}) {
			t.Error("a report counts")
		}
		if f.admissible(h) == nil {
			t.Error("it may register anew")
		}
		if _, err := f.join(h); err == nil {
			t.Error("it is let in")
		}
		f.forget("w", "i")
		if _, err := f.join(h); err != nil {
			t.Errorf("once that is recorded: %v", err)
		}
	})
}

// A new leader gives every worker that was up a lease's time to come: the leader before may have granted it just then.
func TestGraceOfANewLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testFleet()
		defer f.close()
		f.expect([]*controlv1.WorkerState{{Name: "a", Instance: "i", Up: true}, {Name: "b", Instance: "i", Up: true}, {Name: "c"}})
		time.Sleep(12 * time.Second)
		wantLapsed(t, f)
		if _, err := f.join(&workerv1.WorkerHello{Name: "b", Instance: "i"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		wantLapsed(t, f, "a")
	})
}

// The worker in the server's own process needs no lease; one that leaves is down at once.
func TestLocalAndLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testFleet()
		defer f.close()
		f.joinLocal("local", "i", workerv1.NewWorkerServiceClient(nil))
		n, _ := f.join(&workerv1.WorkerHello{Name: "w", Instance: "i"})
		time.Sleep(time.Second)
		f.heard("w", n, &workerv1.WorkerReport{Leaving: true})
		wantLapsed(t, f, "w")
		f.forget("w", "i")
		time.Sleep(time.Hour)
		wantLapsed(t, f)
		if _, there := f.present()["local"]; !there {
			t.Fatal("the local worker is away")
		}
	})
}

// A second process with a worker's name is let in only when the first one's stream has ended.
func TestSecondProcessOfAWorker(t *testing.T) {
	f := testFleet()
	defer f.close()
	first, second := &workerv1.WorkerHello{Name: "w", Instance: "1"}, &workerv1.WorkerHello{Name: "w", Instance: "2"}
	n, err := f.join(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.admissible(second); err == nil {
		t.Fatal("a second process is let in")
	}
	if err := f.admissible(first); err != nil {
		t.Fatalf("it cannot register anew: %v", err)
	}
	f.gone("w", n)
	if err := f.admissible(second); err != nil {
		t.Fatalf("after the first one's end: %v", err)
	}
}
