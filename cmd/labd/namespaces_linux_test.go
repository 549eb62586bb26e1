package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"labd.dev/client"
	"labd.dev/internal/port"
	"labd.dev/internal/tlsfiles"
	"labd.dev/node/worker"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// askForNamespaces in the environment asks for the tests in network namespaces, which take minutes and root.
const askForNamespaces = "LABD_NAMESPACES"

// patience bounds each wait; nothing is concluded from how long one takes.
const patience = 2 * time.Minute

// trial is a cluster in namespaces with two labs, one of them split, and somebody who writes all the time.
type trial struct {
	*site
	token   string // the administrator's
	c       *client.Client
	writing sync.WaitGroup
	stop    context.CancelFunc
	written map[uint64]int64 // acknowledged inputs of lab one: journal index and lab time; the writer's until it has ended
}

func (tr *trial) open(servers ...string) *client.Client {
	tr.t.Helper()
	return tr.openAs(client.Options{Servers: servers})
}

func (tr *trial) openAs(o client.Options) *client.Client {
	tr.t.Helper()
	o.TLS, o.Token = &tlsfiles.Files{CA: tr.file("ca.crt")}, tr.token
	c, err := client.Open(o)
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.t.Cleanup(func() { c.Close() })
	return c
}

// eventually waits for something to be so.
func (tr *trial) eventually(what string, is func(context.Context) bool) {
	tr.t.Helper()
	ctx, cancel := context.WithTimeout(tr.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tr.t.Fatalf("waited for: %s", what)
		}
	}
	tr.t.Log(what)
}

func newTrial(t *testing.T) *trial {
	t.Helper()
	tr := &trial{site: newSite(t), written: map[uint64]int64{}}
	var clusterSide, testSide []string
	for _, name := range []string{"s1", "s2", "s3"} {
		clusterSide, testSide = append(clusterSide, tr.machines[name].cluster), append(testSide, tr.machines[name].test)
	}
	join := strings.Join(clusterSide, ",")
	for name, m := range tr.machines {
		m.args = []string{"server", "--bootstrap-expect", "3", "--join", join, "--bootstrap-token-file", tr.file("first")}
		if name[0] == 'w' {
			m.args = []string{"worker", "--server", join, "--name", name}
		}
		tr.start(m)
	}
	tr.eventually("the cluster's administrator has a token", func(context.Context) bool {
		text, err := os.ReadFile(tr.file("first"))
		tr.token = strings.TrimSpace(string(text))
		return err == nil
	})
	tr.c = tr.open(testSide...)
	tr.eventually("three servers and three workers are there", func(ctx context.Context) bool {
		h, err := tr.c.Cluster.GetHealth(ctx, &labv1.GetHealthRequest{})
		return err == nil && h.GetWritable() && h.GetReachableVoters() == 3 && tr.up(ctx) == 3
	})
	for name, workers := range map[string]uint32{"one": 1, "two": 2} {
		spec := lossy(name)
		spec.Placement = &labv1.Placement{Workers: workers}
		if _, err := tr.c.Labs.ApplyLab(t.Context(), &labv1.ApplyLabRequest{RequestId: client.RequestID(), Spec: spec}); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

func (tr *trial) workers(ctx context.Context) []*labv1.Worker {
	list, err := tr.c.Workers.ListWorkers(ctx, &labv1.ListWorkersRequest{})
	if err != nil {
		return nil
	}
	return list.GetWorkers()
}

func (tr *trial) up(ctx context.Context) (n int) {
	for _, w := range tr.workers(ctx) {
		if w.GetState() == labv1.WorkerState_WORKER_STATE_UP {
			n++
		}
	}
	return n
}

// leader is the server that leads.
func (tr *trial) leader() *machine {
	tr.t.Helper()
	var leader *machine
	tr.eventually("somebody leads", func(ctx context.Context) bool {
		list, err := tr.c.Cluster.ListMembers(ctx, &labv1.ListMembersRequest{})
		for _, m := range list.GetMembers() {
			for _, at := range tr.machines {
				if at.cluster == m.GetAddress() && m.GetRole() == labv1.MemberRole_MEMBER_ROLE_LEADER {
					leader = at
				}
			}
		}
		return err == nil && leader != nil
	})
	return leader
}

// followers are the servers that do not lead.
func (tr *trial) followers(leader *machine) (f []*machine) {
	for _, name := range []string{"s1", "s2", "s3"} {
		if m := tr.machines[name]; m != leader {
			f = append(f, m)
		}
	}
	return f
}

// whole waits for all to be as it was before the fault, and every server to know what any of them knows now.
func (tr *trial) whole() {
	tr.t.Helper()
	var known uint64
	tr.eventually("all servers and workers are back", func(ctx context.Context) bool {
		list, err := tr.c.Cluster.ListMembers(ctx, &labv1.ListMembersRequest{})
		if err != nil || len(list.GetMembers()) != 3 || tr.up(ctx) != 3 {
			return false
		}
		behind, last := false, uint64(0)
		for _, m := range list.GetMembers() {
			if !m.GetReachable() {
				return false
			}
			last = max(last, m.GetLastIndex())
			behind = behind || known == 0 || m.GetAppliedIndex() < known
		}
		known = cmp.Or(known, last) // of the first look: there are more and more writes
		return !behind
	})
}

func (tr *trial) lab(ctx context.Context, name string) *labv1.Lab {
	r, err := tr.c.Labs.GetLab(ctx, &labv1.GetLabRequest{Lab: name})
	if err != nil {
		return nil
	}
	return r.GetLab()
}

// ping gives lab one an input, however often it has to be asked for under the one request id.
func (tr *trial) ping(ctx context.Context, request string) (*labv1.CreateExecResponse, error) {
	for {
		r, err := tr.c.Execs.CreateExec(ctx, &labv1.CreateExecRequest{RequestId: request, Lab: "one",
			Command: &labv1.CreateExecRequest_Ping{Ping: &labv1.Ping{From: "a", To: "b", Count: 1, IntervalNs: 1e7}}})
		if err == nil || ctx.Err() != nil || client.ExitCode(err) != int(client.CodeUnavailable) {
			return r, err
		}
	}
}

// write gives lab one inputs until it is stopped, and remembers those that were acknowledged.
func (tr *trial) write() {
	ctx, stop := context.WithCancel(context.Background())
	tr.stop = stop
	tr.t.Cleanup(func() { stop(); tr.writing.Wait() })
	tr.writing.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond) // so many that each fault meets some, and the journal stays short
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			r, err := tr.ping(ctx, fmt.Sprint("write ", n))
			switch {
			case err == nil:
				tr.written[r.GetStamp().GetIndex()] = r.GetStamp().GetTNs()
			case ctx.Err() == nil:
				tr.t.Errorf("write %d: %v", n, err)
				return
			}
			<-tick.C
		}
	})
}

// during has a transfer under way in each lab while something happens; both end with what was sent.
func (tr *trial) during(what string, happens func()) {
	tr.t.Helper()
	tr.t.Logf("--- %s", what)
	ids := map[string]string{}
	for _, lab := range []string{"one", "two"} {
		request := &labv1.CreateTransferRequest{RequestId: client.RequestID(), Lab: lab, Kind: &labv1.CreateTransferRequest_Transfer{
			Transfer: &labv1.Transfer{From: "a", To: "b", Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 1_500_000}}}}
		tr.eventually("a transfer begins in lab "+lab, func(ctx context.Context) bool {
			r, err := tr.c.Transfers.CreateTransfer(ctx, request)
			if err != nil && client.ExitCode(err) != int(client.CodeUnavailable) {
				tr.t.Fatal(err)
			}
			ids[lab] = r.GetId()
			return err == nil
		})
	}
	happens()
	ctx, cancel := context.WithTimeout(tr.t.Context(), patience)
	defer cancel()
	for lab, id := range ids {
		if got, err := tr.c.FollowTransfer(ctx, lab, id, nil); err != nil || !got.GetMatch() {
			tr.t.Fatalf("%s: the transfer of lab %s: %v, %v", what, lab, got, err)
		}
	}
	tr.whole()
}

// refuses holds a server to changing nothing and saying why, and to reading only what may be stale.
func (tr *trial) refuses(m *machine) {
	tr.t.Helper()
	alone, stale := tr.open(m.test), tr.openAs(client.Options{Servers: []string{m.test}, Stale: true})
	tr.eventually(m.name+" refuses writes for want of a majority", func(ctx context.Context) bool {
		_, err := alone.Labs.DeleteLab(ctx, &labv1.DeleteLabRequest{RequestId: client.RequestID(), Lab: "no-such-lab"})
		var e *client.Error
		if !errors.As(err, &e) || e.Reason == "LAB_NOT_FOUND" {
			return false // it was told of by a leader: nobody has missed the cable yet
		}
		return e.Reason == "NO_QUORUM" && strings.Contains(e.Message, "a majority is 2")
	})
	if _, err := alone.Labs.ListLabs(tr.t.Context(), &labv1.ListLabsRequest{}); err == nil {
		tr.t.Errorf("%s reads without a majority, unasked", m.name)
	}
	if labs, err := stale.Labs.ListLabs(tr.t.Context(), &labv1.ListLabsRequest{}); err != nil || len(labs.GetLabs()) != 2 {
		tr.t.Errorf("%s reads what may be stale: %v, %v", m.name, labs, err)
	}
}

// hosts is the machine of the worker that has lab one, and the lab's epoch.
func (tr *trial) hosts() (*machine, uint64) {
	tr.t.Helper()
	var lab *labv1.Lab
	tr.eventually("lab one is somewhere", func(ctx context.Context) bool {
		lab = tr.lab(ctx, "one")
		return tr.machines[lab.GetWorker()] != nil
	})
	return tr.machines[lab.GetWorker()], lab.GetEpoch()
}

// goesOn waits until lab one has been given to another worker and takes inputs there.
func (tr *trial) goesOn(old *machine, epoch uint64) {
	tr.t.Helper()
	tr.eventually("lab one is given to another worker than "+old.name, func(ctx context.Context) bool {
		lab := tr.lab(ctx, "one")
		return lab.GetEpoch() > epoch && lab.GetWorker() != old.name
	})
}

// held are the labs that a worker itself says to run, by id; nil while it does not answer.
func (tr *trial) held(ctx context.Context, m *machine) map[string]uint64 {
	tr.t.Helper()
	source, err := tlsfiles.Open(tlsfiles.Files{CA: tr.file("ca.crt"), Cert: tr.file("labd.crt"), Key: tr.file("labd.key")}, nil)
	if err != nil {
		tr.t.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:///"+m.test, grpc.WithTransportCredentials(port.Credentials(&port.Dialer{Security: source})), grpc.WithNoProxy())
	if err != nil {
		tr.t.Fatal(err)
	}
	defer conn.Close()
	r, err := workerv1.NewWorkerServiceClient(conn).ListLabs(ctx, &workerv1.ListLabsRequest{})
	if err != nil {
		return nil
	}
	held := map[string]uint64{}
	for _, l := range r.GetLabs() {
		if l.GetRunning() {
			held[l.GetLabId()] = l.GetEpoch()
		}
	}
	return held
}

// dropped holds a worker that was away to running no lab that has gone to another.
func (tr *trial) dropped(m *machine) {
	tr.t.Helper()
	tr.eventually(m.name+" runs nothing that is another's now", func(ctx context.Context) bool {
		lab, held := tr.lab(ctx, "one"), tr.held(ctx, m)
		if lab == nil || held == nil {
			return false
		}
		epoch, runs := held[lab.GetId()]
		return !runs || slices.Contains(strings.Split(lab.GetWorker(), ","), m.name) && epoch == lab.GetEpoch()
	})
}

// In network namespaces, each labd with addresses of its own and certificates: servers and workers are killed with SIGKILL,
// cut off, cut off in one direction, frozen beyond their lease, and come back. No acknowledged write is lost, none is
// applied twice, transfers end with what was sent, a minority refuses to write and says why, no lab runs twice, and in the end
// every trace is that of an undisturbed replay.
func TestNamespaces(t *testing.T) {
	if os.Getenv(askForNamespaces) == "" {
		t.Skipf("it takes minutes and root: only with %s=1", askForNamespaces)
	}
	tr := newTrial(t)
	tr.write()
	tr.during("the leader is killed", func() {
		leader := tr.leader()
		tr.kill(leader)
		if next := tr.leader(); next == leader {
			t.Errorf("%s leads, which is dead", next.name)
		}
		tr.start(leader)
	})
	tr.during("a minority is cut off", func() {
		cut := tr.followers(tr.leader())[0]
		tr.cutOff(cut)
		tr.refuses(cut)
		if _, err := tr.ping(t.Context(), "beside the minority"); err != nil {
			t.Error(err)
		}
		tr.joinUp(cut)
	})
	tr.during("the leader is cut off", func() {
		cut := tr.leader()
		tr.cutOff(cut)
		tr.refuses(cut)
		if _, err := tr.ping(t.Context(), "beside the old leader"); err != nil {
			t.Error(err)
		}
		tr.joinUp(cut)
	})
	tr.during("all servers are cut off from each other", func() {
		three := tr.followers(nil)
		for _, m := range three {
			tr.cutOff(m)
		}
		for _, m := range three {
			tr.refuses(m)
		}
		for _, m := range three {
			tr.joinUp(m)
		}
	})
	tr.during("the leader hears the others, and they do not hear it", func() {
		leader := tr.leader()
		for _, m := range tr.followers(leader) {
			tr.deafen(leader, m)
		}
		if _, err := tr.ping(t.Context(), "one-way"); err != nil {
			t.Error(err)
		}
		for _, m := range tr.followers(leader) {
			tr.hear(leader, m)
		}
	})
	tr.during("a worker is killed", func() {
		m, epoch := tr.hosts()
		tr.kill(m)
		tr.goesOn(m, epoch)
		tr.start(m)
		tr.dropped(m)
	})
	tr.during("a worker is cut off", func() {
		m, epoch := tr.hosts()
		tr.cutOff(m)
		tr.goesOn(m, epoch)
		tr.dropped(m) // still cut off: its own clock has told it
		tr.joinUp(m)
	})
	tr.during("a worker is frozen for longer than its lease", func() {
		m, epoch := tr.hosts()
		tr.signal(m, syscall.SIGSTOP)
		tr.goesOn(m, epoch)
		tr.signal(m, syscall.SIGCONT)
		tr.dropped(m)
	})
	tr.stop()
	tr.writing.Wait()
	tr.nothingLost()
	for _, lab := range []string{"one", "two"} {
		tr.replays(lab)
	}
}

// nothingLost holds lab one's journal to having every acknowledged input, as it was acknowledged, under one index each.
func (tr *trial) nothingLost() {
	tr.t.Helper()
	list, err := tr.c.Labs.ListInputs(tr.t.Context(), &labv1.ListInputsRequest{Lab: "one"})
	if err != nil {
		tr.t.Fatal(err)
	}
	journal, pings := map[uint64]int64{}, 0
	for _, e := range list.GetEntries() {
		if e.GetInput().GetPing() != nil {
			journal[e.GetIndex()] = e.GetTNs()
			pings++
		}
	}
	for index, at := range tr.written {
		if got, is := journal[index]; !is || got != at {
			tr.t.Errorf("input %d was acknowledged at %d; in the journal: %t, at %d", index, at, is, got)
		}
	}
	// Beside what was written there are three others, and the one that was under way when the writer was stopped.
	const others, unheard = 3, 1
	if extra := pings - len(tr.written) - others; extra < 0 || extra > unheard {
		tr.t.Errorf("%d inputs were acknowledged, and the journal has %d", len(tr.written)+others, pings)
	}
	tr.t.Logf("%d writes acknowledged, all in the journal once", len(tr.written))
}

// replays compares a lab's trace with that of an undisturbed replay of its journal on a worker of its own.
func (tr *trial) replays(name string) {
	t := tr.t
	t.Helper()
	if _, err := tr.c.Clocks.ControlClock(t.Context(), &labv1.ControlClockRequest{RequestId: client.RequestID(), Lab: name,
		Action: &labv1.ControlClockRequest_Pause{Pause: &labv1.PauseClock{}}}); err != nil {
		t.Fatal(err)
	}
	lab := tr.lab(t.Context(), name)
	stream, err := tr.c.Traces.ReadRecords(t.Context(), &labv1.ReadRecordsRequest{Source: &labv1.ReadRecordsRequest_Lab{Lab: name}})
	got := received(t, stream, err, (*labv1.ReadRecordsResponse).GetRecords)
	inputs, err := tr.c.Labs.ListInputs(t.Context(), &labv1.ListInputsRequest{Lab: name})
	if err != nil {
		t.Fatal(err)
	}
	again := undisturbed(t, lab.GetSpec(), inputs.GetEntries(), lab.GetProgress().GetNowNs())
	if len(got) == 0 || !bytes.Equal(got, again) {
		t.Errorf("lab %s: its trace of %d bytes is not that of an undisturbed replay, of %d", name, len(got), len(again))
	}
	t.Logf("lab %s: epoch %d, %d inputs, a trace of %d bytes as an undisturbed replay makes it", name, lab.GetEpoch(), len(inputs.GetEntries()), len(got))
}

// received joins what a stream of records brings.
func received[M any](t *testing.T, stream interface{ Recv() (M, error) }, err error, records func(M) []byte) []byte {
	t.Helper()
	var all []byte
	for err == nil {
		var m M
		if m, err = stream.Recv(); err == nil {
			all = append(all, records(m)...)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return all
}

// undisturbed replays a journal up to a lab time on a worker of this process, and gives the trace.
func undisturbed(t *testing.T, spec *labv1.LabSpec, journal []*labv1.JournalEntry, to int64) []byte {
	t.Helper()
	w, err := worker.New(worker.Config{Root: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	workerv1.RegisterWorkerServiceServer(s, w)
	go s.Serve(l)
	defer s.Stop()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := workerv1.NewWorkerServiceClient(conn)
	spec.Clock, spec.Placement = labv1.Clock_CLOCK_VIRTUAL, nil
	if _, err := c.StartLab(t.Context(), &workerv1.StartLabRequest{LabId: "again", Epoch: 1, Spec: spec, Mode: workerv1.Mode_MODE_STANDING,
		Journal: journal, ReplayToNs: to}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; {
		lab, err := c.GetLab(t.Context(), &workerv1.GetLabRequest{LabId: "again"})
		if err == nil && !lab.GetProgress().GetRecovering() && lab.GetProgress().GetNowNs() >= to {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the journal is not replayed: %v, %v", lab, err)
		}
	}
	stream, err := c.ReadTrace(t.Context(), &workerv1.ReadTraceRequest{LabId: "again"})
	return received(t, stream, err, (*workerv1.ReadTraceResponse).GetRecords)
}
