package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a controller with its services before a fake worker.
type server struct {
	t       *testing.T
	worker  *fakeWorker
	control *Controller
	labs    labv1.LabServiceClient
	nodes   labv1.NodeServiceClient
	moves   labv1.TransferServiceClient
	faults  labv1.FaultServiceClient
	links   labv1.LinkServiceClient
	files   labv1.FileServiceClient
	runs    labv1.RunServiceClient
	watches labv1.WatchServiceClient
	conn    *grpc.ClientConn
	stop    func()
}

// startServer opens a controller on a directory; in memory if it is empty.
func startServer(t *testing.T, worker *fakeWorker, dir string) *server {
	t.Helper()
	return serve(t, worker, Open, dir)
}

// serve opens a controller and puts its services before it.
func serve(t *testing.T, worker *fakeWorker, open func(Config) (*Controller, error), dir string) *server {
	t.Helper()
	conf := Config{FilesDir: t.TempDir(), ServerID: "s1", Worker: worker.connect(t), WorkerName: "w"}
	if dir != "" {
		conf.RaftDir, conf.FilesDir = filepath.Join(dir, "raft"), filepath.Join(dir, "files")
	}
	c, err := open(conf)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(StatusUnary, anybodyUnary), grpc.ChainStreamInterceptor(StatusStream, anybodyStream))
	c.Register(srv)
	pipe := bufconn.Listen(1 << 16)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(pipe) }()
	conn := dialTest(t, pipe)
	s := &server{t: t, worker: worker, control: c,
		labs: labv1.NewLabServiceClient(conn), nodes: labv1.NewNodeServiceClient(conn), moves: labv1.NewTransferServiceClient(conn),
		faults: labv1.NewFaultServiceClient(conn), links: labv1.NewLinkServiceClient(conn), files: labv1.NewFileServiceClient(conn), runs: labv1.NewRunServiceClient(conn),
		watches: labv1.NewWatchServiceClient(conn), conn: conn}
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		conn.Close()
		srv.Stop()
		if err := errors.Join(<-done, c.Close(context.Background())); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	t.Cleanup(s.stop)
	return s
}

func (s *server) create(name string) *labv1.Lab {
	s.t.Helper()
	resp, err := s.labs.CreateLab(s.t.Context(), &labv1.CreateLabRequest{RequestId: "create-" + name, Spec: testSpec(name)})
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.GetLab()
}

func (s *server) transfer(requestID string) (*labv1.CreateTransferResponse, error) {
	return s.transferIn("", requestID)
}

func (s *server) transferIn(lab, requestID string) (*labv1.CreateTransferResponse, error) {
	return s.moves.CreateTransfer(s.t.Context(), &labv1.CreateTransferRequest{RequestId: requestID, Lab: lab,
		Kind: &labv1.CreateTransferRequest_Transfer{Transfer: &labv1.Transfer{From: "a", To: "b", Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 1}}}})
}

func wantReason(t *testing.T, err error, code codes.Code, reason string) {
	t.Helper()
	s := status.Convert(err)
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetReason() == reason && info.GetDomain() == errorDomain && s.Code() == code {
			return
		}
	}
	t.Fatalf("error %v %v, want %v with the reason %s", err, s.Details(), code, reason)
}

func TestLabLife(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	_, err := s.labs.GetLab(t.Context(), &labv1.GetLabRequest{})
	wantReason(t, err, codes.NotFound, "NO_LAB")

	lab := s.create("x")
	if lab.GetState() != labv1.LabState_LAB_STATE_RUNNING || lab.GetEpoch() != 1 || lab.GetWorker() != "w" {
		t.Fatalf("created: %v", lab)
	}
	again := s.create("x") // the same request once more
	if again.GetId() != lab.GetId() {
		t.Fatalf("a repeated request made lab %s beside %s", again.GetId(), lab.GetId())
	}
	_, err = s.labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: "other", Spec: testSpec("x")})
	wantReason(t, err, codes.AlreadyExists, "LAB_EXISTS")

	s.create("y")
	_, err = s.labs.GetLab(t.Context(), &labv1.GetLabRequest{})
	wantReason(t, err, codes.InvalidArgument, "SEVERAL_LABS")

	for range 2 {
		if _, err := s.labs.DeleteLab(t.Context(), &labv1.DeleteLabRequest{RequestId: "d", Lab: "y"}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = s.labs.DeleteLab(t.Context(), &labv1.DeleteLabRequest{RequestId: "d2", Lab: "y"})
	wantReason(t, err, codes.NotFound, "LAB_NOT_FOUND")
	list, err := s.labs.ListLabs(t.Context(), &labv1.ListLabsRequest{})
	if err != nil || len(list.GetLabs()) != 1 {
		t.Fatalf("labs: %v %v", list, err)
	}
}

func TestApplySaysWhatDiffers(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	apply := func(spec *labv1.LabSpec, dry bool) (*labv1.ApplyLabResponse, error) {
		return s.labs.ApplyLab(t.Context(), &labv1.ApplyLabRequest{RequestId: "r" + spec.String(), Spec: spec, DryRun: dry})
	}
	resp, err := s.labs.ApplyLab(t.Context(), &labv1.ApplyLabRequest{Spec: testSpec("x"), DryRun: true})
	if err != nil || resp.GetOutcome() != labv1.ApplyLabResponse_OUTCOME_CREATED || resp.GetLab() != nil {
		t.Fatalf("dry run: %v %v", resp, err)
	}
	if resp, err = s.labs.ApplyLab(t.Context(), &labv1.ApplyLabRequest{RequestId: "r1", Spec: testSpec("x")}); err != nil || resp.GetLab() == nil {
		t.Fatalf("apply: %v %v", resp, err)
	}
	if resp, err = apply(testSpec("x"), true); err != nil || resp.GetOutcome() != labv1.ApplyLabResponse_OUTCOME_UNCHANGED || len(resp.GetDifferences()) != 0 {
		t.Fatalf("apply of the same: %v %v", resp, err)
	}

	changed := testSpec("x")
	changed.Nodes = append(changed.Nodes[1:], &labv1.NodeSpec{Name: "c", Kind: labv1.NodeKind_NODE_KIND_ROUTER})
	changed.Links[0].A.Node = "c"
	changed.Seed = 2
	resp, err = apply(changed, true)
	if err != nil || resp.GetOutcome() != labv1.ApplyLabResponse_OUTCOME_CHANGED {
		t.Fatalf("dry run of a change: %v %v", resp, err)
	}
	var got []string
	for _, d := range resp.GetDifferences() {
		got = append(got, strings.TrimPrefix(d.GetChange().String(), "CHANGE_")+" "+d.GetPath())
	}
	want := "REMOVED links[a:eth0--b:eth0],ADDED links[c:eth0--b:eth0],REMOVED nodes[a],ADDED nodes[c],MODIFIED seed"
	if strings.Join(got, ",") != want {
		t.Fatalf("differences %v, want %s", got, want)
	}
	slower := testSpec("x")
	slower.Links[0].Forward.DelayNs = 5
	slower.Nodes[0].Tcp = &labv1.TcpSettings{Nagle: proto.Bool(false)}
	resp, err = apply(slower, true)
	if err != nil || len(resp.GetDifferences()) != 2 || !proto.Equal(resp.GetDifferences()[0], &labv1.Difference{
		Change: labv1.Difference_CHANGE_MODIFIED, Path: "links[a:eth0--b:eth0].forward.delay_ns", OldValue: "1000000", NewValue: "5"}) ||
		resp.GetDifferences()[1].GetPath() != "nodes[a].tcp" {
		t.Fatalf("dry run of a slower link: %v %v", resp, err)
	}

	_, err = s.labs.ApplyLab(t.Context(), &labv1.ApplyLabRequest{RequestId: "r2", Spec: changed})
	wantReason(t, err, codes.FailedPrecondition, "LAB_DIFFERS")
	if !strings.Contains(err.Error(), "delete it and apply again") {
		t.Fatalf("the error does not say what to do: %v", err)
	}
}

// The order of a file's nodes is no part of a lab.
func TestOrderIsNoDifference(t *testing.T) {
	other := testSpec("x")
	other.Nodes[0], other.Nodes[1] = other.Nodes[1], other.Nodes[0]
	if d := differences(testSpec("x"), other); len(d) != 0 {
		t.Fatalf("differences: %v", d)
	}
}

func TestLabThatCannotBeBuiltIsTakenBack(t *testing.T) {
	w := newFakeWorker()
	w.refuse = status.Error(codes.InvalidArgument, "two nodes share an address")
	s := startServer(t, w, "")
	_, err := s.labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: "r", Spec: testSpec("x")})
	wantReason(t, err, codes.InvalidArgument, "WORKER")
	list, err := s.labs.ListLabs(t.Context(), &labv1.ListLabsRequest{})
	if err != nil || len(list.GetLabs()) != 0 {
		t.Fatalf("labs left: %v %v", list, err)
	}
}

func TestInputIsStampedCommittedApplied(t *testing.T) {
	w := newFakeWorker()
	s := startServer(t, w, "")
	s.create("x")
	first, err := s.transfer("r1")
	if err != nil {
		t.Fatal(err)
	}
	if first.GetStamp().GetIndex() != 1 || first.GetStamp().GetTNs() != 1000 || first.GetId() != "t1" || first.GetLab() != "x" {
		t.Fatalf("answer: %v", first)
	}
	again, err := s.transfer("r1")
	if err != nil || !proto.Equal(again, first) {
		t.Fatalf("a repeated request: %v %v", again, err)
	}
	f, err := s.faults.CreateFault(t.Context(), &labv1.CreateFaultRequest{RequestId: "r2", Fault: &labv1.Fault{Id: "f", Link: "a--b",
		Effect: &labv1.Fault_Down{Down: &labv1.Down{}}}})
	if err != nil || f.GetStamp().GetIndex() != 2 {
		t.Fatalf("fault: %v %v", f, err)
	}
	list, err := s.labs.ListInputs(t.Context(), &labv1.ListInputsRequest{PageSize: 1})
	if err != nil || len(list.GetEntries()) != 1 || !list.GetMore() {
		t.Fatalf("first page: %v %v", list, err)
	}
	list, err = s.labs.ListInputs(t.Context(), &labv1.ListInputsRequest{AfterIndex: 1})
	if err != nil || len(list.GetEntries()) != 1 || list.GetMore() {
		t.Fatalf("second page: %v %v", list, err)
	}
	lab := w.only(t)
	if len(lab.applied) != 2 || len(lab.abandoned) != 0 {
		t.Fatalf("the worker applied %d inputs and abandoned %d", len(lab.applied), len(lab.abandoned))
	}
	if got := s.control.store.view().input(lab.start.GetLabId(), 1); !proto.Equal(got, lab.applied[0]) {
		t.Fatalf("journaled %v, applied %v", got, lab.applied[0])
	}
}

// Of one request sent twice at once, one input comes.
func TestSameRequestTwiceAtOnce(t *testing.T) {
	w := newFakeWorker()
	s := startServer(t, w, "")
	s.create("x")
	answers := make(chan *labv1.CreateTransferResponse, 8)
	for range cap(answers) {
		go func() {
			resp, err := s.transfer("r1")
			if err != nil {
				t.Errorf("transfer: %v", err)
			}
			answers <- resp
		}()
	}
	first := <-answers
	for range cap(answers) - 1 {
		if next := <-answers; !proto.Equal(next, first) {
			t.Errorf("answers %v and %v", first, next)
		}
	}
	if lab := w.only(t); len(lab.applied) != 1 {
		t.Fatalf("%d inputs took effect", len(lab.applied))
	}
}

// An input that could not be journaled never takes effect, and does not hold the lab up.
func TestRefusedInputIsAbandoned(t *testing.T) {
	w := newFakeWorker()
	s := startServer(t, w, "")
	s.create("x")
	lab := w.only(t)
	w.mu.Lock()
	lab.next = 5 // the next stamp leaves a gap in the journal
	w.mu.Unlock()
	_, err := s.transfer("r1")
	wantReason(t, err, codes.Internal, "WORKER")
	if len(lab.applied) != 0 || len(lab.abandoned) != 1 || lab.abandoned[0] != 6 {
		t.Fatalf("applied %v, abandoned %v", lab.applied, lab.abandoned)
	}
	if list, err := s.labs.ListInputs(t.Context(), &labv1.ListInputsRequest{}); err != nil || len(list.GetEntries()) != 0 {
		t.Fatalf("journal: %v %v", list, err)
	}
}

func TestInputThatNamesWhatIsNotThere(t *testing.T) {
	w := newFakeWorker()
	s := startServer(t, w, "")
	s.create("x")
	move := func(id string, tr *labv1.Transfer) error {
		_, err := s.moves.CreateTransfer(t.Context(), &labv1.CreateTransferRequest{RequestId: id, Kind: &labv1.CreateTransferRequest_Transfer{Transfer: tr}})
		return err
	}
	wantReason(t, move("r1", &labv1.Transfer{From: "a", To: "zz"}), codes.NotFound, "NODE_NOT_FOUND")
	wantReason(t, move("", &labv1.Transfer{From: "a", To: "b", Content: &labv1.Transfer_GeneratedBytes{}}), codes.InvalidArgument, "INVALID")
	sum := sha256.Sum256([]byte("content"))
	withFile := &labv1.Transfer{From: "a", To: "b", Content: &labv1.Transfer_File{File: &labv1.FileRef{Path: "f", Sha256: hex.EncodeToString(sum[:]), SizeBytes: 7}}}
	wantReason(t, move("r2", withFile), codes.FailedPrecondition, "FILE_MISSING")
	if lab := w.only(t); lab.next != 0 {
		t.Fatal("something was stamped")
	}

	s.upload("content")
	if err := move("r3", withFile); err != nil {
		t.Fatal(err)
	}
	if string(w.blobs[hex.EncodeToString(sum[:])]) != "content" {
		t.Fatal("the worker does not hold the file of an input that it applied")
	}
}

func (s *server) upload(content string) {
	s.t.Helper()
	sum := sha256.Sum256([]byte(content))
	if err := s.send(hex.EncodeToString(sum[:]), uint64(len(content)), content); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) send(sum string, size uint64, content string) error {
	stream, err := s.files.UploadFile(s.t.Context())
	if err != nil {
		return err
	}
	// What is wrong is told in the answer, whichever Send it stops.
	_ = stream.Send(&labv1.UploadFileRequest{Sha256: sum, SizeBytes: size})
	for i := range len(content) {
		_ = stream.Send(&labv1.UploadFileRequest{Data: []byte(content[i : i+1])})
	}
	_, err = stream.CloseAndRecv()
	return err
}

func TestUpload(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	sum := sha256.Sum256([]byte("abc"))
	abc := hex.EncodeToString(sum[:])
	wantReason(t, s.send(abc, 3, "abd"), codes.InvalidArgument, "FILE_CORRUPT")
	wantReason(t, s.send(abc, 3, "ab"), codes.InvalidArgument, "FILE_CORRUPT")
	wantReason(t, s.send(abc, 2, "abc"), codes.InvalidArgument, "FILE_CORRUPT")
	wantReason(t, s.send("../../etc/passwd", 3, "abc"), codes.InvalidArgument, "INVALID")
	wantReason(t, s.send(abc, maxFileBytes+1, ""), codes.ResourceExhausted, "QUOTA")
	missing := func() int {
		resp, err := s.files.MissingFiles(t.Context(), &labv1.MissingFilesRequest{Sha256: []string{abc}})
		if err != nil {
			t.Fatal(err)
		}
		return len(resp.GetSha256())
	}
	if missing() != 1 {
		t.Fatal("a broken upload counts")
	}
	s.upload("abc")
	if missing() != 0 {
		t.Fatal("an upload does not count")
	}
	left, err := filepath.Glob(filepath.Join(s.control.conf.FilesDir, incomingPattern))
	if err != nil || len(left) != 0 {
		t.Fatalf("left of broken uploads: %v %v", left, err)
	}
}

func runRequest(id string) *labv1.CreateRunRequest {
	move := func(at int64, id string) *labv1.TimedInput {
		return &labv1.TimedInput{AtNs: at, Input: &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{Id: id, From: "a", To: "b", Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 1}}}}}
	}
	return &labv1.CreateRunRequest{RequestId: id, Spec: testSpec("x"), Inputs: []*labv1.TimedInput{move(5, "t2"), move(3, "t1"), move(5, "t3")}}
}

func TestRun(t *testing.T) {
	w := newFakeWorker()
	s := startServer(t, w, "")
	created, err := s.runs.CreateRun(t.Context(), runRequest("r"))
	if err != nil {
		t.Fatal(err)
	}
	id := created.GetRun().GetId()
	if id != "x-1" || created.GetRun().GetState() != labv1.RunState_RUN_STATE_RUNNING {
		t.Fatalf("created %v", created)
	}
	lab := w.only(t)
	var journal []string
	for _, e := range lab.start.GetJournal() {
		journal = append(journal, e.GetInput().GetTransfer().GetId())
	}
	if strings.Join(journal, " ") != "t1 t2 t3" || lab.start.GetMode() != workerv1.Mode_MODE_RUN {
		t.Fatalf("the worker was given %v", lab.start)
	}

	watch, err := s.runs.WatchRun(t.Context(), &labv1.WatchRunRequest{Run: id})
	if err != nil {
		t.Fatal(err)
	}
	m, err := watch.Recv()
	if err != nil || m.GetRun().GetState() != labv1.RunState_RUN_STATE_RUNNING {
		t.Fatalf("first of the watch: %v %v", m, err)
	}
	w.end(lab)
	for m.GetRun().GetState() == labv1.RunState_RUN_STATE_RUNNING {
		if m, err = watch.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if m.GetRun().GetState() != labv1.RunState_RUN_STATE_ENDED || len(m.GetRun().GetTransfers()) != 3 {
		t.Fatalf("last of the watch: %v", m)
	}
	got, err := s.runs.GetRun(t.Context(), &labv1.GetRunRequest{Run: id})
	if err != nil || !proto.Equal(got.GetRun(), m.GetRun()) {
		t.Fatalf("get: %v %v, want %v", got, err, m.GetRun())
	}
	if _, err := s.runs.DeleteRun(t.Context(), &labv1.DeleteRunRequest{RequestId: "d", Run: id}); err != nil {
		t.Fatal(err)
	}
	_, err = s.runs.GetRun(t.Context(), &labv1.GetRunRequest{Run: id})
	wantReason(t, err, codes.NotFound, "RUN_NOT_FOUND")
}

func TestInterrupt(t *testing.T) {
	w := newFakeWorker()
	s := startServer(t, w, "")
	created, err := s.runs.CreateRun(t.Context(), runRequest("r"))
	if err != nil {
		t.Fatal(err)
	}
	id := created.GetRun().GetId()
	resp, err := s.runs.InterruptRun(t.Context(), &labv1.InterruptRunRequest{RequestId: "i", Run: id})
	if err != nil || resp.GetStamp().GetIndex() != 4 {
		t.Fatalf("interrupt: %v %v", resp, err)
	}
	watch, err := s.runs.WatchRun(t.Context(), &labv1.WatchRunRequest{Run: id})
	if err != nil {
		t.Fatal(err)
	}
	for state := labv1.RunState_RUN_STATE_RUNNING; state == labv1.RunState_RUN_STATE_RUNNING; {
		m, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		state = m.GetRun().GetState()
	}
	resp, err = s.runs.InterruptRun(t.Context(), &labv1.InterruptRunRequest{RequestId: "i2", Run: id})
	if err != nil || resp.GetStamp() != nil {
		t.Fatalf("interrupt of an ended run: %v %v", resp, err)
	}
}

func TestBadRuns(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	for name, spoil := range map[string]func(*labv1.CreateRunRequest){
		"no lab":           func(r *labv1.CreateRunRequest) { r.Spec = nil },
		"name":             func(r *labv1.CreateRunRequest) { r.Name = "../x" },
		"negative end":     func(r *labv1.CreateRunRequest) { r.EndNs = -1 },
		"negative time":    func(r *labv1.CreateRunRequest) { r.Inputs[0].AtNs = -1 },
		"empty input":      func(r *labv1.CreateRunRequest) { r.Inputs[0].Input = nil },
		"manifest no JSON": func(r *labv1.CreateRunRequest) { r.Manifest = []byte("[1]") },
	} {
		req := runRequest("r-" + name)
		spoil(req)
		_, err := s.runs.CreateRun(t.Context(), req)
		wantReason(t, err, codes.InvalidArgument, "INVALID")
	}
}

// A restart finds labs, journals and requests as they were, gives every lab to the worker under a new epoch, with its
// journal, and lets it go on from where it was.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, newFakeWorker(), dir)
	lab := s.create("x")
	first, err := s.transfer("r1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.runs.CreateRun(t.Context(), runRequest("run")); err != nil {
		t.Fatal(err)
	}
	s.worker.mu.Lock()
	s.worker.labs[lab.GetId()].now = 77_000
	s.worker.mu.Unlock()
	s.stop()

	w := newFakeWorker() // its process died as well
	s = startServer(t, w, dir)
	got := s.untilRunning("x")
	if got.GetId() != lab.GetId() || got.GetEpoch() != 2 || got.GetProgress().GetNowNs() != 77_000 {
		t.Fatalf("after a restart: %v", got)
	}
	w.mu.Lock()
	start := w.labs[lab.GetId()].start
	w.mu.Unlock()
	if len(start.GetJournal()) != 1 || start.GetJournal()[0].GetTNs() != first.GetStamp().GetTNs() || start.GetReplayToNs() != 77_000 {
		t.Fatalf("rebuilt from %v", start)
	}
	again, err := s.transfer("r1")
	if err != nil || !proto.Equal(again, first) {
		t.Fatalf("a request repeated over a restart: %v %v, want %v", again, err, first)
	}
	second, err := s.transfer("r2")
	if err != nil || second.GetStamp().GetIndex() != 2 {
		t.Fatalf("next input: %v %v", second, err)
	}
	run, err := s.runs.GetRun(t.Context(), &labv1.GetRunRequest{Run: "x-1"})
	if err != nil || run.GetRun().GetEndedAt() != nil {
		t.Fatalf("a run that had not ended: %v %v", run, err)
	}
}

// untilRunning waits for a lab to be rebuilt.
func (s *server) untilRunning(name string) *labv1.Lab {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		got, err := s.labs.GetLab(s.t.Context(), &labv1.GetLabRequest{Lab: name})
		if err != nil {
			s.t.Fatal(err)
		}
		if got.GetLab().GetState() == labv1.LabState_LAB_STATE_RUNNING {
			return got.GetLab()
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("lab %s does not come up: %v", name, got)
		}
	}
}

// The log before a snapshot is not needed to find everything again.
func TestRestartFromSnapshot(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, newFakeWorker(), dir)
	s.create("x")
	first, err := s.transfer("r1")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.control.node.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	s.create("after")
	s.stop()

	s = startServer(t, newFakeWorker(), dir)
	s.untilRunning("x")
	s.untilRunning("after")
	again, err := s.transferIn("x", "r1") // there are two labs by now
	if err != nil || !proto.Equal(again, first) {
		t.Fatalf("a request of before the snapshot, repeated: %v %v, want %v", again, err, first)
	}
	list, err := s.labs.ListInputs(t.Context(), &labv1.ListInputsRequest{Lab: "x"})
	if err != nil || len(list.GetEntries()) != 1 || list.GetEntries()[0].GetTNs() != first.GetStamp().GetTNs() {
		t.Fatalf("journal: %v %v", list, err)
	}
}

// A worker that does not answer at once keeps nobody from leading for good.
func TestWorkerThatComesLate(t *testing.T) {
	w := newFakeWorker()
	w.deaf = 1
	startServer(t, w, "").create("x")
}

// Labs at the worker that the state does not know are what a crash left of deleted ones.
func TestLeftoversAreRemoved(t *testing.T) {
	w := newFakeWorker()
	w.labs["gone.1"] = &fakeLab{start: &workerv1.StartLabRequest{LabId: "gone.1", Epoch: 7}, running: true, changed: make(chan struct{})}
	s := startServer(t, w, "")
	s.create("x")
	for deadline := time.Now().Add(2 * time.Minute); ; {
		w.mu.Lock()
		_, there := w.labs["gone.1"]
		w.mu.Unlock()
		if !there {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it stays")
		}
		runtime.Gosched()
	}
}

// What the log shows decides about an input whose commit's fate was open: it takes effect exactly once, or not at all.
func TestOpenFateIsSettledByTheLog(t *testing.T) {
	w := newFakeWorker()
	s := startServer(t, w, "")
	lab := s.create("x")
	if _, err := s.transfer("r1"); err != nil {
		t.Fatal(err)
	}
	// The leader before stamped this input and was not told whether it is in the log.
	settle := func(index uint64) {
		w.mu.Lock()
		w.labs[lab.GetId()].pending = index
		w.mu.Unlock()
		l := s.control.leading()
		if err := l.adopt(l.host(lab.GetId(), 1)); err != nil {
			t.Fatal(err)
		}
	}
	settle(2) // it is not
	if got := w.only(t); len(got.applied) != 1 || len(got.abandoned) != 1 || got.abandoned[0] != 2 {
		t.Fatalf("applied %v, abandoned %v", got.applied, got.abandoned)
	}
	w.mu.Lock()
	w.labs[lab.GetId()].applied = nil
	w.mu.Unlock()
	settle(1) // it is
	if got := w.only(t); len(got.applied) != 1 || got.applied[0].GetIndex() != 1 {
		t.Fatalf("applied %v", got.applied)
	}
	// A worker that lacks an input which is in the log has another lab than the journal tells of: it is rebuilt.
	w.mu.Lock()
	w.labs[lab.GetId()].applied = nil
	w.mu.Unlock()
	settle(0)
	eventually(t, "the lab is rebuilt", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		now := w.labs[lab.GetId()].start
		return now.GetEpoch() == 2 && len(now.GetJournal()) == 1
	})
}
