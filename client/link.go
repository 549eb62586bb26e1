package client

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
)

// server is one of the addresses that a client knows.
type server struct {
	address string
	conn    *grpc.ClientConn
}

// link is a client's way to its labd: the connection that all services go over, to whichever of the servers answers.
type link struct {
	servers   []*server
	inProcess bool
	secured   bool         // by TLS
	stale     bool         // calls ask for stale reads
	token     string       // that calls show; may be empty
	answered  atomic.Bool  // a labd has answered a call
	waiting   func(string) // is told what is waited for; may be nil
	notices   func(string) // is told what the server lets the caller know besides; may be nil

	mu  sync.Mutex // guards now
	now int        // the server that is asked
}

// current is the server that is asked.
func (l *link) current() *server {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.servers[l.now]
}

// leave has the next server asked from now on, unless somebody has seen to that already.
func (l *link) leave(s *server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.servers[l.now] == s {
		l.now = (l.now + 1) % len(l.servers)
	}
}

// follow has the server asked from now on that leads, if it is one that the client knows: others hand each call on to it.
func (l *link) follow(s *server, md metadata.MD) {
	leader := md.Get(leaderHeader)
	if len(leader) == 0 {
		return
	}
	i := slices.IndexFunc(l.servers, func(s *server) bool { return s.address == leader[0] })
	l.mu.Lock()
	defer l.mu.Unlock()
	if i >= 0 && l.servers[l.now] == s {
		l.now = i
	}
}

// pass passes on what the server lets the caller know besides the answer.
func (l *link) pass(md metadata.MD) {
	if l.notices != nil {
		for _, text := range md.Get(noticeHeader) {
			l.notices(text)
		}
	}
}

// noticeHeader tells, with an answer, what becomes of labs of the caller's that nobody uses.
const noticeHeader = "labd-notice"

// leaderHeader names, with an answer to a call that was handed on, the server that has answered.
const leaderHeader = "labd-leader"

// address names what the client speaks to: the server that is asked, or, of several that do not answer, all.
func (l *link) address() string {
	addresses := make([]string, len(l.servers))
	for i, s := range l.servers {
		addresses[i] = s.address
	}
	return strings.Join(addresses, ",")
}

func (l *link) close() error {
	var err error
	for _, s := range l.servers {
		err = errors.Join(err, s.conn.Close())
	}
	return err
}

// heard takes a call's raw outcome at a server. One that does not answer, or has nobody to answer for it, is left.
func (l *link) heard(s *server, err error) error {
	switch {
	case err == nil:
		l.answered.Store(!l.inProcess)
	case broken(err), elsewhere(err):
		l.leave(s)
	}
	return err
}

// Invoke carries a unary call out, and again where that is safe and helps.
func (l *link) Invoke(ctx context.Context, method string, req, reply any, opts ...grpc.CallOption) error {
	ctx = l.mark(ctx)
	err := l.repeat(ctx, method, req, func(ctx context.Context) error {
		s := l.current()
		var md metadata.MD
		err := s.conn.Invoke(ctx, method, req, reply, append(slices.Clip(opts), grpc.Header(&md))...)
		if len(l.servers) > 1 {
			l.follow(s, md)
		}
		l.pass(md)
		return l.heard(s, err)
	})
	return typed(l.address(), err)
}

// NewStream opens a stream at a server that answers, if one does.
func (l *link) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx = l.mark(ctx)
	s := l.answering(ctx)
	stream, err := s.conn.NewStream(ctx, desc, method, opts...)
	if err != nil {
		return nil, typed(l.address(), l.heard(s, err))
	}
	return &typedStream{ClientStream: stream, link: l, server: s}, nil
}

// staleHeader asks a server for what it knows itself.
const staleHeader = "labd-stale"

func (l *link) mark(ctx context.Context) context.Context {
	if l.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+l.token)
	}
	if l.stale {
		ctx = metadata.AppendToOutgoingContext(ctx, staleHeader, "true")
	}
	return ctx
}

// answering finds a server to which there is a connection, or one can be made: a stream cannot be sent again as a call can.
func (l *link) answering(ctx context.Context) *server {
	for range l.servers {
		s := l.current()
		if len(l.servers) == 1 || connects(ctx, s.conn) {
			return s
		}
		l.leave(s)
	}
	return l.current()
}

// connects tells whether a connection is there, or can be made.
func connects(ctx context.Context, conn *grpc.ClientConn) bool {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn.Connect()
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return true
		case connectivity.TransientFailure, connectivity.Shutdown:
			return false
		}
		if !conn.WaitForStateChange(ctx, state) {
			return false
		}
	}
}

// typedStream gives the errors of a stream their type.
type typedStream struct {
	grpc.ClientStream
	link   *link
	server *server
}

func (s *typedStream) RecvMsg(m any) error {
	return typed(s.link.address(), s.link.heard(s.server, s.ClientStream.RecvMsg(m)))
}

func (s *typedStream) SendMsg(m any) error {
	return typed(s.link.address(), s.ClientStream.SendMsg(m))
}
