package orchestrator

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"labd.dev/node/cut"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// maxPage bounds a list's page.
const maxPage = 1000

type labService struct {
	labv1.UnimplementedLabServiceServer
	c *Controller
}

func (s *labService) CreateLab(ctx context.Context, req *labv1.CreateLabRequest) (*labv1.CreateLabResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	lab, err := s.create(ctx, l, req.GetRequestId(), req.GetSpec())
	if err != nil {
		return nil, err
	}
	return &labv1.CreateLabResponse{Lab: lab}, nil
}

// create commits a lab and waits until it runs. One that cannot be built is taken back.
func (s *labService) create(ctx context.Context, l *leadership, requestID string, spec *labv1.LabSpec) (*labv1.Lab, error) {
	if err := checkLab("spec", spec); err != nil {
		return nil, err
	}
	if err := s.c.haveFiles(specFiles(spec)); err != nil {
		return nil, err
	}
	need := needOf(spec, nil)
	if need.workers > need.parts {
		_, err := cut.Shards(spec, nil, need.workers)
		return nil, invalid("spec.placement.workers", "%v", err)
	}
	workers, err := l.choose(ctx, need)
	if err != nil {
		return nil, err
	}
	res, err := s.c.propose(ctx, requestID, &controlv1.Command{Kind: &controlv1.Command_CreateLab{
		CreateLab: &controlv1.CreateLab{LabId: newLabID(spec.GetName()), Spec: spec, Workers: workers}}})
	if err != nil {
		return nil, err
	}
	state := s.c.store.view().lab(res.outcome.GetLabId())
	if state == nil {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "the lab that this request made is gone")
	}
	if err := l.await(ctx, state.GetId()); err != nil {
		if ctx.Err() != nil || l.ctx.Err() != nil {
			return nil, err // the lab may well come up; it stays
		}
		_, undo := s.c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_DeleteLab{
			DeleteLab: &controlv1.DeleteLab{LabId: state.GetId()}}})
		l.reconcileSoon()
		return nil, errors.Join(err, undo)
	}
	if now := s.c.store.view().lab(state.GetId()); now != nil {
		state = now // another worker may have taken it than was meant to
	}
	return s.describe(ctx, l, state), nil
}

// newLabID makes an id that no lab ever had. Its dot sets it apart from the ids of runs.
func newLabID(name string) string {
	var random [6]byte
	rand.Read(random[:])
	return name + "." + hex.EncodeToString(random[:])
}

func (s *labService) ApplyLab(ctx context.Context, req *labv1.ApplyLabRequest) (*labv1.ApplyLabResponse, error) {
	if !req.GetDryRun() {
		if err := checkRequestID(req.GetRequestId()); err != nil {
			return nil, err
		}
	}
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkLab("spec", req.GetSpec()); err != nil {
		return nil, err
	}
	state := s.c.store.view().labNamed(req.GetSpec().GetName())
	if state == nil {
		return s.applyNew(ctx, l, req)
	}
	if past, err := s.c.pastRequest(ctx, req.GetRequestId(), "append_input"); err == nil && past.GetStamp() != nil {
		return &labv1.ApplyLabResponse{
			Outcome: labv1.ApplyLabResponse_OUTCOME_CHANGED, Stamp: past.GetStamp(), Lab: s.describe(ctx, l, state)}, nil
	}
	if state.GetQuarantined() && !req.GetDryRun() {
		if state, err = s.release(ctx, l, state); err != nil {
			return nil, err
		}
	}
	spec := keepInterfaces(presentSpec(state), req.GetSpec())
	resp := &labv1.ApplyLabResponse{
		Outcome:     labv1.ApplyLabResponse_OUTCOME_UNCHANGED,
		Differences: differences(presentSpec(state), spec),
		Lab:         s.describe(ctx, l, state),
	}
	if len(resp.GetDifferences()) > 0 {
		resp.Outcome = labv1.ApplyLabResponse_OUTCOME_CHANGED
		if !req.GetDryRun() {
			if err := s.change(ctx, req.GetRequestId(), spec, resp); err != nil {
				return nil, err
			}
			if state = s.c.store.view().lab(state.GetId()); state != nil {
				resp.Lab = s.describe(ctx, l, state)
			}
		}
	}
	return resp, nil
}

// release ends a lab's quarantine, and waits until the lab is where it was.
func (s *labService) release(ctx context.Context, l *leadership, state *controlv1.LabState) (*controlv1.LabState, error) {
	_, err := s.c.propose(ctx, "", &controlv1.Command{Kind: &controlv1.Command_ReleaseLab{
		ReleaseLab: &controlv1.ReleaseLab{LabId: state.GetId()}}})
	if err != nil {
		return nil, err
	}
	s.c.log.Info("a lab is no longer quarantined", "lab", state.GetSpec().GetName())
	if err := l.await(ctx, state.GetId()); err != nil {
		return nil, err
	}
	if now := s.c.store.view().lab(state.GetId()); now != nil {
		state = now
	}
	return state, nil
}

func (s *labService) applyNew(ctx context.Context, l *leadership, req *labv1.ApplyLabRequest) (*labv1.ApplyLabResponse, error) {
	resp := &labv1.ApplyLabResponse{
		Outcome:     labv1.ApplyLabResponse_OUTCOME_CREATED,
		Differences: differences(&labv1.LabSpec{}, req.GetSpec()),
	}
	if req.GetDryRun() {
		return resp, nil
	}
	lab, err := s.create(ctx, l, req.GetRequestId(), req.GetSpec())
	if err != nil {
		return nil, err
	}
	resp.Lab = lab
	return resp, nil
}

// firstPaths names the first few differences.
func firstPaths(diffs []*labv1.Difference) string {
	const shown = 3
	s := diffs[0].GetPath()
	for i := 1; i < len(diffs) && i < shown; i++ {
		s += ", " + diffs[i].GetPath()
	}
	if len(diffs) > shown {
		s += fmt.Sprintf(" and %d more", len(diffs)-shown)
	}
	return s
}

func (s *labService) GetLab(ctx context.Context, req *labv1.GetLabRequest) (*labv1.GetLabResponse, error) {
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	state, err := findLab(s.c.store.view(), req.GetLab())
	if err != nil {
		return nil, err
	}
	return &labv1.GetLabResponse{Lab: s.describe(ctx, l, state)}, nil
}

func (s *labService) ListLabs(ctx context.Context, _ *labv1.ListLabsRequest) (*labv1.ListLabsResponse, error) {
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	resp := &labv1.ListLabsResponse{}
	progress := l.progress(ctx)
	for _, state := range s.c.store.view().labs() {
		resp.Labs = append(resp.Labs, describeLab(l, state, progress[state.GetId()]))
	}
	return resp, nil
}

// describe joins what a lab shall be with how it stands.
func (s *labService) describe(ctx context.Context, l *leadership, state *controlv1.LabState) *labv1.Lab {
	client, err := l.hosts(state.GetId())
	if err != nil {
		return describeLab(l, state, nil)
	}
	resp, err := client.GetLab(ctx, &workerv1.GetLabRequest{LabId: state.GetId()})
	if err != nil && status.Code(err) != codes.NotFound && !transient(err) {
		resp = &workerv1.GetLabResponse{Progress: &labv1.LabProgress{Error: status.Convert(err).Message()}}
	}
	return describeLab(l, state, resp.GetProgress())
}

// describeLab joins what a lab shall be with how far it is; nil: the worker does not run it.
func describeLab(l *leadership, state *controlv1.LabState, progress *labv1.LabProgress) *labv1.Lab {
	lab := &labv1.Lab{
		Name: state.GetSpec().GetName(), Id: state.GetId(), Spec: presentSpec(state), State: labv1.LabState_LAB_STATE_STARTING,
		CreatedAt: timestamppb.New(unixTime(state.GetCreatedUnixNs())), Epoch: state.GetEpoch(), Worker: strings.Join(state.GetWorkers(), ","),
		Progress: progress,
	}
	h := l.host(state.GetId(), state.GetEpoch())
	opened, err := h.opened()
	switch {
	case state.GetQuarantined():
		lab.State, lab.Reason = labv1.LabState_LAB_STATE_QUARANTINED, quarantineReason(state)
	case progress.GetError() != "":
		lab.State = labv1.LabState_LAB_STATE_FAILED
	case progress.GetRecovering():
		lab.State = labv1.LabState_LAB_STATE_RECOVERING
	case opened && err != nil && !errors.Is(err, errMoved):
		lab.State = labv1.LabState_LAB_STATE_FAILED
		lab.Progress = &labv1.LabProgress{Error: status.Convert(err).Message()}
	case progress == nil:
		if lab.Reason = l.whyWaiting(h, state.GetWorkers()); lab.Reason != "" {
			lab.State = labv1.LabState_LAB_STATE_WAITING
		}
	case opened && err == nil:
		lab.State = labv1.LabState_LAB_STATE_RUNNING
	}
	return lab
}

func (s *labService) DeleteLab(ctx context.Context, req *labv1.DeleteLabRequest) (*labv1.DeleteLabResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	if req.GetLab() == "" {
		return nil, invalid("lab", "say which lab to delete")
	}
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	if past, err := s.c.pastRequest(ctx, req.GetRequestId(), "delete_lab"); past != nil || err != nil {
		return &labv1.DeleteLabResponse{}, err
	}
	state, err := findLab(s.c.store.view(), req.GetLab())
	if err != nil {
		return nil, err
	}
	_, err = s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_DeleteLab{
		DeleteLab: &controlv1.DeleteLab{LabId: state.GetId()}}})
	if err != nil {
		return nil, err
	}
	l.reconcileSoon()
	return &labv1.DeleteLabResponse{}, nil
}

func (s *labService) ListInputs(ctx context.Context, req *labv1.ListInputsRequest) (*labv1.ListInputsResponse, error) {
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	return listInputs(s.c.store.view(), req)
}

func listInputs(v view, req *labv1.ListInputsRequest) (*labv1.ListInputsResponse, error) {
	state, err := findLab(v, req.GetLab())
	if err != nil {
		return nil, err
	}
	page := int(req.GetPageSize())
	if page == 0 || page > maxPage {
		page = maxPage
	}
	entries := v.inputs(state.GetId(), req.GetAfterIndex(), page+1)
	resp := &labv1.ListInputsResponse{Entries: entries[:min(len(entries), page)], More: len(entries) > page}
	return resp, nil
}

// labStatus asks the worker how a running lab stands.
func (c *Controller) labStatus(ctx context.Context, name string) (*controlv1.LabState, *workerv1.GetLabResponse, error) {
	lab, l, err := c.runningLab(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	client, err := l.hosts(lab.GetId())
	if err != nil {
		return nil, nil, err
	}
	resp, err := client.GetLab(ctx, &workerv1.GetLabRequest{LabId: lab.GetId()})
	err = c.movedMeanwhile(lab, err)
	if status.Code(err) == codes.NotFound {
		return nil, nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "lab %q is gone", lab.GetSpec().GetName())
	}
	return lab, resp, err
}
