package orchestrator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	labv1 "labd.dev/proto/lab/v1"
)

// clients make calls at random, at random servers, and keep what came of them.
type clients struct {
	c     *bubble
	conns []*grpc.ClientConn // to each server
	all   sync.WaitGroup

	mu        sync.Mutex // guards what is below
	history   []porcupine.Operation
	calls     int
	seeds     map[string]int64  // of the labs, as they were last seen
	transfers []string          // that the steady lab has been given
	sums      map[string]string // of what arrived of them, where it has
}

const (
	// steady is the lab that is there all the time; most inputs go to it, and its records are watched.
	steady = "steady"
	// attemptTimeout bounds one attempt of a call, and patience all of them: then its fate stays open.
	attemptTimeout = 7 * time.Second
	patience       = 25 * time.Second
	// transferBytes is what a transfer takes a second for, over transferRate. All that clients ask for takes half of the time: with
	// more the queue would grow until hosts hear no answer to ARP any more, and connections fail for that.
	transferBytes = 60_000
	transferRate  = 480_000
)

func newClients(c *bubble) *clients {
	k := &clients{c: c, seeds: make(map[string]int64), sums: make(map[string]string)}
	for _, address := range c.addresses() {
		conn, err := c.grpc("client:1", address)
		if err != nil {
			c.t.Fatal(err)
		}
		k.conns = append(k.conns, conn)
	}
	return k
}

func (k *clients) close() {
	k.all.Wait()
	for _, conn := range k.conns {
		conn.Close()
	}
}

// deeds are what clients do, each as often as the others; steady's lab is neither made nor deleted.
var (
	deeds       = []deed{deedCreate, deedCreate, deedDelete, deedApply, deedInput, deedTransfer, deedGet, deedList}
	steadyDeeds = []deed{deedApply, deedInput, deedInput, deedTransfer, deedResult, deedResult, deedGet, deedList}
)

// client makes calls until ctx ends.
func (k *clients) client(ctx context.Context, id int, rng *rand.Rand) {
	for ctx.Err() == nil {
		do := call{lab: []string{steady, "x", "y"}[rng.IntN(3)]}
		if do.deed = deeds[rng.IntN(len(deeds))]; do.lab == steady {
			do.deed = steadyDeeds[rng.IntN(len(steadyDeeds))]
		}
		if k.complete(&do, rng) {
			if a := k.call(id, do, rng); !a.open && a.fails == "" && !do.reads() && rng.IntN(2) == 0 {
				k.call(id, call{deed: []deed{deedGet, deedList}[rng.IntN(2)], lab: do.lab}, rng) // what was acknowledged is there, at any server
			}
		}
		k.c.rest(ctx, time.Duration(rng.IntN(1500))*time.Millisecond)
	}
}

// complete fills in what a call is about; false: there is nothing that it could be about.
func (k *clients) complete(do *call, rng *rand.Rand) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch do.deed {
	case deedApply:
		do.seed = k.seeds[do.lab]
		return do.seed != 0
	case deedResult:
		if len(k.transfers) == 0 {
			return false
		}
		do.tag = k.transfers[rng.IntN(len(k.transfers))]
	}
	return true
}

// call makes a call, again and again under one request id until its fate is known or nobody has patience any more.
func (k *clients) call(id int, do call, rng *rand.Rand) answer {
	k.mu.Lock()
	k.calls++
	n := k.calls
	k.mu.Unlock()
	request := fmt.Sprintf("request-%d", n)
	switch do.deed {
	case deedCreate:
		do.seed = int64(n)
	case deedInput, deedTransfer:
		do.tag = fmt.Sprintf("%c%d", do.deed[0], n)
	case deedApply:
		do.delay = firstDelay + int64(n)
		do.tag = delayTag(do.delay)
	}
	began := time.Now()
	k.c.say("client %d: %v", id, do)
	a := answer{open: true}
	for tries := 1; a.open && time.Since(began) < patience; tries++ {
		ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout)
		if k.c.how == staleReads && (do.deed == deedGet || do.deed == deedList) {
			ctx = metadata.AppendToOutgoingContext(ctx, staleHeader, "true")
		}
		if tries > 1 {
			ctx = metadata.AppendToOutgoingContext(ctx, repeatedHeader, "true")
		}
		if k.c.how == newIDs {
			request = fmt.Sprintf("request-%d-%d", n, tries)
		}
		server := rng.IntN(len(k.conns))
		var err error
		a, err = k.attempt(ctx, k.conns[server], request, do)
		cancel()
		if a.open {
			k.c.say("client %d: %v at %s: %v", id, do, k.c.servers[server].address, err)
			if reasonIn(err) == "LAB_NOT_FOUND" {
				break // it stays so
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	k.c.say("client %d: %v: %v", id, do, a)
	k.note(id, do, a, began)
	return a
}

// note keeps a call's answer.
func (k *clients) note(id int, do call, a answer, began time.Time) {
	op := porcupine.Operation{ClientId: id, Input: do, Call: int64(began.Sub(k.c.began)), Output: a, Return: int64(time.Since(k.c.began))}
	if a.open {
		op.Return = never
		if do.reads() {
			return // it changes nothing, and has told nothing
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.history = append(k.history, op)
	switch {
	case do.deed == deedGet && a.fails == "":
		k.seeds[do.lab] = a.seed
	case do.deed == deedCreate && a.fails == "" && !a.open:
		k.seeds[do.lab] = do.seed
	case do.deed == deedTransfer && do.lab == steady && !a.open && a.fails == "":
		k.transfers = append(k.transfers, do.tag)
	}
}

// attempt makes a call once. The answer is open when the error does not say for sure what has become of it.
func (k *clients) attempt(ctx context.Context, conn grpc.ClientConnInterface, request string, do call) (answer, error) {
	labs := labv1.NewLabServiceClient(conn)
	var a answer
	var err error
	switch do.deed {
	case deedCreate:
		_, err = labs.CreateLab(ctx, &labv1.CreateLabRequest{RequestId: request, Spec: k.c.spec(do.lab, do.seed, firstDelay)})
	case deedDelete:
		if k.c.how == acksEarly {
			k.all.Go(func() {
				time.Sleep(time.Second)
				labs.DeleteLab(context.Background(), &labv1.DeleteLabRequest{RequestId: request, Lab: do.lab})
			})
			return a, nil
		}
		_, err = labs.DeleteLab(ctx, &labv1.DeleteLabRequest{RequestId: request, Lab: do.lab})
	case deedApply:
		var resp *labv1.ApplyLabResponse
		resp, err = labs.ApplyLab(ctx, &labv1.ApplyLabRequest{RequestId: request, Spec: k.c.spec(do.lab, do.seed, do.delay)})
		a.index, a.did = resp.GetStamp().GetIndex(), resp.GetOutcome()
	case deedInput:
		var resp *labv1.CreateFaultResponse
		resp, err = labv1.NewFaultServiceClient(conn).CreateFault(ctx, &labv1.CreateFaultRequest{RequestId: request, Lab: do.lab, Fault: testFault(do.tag)})
		a.index = resp.GetStamp().GetIndex()
	case deedTransfer:
		var resp *labv1.CreateTransferResponse
		resp, err = labv1.NewTransferServiceClient(conn).CreateTransfer(ctx, &labv1.CreateTransferRequest{RequestId: request, Lab: do.lab,
			Kind: &labv1.CreateTransferRequest_Transfer{Transfer: &labv1.Transfer{Id: do.tag, From: "a", To: "b",
				Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: transferBytes}}}})
		a.index = resp.GetStamp().GetIndex()
	case deedResult:
		var resp *labv1.GetTransferResponse
		resp, err = labv1.NewTransferServiceClient(conn).GetTransfer(ctx, &labv1.GetTransferRequest{Lab: do.lab, Transfer: do.tag})
		if err == nil {
			k.result(resp.GetTransfer())
		}
	case deedGet:
		var resp *labv1.GetLabResponse
		resp, err = labs.GetLab(ctx, &labv1.GetLabRequest{Lab: do.lab})
		a.seed, a.delay = int64(resp.GetLab().GetSpec().GetSeed()), delayOf(resp.GetLab().GetSpec())
	case deedList:
		var resp *labv1.ListInputsResponse
		resp, err = labs.ListInputs(ctx, &labv1.ListInputsRequest{Lab: do.lab})
		a.tags = tagsOf(resp.GetEntries())
	}
	if reason := reasonIn(err); settles(do, reason) {
		return answer{fails: reason}, nil
	}
	a.open = err != nil
	return a, err
}

// settles tells whether an error says for sure that nothing has been done, by this try or an earlier one, and that nothing will be. A
// lab that is not there may have been made or changed by this request and deleted since.
func settles(do call, reason string) bool {
	switch reason {
	case "LAB_NOT_FOUND":
		return do.deed != deedCreate && do.deed != deedApply
	case "LAB_EXISTS":
		return do.deed == deedCreate
	case "LAB_DIFFERS":
		return do.deed == deedApply
	case "TRANSFER_NOT_FOUND":
		return do.deed == deedResult
	}
	return false
}

// result holds what a transfer has come to against what it must come to, and against what it was said to have come to.
func (k *clients) result(t *labv1.TransferStatus) {
	if !finished(t) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	was := k.sums[t.GetId()]
	if t.GetState() != labv1.TransferState_TRANSFER_STATE_DONE || !t.GetMatch() || t.GetBytes() != transferBytes || was != "" && was != t.GetSha256() {
		k.c.complain("transfer %s has ended as %v; it was said to have come to %q", t.GetId(), t, was)
	}
	k.sums[t.GetId()] = t.GetSha256()
}

// spec is a lab's specification.
func (c *bubble) spec(name string, seed, delay int64) *labv1.LabSpec {
	spec := testSpec(name)
	spec.Seed = uint64(seed)
	spec.Links[0].Forward.DelayNs = delay
	spec.Links[0].Forward.RateBps = transferRate
	if c.real {
		spec.Clock = labv1.Clock_CLOCK_REAL
	}
	return spec
}

func delayOf(spec *labv1.LabSpec) int64 {
	if len(spec.GetLinks()) == 0 {
		return 0
	}
	return spec.GetLinks()[0].GetForward().GetDelayNs()
}

func delayTag(delay int64) string { return fmt.Sprintf("a%d", delay-firstDelay) }

// testFault is an input that changes next to nothing.
func testFault(tag string) *labv1.Fault {
	return &labv1.Fault{Id: tag, Link: "a--b", Effect: &labv1.Fault_DelayNs{DelayNs: firstDelay}, DurationNs: 1}
}

// tagOf is an input's id, also of one that has none.
func tagOf(in *labv1.Input) string {
	if a := in.GetApply(); a != nil {
		return delayTag(delayOf(a.GetSpec()))
	}
	return inputID(in)
}

func tagsOf(journal []*labv1.JournalEntry) string {
	var tags []string
	for _, e := range journal {
		tags = append(tags, tagOf(e.GetInput()))
	}
	return strings.Join(tags, " ")
}
