package port

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
)

// Conn is a connection that a Port took.
type Conn struct {
	net.Conn // what reads and writes go to: TLS, where there is
	port     *Port
	protocol Protocol
	state    *tls.ConnectionState // nil without TLS
	first    []byte               // read already, and the protocol's
	once     sync.Once            // of Close's giving back the place
	ended    atomic.Bool          // the other end has closed it, or it broke
}

// TLS is how the connection is secured; nil: it is not.
func (c *Conn) TLS() *tls.ConnectionState { return c.state }

// FromDaemon tells whether the other end may be a server or a worker: its certificate may serve as well as ask
// (RFC 5280 4.2.1.12, id-kp-serverAuth), which those of people may not. Without TLS everybody on the machine may.
func (c *Conn) FromDaemon() bool { return c.state == nil || OfDaemon(c.state) }

// OfDaemon tells whether the certificate at the other end of a connection is a server's or a worker's.
func OfDaemon(state *tls.ConnectionState) bool {
	return len(state.PeerCertificates) > 0 &&
		slices.Contains(state.PeerCertificates[0].ExtKeyUsage, x509.ExtKeyUsageServerAuth)
}

// Read gives what the port has read first.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if err != nil {
		c.ended.Store(true)
	}
	return n, err
}

// CloseWrite says that nothing more is written; what the other end still writes can be read.
func (c *Conn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close ends the connection. That gRPC gives up one whose other end has not is counted: by itself it does so only where no sign
// of life comes, or HTTP/2's rules are broken.
func (c *Conn) Close() error {
	c.once.Do(func() {
		if c.protocol == HTTP2 && !c.ended.Load() && c.port.serves(HTTP2) {
			c.port.refuse(c, GivenUp, nil)
		}
		c.port.release(c.RemoteAddr())
	})
	return c.Conn.Close()
}

// listener is the port as one protocol sees it.
type listener struct {
	port     *Port
	protocol Protocol
	conns    chan *Conn
	once     sync.Once
	closed   chan struct{}
}

func (l *listener) Addr() net.Addr { return l.port.Addr() }

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the protocol: nothing is handed to it any more, and what waits for it is closed.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.port.mu.Lock()
		if l.port.listeners[l.protocol] == l {
			delete(l.port.listeners, l.protocol)
		}
		l.port.mu.Unlock() // from here on handOver does not find it
		close(l.closed)
		for {
			select {
			case c := <-l.conns:
				c.Close()
			default:
				return
			}
		}
	})
	return nil
}
