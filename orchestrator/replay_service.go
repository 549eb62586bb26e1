package orchestrator

import (
	"errors"
	"io"

	"google.golang.org/grpc"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

type replayService struct {
	labv1.UnimplementedReplayServiceServer
	c *Controller
}

type replayStream = grpc.BidiStreamingServer[labv1.ReplayRunRequest, labv1.ReplayRunResponse]

func (s *replayService) ReplayRun(in replayStream) error {
	l, err := s.c.leader(in.Context())
	if err != nil {
		return err
	}
	// Any worker will do: the run brings all it needs along.
	workers, err := l.choose(in.Context(), need{lab: "replay", memory: labMemory})
	if err != nil {
		return err
	}
	worker, err := l.fleet.client(workers[0])
	if err != nil {
		return err
	}
	to, err := worker.ReplayRun(in.Context())
	if err != nil {
		return err
	}
	if err := forwardRun(in, to); err != nil {
		return err
	}
	return relay(to, func(m *workerv1.ReplayRunResponse) error {
		if o := m.GetOutcome(); o != nil {
			return in.Send(&labv1.ReplayRunResponse{Message: &labv1.ReplayRunResponse_Outcome{Outcome: o}})
		}
		return in.Send(&labv1.ReplayRunResponse{Message: &labv1.ReplayRunResponse_File{File: m.GetFile()}})
	})
}

// forwardRun hands the files on. That the worker has had enough is no error here: its answer tells why.
func forwardRun(in replayStream, to grpc.BidiStreamingClient[workerv1.ReplayRunRequest, workerv1.ReplayRunResponse]) error {
	for {
		m, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return to.CloseSend()
		}
		if err != nil {
			return err
		}
		err = to.Send(&workerv1.ReplayRunRequest{Loops: m.GetLoops(), SendFiles: m.GetSendFiles(), Path: m.GetPath(), Data: m.GetData()})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
