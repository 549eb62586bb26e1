package orchestrator

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	labv1 "labd.dev/proto/lab/v1"
)

var (
	schedules = flag.Int("schedules", 0, "how many schedules of faults TestFaultSchedules runs; 0: 40 and some that have found something, 5 with -short")
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
	var all tally
	t.Cleanup(func() {
		t.Logf("brought about: %v", all.seen)
		if left.Load() > 0 {
			t.Logf("%d of %d schedules were left out: the machine is slow", left.Load(), n)
		}
	})
	var seeds []uint64
	if *schedules == 0 && *oneSeed == 0 {
		seeds = slices.Clone(foundOnce)
	}
	for seed := first; seed < first+n; seed++ {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			if *schedules == 0 && time.Since(began) > scheduleBudget {
				left.Add(1)
				return
			}
			all.add(runSchedule(t, seed))
		})
	}
}

// foundOnce are seeds beyond the first few whose schedules have found something once.
var foundOnce = []uint64{
	164, // a server that leads no more and whose disk hangs, asked alone
	204, // a deletion that was held back, carried out after a later attempt of it had been refused
	879, // a watch of records resumed behind where the lab was rebuilt to, which had been given an input there when it was resumed again
	1785,
	1899, // a leader whose disk hangs, and that leads no more, starts a lab that the next one has given to another worker
}

// scheduleBudget bounds the time that schedules are begun in, unless so many are asked for: a package's tests have 10 minutes.
const scheduleBudget = 4 * time.Minute

// tally counts what schedules have brought about.
type tally struct {
	mu   sync.Mutex // guards seen
	seen map[string]int
}

func (a *tally) add(p *proof) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen == nil {
		a.seen = make(map[string]int)
	}
	for what, n := range p.seen {
		a.seen[what] += n
	}
}

// runSchedule runs the cluster under the schedule of a seed, and checks what was seen.
func runSchedule(t *testing.T, seed uint64) *proof {
	p := prove(t, seed, sound)
	if len(p.problems) > 0 {
		t.Errorf("seed %d (go test ./orchestrator -run TestFaultSchedules -schedule %d):\n%s\nhistory:\n%s", seed, seed, strings.Join(p.problems, "\n"), p.history())
	}
	return p
}

// prove runs the cluster, broken in a way or sound, under the schedule of a seed.
func prove(t *testing.T, seed uint64, how breakage) *proof {
	p := &proof{records: make([]recordWatch, 2), changes: make([]changeWatch, 2)}
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 0))
		p.bubble = newBubble(t, rng, how, rng.IntN(2) == 0)
		p.compacts = rng.IntN(2) == 0
		defer p.close()
		p.run()
	})
	p.problems = append(p.problems, p.runs.problems...)
	for _, d := range p.disks {
		p.seen["records torn"] += d.torn
	}
	p.seen["snapshots sent to a server that was behind"] += int(p.ways.installs.Load())
	p.seen["calls answered"] += len(p.clients.history)
	if wrong := checkOrder(p.clients.history); wrong != "" {
		p.problems = append(p.problems, wrong)
	}
	return p
}

// proof is one run of a cluster under a schedule.
type proof struct {
	*bubble
	clients *clients
	records []recordWatch
	changes []changeWatch
}

// healedWithin is in what time, on the bubble's clock, everything goes on when no fault is left: a worker's lease and its
// margin run out, servers elect, and clients find out.
const healedWithin = 60 * time.Second

func (p *proof) run() {
	faults := p.schedule()
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
	p.clients.all.Go(func() { p.keepCompacting(ctx) })
	p.watch(watching)
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
	labs := p.settled(healed)
	time.Sleep(15 * time.Second) // each watch begins anew once more
	unwatch()
	p.clients.all.Wait()
	if labs {
		p.check()
	}
}

// watch begins all watches.
func (p *proof) watch(ctx context.Context) {
	for i := range p.records {
		rng := rand.New(rand.NewPCG(p.rng.Uint64(), 1))
		p.clients.all.Go(func() { p.records[i].follow(ctx, p.clients, rng) })
	}
	for i := range p.changes {
		rng := rand.New(rand.NewPCG(p.rng.Uint64(), 3))
		p.clients.all.Go(func() { p.changes[i].follow(ctx, p.clients, rng) })
	}
	rng := rand.New(rand.NewPCG(p.rng.Uint64(), 4))
	p.clients.all.Go(func() { p.clients.followLabs(ctx, 10, rng) })
}

// settled waits until the cluster takes writes again, every lab runs, and the steady lab's transfers have come to their end.
func (p *proof) settled(healed time.Time) bool {
	for _, do := range []call{{deed: deedCreate, lab: "last"}, {deed: deedInput, lab: steady}} {
		for a := (answer{open: true}); a.open; {
			if a = p.clients.call(0, do, p.rng); a.open && time.Since(healed) > healedWithin {
				p.complain("%v: in vain for %v after the last fault", do, time.Since(healed))
				return false
			}
		}
	}
	why := ""
	for time.Since(healed) < 2*healedWithin {
		if why = p.unsettled(); why == "" {
			for _, name := range []string{steady, "x", "y"} {
				p.clients.call(0, call{deed: deedGet, lab: name}, p.rng)
				p.clients.call(0, call{deed: deedList, lab: name}, p.rng)
			}
			return true
		}
		time.Sleep(time.Second)
	}
	p.complain("%v after the last fault: %s", time.Since(healed), why)
	return false
}

// unsettled tells what there still is to be waited for.
func (p *proof) unsettled() string {
	labs := labv1.NewLabServiceClient(p.clients.conns[0])
	resp, err := labs.ListLabs(context.Background(), &labv1.ListLabsRequest{})
	if err != nil {
		return err.Error()
	}
	for _, l := range resp.GetLabs() {
		if l.GetState() != labv1.LabState_LAB_STATE_RUNNING {
			return fmt.Sprintf("lab %s is %v: %s", l.GetName(), l.GetState(), l.GetReason())
		}
	}
	for _, l := range resp.GetLabs() {
		if why := p.transferring(l.GetName()); why != "" {
			return why
		}
	}
	return ""
}

// transferring tells which transfer of a lab has not come to its end.
func (p *proof) transferring(lab string) string {
	list, err := labv1.NewTransferServiceClient(p.clients.conns[0]).ListTransfers(context.Background(), &labv1.ListTransfersRequest{Lab: lab})
	if err != nil {
		return err.Error()
	}
	for _, t := range list.GetTransfers() {
		if !finished(t) {
			return fmt.Sprintf("a transfer is under way: %v", t)
		}
		p.clients.result(t)
	}
	for _, tag := range p.clients.transfers {
		if lab == steady && findTransfer(list.GetTransfers(), tag) == nil {
			return fmt.Sprintf("there is no transfer %s, which was acknowledged", tag)
		}
	}
	return ""
}

// check compares what was seen with the log and the journals as they are in the end.
func (p *proof) check() {
	h := p.checkStates()
	if h == nil {
		return
	}
	for i := range p.changes {
		p.changes[i].check(p.bubble, h)
	}
	p.checkLabs(h.store.view())
}

// checkLabs holds what has become of the labs at their workers, and what watches of the steady one were told, against the
// journals.
func (p *proof) checkLabs(v view) {
	for _, lab := range v.labs() {
		journal := v.inputs(lab.GetId(), 0, 0)
		var trace []byte
		for _, w := range lab.GetWorkers() {
			trace = p.workers[w].holdsLab(lab, journal)
		}
		if lab.GetSpec().GetName() == steady {
			p.checkStale(lab.GetId(), tagsOf(journal))
			for i := range p.records {
				p.records[i].check(p.bubble, tagsOf(journal), trace)
			}
		}
		p.checkEffects(lab.GetId(), journal)
	}
}

// checkEffects holds what has taken effect at workers against the journal.
func (p *proof) checkEffects(lab string, journal []*labv1.JournalEntry) {
	for _, e := range journal {
		if was := p.runs.effects[lab][e.GetIndex()]; was == nil || tagOf(was.GetInput()) != tagOf(e.GetInput()) || was.GetTNs() != e.GetTNs() {
			p.complain("input %d of %s is %v in the journal and took effect as %v", e.GetIndex(), lab, e, was)
		}
	}
	if n := len(p.runs.effects[lab]); n != len(journal) {
		p.complain("%d inputs of %s took effect, %d are in the journal", n, lab, len(journal))
	}
}
