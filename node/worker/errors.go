package worker

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"labd.dev/node"
)

// What can go wrong with a request; service.go translates them into gRPC codes.
var (
	errBadRequest  = errors.New("bad request")
	errNotFound    = errors.New("not found")
	errExists      = errors.New("exists already")
	errRefused     = errors.New("refused")
	errMissingBlob = errors.New("missing content")
	errStaleEpoch  = errors.New("stale epoch")
	errStaleTurn   = errors.New("stale turn")
	errFull        = errors.New("limit reached")
	errTooOld      = errors.New("too old")
	errNoRoom      = errors.New("no room")
	errNoLease     = errors.New("no lease")
	errNotHead     = fmt.Errorf("%w: inputs and orders for the clock go to the lab's first shard", errRefused)
)

// grpcError gives an error its code.
func grpcError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	code := codes.Internal
	for _, c := range []struct {
		is   error
		code codes.Code
	}{
		{errBadRequest, codes.InvalidArgument}, {errNotFound, codes.NotFound}, {errExists, codes.AlreadyExists},
		{errRefused, codes.FailedPrecondition}, {errMissingBlob, codes.FailedPrecondition}, {errStaleEpoch, codes.Aborted}, {errStaleTurn, codes.Aborted},
		{errFull, codes.ResourceExhausted}, {syscall.ENOSPC, codes.ResourceExhausted}, {syscall.EDQUOT, codes.ResourceExhausted},
		{errTooOld, codes.OutOfRange}, {errNoRoom, codes.ResourceExhausted}, {errNoLease, codes.Unavailable}, {context.Canceled, codes.Canceled}, {context.DeadlineExceeded, codes.DeadlineExceeded},
	} {
		if errors.Is(err, c.is) {
			code = c.code
		}
	}
	if _, ok := errors.AsType[node.FieldErrors](err); ok {
		code = codes.InvalidArgument
	}
	s := status.New(code, err.Error())
	if errors.Is(err, errNoRoom) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		// Another worker may well have room.
		if full, err := s.WithDetails(&errdetails.ErrorInfo{Reason: "WORKER_FULL", Domain: "labd.dev"}); err == nil {
			return full.Err()
		}
	}
	return s.Err()
}
