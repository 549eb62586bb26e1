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
	data := zeros[:min(g.want, int64(len(zeros)))]
	if g.null && g.want > 0 { // what cannot be copied does not go with the SYN (tcp_send_syn_data: fallback)
		data = nil
	}
	g.begun = true
	switch {
	case g.flags&msgFastopen != 0 && (g.unspec || !s.m.sysctls.fastOpen(fastOpenClient)):
		return -1, EOPNOTSUPP, false
	case s.deferred():
		k, _ := s.conn.Write(data) // it takes what goes with the SYN; the rest waits for the handshake
		return s.openedFast(g, int64(k), wait)
	case s.phase == phaseConnected || s.phase == phaseListening:
		return -1, EISCONN, false
	case s.phase == phaseConnecting && s.opening():
		if !wait {
			return -1, EALREADY, false
		}
		return 0, 0, true
	case s.phase == phaseConnecting && s.state() == tcpstack.StateClosed:
		return -1, s.connectEnded(), false
	case s.phase == phaseConnecting:
		s.phase = phaseConnected
		return 0, 0, true
	case !g.to.IsValid():
		return -1, EINVAL, false // tcp_v4_connect: "addr_len < sizeof(struct sockaddr_in)"
	}
	s.tell(socketConnecting, g.to)
	s.over, s.sawFIN, s.shut, s.left = false, false, 0, 0
	conn, k, err := s.m.h.stack.DialFastOpen(s.local, g.to, s.clientConfig(), data, s)
	if err != nil {
		return -1, errnoOf(err), false
	}
	s.begin(conn)
	return s.openedFast(g, int64(k), wait)
}

// opening says whether the socket's own SYN, or that of a simultaneous open, waits for its answer.
func (s *socket) opening() bool {
	st := s.state()
	return st == tcpstack.StateSynSent || st == tcpstack.StateSynRcvd && s.conn.Initiator()
}

// openedFast: a call that does not wait returns what went with the SYN, or EINPROGRESS if nothing did. One that waits has
// the rest of its data acknowledge the SYN,ACK (__inet_stream_connect: writebias).
func (s *socket) openedFast(g *sending, k int64, wait bool) (value int64, errno Errno, more bool) {
	g.inSYN, g.sent = k, k
	s.sent.offset += uint64(k)
	switch {
	case wait:
		g.biased = k == g.want && s.conn.SYNWithData()
		return 0, 0, true
	case k > 0:
		return k, 0, false
	}
	return -1, EINPROGRESS, false
}

// connectEnded is what __inet_stream_connect returns to a call that has waited for a connection that did not come about.
func (s *socket) connectEnded() Errno {
	s.phase = phaseNew
	if e := s.takeError(); e != 0 {
		return e
	}
	return ECONNABORTED
}
