package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeServer answers as a test tells it to.
type fakeServer struct {
	labv1.UnimplementedLabServiceServer
	labv1.UnimplementedFileServiceServer
	labv1.UnimplementedRunServiceServer
	calls   atomic.Int32
	answer  func(call int) error
	held    map[string][]byte // content by SHA-256
	runFile string            // the one file of every run
	leader  string            // to whom it says to have handed a call on; empty: nobody
	marks   []string          // of the calls to CreateLab, whether they have been made before
}

func (s *fakeServer) GetLab(ctx context.Context, _ *labv1.GetLabRequest) (*labv1.GetLabResponse, error) {
	if s.leader != "" {
		if err := grpc.SetHeader(ctx, metadata.Pairs(leaderHeader, s.leader)); err != nil {
			return nil, err
		}
	}
	return &labv1.GetLabResponse{}, s.answer(int(s.calls.Add(1)))
}

func (s *fakeServer) CreateLab(ctx context.Context, _ *labv1.CreateLabRequest) (*labv1.CreateLabResponse, error) {
	s.marks = append(s.marks, strings.Join(metadata.ValueFromIncomingContext(ctx, repeatedHeader), " "))
	return &labv1.CreateLabResponse{}, s.answer(int(s.calls.Add(1)))
}

func (s *fakeServer) MissingFiles(_ context.Context, req *labv1.MissingFilesRequest) (*labv1.MissingFilesResponse, error) {
	resp := &labv1.MissingFilesResponse{}
	for _, sum := range req.GetSha256() {
		if s.held[sum] == nil {
			resp.Sha256 = append(resp.Sha256, sum)
		}
	}
	return resp, nil
}

func (s *fakeServer) UploadFile(in grpc.ClientStreamingServer[labv1.UploadFileRequest, labv1.UploadFileResponse]) error {
	if s.answer != nil {
		return s.answer(1) // without reading what is sent
	}
	s.calls.Add(1)
	first, err := in.Recv()
	content := []byte{}
	for m := first; err == nil; m, err = in.Recv() {
		content = append(content, m.GetData()...)
	}
	if !errors.Is(err, io.EOF) || uint64(len(content)) != first.GetSizeBytes() {
		return status.Errorf(codes.InvalidArgument, "%d bytes of %d: %v", len(content), first.GetSizeBytes(), err)
	}
	s.held[first.GetSha256()] = content
	return in.SendAndClose(&labv1.UploadFileResponse{})
}

func (s *fakeServer) ListRunFiles(context.Context, *labv1.ListRunFilesRequest) (*labv1.ListRunFilesResponse, error) {
	return &labv1.ListRunFilesResponse{Files: []*labv1.RunFile{{Path: s.runFile}}}, nil
}

func (s *fakeServer) ReadRunFile(_ *labv1.ReadRunFileRequest, out grpc.ServerStreamingServer[labv1.ReadRunFileResponse]) error {
	if err := out.Send(&labv1.ReadRunFileResponse{Data: []byte("con")}); err != nil {
		return err
	}
	if s.answer != nil {
		return s.answer(1)
	}
	return out.Send(&labv1.ReadRunFileResponse{Data: []byte("tent")})
}

// dial serves fake on loopback and makes a client of it.
func dial(t *testing.T, fake *fakeServer) *Client {
	t.Helper()
	fake.held = make(map[string][]byte)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	labv1.RegisterLabServiceServer(srv, fake)
	labv1.RegisterFileServiceServer(srv, fake)
	labv1.RegisterRunServiceServer(srv, fake)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	c, err := Dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		srv.Stop()
		<-done
	})
	return c
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close() // a port that was free a moment ago
	c, err := Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := fmt.Sprintf("no labd at %s; start one with: labd --listen %s", address, address)
	_, err = c.Labs.ListLabs(t.Context(), &labv1.ListLabsRequest{})
	if err == nil || err.Error() != want || ExitCode(err) != 5 {
		t.Fatalf("call: %v (exit %d), want %q", err, ExitCode(err), want)
	}
	stream, err := c.Runs.WatchRun(t.Context(), &labv1.WatchRunRequest{Run: "x-1"})
	if err == nil {
		_, err = stream.Recv()
	}
	if err == nil || err.Error() != want || ExitCode(err) != 5 {
		t.Fatalf("stream: %v (exit %d)", err, ExitCode(err))
	}
	if got := startCommand(DefaultAddress); got != "labd" {
		t.Fatalf("where labd listens by itself it is started with %q", got)
	}
}

func TestErrorsAreTyped(t *testing.T) {
	refused, err := status.New(codes.InvalidArgument, "spec.name: bad").WithDetails(
		&errdetails.ErrorInfo{Reason: "INVALID", Domain: "labd.dev"},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "spec.name", Description: "bad"}}})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, &fakeServer{answer: func(int) error { return refused.Err() }})
	_, err = c.Labs.GetLab(t.Context(), &labv1.GetLabRequest{})
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeUsage || e.Reason != "INVALID" || len(e.Fields) != 1 || e.Fields[0] != (Field{"spec.name", "bad"}) {
		t.Fatalf("error %+v", err)
	}
	for code, exit := range map[codes.Code]int{codes.NotFound: 3, codes.AlreadyExists: 4, codes.ResourceExhausted: 4,
		codes.FailedPrecondition: 4, codes.DeadlineExceeded: 5, codes.Internal: 1, codes.Canceled: 130} {
		if got := ExitCode(typed("x", status.Error(code, "m"))); got != exit {
			t.Errorf("%v: exit %d, want %d", code, got, exit)
		}
	}
	if ExitCode(nil) != 0 || ExitCode(errors.New("x")) != 1 || ExitCode(fmt.Errorf("x: %w", e)) != 2 {
		t.Error("exit codes of other errors")
	}
}

// A call is sent again only where that cannot do it twice.
func TestRetries(t *testing.T) {
	busy := status.Error(codes.Unavailable, "starting")
	for _, c := range []struct {
		name   string
		call   func(*Client) error
		answer func(int) error
		calls  int32
		ok     bool
	}{
		{"a read", get, func(n int) error { return unless(n == 3, busy) }, 3, true},
		{"a read, in vain", get, func(int) error { return busy }, attempts, false},
		{"a refusal", get, func(int) error { return status.Error(codes.NotFound, "no") }, 1, false},
		{"a mutation with an id", create("r1"), func(n int) error { return unless(n == 2, busy) }, 2, true},
		{"a mutation without", create(""), func(n int) error { return unless(n == 2, busy) }, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := &fakeServer{answer: c.answer}
			err := c.call(dial(t, fake))
			if got := fake.calls.Load(); got != c.calls || (err == nil) != c.ok {
				t.Fatalf("%d calls and %v, want %d", got, err, c.calls)
			}
		})
	}
}

// A call that is made again says so: the first attempt may still be on its way.
func TestRepeatedCallsSaySo(t *testing.T) {
	fake := &fakeServer{answer: func(n int) error { return unless(n == attempts, status.Error(codes.Unavailable, "busy")) }}
	if err := create("r1")(dial(t, fake)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(fake.marks, ","); got != ",true,true,true" {
		t.Errorf("the calls were marked %q", got)
	}
}

func get(c *Client) error {
	_, err := c.Labs.GetLab(context.Background(), &labv1.GetLabRequest{})
	return err
}

func create(id string) func(*Client) error {
	return func(c *Client) error {
		_, err := c.Labs.CreateLab(context.Background(), &labv1.CreateLabRequest{RequestId: id})
		return err
	}
}

func unless(good bool, err error) error {
	if good {
		return nil
	}
	return err
}

func TestUpload(t *testing.T) {
	fake := &fakeServer{}
	c := dial(t, fake)
	dir := t.TempDir()
	var files []*LocalFile
	for name, content := range map[string]string{"a": strings.Repeat("x", 3*uploadBytes+1), "b": "", "same as b": ""} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := HashFile(path, "www/"+name)
		if err != nil || f.Ref.GetPath() != "www/"+name || f.Ref.GetSizeBytes() != uint64(len(content)) {
			t.Fatalf("hashed %v %v", f, err)
		}
		files = append(files, f)
	}
	for range 2 {
		if err := c.Upload(t.Context(), files); err != nil {
			t.Fatal(err)
		}
	}
	if fake.calls.Load() != 2 || len(fake.held) != 2 {
		t.Fatalf("%d uploads of 2 contents, %d held", fake.calls.Load(), len(fake.held))
	}
	for _, path := range []string{filepath.Join(dir, "none"), dir} {
		if _, err := HashFile(path, "x"); ExitCode(err) != 2 {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// What labd says when it stops an upload half-way is what the caller hears.
func TestRefusedUpload(t *testing.T) {
	c := dial(t, &fakeServer{answer: func(int) error { return status.Error(codes.ResourceExhausted, "disk full") }})
	path := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(path, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := HashFile(path, "big")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Upload(t.Context(), []*LocalFile{f}); err == nil || !strings.Contains(err.Error(), "disk full") || ExitCode(err) != 4 {
		t.Fatalf("error %v", err)
	}
}

func TestFetchRun(t *testing.T) {
	fake := &fakeServer{runFile: "pcap/a-eth0.pcapng"}
	c := dial(t, fake)
	dir := filepath.Join(t.TempDir(), "run")
	if err := c.FetchRun(t.Context(), "x-1", dir); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "pcap", "a-eth0.pcapng")); err != nil || string(b) != "content" {
		t.Fatalf("fetched %q %v", b, err)
	}
	for _, path := range []string{"../x", "/etc/x", "a/../../x"} {
		fake.runFile = path
		if err := c.FetchRun(t.Context(), "x-1", dir); err == nil {
			t.Errorf("a file was written at %q", path)
		}
	}
	fake.runFile, fake.answer = "half", func(int) error { return status.Error(codes.Internal, "lost") }
	if err := c.FetchRun(t.Context(), "x-1", dir); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Fatalf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "half")); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("half a file stays")
	}
}
