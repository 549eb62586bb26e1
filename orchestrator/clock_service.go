package orchestrator

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

type clockService struct {
	labv1.UnimplementedClockServiceServer
	c *Controller
}

// ControlClock hands an order on to the worker. Nothing of it goes through Raft: it is no part of the lab.
func (s *clockService) ControlClock(ctx context.Context, req *labv1.ControlClockRequest) (*labv1.ControlClockResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	if resp, err := s.resumed(ctx, req); resp != nil || err != nil {
		return resp, err
	}
	g, worker, err := s.c.labWorker(ctx)
	if err != nil {
		return nil, err
	}
	order := &workerv1.ControlClockRequest{LabId: g.lab.GetId(), Epoch: g.lab.GetEpoch(), RequestId: req.GetRequestId()}
	switch a := req.GetAction().(type) {
	case *labv1.ControlClockRequest_Pause:
		order.Action = &workerv1.ControlClockRequest_Pause{Pause: a.Pause}
	case *labv1.ControlClockRequest_Resume:
		order.Action = &workerv1.ControlClockRequest_Resume{Resume: a.Resume}
	case *labv1.ControlClockRequest_Step:
		order.Action = &workerv1.ControlClockRequest_Step{Step: a.Step}
	case *labv1.ControlClockRequest_Pace:
		order.Action = &workerv1.ControlClockRequest_Pace{Pace: a.Pace}
	default:
		return nil, invalid("action", "say what the clock shall do")
	}
	resp, err := worker.ControlClock(ctx, order)
	switch status.Code(err) {
	case codes.OK:
	case codes.InvalidArgument:
		return nil, invalid("action", "%s", workerText(err))
	case codes.FailedPrecondition:
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_CLOCK, "%s", workerText(err))
	default:
		return nil, err
	}
	return &labv1.ControlClockResponse{Lab: g.called(g.lab), Progress: resp.GetProgress(), Events: resp.GetEvents()}, nil
}

// resumed lets a lab go on that was stopped because nobody used it; nil: it was not, or something else is asked.
func (s *clockService) resumed(ctx context.Context, req *labv1.ControlClockRequest) (*labv1.ControlClockResponse, error) {
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, err
	}
	g, err := grantOf(ctx)
	if err != nil || req.GetResume() == nil || !g.lab.GetStopped() {
		return nil, err
	}
	lab, err := s.c.resume(ctx, l, g.lab)
	if err != nil {
		return nil, err
	}
	client, err := l.hosts(lab.GetId())
	if err != nil {
		return nil, err
	}
	resp, err := client.GetLab(ctx, &workerv1.GetLabRequest{LabId: lab.GetId()})
	return &labv1.ControlClockResponse{Lab: g.called(lab), Progress: resp.GetProgress()}, err
}

// workerText is a worker's message without the class of error that it begins with, which the code tells as well.
func workerText(err error) string {
	text := status.Convert(err).Message()
	for _, class := range []string{"bad request: ", "refused: ", "not found: ", "limit reached: ", "too old: "} {
		text = strings.TrimPrefix(text, class)
	}
	return text
}
