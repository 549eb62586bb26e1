package tcpstack

import (
	"net"
	"net/netip"
	"sync"
)

// NetListener is a net.Listener. Connections that wait for Accept are counted against the listener's backlog.
type NetListener struct {
	run  Runner
	l    *Listener // touched in the loop only
	addr net.Addr

	queue     []*NetConn    // established, not yet accepted; touched in the loop only
	ready     chan struct{} // holds a token when the queue may have something
	closeOnce sync.Once
	closed    chan struct{}
}

// ListenNet listens on a stack that run's loop owns. An unspecified or zero address means all of the stack's.
func ListenNet(run Runner, s *Stack, local netip.AddrPort, cfg TCPConfig) (*NetListener, error) {
	n := &NetListener{run: run, ready: make(chan struct{}, 1), closed: make(chan struct{})}
	var err error
	ok := run.Do(func() {
		if n.l, err = s.Listen(local, cfg, n.arrived); err == nil {
			n.addr = net.TCPAddrFromAddrPort(n.l.Addr())
		}
	})
	if !ok {
		err = net.ErrClosed
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(local), Err: err}
	}
	return n, nil
}

// arrived takes a connection as it is established; nil refuses it.
func (n *NetListener) arrived(c *Conn) ConnHandler {
	if len(n.queue) >= n.l.Backlog() {
		return nil
	}
	nc := newNetConn(n.run)
	nc.adopt(c)
	close(nc.opened)
	n.queue = append(n.queue, nc)
	signal(n.ready)
	return acceptedHandler{netHandler{nc}}
}

// acceptedHandler is netHandler for a connection that is open from the start.
type acceptedHandler struct{ netHandler }

func (acceptedHandler) Established(*Conn) {}

// Accept implements net.Listener.
func (n *NetListener) Accept() (net.Conn, error) {
	for {
		select {
		case <-n.closed:
			return nil, n.opError(net.ErrClosed)
		default:
		}
		var nc *NetConn
		ok := n.run.Do(func() {
			if len(n.queue) > 0 {
				nc, n.queue = n.queue[0], n.queue[1:]
			}
			if len(n.queue) > 0 {
				signal(n.ready) // for another Accept that waits
			}
		})
		switch {
		case !ok:
			return nil, n.opError(net.ErrClosed)
		case nc != nil:
			return nc, nil
		}
		select {
		case <-n.ready:
		case <-n.closed:
		case <-n.run.Ended():
		}
	}
}

func (n *NetListener) opError(err error) error {
	return &net.OpError{Op: "accept", Net: "tcp", Addr: n.addr, Err: err}
}

// Close implements net.Listener: connections that were not accepted are reset.
func (n *NetListener) Close() error {
	err := n.opError(net.ErrClosed)
	n.closeOnce.Do(func() {
		close(n.closed)
		n.run.Do(func() {
			n.l.Close()
			for _, nc := range n.queue {
				nc.c.Abort()
			}
			n.queue = nil
		})
		err = nil
	})
	return err
}

// Addr implements net.Listener.
func (n *NetListener) Addr() net.Addr { return n.addr }
