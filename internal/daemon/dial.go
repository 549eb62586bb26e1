package daemon

import (
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	"labd.dev/internal/port"
	workerv1 "labd.dev/proto/worker/v1"
)

// redial is how soon a connection between daemons that broke is made again: a server that restarts is back within seconds.
var redial = grpc.ConnectParams{MinConnectTimeout: dialTimeout, Backoff: backoff.Config{
	BaseDelay: dialTimeout / 50, Multiplier: 1.6, Jitter: 0.2, MaxDelay: dialTimeout / 5}}

// dialDaemon makes a connection between two daemons. One that breaks silently is noticed within a lease.
func dialDaemon(d *port.Dialer, address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(port.Credentials(d)), grpc.WithNoProxy(), grpc.WithConnectParams(redial),
		grpc.WithContextDialer(d.ConnectTCP),
		grpc.WithInitialWindowSize(windowBytes), grpc.WithInitialConnWindowSize(windowBytes),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxWorkerBytes), grpc.MaxCallSendMsgSize(maxWorkerBytes)))
}

// maxLinks bounds the servers to which connections are kept; a cluster has fewer, and what is asked for by mistake is let go.
const maxLinks = 64

// links keeps a connection to each of the other servers.
type links struct {
	dialer *port.Dialer

	mu     sync.Mutex // guards what is below
	conns  map[string]*grpc.ClientConn
	closed bool
}

var errStopped = errors.New("this server stops")

// to gives the connection to a server, made at the first call.
func (l *links) to(address string) (grpc.ClientConnInterface, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errStopped
	}
	if conn := l.conns[address]; conn != nil {
		return conn, nil
	}
	if len(l.conns) >= maxLinks {
		for old, conn := range l.conns {
			conn.Close()
			delete(l.conns, old)
			break
		}
	}
	conn, err := dialDaemon(l.dialer, address)
	if err != nil {
		return nil, err
	}
	if l.conns == nil {
		l.conns = make(map[string]*grpc.ClientConn)
	}
	l.conns[address] = conn
	return conn, nil
}

func (l *links) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	for _, conn := range l.conns {
		err = errors.Join(err, conn.Close())
	}
	l.conns, l.closed = nil, true
	return err
}

// dialWorker makes the way to a worker that has registered.
func dialWorker(d *port.Dialer) func(string) (workerv1.WorkerServiceClient, io.Closer, error) {
	return func(address string) (workerv1.WorkerServiceClient, io.Closer, error) {
		conn, err := dialDaemon(d, address)
		if err != nil {
			return nil, nil, err
		}
		return workerv1.NewWorkerServiceClient(conn), conn, nil
	}
}
