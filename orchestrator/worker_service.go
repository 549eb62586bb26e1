package orchestrator

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// workerService tells people of the workers.
type workerService struct {
	labv1.UnimplementedWorkerServiceServer
	c *Controller
}

func (s *workerService) ListWorkers(ctx context.Context, _ *labv1.ListWorkersRequest) (*labv1.ListWorkersResponse, error) {
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	l.askLocal(ctx)
	v, caller := s.c.store.view(), auth.CallerOf(ctx)
	workers := l.fleet.describe(v)
	if caller.Role < auth.Instructor {
		workers = v.hostsOf(caller, workers)
	}
	return &labv1.ListWorkersResponse{Workers: workers}, nil
}

func (s *workerService) WatchWorkers(req *labv1.WatchWorkersRequest, out grpc.ServerStreamingServer[labv1.WatchWorkersResponse]) error {
	return watch(out.Context(), req.GetIntervalMs(), func() (*labv1.WatchWorkersResponse, error) {
		r, err := s.ListWorkers(out.Context(), &labv1.ListWorkersRequest{})
		return &labv1.WatchWorkersResponse{Workers: r.GetWorkers()}, err
	}, out.Send)
}

// DrainWorker implements the service.
func (s *workerService) DrainWorker(ctx context.Context, req *labv1.DrainWorkerRequest) (*labv1.DrainWorkerResponse, error) {
	w, err := s.drain(ctx, req.GetRequestId(), &controlv1.DrainWorker{Name: req.GetWorker(), Drain: true, Force: req.GetForce()})
	return &labv1.DrainWorkerResponse{Worker: w}, err
}

// UndrainWorker implements the service.
func (s *workerService) UndrainWorker(ctx context.Context, req *labv1.UndrainWorkerRequest) (*labv1.UndrainWorkerResponse, error) {
	w, err := s.drain(ctx, req.GetRequestId(), &controlv1.DrainWorker{Name: req.GetWorker()})
	return &labv1.UndrainWorkerResponse{Worker: w}, err
}

func (s *workerService) drain(ctx context.Context, requestID string, d *controlv1.DrainWorker) (*labv1.Worker, error) {
	if err := checkRequestID(requestID); err != nil {
		return nil, err
	}
	if d.GetName() == "" {
		return nil, invalid("worker", "say which worker")
	}
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.c.propose(ctx, requestID, &controlv1.Command{Kind: &controlv1.Command_DrainWorker{DrainWorker: d}}); err != nil {
		return nil, err
	}
	s.c.log.Info("worker's draining is set", "worker", d.GetName(), "drain", d.GetDrain(), "force", d.GetForce())
	l.reconcileSoon()
	for _, w := range l.fleet.describe(s.c.store.view()) {
		if w.GetName() == d.GetName() {
			return w, nil
		}
	}
	return nil, refuse(labv1.ErrorReason_ERROR_REASON_WORKER_NOT_FOUND, "there is no worker %q", d.GetName())
}

// hostsOf are the workers that have something of a caller's, as a student hears of them: that they are there, and how much of
// the caller's they have.
func (v view) hostsOf(caller auth.Caller, workers []*labv1.Worker) []*labv1.Worker {
	labs := make(map[string]uint32)
	for _, lab := range v.labsFor(caller) {
		for _, name := range lab.GetWorkers() {
			labs[name]++
		}
	}
	for _, run := range v.runsFor(caller) {
		for _, name := range run.GetWorkers() {
			if live(run) {
				labs[name]++
			}
		}
	}
	var list []*labv1.Worker
	for _, w := range workers {
		if labs[w.GetName()] > 0 {
			list = append(list, &labv1.Worker{Name: w.GetName(), State: w.GetState(), Since: w.GetSince(), Labs: labs[w.GetName()]})
		}
	}
	return list
}

// askLocal gets the report of the worker in this process, which sends none by itself.
func (l *leadership) askLocal(ctx context.Context) {
	local := l.c.conf.Worker
	if local == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if r, err := local.GetReport(ctx, &workerv1.GetReportRequest{}); err == nil {
		l.fleet.reported(l.c.conf.WorkerName, r.GetReport())
	}
}

func (f *fleet) reported(name string, r *workerv1.WorkerReport) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sites[name]; s != nil {
		s.report, s.fresh = r, 0
	}
}

// describe tells of all workers, by name.
func (f *fleet) describe(v view) []*labv1.Worker {
	_, labs := promises(v)
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []*labv1.Worker
	for _, w := range v.workers() {
		s := f.sites[w.GetName()]
		out := &labv1.Worker{Name: w.GetName(), Id: w.GetWorkerId(), Address: w.GetAddress(), Version: w.GetVersion(),
			MemoryBytes: w.GetMemoryBytes(), Cores: w.GetCores(), Labs: uint32(labs[w.GetName()]), Reason: w.GetReason(),
			Since: timestamppb.New(time.Unix(0, w.GetChangedUnixNs()))}
		switch {
		case !w.GetUp():
			out.State = labv1.WorkerState_WORKER_STATE_DOWN
		case s == nil || f.away(s):
			out.State = labv1.WorkerState_WORKER_STATE_AWAY
		case w.GetDraining() && out.GetLabs() == 0:
			out.State = labv1.WorkerState_WORKER_STATE_DRAINED
		case w.GetDraining():
			out.State = labv1.WorkerState_WORKER_STATE_DRAINING
		default:
			out.State = labv1.WorkerState_WORKER_STATE_UP
		}
		if s != nil && w.GetUp() {
			r := s.report
			out.MemoryUsedBytes, out.EventsPerS, out.DiskFreeBytes = r.GetMemoryBytes(), r.GetEventsPerS(), r.GetDiskFreeBytes()
		}
		list = append(list, out)
	}
	return list
}
