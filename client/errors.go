package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
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
		e.Message = fmt.Sprintf("labd at %s does not answer: %s%s", address, s.Message(), tlsHint(s.Message()))
		if why := tlsTrouble(s.Message()); why != "" {
			e.away, e.Code, e.Reason = false, CodeRefused, reasonTLS
			e.Message = fmt.Sprintf("labd at %s %s", address, why)
		} else if nobodyListens(err) {
			e.Message = fmt.Sprintf("no labd at %s; start one with: %s", address, startCommand(address))
		}
	}
	return e
}

func startCommand(address string) string {
	if address == DefaultAddress {
		return "labd"
	}
	if strings.Contains(address, ",") {
		return "labd server"
	}
	return "labd --listen " + address
}

// nobodyListens tells whether a call failed because no connection could be made. gRPC says so in the message only.
func nobodyListens(err error) bool {
	s, _ := status.FromError(err)
	return broken(err) && strings.Contains(s.Message(), "dial")
}
