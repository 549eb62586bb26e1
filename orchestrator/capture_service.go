package orchestrator

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"labd.dev/internal/validate"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

type captureService struct {
	labv1.UnimplementedCaptureServiceServer
	c *Controller
}

func (s *captureService) WatchCapture(req *labv1.WatchCaptureRequest, out grpc.ServerStreamingServer[labv1.WatchCaptureResponse]) error {
	g, worker, err := s.c.labWorker(out.Context())
	if err != nil {
		return err
	}
	if !g.place.SeesAll() { // the worker knows all nodes by name
		if err := validate.Filter(g.spec(), req.GetFilter()); err != nil {
			return refuse(labv1.ErrorReason_ERROR_REASON_INVALID, "%s", err)
		}
	}
	stream, err := worker.Capture(out.Context(), &workerv1.CaptureRequest{
		LabId: g.lab.GetId(), Node: req.GetNode(), Interface: req.GetInterface(), Filter: req.GetFilter(),
		SnapBytes: req.GetSnapBytes(), Count: req.GetCount()})
	if err != nil {
		return err
	}
	err = relay(stream, func(m *workerv1.CaptureResponse) error {
		if s.c.store.view().movedFrom(g.lab) {
			return labMoves()
		}
		return out.Send(&labv1.WatchCaptureResponse{Data: m.GetData(), Packets: m.GetPackets()})
	})
	err = s.c.movedMeanwhile(g.lab, err)
	switch status.Code(err) {
	case codes.InvalidArgument:
		return refuse(labv1.ErrorReason_ERROR_REASON_INVALID, "%s", workerText(err))
	case codes.NotFound:
		return refuse(labv1.ErrorReason_ERROR_REASON_INTERFACE_NOT_FOUND, "%s", workerText(err))
	case codes.ResourceExhausted:
		return refuse(labv1.ErrorReason_ERROR_REASON_TOO_SLOW, "%s", workerText(err))
	}
	return err
}
