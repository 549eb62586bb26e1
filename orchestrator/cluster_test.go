package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"labd.dev/internal/runbook"
	"labd.dev/orchestrator/raftnet"
	labv1 "labd.dev/proto/lab/v1"
)

// testTiming is short, and long enough for a machine under load.
var testTiming = Timing{Heartbeat: 200 * time.Millisecond, Election: 200 * time.Millisecond, Lease: 200 * time.Millisecond,
	Probe: 2 * time.Second, Look: 20 * time.Millisecond, Stable: time.Millisecond, LeaderWait: 20 * time.Second}

// network is what the servers of a test reach each other over: all in memory, and each way can be cut.
type network struct {
	t     *testing.T
	heard *runbook.Log // of all its servers

	mu      sync.Mutex // guards what is below
	members map[string]*member
	cut     map[[2]string]bool // from, to
}

// member is one server of a test's cluster, at an address of its own.
type member struct {
	t        *testing.T
	net      *network
	address  string
	dir      string // of Raft's log; empty: in memory
	id       string
	cluster  Membership
	expect   int
	join     []string
	timing   Timing
	worker   *fakeWorker
	raft     *raft.InmemTransport
	control  *Controller
	server   *grpc.Server
	pipe     *bufconn.Listener
	done     chan error
	outside  *grpc.ClientConn            // as a client has it
	links    map[string]*grpc.ClientConn // to the others; guarded by network.mu
	stopped  bool
	apart    bool // its Raft is not for the others, nor theirs for it: raftnet would not let them speak
	filesDir string
}

func newNetwork(t *testing.T) *network {
	return &network{t: t, heard: &runbook.Log{}, members: make(map[string]*member), cut: make(map[[2]string]bool)}
}

// server prepares a server; start starts it.
func (n *network) server(id, address string, expect int, join ...string) *member {
	return &member{t: n.t, net: n, id: id, address: address, expect: expect, join: join, timing: testTiming, filesDir: n.t.TempDir()}
}

func (m *member) start() *member {
	m.t.Helper()
	if err := m.tryStart(); err != nil {
		m.t.Fatal(err)
	}
	return m
}

func (m *member) tryStart() error {
	m.worker, m.stopped = newFakeWorker(), false
	m.links = make(map[string]*grpc.ClientConn)
	_, m.raft = raft.NewInmemTransportWithTimeout(raft.ServerAddress(m.address), time.Second)
	conf := Config{FilesDir: m.filesDir, RaftDir: m.dir, ServerID: m.id, Worker: m.worker.connect(m.t), WorkerName: "w-" + m.address[:1], Lease: 400 * time.Millisecond, Version: "test",
		Logger: slog.New(slog.NewMultiHandler(testLogger().Handler(), m.net.heard.Logger().Handler())),
		Cluster: &Cluster{Belongs: m.cluster, Keep: func(of Membership) error { m.cluster = of; return nil }, Advertise: m.address,
			Expect: m.expect, Join: m.join, Timing: m.timing, Connect: m.connect,
			Transport: func(raftnet.Identity) raft.Transport { return m.raft }}}
	m.pipe = bufconn.Listen(1 << 16)
	m.net.add(m)
	c, err := Open(conf)
	if err != nil {
		m.stopped = true
		return err
	}
	m.control = c
	m.server = grpc.NewServer(grpc.ChainUnaryInterceptor(StatusUnary, c.ForwardUnary, anybodyUnary, c.StaleUnary),
		grpc.ChainStreamInterceptor(StatusStream, c.ForwardStream, anybodyStream))
	c.Register(m.server)
	c.RegisterPeers(m.server)
	m.done = make(chan error, 1)
	go func() { m.done <- m.server.Serve(m.pipe) }()
	m.outside = dialTest(m.t, m.pipe)
	m.t.Cleanup(m.stop)
	return nil
}

func testLogger() *slog.Logger {
	if os.Getenv("LABD_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// add makes a server reachable for the others.
func (n *network) add(m *member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.members[m.address] = m
	n.wire()
}

// wire connects the Raft of servers between which no way is cut.
func (n *network) wire() {
	for _, a := range n.members {
		a.raft.DisconnectAll()
		for _, b := range n.members {
			if a != b && !a.stopped && !b.stopped && !a.apart && !b.apart && !n.cut[[2]string{a.address, b.address}] {
				a.raft.Connect(raft.ServerAddress(b.address), b.raft)
			}
		}
	}
}

// part cuts every way between two groups of servers; heal mends them all.
func (n *network) part(a, b []*member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range a {
		for _, y := range b {
			n.cut[[2]string{x.address, y.address}], n.cut[[2]string{y.address, x.address}] = true, true
		}
	}
	n.wire()
	n.hangUp()
}

func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = make(map[[2]string]bool)
	n.wire()
	n.hangUp()
}

// hangUp breaks the connections between servers.
func (n *network) hangUp() {
	for _, m := range n.members {
		for address, conn := range m.links {
			conn.Close()
			delete(m.links, address)
		}
	}
}

// connect gives a server the way to another.
func (m *member) connect(address string) (grpc.ClientConnInterface, error) {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	if conn := m.links[address]; conn != nil {
		return conn, nil
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return m.net.dial(ctx, m.address, address) }))
	if err == nil {
		m.links[address] = conn
	}
	return conn, err
}

func (n *network) dial(ctx context.Context, from, to string) (net.Conn, error) {
	n.mu.Lock()
	m := n.members[to]
	away := m == nil || m.stopped || n.cut[[2]string{from, to}]
	n.mu.Unlock()
	if away {
		return nil, errors.New("connection refused")
	}
	return m.pipe.DialContext(ctx)
}

// stop ends a server as SIGTERM does.
func (m *member) stop() {
	if m.stopped || m.control == nil {
		return
	}
	m.outside.Close()
	if err := m.control.Close(context.Background()); err != nil {
		m.t.Errorf("stop %s: %v", m.address, err)
	}
	m.away()
}

// away takes a server off the network.
func (m *member) away() {
	m.net.mu.Lock()
	m.stopped = true
	m.net.wire()
	for _, conn := range m.links {
		conn.Close()
	}
	m.net.mu.Unlock()
	m.server.Stop()
	if err := <-m.done; err != nil {
		m.t.Error(err)
	}
}

// kill ends a server without its having a chance to say so.
func (m *member) kill() {
	m.net.mu.Lock()
	m.stopped = true
	m.net.wire()
	m.net.mu.Unlock()
	m.outside.Close()
	m.server.Stop()
	m.net.mu.Lock()
	m.stopped = false
	m.net.mu.Unlock()
	m.stop()
}

func (m *member) labs() labv1.LabServiceClient      { return labv1.NewLabServiceClient(m.outside) }
func (m *member) admin() labv1.ClusterServiceClient { return labv1.NewClusterServiceClient(m.outside) }
func (m *member) watches() labv1.WatchServiceClient { return labv1.NewWatchServiceClient(m.outside) }
func (m *member) files() labv1.FileServiceClient    { return labv1.NewFileServiceClient(m.outside) }
func (m *member) moves() labv1.TransferServiceClient {
	return labv1.NewTransferServiceClient(m.outside)
}
func (m *member) create(id, name string) (*labv1.CreateLabResponse, error) {
	return m.labs().CreateLab(m.t.Context(), &labv1.CreateLabRequest{RequestId: id, Spec: testSpec(name)})
}

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("in vain: %s\n%s", what, buf[:runtime.Stack(buf, os.Getenv("LABD_TEST_LOG") != "")])
		}
	}
}

// three founds a cluster of three servers.
func three(t *testing.T) (*network, []*member) {
	t.Helper()
	n := newNetwork(t)
	var all []*member
	for _, id := range []string{"a", "b", "c"} {
		all = append(all, n.server("id-"+id, id+":7070", 3, "a:7070", "b:7070", "c:7070").start())
	}
	leaderOf(t, all)
	return n, all
}

// leaderOf waits until one of the servers leads and all of them know so.
func leaderOf(t *testing.T, all []*member) *member {
	t.Helper()
	var leader *member
	eventually(t, "a leader", func() bool {
		leader = nil
		for _, m := range all {
			if m.control.leading() != nil {
				leader = m
			}
		}
		for _, m := range all {
			if id, _ := m.control.Leader(); leader == nil || id != leader.id {
				return false
			}
		}
		return true
	})
	return leader
}

func others(all []*member, not *member) []*member {
	var rest []*member
	for _, m := range all {
		if m != not {
			rest = append(rest, m)
		}
	}
	return rest
}

// votes tells whether a server is a voter, as another one knows it.
func (m *member) sees(id string, suffrage raft.ServerSuffrage) bool {
	for _, s := range m.control.servers() {
		if string(s.ID) == id && s.Suffrage == suffrage {
			return true
		}
	}
	return false
}

// Servers find each other by what they join, the set founds a cluster once, and one that comes later is taken in: first
// without a vote, and with one when it has caught up.
func TestClusterForms(t *testing.T) {
	n := newNetwork(t)
	// Nobody knows all of the others.
	a := n.server("id-a", "a:7070", 3, "b:7070").start()
	b := n.server("id-b", "b:7070", 3, "c:7070").start()
	if _, err := a.labs().ListLabs(staleContext(t), &labv1.ListLabsRequest{}); err != nil {
		t.Errorf("a stale read before there is a cluster: %v", err)
	}
	h, err := a.admin().GetHealth(t.Context(), &labv1.GetHealthRequest{})
	if err != nil || h.GetWritable() || h.GetReason() == "" {
		t.Errorf("health before there is a cluster: %v %v", h, err)
	}
	c := n.server("id-c", "c:7070", 3, "a:7070").start()
	all := []*member{a, b, c}
	leader := leaderOf(t, all)
	for _, m := range all {
		eventually(t, m.address+" has kept that it is of the cluster", func() bool {
			return m.control.identity.membership() == Membership{"id-a", StageMember}
		})
		if got := len(m.control.servers()); got != 3 {
			t.Errorf("%s knows %d servers", m.address, got)
		}
	}
	late := n.server("id-d", "d:7070", 3, "b:7070").start()
	eventually(t, "the late server votes", func() bool { return leader.sees("id-d", raft.Voter) })
	if late.control.ClusterID() != "id-a" {
		t.Errorf("the late server belongs to %q", late.control.ClusterID())
	}
	if _, err := late.create("r1", "x"); err != nil {
		t.Errorf("a write at the late server: %v", err)
	}
}

// A server that does not lead hands calls on: unary ones and streams, in both directions.
func TestFollowersForward(t *testing.T) {
	_, all := three(t)
	leader := leaderOf(t, all)
	for i, m := range all {
		name := fmt.Sprintf("lab%d", i)
		if _, err := m.create(name, name); err != nil {
			t.Fatalf("create at %s: %v", m.address, err)
		}
		// What was acknowledged there is seen everywhere at once.
		for _, o := range all {
			if _, err := o.labs().GetLab(t.Context(), &labv1.GetLabRequest{Lab: name}); err != nil {
				t.Errorf("%s, created at %s, read at %s: %v", name, m.address, o.address, err)
			}
		}
	}
	follower := others(all, leader)[0]
	// Whoever was handed on is told who leads; whoever asks there is not.
	for m, want := range map[*member][]string{follower: {leader.address}, leader: nil} {
		var md metadata.MD
		_, err := m.labs().GetLab(t.Context(), &labv1.GetLabRequest{Lab: "lab0"}, grpc.Header(&md))
		if got := md.Get(leaderHeader); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s names %v as the leader, want %v (%v)", m.address, got, want, err)
		}
	}
	stream, err := follower.watches().WatchLabs(t.Context(), &labv1.WatchLabsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || len(m.GetLabs()) != 3 {
		t.Errorf("watch through a follower: %v %v", m, err)
	}
	// Without the hop that forwards, a server that does not lead says so.
	ctx := metadata.AppendToOutgoingContext(t.Context(), forwardedHeader, "id-x")
	_, err = follower.labs().ListLabs(ctx, &labv1.ListLabsRequest{})
	wantReason(t, err, codes.Unavailable, "NOT_LEADER")
	_, err = follower.create("again", "lab0")
	wantReason(t, err, codes.AlreadyExists, "LAB_EXISTS")
}

func staleContext(t *testing.T) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), staleHeader, "true")
}

// The leader dies: another one takes over, knows all that was acknowledged, and carries no request out twice.
func TestLeaderDies(t *testing.T) {
	_, all := three(t)
	leader := leaderOf(t, all)
	created, err := leader.create("r1", "x")
	if err != nil {
		t.Fatal(err)
	}
	rest := others(all, leader)
	leader.kill()
	leaderOf(t, rest)
	for _, m := range rest {
		var again *labv1.CreateLabResponse
		eventually(t, "an answer", func() bool {
			again, err = m.create("r1", "x")
			return status.Code(err) != codes.Unavailable // a busy machine may elect once more meanwhile
		})
		if err != nil || again.GetLab().GetId() != created.GetLab().GetId() {
			t.Fatalf("the same request at %s: %v %v, want %v", m.address, again, err, created)
		}
	}
}

// Stopping is not leaving: a server that was stopped comes back as the one it was.
func TestStopHandsOver(t *testing.T) {
	n := newNetwork(t)
	var all []*member
	for _, id := range []string{"a", "b", "c"} {
		m := n.server("id-"+id, id+":7070", 3, "a:7070", "b:7070", "c:7070")
		m.dir = filepath.Join(t.TempDir(), id)
		all = append(all, m)
	}
	for _, m := range all {
		m.start()
	}
	leader := leaderOf(t, all)
	if _, err := leader.create("r1", "x"); err != nil {
		t.Fatal(err)
	}
	rest := others(all, leader)
	for _, m := range rest {
		patient := m.control.node.raft.ReloadableConfig()
		patient.HeartbeatTimeout, patient.ElectionTimeout = time.Hour, time.Hour // it would not miss its leader: that has to hand over
		if err := m.control.node.raft.ReloadConfig(patient); err != nil {
			t.Fatal(err)
		}
	}
	leader.stop()
	leaderOf(t, rest)
	if got := len(rest[0].control.servers()); got != 3 {
		t.Errorf("%d servers are left after one has stopped", got)
	}
	leader.start()
	leaderOf(t, all)
	if _, err := leader.labs().GetLab(t.Context(), &labv1.GetLabRequest{Lab: "x"}); err != nil {
		t.Error(err)
	}
}

// A minority changes nothing and says why; it reads only for who asks for stale reads.
func TestMinority(t *testing.T) {
	n, all := three(t)
	leader := leaderOf(t, all)
	if _, err := leader.create("r1", "x"); err != nil {
		t.Fatal(err)
	}
	rest := others(all, leader)
	eventually(t, "all have applied it", func() bool {
		for _, m := range all {
			if m.control.store.view().labNamed("", "x") == nil {
				return false
			}
		}
		return true
	})
	alone := rest[0]
	n.part([]*member{alone}, []*member{leader, rest[1]})
	alone.control.conf.Cluster.Timing.LeaderWait = time.Millisecond
	var err error
	eventually(t, "it misses the leader", func() bool {
		_, err = alone.create("r2", "y")
		return err != nil && status.Convert(err).Code() == codes.Unavailable && reasonIn(err) == "NO_QUORUM"
	})
	for _, want := range []string{"reaches 1 of 3 servers", "a majority is 2", leader.address, rest[1].address} {
		wantText(t, err, want)
	}
	runbook.Says(t, "the majority of the servers is away", err.Error())
	_, err = alone.labs().GetLab(t.Context(), &labv1.GetLabRequest{Lab: "x"})
	wantReason(t, err, codes.Unavailable, "NO_QUORUM")
	var header metadata.MD
	got, err := alone.labs().GetLab(staleContext(t), &labv1.GetLabRequest{Lab: "x"}, grpc.Header(&header))
	if err != nil || got.GetLab().GetName() != "x" || len(header.Get(ageHeader)) != 1 || len(header.Get(appliedHeader)) != 1 {
		t.Errorf("a stale read: %v %v %v", got, err, header)
	}
	_, err = alone.moves().ListTransfers(staleContext(t), &labv1.ListTransfersRequest{})
	wantReason(t, err, codes.FailedPrecondition, "STALE_REFUSED")
	h, err := alone.admin().GetHealth(t.Context(), &labv1.GetHealthRequest{})
	if err != nil || h.GetWritable() || h.GetVoters() != 3 || h.GetReachableVoters() != 1 || h.GetReason() == "" {
		t.Errorf("health: %v %v", h, err)
	}
	if _, err := rest[1].create("r3", "z"); err != nil {
		t.Errorf("a write at the majority: %v", err)
	}
	n.heal()
	leaderOf(t, all)
	alone.control.conf.Cluster.Timing.LeaderWait = testTiming.LeaderWait
	if _, err := alone.labs().GetLab(t.Context(), &labv1.GetLabRequest{Lab: "z"}); err != nil {
		t.Errorf("after the partition: %v", err)
	}
}

func wantText(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(status.Convert(err).Message(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
}
