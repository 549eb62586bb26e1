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

// source finds the lab or the run that a trace is read from: its id, and the worker that has it.
func (s *traceService) source(ctx context.Context, lab, run string) (string, workerv1.WorkerServiceClient, error) {
	if run == "" {
		state, worker, err := s.c.labWorker(ctx, lab)
		return state.GetId(), worker, err
	}
	l, err := s.c.leader(ctx)
	if err != nil {
		return "", nil, err
	}
	worker, err := l.runWorker(ctx, run)
	return run, worker, err
}

func (s *traceService) ReadRecords(req *labv1.ReadRecordsRequest, out grpc.ServerStreamingServer[labv1.ReadRecordsResponse]) error {
	id, worker, err := s.source(out.Context(), req.GetLab(), req.GetRun())
	if err != nil {
		return err
	}
	stream, err := worker.ReadTrace(out.Context(), &workerv1.ReadTraceRequest{LabId: id, Conn: req.GetConn()})
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
	id, worker, err := s.source(ctx, req.GetLab(), req.GetRun())
	if err != nil {
		return nil, err
	}
	resp, err := worker.ReadPacket(ctx, &workerv1.ReadPacketRequest{LabId: id, Packet: req.GetPacket()})
	if status.Code(err) == codes.NotFound {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_PACKET_NOT_FOUND, "%s", status.Convert(err).Message())
	}
	if err != nil {
		return nil, err
	}
	return &labv1.GetPacketResponse{Hops: resp.GetHops()}, nil
}
