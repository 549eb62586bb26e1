package orchestrator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"labd.dev/internal/auth"
	"labd.dev/internal/validate"
	"labd.dev/node/cut"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// maxAttachment bounds the lab file and the manifest that a run brings along; both lie in Raft while it runs.
const maxAttachment = 1 << 20

type runService struct {
	labv1.UnimplementedRunServiceServer
	c *Controller
}

func (s *runService) CreateRun(ctx context.Context, req *labv1.CreateRunRequest) (*labv1.CreateRunResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	cmd, err := s.command(req)
	if err != nil {
		return nil, err
	}
	files := specFiles(req.GetSpec())
	for _, e := range cmd.GetJournal() {
		files = append(files, inputFiles(e.GetInput())...)
	}
	caller := auth.CallerOf(ctx)
	if refused := s.c.store.view().lacks(caller.Person, nil, files); refused != nil {
		return nil, refused
	}
	need := needOf(req.GetSpec(), cmd.GetJournal())
	if asked := int(req.GetSpec().GetPlacement().GetWorkers()); asked > need.parts {
		_, err := cut.Shards(req.GetSpec(), cmd.GetJournal(), asked)
		return nil, invalid("spec.placement.workers", "%v", err)
	}
	if cmd.Workers, err = l.choose(ctx, need); err != nil {
		return nil, err
	}
	v := s.c.store.view()
	cmd.ConnectionsAtMost, cmd.Recorded = v.connectionsOf(caller.Person), l.recorded(v, caller.Person)
	if cmd.Owner = caller.Person; cmd.Owner != "" {
		cmd.RunId = newRunID(cmd.GetName())
	}
	res, err := s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_CreateRun{CreateRun: cmd}})
	if err != nil {
		return nil, err
	}
	run := s.c.store.view().run(res.outcome.GetLabId())
	if run == nil {
		return nil, noRun(res.outcome.GetLabId())
	}
	if err := l.await(ctx, run.GetId()); err != nil {
		if ctx.Err() != nil || l.ctx.Err() != nil {
			return nil, err
		}
		_, undo := s.c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_DeleteRun{
			DeleteRun: &controlv1.DeleteRun{RunId: run.GetId()}}})
		l.reconcileSoon()
		return nil, errors.Join(err, undo)
	}
	if now := s.c.store.view().run(run.GetId()); now != nil {
		run = now // another worker may have taken it than was meant to
	}
	return &labv1.CreateRunResponse{Run: runSummary(ctx, run, l)}, nil
}

// command checks a run and puts its inputs in the order of their journal.
func (s *runService) command(req *labv1.CreateRunRequest) (*controlv1.CreateRun, error) {
	if err := checkLab("spec", req.GetSpec()); err != nil {
		return nil, err
	}
	name := req.GetName()
	if name == "" {
		name = req.GetSpec().GetName()
	}
	switch {
	case !validate.RunName(name):
		return nil, invalid("name", "%q is no name: a-z, 0-9 and -, 1 to 63 characters", name)
	case req.GetEndNs() < 0:
		return nil, invalid("end_ns", "it is negative")
	case len(req.GetInputs()) > maxInputs:
		return nil, overQuota("inputs of a run", maxInputs)
	case len(req.GetLabYaml()) > maxAttachment:
		return nil, invalid("lab_yaml", "it is larger than %d bytes", maxAttachment)
	case len(req.GetManifest()) > maxAttachment:
		return nil, invalid("manifest", "it is larger than %d bytes", maxAttachment)
	}
	var object map[string]json.RawMessage
	if m := req.GetManifest(); len(m) > 0 && json.Unmarshal(m, &object) != nil {
		return nil, invalid("manifest", "it is no JSON object")
	}
	journal, err := runJournal(req)
	if err != nil {
		return nil, err
	}
	return &controlv1.CreateRun{Name: name, Spec: req.GetSpec(), Journal: journal, EndNs: req.GetEndNs(),
		Capture: req.GetCapture(), LabYaml: req.GetLabYaml(), Manifest: req.GetManifest()}, nil
}

func runJournal(req *labv1.CreateRunRequest) ([]*labv1.JournalEntry, error) {
	order := make([]int, len(req.GetInputs()))
	for i, in := range req.GetInputs() {
		if order[i] = i; in.GetAtNs() < 0 {
			return nil, invalid(elementPath("inputs", i)+".at_ns", "it is negative")
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(req.GetInputs()[a].GetAtNs(), req.GetInputs()[b].GetAtNs())
	})
	journal := make([]*labv1.JournalEntry, len(order))
	spec := req.GetSpec() // as it is when an input's time has come
	for n, i := range order {
		in := req.GetInputs()[i]
		if err := checkInput(elementPath("inputs", i)+".input", spec, in.GetInput()); err != nil {
			return nil, within(elementPath("inputs", i), err)
		}
		if a := in.GetInput().GetApply(); a != nil {
			spec = a.GetSpec()
		}
		journal[n] = &labv1.JournalEntry{Index: uint64(n + 1), TNs: in.GetAtNs(), Input: in.GetInput()}
	}
	return journal, nil
}

// find gives the run that a call was granted, as it is now.
func (s *runService) find(ctx context.Context) (*controlv1.RunState, *leadership, error) {
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, nil, err
	}
	g, err := grantOf(ctx)
	if err != nil {
		return nil, nil, err
	}
	run := s.c.store.view().run(g.run.GetId())
	if run == nil {
		return nil, nil, noRun(g.name)
	}
	return run, l, nil
}

func (s *runService) GetRun(ctx context.Context, req *labv1.GetRunRequest) (*labv1.GetRunResponse, error) {
	run, l, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	described := runSummary(ctx, run, l)
	if described.GetState() != labv1.RunState_RUN_STATE_RUNNING {
		return &labv1.GetRunResponse{Run: withResult(described, run.GetResult())}, nil
	}
	worker, err := l.hosts(run.GetId())
	if err != nil {
		return &labv1.GetRunResponse{Run: described}, nil // it goes on elsewhere soon
	}
	st, err := worker.GetLab(ctx, &workerv1.GetLabRequest{LabId: run.GetId()})
	switch {
	case status.Code(err) == codes.NotFound: // it ended just now
		if run, l, err = s.find(ctx); err != nil {
			return nil, err
		}
		return &labv1.GetRunResponse{Run: withResult(runSummary(ctx, run, l), run.GetResult())}, nil
	case transient(err) && ctx.Err() == nil:
		return &labv1.GetRunResponse{Run: described}, nil
	case err != nil:
		return nil, err
	}
	return &labv1.GetRunResponse{Run: withResult(described, &controlv1.RunResult{Progress: st.GetProgress(),
		Transfers: st.GetTransfers(), Execs: st.GetExecs(), Faults: st.GetFaults()})}, nil
}

func (s *runService) ListRuns(ctx context.Context, _ *labv1.ListRunsRequest) (*labv1.ListRunsResponse, error) {
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	resp := &labv1.ListRunsResponse{}
	for _, run := range s.c.store.view().runsFor(auth.CallerOf(ctx)) {
		resp.Runs = append(resp.Runs, runSummary(ctx, run, l))
	}
	return resp, nil
}

func (s *runService) WatchRun(req *labv1.WatchRunRequest, out grpc.ServerStreamingServer[labv1.WatchRunResponse]) error {
	ctx := out.Context()
	run, l, err := s.find(ctx)
	if err != nil {
		return err
	}
	for live := true; live && run.GetEndedUnixNs() == 0; run = s.c.store.view().run(run.GetId()) {
		if err := l.await(ctx, run.GetId()); err != nil && (ctx.Err() != nil || l.ctx.Err() != nil) {
			return err
		}
		err := s.c.watchLab(ctx, run.GetId(), req.GetIntervalMs(), func(m *workerv1.WatchLabResponse) (bool, error) {
			if m.GetProgress().GetEnded() || m.GetProgress().GetError() != "" {
				return true, nil // what it came to is sent once it is recorded
			}
			return false, out.Send(&labv1.WatchRunResponse{Run: withResult(runSummary(ctx, run, l),
				&controlv1.RunResult{Progress: m.GetProgress(), Transfers: m.GetTransfers(), Execs: m.GetExecs()})})
		})
		switch {
		case err == nil:
			live = false
		case transient(err) && ctx.Err() == nil, errors.Is(err, io.EOF), status.Code(err) == codes.NotFound:
			pause(ctx, progressInterval) // its worker is away, or has just ended it: it is watched where it is next
		default:
			return err
		}
	}
	if run, err = s.untilEnded(ctx, run.GetId(), req.GetRun()); err != nil {
		return err
	}
	return out.Send(&labv1.WatchRunResponse{Run: withResult(runSummary(ctx, run, l), run.GetResult())})
}

// untilEnded waits until a run's end is recorded.
func (s *runService) untilEnded(ctx context.Context, id, name string) (*controlv1.RunState, error) {
	for {
		run, changed := s.c.store.watchRun(id)
		if run == nil {
			return nil, noRun(name)
		}
		if run.GetEndedUnixNs() != 0 {
			return run, nil
		}
		if err := changed.WatchCtx(ctx); err != nil {
			return nil, err
		}
	}
}

func (s *runService) InterruptRun(ctx context.Context, req *labv1.InterruptRunRequest) (*labv1.InterruptRunResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	run, l, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	if past, err := s.c.pastRequest(ctx, req.GetRequestId(), "append_input"); past != nil || err != nil {
		return &labv1.InterruptRunResponse{Stamp: past.GetStamp()}, err
	}
	if run.GetEndedUnixNs() != 0 {
		return &labv1.InterruptRunResponse{}, nil
	}
	in := &labv1.Input{Kind: &labv1.Input_Interrupt{Interrupt: &labv1.Interrupt{}}}
	outcome, err := l.giveInput(ctx, req.GetRequestId(), target{labID: run.GetId(), epoch: run.GetEpoch()}, in)
	if hasEnded(err) {
		return &labv1.InterruptRunResponse{}, nil
	}
	return &labv1.InterruptRunResponse{Stamp: outcome.GetStamp()}, err
}

func (s *runService) ListRunFiles(ctx context.Context, req *labv1.ListRunFilesRequest) (*labv1.ListRunFilesResponse, error) {
	run, l, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	worker, err := l.runWorker(ctx, run.GetId())
	if err != nil {
		return nil, err
	}
	files, err := worker.ListRunFiles(ctx, &workerv1.ListRunFilesRequest{LabId: run.GetId()})
	if err != nil {
		return nil, err
	}
	resp := &labv1.ListRunFilesResponse{}
	for _, f := range files.GetFiles() {
		resp.Files = append(resp.Files, &labv1.RunFile{Path: f.GetPath(), SizeBytes: f.GetSizeBytes()})
	}
	return resp, nil
}

func (s *runService) ReadRunFile(req *labv1.ReadRunFileRequest, out grpc.ServerStreamingServer[labv1.ReadRunFileResponse]) error {
	run, l, err := s.find(out.Context())
	if err != nil {
		return err
	}
	worker, err := l.runWorker(out.Context(), run.GetId())
	if err != nil {
		return err
	}
	stream, err := worker.ReadRunFile(out.Context(), &workerv1.ReadRunFileRequest{LabId: run.GetId(), Path: req.GetPath()})
	if err != nil {
		return err
	}
	err = relay(stream, func(m *workerv1.ReadRunFileResponse) error {
		return out.Send(&labv1.ReadRunFileResponse{Data: m.GetData()})
	})
	if status.Code(err) == codes.NotFound {
		return refuse(labv1.ErrorReason_ERROR_REASON_FILE_NOT_FOUND, "run %s has no file %q", req.GetRun(), req.GetPath())
	}
	return err
}

func (s *runService) DeleteRun(ctx context.Context, req *labv1.DeleteRunRequest) (*labv1.DeleteRunResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	if past, err := s.c.pastRequest(ctx, req.GetRequestId(), "delete_run"); past != nil || err != nil {
		return &labv1.DeleteRunResponse{}, err
	}
	g, err := grantOf(ctx)
	if err != nil {
		return nil, err
	}
	_, err = s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_DeleteRun{
		DeleteRun: &controlv1.DeleteRun{RunId: g.run.GetId()}}})
	if err != nil {
		return nil, err
	}
	l.reconcileSoon()
	return &labv1.DeleteRunResponse{}, nil
}

// runSummary is a run without its transfers, commands and faults.
func runSummary(ctx context.Context, run *controlv1.RunState, l *leadership) *labv1.Run {
	r := staleRun(auth.CallerOf(ctx), run)
	r.Progress, r.Transfers, r.Execs, r.Faults = run.GetResult().GetProgress(), nil, nil, nil
	if run.GetEndedUnixNs() == 0 {
		r.State = labv1.RunState_RUN_STATE_STARTING
		if opened, _ := l.host(run.GetId(), run.GetEpoch()).opened(); opened {
			r.State = labv1.RunState_RUN_STATE_RUNNING
		}
	}
	return r
}

// ended fills in what a run has once it has ended.
func ended(r *labv1.Run, run *controlv1.RunState) {
	r.EndedAt = timestamppb.New(unixTime(run.GetEndedUnixNs()))
	r.State = labv1.RunState_RUN_STATE_ENDED
	if run.GetResult().GetProgress().GetError() != "" {
		r.State = labv1.RunState_RUN_STATE_FAILED
	}
}

func withResult(r *labv1.Run, result *controlv1.RunResult) *labv1.Run {
	r.Progress, r.Transfers, r.Execs, r.Faults = result.GetProgress(), result.GetTransfers(), result.GetExecs(), result.GetFaults()
	return r
}

func noRun(id string) error {
	return refuse(labv1.ErrorReason_ERROR_REASON_RUN_NOT_FOUND, "there is no run %q", id)
}

func unixTime(ns int64) time.Time { return time.Unix(0, ns) }
