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

	mu      sync.Mutex // guards what is below
	history []porcupine.Operation
	calls   int
	acked   int
}

const (
	// steady is the lab that is there all the time; inputs go to it, and its records are watched.
	steady = "steady"
	// attemptTimeout bounds one attempt of a call, and patience all of them: then its fate stays open.
	attemptTimeout = 7 * time.Second
	patience       = 25 * time.Second
)

func newClients(c *bubble) *clients {
	k := &clients{c: c}
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

// client makes calls until ctx ends.
func (k *clients) client(ctx context.Context, id int, rng *rand.Rand) {
	for ctx.Err() == nil {
		lab := []string{steady, "x", "y"}[rng.IntN(3)]
		do := call{deed: []deed{deedCreate, deedDelete, deedInput, deedInput, deedGet, deedList}[rng.IntN(6)], lab: lab}
		if lab == steady && (do.deed == deedCreate || do.deed == deedDelete) {
			do.deed = deedInput
		}
		k.call(id, do, rng)
		pause(ctx, time.Duration(rng.IntN(1500))*time.Millisecond)
	}
}

// call makes a call, again and again under one request id until its fate is known or nobody has patience any more.
func (k *clients) call(id int, do call, rng *rand.Rand) answer {
	k.mu.Lock()
	k.calls++
	request := fmt.Sprintf("request-%d", k.calls)
	do.seed, do.tag = int64(k.calls), fmt.Sprintf("f%d", k.calls)
	k.mu.Unlock()
	began := time.Now()
	k.c.say("client %d: %v", id, do)
	a := answer{open: true}
	for a.open && time.Since(began) < patience {
		ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout)
		var err error
		if k.c.how == staleReads && (do.deed == deedGet || do.deed == deedList) {
			ctx = metadata.AppendToOutgoingContext(ctx, staleHeader, "true")
		}
		server := rng.IntN(len(k.conns))
		a, err = attempt(ctx, k.conns[server], request, do)
		if !a.open && do.deed == deedInput && k.c.how == newIDs {
			again := do
			again.tag += "-again"
			attempt(ctx, k.conns[server], request+"-again", again)
		}
		cancel()
		if a.open {
			k.c.say("client %d: %v at %s: %v", id, do, k.c.servers[server].address, err)
			time.Sleep(200 * time.Millisecond)
		}
	}
	k.c.say("client %d: %v: %v", id, do, a)
	op := porcupine.Operation{ClientId: id, Input: do, Call: int64(began.Sub(k.c.began)), Output: a, Return: int64(time.Since(k.c.began))}
	if a.open {
		op.Return = never
		if do.deed == deedGet || do.deed == deedList {
			return a // it changes nothing, and has told nothing
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.history = append(k.history, op)
	if !a.open {
		k.acked++
	}
	return a
}

// attempt makes a call once. The answer is open when the error does not say for sure what has become of it.
func attempt(ctx context.Context, conn grpc.ClientConnInterface, request string, do call) (answer, error) {
	labs := labv1.NewLabServiceClient(conn)
	var a answer
	var err error
	switch do.deed {
	case deedCreate:
		spec := testSpec(do.lab)
		spec.Seed = uint64(do.seed)
		_, err = labs.CreateLab(ctx, &labv1.CreateLabRequest{RequestId: request, Spec: spec})
		if reasonIn(err) == "LAB_EXISTS" {
			return answer{fails: "LAB_EXISTS"}, nil
		}
	case deedDelete:
		_, err = labs.DeleteLab(ctx, &labv1.DeleteLabRequest{RequestId: request, Lab: do.lab})
	case deedInput:
		var resp *labv1.CreateFaultResponse
		resp, err = labv1.NewFaultServiceClient(conn).CreateFault(ctx, &labv1.CreateFaultRequest{RequestId: request, Lab: do.lab,
			Fault: &labv1.Fault{Id: do.tag, Link: "a--b", Effect: &labv1.Fault_DelayNs{DelayNs: 1_000_000}, DurationNs: 1}})
		a.index = resp.GetStamp().GetIndex()
	case deedGet:
		var resp *labv1.GetLabResponse
		resp, err = labs.GetLab(ctx, &labv1.GetLabRequest{Lab: do.lab})
		a.seed = int64(resp.GetLab().GetSpec().GetSeed())
	case deedList:
		var resp *labv1.ListInputsResponse
		resp, err = labs.ListInputs(ctx, &labv1.ListInputsRequest{Lab: do.lab})
		a.tags = tagsOf(resp.GetEntries())
	}
	// A lab that is gone may have had the input before it went, or may have been made by this request and deleted since.
	if reasonIn(err) == "LAB_NOT_FOUND" && do.deed != deedInput && do.deed != deedCreate {
		return answer{fails: "LAB_NOT_FOUND"}, nil
	}
	return answer{open: err != nil, seed: a.seed, tags: a.tags, index: a.index}, err
}

func tagsOf(journal []*labv1.JournalEntry) string {
	var tags []string
	for _, e := range journal {
		tags = append(tags, inputID(e.GetInput()))
	}
	return strings.Join(tags, " ")
}

// follow watches the records of the steady lab until ctx ends, from wherever it can, and gives what it was told.
func (k *clients) follow(ctx context.Context, rng *rand.Rand) []*labv1.WatchRecordsResponse {
	var told []*labv1.WatchRecordsResponse
	for ctx.Err() == nil {
		req := &labv1.WatchRecordsRequest{Lab: steady}
		if len(told) > 0 {
			req.After = told[len(told)-1].GetPosition()
		}
		// A watch that hears nothing is begun anew somewhere else after a while.
		once, cancel := context.WithTimeout(ctx, time.Duration(2+rng.IntN(8))*time.Second)
		stream, err := labv1.NewTraceServiceClient(k.conns[rng.IntN(len(k.conns))]).WatchRecords(once, req)
		for err == nil {
			var m *labv1.WatchRecordsResponse
			if m, err = stream.Recv(); err == nil {
				told = append(told, m)
			}
		}
		cancel()
		pause(ctx, 100*time.Millisecond)
	}
	return told
}
