package tcpstack

import "net/netip"

// acceptQueue holds the connections whose handshake is complete until the application takes them.
type acceptQueue struct {
	q     []*Conn // [first:] wait, the oldest first
	first int
	limit int    // Linux: sk_max_ack_backlog; one connection more than it may wait
	ready func() // a connection has come
}

// ListenQueue takes connections on local's port as Listen does, but leaves them in a queue, as listen(2) does: Accept
// takes the oldest one out. backlog bounds the queue and the connections half open. ready, if not nil, is called inside
// the loop each time that a connection has come.
//
// What finds the queue full is as in Linux: a SYN is dropped, and so is the ACK that would complete a handshake (or it is
// answered with a reset, see TCPConfig.AbortOnOverflow); the SYN,ACK is sent again meanwhile.
func (s *Stack) ListenQueue(local netip.AddrPort, cfg TCPConfig, backlog int, ready func()) (*Listener, error) {
	l, err := s.listen(local, cfg)
	if err != nil {
		return nil, err
	}
	l.queue = &acceptQueue{ready: ready}
	l.SetBacklog(backlog)
	return l, nil
}

// SetBacklog changes the bound of a listener with a queue, as calling listen(2) again does.
func (l *Listener) SetBacklog(n int) { l.queue.limit = max(0, min(n, maxQueue)) }

// Accept takes the oldest connection out of the queue; false if none waits. It has no handler yet: SetHandler gives it
// one. It may have data, have been closed by the peer, or be gone altogether (its State is CLOSED then, and Read tells
// why).
func (l *Listener) Accept() (*Conn, bool) {
	a := l.queue
	if a == nil || a.waiting() == 0 {
		return nil, false
	}
	c := a.q[a.first]
	a.q[a.first] = nil
	if a.first++; a.first == len(a.q) {
		a.q, a.first = a.q[:0], 0
	}
	c.lsn = nil
	return c, true
}

// Waiting is how many connections wait to be accepted.
func (l *Listener) Waiting() int {
	if l.queue == nil {
		return 0
	}
	return l.queue.waiting()
}

// SetHandler says who hears of the connection from now on. What happened before is not told again: Buffered and State
// tell it. A connection that is over tells it by Closed, before SetHandler returns, or once all that had come was read.
func (c *Conn) SetHandler(h ConnHandler) {
	c.h = h
	if c.gone() && !c.dead() && c.Buffered() == 0 {
		c.farewell()
	}
}

func (a *acceptQueue) waiting() int { return len(a.q) - a.first }

// full is Linux's sk_acceptq_is_full: more than the backlog, so that a backlog of 0 still lets one connection wait.
func (l *Listener) full() bool { return l.queue != nil && l.queue.waiting() > l.queue.limit }

// push puts a connection into the queue and tells the application.
func (a *acceptQueue) push(c *Conn) {
	if a.first > 0 && len(a.q) == cap(a.q) {
		n := copy(a.q, a.q[a.first:])
		clear(a.q[n:])
		a.q, a.first = a.q[:n], 0
	}
	a.q = append(a.q, c)
	if a.ready != nil {
		a.ready()
	}
}

// abandon resets what was never accepted (Linux: inet_csk_listen_stop).
func (a *acceptQueue) abandon() {
	for _, c := range a.q[a.first:] {
		c.lsn = nil
		c.Abort()
	}
	a.q, a.first = nil, 0
}
