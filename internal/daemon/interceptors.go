package daemon

import (
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"labd.dev/internal/port"
)

// daemonsOnly lists the packages of services that only servers and workers may call.
var daemonsOnly = []string{"/server.v1.", "/worker.v1."}

// checkDaemon refuses a person's certificate where a daemon's is asked for. Without TLS, on loopback, everybody may call.
func checkDaemon(ctx context.Context, method string) error {
	if !slices.ContainsFunc(daemonsOnly, func(p string) bool { return strings.HasPrefix(method, p) }) {
		return nil
	}
	if p, ok := peer.FromContext(ctx); ok {
		if info, secured := p.AuthInfo.(credentials.TLSInfo); secured && !port.OfDaemon(&info.State) {
			return status.Errorf(codes.PermissionDenied, "%s is for servers and workers; the caller's certificate is a client's", method)
		}
	}
	return nil
}

func daemonsUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := checkDaemon(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return handle(ctx, req)
}

func daemonsStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if err := checkDaemon(ss.Context(), info.FullMethod); err != nil {
		return err
	}
	return handle(srv, ss)
}

// recoverUnary turns a call's panic into an error of that call.
func recoverUnary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
		defer recovered(log, info.FullMethod, &err)
		return handle(ctx, req)
	}
}

// recoverStream turns a stream's panic into an error of that stream.
func recoverStream(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
		defer recovered(log, info.FullMethod, &err)
		return handle(srv, ss)
	}
}

func recovered(log *slog.Logger, method string, err *error) {
	if p := recover(); p != nil {
		log.Error("panic", "method", method, "panic", p, "stack", string(debug.Stack()))
		*err = status.Errorf(codes.Internal, "labd failed in %s: %v", method, p)
	}
}

func logUnary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		start := time.Now()
		resp, err := handle(ctx, req)
		logCall(ctx, log, info.FullMethod, start, err)
		return resp, err
	}
}

func logStream(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		start := time.Now()
		err := handle(srv, ss)
		logCall(ss.Context(), log, info.FullMethod, start, err)
		return err
	}
}

// logCall tells of a call: at the debug level if it was answered or refused, as an error if labd itself failed.
func logCall(ctx context.Context, log *slog.Logger, method string, start time.Time, err error) {
	level := slog.LevelDebug
	switch status.Code(err) {
	case codes.Internal, codes.Unknown, codes.DataLoss:
		level = slog.LevelError
	}
	attrs := []slog.Attr{slog.String("method", method), slog.String("code", status.Code(err).String()),
		slog.Duration("took", time.Since(start))}
	if err != nil {
		attrs = append(attrs, slog.String("error", status.Convert(err).Message()))
	}
	log.LogAttrs(ctx, level, "call", attrs...)
}
