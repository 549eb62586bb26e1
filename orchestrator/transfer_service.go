package orchestrator

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

type transferService struct {
	labv1.UnimplementedTransferServiceServer
	c *Controller
}

func (s *transferService) CreateTransfer(ctx context.Context, req *labv1.CreateTransferRequest) (*labv1.CreateTransferResponse, error) {
	in := &labv1.Input{}
	switch k := req.GetKind().(type) {
	case *labv1.CreateTransferRequest_Transfer:
		in.Kind = &labv1.Input_Transfer{Transfer: k.Transfer}
	case *labv1.CreateTransferRequest_HttpGet:
		in.Kind = &labv1.Input_HttpGet{HttpGet: k.HttpGet}
	case *labv1.CreateTransferRequest_Udp:
		in.Kind = &labv1.Input_Udp{Udp: k.Udp}
	default:
		return nil, invalid("kind", "say what to transfer: transfer, http_get or udp")
	}
	g, outcome, err := s.c.labInput(ctx, req.GetRequestId(), in)
	if err != nil {
		return nil, err
	}
	return &labv1.CreateTransferResponse{Lab: g.called(g.lab), Id: outcome.GetObjectId(), Stamp: outcome.GetStamp()}, nil
}

func (s *transferService) GetTransfer(ctx context.Context, req *labv1.GetTransferRequest) (*labv1.GetTransferResponse, error) {
	g, st, err := s.c.labStatus(ctx)
	if err != nil {
		return nil, err
	}
	if t := findTransfer(st.GetTransfers(), req.GetTransfer()); t != nil {
		return &labv1.GetTransferResponse{Transfer: t}, nil
	}
	return nil, noTransfer(g.lab.GetSpec().GetName(), req.GetTransfer())
}

func (s *transferService) ListTransfers(ctx context.Context, _ *labv1.ListTransfersRequest) (*labv1.ListTransfersResponse, error) {
	_, st, err := s.c.labStatus(ctx)
	if err != nil {
		return nil, err
	}
	return &labv1.ListTransfersResponse{Transfers: st.GetTransfers()}, nil
}

func (s *transferService) WatchTransfer(req *labv1.WatchTransferRequest, out grpc.ServerStreamingServer[labv1.WatchTransferResponse]) error {
	ctx := out.Context()
	g, _, err := s.c.labStatus(ctx)
	if err != nil {
		return err
	}
	var last *labv1.TransferStatus
	err = s.c.watchLab(ctx, g.lab.GetId(), req.GetIntervalMs(), func(m *workerv1.WatchLabResponse) (bool, error) {
		t := findTransfer(g.place.Transfers(m.GetTransfers()), req.GetTransfer())
		switch {
		case t == nil:
			return false, noTransfer(g.lab.GetSpec().GetName(), req.GetTransfer())
		case proto.Equal(t, last):
			return false, nil
		}
		last = t
		return finished(t), out.Send(&labv1.WatchTransferResponse{Transfer: t, NowNs: m.GetProgress().GetNowNs()})
	})
	if errors.Is(err, io.EOF) {
		return refuse(labv1.ErrorReason_ERROR_REASON_LAB_FAILED, "the lab ended before the transfer did")
	}
	return err
}

// watchLab follows a lab until look says that it has seen enough. io.EOF: the lab ended first.
func (c *Controller) watchLab(ctx context.Context, labID string, intervalMs int64, look func(*workerv1.WatchLabResponse) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := c.leader(ctx)
	if err != nil {
		return err
	}
	worker, err := l.hosts(labID)
	if err != nil {
		return err
	}
	was := c.store.view().lab(labID) // nil: it is a run
	stream, err := worker.WatchLab(ctx, &workerv1.WatchLabRequest{LabId: labID, IntervalMs: intervalMs})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil && was != nil {
			return c.movedMeanwhile(was, err)
		}
		if err != nil {
			return err
		}
		if why := m.GetBroken(); why != "" { // it is rebuilt
			l.reconcileSoon()
			if was != nil {
				return labMoves()
			}
			return status.Error(codes.NotFound, why)
		}
		if enough, err := look(m); enough || err != nil {
			return err
		}
		if m.GetProgress().GetError() != "" {
			return refuse(labv1.ErrorReason_ERROR_REASON_LAB_FAILED, "the lab ended: %s", m.GetProgress().GetError())
		}
	}
}

func (s *transferService) ReadReceived(req *labv1.ReadReceivedRequest, out grpc.ServerStreamingServer[labv1.ReadReceivedResponse]) error {
	ctx := out.Context()
	g, st, err := s.c.labStatus(ctx)
	if err != nil {
		return err
	}
	if t := findTransfer(st.GetTransfers(), req.GetTransfer()); t == nil || !g.seesReceiver(s.c.store.view(), t) {
		return noTransfer(g.lab.GetSpec().GetName(), req.GetTransfer())
	}
	_, worker, err := s.c.labWorker(ctx)
	if err != nil {
		return err
	}
	stream, err := worker.ReadSaved(ctx, &workerv1.ReadSavedRequest{LabId: g.lab.GetId(), Transfer: req.GetTransfer()})
	if err != nil {
		return err
	}
	return relay(stream, func(m *workerv1.ReadSavedResponse) error {
		return out.Send(&labv1.ReadReceivedResponse{Data: m.GetData()})
	})
}

// relay passes on what a worker streams, to its end.
func relay[M any](from grpc.ServerStreamingClient[M], send func(*M) error) error {
	for {
		m, err := from.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := send(m); err != nil {
			return err
		}
	}
}

func findTransfer(list []*labv1.TransferStatus, id string) *labv1.TransferStatus {
	for _, t := range list {
		if t.GetId() == id {
			return t
		}
	}
	return nil
}

// finished says that a transfer's result stands. What has failed is told of at once: who sent it may go on trying for long.
func finished(t *labv1.TransferStatus) bool {
	return t.GetState() == labv1.TransferState_TRANSFER_STATE_DONE && t.GetEnded() || t.GetState() == labv1.TransferState_TRANSFER_STATE_FAILED
}

func noTransfer(lab, id string) error {
	return refuse(labv1.ErrorReason_ERROR_REASON_TRANSFER_NOT_FOUND, "lab %q has no transfer %q", lab, id)
}
