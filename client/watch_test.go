package client

import (
	"net"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
)

// breakingServer's streams of records break in the ways that they can.
type breakingServer struct {
	labv1.UnimplementedTraceServiceServer
	mu    sync.Mutex
	asked []*labv1.RecordPosition // of each stream
}

func (s *breakingServer) WatchRecords(req *labv1.WatchRecordsRequest, out grpc.ServerStreamingServer[labv1.WatchRecordsResponse]) error {
	s.mu.Lock()
	s.asked = append(s.asked, req.GetAfter())
	n := int64(len(s.asked))
	s.mu.Unlock()
	if n == 3 {
		old, err := status.New(codes.OutOfRange, "too old").WithDetails(&errdetails.ErrorInfo{Reason: "TOO_OLD"})
		if err != nil {
			return err
		}
		return old.Err()
	}
	if err := out.Send(&labv1.WatchRecordsResponse{Position: &labv1.RecordPosition{TNs: n}}); err != nil {
		return err
	}
	if n == 4 {
		return nil // the lab has ended
	}
	starting, err := status.New(codes.Unavailable, "rebuilding").WithDetails(&errdetails.ErrorInfo{Reason: "LAB_STARTING"})
	if err != nil {
		return err
	}
	return starting.Err()
}

// A stream that breaks is resumed behind the last record that came; where that is too old, it begins anew and says so.
func TestRecordsAreResumed(t *testing.T) {
	s := &breakingServer{}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	labv1.RegisterTraceServiceServer(srv, s)
	var serving sync.WaitGroup
	serving.Go(func() { srv.Serve(lis) })
	defer serving.Wait()
	defer srv.Stop()
	c, err := Dial(lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	gaps, messages := 0, 0
	err = c.FollowRecords(t.Context(), "l", "", func(error) { gaps++ }, func(*labv1.WatchRecordsResponse) error { messages++; return nil })
	if err != nil || gaps != 1 || messages != 3 {
		t.Fatalf("%v, %d gaps and %d messages, want 1 and 3", err, gaps, messages)
	}
	for i, want := range []int64{0, 1, 2, 0} {
		if got := s.asked[i]; got.GetTNs() != want || (got == nil) != (want == 0) {
			t.Errorf("stream %d began behind %v, want %d", i, got, want)
		}
	}
}
