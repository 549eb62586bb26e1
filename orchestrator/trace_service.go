package orchestrator

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

type traceService struct {
	labv1.UnimplementedTraceServiceServer
	c *Controller
}

// sourceID is the worker's name of the lab or the run that a trace is read from.
func (s *traceService) sourceID(ctx context.Context, lab, run string) (string, error) {
	if run == "" {
		state, _, err := s.c.runningLab(ctx, lab)
		return state.GetId(), err
	}
	if _, err := s.c.leader(ctx); err != nil {
		return "", err
	}
	if s.c.store.view().run(run) == nil {
		return "", noRun(run)
	}
	return run, nil
}

func (s *traceService) ReadRecords(req *labv1.ReadRecordsRequest, out grpc.ServerStreamingServer[labv1.ReadRecordsResponse]) error {
	id, err := s.sourceID(out.Context(), req.GetLab(), req.GetRun())
	if err != nil {
		return err
	}
	stream, err := s.c.conf.Worker.ReadTrace(out.Context(), &workerv1.ReadTraceRequest{LabId: id, Conn: req.GetConn()})
	if err != nil {
		return err
	}
	err = relay(stream, func(m *workerv1.ReadTraceResponse) error {
		return out.Send(&labv1.ReadRecordsResponse{
			Records: m.GetRecords(), NodeNames: m.GetNodeNames(), DirectionNames: m.GetDirectionNames()})
	})
	if status.Code(err) == codes.NotFound && req.GetConn() != "" {
		return refuse(labv1.ErrorReason_ERROR_REASON_CONN_NOT_FOUND, "%s", status.Convert(err).Message())
	}
	return err
}

func (s *traceService) GetPacket(ctx context.Context, req *labv1.GetPacketRequest) (*labv1.GetPacketResponse, error) {
	id, err := s.sourceID(ctx, req.GetLab(), req.GetRun())
	if err != nil {
		return nil, err
	}
	resp, err := s.c.conf.Worker.ReadPacket(ctx, &workerv1.ReadPacketRequest{LabId: id, Packet: req.GetPacket()})
	if status.Code(err) == codes.NotFound {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_PACKET_NOT_FOUND, "%s", status.Convert(err).Message())
	}
	if err != nil {
		return nil, err
	}
	return &labv1.GetPacketResponse{Hops: resp.GetHops()}, nil
}
