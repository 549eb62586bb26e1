package orchestrator

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"labd.dev/orchestrator/raftnet"
	workerv1 "labd.dev/proto/worker/v1"
)

// bubble is a cluster of three servers and three workers in a synctest bubble: all in memory, on the bubble's clock.
type bubble struct {
	t         *testing.T
	how       breakage
	rng       *rand.Rand // of faults; they come one at a time
	began     time.Time
	ways      *ways
	runs      *runs
	losses    losses
	servers   []*bubbleServer
	disks     []*memDisk // all that ever were
	workers   map[string]bubbleWorker
	instances int  // processes that have been started
	real      bool // the workers are node/worker's
	lost      bool // a disk is lost in this schedule
	compacts  bool // servers write their state out all the time, and cut their logs
	tags      int  // of inputs that nobody may take
	stale     []staleJournal

	mu       sync.Mutex // guards what is below
	words    []string   // what has happened, for people
	problems []string
	seen     map[string]int // how often what has happened
	stirred  chan struct{}  // closed when a fault comes or goes
}

// bubbleServer is one server: its disk outlives its process.
type bubbleServer struct {
	c       *bubble
	address string
	id      string
	cluster Membership
	files   string
	disk    *memDisk
	jumped  atomic.Int64 // its wall clock's error, ns

	mu      sync.Mutex // guards what is below
	up      bool
	control *Controller
	conns   map[string]*grpc.ClientConn // to the other servers
	server  *grpc.Server
	all     sync.WaitGroup
}

// bubbleLease is the workers' lease here.
const bubbleLease = 4 * time.Second

func newBubble(t *testing.T, rng *rand.Rand, how breakage, real bool) *bubble {
	c := &bubble{t: t, how: how, rng: rng, began: time.Now(), ways: newWays(), runs: newRuns(), workers: make(map[string]bubbleWorker), real: real,
		seen: make(map[string]int), stirred: make(chan struct{})}
	c.ways.set("client:1", &end{})
	for _, name := range []string{"a", "b", "c"} {
		s := &bubbleServer{c: c, address: name + ":7070", id: "id-" + name, disk: c.newDisk(), files: t.TempDir()}
		c.servers = append(c.servers, s)
	}
	for _, s := range c.servers {
		s.start()
	}
	for _, name := range []string{"w1", "w2", "w3"} {
		c.startWorker(name)
	}
	return c
}

// say keeps what happens in words.
func (c *bubble) say(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.words = append(c.words, fmt.Sprintf("%9.3fs  %s", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...)))
}

// complain keeps a problem.
func (c *bubble) complain(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// saw counts what a schedule has brought about.
func (c *bubble) saw(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[what]++
}

// stir has all clients make a call now: what is wrong with a cluster shows when a fault comes or goes, in what is under way then and
// in what comes next.
func (c *bubble) stir() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.stirred)
	c.stirred = make(chan struct{})
}

// rest waits, or until the clients are stirred.
func (c *bubble) rest(ctx context.Context, d time.Duration) {
	c.mu.Lock()
	stirred := c.stirred
	c.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-stirred:
	case <-ctx.Done():
	}
}

func (c *bubble) history() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.words, "\n")
}

func (c *bubble) addresses() []string {
	var list []string
	for _, s := range c.servers {
		list = append(list, s.address)
	}
	return list
}

func (c *bubble) close() {
	for _, w := range c.workers {
		w.kill()
	}
	for _, s := range c.servers {
		s.kill()
	}
	time.Sleep(time.Minute) // gRPC's connections take leave of each other in goroutines of their own
}

// leader is the server that leads, as far as anybody can tell; nil: none does.
func (c *bubble) leader() *bubbleServer {
	for _, s := range c.servers {
		s.mu.Lock()
		leads := s.up && s.control.leading() != nil
		s.mu.Unlock()
		if leads {
			return s
		}
	}
	return nil
}

func (s *bubbleServer) start() {
	_, mem := raft.NewInmemTransportWithTimeout(raft.ServerAddress(s.address), 2*time.Second)
	pipe := bufconn.Listen(1 << 16)
	s.conns = make(map[string]*grpc.ClientConn)
	conf := Config{FilesDir: s.files, ServerID: s.id, DialWorker: s.dialWorker, Lease: bubbleLease, Version: "test", Logger: testLogger(),
		Now: func() time.Time { return time.Now().Add(time.Duration(s.jumped.Load())) },
		Cluster: &Cluster{Belongs: s.cluster, Keep: func(of Membership) error { s.cluster = of; return nil }, Advertise: s.address, Expect: 3,
			Join: s.c.addresses(), Connect: s.connect, Timing: Timing{Stable: time.Second},
			Transport: func(raftnet.Identity) raft.Transport {
				return &raftWay{InmemTransport: mem, ways: s.c.ways, from: s.address, how: s.c.how}
			}}}
	s.c.ways.set(s.address, &end{raft: mem, id: raft.ServerID(s.id), accept: func(ctx context.Context) (net.Conn, error) { return pipe.DialContext(ctx) }})
	disk, err := s.disk.open()
	if err != nil {
		s.c.t.Fatal(err)
	}
	control, err := openOn(disk, conf)
	if err != nil {
		s.c.t.Fatal(err)
	}
	inner := control.StaleUnary
	if s.c.how == unverified {
		inner = trusting(control)
	}
	s.server = grpc.NewServer(grpc.ChainUnaryInterceptor(StatusUnary, control.ForwardUnary, anybodyUnary, inner),
		grpc.ChainStreamInterceptor(StatusStream, control.ForwardStream, anybodyStream))
	control.Register(s.server)
	control.RegisterPeers(s.server)
	control.RegisterRegistry(s.server)
	server := s.server
	s.all.Go(func() { server.Serve(pipe) })
	s.mu.Lock()
	s.control, s.up = control, true
	s.mu.Unlock()
}

const (
	// compactEvery is how often servers that compact write their state out.
	compactEvery = time.Second
	// keptBehind is how many entries a log keeps that has been cut.
	keptBehind = 4
	// keptOnCutWays is how many it keeps while ways are cut, and until the servers have heard of each other again. A follower's
	// answers may be lost then, and Raft's leader never gets to a follower that has cut off entries which the leader has not
	// heard that it has. There may be less of these under way than the 10,240 that labd keeps.
	keptOnCutWays = 1000
	heardAgain    = 5 * time.Second
)

// compact has the server write its state out, and cut its log down to the last few entries.
func (s *bubbleServer) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up {
		return
	}
	r := s.control.node.raft
	conf := r.ReloadableConfig()
	conf.TrailingLogs = keptBehind
	if s.c.ways.wholeFor() < heardAgain {
		conf.TrailingLogs = keptOnCutWays
	}
	if err := r.ReloadConfig(conf); err != nil {
		s.c.complain("%v", err)
	}
	s.all.Go(func() { r.Snapshot() }) // which may have to wait for one that is being written
}

// keepCompacting has all servers do so again and again, where the schedule is one of these.
func (c *bubble) keepCompacting(ctx context.Context) {
	for c.compacts && ctx.Err() == nil {
		for _, s := range c.servers {
			s.compact()
		}
		pause(ctx, compactEvery)
	}
}

// kill ends the server's process without its having a chance to say so; its disk stays.
func (s *bubbleServer) kill() {
	s.mu.Lock()
	up := s.up
	s.up = false
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	if !up {
		return
	}
	s.disk.powerOff(s.c.rng)
	s.c.ways.set(s.address, nil)
	for _, conn := range conns {
		conn.Close()
	}
	s.server.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.control.Close(ctx); err != nil {
		s.c.t.Errorf("close %s: %v", s.address, err)
	}
	s.all.Wait()
}

// lose empties the disk of a server that is not up: it comes back as another one, at the same address.
func (s *bubbleServer) lose() {
	s.c.instances++
	s.id, s.cluster, s.disk = fmt.Sprintf("%s-%d", s.id, s.c.instances), Membership{}, s.c.newDisk()
}

func (s *bubbleServer) connect(address string) (grpc.ClientConnInterface, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return nil, errCut // the process has been killed
	}
	if conn := s.conns[address]; conn != nil {
		return conn, nil
	}
	conn, err := s.c.grpc(s.address, address)
	if err == nil {
		s.conns[address] = conn
	}
	return conn, err
}

func (s *bubbleServer) dialWorker(address string) (workerv1.WorkerServiceClient, io.Closer, error) {
	conn, err := s.c.grpc(s.address, address)
	return workerv1.NewWorkerServiceClient(conn), conn, err
}
