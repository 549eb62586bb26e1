// Package client is labd's client for Go: what labctl uses, and what scripts in Go may use. It dials a labd or takes a
// connection to one in the same process, repeats what is safe to repeat, and turns errors into typed ones.
//
// The services of proto/lab/v1 are at hand as they are (Labs, Nodes, ...); beside them are the things that take more than
// one call: giving files, following a run to its end and fetching its directory.
package client

import (
	"crypto/rand"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	labv1 "labd.dev/proto/lab/v1"
)

const (
	// DefaultAddress is where labd listens unless it is told otherwise.
	DefaultAddress = "127.0.0.1:7070"
	// maxMessageBytes bounds an answer: a lab of 10,000 nodes as a whole is about 10 MB.
	maxMessageBytes = 64 << 20
	// dialTimeout bounds a connection attempt; on a machine that answers at all it takes milliseconds.
	dialTimeout = 3 * time.Second
	// inProcess is the address of a labd in the same process. It is not waited for: its end is ours.
	inProcess = "this process"
)

// redial is how soon a connection that broke is made again: a labd that restarts is back within seconds.
var redial = backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}

// Client speaks to one labd. Its methods may be called from any goroutine.
type Client struct {
	Labs      labv1.LabServiceClient
	Nodes     labv1.NodeServiceClient
	Links     labv1.LinkServiceClient
	Transfers labv1.TransferServiceClient
	Faults    labv1.FaultServiceClient
	Execs     labv1.ExecServiceClient
	Files     labv1.FileServiceClient
	Runs      labv1.RunServiceClient
	Traces    labv1.TraceServiceClient
	Replays   labv1.ReplayServiceClient
	Clocks    labv1.ClockServiceClient
	Watches   labv1.WatchServiceClient
	Captures  labv1.CaptureServiceClient
	Workers   labv1.WorkerServiceClient

	conn    *grpc.ClientConn
	owned   bool
	link    *link
	waiting func(string) // may be nil
}

// Dial makes a client of the labd at an address, host:port. It does not connect yet: the first call does, and its error
// says when nobody listens there.
func Dial(address string) (*Client, error) {
	l := &link{address: address}
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: redial, MinConnectTimeout: dialTimeout}),
		grpc.WithNoProxy(),
		grpc.WithChainUnaryInterceptor(l.unary, l.retrying),
		grpc.WithChainStreamInterceptor(l.stream))
	if err != nil {
		return nil, &Error{Code: CodeUsage, Message: err.Error()}
	}
	return newClient(conn, true, l), nil
}

// CallOptions are the options that a connection for NewInProcess is made with.
func CallOptions() []grpc.DialOption {
	l := &link{address: inProcess}
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
		grpc.WithChainUnaryInterceptor(l.unary, l.retrying),
		grpc.WithChainStreamInterceptor(l.stream),
	}
}

// NewInProcess makes a client over a connection to a labd in the same process, made with CallOptions. The connection
// stays the caller's to close.
func NewInProcess(conn *grpc.ClientConn) *Client {
	return newClient(conn, false, &link{address: inProcess})
}

func newClient(conn *grpc.ClientConn, owned bool, l *link) *Client {
	return &Client{
		Labs:      labv1.NewLabServiceClient(conn),
		Nodes:     labv1.NewNodeServiceClient(conn),
		Links:     labv1.NewLinkServiceClient(conn),
		Transfers: labv1.NewTransferServiceClient(conn),
		Faults:    labv1.NewFaultServiceClient(conn),
		Execs:     labv1.NewExecServiceClient(conn),
		Files:     labv1.NewFileServiceClient(conn),
		Runs:      labv1.NewRunServiceClient(conn),
		Traces:    labv1.NewTraceServiceClient(conn),
		Replays:   labv1.NewReplayServiceClient(conn),
		Clocks:    labv1.NewClockServiceClient(conn),
		Watches:   labv1.NewWatchServiceClient(conn),
		Captures:  labv1.NewCaptureServiceClient(conn),
		Workers:   labv1.NewWorkerServiceClient(conn),
		conn:      conn,
		owned:     owned,
		link:      l,
	}
}

// Close ends a dialled client's connection.
func (c *Client) Close() error {
	if !c.owned {
		return nil
	}
	return c.conn.Close()
}

// RequestID makes an id for a mutation's request_id. The same request sent again with the same id is carried out once.
func RequestID() string { return rand.Text() }
