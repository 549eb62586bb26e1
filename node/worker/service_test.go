package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"google.golang.org/protobuf/proto"
	"labd.dev/journal"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/trace"
)

// dial serves the worker over gRPC, in memory.
func (b *bench) dial() workerv1.WorkerServiceClient {
	b.t.Helper()
	pipe := bufconn.Listen(1 << 20)
	s := grpc.NewServer()
	workerv1.RegisterWorkerServiceServer(s, b.Worker)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(pipe)
	}()
	cc, err := grpc.NewClient("passthrough:worker", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := cc.Close(); err != nil {
			b.t.Error(err)
		}
		s.Stop()
		<-done
	})
	return workerv1.NewWorkerServiceClient(cc)
}

// What each call of the service does. A call that changes a lab does it by a journaled input, or makes and ends the lab
// as a whole; there is no third way.
var (
	reads = []string{"MissingBlobs", "ListLabs", "GetLab", "WatchLab", "ListConns", "ReadTrace", "ReadPacket", "ListRunFiles", "ReadRunFile", "ReadSaved", "GetReport",
		"FollowTrace", "Capture", "ReplayRun", "GradeLab"}
	contents  = []string{"PutBlob"} // adds content that an input may name; no lab sees it before
	lifecycle = []string{"StartLab", "StopLab"}
	pacing    = []string{"ControlClock", "SetBounds"} // when by the wall, never what: TestClockControlChangesNothing, TestEventRateChangesNothing
	journaled = []string{"StampInput", "CommitInput", "AbandonInput"}
)

// "A test walks the worker API and fails on a mutating call without a journaled input kind."
func TestEveryChangeIsAJournaledInput(t *testing.T) {
	known := map[string]bool{}
	for _, list := range [][]string{reads, contents, lifecycle, pacing, journaled} {
		for _, m := range list {
			known[m] = true
		}
	}
	d := workerv1.WorkerService_ServiceDesc
	n := 0
	for _, m := range d.Methods {
		n++
		if !known[m.MethodName] {
			t.Errorf("%s: does it change a lab? Then it needs an input kind; else list it under reads", m.MethodName)
		}
	}
	for _, m := range d.Streams {
		n++
		if !known[m.StreamName] {
			t.Errorf("%s: does it change a lab? Then it needs an input kind; else list it under reads", m.StreamName)
		}
	}
	if n != len(known) {
		t.Errorf("%d calls in the service, %d listed", n, len(known))
	}
}

// inputOfEachKind is one input of every kind that a lab may be given while it lives.
func inputOfEachKind() map[string]*labv1.Input {
	return map[string]*labv1.Input{
		"transfer":   transfer("", 1000),
		"http_get":   {Kind: &labv1.Input_HttpGet{HttpGet: &labv1.HttpGet{From: "client", Url: "http://server/x"}}},
		"udp":        {Kind: &labv1.Input_Udp{Udp: &labv1.UdpBlast{From: "client", To: "server", Count: 3}}},
		"ping":       ping(""),
		"traceroute": {Kind: &labv1.Input_Traceroute{Traceroute: &labv1.Traceroute{From: "client", To: "server"}}},
		"send":       {Kind: &labv1.Input_Send{Send: &labv1.RawSend{From: "client", Packets: []*labv1.RawPacket{{Fields: []*labv1.RawField{{Name: "ip.dst", Value: "server"}}}}}}},
		"fault":      fault(&labv1.Fault{Id: "fx", Link: "r1--r2", Effect: &labv1.Fault_RateBps{RateBps: 5e6}}),
		"link_set":   linkSet("r1->r2", 0, &labv1.DirectionPatch{Corrupt: proto.Float64(0.001)}),
		"apply":      apply(changed(path(), func(s *labv1.LabSpec) { s.Nodes = append(s.Nodes, host("late")) })),
		// last, for it ends the one before
		"clear_fault": {Kind: &labv1.Input_ClearFault{ClearFault: &labv1.ClearFault{Id: "fx"}}},
	}
}

// Each kind of input goes through stamp and commit into the journal on disk, and the trace says when it took effect.
func TestEveryKindOfInput(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	if _, err := c.StartLab(t.Context(), standing("l", labv1.Clock_CLOCK_VIRTUAL)); err != nil {
		t.Fatal(err)
	}
	kinds := (&labv1.Input{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields()
	inputs := inputOfEachKind()
	var entries []*labv1.JournalEntry
	for i := range kinds.Len() {
		name := string(kinds.Get(i).Name())
		if name == "interrupt" {
			continue // of a run: TestInterrupt
		}
		in := inputs[name]
		if in == nil {
			t.Fatalf("no input of kind %s here", name)
		}
		s, err := c.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "l", Turn: b.turn(), Input: in})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e := &labv1.JournalEntry{Index: s.Index, TNs: s.TNs, Input: s.Input}
		if _, err := c.CommitInput(t.Context(), &workerv1.CommitInputRequest{LabId: "l", Entry: e}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		entries = append(entries, e)
	}
	r := b.until("l", "all ended", settled)
	if len(r.Transfers) != 3 || len(r.Execs) != 3 || len(r.Faults) != 1 {
		t.Errorf("%d transfers, %d commands, %d faults", len(r.Transfers), len(r.Execs), len(r.Faults))
	}
	got, err := journal.ReadFile(labDir(b.root, "l") + "/" + trace.JournalFile)
	if err != nil {
		t.Fatal(err)
	}
	if d := journal.Compare(got, entries); d != nil {
		t.Error(d)
	}
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	if _, err := c.StartLab(t.Context(), standing("l", labv1.Clock_CLOCK_VIRTUAL)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.StartLab(t.Context(), standing("l", labv1.Clock_CLOCK_VIRTUAL)); err != nil {
		t.Errorf("starting a lab that runs: %v", err)
	}
	b.input("l", transfer("mine", 1000))
	stamp := func(in *labv1.Input) error {
		_, err := c.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "l", Turn: b.turn(), Input: in})
		return err
	}
	to := func(in *labv1.Input, node string) *labv1.Input {
		in.GetTransfer().To = node
		return in
	}
	twoOnOne := twoHosts()
	twoOnOne.Nodes[0].Interfaces = []*labv1.InterfaceSpec{{Name: "eth0", Address: "10.0.0.1/24"}}
	twoOnOne.Nodes[1].Interfaces = []*labv1.InterfaceSpec{{Name: "eth0", Address: "10.0.0.1/24"}}
	start := func(id string, spec *labv1.LabSpec) error {
		_, err := c.StartLab(t.Context(), &workerv1.StartLabRequest{LabId: id, Spec: spec})
		return err
	}
	file := func(path string) error {
		s, err := c.ReadRunFile(t.Context(), &workerv1.ReadRunFileRequest{LabId: "l", Path: path})
		if err != nil {
			return err
		}
		_, err = s.Recv()
		return err
	}
	for name, got := range map[string]struct {
		err  error
		code codes.Code
	}{
		"no such node":       {stamp(to(transfer("", 1), "nobody")), codes.NotFound},
		"name taken":         {stamp(transfer("mine", 1)), codes.AlreadyExists},
		"name of a file":     {stamp(transfer("../../x", 1)), codes.InvalidArgument},
		"no kind":            {stamp(&labv1.Input{}), codes.InvalidArgument},
		"no such fault":      {stamp(&labv1.Input{Kind: &labv1.Input_ClearFault{ClearFault: &labv1.ClearFault{Id: "f9"}}}), codes.NotFound},
		"no such link":       {stamp(fault(down("r1--server", 0))), codes.NotFound},
		"interrupt":          {stamp(&labv1.Input{Kind: &labv1.Input_Interrupt{Interrupt: &labv1.Interrupt{}}}), codes.FailedPrecondition},
		"address clash":      {start("clash", twoOnOne), codes.InvalidArgument},
		"lab id with a path": {start("../x", twoHosts()), codes.InvalidArgument},
		"no lab":             {file0(c.GetLab(t.Context(), &workerv1.GetLabRequest{LabId: "nope"})), codes.NotFound},
		"outside the run":    {file("../../blobs"), codes.InvalidArgument},
		"no such file":       {file("nope.bin"), codes.NotFound},
		"a directory":        {file("pcap"), codes.InvalidArgument},
	} {
		if status.Code(got.err) != got.code {
			t.Errorf("%s: %v, want %v", name, got.err, got.code)
		}
	}
	if err := stamp(ping("")); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func file0(_ *workerv1.GetLabResponse, err error) error { return err }

// The streams carry whole files, traces and contents.
func TestStreams(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	data := bytes.Repeat([]byte("0123456789abcdef"), 50_000)
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	up, err := c.PutBlob(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for part := data; len(part) > 0; part = part[100_000:] {
		m := &workerv1.PutBlobRequest{Data: part[:100_000]}
		if len(part) == len(data) {
			m.Sha256 = name
		}
		if err := up.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := up.CloseAndRecv(); err != nil {
		t.Fatal(err)
	}
	if m, err := c.MissingBlobs(t.Context(), &workerv1.MissingBlobsRequest{Sha256: []string{name, "00"}}); err != nil || len(m.Sha256) != 1 {
		t.Errorf("missing: %v, %v", m, err)
	}
	in := transfer("get", 0)
	in.GetTransfer().Content = &labv1.Transfer_File{File: &labv1.FileRef{Path: "x", Sha256: name, SizeBytes: uint64(len(data))}}
	got, _ := b.run(&workerv1.StartLabRequest{LabId: "l", Spec: path(), Capture: true, Journal: journalOf(timed{0, in}, timed{0, ping("")})})
	if !got.Transfers[0].Match {
		t.Fatalf("%v", got.Transfers[0])
	}

	saved, err := c.ReadSaved(t.Context(), &workerv1.ReadSavedRequest{LabId: "l", Transfer: "get"})
	if err != nil {
		t.Fatal(err)
	}
	if back := drain(t, saved.Recv); !bytes.Equal(back, data) {
		t.Errorf("%d bytes came back of %d", len(back), len(data))
	}
	files, err := c.ListRunFiles(t.Context(), &workerv1.ListRunFilesRequest{LabId: "l"})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files.Files {
		s, err := c.ReadRunFile(t.Context(), &workerv1.ReadRunFileRequest{LabId: "l", Path: f.Path})
		if err != nil {
			t.Fatal(err)
		}
		if back := drain(t, s.Recv); uint64(len(back)) != f.SizeBytes {
			t.Errorf("%s: %d bytes of %d", f.Path, len(back), f.SizeBytes)
		}
	}
	all := records(t, c, "")
	one := records(t, c, "client/1")
	if uint64(all) != got.Progress.Records || one == 0 || one >= all {
		t.Errorf("%d records, %d of the connection; the lab has made %d", all, one, got.Progress.Records)
	}
}

func records(t *testing.T, c workerv1.WorkerServiceClient, conn string) int {
	t.Helper()
	s, err := c.ReadTrace(t.Context(), &workerv1.ReadTraceRequest{LabId: "l", Conn: conn})
	if err != nil {
		t.Fatal(err)
	}
	n, first := 0, true
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		if first != (len(m.NodeNames) > 0 && len(m.DirectionNames) > 0) {
			t.Errorf("names in message: %v, %v", m.NodeNames, m.DirectionNames)
		}
		first = false
		recs, err := trace.DecodeRecords(m.Records)
		if err != nil {
			t.Fatal(err)
		}
		n += len(recs)
	}
}

func drain[M interface{ GetData() []byte }](t *testing.T, recv func() (M, error)) []byte {
	t.Helper()
	var out []byte
	for {
		m, err := recv()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m.GetData()...)
	}
}

// What a stopped lab leaves behind can be read, also by a worker that has not run it, until it is removed.
func TestFilesOutliveTheLab(t *testing.T) {
	b := newBench(t)
	b.run(&workerv1.StartLabRequest{LabId: "l", Epoch: 3, Spec: path(), Capture: true, Journal: journalOf(timed{0, transfer("", 5000)})})
	if _, err := b.StopLab(t.Context(), &workerv1.StopLabRequest{LabId: "l", Epoch: 3, KeepFiles: true}); err != nil {
		t.Fatal(err)
	}
	again, err := New(Config{Root: b.root})
	if err != nil {
		t.Fatal(err)
	}
	next := &bench{Worker: again, t: t}
	t.Cleanup(next.finish)
	next.start(standing("other", labv1.Clock_CLOCK_VIRTUAL))
	c := next.dial()
	labs, err := c.ListLabs(t.Context(), &workerv1.ListLabsRequest{})
	if err != nil || len(labs.Labs) != 2 || labs.Labs[0].LabId != "l" || labs.Labs[0].Running || !labs.Labs[1].Running {
		t.Errorf("%v, %v", labs, err)
	}
	if n := records(t, c, "client/1"); n == 0 {
		t.Error("no records")
	}
	s, err := c.ReadTrace(t.Context(), &workerv1.ReadTraceRequest{LabId: "l", Conn: "client/9"})
	if err == nil {
		_, err = s.Recv()
	}
	if status.Code(err) != codes.NotFound {
		t.Errorf("a connection that never was: %v", err)
	}
	if p, err := c.ReadPacket(t.Context(), &workerv1.ReadPacketRequest{LabId: "l", Packet: "client:2"}); err != nil || len(p.Hops) == 0 {
		t.Errorf("packet: %v, %v", p, err)
	}
	if f, err := c.ListRunFiles(t.Context(), &workerv1.ListRunFilesRequest{LabId: "l"}); err != nil || len(f.Files) < 10 {
		t.Errorf("files: %v, %v", f, err)
	}
	if _, err := c.StopLab(t.Context(), &workerv1.StopLabRequest{LabId: "l"}); err != nil {
		t.Error(err)
	}
	if _, err := c.ListRunFiles(t.Context(), &workerv1.ListRunFilesRequest{LabId: "l"}); status.Code(err) != codes.NotFound {
		t.Errorf("removed, and still there: %v", err)
	}
}

// A watch tells at once, and at last that the lab has ended.
func TestWatch(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	b.start(&workerv1.StartLabRequest{LabId: "l", Spec: twoHosts(), Mode: workerv1.Mode_MODE_RUN, Journal: journalOf(timed{0, transfer("", 3_000_000)})})
	s, err := c.WatchLab(t.Context(), &workerv1.WatchLabRequest{LabId: "l", IntervalMs: 1})
	if err != nil {
		t.Fatal(err)
	}
	var last *workerv1.WatchLabResponse
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = m
	}
	if !last.GetProgress().GetEnded() || !last.Transfers[0].GetMatch() {
		t.Errorf("at last: %v", last)
	}
}
