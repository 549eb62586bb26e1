package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	labv1 "labd.dev/proto/lab/v1"
)

// errorDomain is the domain of every ErrorInfo.
const errorDomain = "labd.dev"

// retryDelay is what a caller is told to wait where waiting helps.
const retryDelay = 200 * time.Millisecond

// codeOf gives the gRPC code of each reason.
var codeOf = map[labv1.ErrorReason]codes.Code{
	labv1.ErrorReason_ERROR_REASON_INVALID:             codes.InvalidArgument,
	labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND:       codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_NO_LAB:              codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_SEVERAL_LABS:        codes.InvalidArgument,
	labv1.ErrorReason_ERROR_REASON_LAB_EXISTS:          codes.AlreadyExists,
	labv1.ErrorReason_ERROR_REASON_LAB_DIFFERS:         codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_LAB_STARTING:        codes.Unavailable,
	labv1.ErrorReason_ERROR_REASON_LAB_FAILED:          codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND:      codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_LINK_NOT_FOUND:      codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_TRANSFER_NOT_FOUND:  codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_FAULT_NOT_FOUND:     codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_EXEC_NOT_FOUND:      codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_RUN_NOT_FOUND:       codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_FILE_NOT_FOUND:      codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_FILE_MISSING:        codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_FILE_CORRUPT:        codes.InvalidArgument,
	labv1.ErrorReason_ERROR_REASON_QUOTA:               codes.ResourceExhausted,
	labv1.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED:   codes.InvalidArgument,
	labv1.ErrorReason_ERROR_REASON_NOT_LEADER:          codes.Unavailable,
	labv1.ErrorReason_ERROR_REASON_STORAGE:             codes.ResourceExhausted,
	labv1.ErrorReason_ERROR_REASON_WORKER:              codes.Internal,
	labv1.ErrorReason_ERROR_REASON_PACKET_NOT_FOUND:    codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_CONN_NOT_FOUND:      codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_CLOCK:               codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_TOO_OLD:             codes.OutOfRange,
	labv1.ErrorReason_ERROR_REASON_TOO_SLOW:            codes.ResourceExhausted,
	labv1.ErrorReason_ERROR_REASON_INTERFACE_NOT_FOUND: codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_WORKER_NOT_FOUND:    codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_NO_WORKER:           codes.Unavailable,
	labv1.ErrorReason_ERROR_REASON_LAB_TOO_LARGE:       codes.ResourceExhausted,
	labv1.ErrorReason_ERROR_REASON_WORKER_AWAY:         codes.Unavailable,
	labv1.ErrorReason_ERROR_REASON_LAST_WORKER:         codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_WORKER_ID_IN_USE:    codes.AlreadyExists,
	labv1.ErrorReason_ERROR_REASON_WORKER_NAME_IN_USE:  codes.AlreadyExists,
	labv1.ErrorReason_ERROR_REASON_OTHER_CLUSTER:       codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_OTHER_VERSION:       codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_WORKER_FULL:         codes.ResourceExhausted,
	labv1.ErrorReason_ERROR_REASON_ONE_COPY:            codes.Unavailable,
	labv1.ErrorReason_ERROR_REASON_REMAKING:            codes.Unavailable,
	labv1.ErrorReason_ERROR_REASON_TEMPLATE_NOT_FOUND:  codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_TEMPLATE_CHANGED:    codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_TEMPLATE_IN_USE:     codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_NOT_STARTED:         codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_DEADLINE_PASSED:     codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_LAB_FIXED:           codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_SEVERAL_TEMPLATES:   codes.InvalidArgument,
	labv1.ErrorReason_ERROR_REASON_NOT_SUBMITTED:       codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_NO_QUORUM:           codes.Unavailable,
	labv1.ErrorReason_ERROR_REASON_STALE_REFUSED:       codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_DUPLICATE_SERVER_ID: codes.AlreadyExists,
	labv1.ErrorReason_ERROR_REASON_MEMBER_NOT_FOUND:    codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_MEMBER_UNREACHABLE:  codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_MEMBER_NEEDED:       codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_NOT_CLUSTERED:       codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_SNAPSHOT_DAMAGED:    codes.InvalidArgument,
	labv1.ErrorReason_ERROR_REASON_SNAPSHOT_NEWER:      codes.InvalidArgument,
	labv1.ErrorReason_ERROR_REASON_NOT_READY:           codes.Unavailable,
	labv1.ErrorReason_ERROR_REASON_TOKEN_MISSING:       codes.Unauthenticated,
	labv1.ErrorReason_ERROR_REASON_TOKEN_MALFORMED:     codes.Unauthenticated,
	labv1.ErrorReason_ERROR_REASON_TOKEN_WRONG:         codes.Unauthenticated,
	labv1.ErrorReason_ERROR_REASON_TOKEN_EXPIRED:       codes.Unauthenticated,
	labv1.ErrorReason_ERROR_REASON_TOKEN_REVOKED:       codes.Unauthenticated,
	labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED:         codes.PermissionDenied,
	labv1.ErrorReason_ERROR_REASON_LOCKED_OUT:          codes.ResourceExhausted,
	labv1.ErrorReason_ERROR_REASON_TOO_MANY_CALLS:      codes.ResourceExhausted,
	labv1.ErrorReason_ERROR_REASON_MESSAGE_TOO_LARGE:   codes.ResourceExhausted,
	labv1.ErrorReason_ERROR_REASON_MESSAGE_TOO_SLOW:    codes.DeadlineExceeded,
	labv1.ErrorReason_ERROR_REASON_USER_NOT_FOUND:      codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_TOKEN_NOT_FOUND:     codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_LAST_ADMIN:          codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_LAB_QUARANTINED:     codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_LAB_STOPPED:         codes.FailedPrecondition,
	labv1.ErrorReason_ERROR_REASON_NOT_SHARED:          codes.NotFound,
	labv1.ErrorReason_ERROR_REASON_OWNS_LAB:            codes.FailedPrecondition,
}

// StatusUnary turns a unary call's error into a gRPC status. It is the innermost interceptor of the public services.
func StatusUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	resp, err := handle(ctx, req)
	return resp, toStatus(notTheCaller(ctx, err))
}

// Status is an error as callers get it.
func Status(err error) error { return toStatus(err) }

// StatusStream turns a stream's error into a gRPC status.
func StatusStream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return toStatus(notTheCaller(ss.Context(), handle(srv, ss)))
}

// notTheCaller tells an error by which the way to a worker was given up, because the worker is down, from that of a caller
// who went away: gRPC calls both canceled.
func notTheCaller(ctx context.Context, err error) error {
	if s, ok := status.FromError(err); ok && s.Code() == codes.Canceled && ctx.Err() == nil {
		return refuse(labv1.ErrorReason_ERROR_REASON_WORKER_AWAY, "a worker is down; what it hosted goes elsewhere")
	}
	return err
}

func toStatus(err error) error {
	var refused *Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return refusalStatus(refused)
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the caller went away")
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "the call's time is over")
	}
	if s, ok := status.FromError(err); ok {
		return workerStatus(s)
	}
	return status.Error(codes.Internal, err.Error())
}

// reasonName is a reason as ErrorInfo carries it.
func reasonName(r labv1.ErrorReason) string { return strings.TrimPrefix(r.String(), "ERROR_REASON_") }

func refusalStatus(r *Refusal) error {
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: reasonName(r.Reason), Domain: errorDomain}}
	if len(r.Violations) > 0 {
		bad := &errdetails.BadRequest{}
		for _, v := range r.Violations {
			bad.FieldViolations = append(bad.FieldViolations,
				&errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Description})
		}
		details = append(details, bad)
	}
	if r.Subject != "" {
		details = append(details, &errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{
			{Subject: r.Subject, Description: r.Message}}})
	}
	code := cmp.Or(r.code, codeOf[r.Reason])
	if after := cmp.Or(r.RetryAfter, retryDelay); code == codes.Unavailable || r.RetryAfter != 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	}
	return withDetails(status.New(code, r.Message), details...)
}

// workerStatus gives a worker's error its reason, unless it has one.
func workerStatus(s *status.Status) error {
	if len(s.Details()) > 0 || s.Code() == codes.Canceled || s.Code() == codes.DeadlineExceeded {
		return s.Err()
	}
	if s.Code() == codes.Unavailable {
		return refusalStatus(refuse(labv1.ErrorReason_ERROR_REASON_WORKER_AWAY,
			"the worker that has it does not answer; if it stays away, its labs go on elsewhere"))
	}
	return withDetails(s, &errdetails.ErrorInfo{
		Reason: reasonName(labv1.ErrorReason_ERROR_REASON_WORKER), Domain: errorDomain})
}

func withDetails(s *status.Status, details ...protoadapt.MessageV1) error {
	detailed, err := s.WithDetails(details...)
	if err != nil {
		return s.Err() // s is OK, which no caller passes
	}
	return detailed.Err()
}
