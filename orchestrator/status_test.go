package orchestrator

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
)

// An error at the boundary has a code, a stable reason, and what a caller can act upon: the field, the quota, when to try
// again.
func TestErrorsHaveDetails(t *testing.T) {
	several := &Refusal{Reason: labv1.ErrorReason_ERROR_REASON_INVALID, Message: "two", Violations: []Violation{
		{Field: "spec.links[2].forward.delay_ns", Description: "must not be negative"}, {Field: "spec.name", Description: "is empty"}}}
	for _, c := range []struct {
		name string
		err  error
		code codes.Code
		want string // reason, then details
	}{
		{"one field", invalid("request_id", "it is empty"), codes.InvalidArgument, "INVALID field=request_id"},
		{"several fields", errors.Join(several), codes.InvalidArgument, "INVALID field=spec.links[2].forward.delay_ns field=spec.name"},
		{"quota", overQuota("labs", 7), codes.ResourceExhausted, "QUOTA subject=labs"},
		{"not there", refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "no lab"), codes.NotFound, "LAB_NOT_FOUND"},
		{"not yet", refuse(labv1.ErrorReason_ERROR_REASON_NOT_LEADER, "starting"), codes.Unavailable, "NOT_LEADER retry=200ms"},
		{"the worker's", status.Error(codes.Internal, "broken"), codes.Internal, "WORKER"},
		{"the worker's with a reason", refusalStatus(overQuota("frames", 1)), codes.ResourceExhausted, "QUOTA subject=frames"},
		{"gone away", context.Canceled, codes.Canceled, ""},
		{"too late", context.DeadlineExceeded, codes.DeadlineExceeded, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := status.Convert(toStatus(c.err))
			var got []string
			for _, d := range s.Details() {
				switch d := d.(type) {
				case *errdetails.ErrorInfo:
					if d.GetDomain() != errorDomain {
						t.Errorf("domain %q", d.GetDomain())
					}
					got = append(got, d.GetReason())
				case *errdetails.BadRequest:
					for _, v := range d.GetFieldViolations() {
						got = append(got, "field="+v.GetField())
					}
				case *errdetails.QuotaFailure:
					got = append(got, "subject="+d.GetViolations()[0].GetSubject())
				case *errdetails.RetryInfo:
					got = append(got, "retry="+d.GetRetryDelay().AsDuration().String())
				}
			}
			if text := strings.Join(got, " "); s.Code() != c.code || text != c.want || s.Message() == "" {
				t.Errorf("%v %q %q, want %v %q", s.Code(), text, s.Message(), c.code, c.want)
			}
		})
	}
}
