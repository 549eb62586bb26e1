package daemon

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"labd.dev/internal/auth"
	"labd.dev/internal/port"
	"labd.dev/orchestrator"
	labv1 "labd.dev/proto/lab/v1"
)

// gate lets calls in: it finds out who calls and asks for what the call's definition declares. What declares nothing is for
// nobody. It stands at the server that answers, within what hands calls on.
type gate struct{}

// foreign are the calls of services that are not ours.
var foreign = map[string]*labv1.Access{
	"/grpc.health.v1.Health/Check": {Permission: labv1.Permission_PERMISSION_ANYONE},
	"/grpc.health.v1.Health/List":  {Permission: labv1.Permission_PERMISSION_ANYONE},
	"/grpc.health.v1.Health/Watch": {Permission: labv1.Permission_PERMISSION_ANYONE},

	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      {Permission: labv1.Permission_PERMISSION_PERSON},
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": {Permission: labv1.Permission_PERMISSION_PERSON},
}

func accessOf(method string) *labv1.Access {
	if a := foreign[method]; a != nil {
		return a
	}
	return auth.AccessOf(method)
}

func (g *gate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	caller, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return handle(auth.WithCaller(ctx, caller), req)
}

func (g *gate) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	caller, err := g.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return handle(srv, &callersStream{ServerStream: ss, ctx: auth.WithCaller(ss.Context(), caller)})
}

// callersStream is a stream whose context says who calls.
type callersStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *callersStream) Context() context.Context { return s.ctx }

// admit finds out who calls, and whether the call is for them.
func (g *gate) admit(ctx context.Context, method string) (auth.Caller, error) {
	access := accessOf(method)
	if access.GetPermission() == labv1.Permission_PERMISSION_DAEMON {
		return auth.Caller{}, checkDaemon(ctx, method)
	}
	caller := auth.Anybody(callerAddress(ctx), auth.Short(method))
	if err := auth.Allowed(caller, access); err != nil {
		return auth.Caller{}, notAllowed(err.Error())
	}
	return caller, nil
}

func notAllowed(message string) error {
	return (&orchestrator.Refusal{Reason: labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED, Message: message}).Status()
}

// callerAddress is where a call comes from. Of one that was handed on, the server says that has done it: nobody else is
// believed.
func callerAddress(ctx context.Context) string {
	if from := orchestrator.CallerAddress(ctx); from != "" && fromDaemon(ctx) {
		return from
	}
	return orchestrator.PeerHost(ctx)
}

// fromDaemon tells whether a server or a worker calls, by its certificate. Without TLS, on loopback, everybody may be one.
func fromDaemon(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return true // within the process
	}
	info, secured := p.AuthInfo.(credentials.TLSInfo)
	return !secured || port.OfDaemon(&info.State)
}

// checkDaemon refuses whoever is no daemon what is between daemons.
func checkDaemon(ctx context.Context, method string) error {
	if !fromDaemon(ctx) {
		return notAllowed(auth.Short(method) + " is for servers and workers; the caller's certificate is a client's")
	}
	return nil
}
