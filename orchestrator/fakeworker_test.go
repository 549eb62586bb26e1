package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"sort"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// fakeWorker keeps what it is told and runs nothing.
type fakeWorker struct {
	workerv1.UnimplementedWorkerServiceServer

	mu     sync.Mutex
	labs   map[string]*fakeLab
	blobs  map[string][]byte
	refuse error // StartLab's answer
	deaf   int   // so many calls of ListLabs fail
	bounds *workerv1.SetBoundsRequest
	disk   *workerv1.SetBoundsResponse
}

type fakeLab struct {
	start     *workerv1.StartLabRequest
	running   bool
	next      uint64 // index of the last stamp
	pending   uint64 // index of the stamp that waits
	stamped   *labv1.JournalEntry
	turn      *workerv1.Turn
	now       int64
	applied   []*labv1.JournalEntry
	abandoned []uint64
	changed   chan struct{}
	ended     bool
}

func newFakeWorker() *fakeWorker {
	return &fakeWorker{labs: make(map[string]*fakeLab), blobs: make(map[string][]byte)}
}

// connect serves the worker in memory.
func (w *fakeWorker) connect(t *testing.T) workerv1.WorkerServiceClient {
	t.Helper()
	pipe := bufconn.Listen(1 << 16)
	srv := grpc.NewServer()
	workerv1.RegisterWorkerServiceServer(srv, w)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(pipe) }()
	conn := dialTest(t, pipe)
	t.Cleanup(func() {
		conn.Close()
		srv.Stop()
		if err := <-done; err != nil {
			t.Errorf("worker: %v", err)
		}
	})
	return workerv1.NewWorkerServiceClient(conn)
}

func dialTest(t *testing.T, pipe *bufconn.Listener) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///test", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// lab finds the one lab that the worker has.
func (w *fakeWorker) only(t *testing.T) *fakeLab {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.labs) != 1 {
		t.Fatalf("the worker has %d labs, want 1", len(w.labs))
	}
	for _, lab := range w.labs {
		return lab
	}
	return nil
}

// end lets a run end.
func (w *fakeWorker) end(lab *fakeLab) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lab.ended = true
	lab.touch()
}

// touch wakes who watches the lab.
func (l *fakeLab) touch() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (w *fakeWorker) find(id string) (*fakeLab, error) {
	if lab := w.labs[id]; lab != nil && lab.running {
		return lab, nil
	}
	return nil, status.Errorf(codes.NotFound, "no lab %q", id)
}

func (w *fakeWorker) MissingBlobs(_ context.Context, req *workerv1.MissingBlobsRequest) (*workerv1.MissingBlobsResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	resp := &workerv1.MissingBlobsResponse{}
	for _, sum := range req.GetSha256() {
		if w.blobs[sum] == nil {
			resp.Sha256 = append(resp.Sha256, sum)
		}
	}
	return resp, nil
}

func (w *fakeWorker) PutBlob(in grpc.ClientStreamingServer[workerv1.PutBlobRequest, workerv1.PutBlobResponse]) error {
	var sum string
	content := []byte{}
	for {
		m, err := in.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		sum += m.GetSha256()
		content = append(content, m.GetData()...)
	}
	if got := sha256.Sum256(content); hex.EncodeToString(got[:]) != sum {
		return status.Error(codes.InvalidArgument, "wrong content")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blobs[sum] = content
	return in.SendAndClose(&workerv1.PutBlobResponse{})
}

func (w *fakeWorker) StartLab(_ context.Context, req *workerv1.StartLabRequest) (*workerv1.StartLabResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return nil, w.refuse
	}
	w.labs[req.GetLabId()] = &fakeLab{start: proto.CloneOf(req), running: true, next: uint64(len(req.GetJournal())),
		now: req.GetReplayToNs(), changed: make(chan struct{})}
	return &workerv1.StartLabResponse{}, nil
}

func (w *fakeWorker) StopLab(_ context.Context, req *workerv1.StopLabRequest) (*workerv1.StopLabResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	resp := &workerv1.StopLabResponse{}
	if lab := w.labs[req.GetLabId()]; lab != nil {
		if lab.running {
			resp.NowNs = lab.now
		}
		lab.running = false
		lab.touch()
		if !req.GetKeepFiles() {
			delete(w.labs, req.GetLabId())
		}
	}
	return resp, nil
}

func (w *fakeWorker) StampInput(_ context.Context, req *workerv1.StampInputRequest) (*workerv1.StampInputResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lab, err := w.find(req.GetLabId())
	if err != nil {
		return nil, err
	}
	if lab.ended {
		return nil, status.Error(codes.FailedPrecondition, "the run has ended")
	}
	lab.next++
	lab.pending = lab.next
	lab.now += 1000
	in := proto.CloneOf(req.GetInput())
	if t := in.GetTransfer(); t != nil && t.GetId() == "" {
		t.Id = "t1"
	}
	return &workerv1.StampInputResponse{Index: lab.next, TNs: lab.now, Input: in}, nil
}

func (w *fakeWorker) CommitInput(_ context.Context, req *workerv1.CommitInputRequest) (*workerv1.CommitInputResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lab, err := w.find(req.GetLabId())
	if err != nil {
		return nil, err
	}
	lab.applied, lab.pending = append(lab.applied, req.GetEntry()), 0
	if req.GetEntry().GetInput().GetInterrupt() != nil {
		lab.ended = true
	}
	lab.touch()
	return &workerv1.CommitInputResponse{}, nil
}

func (w *fakeWorker) AbandonInput(_ context.Context, req *workerv1.AbandonInputRequest) (*workerv1.AbandonInputResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lab, err := w.find(req.GetLabId())
	if err != nil {
		return nil, err
	}
	if lab.pending != 0 {
		lab.abandoned = append(lab.abandoned, lab.pending)
		lab.next, lab.pending = lab.pending-1, 0
	}
	return &workerv1.AbandonInputResponse{}, nil
}

func (w *fakeWorker) ListLabs(_ context.Context, req *workerv1.ListLabsRequest) (*workerv1.ListLabsResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deaf > 0 {
		w.deaf--
		return nil, status.Error(codes.Unavailable, "not yet")
	}
	resp := &workerv1.ListLabsResponse{}
	for id, lab := range w.labs {
		held := &workerv1.HeldLab{LabId: id, Epoch: lab.start.GetEpoch(), Running: lab.running, PendingIndex: lab.pending,
			Journaled: uint64(len(lab.start.GetJournal()) + len(lab.applied))}
		if req.GetProgress() && lab.running {
			held.Progress = lab.progress()
		}
		resp.Labs = append(resp.Labs, held)
	}
	sort.Slice(resp.Labs, func(i, j int) bool { return resp.Labs[i].GetLabId() < resp.Labs[j].GetLabId() })
	return resp, nil
}

func (w *fakeWorker) GetLab(_ context.Context, req *workerv1.GetLabRequest) (*workerv1.GetLabResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lab, err := w.find(req.GetLabId())
	if err != nil {
		return nil, err
	}
	resp := &workerv1.GetLabResponse{Progress: lab.progress(), Transfers: lab.transfers()}
	for _, n := range lab.spec().GetNodes() {
		resp.Nodes = append(resp.Nodes, &labv1.NodeStatus{Name: n.GetName(), Up: true})
	}
	return resp, nil
}

// spec is the lab's specification as applies have changed it.
func (l *fakeLab) spec() *labv1.LabSpec {
	spec := l.start.GetSpec()
	for _, e := range l.applied {
		if a := e.GetInput().GetApply(); a != nil {
			spec = a.GetSpec()
		}
	}
	return spec
}

// ListConns: every node listens on a port, and none has a connection.
func (w *fakeWorker) ListConns(_ context.Context, req *workerv1.ListConnsRequest) (*workerv1.ListConnsResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lab, err := w.find(req.GetLabId())
	if err != nil {
		return nil, err
	}
	if req.GetNode() != "" && !hasNode(lab.spec(), req.GetNode()) {
		return nil, status.Errorf(codes.NotFound, "there is no node %q", req.GetNode())
	}
	resp := &workerv1.ListConnsResponse{}
	for _, n := range lab.spec().GetNodes() {
		if req.GetListening() && (req.GetNode() == "" || req.GetNode() == n.GetName()) {
			resp.Conns = append(resp.Conns, &labv1.ConnStatus{Node: n.GetName(), State: "LISTEN"})
		}
	}
	return resp, nil
}

func (l *fakeLab) progress() *labv1.LabProgress {
	return &labv1.LabProgress{NowNs: l.now, Ended: l.ended, JournalEntries: uint64(len(l.start.GetJournal()) + len(l.applied))}
}

func (l *fakeLab) transfers() []*labv1.TransferStatus {
	var list []*labv1.TransferStatus
	for _, e := range append(l.start.GetJournal(), l.applied...) {
		if tr := e.GetInput().GetTransfer(); tr != nil {
			sum := sha256.Sum256([]byte(tr.GetId()))
			list = append(list, &labv1.TransferStatus{Id: tr.GetId(), State: labv1.TransferState_TRANSFER_STATE_DONE, Bytes: tr.GetGeneratedBytes(),
				Sha256: hex.EncodeToString(sum[:]), Match: true, Ended: true})
		}
	}
	return list
}

func (w *fakeWorker) WatchLab(req *workerv1.WatchLabRequest, out grpc.ServerStreamingServer[workerv1.WatchLabResponse]) error {
	for {
		w.mu.Lock()
		lab, err := w.find(req.GetLabId())
		if err != nil {
			w.mu.Unlock()
			return err
		}
		m := &workerv1.WatchLabResponse{Progress: lab.progress(), Transfers: lab.transfers()}
		changed := lab.changed
		w.mu.Unlock()
		if err := out.Send(m); err != nil || m.GetProgress().GetEnded() {
			return err
		}
		select {
		case <-changed:
		case <-out.Context().Done():
			return out.Context().Err()
		}
	}
}
