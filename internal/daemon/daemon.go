// Package daemon assembles a labd from its parts: a controller, a worker that hosts the labs, and one gRPC server before
// them. cmd/labd runs it as a process; labctl's embedded mode and labtest run it within their own.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"

	"labd.dev/client"
	"labd.dev/internal/metrics"
	"labd.dev/internal/port"
	"labd.dev/internal/version"
	"labd.dev/node/worker"
	"labd.dev/orchestrator"
	workerv1 "labd.dev/proto/worker/v1"
)

const (
	// maxWorkerBytes bounds a message between controller and worker, which may hold a whole journal.
	maxWorkerBytes = 128 << 20
	// pipeBytes is the room in the pipe between two parts in one process.
	pipeBytes = 1 << 20
	// windowBytes is HTTP/2's flow control window of what comes to a client, and between daemons, large because traces and files are
	// streamed; what comes to a server has callWindowBytes for each call.
	windowBytes = 1 << 20
	// maxStreams bounds the calls under way on one connection.
	maxStreams = 1000
	// keepaliveTime and keepaliveTimeout are when a silent connection between two daemons is asked for a sign of life, and
	// how long that may take; gRPC asks no more often. What must be known sooner has deadlines of its own: leases, and each call
	// to a worker.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	// dialTimeout bounds one attempt to connect to another daemon.
	dialTimeout = 5 * time.Second
	// A server asks a silent client for a sign of life: one that is gone, with nobody closing its connection, gives its place
	// back within a minute. Students sit behind NAT, which forgets a silent connection in minutes, so that this keeps theirs, too.
	clientKeepaliveTime    = 40 * time.Second
	clientKeepaliveTimeout = 20 * time.Second
	// clientIdle is for how long a client may keep a connection without a call: what holds places only is closed, and gRPC's
	// clients connect anew by themselves.
	clientIdle = 15 * time.Minute
	// maxHeaderBytes bounds a call's headers: a token and some marks are 500 bytes.
	maxHeaderBytes = 16 << 10
	// prefaceTimeout bounds the wait for a connection's HTTP/2 preface and settings.
	prefaceTimeout = 10 * time.Second
	// grace is how long calls may go on after a stop was asked for: watches never end by themselves.
	grace = time.Second
	// filesDir holds uploaded content, in the data directory; the worker links to what it uses.
	filesDir = "files"
	// workerName is what the worker in the same process is called.
	workerName = "local"
)

// Config says what a Daemon shall be.
type Config struct {
	// DataDir keeps everything over restarts. Empty: Raft is in memory, the rest in a temporary directory that Stop
	// removes.
	DataDir string
	// Listen is the address of the port, "host:port"; port 0: any free one. Without Security it is on loopback. Empty: no
	// port, only Client.
	Listen string
	// Security is the port's TLS, and that of connections to other daemons; nil: none.
	Security port.Security
	// NoWorker: labs are hosted by workers that register only, none in this process.
	NoWorker bool
	// Identity says how people show who they are.
	Identity IdentityConfig
	// Cluster says how this server is one of several, which takes a Listen address; nil: it is a server of its own.
	Cluster *ClusterConfig
	// Lease is how long, in wall time, a worker may run its labs without hearing from the leader, where this server founds the
	// cluster; 0: 10 s.
	Lease time.Duration
	// Logger hears what goes on; nil: nobody does.
	Logger *slog.Logger

	patience patience // with clients; zero values mean defaults
}

// patience is for how long a server puts up with a client that is silent or slow.
type patience struct {
	handshake                       time.Duration
	keepaliveTime, keepaliveTimeout time.Duration
	message                         slowness
}

func (p patience) orDefault() patience {
	if p.keepaliveTime == 0 {
		p.keepaliveTime, p.keepaliveTimeout = clientKeepaliveTime, clientKeepaliveTimeout
	}
	if p.message == (slowness{}) {
		p.message = defaultSlowness
	}
	return p
}

// Daemon is a running labd.
type Daemon struct {
	conf    Config
	log     *slog.Logger
	data    *dataDir
	ask     orchestrator.Ask
	port    *port.Port  // nil without one
	dialer  port.Dialer // of all that goes out
	links   links       // to the other servers
	calls   metrics.Calls
	rates   *rates
	intake  *intake
	pipe    *bufconn.Listener
	conn    *grpc.ClientConn // in-process, of client
	client  *client.Client
	server  *grpc.Server
	health  *health.Server
	control *orchestrator.Controller
	worker  *hostedWorker
	serving sync.WaitGroup
}

// Start brings a labd up. It returns when calls are taken; those that need labs wait until their server leads.
func Start(conf Config) (*Daemon, error) {
	if conf.Logger == nil {
		conf.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Daemon{conf: conf, log: conf.Logger, dialer: port.Dialer{Security: conf.Security}, rates: newRates(time.Now)}
	d.links.dialer = &d.dialer
	if err := d.start(); err != nil {
		return nil, errors.Join(err, d.Stop(context.Background()))
	}
	return d, nil
}

func (d *Daemon) start() (err error) {
	if err := d.checkListen(); err != nil {
		return err
	}
	if d.ask, err = d.asks(); err != nil {
		return err
	}
	security := d.conf.Security
	if d.ask == orchestrator.AskAlways && security != nil {
		security = forPeople{security}
	}
	if d.data, err = openDataDir(d.conf.DataDir); err != nil {
		return err
	}
	if d.conf.Listen != "" {
		if d.port, err = port.Listen(d.conf.Listen, port.Config{Security: security, HandshakeTimeout: d.conf.patience.handshake, Logger: d.log}); err != nil {
			return fmt.Errorf("cannot listen at %s: %w", d.conf.Listen, err)
		}
		d.port.Listener(port.HTTP2) // who comes before labd serves waits until it does
	}
	var local workerv1.WorkerServiceClient
	if !d.conf.NoWorker {
		if d.worker, err = startWorker(d.data, d.log); err != nil {
			return err
		}
		local = workerv1.NewWorkerServiceClient(d.worker.conn)
	}
	if err := d.openControl(local); err != nil {
		return err
	}
	return d.serve()
}

// openControl starts the controller, with a worker in this process or none.
func (d *Daemon) openControl(worker workerv1.WorkerServiceClient) (err error) {
	raftDir := ""
	if d.conf.DataDir != "" {
		raftDir = d.data.path("raft")
	}
	cluster, err := d.cluster()
	if err != nil {
		return err
	}
	d.control, err = orchestrator.Open(orchestrator.Config{
		Cluster:    cluster,
		Ask:        d.ask,
		First:      &firstToken{conf: d.conf.Identity},
		Version:    version.String(),
		RaftDir:    raftDir,
		FilesDir:   d.data.path(filesDir),
		ServerID:   d.data.serverID,
		Worker:     worker,
		WorkerName: workerName,
		Lease:      d.conf.Lease,
		DialWorker: dialWorker(&d.dialer),
		Logger:     d.log,
	})
	return err
}

func (d *Daemon) serve() (err error) {
	at, patience := &gate{control: d.control, rates: d.rates}, d.conf.patience.orDefault()
	d.intake = newIntake(at, patience.message)
	d.server = grpc.NewServer(
		grpc.Creds(port.Credentials(nil)), grpc.ConnectionTimeout(prefaceTimeout), grpc.InTapHandle(d.intake.tap),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveTime / 2, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: clientIdle, Time: patience.keepaliveTime, Timeout: patience.keepaliveTimeout}),
		grpc.MaxConcurrentStreams(maxStreams), grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.InitialWindowSize(callWindowBytes), grpc.InitialConnWindowSize(windowBytes),
		grpc.ChainUnaryInterceptor(d.calls.Unary, logUnary(d.log), recoverUnary(d.log), orchestrator.StatusUnary, d.control.ForwardUnary, at.unary, d.control.StaleUnary),
		grpc.ChainStreamInterceptor(d.calls.Stream, logStream(d.log), recoverStream(d.log), orchestrator.StatusStream, d.intake.stream, d.control.ForwardStream, at.stream),
	)
	services := registrar{d.server, d.intake}
	d.control.Register(services)
	d.control.RegisterRegistry(services)
	if d.conf.Cluster != nil {
		d.control.RegisterPeers(services)
	}
	d.health = health.NewServer()
	healthv1.RegisterHealthServer(services, d.health)
	reflection.Register(services)

	d.pipe = bufconn.Listen(pipeBytes)
	d.serving.Go(func() { d.served(d.server.Serve(d.pipe)) })
	if d.port != nil {
		d.serving.Go(func() { d.served(d.server.Serve(d.port.Listener(port.HTTP2))) })
	}
	if d.conn, err = dialPipe(d.pipe, client.CallOptions()); err != nil {
		return err
	}
	d.client = client.NewInProcess(d.conn)
	return nil
}

func (d *Daemon) served(err error) {
	if err != nil {
		d.log.Error("no longer serving", "error", err)
	}
}

// dialPipe connects to a part in the same process.
func dialPipe(pipe *bufconn.Listener, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	opts = append(opts,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(windowBytes), grpc.WithInitialConnWindowSize(windowBytes),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	return grpc.NewClient("passthrough:///in-process", opts...)
}

// Addr is where the port is, empty without one.
func (d *Daemon) Addr() string {
	if d.port == nil {
		return ""
	}
	return d.port.Addr().String()
}

// DataDir is where everything is kept.
func (d *Daemon) DataDir() string { return d.data.dir }

// Client speaks to this labd without a port. It is of no use after Stop.
func (d *Daemon) Client() *client.Client { return d.client }

// Failed is closed when the labd cannot go on, and Err tells why.
func (d *Daemon) Failed() <-chan struct{} { return d.control.Failed() }

// Err tells why Failed was closed; nil while it is not.
func (d *Daemon) Err() error { return d.control.Err() }

// Stop ends the labd: it takes no more calls, lets those under way come to an end for a moment, remembers how far its
// labs are, and closes what it has written. Nothing is left running.
func (d *Daemon) Stop(ctx context.Context) error {
	var errs []error
	if d.conn != nil {
		errs = append(errs, d.conn.Close())
	}
	if d.server != nil {
		d.health.Shutdown()
		if d.conf.Cluster != nil {
			// While this server still answers: calls under way are carried out, and those that come are handed on.
			d.control.HandOver()
		}
		d.stopServing(ctx)
	}
	if d.control != nil {
		errs = append(errs, d.control.Close(ctx))
	}
	if d.port != nil {
		errs = append(errs, d.port.Close())
	}
	errs = append(errs, d.links.close())
	if d.worker != nil {
		errs = append(errs, d.worker.stop())
	}
	if d.data != nil {
		errs = append(errs, d.data.close())
	}
	return errors.Join(errs...)
}

func (d *Daemon) stopServing(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.server.GracefulStop()
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
	d.server.Stop()
	<-done
	d.serving.Wait()
}

// hostedWorker is the worker in this process, reached like any other: through its gRPC service.
type hostedWorker struct {
	worker  *worker.Worker
	server  *grpc.Server
	conn    *grpc.ClientConn
	serving sync.WaitGroup
}

func startWorker(data *dataDir, log *slog.Logger) (*hostedWorker, error) {
	root := data.path("worker")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	w, err := worker.New(worker.Config{Root: root, Version: version.String(), Shared: data.path(filesDir), Logger: log})
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	h := &hostedWorker{worker: w, server: newWorkerServer(w, log)}
	pipe := bufconn.Listen(pipeBytes)
	h.serving.Go(func() {
		if err := h.server.Serve(pipe); err != nil {
			log.Error("the worker no longer serves", "error", err)
		}
	})
	h.conn, err = dialPipe(pipe, grpc.WithDefaultCallOptions(
		grpc.MaxCallRecvMsgSize(maxWorkerBytes), grpc.MaxCallSendMsgSize(maxWorkerBytes)))
	if err != nil {
		return nil, errors.Join(err, h.stop())
	}
	return h, nil
}

// newWorkerServer makes the gRPC server before a worker.
func newWorkerServer(w *worker.Worker, log *slog.Logger, opts ...grpc.ServerOption) *grpc.Server {
	at := &gate{}
	in := newIntake(at, defaultSlowness)
	s := grpc.NewServer(append(opts, grpc.InTapHandle(in.tap), grpc.MaxSendMsgSize(maxWorkerBytes),
		grpc.InitialWindowSize(windowBytes), grpc.InitialConnWindowSize(windowBytes),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveTime / 2, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(recoverUnary(log), at.unary), grpc.ChainStreamInterceptor(recoverStream(log), in.stream, at.stream))...)
	workerv1.RegisterWorkerServiceServer(registrar{s, in}, w)
	return s
}

func (h *hostedWorker) stop() error {
	var err error
	if h.conn != nil {
		err = h.conn.Close()
	}
	h.server.Stop()
	h.serving.Wait()
	return errors.Join(err, h.worker.Close())
}
