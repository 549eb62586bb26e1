package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"labd.dev/client"
	"labd.dev/internal/port"
	"labd.dev/internal/runbook"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// testLease is short, so that a test sees it run out, and long enough for a busy machine not to lose it by chance.
const testLease = 4 * time.Second

// wire is a worker's way out, which can be cut or frozen.
type wire struct {
	mu     sync.Mutex // guards all below
	conns  []net.Conn
	cut    bool
	frozen chan struct{} // closed: things pass
}

func newWire() *wire {
	w := &wire{frozen: make(chan struct{})}
	close(w.frozen)
	return w
}

func (w *wire) connect(ctx context.Context, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return nil, errors.New("cut off")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	w.conns = append(w.conns, conn)
	return &frozenConn{Conn: conn, wire: w}, nil
}

// sever ends all connections and lets none be made.
func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for _, c := range w.conns {
		c.Close()
	}
}

func (w *wire) freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frozen = make(chan struct{})
}

func (w *wire) thaw() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.frozen)
}

func (w *wire) pass() {
	w.mu.Lock()
	frozen := w.frozen
	w.mu.Unlock()
	<-frozen
}

// frozenConn passes nothing while its wire is frozen.
type frozenConn struct {
	net.Conn
	wire *wire
}

func (c *frozenConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wire.pass()
	return n, err
}

func (c *frozenConn) Write(p []byte) (int, error) {
	c.wire.pass()
	return c.Conn.Write(p)
}

// fleet is a server and its workers.
type fleet struct {
	t       *testing.T
	server  *Daemon
	c       *client.Client
	workers map[string]*Worker
	wires   map[string]*wire
}

func newFleet(t *testing.T, names ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, workers: map[string]*Worker{}, wires: map[string]*wire{}}
	f.server = start(t, Config{Listen: "127.0.0.1:0", NoWorker: true, Lease: testLease})
	f.c = f.server.Client()
	for _, name := range names {
		f.add(WorkerConfig{Name: name})
	}
	return f
}

// add brings up a worker and waits until it is registered.
func (f *fleet) add(conf WorkerConfig) *Worker {
	f.t.Helper()
	w := f.start(conf)
	eventually(f.t, conf.Name+" registers", func() bool { return f.state(conf.Name) == labv1.WorkerState_WORKER_STATE_UP })
	return w
}

func (f *fleet) start(conf WorkerConfig) *Worker {
	f.t.Helper()
	way := newWire()
	conf.Listen, conf.Servers, conf.Connect = "127.0.0.1:0", []string{f.server.Addr()}, way.connect
	w, err := StartWorker(conf)
	if err != nil {
		f.t.Fatal(err)
	}
	f.workers[conf.Name], f.wires[conf.Name] = w, way
	f.t.Cleanup(func() {
		if err := w.Stop(context.Background()); err != nil {
			f.t.Errorf("worker %s: %v", conf.Name, err)
		}
	})
	return w
}

// kill ends a worker as SIGKILL does: it tells nobody.
func (f *fleet) kill(name string) {
	f.t.Helper()
	f.wires[name].sever()
	w := f.workers[name]
	w.server.Stop()
	w.cancel()
	<-w.gone
	if err := w.worker.Close(); err != nil {
		f.t.Error(err)
	}
}

func (f *fleet) state(name string) labv1.WorkerState {
	f.t.Helper()
	list, err := f.c.Workers.ListWorkers(f.t.Context(), &labv1.ListWorkersRequest{})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, w := range list.GetWorkers() {
		if w.GetName() == name {
			return w.GetState()
		}
	}
	return labv1.WorkerState_WORKER_STATE_UNSPECIFIED
}

func (f *fleet) lab(name string) *labv1.Lab {
	f.t.Helper()
	resp, err := f.c.Labs.GetLab(f.t.Context(), &labv1.GetLabRequest{Lab: name})
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.GetLab()
}

// transfer begins a transfer in a lab, as soon as the lab takes it.
func (f *fleet) transfer(lab, id string, size uint64) {
	f.t.Helper()
	eventually(f.t, "transfer "+id, func() bool {
		_, err := f.c.Transfers.CreateTransfer(f.t.Context(), &labv1.CreateTransferRequest{RequestId: lab + id, Lab: lab,
			Kind: &labv1.CreateTransferRequest_Transfer{Transfer: &labv1.Transfer{Id: id, From: "a", To: "b",
				Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: size}}}})
		var e *client.Error
		if err != nil && (!errors.As(err, &e) || e.Code != client.CodeUnavailable) {
			f.t.Fatal(err)
		}
		return err == nil
	})
}

// followed waits for a transfer's end.
func (f *fleet) followed(lab, id string) *labv1.TransferStatus {
	f.t.Helper()
	tr, err := f.c.FollowTransfer(f.t.Context(), lab, id, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if tr.GetState() != labv1.TransferState_TRANSFER_STATE_DONE || !tr.GetMatch() {
		f.t.Fatalf("transfer %s of lab %s: %v", id, lab, tr)
	}
	return tr
}

// untilAt waits for a lab to have come to a lab time at some worker.
func (f *fleet) untilAt(lab string, t int64) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("lab %s comes to %d", lab, t), func() bool { return f.lab(lab).GetProgress().GetNowNs() >= t })
}

// records is the trace of a lab.
func records(t *testing.T, c *client.Client, lab string) []byte {
	t.Helper()
	return recordsFrom(t, c, &labv1.ReadRecordsRequest{Source: &labv1.ReadRecordsRequest_Lab{Lab: lab}})
}

// recordsFrom is the trace of a lab or a run.
func recordsFrom(t *testing.T, c *client.Client, of *labv1.ReadRecordsRequest) []byte {
	t.Helper()
	stream, err := c.Traces.ReadRecords(t.Context(), of)
	var all []byte
	for err == nil {
		var m *labv1.ReadRecordsResponse
		if m, err = stream.Recv(); err == nil {
			all = append(all, m.GetRecords()...)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return all
}

// undisturbed replays a lab's final journal on a worker of its own, up to a lab time, and gives the trace.
func undisturbed(t *testing.T, spec *labv1.LabSpec, journal []*labv1.JournalEntry, to int64) []byte {
	t.Helper()
	data, err := openDataDir("")
	if err != nil {
		t.Fatal(err)
	}
	defer data.close()
	h, err := startWorker(data, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer h.stop()
	spec.Clock = labv1.Clock_CLOCK_VIRTUAL
	c := workerv1.NewWorkerServiceClient(h.conn)
	if _, err := c.StartLab(t.Context(), &workerv1.StartLabRequest{LabId: "again", Epoch: 1, Spec: spec, Mode: workerv1.Mode_MODE_STANDING,
		Journal: journal, ReplayToNs: to}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the journal is replayed", func() bool {
		lab, err := c.GetLab(t.Context(), &workerv1.GetLabRequest{LabId: "again"})
		return err == nil && !lab.GetProgress().GetRecovering() && lab.GetProgress().GetNowNs() >= to
	})
	stream, err := c.ReadTrace(t.Context(), &workerv1.ReadTraceRequest{LabId: "again"})
	var all []byte
	for err == nil {
		var m *workerv1.ReadTraceResponse
		if m, err = stream.Recv(); err == nil {
			all = append(all, m.GetRecords()...)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return all
}

// checkReplay compares a lab's trace with that of an undisturbed replay of its final journal.
func (f *fleet) checkReplay(name string) {
	f.t.Helper()
	lab := f.lab(name)
	trace := records(f.t, f.c, name)
	inputs, err := f.c.Labs.ListInputs(f.t.Context(), &labv1.ListInputsRequest{Lab: name})
	if err != nil {
		f.t.Fatal(err)
	}
	again := undisturbed(f.t, lab.GetSpec(), inputs.GetEntries(), f.lab(name).GetProgress().GetNowNs())
	if len(trace) == 0 || !bytes.HasPrefix(again, trace) {
		f.t.Fatalf("lab %s: its trace of %d bytes does not begin that of an undisturbed replay, of %d", name, len(trace), len(again))
	}
}

// Labs of workers that are killed at seeded points go on elsewhere under a new epoch: running transfers end with
// matching hashes, and the trace equals that of an undisturbed replay of the final journal.
func TestKilledWorkersLabsGoOn(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	f := newFleet(t, "w1", "w2", "w3")
	labs := []string{"one", "two", "three", "four"}
	for _, name := range labs {
		apply(t, f.c, twoHosts(name, labv1.Clock_CLOCK_REAL))
		f.transfer(name, "t1", 1_500_000) // 1.2 s at 10 Mbit/s
	}
	at := map[string]bool{}
	for _, name := range labs {
		at[f.lab(name).GetWorker()] = true
	}
	if len(at) != 3 {
		t.Fatalf("four labs on three workers went to %v", at)
	}
	f.untilAt("one", 100_000_000+dice.Int64N(1_000_000_000))
	victim := f.lab("one").GetWorker()
	f.kill(victim)
	for _, name := range labs {
		f.transfer(name, "t2", 10_000)
		f.followed(name, "t1")
		f.followed(name, "t2")
	}
	if lab := f.lab("one"); lab.GetWorker() == victim || lab.GetEpoch() < 2 {
		t.Fatalf("after the death of %s: %v", victim, lab)
	}
	if s := f.state(victim); s != labv1.WorkerState_WORKER_STATE_DOWN {
		t.Fatalf("%s is %v", victim, s)
	}
	for _, name := range labs {
		f.checkReplay(name)
	}
}

// A worker that is cut off stops its labs before they are given away, refuses what is stamped under its old epoch, and
// comes back empty.
func TestCutOffWorkerIsFenced(t *testing.T) {
	t.Parallel()
	var heard runbook.Log
	f := newFleet(t)
	for _, name := range []string{"w1", "w2"} {
		f.add(WorkerConfig{Name: name, Logger: heard.Logger()})
	}
	apply(t, f.c, twoHosts("pair", labv1.Clock_CLOCK_REAL))
	f.transfer("pair", "t1", 100_000)
	f.followed("pair", "t1")
	before := f.lab("pair")
	name := before.GetWorker()
	f.wires[name].freeze()
	defer func() {
		if t.Failed() {
			f.wires[name].thaw()
		}
	}()
	eventually(t, "the lab is given away", func() bool { return f.lab("pair").GetEpoch() > 1 })
	conn, err := dialDaemon(&port.Dialer{}, f.workers[name].Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	old := workerv1.NewWorkerServiceClient(conn)
	in := &labv1.Input{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{From: "a", To: "b", Count: 1}}}
	_, err = old.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: before.GetId(), Epoch: 1, Turn: &workerv1.Turn{Term: 1, Number: 1}, Input: in})
	if code := status.Code(err); code != codes.NotFound && code != codes.Unavailable {
		t.Fatalf("a stamp of a worker without a lease: %v", err)
	}
	_, err = old.StartLab(t.Context(), &workerv1.StartLabRequest{LabId: "late", Epoch: 1, Spec: twoHosts("late", labv1.Clock_CLOCK_REAL)})
	if status.Code(err) != codes.Unavailable {
		t.Fatalf("a lab given to a worker without a lease: %v", err)
	}
	f.transfer("pair", "t2", 50_000)
	f.followed("pair", "t2")
	f.wires[name].thaw()
	eventually(t, "the worker is back, and has let go of the lab", func() bool {
		held, err := old.ListLabs(t.Context(), &workerv1.ListLabsRequest{})
		return err == nil && len(held.GetLabs()) == 0 && f.state(name) == labv1.WorkerState_WORKER_STATE_UP
	})
	runbook.Says(t, "a worker is cut off or paused for longer than its lease", heard.String())
	f.checkReplay("pair")
}

// A worker that is drained gives its labs to others, one after another, in the middle of what they do.
func TestDrain(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "w1")
	names := []string{"one", "two"}
	for _, name := range names {
		apply(t, f.c, twoHosts(name, labv1.Clock_CLOCK_REAL))
		f.transfer(name, "t1", 1_500_000)
	}
	drain := func(name string, force bool) error {
		_, err := f.c.Workers.DrainWorker(t.Context(), &labv1.DrainWorkerRequest{RequestId: client.RequestID(), Worker: name, Force: force})
		return err
	}
	var e *client.Error
	if err := drain("w1", false); !errors.As(err, &e) || e.Reason != "LAST_WORKER" || e.Code != client.CodeRefused {
		t.Fatalf("drain of the last worker: %v", err)
	}
	runbook.Says(t, "the last worker is drained", e.Reason, e.Message)
	if err := drain("w9", false); !errors.As(err, &e) || e.Reason != "WORKER_NOT_FOUND" {
		t.Fatalf("drain of no worker: %v", err)
	}
	f.add(WorkerConfig{Name: "w2"})
	f.untilAt("one", 200_000_000)
	if err := drain("w1", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "w1 is empty", func() bool { return f.state("w1") == labv1.WorkerState_WORKER_STATE_DRAINED })
	for _, name := range names {
		f.followed(name, "t1")
		if lab := f.lab(name); lab.GetWorker() != "w2" || lab.GetEpoch() < 2 {
			t.Fatalf("drained: %v", lab)
		}
		f.checkReplay(name)
	}
	if err := drain("w2", false); !errors.As(err, &e) || e.Reason != "LAST_WORKER" {
		t.Fatalf("drain of the last worker that takes labs: %v", err)
	}
	if err := drain("w2", true); err != nil {
		t.Fatal(err)
	}
	_, err := f.c.Labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: "c", Spec: twoHosts("three", labv1.Clock_CLOCK_VIRTUAL)})
	if !errors.As(err, &e) || e.Reason != "NO_WORKER" {
		t.Fatalf("a lab while all workers are drained: %v", err)
	}
	if lab := f.lab("one"); lab.GetWorker() != "w2" || lab.GetState() != labv1.LabState_LAB_STATE_RUNNING {
		t.Fatalf("a lab of the last worker, drained by force: %v", lab)
	}
	if _, err := f.c.Workers.UndrainWorker(t.Context(), &labv1.UndrainWorkerRequest{RequestId: client.RequestID(), Worker: "w1"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "w2 is empty", func() bool { return f.state("w2") == labv1.WorkerState_WORKER_STATE_DRAINED })
}

// A run whose worker dies ends elsewhere, and a run whose files died with their worker is made again: to the byte what
// one process makes of it.
func TestRunsOutliveTheirWorkers(t *testing.T) {
	t.Parallel()
	request := func(id string) *labv1.CreateRunRequest {
		req := runRequest("pair")
		req.RequestId, req.Spec.Clock = id, labv1.Clock_CLOCK_REAL
		req.Inputs[0].Input.GetTransfer().Content = &labv1.Transfer_GeneratedBytes{GeneratedBytes: 2_000_000} // 1.6 s
		return req
	}
	alone := start(t, Config{})
	_, want := follow(t, alone.Client(), request("alone"))

	f := newFleet(t, "w1", "w2", "w3")
	created, err := f.c.Runs.CreateRun(t.Context(), request("r"))
	if err != nil {
		t.Fatal(err)
	}
	id, first := created.GetRun().GetId(), created.GetRun().GetWorker()
	f.kill(first)
	run, err := f.c.FollowRun(t.Context(), id, nil)
	if err != nil || run.GetState() != labv1.RunState_RUN_STATE_ENDED || run.GetWorker() == first {
		t.Fatalf("a run whose worker died: %v %v", run, err)
	}
	sameRun(t, f.c, id, want)

	// A worker that is drained keeps what ended runs have recorded there, for as long as it is up.
	_, err = f.c.Workers.DrainWorker(t.Context(), &labv1.DrainWorkerRequest{RequestId: client.RequestID(), Worker: run.GetWorker(), Force: true})
	if err != nil {
		t.Fatal(err)
	}
	sameRun(t, f.c, id, want)
	f.kill(run.GetWorker())
	eventually(t, "its files are lost", func() bool { return f.state(run.GetWorker()) == labv1.WorkerState_WORKER_STATE_DOWN })
	sameRun(t, f.c, id, want)
	got, err := f.c.Runs.GetRun(t.Context(), &labv1.GetRunRequest{Run: id})
	if err != nil || got.GetRun().GetWorker() == run.GetWorker() || got.GetRun().GetState() != labv1.RunState_RUN_STATE_ENDED {
		t.Fatalf("made again: %v %v", got, err)
	}
}

// sameRun fetches a run's directory and compares it with another.
func sameRun(t *testing.T, c *client.Client, id, want string) {
	t.Helper()
	dir := t.TempDir()
	if err := c.FetchRun(t.Context(), id, dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lab.yaml", "journal.jsonl", "events.bin", "pcap/a-eth0.pcapng", "pcap/b-eth0.pcapng"} {
		one, err1 := os.ReadFile(filepath.Join(dir, name))
		two, err2 := os.ReadFile(filepath.Join(want, name))
		if err := errors.Join(err1, err2); err != nil || len(one) == 0 || !bytes.Equal(one, two) {
			t.Errorf("%s differs from what one process makes: %v", name, err)
		}
	}
}

// What no server ever takes is told at once; what may pass is tried again.
func TestWorkersThatAreRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "w1")
	failed := func(w *Worker) string {
		select {
		case <-w.Failed():
			return w.Err().Error()
		case <-time.After(time.Minute):
			return "it goes on trying"
		}
	}
	contains := func(text, part string) {
		t.Helper()
		if !bytes.Contains([]byte(text), []byte(part)) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
	elsewhere := t.TempDir()
	if err := os.WriteFile(filepath.Join(elsewhere, clusterFile), []byte("ANOTHER\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runbook.Says(t, "a worker belongs to another cluster", failed(f.start(WorkerConfig{Name: "stranger", DataDir: elsewhere})))
	contains(failed(f.start(WorkerConfig{Name: "Not A Name"})), "no name of a worker")

	// Two workers with one id, of a data directory that was copied; and two with one name.
	copied := t.TempDir()
	id, err := os.ReadFile(f.workers["w1"].data.path("worker-id"))
	if err == nil {
		err = os.WriteFile(filepath.Join(copied, "worker-id"), id, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, dir, reason string }{{"w2", copied, "WORKER_ID_IN_USE"}, {"w1", "", "WORKER_NAME_IN_USE"}, {"w1", copied, "WORKER_ID_IN_USE"}} {
		var log bytes.Buffer
		second := &WorkerConfig{Name: c.name, DataDir: c.dir, Listen: "127.0.0.1:0", Servers: []string{f.server.Addr()}}
		var mu sync.Mutex
		second.Logger = slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))
		w, err := StartWorker(*second)
		if err != nil {
			t.Fatal(err)
		}
		words := map[string]string{"WORKER_ID_IN_USE": "id", "WORKER_NAME_IN_USE": "another worker named"}[c.reason]
		// On a busy machine it may be told first that nobody leads.
		eventually(t, "it is refused with "+words, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return bytes.Contains(log.Bytes(), []byte("not registered")) && bytes.Contains(log.Bytes(), []byte(words))
		})
		if err := w.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "the first one is up", func() bool { return f.state("w1") == labv1.WorkerState_WORKER_STATE_UP })
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// A lab that no worker has the memory for is refused, with both numbers.
func TestLabLargerThanItsWorker(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.add(WorkerConfig{Name: "small", MemoryBytes: 64 << 20})
	spec := twoHosts("large", labv1.Clock_CLOCK_VIRTUAL)
	spec.Budget = &labv1.EventBudget{MemoryBytes: 100 << 20}
	_, err := f.c.Labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: "c", Spec: spec})
	var e *client.Error
	if !errors.As(err, &e) || e.Reason != "LAB_TOO_LARGE" || e.Code != client.CodeRefused {
		t.Fatalf("a lab too large: %v", err)
	}
	runbook.Says(t, "a lab needs more memory than any worker has", e.Message)
}

// A worker that stops says so: its labs go elsewhere at once.
func TestWorkerThatLeaves(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "w1", "w2")
	apply(t, f.c, twoHosts("pair", labv1.Clock_CLOCK_REAL))
	f.transfer("pair", "t1", 1_500_000)
	name := f.lab("pair").GetWorker()
	f.workers[name].cancel()
	<-f.workers[name].gone
	f.followed("pair", "t1")
	if s := f.state(name); s != labv1.WorkerState_WORKER_STATE_DOWN {
		t.Fatalf("%s is %v", name, s)
	}
	f.checkReplay("pair")
}

// A lab that is split over three workers, one of which dies in the middle, comes to the bytes of one process.
func TestSplitLabOutlivesAWorker(t *testing.T) {
	t.Parallel()
	request := func(id string, workers uint32) *labv1.CreateRunRequest {
		req := runRequest("pair")
		req.RequestId, req.Spec.Clock = id, labv1.Clock_CLOCK_REAL
		hop := &labv1.DirectionSpec{RateBps: 10_000_000, DelayNs: 5_000_000}
		req.Spec.Nodes = append(req.Spec.Nodes, &labv1.NodeSpec{Name: "r", Kind: labv1.NodeKind_NODE_KIND_ROUTER})
		req.Spec.Links = []*labv1.LinkSpec{
			{A: &labv1.Endpoint{Node: "a", Interface: "eth0"}, B: &labv1.Endpoint{Node: "r", Interface: "eth0"}, Forward: hop, Reverse: hop},
			{A: &labv1.Endpoint{Node: "r", Interface: "eth1"}, B: &labv1.Endpoint{Node: "b", Interface: "eth0"}, Forward: hop, Reverse: hop}}
		req.Spec.Placement = &labv1.Placement{Workers: workers}
		req.Inputs[0].Input.GetTransfer().Content = &labv1.Transfer_GeneratedBytes{GeneratedBytes: 2_000_000} // 1.6 s
		return req
	}
	// A labd by itself has nobody to split a lab with, and need not: the split is no part of the lab.
	alone := start(t, Config{})
	_, want := follow(t, alone.Client(), request("alone", 3))

	f := newFleet(t, "w1", "w2", "w3", "w4")
	created, err := f.c.Runs.CreateRun(t.Context(), request("r", 3))
	if err != nil {
		t.Fatal(err)
	}
	id, first := created.GetRun().GetId(), strings.Split(created.GetRun().GetWorker(), ",")
	if len(first) != 3 {
		t.Fatalf("split over %v", first)
	}
	f.kill(first[1])
	run, err := f.c.FollowRun(t.Context(), id, nil)
	if err != nil || run.GetState() != labv1.RunState_RUN_STATE_ENDED {
		t.Fatalf("a split run one of whose workers died: %v %v", run, err)
	}
	again := strings.Split(run.GetWorker(), ",")
	if len(again) != 3 || slices.Contains(again, first[1]) {
		t.Fatalf("split over %v after the death of %s", again, first[1])
	}
	sameRun(t, f.c, id, want)

	var e *client.Error
	req := request("more", 3)
	req.Spec.Links[0].Forward = &labv1.DirectionSpec{}
	if _, err := f.c.Runs.CreateRun(t.Context(), req); !errors.As(err, &e) || e.Code != client.CodeUsage || !strings.Contains(e.Message, "a:eth0--r:eth0") && !strings.Contains(e.Message, "a--r") {
		t.Fatalf("a split that no cut allows: %v", err)
	}
	if _, err := f.c.Runs.CreateRun(t.Context(), request("four", 4)); !errors.As(err, &e) || e.Code != client.CodeUsage {
		t.Fatalf("three nodes on four workers: %v", err)
	}
}

// A worker says that it is ready while it holds a lease, and not when no leader has answered it for so long.
func TestWorkerIsReadyWithALease(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w := f.start(WorkerConfig{Name: "w1"})
	eventually(t, "the worker is ready", func() bool { return w.Health().Ready() == nil })
	f.wires["w1"].freeze()
	defer f.wires["w1"].thaw()
	eventually(t, "the worker is not ready", func() bool { return w.Health().Ready() != nil })
	if err := w.Health().Alive(); err != nil {
		t.Errorf("it is taken for dead: %v", err)
	}
}
