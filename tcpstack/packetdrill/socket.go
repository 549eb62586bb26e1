package packetdrill

import (
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// phase is what a stream socket has come to, as Linux's struct socket tells it (SS_UNCONNECTED, SS_CONNECTING,
// SS_CONNECTED); a listening socket is apart.
type phase uint8

const (
	phaseNew phase = iota
	phaseListening
	phaseConnecting
	phaseConnected
)

// socket is a socket of AF_INET or AF_INET6.
type socket struct {
	m        *machine
	domain   int64
	datagram *datagram // of SOCK_DGRAM; nil: a stream
	nonblock bool
	opts     options
	local    netip.AddrPort // bound to; zero: not bound

	phase    phase
	conn     *tcpstack.Conn
	lsn      *tcpstack.Listener
	shut     uint8 // sk_shutdown: shutRead, shutWrite
	err      Errno // sk_err: what went wrong and has not been reported
	sawFIN   bool  // the peer's FIN has come (SOCK_DONE)
	over     bool  // the connection is gone
	left     int64 // bytes that had come before and were not read: a reset does not take them back
	closed   bool  // no descriptor is left
	last     tcpstack.Info
	sent     sendQueue // of what was sent that somebody wants to hear of
	errors   errorQueue
	stamps   timestamps
	savedSYN []byte // the headers of the SYN that it was made from (TCP_SAVE_SYN)
	noSpace  bool   // who looked found no room to write: it is told when there is (SOCK_NOSPACE)
	watchers []*epollItem
}

// unconnected is the tcp_info of a socket that has no connection yet (tcp_init_sock).
var unconnected = tcpstack.Info{SndCwnd: 10, SndSSThresh: 0x7fffffff, RTOUs: 1_000_000, SndMSS: defaultMSS, Reordering: 3,
	MaxPacingRate: 1<<64 - 1}

// newSocket makes a stream socket or, with datagrams, one of UDP.
func (m *machine) newSocket(domain int64) *socket {
	s := &socket{m: m, domain: domain, last: unconnected}
	m.sockets = append(m.sockets, s)
	return s
}

// proto is what the runner calls the socket's protocol.
func (s *socket) proto() Proto {
	if s.datagram != nil {
		return ProtoUDP
	}
	return ProtoTCP
}

// tell lets the runner know which packets are this socket's from now on.
func (s *socket) tell(kind socketEventKind, remote netip.AddrPort) {
	if under := s.m.h.under; under != nil {
		under(socketEvent{kind: kind, proto: s.proto(), local: s.local, remote: remote})
	}
}

// change lets those hear who wait for the socket: key holds the EPOLL bits that a wait queue would be woken with.
func (s *socket) change(key uint32) {
	for _, w := range s.watchers {
		w.woken(key)
	}
	s.m.happened()
}

func (s *socket) watch(w *epollItem) { s.watchers = append(s.watchers, w) }

func (s *socket) unwatch(w *epollItem) { s.watchers = without(s.watchers, w) }

func without[T comparable](list []T, x T) []T {
	for i, y := range list {
		if x == y {
			return append(list[:i:i], list[i+1:]...)
		}
	}
	return list
}

// buffered is how many bytes can be read.
func (s *socket) buffered() int64 {
	if s.conn == nil {
		return s.left
	}
	return int64(s.conn.Buffered())
}

// takeError is sock_error: the pending error, which is then forgotten.
func (s *socket) takeError() Errno {
	e := s.err
	s.err = 0
	return e
}

// state is the connection's state in RFC 9293's words, CLOSED where there is none.
func (s *socket) state() tcpstack.State {
	switch {
	case s.lsn != nil:
		return tcpstack.StateListen
	case s.conn == nil || s.over:
		return tcpstack.StateClosed
	}
	return s.conn.State()
}

// shutdowns is sk_shutdown: what the application has shut, and what the peer or the end of the connection has.
func (s *socket) shutdowns() uint8 {
	shut := s.shut
	if s.over {
		return shutRead | shutWrite
	}
	if s.peerShut() {
		shut |= shutRead
	}
	return shut
}

// peerShut says whether the peer's FIN has come.
func (s *socket) peerShut() bool {
	if s.conn == nil {
		return false
	}
	switch s.conn.State() {
	case tcpstack.StateCloseWait, tcpstack.StateLastAck, tcpstack.StateClosing, tcpstack.StateTimeWait:
		return true
	}
	return false
}

// waits says whether a call on the socket may wait.
func (s *socket) waits(flags int64) bool { return !s.nonblock && flags&msgDontwait == 0 }

// Established: the handshake of a connect is complete.
func (s *socket) Established(*tcpstack.Conn) {
	s.change(writableBits)
}

// Readable: data has come, or the peer's FIN.
func (s *socket) Readable(c *tcpstack.Conn) {
	key := uint32(readableBits | epollRdband)
	if !s.sawFIN && s.peerShut() {
		s.sawFIN = true
		key |= epollRdhup
	}
	s.change(key)
}

// Urgent: the peer has urgent data (sk_send_sigurg, and sk_data_ready when it has come).
func (s *socket) Urgent(*tcpstack.Conn) { s.change(readableBits | epollPri | epollRdband) }

// Writable: there is room in the send buffer again.
func (s *socket) Writable(*tcpstack.Conn) { s.change(writableBits) }

// Drained: all that was written has been acknowledged.
func (s *socket) Drained(*tcpstack.Conn) { s.change(0) }

// Closed: the connection is gone.
func (s *socket) Closed(c *tcpstack.Conn, err error) {
	if s.over {
		return // inherit has told it
	}
	s.last = c.Info()
	s.over = true
	if err == nil {
		s.stamps.acked(s, s.sent.offset) // the acknowledgement that ended the connection
	}
	s.left = int64(c.Buffered())
	s.conn = nil
	switch {
	case err == tcpstack.ErrReset && s.sawFIN:
		s.err = EPIPE // tcp_reset, in CLOSE_WAIT
	case err != nil && err != tcpstack.ErrAborted:
		s.err = errnoOf(err)
		// tcp_v4_err, and tcp_write_err: "sk->sk_err_soft ? : ETIMEDOUT".
		if e, ok := c.LastICMP(); ok && err != tcpstack.ErrReset && err != tcpstack.ErrRefused {
			s.err, _ = icmpErrno(e)
		}
	}
	s.sent.abandon(s)
	s.change(readableBits | writableBits | epollErr | epollHup | epollRdhup)
	if s.closed {
		s.forget()
	}
}

// forget lets go of a socket that no descriptor and no connection holds.
func (s *socket) forget() { s.m.sockets = without(s.m.sockets, s) }

// SoftError: an ICMP error that does not end the connection (tcp_v4_err: "if (inet_test_bit(RECVERR, sk))").
func (s *socket) SoftError(c *tcpstack.Conn, err error) {
	if e, ok := c.LastICMP(); ok && s.opts.recverr && err != tcpstack.ErrNoAnswer {
		s.err, _ = icmpErrno(e)
		s.change(epollErr)
	}
}

// close is what the last descriptor's close does to a socket, but for what SO_LINGER waits for.
func (s *socket) close() {
	s.closed = true
	for _, w := range s.watchers {
		w.gone = true
	}
	s.watchers = nil
	switch {
	case s.datagram != nil:
		s.datagram.close()
		s.forget()
	case s.lsn != nil:
		s.stopListening()
		s.forget()
	case s.conn == nil:
		s.forget()
	case s.opts.lingers && s.opts.linger == 0:
		// tcp_close: "if (sock_flag(sk, SOCK_LINGER) && !sk->sk_lingertime)" disconnects, which resets.
		s.conn.Abort()
	case s.lingers():
		s.conn.CloseWrite()
	default:
		s.conn.Close()
	}
}

// lingers says whether close waits for the peer: SO_LINGER with a time, on a socket that may wait, and nothing unread.
func (s *socket) lingers() bool {
	return s.opts.lingers && s.opts.linger > 0 && !s.nonblock && s.conn.Buffered() == 0
}

// orphan lets go of a connection that close has waited for.
func (s *socket) orphan() {
	if s.conn != nil {
		s.conn.Close()
	}
}

// lingering says whether a close has to wait longer: data or the FIN is not yet acknowledged.
func (s *socket) lingering() bool {
	if s.conn == nil || !s.lingers() {
		return false
	}
	switch s.conn.State() {
	case tcpstack.StateFinWait1, tcpstack.StateClosing, tcpstack.StateLastAck:
		return true
	}
	return false
}

// lingerUntil is when a close that waits gives up.
func (s *socket) lingerUntil() sim.Time { return s.m.after(sim.Time(s.opts.linger) * sim.Second) }
