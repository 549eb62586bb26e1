// Package client is labd's client for Go: what labctl uses, and what scripts in Go may use. It dials a labd or takes a
// connection to one in the same process, repeats what is safe to repeat, and turns errors into typed ones.
//
// The services of proto/lab/v1 are at hand as they are (Labs, Nodes, ...); beside them are the things that take more than
// one call: giving files, following a run to its end and fetching its directory.
package client

import (
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"labd.dev/internal/port"
	"labd.dev/internal/tlsfiles"
	labv1 "labd.dev/proto/lab/v1"
)

const (
	// DefaultAddress is where labd listens unless it is told otherwise.
	DefaultAddress = "127.0.0.1:7070"
	// maxMessageBytes bounds an answer: a lab of 10,000 nodes as a whole is about 10 MB.
	maxMessageBytes = 64 << 20
	// dialTimeout bounds a connection attempt; on a machine that answers at all it takes milliseconds.
	dialTimeout = 3 * time.Second
	// keepaliveTime and keepaliveTimeout are when a server that says nothing while a call waits is asked for a sign of life, and
	// when it is taken to be gone: one that is cut off does not close its connections. gRPC asks no more often than this.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	// inProcess is the address of a labd in the same process. It is not waited for: its end is ours.
	inProcess = "this process"
)

// redial is how soon a connection that broke is made again: a labd that restarts is back within seconds.
var redial = backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}

// Client speaks to one labd, or to a cluster. Its methods may be called from any goroutine.
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
	Cluster   labv1.ClusterServiceClient
	Sharing   labv1.SharingServiceClient
	Users     labv1.UserServiceClient
	Tokens    labv1.TokenServiceClient
	Audit     labv1.AuditServiceClient
	Quotas    labv1.QuotaServiceClient
	Classes   labv1.ClassServiceClient

	owned bool
	link  *link
}

// Options say which labd a client speaks to, and how.
type Options struct {
	// Servers are the addresses, host:port, of a labd, or of several servers of one cluster: any of them hands calls on to
	// the one that leads, and where one does not answer the next is asked.
	Servers []string
	// TLS names certificates; nil: the connection is not secured, which labd allows on its own machine only. Without a
	// certificate of the client's own, labd's CA alone: people show a token.
	TLS *tlsfiles.Files
	// Token says who calls; empty: nobody in particular. It is never sent unencrypted to another machine.
	Token string
	// Stale asks for what a server knows, however old, so that it need not reach the others. Only what the servers keep can
	// be read so.
	Stale bool
}

// Dial makes a client of the labd at an address, host:port, or of several, separated by commas. It does not connect yet:
// the first call does, and its error says when nobody listens there.
func Dial(address string) (*Client, error) {
	return Open(Options{Servers: strings.Split(address, ",")})
}

// Open makes a client. It does not connect yet.
func Open(o Options) (*Client, error) {
	d := &port.Dialer{}
	if o.TLS != nil {
		source, err := tlsfiles.Open(*o.TLS, nil)
		if err != nil {
			return nil, &Error{Code: CodeUsage, Message: "tls: " + err.Error()}
		}
		d.Security = source
	}
	l := &link{stale: o.Stale, secured: o.TLS != nil, token: o.Token}
	for _, address := range o.Servers {
		address = strings.TrimSpace(address)
		if o.Token != "" && o.TLS == nil && !onLoopback(address) {
			return nil, errors.Join(&Error{Code: CodeUsage, Message: "the token is not sent to " + address +
				" without TLS, where others could read it on the way: give --tls-ca"}, l.close())
		}
		conn, err := newConn(address, port.Credentials(d))
		if err != nil {
			return nil, errors.Join(&Error{Code: CodeUsage, Message: err.Error()}, l.close())
		}
		l.servers = append(l.servers, &server{address: address, conn: conn})
	}
	if len(l.servers) == 0 {
		return nil, &Error{Code: CodeUsage, Message: "no address of a labd was given"}
	}
	return newClient(l, true), nil
}

// newConn makes a connection to one server, which connects at the first call.
func newConn(address string, creds credentials.TransportCredentials, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: redial, MinConnectTimeout: dialTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithNoProxy(), CallOptions()}, more...)...)
}

// onLoopback tells whether an address is on this very machine.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// CallOptions is the option that a connection for NewInProcess is made with.
func CallOptions() grpc.DialOption {
	return grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes))
}

// NewInProcess makes a client over a connection to a labd in the same process, made with CallOptions. The connection
// stays the caller's to close.
func NewInProcess(conn *grpc.ClientConn) *Client {
	return newClient(&link{servers: []*server{{address: inProcess, conn: conn}}, inProcess: true}, false)
}

func newClient(l *link, owned bool) *Client {
	return &Client{
		Labs:      labv1.NewLabServiceClient(l),
		Nodes:     labv1.NewNodeServiceClient(l),
		Links:     labv1.NewLinkServiceClient(l),
		Transfers: labv1.NewTransferServiceClient(l),
		Faults:    labv1.NewFaultServiceClient(l),
		Execs:     labv1.NewExecServiceClient(l),
		Files:     labv1.NewFileServiceClient(l),
		Runs:      labv1.NewRunServiceClient(l),
		Traces:    labv1.NewTraceServiceClient(l),
		Replays:   labv1.NewReplayServiceClient(l),
		Clocks:    labv1.NewClockServiceClient(l),
		Watches:   labv1.NewWatchServiceClient(l),
		Captures:  labv1.NewCaptureServiceClient(l),
		Workers:   labv1.NewWorkerServiceClient(l),
		Cluster:   labv1.NewClusterServiceClient(l),
		Sharing:   labv1.NewSharingServiceClient(l),
		Users:     labv1.NewUserServiceClient(l),
		Tokens:    labv1.NewTokenServiceClient(l),
		Audit:     labv1.NewAuditServiceClient(l),
		Quotas:    labv1.NewQuotaServiceClient(l),
		Classes:   labv1.NewClassServiceClient(l),
		owned:     owned,
		link:      l,
	}
}

// Close ends a dialled client's connections.
func (c *Client) Close() error {
	if !c.owned {
		return nil
	}
	return c.link.close()
}

// RequestID makes an id for a mutation's request_id. The same request sent again with the same id is carried out once.
func RequestID() string { return rand.Text() }
