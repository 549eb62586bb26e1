package orchestrator

import (
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	labv1 "labd.dev/proto/lab/v1"
)

// Refusal is an error that a caller can do something about. It is turned into a gRPC status at the services' boundary
// (status.go), never before.
type Refusal struct {
	Reason  labv1.ErrorReason
	Message string
	// Subject is what a quota bounds; only with ERROR_REASON_QUOTA.
	Subject string
	// RetryAfter is how long to wait before it may be otherwise; 0: nothing is said, or what is usual.
	RetryAfter time.Duration
	// Violations are the fields that are wrong; only with ERROR_REASON_INVALID, and there not always.
	Violations []Violation

	code codes.Code // gRPC's; 0: the reason's
}

// Violation is a field of a request that is wrong.
type Violation struct {
	Field       string // path from the request down: "spec.links[2].forward.delay_ns"
	Description string
}

func (r *Refusal) Error() string { return r.Message }

// Status is the refusal as callers get it.
func (r *Refusal) Status() error { return refusalStatus(r) }

func refuse(reason labv1.ErrorReason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// invalid refuses a request for one field.
func invalid(field, format string, args ...any) *Refusal {
	description := fmt.Sprintf(format, args...)
	return &Refusal{
		Reason:     labv1.ErrorReason_ERROR_REASON_INVALID,
		Message:    field + ": " + description,
		Violations: []Violation{{Field: field, Description: description}},
	}
}

func overQuota(subject string, limit uint64) *Refusal {
	return &Refusal{
		Reason:  labv1.ErrorReason_ERROR_REASON_QUOTA,
		Message: fmt.Sprintf("this server keeps at most %d %s", limit, subject),
		Subject: subject,
	}
}
