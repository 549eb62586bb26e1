package packetdrill

import (
	"io"
	"net/netip"

	"labd.dev/tcpstack"
)

// listen makes a bound socket listen, or changes the backlog of one that does.
func (s *socket) listen(backlog int64) Errno {
	// __sys_listen: "if ((unsigned int)backlog > somaxconn) backlog = somaxconn".
	if limit := s.m.sysctls.somaxconn(); backlog < 0 || backlog > limit {
		backlog = limit
	}
	// __inet_listen_sk: "Enable TFO w/o requiring TCP_FASTOPEN socket option", once.
	if s.lsn == nil && s.opts.fastOpenQueue <= 0 && s.m.sysctls.fastOpen(fastOpenAllListeners) && s.m.sysctls.fastOpen(fastOpenServer) {
		s.opts.fastOpenQueue = backlog
	}
	if s.lsn != nil {
		s.lsn.SetBacklog(int(backlog))
		return s.configure(s.fastOpenServer())
	}
	cfg := s.fastOpenServer()
	lsn, err := s.m.h.stack.ListenQueue(s.local, cfg.Merge(s.opts.tcp), int(backlog), func() { s.change(readableBits) })
	if err != nil {
		return errnoOf(err)
	}
	s.lsn, s.phase = lsn, phaseListening
	s.local = netip.AddrPortFrom(s.local.Addr(), lsn.Addr().Port())
	s.tell(socketListening, netip.AddrPort{})
	return 0
}

// stopListening closes the listener, which resets the connections that nobody has accepted (inet_csk_listen_stop).
func (s *socket) stopListening() {
	s.lsn.Close()
	s.lsn = nil
}

// accept takes the connection that has waited longest.
func (s *socket) accept() (*socket, Errno) {
	conn, ok := s.lsn.Accept()
	if !ok {
		return nil, EAGAIN
	}
	child := s.m.newSocket(s.domain)
	child.opts, child.conn, child.phase = s.opts, conn, phaseConnected
	child.local = conn.LocalAddr()
	child.opts.stored = append([]storedOption(nil), s.opts.stored...)
	child.sawFIN = conn.State() == tcpstack.StateCloseWait
	if s.opts.saveSYN != 0 {
		child.savedSYN = s.m.h.syns.of(conn.RemoteAddr())
	}
	if child.opts.oobInline {
		conn.SetUrgentInline(true)
	}
	conn.SetHandler(child)
	if child.conn != nil && conn.State() == tcpstack.StateClosed {
		child.inherit(conn)
	}
	return child, 0
}

// inherit takes over what is left of a connection that ended before it was accepted.
func (s *socket) inherit(c *tcpstack.Conn) {
	s.last = c.Info()
	var scratch [16 << 10]byte
	for {
		n, err := c.Read(scratch[:])
		s.left += int64(n)
		if err == io.EOF {
			s.sawFIN = true
		} else if err != nil {
			s.err = errnoOf(err)
		}
		if err != nil || n == 0 {
			break
		}
	}
	s.over, s.conn = true, nil
}

// acceptable says whether a connection waits to be accepted.
func (s *socket) acceptable() bool { return s.lsn.Waiting() > 0 }

// beginConnect is __inet_stream_connect up to where it would wait: EINPROGRESS is what it returns then.
func (s *socket) beginConnect(addr netip.AddrPort) Errno {
	switch s.phase {
	case phaseConnected, phaseListening:
		return EISCONN
	case phaseConnecting:
		if s.deferred() {
			return EISCONN
		}
		if s.state() == tcpstack.StateSynSent || s.state() == tcpstack.StateSynRcvd {
			return EALREADY
		}
		return 0
	}
	if e := s.dial(addr); e != 0 {
		return e
	}
	return EINPROGRESS
}

// dial sends the SYN.
func (s *socket) dial(addr netip.AddrPort) Errno {
	s.tell(socketConnecting, addr)
	s.over, s.sawFIN, s.shut, s.left = false, false, 0, 0
	var conn *tcpstack.Conn
	var err error
	if s.opts.fastOpenConnect {
		conn, err = s.m.h.stack.DialDeferred(s.local, addr, s.clientConfig(), s)
	} else {
		conn, err = s.m.h.stack.Dial(s.local, addr, s.opts.tcp, s)
	}
	if err != nil {
		return errnoOf(err)
	}
	s.begin(conn)
	return 0
}

// begin takes over a connection that is being opened.
func (s *socket) begin(conn *tcpstack.Conn) {
	s.conn, s.phase = conn, phaseConnecting
	conn.SetUrgentInline(s.opts.oobInline)
	if s.opts.pingPong {
		conn.SetQuickACK(false)
	}
}

// connected tells how a connect stands that has begun.
func (s *socket) connected() (int64, Errno, bool) {
	switch s.state() {
	case tcpstack.StateSynSent, tcpstack.StateSynRcvd:
		return 0, 0, false
	case tcpstack.StateClosed:
		// "Connection was closed by RST, timeout, ICMP error or another process disconnected us": sock_error, or
		// ECONNABORTED.
		return -1, s.connectEnded(), true
	}
	s.phase = phaseConnected
	return 0, 0, true
}

// disconnect is connect with AF_UNSPEC, tcp_disconnect: the connection is reset, and the socket may connect again.
func (s *socket) disconnect() {
	state := s.state()
	switch {
	case s.lsn != nil:
		s.stopListening()
	case s.conn != nil:
		s.conn.Abort()
		if state != tcpstack.StateTimeWait {
			s.err = ECONNRESET
		}
	}
	s.conn, s.phase = nil, phaseNew
	s.shut, s.sawFIN, s.over, s.left = 0, false, false, 0
}
