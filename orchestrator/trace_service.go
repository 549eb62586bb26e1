package orchestrator

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"labd.dev/internal/sight"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

type traceService struct {
	labv1.UnimplementedTraceServiceServer
	c *Controller
}

// source is the lab or the run that a call was granted: its id, and the worker that has its trace.
func (s *traceService) source(ctx context.Context) (*grant, string, workerv1.WorkerServiceClient, error) {
	g, err := grantOf(ctx)
	if err != nil {
		return nil, "", nil, err
	}
	if g.run == nil {
		_, worker, err := s.c.labWorker(ctx)
		return g, g.lab.GetId(), worker, err
	}
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, "", nil, err
	}
	worker, err := l.runWorker(ctx, g.run.GetId())
	return g, g.run.GetId(), worker, err
}

// recordsFor cuts a lab's or a run's records down to what the caller may view.
func (c *Controller) recordsFor(g *grant) *sight.Records {
	return g.place.NewRecords(func(index uint64) bool {
		v := c.store.view()
		lab := g.lab.GetId()
		return g.place.Input(presentSpec(g.lab), v.input(lab, index).GetInput(), v.faultsOf(lab)) != nil
	})
}

func (s *traceService) ReadRecords(req *labv1.ReadRecordsRequest, out grpc.ServerStreamingServer[labv1.ReadRecordsResponse]) error {
	g, id, worker, err := s.source(out.Context())
	if err != nil {
		return err
	}
	stream, err := worker.ReadTrace(out.Context(), &workerv1.ReadTraceRequest{LabId: id, Conn: req.GetConn()})
	if err != nil {
		return err
	}
	// Of a connection nothing may be in view; then no name is told either, and the answer is as if there were none.
	cut, held, seen := s.c.recordsFor(g), &labv1.ReadRecordsResponse{}, req.GetConn() == ""
	err = relay(stream, func(m *workerv1.ReadTraceResponse) error {
		if g.run == nil && s.c.store.view().movedFrom(g.lab) {
			return labMoves()
		}
		records, nodes, directions, err := cut.Cut(m.GetRecords(), m.GetNodeNames(), m.GetDirectionNames())
		if err != nil {
			return err
		}
		held.Records = records
		if nodes != nil {
			held.NodeNames, held.DirectionNames = nodes, directions
		}
		if seen = seen || len(records) > 0; !seen {
			return nil
		}
		next := held
		held = &labv1.ReadRecordsResponse{}
		return out.Send(next)
	})
	if err == nil && !seen || status.Code(err) == codes.NotFound && req.GetConn() != "" {
		return noConn(g, req.GetConn(), err)
	}
	return err
}

// noConn says that a trace has nothing of a connection. To who sees not all it is all one why.
func noConn(g *grant, conn string, err error) error {
	if g.place.SeesAll() {
		return refuse(labv1.ErrorReason_ERROR_REASON_CONN_NOT_FOUND, "%s", status.Convert(err).Message())
	}
	return refuse(labv1.ErrorReason_ERROR_REASON_CONN_NOT_FOUND, "the trace holds nothing of connection %s", conn)
}

func (s *traceService) GetPacket(ctx context.Context, req *labv1.GetPacketRequest) (*labv1.GetPacketResponse, error) {
	g, id, worker, err := s.source(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := worker.ReadPacket(ctx, &workerv1.ReadPacketRequest{LabId: id, Packet: req.GetPacket()})
	hops := g.place.Hops(resp.GetHops())
	switch {
	case !g.place.SeesAll() && (err == nil && len(hops) == 0 || status.Code(err) == codes.NotFound):
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_PACKET_NOT_FOUND, "packet %s has not been seen, or not lately", req.GetPacket())
	case status.Code(err) == codes.NotFound:
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_PACKET_NOT_FOUND, "%s", status.Convert(err).Message())
	case err != nil:
		return nil, err
	}
	return &labv1.GetPacketResponse{Hops: hops}, nil
}
