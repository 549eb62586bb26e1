package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Code is the class of an Error, and the exit code that labctl ends with.
type Code int

const (
	CodeFailed      Code = 1   // it was tried and went wrong
	CodeUsage       Code = 2   // the request was wrong
	CodeNotFound    Code = 3   // what it names is not there
	CodeRefused     Code = 4   // not allowed, not possible as things stand, or a quota is reached
	CodeUnavailable Code = 5   // no labd answers
	CodeInterrupted Code = 130 // the caller gave up
)

// Error is what a call came to that labd, or nobody, answered with an error.
type Error struct {
	Code    Code
	Reason  string // stable, of labv1.ErrorReason without its prefix; empty if labd gave none
	Message string // for a person
	Fields  []Field

	away bool // the connection could not be made, or broke
}

// Field is a field of a request that is wrong.
type Field struct {
	Path        string // "spec.links[2].forward.delay_ns"
	Description string
}

func (e *Error) Error() string { return e.Message }

// ExitCode is the exit code that an error calls for: 0 for none, 1 for one that is not an *Error.
func ExitCode(err error) int {
	var e *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return int(e.Code)
	case errors.Is(err, context.Canceled):
		return int(CodeInterrupted)
	}
	return int(CodeFailed)
}

var exitClass = map[codes.Code]Code{
	codes.InvalidArgument:    CodeUsage,
	codes.OutOfRange:         CodeUsage,
	codes.NotFound:           CodeNotFound,
	codes.AlreadyExists:      CodeRefused,
	codes.FailedPrecondition: CodeRefused,
	codes.PermissionDenied:   CodeRefused,
	codes.Unauthenticated:    CodeRefused,
	codes.ResourceExhausted:  CodeRefused,
	codes.Aborted:            CodeRefused,
	codes.Unimplemented:      CodeRefused,
	codes.Unavailable:        CodeUnavailable,
	codes.DeadlineExceeded:   CodeUnavailable,
	codes.Canceled:           CodeInterrupted,
}

// typed turns a call's error into an *Error.
func typed(address string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	e := &Error{Code: CodeFailed, Message: s.Message()}
	if class, known := exitClass[s.Code()]; known {
		e.Code = class
	}
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			e.Reason = d.GetReason()
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				e.Fields = append(e.Fields, Field{Path: v.GetField(), Description: v.GetDescription()})
			}
		}
	}
	if s.Code() == codes.Unavailable && e.Reason == "" {
		e.away = true
		e.Message = fmt.Sprintf("labd at %s does not answer: %s", address, s.Message())
		if nobodyListens(err) {
			e.Message = fmt.Sprintf("no labd at %s; start one with: %s", address, startCommand(address))
		}
	}
	return e
}

func startCommand(address string) string {
	if address == DefaultAddress {
		return "labd"
	}
	return "labd --listen " + address
}

// nobodyListens tells whether a call failed because no connection could be made. gRPC says so in the message only.
func nobodyListens(err error) bool {
	s, _ := status.FromError(err)
	return s.Code() == codes.Unavailable && strings.Contains(s.Message(), "dial")
}

// link is what a client knows of the way to its labd.
type link struct {
	address  string
	answered atomic.Bool // labd has answered a call
}

// heard takes a call's raw outcome and gives it its type.
func (l *link) heard(err error) error {
	if err == nil {
		l.answered.Store(true)
	}
	return typed(l.address, err)
}

func (l *link) unary(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return l.heard(invoke(ctx, method, req, reply, conn, opts...))
}

func (l *link) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, conn, method, opts...)
	if err != nil {
		return nil, typed(l.address, err)
	}
	return &typedClientStream{ClientStream: s, link: l}, nil
}

type typedClientStream struct {
	grpc.ClientStream
	link *link
}

func (s *typedClientStream) RecvMsg(m any) error { return s.link.heard(s.ClientStream.RecvMsg(m)) }
func (s *typedClientStream) SendMsg(m any) error {
	return typed(s.link.address, s.ClientStream.SendMsg(m))
}
