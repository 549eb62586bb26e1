package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
)

// streamBlock is how much of a file one message of a stream carries: well below gRPC's limit of 4 MiB.
const streamBlock = 256 << 10

// MissingBlobs implements the service.
func (w *Worker) MissingBlobs(_ context.Context, req *workerv1.MissingBlobsRequest) (*workerv1.MissingBlobsResponse, error) {
	resp := &workerv1.MissingBlobsResponse{}
	for _, sum := range req.GetSha256() {
		if !w.blobs.has(sum) {
			resp.Sha256 = append(resp.Sha256, sum)
		}
	}
	return resp, nil
}

// PutBlob implements the service.
func (w *Worker) PutBlob(s grpc.ClientStreamingServer[workerv1.PutBlobRequest, workerv1.PutBlobResponse]) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	in, err := w.blobs.create(first.GetSha256())
	if err != nil {
		return grpcError(err)
	}
	for m := first; err == nil; m, err = s.Recv() {
		if err := in.write(m.GetData()); err != nil {
			return grpcError(errors.Join(err, in.abandon()))
		}
	}
	if !errors.Is(err, io.EOF) {
		return grpcError(errors.Join(err, in.abandon()))
	}
	if err := in.commit(); err != nil {
		return grpcError(err)
	}
	return s.SendAndClose(&workerv1.PutBlobResponse{})
}

// StartLab implements the service.
func (w *Worker) StartLab(_ context.Context, req *workerv1.StartLabRequest) (*workerv1.StartLabResponse, error) {
	// The lab keeps the request and fills in ids.
	return &workerv1.StartLabResponse{}, grpcError(w.start(proto.Clone(req).(*workerv1.StartLabRequest)))
}

// StopLab implements the service.
func (w *Worker) StopLab(_ context.Context, req *workerv1.StopLabRequest) (*workerv1.StopLabResponse, error) {
	at, err := w.stopLab(req.GetLabId(), req.GetEpoch(), req.GetKeepFiles())
	return &workerv1.StopLabResponse{NowNs: int64(at)}, grpcError(err)
}

// StampInput implements the service.
func (w *Worker) StampInput(ctx context.Context, req *workerv1.StampInputRequest) (*workerv1.StampInputResponse, error) {
	l, err := w.labAt(req.GetLabId(), req.GetEpoch())
	if err != nil {
		return nil, grpcError(err)
	}
	if req.GetInput() == nil || req.GetTurn() == nil {
		return nil, grpcError(fmt.Errorf("%w: no input, or no turn", errBadRequest))
	}
	if err := w.checkTenure(); err != nil {
		return nil, grpcError(err)
	}
	e, err := l.stamp(ctx, w, turnOf(req.GetTurn()), req.GetInput())
	if err != nil {
		return nil, grpcError(err)
	}
	return &workerv1.StampInputResponse{Index: e.GetIndex(), TNs: e.GetTNs(), Input: e.GetInput()}, nil
}

// CommitInput implements the service.
func (w *Worker) CommitInput(ctx context.Context, req *workerv1.CommitInputRequest) (*workerv1.CommitInputResponse, error) {
	l, err := w.labAt(req.GetLabId(), req.GetEpoch())
	if err == nil && req.GetEntry() == nil {
		err = fmt.Errorf("%w: no entry", errBadRequest)
	}
	if err == nil {
		err = w.checkTenure()
	}
	if err == nil {
		err = l.do(ctx, func() error { return l.commit(req.GetEntry()) })
	}
	return &workerv1.CommitInputResponse{}, grpcError(err)
}

// AbandonInput implements the service.
func (w *Worker) AbandonInput(ctx context.Context, req *workerv1.AbandonInputRequest) (*workerv1.AbandonInputResponse, error) {
	l, err := w.labAt(req.GetLabId(), req.GetEpoch())
	if err == nil {
		err = l.do(ctx, func() error { l.abandon(turnOf(req.GetTurn())); return nil })
	}
	return &workerv1.AbandonInputResponse{}, grpcError(err)
}

// GetLab implements the service.
func (w *Worker) GetLab(ctx context.Context, req *workerv1.GetLabRequest) (*workerv1.GetLabResponse, error) {
	l, err := w.lab(req.GetLabId())
	if err != nil {
		return nil, grpcError(err)
	}
	resp := &workerv1.GetLabResponse{}
	err = l.do(ctx, func() error {
		resp.Progress = l.progress()
		for _, n := range l.net.Nodes() {
			resp.Nodes = append(resp.Nodes, n.Status())
		}
		resp.Broken, resp.RanNs = l.brokenBy(), int64(l.x.now())
		resp.Links = l.net.LinkStatus()
		resp.Faults = l.faults()
		resp.Transfers, resp.Execs = l.works()
		return nil
	})
	if err != nil {
		return nil, grpcError(err)
	}
	return resp, nil
}

// defaultWatch is how often a watch tells at most, unless it is asked otherwise.
const defaultWatch = 100 * time.Millisecond

// WatchLab implements the service.
func (w *Worker) WatchLab(req *workerv1.WatchLabRequest, s grpc.ServerStreamingServer[workerv1.WatchLabResponse]) error {
	l, err := w.lab(req.GetLabId())
	if err != nil {
		return grpcError(err)
	}
	every := time.Duration(req.GetIntervalMs()) * time.Millisecond
	if every <= 0 {
		every = defaultWatch
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last *workerv1.WatchLabResponse
	for {
		resp := &workerv1.WatchLabResponse{}
		err := l.do(s.Context(), func() error {
			resp.Progress = l.progress()
			resp.Transfers, resp.Execs = l.works()
			resp.Broken, resp.RanNs = l.brokenBy(), int64(l.x.now())
			return nil
		})
		if err != nil {
			return grpcError(err)
		}
		if !proto.Equal(resp, last) {
			if err := s.Send(resp); err != nil {
				return err
			}
			last = resp
		}
		if resp.Progress.GetEnded() {
			return nil
		}
		select {
		case <-tick.C:
		case <-l.overC:
		case <-s.Context().Done():
			return grpcError(s.Context().Err())
		}
	}
}

// ListConns implements the service.
func (w *Worker) ListConns(ctx context.Context, req *workerv1.ListConnsRequest) (*workerv1.ListConnsResponse, error) {
	l, err := w.lab(req.GetLabId())
	if err != nil {
		return nil, grpcError(err)
	}
	resp := &workerv1.ListConnsResponse{}
	err = l.do(ctx, func() error {
		if _, ok := l.net.Plan().Node(req.GetNode()); !ok && req.GetNode() != "" {
			return fmt.Errorf("%w: there is no node %q", errNotFound, req.GetNode())
		}
		for _, n := range l.net.Nodes() {
			if req.GetNode() == "" || req.GetNode() == n.Name() {
				if req.GetListening() {
					resp.Conns = append(resp.Conns, n.Listeners()...)
				}
				resp.Conns = append(resp.Conns, n.Conns()...)
				for len(resp.GetNodes()) < len(resp.GetConns()) {
					resp.Nodes = append(resp.Nodes, uint32(n.ID()))
				}
			}
		}
		return nil
	})
	return resp, grpcError(err)
}

// works tells of what inputs have started: how far it is, and its results.
func (l *lab) works() ([]*labv1.TransferStatus, []*labv1.ExecStatus) {
	l.report.end(func(index uint32) bool { return !l.ended && l.net.Running(index) }, l.split != nil)
	transfers, execs, _ := l.report.snapshot()
	return transfers, execs
}

// progress tells where the lab's clock stands.
func (l *lab) progress() *labv1.LabProgress {
	lag, slip := l.clock.lag()
	p := &labv1.LabProgress{
		NowNs: int64(l.passed()), LagNs: int64(lag), SlipNs: int64(slip), JournalEntries: uint64(len(l.journal)),
		Records: l.files.records, Ended: l.ended, Partial: l.partial,
		Paused: l.control.paused, Pace: l.clock.pace,
		LateP50Ns: int64(l.late.quantile(0.5)), LateP99Ns: int64(l.late.quantile(0.99)), Held: l.heldBy(),
	}
	if l.ended {
		p.NowNs = int64(l.endedAt)
	}
	p.Events = l.ran()
	if l.rebuilding && !l.ended {
		p.Recovering, p.RecoverToNs, p.RecoverSpeed = true, int64(l.replayTo), l.recovery.speed(l.x.now())
	}
	if l.err != nil {
		p.Error = l.err.Error()
	}
	return p
}

// events counts the events that the lab has run; in a split lab, as the shards told last.
func (l *lab) events() uint64 {
	if l.split != nil {
		return l.split.events
	}
	return l.ran()
}

// ran counts the events that have been run here.
func (l *lab) ran() (n uint64) {
	for _, loop := range l.x.loops {
		n += loop.Events()
	}
	return n
}

// passed is the lab time that has passed: on the real clock idle time passes too.
func (l *lab) passed() sim.Time {
	now := l.x.now()
	if l.rebuilding || l.control.paused || l.clock.virtual() {
		return now
	}
	next := l.next()
	if l.split != nil && (!l.split.known || l.split.sent) {
		return now
	}
	if len(l.waiting) > 0 {
		next = min(next, sim.Time(l.waiting[0].GetTNs()))
	}
	if hold, held := l.stamps.hold(); held {
		next = min(next, hold)
	}
	return max(now, min(next, l.clock.now()))
}

// faults tells of the faults that have been, are, and will be in force.
func (l *lab) faults() []*labv1.FaultStatus {
	out := l.net.FaultStatus(l.x.now())
	for _, e := range l.waiting {
		if f := e.GetInput().GetFault(); f != nil {
			s := &labv1.FaultStatus{Id: f.GetId(), Fault: f, StartNs: e.GetTNs()}
			if f.GetDurationNs() > 0 {
				s.EndNs = e.GetTNs() + f.GetDurationNs()
			}
			out = append(out, s)
		}
	}
	return out
}
