package orchestrator

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// WatchRecords hands the worker's stream on. It takes a message from the worker only when the caller has taken the one
// before, so that nothing is heaped up here.
func (s *traceService) WatchRecords(req *labv1.WatchRecordsRequest, out grpc.ServerStreamingServer[labv1.WatchRecordsResponse]) error {
	g, worker, err := s.c.labWorker(out.Context())
	if err != nil {
		return err
	}
	cut := s.c.recordsFor(g)
	stream, err := worker.FollowTrace(out.Context(), &workerv1.FollowTraceRequest{
		LabId: g.lab.GetId(), Conn: req.GetConn(), After: req.GetAfter()})
	if err != nil {
		return err
	}
	err = relay(stream, func(m *workerv1.FollowTraceResponse) error {
		records, nodes, directions, err := cut.Cut(m.GetRecords(), m.GetNodeNames(), m.GetDirectionNames())
		if err != nil {
			return err
		}
		return out.Send(&labv1.WatchRecordsResponse{
			Records: records, NodeNames: nodes, DirectionNames: directions, Position: m.GetPosition(), NowNs: m.GetNowNs(),
		})
	})
	err = s.c.movedMeanwhile(g.lab, err)
	switch status.Code(err) {
	case codes.OutOfRange:
		return refuse(labv1.ErrorReason_ERROR_REASON_TOO_OLD, "%s", workerText(err))
	case codes.NotFound:
		return refuse(labv1.ErrorReason_ERROR_REASON_CONN_NOT_FOUND, "%s", workerText(err))
	}
	return err
}
