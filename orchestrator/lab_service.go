package orchestrator

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"labd.dev/internal/auth"
	"labd.dev/internal/sight"
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

// create makes a lab of the caller.
func (s *labService) create(ctx context.Context, l *leadership, requestID string, spec *labv1.LabSpec) (*labv1.Lab, error) {
	if err := checkLab("spec", spec); err != nil {
		return nil, err
	}
	caller := auth.CallerOf(ctx)
	if refused := s.c.store.view().lacks(caller.Person, nil, specFiles(spec)); refused != nil {
		return nil, refused
	}
	state, err := s.place(ctx, l, spec, func(workers []string) (*controlv1.RequestOutcome, error) {
		res, err := s.c.propose(ctx, requestID, &controlv1.Command{Kind: &controlv1.Command_CreateLab{
			CreateLab: &controlv1.CreateLab{LabId: newLabID(spec.GetName()), Spec: spec, Workers: workers, Owner: caller.Person,
				ConnectionsAtMost: s.c.store.view().connectionsOf(caller.Person), Recorded: l.recorded(s.c.store.view(), caller.Person)}}})
		return res.outcome, err
	})
	if err != nil {
		return nil, err
	}
	return s.describe(ctx, l, &grant{caller: caller, lab: state, place: sight.Whole()}), nil
}

// place chooses workers for a lab, has it committed, and waits until it runs. One that cannot be built is taken back.
func (s *labService) place(ctx context.Context, l *leadership, spec *labv1.LabSpec, commit func(workers []string) (*controlv1.RequestOutcome, error)) (
	*controlv1.LabState, error) {
	need := needOf(spec, nil)
	if need.workers > need.parts {
		_, err := cut.Shards(spec, nil, need.workers)
		return nil, invalid("spec.placement.workers", "%v", err)
	}
	workers, err := l.choose(ctx, need)
	if err != nil {
		return nil, err
	}
	outcome, err := commit(workers)
	if err != nil {
		return nil, err
	}
	state := s.c.store.view().lab(outcome.GetLabId())
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
	return state, nil
}

// newLabID makes an id that no lab ever had. Its dot sets it apart from what runs are called.
func newLabID(name string) string { return name + "." + randomHex() }

// newRunID makes an id that no run ever had: what a person's run is called, others' may be called too.
func newRunID(name string) string { return name + ".r" + randomHex() }

func randomHex() string {
	var random [6]byte
	rand.Read(random[:])
	return hex.EncodeToString(random[:])
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
	made, err := s.c.pastRequest(ctx, req.GetRequestId(), "create_lab")
	if err == nil && made != nil && !req.GetDryRun() {
		return s.applyNew(ctx, l, req) // who asks again for what has made a lab is told that it has
	}
	g, err := s.applied(ctx, req)
	if err != nil {
		return nil, err
	}
	past, _ := s.c.pastRequest(ctx, req.GetRequestId(), "append_input")
	if g == nil {
		if past.GetStamp() != nil && !req.GetDryRun() {
			return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "the lab that this request changed is gone")
		}
		return s.applyNew(ctx, l, req)
	}
	if !req.GetDryRun() && s.c.nothingToDo(ctx, req.GetRequestId()) {
		return &labv1.ApplyLabResponse{Outcome: labv1.ApplyLabResponse_OUTCOME_UNCHANGED, Lab: s.describe(ctx, l, g)}, nil
	}
	if past.GetStamp() != nil {
		return &labv1.ApplyLabResponse{
			Outcome: labv1.ApplyLabResponse_OUTCOME_CHANGED, Stamp: past.GetStamp(), Lab: s.describe(ctx, l, g)}, nil
	}
	l.idle.used(g.lab, g.caller, 0)
	if parked(g.lab) && !req.GetDryRun() {
		if g.lab, err = s.c.resume(ctx, l, g.lab); err != nil {
			return nil, err
		}
	}
	spec := keepInterfaces(presentSpec(g.lab), req.GetSpec())
	resp := &labv1.ApplyLabResponse{
		Outcome:     labv1.ApplyLabResponse_OUTCOME_UNCHANGED,
		Differences: differences(presentSpec(g.lab), spec),
		Lab:         s.describe(ctx, l, g),
	}
	if len(resp.GetDifferences()) > 0 {
		resp.Outcome = labv1.ApplyLabResponse_OUTCOME_CHANGED
		if !req.GetDryRun() {
			v, in := s.c.store.view(), &labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: spec}}}
			if refused := cmp.Or(v.fixed(g.lab.GetId(), in), v.mayGrow(g.lab, in)); refused != nil {
				return nil, refused
			}
			if err := s.change(ctx, l, g, req.GetRequestId(), spec, resp); err != nil {
				return nil, err
			}
			if now, err := g.again(s.c.store.view()); err == nil {
				resp.Lab = s.describe(ctx, l, now)
			}
		}
	}
	return resp, nil
}

// applied is the lab that a file is applied to; nil: it is to be made. It is one of the caller's own, unless the call names
// another.
func (s *labService) applied(ctx context.Context, req *labv1.ApplyLabRequest) (*grant, error) {
	g := &grant{caller: auth.CallerOf(ctx), name: req.GetLab()}
	v := s.c.store.view()
	if g.name == "" {
		if g.lab = v.labNamed(g.caller.Person, req.GetSpec().GetName()); g.lab == nil {
			return nil, nil
		}
		g.place = v.placeIn(g.caller, g.lab)
	} else if g.lab, g.place, g.gone = v.labFor(g.caller, g.name); g.gone != nil {
		return nil, g.gone
	}
	switch {
	case !g.place.Owns():
		return nil, notAllowed("lab %q is not yours: this is for its owners", g.called(g.lab))
	case g.lab.GetSpec().GetName() != req.GetSpec().GetName():
		return nil, invalid("spec.name", "the file is of lab %q, not of %q", req.GetSpec().GetName(), g.name)
	}
	return g, nil
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

func (s *labService) GetLab(ctx context.Context, _ *labv1.GetLabRequest) (*labv1.GetLabResponse, error) {
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	g, err := grantOf(ctx)
	if err != nil {
		return nil, err
	}
	return &labv1.GetLabResponse{Lab: s.describe(ctx, l, g)}, nil
}

func (s *labService) ListLabs(ctx context.Context, _ *labv1.ListLabsRequest) (*labv1.ListLabsResponse, error) {
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	resp := &labv1.ListLabsResponse{}
	progress := l.progress(ctx)
	caller := auth.CallerOf(ctx)
	for _, lab := range s.c.store.view().labsFor(caller) {
		g := &grant{caller: caller, lab: lab.LabState, place: lab.place}
		resp.Labs = append(resp.Labs, describeLab(l, g, progress[lab.GetId()]))
	}
	return resp, nil
}

// describe joins what a lab shall be with how it stands.
func (s *labService) describe(ctx context.Context, l *leadership, g *grant) *labv1.Lab {
	client, err := l.hosts(g.lab.GetId())
	if err != nil {
		return describeLab(l, g, nil)
	}
	resp, err := client.GetLab(ctx, &workerv1.GetLabRequest{LabId: g.lab.GetId()})
	if err != nil && status.Code(err) != codes.NotFound && !transient(err) {
		resp = &workerv1.GetLabResponse{Progress: &labv1.LabProgress{Error: status.Convert(err).Message()}}
	}
	return describeLab(l, g, resp.GetProgress())
}

// describeLab joins what a lab shall be with how far it is; nil: the worker does not run it.
func describeLab(l *leadership, g *grant, progress *labv1.LabProgress) *labv1.Lab {
	state, lab := g.lab, staleLab(g)
	lab.Notice = idleNotice(l.c.store.view(), state)
	lab.State, lab.Progress = labv1.LabState_LAB_STATE_STARTING, progress
	h := l.host(state.GetId(), state.GetEpoch())
	opened, err := h.opened()
	switch {
	case state.GetQuarantined():
		lab.State, lab.Reason = labv1.LabState_LAB_STATE_QUARANTINED, quarantineReason(state)
	case state.GetStopped():
		lab.State, lab.Reason = labv1.LabState_LAB_STATE_STOPPED, stoppedReason(l.c.store.view(), state)
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
	g, err := grantOf(ctx)
	if err != nil {
		return nil, err
	}
	_, err = s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_DeleteLab{
		DeleteLab: &controlv1.DeleteLab{LabId: g.lab.GetId()}}})
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
	g, err := grantOf(ctx)
	if err != nil {
		return nil, err
	}
	return listInputs(s.c.store.view(), g, req), nil
}

// listInputs is a page of a lab's journal, of what the caller may view.
func listInputs(v view, g *grant, req *labv1.ListInputsRequest) *labv1.ListInputsResponse {
	page := int(req.GetPageSize())
	if page == 0 || page > maxPage {
		page = maxPage
	}
	resp, spec, faults := &labv1.ListInputsResponse{}, presentSpec(g.lab), v.faultsOf(g.lab.GetId())
	v.eachInput(g.lab.GetId(), req.GetAfterIndex(), func(in *controlv1.InputState) bool {
		seen := g.place.Entry(spec, in.GetEntry(), faults)
		switch {
		case seen == nil:
		case len(resp.GetEntries()) == page:
			resp.More = true
			return false
		default:
			resp.Entries = append(resp.Entries, seen)
			resp.Authors = append(resp.Authors, authorOf(in))
		}
		return true
	})
	return resp
}

// authorOf is who gave an input.
func authorOf(in *controlv1.InputState) *labv1.InputAuthor {
	return &labv1.InputAuthor{Index: in.GetEntry().GetIndex(), By: in.GetBy(), At: wallTime(in.GetAtUnixNs())}
}

// wallTime is a time of the state; nil if it is not known.
func wallTime(unixNs int64) *timestamppb.Timestamp {
	if unixNs == 0 {
		return nil
	}
	return &timestamppb.Timestamp{Seconds: unixNs / 1e9, Nanos: int32(unixNs % 1e9)}
}

// labStatus asks the worker how the running lab stands that a call was granted. What it tells is what the caller may view.
func (c *Controller) labStatus(ctx context.Context) (*grant, *workerv1.GetLabResponse, error) {
	g, l, err := c.runningLab(ctx)
	if err != nil {
		return nil, nil, err
	}
	resp, err := c.statusOf(ctx, l, g)
	if status.Code(err) == codes.NotFound {
		return nil, nil, g.isGone()
	}
	return g, resp, err
}

// statusOf is how a lab stands, as the caller sees it.
func (c *Controller) statusOf(ctx context.Context, l *leadership, g *grant) (*workerv1.GetLabResponse, error) {
	client, err := l.hosts(g.lab.GetId())
	if err != nil {
		return nil, err
	}
	resp, err := client.GetLab(ctx, &workerv1.GetLabRequest{LabId: g.lab.GetId()})
	if status.Code(err) == codes.NotFound && c.store.view().lab(g.lab.GetId()) != nil {
		l.reconcileSoon() // the worker has lost it, which nobody has noticed yet; the lab is not gone
		return nil, labMoves()
	}
	if err != nil {
		return nil, c.movedMeanwhile(g.lab, err)
	}
	spec := presentSpec(g.lab)
	resp.Nodes, resp.Links = g.place.Nodes(resp.GetNodes()), g.place.Links(spec, resp.GetLinks())
	resp.Transfers, resp.Execs = g.place.Transfers(resp.GetTransfers()), g.place.Execs(resp.GetExecs())
	resp.Faults = g.place.Faults(spec, resp.GetFaults())
	return resp, nil
}
