package orchestrator

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"labd.dev/internal/auth"
	labv1 "labd.dev/proto/lab/v1"
)

// personHeader and roleHeader say who calls, where a test says so.
const (
	personHeader = "test-person"
	roleHeader   = "test-role"
)

// callerIn is who the test says that calls; else everybody is let in, as by a labd that asks nobody who they are.
func callerIn(ctx context.Context, method string) auth.Caller {
	person := headerOf(ctx, personHeader)
	if person == "" {
		return auth.Anybody("", method)
	}
	role, err := auth.ParseRole(headerOf(ctx, roleHeader))
	if err != nil {
		panic(err)
	}
	return auth.Caller{Person: person, Role: role, From: "192.0.2.1", Method: method}
}

// as is a context in which a person calls.
func as(ctx context.Context, person string, role labv1.Role) context.Context {
	return metadata.AppendToOutgoingContext(ctx, personHeader, person, roleHeader, auth.RoleName(role))
}

// student is a context in which a student calls.
func student(t *testing.T, person string) context.Context {
	return as(t.Context(), person, auth.Student)
}

func anybodyUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	return handle(auth.WithCaller(ctx, callerIn(ctx, auth.Short(info.FullMethod))), req)
}

func anybodyStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return handle(srv, &anybodysStream{ServerStream: ss, method: auth.Short(info.FullMethod)})
}

type anybodysStream struct {
	grpc.ServerStream
	method string
}

func (s *anybodysStream) Context() context.Context {
	return auth.WithCaller(s.ServerStream.Context(), callerIn(s.ServerStream.Context(), s.method))
}
