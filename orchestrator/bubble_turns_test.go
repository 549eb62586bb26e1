package orchestrator

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// losses are calls to workers of which the request, or the answer, is lost on its way.
type losses struct {
	mu   sync.Mutex // guards what is below
	left map[loss]int
}

type loss struct {
	method   string
	answered bool // the worker has done what it was asked for
}

var errLost = status.Error(codes.Unavailable, "the connection broke")

// lose has the next so many calls lost.
func (l *losses) lose(method string, answered bool, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = map[loss]int{{method, answered}: n}
}

func (l *losses) loses(method string, answered bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	is := l.left[loss{method, answered}] > 0
	if is {
		l.left[loss{method, answered}]--
	}
	return is
}

// turnsBubble is a cluster with the steady lab, which its worker keeps, whatever is lost.
type turnsBubble struct {
	*bubble
	t       *testing.T
	clients *clients
	rng     *rand.Rand
}

func withSteady(t *testing.T, do func(b *turnsBubble)) {
	synctest.Test(t, func(t *testing.T) {
		b := &turnsBubble{bubble: newBubble(t, rand.New(rand.NewPCG(1, 0)), sound, false), t: t, rng: rand.New(rand.NewPCG(1, 1))}
		defer b.close()
		b.clients = newClients(b.bubble)
		defer b.clients.close()
		if a := b.clients.call(0, call{deed: deedCreate, lab: steady}, b.rng); a.open {
			t.Fatal("there is no lab")
		}
		do(b)
		lab := b.lead().c.store.view().labNamed("", steady)
		if lab.GetEpoch() != 1 {
			t.Errorf("the lab was rebuilt: it has epoch %d", lab.GetEpoch())
		}
		p := &proof{bubble: b.bubble}
		p.checkLabs(b.lead().c.store.view())
		for _, problem := range append(p.problems, b.runs.problems...) {
			t.Error(problem)
		}
	})
}

func (b *turnsBubble) lead() *leadership { return b.leader().control.leading() }

// input gives the steady lab an input, once.
func (b *turnsBubble) input(request, tag string) (answer, error) {
	for i, s := range b.servers {
		if s == b.leader() {
			return b.clients.attempt(b.t.Context(), b.clients.conns[i], request, call{deed: deedInput, lab: steady, tag: tag})
		}
	}
	return answer{}, errLost
}

// pending is the index of what waits at the lab's worker for its commit.
func (b *turnsBubble) pending() uint64 {
	lab := b.lead().c.store.view().labNamed("", steady)
	w := b.workers[lab.GetWorkers()[0]].(*leasedWorker)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.labs[lab.GetId()].pending
}

// freed waits until the lab goes on.
func (b *turnsBubble) freed() {
	b.t.Helper()
	for began := time.Now(); b.pending() != 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > bubbleLease {
			b.t.Fatalf("the lab still waits for input %d", b.pending())
		}
	}
}

// A stamp whose answer is lost does not hold the lab, though its worker keeps its lease, and whether it is asked for again
// or not.
func TestLostStamp(t *testing.T) {
	withSteady(t, func(b *turnsBubble) {
		for i, request := range []string{"r1", "r2", "r2"} { // the first is left, the second repeated
			b.losses.lose(workerv1.WorkerService_StampInput_FullMethodName, true, 1)
			if i == 2 {
				b.losses.lose("", true, 0)
			}
			a, err := b.input(request, "tag-"+request)
			if lost := i < 2; lost != a.open {
				b.t.Fatalf("input %d: %v, %v", i, a, err)
			}
			b.freed()
		}
		if a, err := b.input("r3", "tag-r3"); a.open || a.index != 2 {
			b.t.Fatalf("the input after: %v, %v", a, err)
		}
	})
}

// Told again, a worker that was not told that its stamp is abandoned lets the lab go on.
func TestLostAbandonment(t *testing.T) {
	for _, answered := range []bool{false, true} {
		withSteady(t, func(b *turnsBubble) {
			l := b.lead()
			lab := l.c.store.view().labNamed("", steady)
			h := l.host(lab.GetId(), lab.GetEpoch())
			<-h.gate
			b.losses.lose(workerv1.WorkerService_AbandonInput_FullMethodName, answered, 3)
			// The state machine refuses it: nobody has uploaded the file.
			_, entry, err := l.stampAndCommit(context.Background(), "r1", h, &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{
				Id: "t1", From: "a", To: "b", Content: &labv1.Transfer_File{File: &labv1.FileRef{Path: "x", Sha256: "none"}}}}})
			h.gate <- struct{}{}
			if entry != nil || err == nil {
				b.t.Fatalf("journaled: %v", entry)
			}
			b.freed()
			if a, err := b.input("r2", "tag-r2"); a.open || a.index != 1 {
				b.t.Fatalf("the input after: %v, %v", a, err)
			}
		})
	}
}

// A commit that is told again takes effect once, and the lab need not be rebuilt.
func TestLostCommit(t *testing.T) {
	for _, answered := range []bool{false, true} {
		withSteady(t, func(b *turnsBubble) {
			b.losses.lose(workerv1.WorkerService_CommitInput_FullMethodName, answered, 3)
			for i, request := range []string{"r1", "r2"} {
				if a, err := b.input(request, "tag-"+request); a.open || a.index != uint64(i+1) {
					b.t.Fatalf("input %d: %v, %v", i, a, err)
				}
			}
			b.freed()
		})
	}
}
