package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"google.golang.org/grpc"

	"labd.dev/internal/port"
	"labd.dev/internal/version"
	"labd.dev/node/worker"
	workerv1 "labd.dev/proto/worker/v1"
)

// WorkerConfig says what a Worker shall be: a process that only hosts labs, for the servers of a cluster.
type WorkerConfig struct {
	// DataDir keeps who the worker is, the run directories and the contents that labs use. Empty: a temporary one that
	// Stop removes.
	DataDir string
	// Listen is the address of its port, host:port; port 0: any free one.
	Listen string
	// Advertise is the address at which servers and other workers reach it; empty: where it listens.
	Advertise string
	// Name is unique in the cluster; empty: the host's name.
	Name string
	// Servers are the servers' addresses, host:port, any of which may lead.
	Servers []string
	// MemoryBytes is what labs may take in all; 0: three quarters of the machine's memory.
	MemoryBytes uint64
	// Security is nil without TLS.
	Security port.Security
	// Connect makes the connections to servers and other workers; nil: TCP.
	Connect func(ctx context.Context, address string) (net.Conn, error)
	// Logger hears what goes on; nil: nobody does.
	Logger *slog.Logger
}

// Worker is a running worker of a cluster.
type Worker struct {
	conf   WorkerConfig
	log    *slog.Logger
	data   *dataDir
	dialer *port.Dialer
	port   *port.Port
	worker *worker.Worker
	server *grpc.Server
	tasks  sync.WaitGroup
	cancel context.CancelFunc // ends its registration
	gone   chan struct{}      // closed when it is registered no more
	err    error              // why; read after gone is closed
	next   int                // the server that is tried next
}

// StartWorker brings a worker up. It returns when the worker serves; it registers, and goes on trying to, beside.
func StartWorker(conf WorkerConfig) (*Worker, error) {
	if conf.Logger == nil {
		conf.Logger = slog.New(slog.DiscardHandler)
	}
	if len(conf.Servers) == 0 {
		return nil, errors.New("a worker needs the address of a server")
	}
	w := &Worker{conf: conf, log: conf.Logger, dialer: &port.Dialer{Security: conf.Security, Connect: conf.Connect}, gone: make(chan struct{})}
	if err := w.start(); err != nil {
		close(w.gone)
		return nil, errors.Join(err, w.Stop(context.Background()))
	}
	return w, nil
}

func (w *Worker) start() (err error) {
	if w.data, err = openDataDir(w.conf.DataDir); err != nil {
		return err
	}
	if err := CheckListen(w.conf.Listen, w.conf.Security); err != nil {
		return err
	}
	if w.port, err = port.Listen(w.conf.Listen, port.Config{Security: w.conf.Security, Logger: w.log}); err != nil {
		return fmt.Errorf("cannot listen at %s: %w", w.conf.Listen, err)
	}
	root := w.data.path("worker")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	if w.worker, err = worker.New(worker.Config{Root: root, Version: version.String(), Leased: true, Logger: w.log,
		DialFrames: func(ctx context.Context, address string) (net.Conn, error) {
			return w.dialer.Dial(ctx, address, port.Frames)
		}}); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	member, err := w.member()
	if err != nil {
		return err
	}
	w.server = newWorkerServer(w.worker, w.log, grpc.Creds(port.Credentials(nil)))
	w.tasks.Go(func() {
		if err := w.server.Serve(w.port.Listener(port.HTTP2)); err != nil {
			w.log.Error("the worker no longer serves", "error", err)
		}
	})
	w.tasks.Go(w.serveFrames)
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	w.tasks.Go(func() {
		defer close(w.gone)
		w.err = w.worker.Serve(ctx, member)
	})
	return nil
}

// serveFrames takes the connections on which other workers send the frames of labs that are split.
func (w *Worker) serveFrames() {
	frames := w.port.Listener(port.Frames)
	for {
		conn, err := frames.Accept()
		if err != nil {
			return
		}
		w.tasks.Go(func() { w.worker.ServeFrames(conn) })
	}
}

// member is as who the worker registers.
func (w *Worker) member() (worker.Member, error) {
	id, err := w.data.readOrMake("worker-id", rand.Text)
	if err != nil {
		return worker.Member{}, err
	}
	cluster, err := os.ReadFile(w.data.path(clusterFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return worker.Member{}, fmt.Errorf("data directory: %w", err)
	}
	hello := &workerv1.WorkerHello{WorkerId: id, Instance: rand.Text(), Name: w.conf.Name,
		ClusterId: strings.TrimSpace(string(cluster)), Version: version.String(), MemoryBytes: w.conf.MemoryBytes, Cores: uint32(runtime.GOMAXPROCS(0))}
	if hello.Address, err = AdvertisedAt(w.conf.Advertise, w.port.Addr()); err != nil {
		return worker.Member{}, err
	}
	if hello.Name == "" {
		if hello.Name, err = defaultName(hello.Address, id); err != nil {
			return worker.Member{}, err
		}
	}
	if hello.MemoryBytes == 0 {
		hello.MemoryBytes = machineMemory() / 4 * 3
	}
	return worker.Member{Hello: hello, Connect: w.connect, Joined: func(cluster string) error {
		return w.data.keep(clusterFile, cluster)
	}}, nil
}

// defaultName is the host's name, and part of the worker's id where it can be reached on this host alone: then others on the
// same host are to be told apart from it.
func defaultName(address, id string) (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("the worker's name: %w", err)
	}
	name, _, _ := strings.Cut(strings.ToLower(host), ".")
	if at, err := netip.ParseAddrPort(address); err == nil && at.Addr().IsLoopback() {
		name += "-" + strings.ToLower(id[:4])
	}
	return name, nil
}

// connect makes the way to the next server in turn.
func (w *Worker) connect(context.Context) (workerv1.RegistryServiceClient, io.Closer, error) {
	address := w.conf.Servers[w.next%len(w.conf.Servers)]
	w.next++
	conn, err := dialDaemon(w.dialer, address)
	if err != nil {
		return nil, nil, err
	}
	return workerv1.NewRegistryServiceClient(conn), conn, nil
}

// Addr is where the worker's port is.
func (w *Worker) Addr() string { return w.port.Addr().String() }

// DataDir is where everything is kept.
func (w *Worker) DataDir() string { return w.data.dir }

// Failed is closed when no server takes the worker as it is, and Err tells why.
func (w *Worker) Failed() <-chan struct{} { return w.gone }

// Err tells why Failed was closed.
func (w *Worker) Err() error { return w.err }

// Stop stops the worker's labs, tells the leader that it goes, and closes what it has written. The wait for the leader is
// bounded by itself.
func (w *Worker) Stop(context.Context) error {
	if w.cancel != nil {
		w.cancel()
	}
	<-w.gone
	var errs []error
	if w.server != nil {
		w.server.Stop()
	}
	if w.port != nil {
		errs = append(errs, w.port.Close())
	}
	w.tasks.Wait()
	if w.worker != nil {
		errs = append(errs, w.worker.Close())
	}
	if w.data != nil {
		errs = append(errs, w.data.close())
	}
	return errors.Join(errs...)
}

// machineMemory is the memory of the machine, or of the control group that this process is in; 0: not known.
func machineMemory() uint64 {
	var least uint64
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/proc/meminfo"} {
		b, err := os.ReadFile(filepath.FromSlash(path))
		if err != nil {
			continue
		}
		if n := memoryIn(string(b)); n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}

// memoryIn reads an amount of memory out of a control group's limit, in bytes, or of /proc/meminfo, in kB; 0: there is none.
func memoryIn(text string) uint64 {
	var n uint64
	if _, err := fmt.Sscanf(text, "MemTotal: %d kB", &n); err == nil {
		return n << 10
	}
	if _, err := fmt.Sscanf(text, "%d", &n); err != nil {
		return 0
	}
	return n
}
