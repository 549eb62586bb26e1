package orchestrator

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

type execService struct {
	labv1.UnimplementedExecServiceServer
	c *Controller
}

func (s *execService) CreateExec(ctx context.Context, req *labv1.CreateExecRequest) (*labv1.CreateExecResponse, error) {
	in := &labv1.Input{}
	switch k := req.GetCommand().(type) {
	case *labv1.CreateExecRequest_Ping:
		in.Kind = &labv1.Input_Ping{Ping: k.Ping}
	case *labv1.CreateExecRequest_Traceroute:
		in.Kind = &labv1.Input_Traceroute{Traceroute: k.Traceroute}
	case *labv1.CreateExecRequest_Send:
		in.Kind = &labv1.Input_Send{Send: k.Send}
	default:
		return nil, invalid("command", "say what to run: ping, traceroute or send")
	}
	g, outcome, err := s.c.labInput(ctx, req.GetRequestId(), in)
	if err != nil {
		return nil, err
	}
	return &labv1.CreateExecResponse{Lab: g.called(g.lab), Id: outcome.GetObjectId(), Stamp: outcome.GetStamp()}, nil
}

func (s *execService) ListExecs(ctx context.Context, _ *labv1.ListExecsRequest) (*labv1.ListExecsResponse, error) {
	_, st, err := s.c.labStatus(ctx)
	if err != nil {
		return nil, err
	}
	return &labv1.ListExecsResponse{Execs: st.GetExecs()}, nil
}

// execInterval is how often, in wall time, what a command has printed is looked at.
const execInterval = progressInterval

func (s *execService) WatchExec(req *labv1.WatchExecRequest, out grpc.ServerStreamingServer[labv1.WatchExecResponse]) error {
	ctx := out.Context()
	g, _, err := s.c.labStatus(ctx)
	if err != nil {
		return err
	}
	sent := 0
	err = s.c.watchLab(ctx, g.lab.GetId(), execInterval.Milliseconds(), func(m *workerv1.WatchLabResponse) (bool, error) {
		e := findExec(g.place.Execs(m.GetExecs()), req.GetExec())
		if e == nil {
			return false, refuse(labv1.ErrorReason_ERROR_REASON_EXEC_NOT_FOUND,
				"lab %q has no command %q", g.lab.GetSpec().GetName(), req.GetExec())
		}
		if len(e.GetLines()) == sent && !e.GetDone() {
			return false, nil
		}
		next := &labv1.WatchExecResponse{Lines: e.GetLines()[sent:], Done: e.GetDone(), ExitCode: e.GetExitCode()}
		sent = len(e.GetLines())
		return e.GetDone(), out.Send(next)
	})
	if errors.Is(err, io.EOF) {
		return refuse(labv1.ErrorReason_ERROR_REASON_LAB_FAILED, "the lab ended before the command did")
	}
	return err
}

func findExec(list []*labv1.ExecStatus, id string) *labv1.ExecStatus {
	for _, e := range list {
		if e.GetId() == id {
			return e
		}
	}
	return nil
}
