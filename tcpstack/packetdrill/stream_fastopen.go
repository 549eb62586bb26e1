package packetdrill

import "labd.dev/tcpstack"

// deferred says whether a connect waits for the first write (TCP_FASTOPEN_CONNECT).
func (s *socket) deferred() bool { return s.conn != nil && s.conn.Deferred() }

// clientConfig is what a Fast Open client's connection is made with: a socket that also listened has a server's settings.
func (s *socket) clientConfig() tcpstack.TCPConfig {
	cfg := s.opts.tcp
	cfg.FastOpen = "client"
	if !s.opts.fastOpenNoCookie {
		cfg.FastOpenNoCookie = s.m.h.config.TCP.FastOpenNoCookie
	}
	return cfg
}

// sendFastOpen is tcp_sendmsg_fastopen: it opens the connection with what fits into the SYN. more says that the call goes
// on as any other; it then waits for the handshake.
func (s *socket) sendFastOpen(g *sending, wait bool) (value int64, errno Errno, more bool) {
	n := min(g.want, int64(len(zeros)))
	if g.null { // what cannot be copied does not go with the SYN (tcp_send_syn_data: fallback)
		n = 0
	}
	if s.deferred() {
		k, _ := s.conn.Write(zeros[:n]) // it takes what goes with the SYN; the rest waits for the handshake
		return s.openedFast(g, int64(k), wait)
	}
	switch {
	case g.unspec || !s.m.sysctls.fastOpen(fastOpenClient):
		return -1, EOPNOTSUPP, false
	case s.phase == phaseConnected || s.phase == phaseListening:
		return -1, EISCONN, false
	case s.phase == phaseConnecting && s.state() == tcpstack.StateSynSent:
		return -1, EALREADY, false
	case s.phase == phaseConnecting:
		return 0, 0, true
	case !g.to.IsValid():
		return -1, EINVAL, false
	}
	s.tell(socketConnecting, g.to)
	s.over, s.sawFIN, s.shut, s.left = false, false, 0, 0
	conn, k, err := s.m.h.stack.DialFastOpen(s.local, g.to, s.clientConfig(), zeros[:n], s)
	if err != nil {
		return -1, errnoOf(err), false
	}
	s.conn, s.phase = conn, phaseConnecting
	conn.SetUrgentInline(s.opts.oobInline)
	return s.openedFast(g, int64(k), wait)
}

// openedFast: a call that does not wait returns what went with the SYN, or EINPROGRESS if nothing did.
func (s *socket) openedFast(g *sending, k int64, wait bool) (value int64, errno Errno, more bool) {
	g.begun, g.inSYN, g.sent = true, k, k
	s.sent.offset += uint64(k)
	switch {
	case wait:
		return 0, 0, true
	case k > 0:
		return k, 0, false
	}
	return -1, EINPROGRESS, false
}
