package packetdrill

import (
	"fmt"
	"net/netip"

	"labd.dev/sim"
)

// readCall is read(fd, ..., n).
func (m *machine) readCall(a *arguments) operation {
	s, errno := a.socket(0)
	null := a.buffer(1)
	n := a.int(2)
	if !a.count(3, 3) {
		return operation{}
	}
	return m.receive(s, errno, &receiving{want: n, null: null})
}

// readvCall is readv(fd, [{..., n}, ...], count).
func (m *machine) readvCall(a *arguments) operation {
	s, errno := a.socket(0)
	n := a.vector(1, 2)
	if !a.count(3, 3) {
		return operation{}
	}
	return m.receive(s, errno, &receiving{want: n})
}

// recvCall is recv(fd, ..., n, flags).
func (m *machine) recvCall(a *arguments) operation {
	s, errno := a.socket(0)
	r := &receiving{null: a.buffer(1), want: a.int(2), flags: a.int(3)}
	if !a.count(4, 4) {
		return operation{}
	}
	return m.receive(s, errno, r)
}

// recvfromCall is recvfrom(fd, ..., n, flags, address, length).
func (m *machine) recvfromCall(a *arguments) operation {
	s, errno := a.socket(0)
	r := &receiving{null: a.buffer(1), want: a.int(2), flags: a.int(3)}
	if !a.count(6, 6) {
		return operation{}
	}
	return m.receive(s, errno, r)
}

// recvmsgCall is recvmsg(fd, {msg_iov(1) = [...], ...}, flags).
func (m *machine) recvmsgCall(a *arguments) operation {
	s, errno := a.socket(0)
	msg := a.message(1)
	r := &receiving{flags: a.int(2), message: &received{}}
	if !a.count(3, 3) {
		return operation{}
	}
	r.want = sum(msg.buffers)
	op := m.receive(s, errno, r)
	op.wrote = func() error { return m.compareMessage(s, msg, r.message) }
	return op
}

// writeCall is write(fd, ..., n).
func (m *machine) writeCall(a *arguments) operation {
	s, errno := a.socket(0)
	null := a.buffer(1)
	n := a.int(2)
	if !a.count(3, 3) {
		return operation{}
	}
	return m.transmit(s, errno, &sending{want: n, null: null})
}

// writevCall is writev(fd, [{..., n}, ...], count).
func (m *machine) writevCall(a *arguments) operation {
	s, errno := a.socket(0)
	n := a.vector(1, 2)
	if !a.count(3, 3) {
		return operation{}
	}
	return m.transmit(s, errno, &sending{want: n})
}

// sendCall is send(fd, ..., n, flags).
func (m *machine) sendCall(a *arguments) operation {
	s, errno := a.socket(0)
	g := &sending{null: a.buffer(1), want: a.int(2), flags: a.int(3)}
	if !a.count(4, 4) {
		return operation{}
	}
	return m.transmit(s, errno, g)
}

// sendtoCall is sendto(fd, ..., n, flags, address, length).
func (m *machine) sendtoCall(a *arguments) operation {
	s, errno := a.socket(0)
	g := &sending{null: a.buffer(1), want: a.int(2), flags: a.int(3)}
	if e := a.at(4); e.Kind == ExprEllipsis || e.Kind == ExprStruct || e.Kind == ExprWord && e.Text != "NULL" {
		g.to, g.unspec = a.sockaddr(4, m.h.dial)
	} else if a.int(4) != 0 { // a null pointer names nobody
		a.fail(fmt.Errorf("argument 5 is no address"))
	}
	if !a.count(6, 6) {
		return operation{}
	}
	return m.transmit(s, errno, g)
}

// sendmsgCall is sendmsg(fd, {msg_name(...) = ..., msg_iov(1) = [...], ...}, flags).
func (m *machine) sendmsgCall(a *arguments) operation {
	s, errno := a.socket(0)
	msg := a.message(1)
	g := &sending{flags: a.int(2), control: msg.control}
	if !a.count(3, 3) {
		return operation{}
	}
	if msg.flags != 0 {
		a.fail(fmt.Errorf("sendmsg ignores msg_flags"))
		return operation{}
	}
	g.want, g.parts = sum(msg.buffers), msg.buffers
	if msg.named {
		g.to = m.h.dial
	}
	return m.transmit(s, errno, g)
}

// vector reads an array of iovecs and its length, which must agree.
func (a *arguments) vector(i, count int) int64 {
	lengths := a.buffers(i)
	if n := a.int(count); a.err == nil && n != int64(len(lengths)) {
		a.fail(fmt.Errorf("%d iovecs are announced, there are %d", n, len(lengths)))
	}
	return sum(lengths)
}

// receive makes the operation of all calls that receive.
func (m *machine) receive(s *socket, errno Errno, r *receiving) operation {
	switch {
	case errno != 0:
		return done(-1, errno)
	case r.want < 0:
		return done(-1, EINVAL)
	case s.datagram != nil:
		return operation{try: func() (int64, Errno, bool) { return s.datagram.receive(r) }}
	case r.flags&msgErrqueue != 0:
		return immediate(func() (int64, Errno) { return s.receiveError(r) })
	}
	op := operation{try: func() (int64, Errno, bool) { return s.receive(r) }}
	op.expires(s, s.opts.rcvtimeo, func() (int64, Errno) {
		if r.got > 0 {
			s.readMessage(r)
			return r.got, 0
		}
		return -1, EAGAIN
	})
	return op
}

// expires bounds how long a call waits (SO_RCVTIMEO, SO_SNDTIMEO); late says what it returns then.
func (op *operation) expires(s *socket, after sim.Time, late func() (int64, Errno)) {
	if after != 0 && !s.nonblock {
		op.until, op.late = s.m.after(after), late
	}
}

// transmit makes the operation of all calls that send.
func (m *machine) transmit(s *socket, errno Errno, g *sending) operation {
	switch {
	case errno != 0:
		return done(-1, errno)
	case g.want < 0:
		return done(-1, EINVAL)
	case g.null && g.want > 0 && (s.datagram != nil || g.flags&msgFastopen == 0):
		return done(-1, EFAULT)
	case s.datagram != nil:
		return immediate(func() (int64, Errno) { return s.datagram.send(g) })
	}
	if err := g.supported(); err != nil {
		return operation{try: func() (int64, Errno, bool) { return 0, 0, true }, wrote: func() error { return err }}
	}
	op := operation{try: func() (int64, Errno, bool) { return s.send(g) }}
	op.expires(s, s.opts.sndtimeo, func() (int64, Errno) {
		s.noteSent(g)
		value, errno, _ := g.result(EAGAIN)
		return value, errno
	})
	return op
}

// receiving is a call that receives: what it asks for and how far it is.
type receiving struct {
	want    int64
	got     int64
	flags   int64
	null    bool
	message *received // of recvmsg; nil: nobody asks
}

// sending is a call that sends.
type sending struct {
	want, sent int64
	flags      int64
	null       bool
	to         netip.AddrPort // zero: nobody is named
	unspec     bool           // the address is of AF_UNSPEC
	control    []control
	parts      []int64 // the buffers of sendmsg, which MSG_ZEROCOPY sends from
	begun      bool    // a Fast Open connect has begun
	biased     bool    // its SYN has taken all there was: no data follows that could acknowledge the SYN,ACK
	waits      bool    // it waits for room
	inSYN      int64   // bytes that went with its SYN
}
