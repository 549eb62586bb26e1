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
func (c *Controller) Register(to grpc.ServiceRegistrar) {
	s := guarded{to: to, c: c}
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
	labv1.RegisterClassServiceServer(s, &classService{c: c, labs: &labService{c: c}})
	labv1.RegisterSharingServiceServer(s, &sharingService{c: c})
	labv1.RegisterUserServiceServer(s, &userService{c: c})
	labv1.RegisterTokenServiceServer(s, &tokenService{c: c})
	labv1.RegisterQuotaServiceServer(s, &quotaService{c: c})
	labv1.RegisterAuditServiceServer(s, &auditService{c: c})
}

// runningLab is the lab that a call was granted, which can be asked how it stands.
func (c *Controller) runningLab(ctx context.Context) (*grant, *leadership, error) {
	l, err := c.leader(ctx)
	if err != nil {
		return nil, nil, err
	}
	g, err := grantOf(ctx)
	if err != nil {
		return nil, nil, err
	}
	return g, l, l.runs(g)
}

// runs refuses what a lab is asked for that does not run.
func (l *leadership) runs(g *grant) error {
	if _, err := l.running(g.lab.GetId(), g.lab.GetEpoch()); err != nil {
		return fmt.Errorf("lab %s: %w", g.lab.GetSpec().GetName(), err)
	}
	return nil
}

// labInput carries out a request that is an input of a standing lab.
func (c *Controller) labInput(ctx context.Context, requestID string, in *labv1.Input) (*grant, *controlv1.RequestOutcome, error) {
	if err := checkRequestID(requestID); err != nil {
		return nil, nil, err
	}
	l, err := c.leader(ctx)
	if err != nil {
		return nil, nil, err
	}
	g, gone := grantOf(ctx)
	if g == nil {
		return nil, nil, gone
	}
	if past, err := c.pastRequest(ctx, requestID, "append_input"); past != nil || err != nil {
		return g, past, err // also where the lab is gone since
	}
	if gone != nil {
		return nil, nil, gone
	}
	if err := l.runs(g); err != nil {
		return nil, nil, err
	}
	outcome, err := c.giveTo(ctx, l, g, requestID, in)
	return g, outcome, err
}

// giveTo gives an input to a lab that runs. What the caller does not see of the lab, an input of the caller's cannot name.
func (c *Controller) giveTo(ctx context.Context, l *leadership, g *grant, requestID string, in *labv1.Input) (*controlv1.RequestOutcome, error) {
	if past, err := c.pastRequest(ctx, requestID, "append_input"); past != nil || err != nil {
		return past, err
	}
	spec := g.spec()
	if err := checkNames(spec, in); err != nil {
		return nil, err
	}
	if err := checkInput("", spec, in); err != nil {
		return nil, err
	}
	if refused := c.store.view().lacks(g.caller.Person, g.lab, inputFiles(in)); refused != nil {
		return nil, refused
	}
	return l.giveInput(ctx, requestID, target{labID: g.lab.GetId(), epoch: g.lab.GetEpoch()}, in)
}
