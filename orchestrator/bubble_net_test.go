package orchestrator

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Servers and workers of a proof reach each other over memory, on the bubble's clock. Every way from one to another has a
// delay, and can be cut by itself.

// errCut is what a call over a cut way comes to.
var errCut = errors.New("no route to host")

// ways is the network between the parts of a proof's cluster, by address.
type ways struct {
	installs atomic.Int64 // snapshots that one server has sent to another

	mu     sync.Mutex        // guards what is below
	cut    map[[2]string]int // how many faults cut the way
	mended chan struct{}     // closed when a way is there again
	whole  time.Time         // since when none is cut, if none is
	conns  map[*wayConn]bool
	ends   map[string]*end
}

// end is what listens at an address.
type end struct {
	accept func(ctx context.Context) (net.Conn, error)
	raft   *raft.InmemTransport // nil: a worker's
	id     raft.ServerID        // what is meant for another is not heard, as raftnet sees to it
}

// wayDelay is the delay of each way: a call over it takes time, so that others come in between.
const wayDelay = 2 * time.Millisecond

func newWays() *ways {
	return &ways{cut: make(map[[2]string]int), mended: make(chan struct{}), conns: make(map[*wayConn]bool), ends: make(map[string]*end)}
}

// set puts what listens at an address, nil: nothing. What was connected to what was there breaks.
func (w *ways) set(address string, e *end) {
	w.mu.Lock()
	w.ends[address] = e
	for a, o := range w.ends {
		if o == nil || o.raft == nil || e == nil || e.raft == nil || a == address {
			continue
		}
		o.raft.Connect(raft.ServerAddress(address), e.raft)
		e.raft.Connect(raft.ServerAddress(a), o.raft)
	}
	broken := w.taken(func(c *wayConn) bool { return c.from == address || c.to == address })
	w.mu.Unlock()
	hangUp(broken)
}

// sever cuts the way from one address to another. What is under way on a connection waits until the way is there again,
// as over a network that drops packets; or, where that tells of it, connections between the two break.
func (w *ways) sever(from, to string, tells bool) {
	w.mu.Lock()
	w.cut[[2]string{from, to}]++
	var broken []*wayConn
	if tells {
		broken = w.taken(func(c *wayConn) bool { return c.from == from && c.to == to || c.from == to && c.to == from })
	}
	w.mu.Unlock()
	hangUp(broken)
}

func (w *ways) mend(from, to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	way := [2]string{from, to}
	if w.cut[way]--; w.cut[way] > 0 {
		return
	}
	delete(w.cut, way)
	w.whole = time.Now()
	close(w.mended)
	w.mended = make(chan struct{})
}

// wholeFor tells for how long no way has been cut.
func (w *ways) wholeFor() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.cut) > 0 {
		return 0
	}
	return time.Since(w.whole)
}

// passable waits until there is a way in the one direction, or gone is closed.
func (w *ways) passable(from, to string, gone <-chan struct{}) error {
	for {
		w.mu.Lock()
		cut, mended := w.cut[[2]string{from, to}] > 0, w.mended
		w.mu.Unlock()
		if !cut {
			return nil
		}
		select {
		case <-mended:
		case <-gone:
			return net.ErrClosed
		}
	}
}

// taken takes connections out. The caller holds mu.
func (w *ways) taken(which func(*wayConn) bool) []*wayConn {
	var list []*wayConn
	for c := range w.conns {
		if which(c) {
			list = append(list, c)
			delete(w.conns, c)
		}
	}
	return list
}

func hangUp(conns []*wayConn) {
	for _, c := range conns {
		c.hangUp()
	}
}

// open tells whether the way between two addresses is there in the one direction.
func (w *ways) open(from, to string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut[[2]string{from, to}] == 0 && w.ends[to] != nil && w.ends[from] != nil
}

// is tells whether the server at an address is the one that is meant.
func (w *ways) is(address string, id raft.ServerID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ends[address] != nil && w.ends[address].id == id
}

// wayConn is a connection that knows whose it is, at the end of who has made it.
type wayConn struct {
	net.Conn
	ways     *ways
	from, to string
	once     sync.Once
	gone     chan struct{}
}

func (c *wayConn) hangUp() {
	c.once.Do(func() { close(c.gone) })
	c.Conn.Close()
}

func (c *wayConn) Close() error {
	c.ways.mu.Lock()
	delete(c.ways.conns, c)
	c.ways.mu.Unlock()
	c.hangUp()
	return nil
}

// Write gives what it is given after the way's delay.
func (c *wayConn) Write(p []byte) (int, error) {
	time.Sleep(wayDelay)
	if err := c.ways.passable(c.from, c.to, c.gone); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *wayConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil {
		err = c.ways.passable(c.to, c.from, c.gone)
	}
	if err != nil {
		n = 0
	}
	return n, err
}

// dial connects two addresses.
func (w *ways) dial(ctx context.Context, from, to string) (net.Conn, error) {
	w.mu.Lock()
	e := w.ends[to]
	there := e != nil && w.ends[from] != nil && w.cut[[2]string{from, to}]+w.cut[[2]string{to, from}] == 0
	w.mu.Unlock()
	if !there {
		return nil, errCut
	}
	conn, err := e.accept(ctx)
	if err != nil {
		return nil, err
	}
	c := &wayConn{Conn: conn, ways: w, from: from, to: to, gone: make(chan struct{})}
	w.mu.Lock()
	w.conns[c] = true
	w.mu.Unlock()
	if !w.open(from, to) || !w.open(to, from) { // it was cut meanwhile
		c.Close()
		return nil, errCut
	}
	return c, nil
}

// raftWay is Raft's transport over the ways: a call, or only its answer, may be lost.
type raftWay struct {
	*raft.InmemTransport
	ways *ways
	from string
	how  breakage
}

func (r *raftWay) call(id raft.ServerID, to raft.ServerAddress, do func() error) error {
	time.Sleep(wayDelay)
	if !r.ways.open(r.from, string(to)) || !r.ways.is(string(to), id) {
		time.Sleep(10 * wayDelay) // it is not refused, it stays away
		return errCut
	}
	if err := do(); err != nil {
		return err
	}
	time.Sleep(wayDelay)
	if !r.ways.open(string(to), r.from) {
		return errCut
	}
	return nil
}

// AppendEntriesPipeline has Raft do without: it changes nothing but the speed.
func (r *raftWay) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

func (r *raftWay) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return r.believes(args, resp, r.call(id, to, func() error { return r.InmemTransport.AppendEntries(id, to, args, resp) }))
}

func (r *raftWay) RequestVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return r.call(id, to, func() error { return r.InmemTransport.RequestVote(id, to, args, resp) })
}

func (r *raftWay) RequestPreVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return r.call(id, to, func() error { return r.InmemTransport.RequestPreVote(id, to, args, resp) })
}

func (r *raftWay) InstallSnapshot(id raft.ServerID, to raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	r.ways.installs.Add(1)
	return r.call(id, to, func() error { return r.InmemTransport.InstallSnapshot(id, to, args, resp, data) })
}

func (r *raftWay) TimeoutNow(id raft.ServerID, to raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return r.call(id, to, func() error { return r.InmemTransport.TimeoutNow(id, to, args, resp) })
}
