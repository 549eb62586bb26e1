package client

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	labv1 "labd.dev/proto/lab/v1"
)

// mortalServer is a labd that dies in the middle of each stream of its first life.
type mortalServer struct {
	labv1.UnimplementedTransferServiceServer
	labv1.UnimplementedReplayServiceServer
	labv1.UnimplementedCaptureServiceServer
	*fakeServer
	die func() // nil: it lives
}

// half ends a life in the middle of a stream.
func (s *mortalServer) half(ctx context.Context) error {
	go s.die()
	<-ctx.Done()
	return ctx.Err()
}

func (s *mortalServer) UploadFile(in grpc.ClientStreamingServer[labv1.UploadFileRequest, labv1.UploadFileResponse]) error {
	if s.die == nil {
		return s.fakeServer.UploadFile(in)
	}
	if _, err := in.Recv(); err != nil {
		return err
	}
	return s.half(in.Context())
}

func (s *mortalServer) WatchTransfer(_ *labv1.WatchTransferRequest, out grpc.ServerStreamingServer[labv1.WatchTransferResponse]) error {
	return out.Send(&labv1.WatchTransferResponse{Transfer: &labv1.TransferStatus{}})
}

func (s *mortalServer) ReadReceived(_ *labv1.ReadReceivedRequest, out grpc.ServerStreamingServer[labv1.ReadReceivedResponse]) error {
	if err := out.Send(&labv1.ReadReceivedResponse{Data: []byte("re")}); err != nil {
		return err
	}
	if s.die != nil {
		return s.half(out.Context())
	}
	return out.Send(&labv1.ReadReceivedResponse{Data: []byte("ceived")})
}

func (s *mortalServer) ReadRunFile(req *labv1.ReadRunFileRequest, out grpc.ServerStreamingServer[labv1.ReadRunFileResponse]) error {
	if s.die == nil {
		return s.fakeServer.ReadRunFile(req, out)
	}
	if err := out.Send(&labv1.ReadRunFileResponse{Data: []byte("co")}); err != nil {
		return err
	}
	return s.half(out.Context())
}

func (s *mortalServer) ReplayRun(in grpc.BidiStreamingServer[labv1.ReplayRunRequest, labv1.ReplayRunResponse]) error {
	if s.die != nil {
		return s.half(in.Context())
	}
	return in.Send(&labv1.ReplayRunResponse{Message: &labv1.ReplayRunResponse_Outcome{Outcome: &labv1.ReplayOutcome{}}})
}

func (s *mortalServer) WatchCapture(_ *labv1.WatchCaptureRequest, out grpc.ServerStreamingServer[labv1.WatchCaptureResponse]) error {
	if err := out.Send(&labv1.WatchCaptureResponse{Data: []byte("pcapng"), Packets: 7}); err != nil {
		return err
	}
	<-out.Context().Done() // its watcher has it killed
	return out.Context().Err()
}

// mortal serves two lives at one address, the second as soon as the client waits for it, and makes a client that has
// spoken to the first. kill ends a life.
func mortal(t *testing.T) (c *Client, fake *fakeServer, kill func()) {
	t.Helper()
	fake = &fakeServer{held: make(map[string][]byte), runFile: "events.bin", answer: func(int) error { return nil }}
	live := func(address string, first bool) (string, func()) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			return "", func() {}
		}
		srv, done := grpc.NewServer(), make(chan struct{})
		s := &mortalServer{fakeServer: fake}
		if first {
			s.die = srv.Stop
		}
		labv1.RegisterLabServiceServer(srv, s)
		labv1.RegisterFileServiceServer(srv, s)
		labv1.RegisterRunServiceServer(srv, s)
		labv1.RegisterTransferServiceServer(srv, s)
		labv1.RegisterReplayServiceServer(srv, s)
		labv1.RegisterCaptureServiceServer(srv, s)
		go func() {
			defer close(done)
			if err := srv.Serve(l); err != nil {
				t.Error(err)
			}
		}()
		return l.Addr().String(), func() { srv.Stop(); <-done }
	}
	address, end := live("127.0.0.1:0", true)
	c, err := Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); end() })
	c.Waiting(func(text string) {
		if text != "" {
			end()
			_, end = live(address, false)
		}
	})
	if _, err := c.Labs.GetLab(t.Context(), &labv1.GetLabRequest{}); err != nil {
		t.Fatal(err)
	}
	fake.answer = nil
	return c, fake, end
}

// What has content going either way begins anew when labd is back: content is known by what it is, so that twice is once.
func TestContentOverARestart(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		do   func(*Client, *fakeServer) (got, want []byte, err error)
	}{
		{"upload", func(c *Client, fake *fakeServer) ([]byte, []byte, error) {
			path, content := filepath.Join(dir, "up"), bytes.Repeat([]byte("x"), 3*uploadBytes+1)
			if err := os.WriteFile(path, content, 0o600); err != nil {
				return nil, nil, err
			}
			f, err := HashFile(path, "up")
			if err != nil {
				return nil, nil, err
			}
			err = c.Upload(t.Context(), []*LocalFile{f})
			return fake.held[f.Ref.GetSha256()], content, err
		}},
		{"received", func(c *Client, _ *fakeServer) ([]byte, []byte, error) {
			path := filepath.Join(dir, "copy")
			if err := c.SaveReceived(t.Context(), "x", "t1", path); err != nil {
				return nil, nil, err
			}
			got, err := os.ReadFile(path)
			return got, []byte("received"), err
		}},
		{"run", func(c *Client, _ *fakeServer) ([]byte, []byte, error) {
			if err := c.FetchRun(t.Context(), "x-1", dir); err != nil {
				return nil, nil, err
			}
			got, err := os.ReadFile(filepath.Join(dir, "events.bin"))
			return got, []byte("content"), err
		}},
		{"replay", func(c *Client, _ *fakeServer) ([]byte, []byte, error) {
			outcome, err := c.ReplayRun(t.Context(), dir, 0, "")
			if outcome == nil {
				return nil, []byte("an outcome"), err
			}
			return nil, nil, err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, fake, _ := mortal(t)
			if got, want, err := c.do(client, fake); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%v: %d bytes %.20q, want %d", err, len(got), got, len(want))
			}
		})
	}
}

// killer is a capture's file; when something is written, labd dies.
type killer struct {
	bytes.Buffer
	kill func()
}

func (k *killer) Write(b []byte) (int, error) {
	k.kill()
	return k.Buffer.Write(b)
}

// A capture is not taken up again, as what crossed meanwhile would be missing unseen; it says so.
func TestCaptureEndsWithItsConnection(t *testing.T) {
	c, _, kill := mortal(t)
	file := &killer{kill: kill}
	n, err := c.Capture(t.Context(), &labv1.WatchCaptureRequest{}, file)
	if n != 7 || file.String() != "pcapng" || ExitCode(err) != 5 || !strings.Contains(err.Error(), "ended after packet 7 and is not taken up again") {
		t.Fatalf("%d packets, %q, %v", n, file.String(), err)
	}
}
