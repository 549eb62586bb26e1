package orchestrator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// Config says what a Controller is made of.
type Config struct {
	// RaftDir holds the log and the snapshots; empty: they are kept in memory and gone with the Controller.
	RaftDir string
	// FilesDir holds uploaded content.
	FilesDir string
	// ServerID names this server in Raft, the same at each start.
	ServerID string
	// Worker hosts labs in this process; nil: none does. WorkerName is its name.
	Worker     workerv1.WorkerServiceClient
	WorkerName string
	// DialWorker makes the way to a worker that has registered, at the address that it gave.
	DialWorker func(address string) (workerv1.WorkerServiceClient, io.Closer, error)
	// Lease is how long, in wall time, a worker may run its labs without hearing from the leader, in a cluster that this server
	// founds; 0: 10 s.
	Lease time.Duration
	// Cluster says how this server is one of several; nil: it is a server of its own.
	Cluster *Cluster
	// Ask says whether callers are asked who they are.
	Ask Ask
	// First gets the first administrator's token; nil: none is made.
	First FirstToken
	// Version is of this labd, for people.
	Version string
	// Now is the wall clock that commands carry; nil: the machine's. Nothing waits by it.
	Now func() time.Time
	// Logger hears what goes on; nil: nobody does.
	Logger *slog.Logger
}

func (c *Config) check() error {
	switch {
	case c.FilesDir == "":
		return errors.New("orchestrator: no directory for files")
	case c.ServerID == "":
		return errors.New("orchestrator: no server id")
	case c.Worker != nil && c.WorkerName == "":
		return errors.New("orchestrator: the worker has no name")
	case c.Worker == nil && c.DialWorker == nil:
		return errors.New("orchestrator: no worker, and no way to any")
	case c.Lease < 0:
		return errors.New("orchestrator: a negative lease")
	case c.Ask == AskAlways && c.First == nil:
		return errors.New("orchestrator: nobody to give the first administrator's token to")
	}
	if c.Cluster != nil {
		return c.Cluster.check()
	}
	return nil
}

// complete fills in what was left open.
func (c *Config) complete() {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Cluster != nil {
		cluster := *c.Cluster
		cluster.Timing.complete()
		c.Cluster = &cluster
	}
}

// Controller is one server of the controller. Its methods may be called from any goroutine.
type Controller struct {
	conf  Config
	log   *slog.Logger
	store *Store
	blobs *blobs
	node  *raftNode
	// instance names this server's process, and the worker in it.
	instance string
	turns    atomic.Uint64 // in which this process has had inputs stamped

	identity  *identity
	formation *formation // nil without a cluster
	members   members
	lockout   auth.Lockout
	refusals  refusals // to be noted in the audit
	again     bool     // the first administrator is still to be made once more; only takeOver uses it

	ctx    context.Context // ends when the Controller closes
	cancel context.CancelFunc
	loop   sync.WaitGroup // of the goroutine that follows leadership

	mu      sync.Mutex    // guards what is below
	lead    *leadership   // nil while this server does not lead
	changed chan struct{} // closed when lead changes
	anew    chan struct{} // holds a token when the leadership's state is to be made anew
}

// Open starts a server on the state it finds, or on none. It returns before the server leads; calls wait for that.
func Open(conf Config) (*Controller, error) {
	if err := conf.check(); err != nil {
		return nil, err
	}
	conf.complete()
	st, err := openStorage(conf.RaftDir, RaftLogger(conf.Logger))
	if err != nil {
		return nil, err
	}
	c, err := openOn(st, conf)
	if err != nil {
		return nil, errors.Join(err, st.closer.Close())
	}
	return c, nil
}

// openOn starts a server on a storage, which the server closes in the end.
func openOn(st *storage, conf Config) (*Controller, error) {
	conf.complete()
	store, err := newStore()
	if err != nil {
		return nil, err
	}
	files, err := openBlobs(conf.FilesDir)
	if err != nil {
		return nil, err
	}
	me := &identity{serverID: conf.ServerID}
	if conf.Cluster != nil {
		me.of, me.keep = conf.Cluster.Belongs, conf.Cluster.Keep
	}
	if err := me.hasItsLog(st); err != nil {
		return nil, err
	}
	node, err := openRaft(st, me, conf.Cluster, newFSM(store), conf.Logger)
	if err != nil {
		return nil, err
	}
	c := &Controller{conf: conf, log: conf.Logger, store: store, blobs: files, node: node, identity: me,
		instance: rand.Text(), changed: make(chan struct{}), anew: make(chan struct{}, 1), again: conf.First != nil && conf.First.Again()}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.loop.Go(c.followLeadership)
	c.loop.Go(c.sweepFiles)
	if conf.Cluster != nil {
		c.formation = newFormation(c)
		c.loop.Go(c.findCluster)
	}
	return c, nil
}

// Failed is closed when the server cannot go on: its log holds what it cannot understand. Err tells why.
func (c *Controller) Failed() <-chan struct{} { return c.node.fsm.halted }

// Err tells why Failed was closed.
func (c *Controller) Err() error {
	if c.node.fsm.hasHalted() {
		return c.node.fsm.cause
	}
	return nil
}

// Close stops the server: it remembers how far the labs have come, and leaves nothing running. Labs go on at the worker
// until that is closed.
func (c *Controller) Close(ctx context.Context) error {
	if l := c.leading(); l != nil {
		l.markReached(ctx)
		c.HandOver()
	}
	c.cancel()
	c.loop.Wait()
	return c.node.close()
}

// HandOver has another server lead before this one stops, so that nobody waits until it is missed. Stopping is not
// leaving: it stays one of the cluster's servers.
func (c *Controller) HandOver() {
	if c.conf.Cluster == nil || c.node.raft.State() != raft.Leader || voters(c.servers()) < 2 {
		return
	}
	if err := c.node.raft.LeadershipTransfer().Error(); err != nil {
		c.log.Warn("the leadership could not be handed over", "error", err)
	}
}

// leading gives the current leadership, nil if there is none or it is not open yet.
func (c *Controller) leading() *leadership {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lead
}

// leader waits until this server leads, and makes sure that it still does: what a call then reads from the store holds
// every change that was acknowledged before the call began.
func (c *Controller) leader(ctx context.Context) (*leadership, error) {
	if l := c.verifiedFor(ctx); l != nil {
		return l, nil
	}
	l, err := c.awaitLead(ctx)
	if err != nil {
		return nil, err
	}
	// Changes are acknowledged once the leader has applied them, and a leadership opens when all those of its
	// predecessors are: so nothing need be waited for but a majority's word that it still leads.
	if err := c.node.verify(); err != nil {
		return nil, c.node.refusal(err)
	}
	if c.leading() != l {
		return nil, notLeading()
	}
	return l, nil
}

// awaitLead waits until this server leads, by its own lights: another may have taken over meanwhile.
func (c *Controller) awaitLead(ctx context.Context) (*leadership, error) {
	for {
		c.mu.Lock()
		l, changed := c.lead, c.changed
		c.mu.Unlock()
		if l != nil {
			return l, nil
		}
		if c.conf.Cluster != nil && c.node.raft.State() != raft.Leader {
			return nil, notLeading()
		}
		if err := c.node.health.failing(); err != nil {
			return nil, storageError(err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.ctx.Done():
			return nil, notLeading()
		case <-c.node.fsm.halted:
			return nil, storageError(c.node.fsm.cause)
		case <-time.After(leaderWait):
			return nil, notLeading()
		}
	}
}

// leaderWait is how long a call waits for this server to lead: longer than a lone server needs to elect itself.
const leaderWait = 10 * time.Second

// followLeadership opens and closes this server's leadership as Raft gives and takes it. A leadership that cannot be
// opened is tried again for as long as Raft leaves it here.
func (c *Controller) followLeadership() {
	var l *leadership
	var again <-chan time.Time
	stop := func() {
		if l != nil {
			c.setLead(nil)
			l.close()
			c.sayLead("this server leads no longer", l)
			l = nil
		}
	}
	defer stop()
	for {
		leads := false
		select {
		case <-c.ctx.Done():
			return
		case leads = <-c.node.leaderCh:
		case <-again:
			leads = true
		case <-c.anew:
			leads = c.node.raft.State() == raft.Leader
		}
		stop()
		again = nil
		if !leads {
			continue
		}
		opened, err := c.takeLead()
		if err != nil {
			if c.node.raft.State() != raft.Leader {
				continue
			}
			c.log.Error("cannot lead", "error", err)
			again = time.After(retryPause)
			continue
		}
		l = opened
		c.setLead(l)
		c.sayLead("this server leads", l)
	}
}

// sayLead logs that a leadership has begun or ended, where there are others that could lead.
func (c *Controller) sayLead(what string, l *leadership) {
	if c.conf.Cluster != nil {
		c.log.Info(what, "term", l.term)
	}
}

// leadAnew has a leadership's state made anew: what it was made of has been replaced.
func (c *Controller) leadAnew() {
	select {
	case c.anew <- struct{}{}:
	default:
	}
}

func (c *Controller) setLead(l *leadership) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lead = l
	close(c.changed)
	c.changed = make(chan struct{})
}

// takeLead makes a new leadership's state: all of the log is applied, and the workers are expected that may hold labs.
func (c *Controller) takeLead() (*leadership, error) {
	term := c.node.raft.CurrentTerm() // if another comes, this leadership ends with it
	if err := c.node.raft.Barrier(barrierTimeout).Error(); err != nil {
		return nil, fmt.Errorf("barrier: %w", err)
	}
	c.node.fsm.feed.settle(c.node.raft.AppliedIndex())
	l := newLeadership(c, term)
	if err := l.takeOver(); err != nil {
		l.close()
		return nil, err
	}
	l.start()
	return l, nil
}

// barrierTimeout bounds the wait for the log to be applied.
const barrierTimeout = 30 * time.Second

// clusterID is the id of the cluster that this server belongs to; empty before it has one. A lone server's is in its state
// only; that of one of several is its own, whatever cluster a restored snapshot is of.
func (c *Controller) clusterID() string {
	if id := c.ClusterID(); id != "" {
		return id
	}
	return c.store.view().clusterID()
}

// proposeOwn commits a command that nobody has asked for.
func (c *Controller) proposeOwn(cmd *controlv1.Command) (result, error) {
	return c.propose(context.Background(), "", cmd)
}

// propose commits a command of the caller's whom the context names.
func (c *Controller) propose(ctx context.Context, requestID string, cmd *controlv1.Command) (result, error) {
	caller := auth.CallerOf(ctx)
	cmd.By, cmd.From, cmd.TokenId, cmd.Method = caller.Person, caller.From, caller.TokenID, caller.Method
	cmd.RequestId = requestKey(ctx, requestID)
	cmd.NowUnixNs = c.conf.Now().UnixNano()
	res, err := c.node.propose(cmd)
	if err == nil || res.refused != nil {
		hasEntry(ctx)
	}
	if err == nil && requestID != "" {
		learnt(ctx)
	}
	return res, err
}
