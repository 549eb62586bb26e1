package app

import (
	"errors"
	"fmt"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/tcpstack"
)

// echoBlock is how much of a connection's data is on its way back at a time.
const echoBlock = 16 << 10

// echo sends back what it is sent, over TCP and UDP (RFC 862).
type echo struct {
	env      Env
	name     string
	listener *tcpstack.Listener
	sock     *tcpstack.UDPSocket
}

func startEcho(env Env, spec *labv1.EchoApp) (App, error) {
	port := portOr(spec.GetPort(), EchoPort)
	e := &echo{env: env, name: fmt.Sprintf("echo :%d", port)}
	var err error
	e.listener, err = env.Stack.Listen(any4(port), tcpstack.TCPConfig{}, func(*tcpstack.Conn) tcpstack.ConnHandler {
		return &echoConn{env: &e.env}
	})
	if err != nil {
		return nil, fmt.Errorf("app: %s: %w", e.name, err)
	}
	if e.sock, err = env.Stack.OpenUDP(any4(port), e.datagram); err != nil {
		e.listener.Close()
		return nil, fmt.Errorf("app: %s: %w", e.name, err)
	}
	return e, nil
}

func (e *echo) Name() string { return e.name }
func (e *echo) Done() bool   { return true }

func (e *echo) Stop() {
	e.listener.Close()
	e.sock.Close()
}

// datagram goes back as it came; one that the stack cannot send is lost, as datagrams are. Two echo services would answer
// each other for ever: what comes from an echo port is not answered (CERT CA-1996-01).
func (e *echo) datagram(d tcpstack.Datagram) {
	if d.From.Port() == EchoPort || d.From.Port() == d.To.Port() {
		return
	}
	_ = e.sock.SendTo(d.Data, d.From, tcpstack.SendOptions{Tag: d.Tag})
}

// echoConn is one connection: it reads no more than it has been able to send back.
type echoConn struct {
	env  *Env
	back []byte // read and not yet written
	buf  []byte
	busy bool
}

func (e *echoConn) Established(c *tcpstack.Conn) {}
func (e *echoConn) Drained(c *tcpstack.Conn)     {}
func (e *echoConn) Readable(c *tcpstack.Conn)    { e.run(c) }
func (e *echoConn) Writable(c *tcpstack.Conn)    { e.run(c) }

func (e *echoConn) Closed(c *tcpstack.Conn, err error) {
	e.back, e.buf = nil, nil
	c.Release()
}

func (e *echoConn) run(c *tcpstack.Conn) {
	if e.busy {
		return
	}
	e.busy = true
	for e.write(c) && e.read(c) {
	}
	e.busy = false
}

func (e *echoConn) write(c *tcpstack.Conn) bool {
	for len(e.back) > 0 {
		if n := min(len(e.back), c.Room()); n > 0 {
			e.env.recordWrite(c, n, len(e.back), 0)
		}
		n, err := c.Write(e.back)
		if err != nil {
			e.back = e.back[min(n, len(e.back)):]
			return false
		}
		e.back = e.back[n:]
	}
	return true
}

func (e *echoConn) read(c *tcpstack.Conn) bool {
	if e.buf == nil {
		e.buf = make([]byte, echoBlock)
	}
	if n := min(len(e.buf), c.Buffered()); n > 0 {
		e.env.record(KindRead, c, uint64(n), 0, 0)
	}
	n, err := c.Read(e.buf)
	if err == nil {
		e.back = e.buf[:n]
		return true
	}
	if !errors.Is(err, tcpstack.ErrWouldBlock) {
		e.env.closeConn(c)
	}
	return false
}
