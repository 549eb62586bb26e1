package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"labd.dev/node/exchange"
)

const (
	// joinTimeout is how long the shards of a lab wait for one another: their workers are told of the lab one after another,
	// and each reads files for it.
	joinTimeout = 30 * time.Second
	// redial is the wait before a worker is tried again that cannot be reached yet.
	redial = 50 * time.Millisecond
	// maxGuests bounds the connections that wait for their lab to be started here: every shard of some labs.
	maxGuests = 4096
)

// joiner connects a shard to the others. Each is dialled by those before it in the list, and waits for them.
type joiner struct {
	cancel context.CancelFunc
	dials  sync.WaitGroup
	failed chan error // one of each dial at the most
	late   *time.Timer
}

// start begins to connect.
func (s *split) start() error {
	if err := s.agree(); err != nil {
		return err // no specification that was parsed before
	}
	ctx, cancel := context.WithTimeout(context.Background(), joinTimeout)
	j := &joiner{cancel: cancel, failed: make(chan error, len(s.shards)), late: time.NewTimer(joinTimeout)}
	s.joiner = j
	hello := exchange.Hello{Lab: s.l.id, Epoch: s.l.epoch, From: s.self, Shards: len(s.shards), Sum: s.sum}
	for to := s.self + 1; to < len(s.shards); to++ {
		h := hello
		h.To = to
		j.dials.Go(func() {
			if err := s.dial(ctx, h); err != nil {
				j.failed <- &exchange.PeerError{Peer: s.peers.Name(h.To), Err: err}
			}
		})
	}
	return nil
}

// dial connects to one shard, again and again until its worker answers.
func (s *split) dial(ctx context.Context, h exchange.Hello) error {
	for {
		c, err := s.w.dial(ctx, s.shards[h.To].GetAddress())
		if err == nil {
			if err = greet(ctx, c, h); err == nil {
				err = s.peers.Attach(h.To, c)
			}
			if err == nil {
				return nil
			}
			c.Close()
		}
		if _, refused := errors.AsType[*exchange.RefusedError](err); refused {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it cannot be reached: %w", err)
		case <-time.After(redial):
		}
	}
}

// greet says hello, and breaks off when the context ends.
func greet(ctx context.Context, c net.Conn, h exchange.Hello) error {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	return exchange.Greet(c, h)
}

func (j *joiner) close() {
	j.cancel()
	j.late.Stop()
	j.dials.Wait()
}

// join waits for the other shards, or answers a call.
func (s *split) join() error {
	l := s.l
	select {
	case <-s.peers.Joined():
		s.joiner.close()
		s.joiner = nil
		if s.head() {
			l.clock.restart(l.x.now()) // lab time 0 is now, not when the lab was built
			l.nextStamp(s.w)
		}
	case err := <-s.joiner.failed:
		return err
	case c := <-s.peers.Came:
		if c.Err != nil {
			return c.Err
		}
		return s.take(c)
	case <-s.joiner.late.C:
		return &exchange.PeerError{Peer: s.peers.Missing(), Err: fmt.Errorf("it has not joined within %v", joinTimeout)}
	case call := <-l.calls:
		call()
	case <-l.quit:
	}
	return nil
}

// guests counts the connections that wait for their lab.
type guests struct {
	mu    sync.Mutex // guards all below: each connection has a goroutine of its own
	count int
	came  chan struct{} // closed, and made anew, when a lab is started
}

func newGuests() *guests { return &guests{came: make(chan struct{})} }

// labStarted wakes those that wait.
func (g *guests) labStarted() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.came)
	g.came = make(chan struct{})
}

// enter takes a place; false: there is none.
func (g *guests) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.count >= maxGuests {
		return false
	}
	g.count++
	return true
}

func (g *guests) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count--
}

func (g *guests) started() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.came
}

// ServeFrames takes a connection on which another worker speaks labd-frames/1, and returns when it belongs to a lab here or
// has been refused and closed.
func (w *Worker) ServeFrames(c net.Conn) {
	refusal := w.receive(c)
	if refusal == nil {
		return
	}
	w.log.Warn("a connection of another shard was refused", "from", c.RemoteAddr(), "reason", refusal)
	_ = exchange.Answer(c, refusal.Error()) // who said nothing sensible need not hear it
	c.Close()
}

// receive hands a connection to its lab, or says why not.
func (w *Worker) receive(c net.Conn) error {
	if !w.guests.enter() {
		return fmt.Errorf("%d connections wait here", maxGuests)
	}
	defer w.guests.leave()
	h, err := exchange.ReadHello(c)
	if err != nil {
		return err
	}
	late := time.NewTimer(joinTimeout)
	defer late.Stop()
	for {
		started := w.guests.started()
		l, err := w.lab(h.Lab)
		switch {
		case err == nil && l.epoch > h.Epoch:
			return fmt.Errorf("%w: the lab runs under epoch %d, not %d", errStaleEpoch, l.epoch, h.Epoch)
		case err == nil && l.epoch == h.Epoch:
			return l.welcome(c, h)
		}
		select {
		case <-started:
		case <-late.C:
			return fmt.Errorf("this worker has no lab %q of epoch %d", h.Lab, h.Epoch)
		case <-w.quit:
			return errors.New("the worker is stopping")
		}
	}
}

// welcome makes a connection that of a peer.
func (l *lab) welcome(c net.Conn, h exchange.Hello) error {
	s := l.split
	if s == nil {
		return errors.New("the lab is not split here")
	}
	if h.To != s.self || h.Shards != len(s.shards) || h.From >= s.self || h.Sum != s.sum {
		return errors.New("the shards were not started alike")
	}
	// The answer goes first: once attached, the connection is the lab's.
	if err := exchange.Answer(c, ""); err != nil {
		return err
	}
	return s.peers.Attach(h.From, c)
}
