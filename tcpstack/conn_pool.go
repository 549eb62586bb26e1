package tcpstack

// maxFreeConns bounds the connections that a stack keeps for further ones, and their clocks: the memory of a burst is given
// back but for some 2 MiB.
const maxFreeConns = 4096

// Release says that the application will not use the connection any more once Closed has returned: its memory then serves
// another one. A Conn that nobody releases is the garbage collector's.
func (c *Conn) Release() { c.end |= endReleased }

// blankConn is a Conn whose fields are all zero.
func (s *Stack) blankConn() *Conn {
	t := &s.tcp
	c := t.freeConn
	if c == nil {
		return new(Conn)
	}
	t.freeConn, t.freeConns = c.next, t.freeConns-1
	*c = Conn{}
	return c
}

// reuse keeps a connection that is over for blankConn, if the application has released it. What called the application may
// still look at its state: it is emptied when it is taken out.
func (c *Conn) reuse() {
	t := &c.stack.tcp
	if c.end&endReleased == 0 || t.freeConns == maxFreeConns {
		return
	}
	c.next, t.freeConn = t.freeConn, c
	t.freeConns++
	if c.clock != nil && len(t.freeClocks) < maxFreeConns {
		t.freeClocks = append(t.freeClocks, c.clock)
	}
}

// blankClock is a limitClock that has not run.
func (s *Stack) blankClock() *limitClock {
	t := &s.tcp
	n := len(t.freeClocks) - 1
	if n < 0 {
		return new(limitClock)
	}
	k := t.freeClocks[n]
	t.freeClocks = t.freeClocks[:n]
	*k = limitClock{}
	return k
}
