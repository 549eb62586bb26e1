package port

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// from is a connection that says it comes from an address.
type from struct {
	net.Conn
	addr string
}

func (c from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.addr)) }

// manyFrom is a listener of connections from chosen addresses.
type manyFrom struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *manyFrom) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *manyFrom) Close() error   { close(l.closed); return nil }
func (l *manyFrom) Addr() net.Addr { return &net.TCPAddr{} }

// comes has a connection come from an address, and gives its other end.
func (l *manyFrom) comes(t *testing.T, addr string) net.Conn {
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	l.conns <- from{near, addr}
	return far
}

// One source has so many connections and no more; others are not kept out by it, nor is whoever is on the machine.
func TestTooManyFromSource(t *testing.T) {
	l := &manyFrom{conns: make(chan net.Conn), closed: make(chan struct{})}
	p := New(l, Config{MaxFromSource: 2, MaxOpen: 100, HandshakeTimeout: time.Hour})
	t.Cleanup(func() { p.Close() })
	echo(t, p, Raft)
	in := func(addr string) net.Conn {
		t.Helper()
		conn := l.comes(t, addr)
		if got := answer(t, conn, "labd-raft/1\nhello\n"); got != "labd-raft/1 hello\n" {
			t.Errorf("from %s: %q", addr, got)
		}
		return conn
	}
	first := in("192.0.2.1:1")
	in("192.0.2.1:2")
	wantClosed(t, l.comes(t, "192.0.2.1:3"))
	wantClosed(t, l.comes(t, "[::ffff:192.0.2.1]:3")) // the same, as a socket of both families tells it
	in("192.0.2.2:1")
	in("[2001:db8:0:1::1]:1")
	in("[2001:db8:0:1:ffff::2]:1")
	wantClosed(t, l.comes(t, "[2001:db8:0:1:8000::3]:1"))
	in("[2001:db8:0:2::1]:1")
	for range 5 {
		in("127.0.0.1:1")
		in("[::1]:1")
	}
	wantRefused(t, p, TooManyFromSource, 3)
	first.Close() // makes room, once its owner has seen it
	for deadline := time.Now().Add(2 * time.Minute); ; {
		conn := l.comes(t, "192.0.2.1:4")
		if _, err := conn.Write([]byte(Raft.opening())); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no room again")
		}
	}
}

// What was counted is forgotten with the last connection.
func TestSourcesAreForgotten(t *testing.T) {
	s := make(sources)
	addr := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}
	for range 3 {
		s.add(addr, 3)
	}
	if s.add(addr, 3) {
		t.Error("a fourth is in")
	}
	for range 3 {
		s.remove(addr)
	}
	if len(s) != 0 {
		t.Errorf("%v is left", s)
	}
}
