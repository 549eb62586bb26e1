package tcpstack

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// The blocking face: net.Conn and net.Listener over a Conn and a Listener, for goroutines outside of the loop. Every
// touch of the connection goes through the Runner; what blocks waits outside.

// NetConn is a net.Conn. Its methods may be called by any goroutine at any time. Deadlines are of the wall.
type NetConn struct {
	run           Runner
	c             *Conn // touched in the loop only
	local, remote net.Addr

	readMu, writeMu sync.Mutex // each lets one Read, one Write at a time go on
	rd, wr          deadline

	// Each holds a token when there is something to look at. The loop puts them and never waits.
	readable, writable chan struct{}

	opened    chan struct{} // closed once the connection is established, or has failed
	openErr   error         // why it failed; valid once opened is closed
	closeOnce sync.Once
	closed    chan struct{} // closed by Close
}

func newNetConn(run Runner) *NetConn {
	return &NetConn{run: run, rd: newDeadline(), wr: newDeadline(), readable: make(chan struct{}, 1),
		writable: make(chan struct{}, 1), opened: make(chan struct{}), closed: make(chan struct{})}
}

// adopt makes c the connection, inside the loop.
func (n *NetConn) adopt(c *Conn) {
	n.c = c
	n.local, n.remote = net.TCPAddrFromAddrPort(c.LocalAddr()), net.TCPAddrFromAddrPort(c.RemoteAddr())
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// netHandler is the NetConn as the loop sees it.
type netHandler struct{ n *NetConn }

func (h netHandler) Established(*Conn) { close(h.n.opened) }
func (h netHandler) Readable(*Conn)    { signal(h.n.readable) }
func (h netHandler) Writable(*Conn)    { signal(h.n.writable) }
func (h netHandler) Drained(*Conn)     {}

func (h netHandler) Closed(_ *Conn, err error) {
	select {
	case <-h.n.opened:
	default:
		h.n.openErr = err
		close(h.n.opened)
	}
	signal(h.n.readable)
	signal(h.n.writable)
}

// DialContext opens a connection to remote from a stack that run's loop owns, and waits until it is established or ctx is
// done.
func DialContext(ctx context.Context, run Runner, s *Stack, remote netip.AddrPort, cfg TCPConfig) (*NetConn, error) {
	n := newNetConn(run)
	var err error
	fail := func(err error) (*NetConn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(remote), Err: err}
	}
	ok := run.Do(func() {
		var c *Conn
		if c, err = s.Dial(netip.AddrPort{}, remote, cfg, netHandler{n}); err == nil {
			n.adopt(c)
		}
	})
	switch {
	case !ok:
		return fail(net.ErrClosed)
	case err != nil:
		return fail(err)
	}
	select {
	case <-n.opened:
		if n.openErr != nil {
			return fail(n.openErr)
		}
		return n, nil
	case <-run.Ended():
		return fail(net.ErrClosed)
	case <-ctx.Done():
		run.Do(n.c.Abort)
		return fail(ctx.Err())
	}
}

// opError is err as the net package words it; io.EOF stays bare.
func (n *NetConn) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: n.local, Addr: n.remote, Err: err}
}

// idle says why an operation cannot go on: closed, or its deadline has passed.
func (n *NetConn) idle(d *deadline) error {
	select {
	case <-n.closed:
		return net.ErrClosed
	default:
	}
	select {
	case <-d.wait():
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

// attempt repeats a non-blocking operation until it is done, waiting between on ready.
func (n *NetConn) attempt(d *deadline, ready <-chan struct{}, f func() (done bool, err error)) error {
	for {
		if err := n.idle(d); err != nil {
			return err
		}
		var done bool
		var err error
		if !n.run.Do(func() { done, err = f() }) {
			return net.ErrClosed
		}
		if done || err != nil && !errors.Is(err, ErrWouldBlock) {
			return err
		}
		select {
		case <-ready:
		case <-d.wait():
		case <-n.closed:
		case <-n.run.Ended():
		}
	}
}

// Read implements net.Conn.
func (n *NetConn) Read(p []byte) (int, error) {
	n.readMu.Lock()
	defer n.readMu.Unlock()
	got := 0
	err := n.attempt(&n.rd, n.readable, func() (bool, error) {
		if len(p) == 0 {
			return true, nil
		}
		var err error
		got, err = n.c.Read(p)
		return got > 0, err
	})
	if got > 0 {
		err = nil
	}
	return got, n.opError("read", err)
}

// Write implements net.Conn: it returns when all of p is in the send buffer.
func (n *NetConn) Write(p []byte) (int, error) {
	n.writeMu.Lock()
	defer n.writeMu.Unlock()
	put := 0
	err := n.attempt(&n.wr, n.writable, func() (bool, error) {
		if len(p) == 0 {
			return true, nil
		}
		m, err := n.c.Write(p[put:])
		put += m
		return put == len(p), err
	})
	if put == len(p) {
		err = nil
	}
	return put, n.opError("write", err)
}

// Close implements net.Conn. What was written is still sent; operations that wait return net.ErrClosed.
func (n *NetConn) Close() error {
	err := n.opError("close", net.ErrClosed)
	n.closeOnce.Do(func() {
		close(n.closed)
		n.rd.stop()
		n.wr.stop()
		n.run.Do(n.c.Close)
		err = nil
	})
	return err
}

// CloseWrite sends the FIN once all that was written is sent; reading goes on.
func (n *NetConn) CloseWrite() error {
	select {
	case <-n.closed:
		return n.opError("close", net.ErrClosed)
	default:
	}
	n.run.Do(n.c.CloseWrite)
	return nil
}

// LocalAddr implements net.Conn.
func (n *NetConn) LocalAddr() net.Addr { return n.local }

// RemoteAddr implements net.Conn.
func (n *NetConn) RemoteAddr() net.Addr { return n.remote }

// SetDeadline implements net.Conn.
func (n *NetConn) SetDeadline(t time.Time) error {
	n.rd.set(t)
	n.wr.set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (n *NetConn) SetReadDeadline(t time.Time) error { n.rd.set(t); return nil }

// SetWriteDeadline implements net.Conn.
func (n *NetConn) SetWriteDeadline(t time.Time) error { n.wr.set(t); return nil }

// Info is what tcp_info tells of the connection; false once the loop has ended.
func (n *NetConn) Info() (i Info, ok bool) {
	ok = n.run.Do(func() { i = n.c.Info() })
	return i, ok
}
