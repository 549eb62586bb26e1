package client

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	labv1 "labd.dev/proto/lab/v1"
)

// tellingServer tells once of the labs, and then nothing.
type tellingServer struct {
	labv1.UnimplementedWatchServiceServer
	seq uint64
}

func (s *tellingServer) WatchLabs(_ *labv1.WatchLabsRequest, out grpc.ServerStreamingServer[labv1.WatchLabsResponse]) error {
	if err := out.Send(&labv1.WatchLabsResponse{Labs: []*labv1.Lab{{Name: "of-" + string(rune('a'+s.seq))}}}); err != nil {
		return err
	}
	<-out.Context().Done()
	return out.Context().Err()
}

// cutConn is a connection whose machine can be cut off: nothing comes or goes any more, and nobody says so.
type cutConn struct {
	net.Conn
	cut    *cut
	closed chan struct{}
	once   sync.Once
}

type cut struct {
	mu  sync.Mutex
	now bool
}

func (c *cut) off() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.cut.off() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *cutConn) Write(b []byte) (int, error) {
	if c.cut.off() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *cutConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// A watch whose server is cut off, so that no connection breaks, goes on at another server.
func TestWatchLeavesASilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var serving sync.WaitGroup
		defer serving.Wait()
		way := &cut{}
		l := &link{}
		for i, address := range []string{"one", "two"} {
			pipe := bufconn.Listen(1 << 16)
			srv := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveTime / 2}))
			labv1.RegisterWatchServiceServer(srv, &tellingServer{seq: uint64(i)})
			serving.Go(func() { _ = srv.Serve(pipe) })
			defer srv.Stop()
			dial := func(ctx context.Context, _ string) (net.Conn, error) {
				conn, err := pipe.DialContext(ctx)
				switch {
				case err != nil || i > 0:
					return conn, err
				case way.off():
					conn.Close()
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return &cutConn{Conn: conn, cut: way, closed: make(chan struct{})}, nil
			}
			conn, err := newConn(address, insecure.NewCredentials(), grpc.WithContextDialer(dial))
			if err != nil {
				t.Fatal(err)
			}
			l.servers = append(l.servers, &server{address: address, conn: conn})
		}
		c := newClient(l, true)
		defer c.Close()

		var heard []string
		var since time.Time
		done := errors.New("heard of both")
		err := c.FollowLabs(t.Context(), func(r *labv1.WatchLabsResponse) error {
			heard = append(heard, r.GetLabs()[0].GetName())
			if len(heard) == 2 {
				return done
			}
			way.mu.Lock()
			way.now, since = true, time.Now()
			way.mu.Unlock()
			return nil
		})
		if !errors.Is(err, done) || heard[0] != "of-a" || heard[1] != "of-b" {
			t.Fatal(heard, err)
		}
		if took := time.Since(since); took > 2*keepaliveTime+keepaliveTimeout+dialTimeout {
			t.Errorf("it took %v of silence", took)
		}
	})
}

// A lab whose worker has died moves within a lease or two, and servers elect: a call waits so long, and says so once.
func TestWhatPassesIsWaitedFor(t *testing.T) {
	for _, reason := range []string{"WORKER_AWAY", "LAB_STARTING", "NOT_LEADER"} {
		t.Run(reason, func(t *testing.T) { waitsOver(t, reason) })
	}
}

func waitsOver(t *testing.T, reason string) {
	synctest.Test(t, func(t *testing.T) {
		var serving sync.WaitGroup
		defer serving.Wait()
		began := time.Now()
		fake := &fakeServer{answer: func(int) error {
			s, err := status.New(codes.Unavailable, "not now").WithDetails(&errdetails.ErrorInfo{Reason: reason})
			if err != nil {
				return err
			}
			return unless(time.Since(began) > 25*time.Second, s.Err())
		}}
		pipe := bufconn.Listen(1 << 16)
		srv := grpc.NewServer()
		labv1.RegisterLabServiceServer(srv, fake)
		serving.Go(func() { _ = srv.Serve(pipe) })
		defer srv.Stop()
		conn, err := newConn("one", insecure.NewCredentials(), grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(&link{servers: []*server{{address: "one", conn: conn}}}, true)
		defer c.Close()
		var told []string
		c.Waiting(func(text string) { told = append(told, text) })
		if err := create("r1")(c); err != nil {
			t.Error(err)
		}
		if len(told) != 2 || told[0] != "not now; waiting up to 1m0s" || told[1] != "" {
			t.Errorf("told %q", told)
		}
		began = time.Now().Add(time.Hour) // it never comes back
		if err := create("r2")(c); ExitCode(err) != 5 || time.Since(began) > -50*time.Minute {
			t.Error(err)
		}
	})
}
