package orchestrator

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	labv1 "labd.dev/proto/lab/v1"
)

var (
	schedules = flag.Int("schedules", 0, "how many schedules of faults TestFaultSchedules runs; 0: 40, 5 with -short")
	oneSeed   = flag.Uint64("schedule", 0, "the seed to begin with; without -schedules it is the only one")
)

// The cluster under schedules of faults that are drawn from a seed: servers killed, with their disks or without, ways cut
// in one direction or both, disks slow and full, workers killed, stopped and cut off, wall clocks that jump. What clients
// saw must have an order that explains it; no two workers may have the right to run a lab at once; no input takes effect
// twice or otherwise; watches miss nothing; and when the faults are over the cluster goes on.
func TestFaultSchedules(t *testing.T) {
	n := uint64(*schedules)
	switch {
	case n != 0:
	case *oneSeed != 0:
		n = 1
	case testing.Short():
		n = 5
	default:
		n = 40
	}
	first, began := max(*oneSeed, 1), time.Now()
	var left atomic.Int64
	t.Cleanup(func() {
		if left.Load() > 0 {
			t.Logf("%d of %d schedules were left out: the machine is slow", left.Load(), n)
		}
	})
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			if *schedules == 0 && time.Since(began) > scheduleBudget {
				left.Add(1)
				return
			}
			runSchedule(t, seed)
		})
	}
}

// scheduleBudget bounds the time that schedules are begun in, unless so many are asked for: a package's tests have 10 minutes.
const scheduleBudget = 4 * time.Minute

// runSchedule runs the cluster under the schedule of a seed, and checks what was seen.
func runSchedule(t *testing.T, seed uint64) {
	if p := prove(t, seed, sound); len(p.problems) > 0 {
		t.Errorf("seed %d (go test ./orchestrator -run TestFaultSchedules -schedule %d):\n%s\nhistory:\n%s", seed, seed, strings.Join(p.problems, "\n"), p.history())
	}
}

// prove runs the cluster, broken in a way or sound, under the schedule of a seed.
func prove(t *testing.T, seed uint64, how breakage) *proof {
	p := &proof{rng: rand.New(rand.NewPCG(seed, 0))}
	synctest.Test(t, func(t *testing.T) {
		p.bubble = newBubble(t, how)
		defer p.close()
		p.run()
	})
	p.problems = append(p.problems, p.runs.problems...)
	if linearizable(p.clients.history) == porcupine.Illegal {
		p.problems = append(p.problems, "no order of the calls explains their answers")
	}
	return p
}

// breakage is a fault of the cluster's or its clients' own, which a proof must find.
type breakage string

const (
	sound        breakage = ""
	staleReads   breakage = "reads are answered by whoever is asked"
	newIDs       breakage = "a request that is repeated is carried out again"
	leaseTooLong breakage = "a worker takes its lease for twice as long as it is"
)

// A cluster that breaks its word is found out.
func TestSchedulesFindBreakages(t *testing.T) {
	for _, how := range []breakage{staleReads, newIDs, leaseTooLong} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			const enough = 200 // the first few show each
			for seed := uint64(1); seed <= enough; seed++ {
				if p := prove(t, seed, how); len(p.problems) > 0 {
					t.Logf("seed %d: %s", seed, strings.Join(p.problems, "; "))
					return
				}
			}
			t.Errorf("%d schedules did not show it", enough)
		})
	}
}

// proof is one run of a cluster under a schedule.
type proof struct {
	*bubble
	rng      *rand.Rand
	clients  *clients
	problems []string
}

func (p *proof) complain(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

// healedWithin is in what time, on the bubble's clock, everything goes on when no fault is left: a worker's lease and its
// margin run out, servers elect, and clients find out.
const healedWithin = 60 * time.Second

func (p *proof) run() {
	faults := p.schedule(p.rng)
	p.clients = newClients(p.bubble)
	defer p.clients.close()
	if a := p.clients.call(0, call{deed: deedCreate, lab: steady}, p.rng); a.open {
		p.complain("there is no lab to begin with")
		return
	}
	if p.how == leaseTooLong {
		faults = []fault{p.cutOffSteady()}
	}
	ctx, cancel := context.WithCancel(context.Background())
	watching, unwatch := context.WithCancel(context.Background())
	var told [2][]*labv1.WatchRecordsResponse
	for i := range told {
		rng := rand.New(rand.NewPCG(p.rng.Uint64(), 1))
		p.clients.all.Go(func() { told[i] = p.clients.follow(watching, rng) })
	}
	done := make(chan struct{})
	const writers = 4
	for i := range writers {
		rng := rand.New(rand.NewPCG(p.rng.Uint64(), 2))
		p.clients.all.Go(func() {
			p.clients.client(ctx, i+1, rng)
			done <- struct{}{}
		})
	}
	p.carryOut(faults)
	p.say("no fault is left")
	healed := time.Now()
	cancel()
	for range writers {
		<-done
	}
	final := p.settled(healed)
	time.Sleep(15 * time.Second) // each watch begins anew once more
	unwatch()
	p.clients.all.Wait()
	p.check(final, told[:])
}

// settled waits until the cluster takes writes again and every lab runs, and gives the steady lab's journal.
func (p *proof) settled(healed time.Time) []*labv1.JournalEntry {
	for _, do := range []call{{deed: deedCreate, lab: "last"}, {deed: deedInput, lab: steady}} {
		for a := (answer{open: true}); a.open; {
			if a = p.clients.call(0, do, p.rng); a.open && time.Since(healed) > healedWithin {
				p.complain("%v: in vain for %v after the last fault", do, time.Since(healed))
				return nil
			}
		}
	}
	labs := labv1.NewLabServiceClient(p.clients.conns[0])
	for time.Since(healed) < 2*healedWithin {
		resp, err := labs.ListLabs(context.Background(), &labv1.ListLabsRequest{})
		ready := err == nil && !slices.ContainsFunc(resp.GetLabs(), func(l *labv1.Lab) bool { return l.GetState() != labv1.LabState_LAB_STATE_RUNNING })
		if ready {
			if inputs, err := labs.ListInputs(context.Background(), &labv1.ListInputsRequest{Lab: steady}); err == nil {
				p.clients.call(0, call{deed: deedList, lab: steady}, p.rng)
				return inputs.GetEntries()
			}
		}
		time.Sleep(time.Second)
	}
	p.complain("not every lab runs %v after the last fault", time.Since(healed))
	return nil
}

// check compares what was seen with the journals as they are in the end.
func (p *proof) check(final []*labv1.JournalEntry, told [][]*labv1.WatchRecordsResponse) {
	want := tagsOf(final)
	for i, records := range told {
		var got []string
		for _, m := range records {
			got = append(got, string(m.GetRecords()))
		}
		if strings.Join(got, " ") != want {
			p.complain("watch %d was told of [%s], the journal has [%s]", i, strings.Join(got, " "), want)
		}
	}
	leader := p.leader()
	if leader == nil {
		p.complain("nobody leads")
		return
	}
	v := leader.control.store.view()
	for _, lab := range v.labs() {
		journal := v.inputs(lab.GetId(), 0, 0)
		for _, w := range lab.GetWorkers() {
			p.atWorker(p.workers[w], lab.GetId(), lab.GetEpoch(), tagsOf(journal))
		}
		for _, e := range journal {
			if was := p.runs.effects[lab.GetId()][e.GetIndex()]; was == nil || inputID(was.GetInput()) != inputID(e.GetInput()) || was.GetTNs() != e.GetTNs() {
				p.complain("input %d of %s is %v in the journal and took effect as %v", e.GetIndex(), lab.GetId(), e, was)
			}
		}
		if n := len(p.runs.effects[lab.GetId()]); n != len(journal) {
			p.complain("%d inputs of %s took effect, %d are in the journal", n, lab.GetId(), len(journal))
		}
	}
}

// atWorker compares a lab as its worker has it with its journal.
func (p *proof) atWorker(w *leasedWorker, labID string, epoch uint64, want string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lab := w.labs[labID]
	if lab == nil || !lab.running || lab.start.GetEpoch() != epoch {
		p.complain("lab %s does not run at %s under epoch %d: %v", labID, w.name, epoch, lab)
		return
	}
	if got := tagsOf(lab.journal()); got != want {
		p.complain("lab %s has had [%s] at %s, its journal has [%s]", labID, got, w.name, want)
	}
}
