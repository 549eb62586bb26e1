package raftnet

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// maxGreeters bounds the connections that are between their beginning and the end of the greetings. A peer has a handful.
const maxGreeters = 64

// stream is a raft.StreamLayer whose connections begin with greetings.
type stream struct {
	me       Identity
	listener net.Listener
	dial     func(ctx context.Context, address string) (net.Conn, error)
	log      *slog.Logger

	tasks   sync.WaitGroup
	ctx     context.Context // ends with the stream
	cancel  context.CancelFunc
	slots   chan struct{} // a token for each connection that is being greeted
	greeted chan net.Conn

	mu   sync.Mutex // guards open
	open map[*tracked]struct{}
}

// tracked is a connection that ends with its stream: Raft's transport leaves those open that it reads from.
type tracked struct {
	net.Conn
	stream *stream
}

func (c *tracked) Close() error {
	c.stream.mu.Lock()
	delete(c.stream.open, c)
	c.stream.mu.Unlock()
	return c.Conn.Close()
}

// track takes a connection in, unless the stream has been closed.
func (s *stream) track(conn net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		conn.Close()
		return nil, net.ErrClosed
	}
	c := &tracked{Conn: conn, stream: s}
	s.open[c] = struct{}{}
	return c, nil
}

func newStream(conf Config) *stream {
	s := &stream{me: conf.Identity, listener: conf.Listener, dial: conf.Dial, log: conf.Logger,
		slots: make(chan struct{}, maxGreeters), greeted: make(chan net.Conn), open: make(map[*tracked]struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.tasks.Go(s.acceptAll)
	return s
}

func (s *stream) acceptAll() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed; a port's listener has no other error
		}
		select {
		case s.slots <- struct{}{}:
			s.tasks.Go(func() { s.take(conn) })
		default:
			s.log.Warn("raft connection refused", "from", conn.RemoteAddr().String(), "error", "too many are being greeted")
			conn.Close()
		}
	}
}

func (s *stream) take(conn net.Conn) {
	defer func() { <-s.slots }()
	conn, err := s.track(conn)
	if err != nil {
		return
	}
	if err := answer(conn, s.me); err != nil {
		conn.Close()
		var refused *Refused
		if errors.As(err, &refused) {
			s.log.Warn("raft connection refused", "from", conn.RemoteAddr().String(), "error", err)
		}
		return
	}
	select {
	case s.greeted <- conn:
	case <-s.ctx.Done():
		conn.Close()
	}
}

func (s *stream) Accept() (net.Conn, error) {
	select {
	case conn := <-s.greeted:
		return conn, nil
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (s *stream) Addr() net.Addr { return s.listener.Addr() }

func (s *stream) Close() error {
	s.cancel()
	err := s.listener.Close()
	s.mu.Lock()
	open := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock() // from here on track takes nothing
	for _, c := range open {
		c.Close()
	}
	s.tasks.Wait()
	return err
}

// Dial connects to a server, of which the address holds the id as well.
func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, hostPort, ok := strings.Cut(string(address), idMark)
	if !ok {
		return nil, &net.AddrError{Err: "a server's address without its id", Addr: string(address)}
	}
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	conn, err := s.dial(ctx, hostPort)
	if err != nil {
		return nil, err
	}
	if conn, err = s.track(conn); err != nil {
		return nil, err
	}
	if err := greet(conn, s.me, id); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
