package client

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
)

// restartingServer is a labd that dies in the middle of a watch, comes back, rebuilds its lab, and goes on.
type restartingServer struct {
	labv1.UnimplementedLabServiceServer
	labv1.UnimplementedExecServiceServer
	lines []string
	gone  bool // in its first life it dies after two lines
	busy  int  // refuses so many watches: the lab is being rebuilt
}

func (s *restartingServer) ListLabs(context.Context, *labv1.ListLabsRequest) (*labv1.ListLabsResponse, error) {
	return &labv1.ListLabsResponse{}, nil
}

func (s *restartingServer) WatchExec(_ *labv1.WatchExecRequest, out grpc.ServerStreamingServer[labv1.WatchExecResponse]) error {
	if s.busy > 0 {
		s.busy--
		starting, err := status.New(codes.Unavailable, "rebuilt").WithDetails(&errdetails.ErrorInfo{Reason: "LAB_STARTING", Domain: "labd.dev"})
		return errors.Join(starting.Err(), err)
	}
	if s.gone {
		if err := out.Send(&labv1.WatchExecResponse{Lines: s.lines[:2]}); err != nil {
			return err
		}
		<-out.Context().Done()
		return out.Context().Err()
	}
	if err := out.Send(&labv1.WatchExecResponse{Lines: s.lines[:1]}); err != nil { // the lab has gone back a little
		return err
	}
	return out.Send(&labv1.WatchExecResponse{Lines: s.lines[1:], Done: true, ExitCode: 3})
}

// live serves at an address until the returned function ends it.
func live(t *testing.T, s *restartingServer, address string) (string, func()) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	labv1.RegisterExecServiceServer(srv, s)
	labv1.RegisterLabServiceServer(srv, s)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	return l.Addr().String(), func() { srv.Stop(); <-done }
}

// A watch goes on where it was when labd is back; it says what it waits for, and tells nothing twice.
func TestWatchGoesOnOverARestart(t *testing.T) {
	lines := []string{"1", "2", "3", "4"}
	address, kill := live(t, &restartingServer{lines: lines, gone: true}, "127.0.0.1:0")
	c, err := Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var told, got []string
	end := func() {}
	defer func() { end() }()
	c.Waiting(func(text string) {
		told = append(told, text)
		if len(told) == 1 {
			_, end = live(t, &restartingServer{lines: lines, busy: 1}, address)
		}
	})
	code, err := c.FollowExec(t.Context(), "x", "p1", func(l []string) {
		if got = append(got, l...); len(got) == 2 {
			go kill()
		}
	})
	if err != nil || code != 3 || !slices.Equal(got, lines) {
		t.Fatalf("exit code %d, %v, lines %q", code, err, got)
	}
	if len(told) != 2 || !strings.Contains(told[0], "labd at "+address+" is away; waiting up to 1m0s") || told[1] != "" {
		t.Errorf("told %q", told)
	}
	// A call that only asks waits as well.
	end()
	end = func() {}
	back := make(chan func(), 1)
	go func() {
		_, end := live(t, &restartingServer{}, address)
		back <- end
	}()
	if _, err := c.Labs.ListLabs(t.Context(), &labv1.ListLabsRequest{}); err != nil {
		t.Errorf("a question over a restart: %v", err)
	}
	(<-back)()
}

// What a restart does not mend is not waited for.
func TestNothingToWaitFor(t *testing.T) {
	c := &Client{link: &link{servers: []*server{{address: "here"}}}}
	c.link.answered.Store(true)
	for _, err := range []error{io.EOF, &Error{Code: CodeNotFound}, &Error{Code: CodeUnavailable}, &Error{Code: CodeRefused, Reason: "LAB_FAILED"}} {
		if text, _ := c.awaited(err); text != "" {
			t.Errorf("%v: %s", err, text)
		}
	}
	late := gaveUp(&Error{Code: CodeUnavailable, Message: "no labd at here"}, awayLimit)
	if ExitCode(late) != 5 || late.Error() != "no labd at here (waited 1m0s for it to come back)" {
		t.Errorf("%v", late)
	}
}
