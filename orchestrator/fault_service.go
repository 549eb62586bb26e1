package orchestrator

import (
	"context"

	labv1 "labd.dev/proto/lab/v1"
)

type faultService struct {
	labv1.UnimplementedFaultServiceServer
	c *Controller
}

func (s *faultService) CreateFault(ctx context.Context, req *labv1.CreateFaultRequest) (*labv1.CreateFaultResponse, error) {
	if req.GetFault() == nil {
		return nil, invalid("fault", "say which fault")
	}
	in := &labv1.Input{Kind: &labv1.Input_Fault{Fault: req.GetFault()}}
	g, outcome, err := s.c.labInput(ctx, req.GetRequestId(), in)
	if err != nil {
		return nil, err
	}
	return &labv1.CreateFaultResponse{Lab: g.called(g.lab), Id: outcome.GetObjectId(), Stamp: outcome.GetStamp()}, nil
}

func (s *faultService) ClearFault(ctx context.Context, req *labv1.ClearFaultRequest) (*labv1.ClearFaultResponse, error) {
	past, err := s.c.pastRequest(ctx, req.GetRequestId(), "append_input")
	if err != nil {
		return nil, err
	}
	if past == nil {
		if err := s.checkActive(ctx, req); err != nil {
			return nil, err
		}
	}
	in := &labv1.Input{Kind: &labv1.Input_ClearFault{ClearFault: &labv1.ClearFault{Id: req.GetFault()}}}
	g, outcome, err := s.c.labInput(ctx, req.GetRequestId(), in)
	if err != nil {
		return nil, err
	}
	return &labv1.ClearFaultResponse{Lab: g.called(g.lab), Stamp: outcome.GetStamp()}, nil
}

func (s *faultService) checkActive(ctx context.Context, req *labv1.ClearFaultRequest) error {
	g, st, err := s.c.labStatus(ctx)
	if err != nil {
		return err
	}
	for _, f := range st.GetFaults() {
		if f.GetId() == req.GetFault() && f.GetActive() {
			return nil
		}
	}
	return noFault(g.lab.GetSpec().GetName(), req.GetFault())
}

func noFault(lab, id string) error {
	return refuse(labv1.ErrorReason_ERROR_REASON_FAULT_NOT_FOUND, "lab %q has no fault %q in force", lab, id)
}

func (s *faultService) ListFaults(ctx context.Context, _ *labv1.ListFaultsRequest) (*labv1.ListFaultsResponse, error) {
	_, st, err := s.c.labStatus(ctx)
	if err != nil {
		return nil, err
	}
	return &labv1.ListFaultsResponse{Faults: st.GetFaults()}, nil
}
