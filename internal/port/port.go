package port

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// defaultHandshakeTimeout is how long a connection may take to say what it speaks: several round trips around the
	// world, and a busy machine.
	defaultHandshakeTimeout = 10 * time.Second
	// defaultMaxPending bounds the connections that have not said it yet. An honest one takes milliseconds.
	defaultMaxPending = 256
	// defaultMaxOpen bounds the connections that are open: each costs a file, and a gRPC one some 70 kB.
	defaultMaxOpen = 4096
	// defaultMaxFromSource bounds the connections from one address off loopback (IPv6: from one /64, which is what one
	// subscriber has): a class of 300 behind one address, three each. One source cannot take all of them.
	defaultMaxFromSource = 1024
	// backlog is how many connections may wait for their protocol's listener to accept them.
	backlog = 64
	// acceptPause is the wait after the system could not give a connection, for want of files for instance.
	acceptPause = 50 * time.Millisecond
)

// Config says how a Port works; zero values mean defaults.
type Config struct {
	// Security is nil without TLS.
	Security Security
	// HandshakeTimeout is how long a connection may take to say what it speaks.
	HandshakeTimeout time.Duration
	// MaxPending bounds the connections that have not said it yet; one more ends the one that has taken longest.
	MaxPending int
	// MaxOpen bounds all that are open.
	MaxOpen int
	// MaxFromSource bounds the open ones from one address, or one /64. Loopback is not bounded by it.
	MaxFromSource int
	// Logger hears of refused connections; nil: nobody does.
	Logger *slog.Logger
}

// Port takes connections and tells them apart.
type Port struct {
	conf     Config
	listener net.Listener
	tasks    sync.WaitGroup
	ctx      context.Context // ends with the port
	cancel   context.CancelFunc
	refused  refusals

	mu        sync.Mutex // guards what is below
	listeners map[Protocol]*listener
	pending   []*pending // oldest first
	open      int        // connections handed over and not closed yet, and pending ones
	sources   sources    // of those
}

// pending is a connection that has not said yet what it speaks.
type pending struct {
	conn    net.Conn
	evicted bool // guarded by Port.mu
}

// Listen opens a port at a TCP address, host:port.
func Listen(address string, conf Config) (*Port, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return New(l, conf), nil
}

// New makes a port of a listener, which the port closes in the end.
func New(l net.Listener, conf Config) *Port {
	if conf.HandshakeTimeout == 0 {
		conf.HandshakeTimeout = defaultHandshakeTimeout
	}
	if conf.MaxPending == 0 {
		conf.MaxPending = defaultMaxPending
	}
	if conf.MaxOpen == 0 {
		conf.MaxOpen = defaultMaxOpen
	}
	if conf.MaxFromSource == 0 {
		conf.MaxFromSource = defaultMaxFromSource
	}
	if conf.Logger == nil {
		conf.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Port{conf: conf, listener: l, listeners: make(map[Protocol]*listener), sources: make(sources)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.tasks.Go(p.acceptAll)
	return p
}

// Addr is where the port is.
func (p *Port) Addr() net.Addr { return p.listener.Addr() }

// Listener takes the connections of one protocol. There is one listener a protocol: closing it ends the protocol, not the
// port, and asking again opens it anew.
func (p *Port) Listener(protocol Protocol) net.Listener {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.listeners[protocol]
	if l == nil {
		l = &listener{port: p, protocol: protocol, conns: make(chan *Conn, backlog), closed: make(chan struct{})}
		p.listeners[protocol] = l
	}
	return l
}

// Refused counts the connections that were closed, by reason.
func (p *Port) Refused() map[Reason]uint64 { return p.refused.counts() }

// Close ends the port and its listeners. Connections that were handed over stay their owners'.
func (p *Port) Close() error {
	p.cancel()
	err := p.listener.Close()
	p.mu.Lock()
	for _, c := range p.pending {
		c.conn.Close()
	}
	open := make([]*listener, 0, len(p.listeners))
	for _, l := range p.listeners {
		open = append(open, l)
	}
	p.mu.Unlock()
	for _, l := range open {
		l.Close()
	}
	p.tasks.Wait()
	return err
}

func (p *Port) acceptAll() {
	for {
		conn, err := p.listener.Accept()
		if p.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			if err == nil {
				conn.Close()
			}
			return
		}
		if err != nil {
			p.conf.Logger.Error("no connection could be taken", "error", err)
			select {
			case <-time.After(acceptPause):
			case <-p.ctx.Done():
			}
			continue
		}
		if c := p.admit(conn); c != nil {
			p.tasks.Go(func() { p.settle(c) })
		}
	}
}

// admit makes room for a connection that has still to say what it speaks: where too many do, the one that has taken
// longest goes. So those who say nothing cannot keep out those who do.
func (p *Port) admit(conn net.Conn) *pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open >= p.conf.MaxOpen {
		conn.Close()
		p.refuse(conn, TooManyOpen, nil)
		return nil
	}
	if !p.sources.add(conn.RemoteAddr(), p.conf.MaxFromSource) {
		conn.Close()
		p.refuse(conn, TooManyFromSource, nil)
		return nil
	}
	if len(p.pending) >= p.conf.MaxPending {
		oldest := p.pending[0]
		p.pending = p.pending[1:]
		oldest.evicted = true
		oldest.conn.Close()
	}
	c := &pending{conn: conn}
	p.pending = append(p.pending, c)
	p.open++
	return c
}

// settle learns what a connection speaks and hands it to the listener of that.
func (p *Port) settle(c *pending) {
	conn, err := p.handshake(c.conn)
	p.mu.Lock()
	if i := slices.Index(p.pending, c); i >= 0 {
		p.pending = slices.Delete(p.pending, i, i+1)
	}
	evicted := c.evicted
	p.mu.Unlock()
	switch {
	case evicted:
		p.drop(c.conn, Evicted, nil)
	case err != nil:
		p.drop(c.conn, reasonOf(err), err)
	default:
		if reason := p.handOver(conn); reason != "" {
			p.drop(c.conn, reason, nil)
		}
	}
}

// handOver gives a connection to its protocol's listener, or says why it cannot.
func (p *Port) handOver(conn *Conn) Reason {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.listeners[conn.protocol]
	if l == nil {
		return NotServed
	}
	select {
	case l.conns <- conn:
		return ""
	default:
		return Backlog
	}
}

// drop closes a connection that was admitted.
func (p *Port) drop(conn net.Conn, reason Reason, err error) {
	conn.Close()
	p.release(conn.RemoteAddr())
	if p.ctx.Err() == nil {
		p.refuse(conn, reason, err)
	}
}

func (p *Port) release(from net.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	p.sources.remove(from)
}

// serves tells whether somebody listens to a protocol.
func (p *Port) serves(protocol Protocol) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.listeners[protocol] != nil
}

// served lists the protocols that somebody listens to, in an order that does not change.
func (p *Port) served() []Protocol {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Protocol, 0, len(p.listeners))
	for protocol := range p.listeners {
		list = append(list, protocol)
	}
	slices.Sort(list)
	return list
}

// handshake makes a connection say what it speaks, in the time that it is given for all of it.
func (p *Port) handshake(raw net.Conn) (*Conn, error) {
	if err := raw.SetDeadline(time.Now().Add(p.conf.HandshakeTimeout)); err != nil {
		return nil, err
	}
	conn := &Conn{Conn: raw, port: p}
	var err error
	if p.conf.Security == nil {
		conn.protocol, conn.first, err = sniff(raw, p.served())
	} else {
		err = p.handshakeTLS(conn, raw)
	}
	if err == nil && conn.protocol == HTTP2 {
		err = conn.readOpening()
	}
	if err != nil {
		return nil, err
	}
	return conn, raw.SetDeadline(time.Time{})
}

// readOpening reads on to the end of what an HTTP/2 client says first without waiting for anything, its preface and its
// settings (RFC 9113 3.4): gRPC then has both at hand.
func (c *Conn) readOpening() error {
	read := func(to int) error {
		have := len(c.first)
		c.first = slices.Grow(c.first, max(0, to-have))[:max(have, to)]
		_, err := io.ReadFull(c.Conn, c.first[have:])
		return err
	}
	if err := read(len(http2Preface) + frameHeaderBytes); err != nil {
		return err
	}
	frame := c.first[len(http2Preface):]
	length := int(frame[0])<<16 | int(frame[1])<<8 | int(frame[2])
	if string(c.first[:len(http2Preface)]) != http2Preface || frame[3] != settingsFrame || length > maxSettingsBytes {
		return fmt.Errorf("%w: it does not begin as HTTP/2 does", errUnknownProtocol)
	}
	return read(len(http2Preface) + frameHeaderBytes + length)
}

// sniff reads a connection's first bytes. It takes one at a time: what follows a protocol's name is the protocol's.
func sniff(raw net.Conn, served []Protocol) (Protocol, []byte, error) {
	first := make([]byte, 0, len(http2Preface))
	for {
		p, more := spoken(string(first), served)
		switch {
		case p == HTTP2:
			return p, first, nil // gRPC reads its preface itself
		case p != "":
			return p, nil, nil
		case !more && len(first) > 0 && first[0] == tlsHandshakeRecord:
			return "", nil, errTLSHere
		case !more:
			return "", nil, fmt.Errorf("%w: it begins with %q", errUnknownProtocol, first)
		}
		first = first[:len(first)+1]
		if _, err := io.ReadFull(raw, first[len(first)-1:]); err != nil {
			return "", nil, err
		}
	}
}

// tlsHandshakeRecord is the first byte of a TLS connection (RFC 8446 5.1, ContentType handshake).
const tlsHandshakeRecord = 22

func (p *Port) handshakeTLS(conn *Conn, raw net.Conn) error {
	conf, err := p.conf.Security.Server()
	if err != nil {
		return err
	}
	conf = conf.Clone()
	served := p.served()
	for _, protocol := range served {
		conf.NextProtos = append(conf.NextProtos, string(protocol))
	}
	conf.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		for _, offered := range hello.SupportedProtos {
			if slices.Contains(served, Protocol(offered)) {
				return nil, nil
			}
		}
		// crypto/tls would take a client that offers nothing.
		return nil, fmt.Errorf("%w: it offers %q", errUnknownProtocol, hello.SupportedProtos)
	}
	secured := tls.Server(raw, conf)
	if err := secured.HandshakeContext(p.ctx); err != nil {
		return err
	}
	state := secured.ConnectionState()
	conn.Conn, conn.state, conn.protocol = secured, &state, Protocol(state.NegotiatedProtocol)
	if conn.protocol != HTTP2 && !conn.FromDaemon() {
		return errNoDaemon
	}
	return nil
}
