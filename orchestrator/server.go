package orchestrator

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// Register puts the public services of the API onto a gRPC server, which must have StatusUnary and StatusStream among
// its interceptors.
func (c *Controller) Register(s grpc.ServiceRegistrar) {
	labv1.RegisterLabServiceServer(s, &labService{c: c})
	labv1.RegisterNodeServiceServer(s, &nodeService{c: c})
	labv1.RegisterLinkServiceServer(s, &linkService{c: c})
	labv1.RegisterTransferServiceServer(s, &transferService{c: c})
	labv1.RegisterFaultServiceServer(s, &faultService{c: c})
	labv1.RegisterExecServiceServer(s, &execService{c: c})
	labv1.RegisterFileServiceServer(s, &fileService{c: c})
	labv1.RegisterRunServiceServer(s, &runService{c: c})
	labv1.RegisterTraceServiceServer(s, &traceService{c: c})
	labv1.RegisterReplayServiceServer(s, &replayService{c: c})
	labv1.RegisterWatchServiceServer(s, &watchService{c: c})
	labv1.RegisterCaptureServiceServer(s, &captureService{c: c})
	labv1.RegisterClockServiceServer(s, &clockService{c: c})
	labv1.RegisterWorkerServiceServer(s, &workerService{c: c})
	labv1.RegisterClusterServiceServer(s, &clusterService{c: c})
}

// findLab finds a lab by name, or the only one when no name is given.
func findLab(v view, name string) (*controlv1.LabState, error) {
	if name != "" {
		if lab := v.labNamed(name); lab != nil {
			return lab, nil
		}
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "there is no lab %q", name)
	}
	switch labs := v.labs(); len(labs) {
	case 0:
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_NO_LAB, "there is no lab; make one with: labctl apply -f FILE")
	case 1:
		return labs[0], nil
	default:
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_SEVERAL_LABS,
			"there are %d labs, %q and %q among them; say which one", len(labs), labs[0].GetSpec().GetName(), labs[1].GetSpec().GetName())
	}
}

// runningLab finds a lab that can be asked how it stands.
func (c *Controller) runningLab(ctx context.Context, name string) (*controlv1.LabState, *leadership, error) {
	l, err := c.leader(ctx)
	if err != nil {
		return nil, nil, err
	}
	lab, err := findLab(c.store.view(), name)
	if err != nil {
		return nil, nil, err
	}
	if _, err := l.running(lab.GetId(), lab.GetEpoch()); err != nil {
		return nil, nil, fmt.Errorf("lab %s: %w", lab.GetSpec().GetName(), err)
	}
	return lab, l, nil
}

// labInput carries out a request that is an input of a standing lab.
func (c *Controller) labInput(ctx context.Context, requestID, name string, in *labv1.Input) (*controlv1.LabState, *controlv1.RequestOutcome, error) {
	if err := checkRequestID(requestID); err != nil {
		return nil, nil, err
	}
	lab, l, err := c.runningLab(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if past, err := c.pastRequest(ctx, requestID, "append_input"); past != nil || err != nil {
		return lab, past, err
	}
	if err := checkNames(presentSpec(lab), in); err != nil {
		return nil, nil, err
	}
	if err := checkInput("", presentSpec(lab), in); err != nil {
		return nil, nil, err
	}
	outcome, err := l.giveInput(ctx, requestID, target{labID: lab.GetId(), epoch: lab.GetEpoch()}, in)
	return lab, outcome, err
}
