package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"

	"labd.dev/client"
	"labd.dev/labfile/schema"
	"labd.dev/trace"
)

// Exit codes, besides those that client.Error has.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitInterrupted = 130
)

// usageError is a command line, or a file named on it, that is wrong.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

// flagText is what is wrong with a flag, without the name of the function that found it.
func flagText(err error) string {
	var number *strconv.NumError
	if errors.As(err, &number) {
		return strings.Replace(err.Error(), number.Error(), number.Err.Error(), 1)
	}
	return err.Error()
}

// failedError says that everything was carried out and the outcome is not the one wanted. What is to be said has been
// printed.
type failedError struct{ code int }

func (e *failedError) Error() string { return "failed" }

func exitCode(err error) int {
	var failed *failedError
	var usage *usageError
	var one *schema.Error
	var many *schema.Errors
	var noConn *trace.NoConnError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &failed):
		return failed.code
	case errors.As(err, &usage), errors.As(err, &one), errors.As(err, &many), unknownCommand(err):
		return exitUsage
	case errors.As(err, &noConn), errors.Is(err, trace.ErrNotRun):
		return exitNotFound
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return client.ExitCode(err)
}

// unknownCommand recognises cobra's own error, which has no type.
func unknownCommand(err error) bool { return strings.HasPrefix(err.Error(), "unknown command ") }

// report tells of an error. What is wrong with a file begins with its place, so that editors can jump there.
func report(w io.Writer, err error) {
	var failed *failedError
	var one *schema.Error
	var many *schema.Errors
	var remote *client.Error
	switch {
	case errors.As(err, &failed):
	case errors.As(err, &one), errors.As(err, &many):
		fmt.Fprintln(w, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		fmt.Fprintf(w, "labctl: the disk is full: %v; what was written until then is not complete\n", err)
	case errors.As(err, &remote) && len(remote.Fields) > 0:
		fmt.Fprintln(w, "labctl:", err)
		for _, f := range remote.Fields {
			if !strings.Contains(err.Error(), f.Description) {
				fmt.Fprintf(w, "  %s: %s\n", f.Path, f.Description)
			}
		}
	default:
		fmt.Fprintln(w, "labctl:", err)
	}
}
