package daemon

import (
	"context"
	"sync/atomic"

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
type gate struct {
	control *orchestrator.Controller // knows people and tokens; nil: only daemons call here
	rates   *rates                   // with control
}

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
	ctx = auth.WithCaller(ctx, caller)
	if g.control == nil {
		return handle(ctx, req)
	}
	ctx = g.control.NoteBegun(ctx, info.FullMethod, req)
	resp, err := handle(ctx, req)
	g.control.NoteDone(ctx, info.FullMethod, accessOf(info.FullMethod), req, err)
	return resp, err
}

func (g *gate) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	caller, err := g.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	ctx := auth.WithCaller(ss.Context(), caller)
	if g.control == nil {
		return handle(srv, &callersStream{ServerStream: ss, ctx: ctx, gate: g, caller: caller, answers: info.IsServerStream})
	}
	ctx = g.control.NoteBegun(ctx, info.FullMethod, nil)
	access := accessOf(info.FullMethod)
	s := &callersStream{ServerStream: ss, ctx: ctx, gate: g, caller: caller, answers: info.IsServerStream, noted: access.GetAudited()}
	err = handle(srv, s)
	g.control.NoteDone(ctx, info.FullMethod, access, s.begun(), err)
	return err
}

// callersStream is a stream whose context says who calls. It may last for days: a token that is taken back meanwhile ends it
// at its next message.
type callersStream struct {
	grpc.ServerStream
	ctx     context.Context
	gate    *gate
	caller  auth.Caller
	answers bool                // more than once
	noted   bool                // what the call is about is to be known in the end
	first   atomic.Pointer[any] // message that has come, if so
}

// begun is the first message; nil: none has come.
func (s *callersStream) begun() any {
	if m := s.first.Load(); m != nil {
		return *m
	}
	return nil
}

func (s *callersStream) Context() context.Context { return s.ctx }

// SendMsg lets the one answer to all that came pass: what it tells has been done, be it that a snapshot was restored in which
// the caller's token is not.
func (s *callersStream) SendMsg(m any) error {
	if !s.answers {
		return s.ServerStream.SendMsg(m)
	}
	if err := s.stillGood(); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(m)
}

func (s *callersStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if s.noted {
		s.first.CompareAndSwap(nil, &m)
	}
	return s.stillGood()
}

func (s *callersStream) stillGood() error {
	if s.gate.control == nil {
		return nil
	}
	return s.gate.control.StillGood(s.caller)
}

// admit finds out who calls, and whether the call is for them.
func (g *gate) admit(ctx context.Context, method string) (auth.Caller, error) {
	access := accessOf(method)
	switch {
	case access.GetPermission() == labv1.Permission_PERMISSION_DAEMON:
		return auth.Caller{}, g.checkDaemon(ctx, method)
	case g.control == nil:
		return auth.Caller{}, notAllowed(auth.Short(method) + " is not for whoever reaches a worker")
	case access.GetPermission() == labv1.Permission_PERMISSION_ANYONE:
		caller := auth.Caller{From: callerAddress(ctx), Method: auth.Short(method)}
		return caller, g.rates.takeAnyone(caller.From)
	}
	caller, err := g.control.Identify(ctx, method, callerAddress(ctx), inProcess(ctx))
	if err != nil {
		return auth.Caller{}, err
	}
	if err := g.rates.take(caller); err != nil {
		return auth.Caller{}, err
	}
	if err := auth.Allowed(caller, access); err != nil {
		err = &orchestrator.Refusal{Reason: labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED, Message: err.Error()}
		g.control.NoteRefusal(caller, err)
		return auth.Caller{}, err
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

// inProcess tells whether a call comes from this very process.
func inProcess(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	return ok && port.InProcess(p.AuthInfo)
}

// secured tells whether a call comes over TLS.
func secured(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	_, secured := p.AuthInfo.(credentials.TLSInfo)
	return secured
}

// checkDaemon refuses whoever is no daemon what is between daemons. Where people are asked who they are, nobody is taken for
// one without a certificate.
func (g *gate) checkDaemon(ctx context.Context, method string) error {
	switch {
	case !fromDaemon(ctx):
		return notAllowed(auth.Short(method) + " is for servers and workers; the caller has no certificate of one")
	case g.control != nil && g.control.Identity() && !secured(ctx) && !inProcess(ctx):
		return notAllowed(auth.Short(method) + " is for servers and workers, which have certificates where people have tokens")
	}
	return nil
}
