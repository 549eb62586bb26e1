package packetdrill

import (
	"net/netip"

	"labd.dev/tcpstack"
)

// systemCalls are the calls that scripts may make. Each reads its arguments and returns what is then to be tried.
var systemCalls map[string]func(*machine, *arguments) operation

func init() {
	systemCalls = map[string]func(*machine, *arguments) operation{
		"socket": (*machine).socketCall, "bind": (*machine).bindCall, "listen": (*machine).listenCall,
		"accept": (*machine).acceptCall, "accept4": (*machine).acceptCall, "connect": (*machine).connectCall,
		"shutdown": (*machine).shutdownCall, "close": (*machine).closeCall,
		"read": (*machine).readCall, "readv": (*machine).readvCall, "recv": (*machine).recvCall,
		"recvfrom": (*machine).recvfromCall, "recvmsg": (*machine).recvmsgCall,
		"write": (*machine).writeCall, "writev": (*machine).writevCall, "send": (*machine).sendCall,
		"sendto": (*machine).sendtoCall, "sendmsg": (*machine).sendmsgCall,
		"fcntl": (*machine).fcntlCall, "ioctl": (*machine).ioctlCall,
		"getsockopt": (*machine).getsockoptCall, "setsockopt": (*machine).setsockoptCall,
		"poll": (*machine).pollCall, "epoll_create": (*machine).epollCreateCall, "epoll_create1": (*machine).epollCreateCall,
		"epoll_ctl": (*machine).epollCtlCall, "epoll_wait": (*machine).epollWaitCall,
		"open": (*machine).openCall, "sendfile": (*machine).sendfileCall,
		"pipe": (*machine).pipeCall, "splice": (*machine).spliceCall, "cap_set": (*machine).capSetCall,
	}
}

// socketCall is socket(domain, type, protocol).
func (m *machine) socketCall(a *arguments) operation {
	if !a.count(3, 3) {
		return operation{}
	}
	domain := int64(afInet)
	if m.h.family != familyIPv4 {
		domain = afInet6
	}
	if a.at(0).Kind != ExprEllipsis {
		domain = a.int(0)
	}
	kind, protocol := a.int(1), a.int(2)
	switch {
	case a.err != nil:
	case domain != afInet && domain != afInet6:
		return done(-1, EAFNOSUPPORT)
	case kind&^(sockTypeMask|sockNonblock|sockCloexec) != 0:
		return done(-1, EINVAL)
	case kind&sockTypeMask == sockStream && (protocol == 0 || protocol == protoTCP):
	case kind&sockTypeMask == sockDgram && (protocol == 0 || protocol == protoUDP):
	case kind&sockTypeMask == sockDgram && (protocol == protoICMP || protocol == protoICMPv6):
		a.fail(skipf("sockets of ICMP"))
	case kind&sockTypeMask == sockStream || kind&sockTypeMask == sockDgram:
		a.fail(skipf("protocol %d", protocol))
	default:
		a.fail(skipf("sockets of type %d", kind&sockTypeMask))
	}
	if a.err != nil {
		return operation{}
	}
	s := m.newSocket(domain)
	s.nonblock = kind&sockNonblock != 0
	s.opts.init(m)
	if kind&sockTypeMask == sockDgram {
		s.datagram = &datagram{s: s}
	}
	op := done(0, 0)
	install := m.install(s)
	op.opened = func(fd int) {
		install(fd)
		s.tell(socketOpened, netip.AddrPort{})
	}
	return op
}

// bindCall is bind(fd, address, length).
func (m *machine) bindCall(a *arguments) operation {
	s, errno := a.socket(0)
	addr, _ := a.sockaddr(1, m.h.bind)
	short := a.shortAddress(2)
	if !a.count(3, 3) {
		return operation{}
	}
	return immediate(func() (int64, Errno) {
		switch {
		case errno != 0:
			return -1, errno
		case short:
			return -1, EINVAL
		case s.local.IsValid() || s.phase != phaseNew:
			return -1, EINVAL // "inet->inet_num"
		}
		return status(s.bind(addr))
	})
}

// bind gives a socket its address. Other sockets bound to it are in its way unless all have SO_REUSEADDR and none
// listens, or all SO_REUSEPORT.
func (s *socket) bind(addr netip.AddrPort) Errno {
	for _, o := range s.m.sockets {
		if o == s || o.proto() != s.proto() || !o.local.IsValid() || o.local.Port() != addr.Port() || addr.Port() == 0 {
			continue
		}
		if !unspecified(o.local) && !unspecified(addr) && o.local.Addr() != addr.Addr() {
			continue
		}
		if o.opts.reuseAddr && s.opts.reuseAddr && o.lsn == nil || o.opts.reusePort && s.opts.reusePort {
			continue
		}
		return EADDRINUSE
	}
	s.local = addr
	if s.datagram != nil {
		if e := s.datagram.open(); e != 0 {
			s.local = netip.AddrPort{}
			return e
		}
		s.tell(socketListening, netip.AddrPort{})
	}
	return 0
}

// listenCall is listen(fd, backlog).
func (m *machine) listenCall(a *arguments) operation {
	s, errno := a.socket(0)
	backlog := a.int(1)
	if !a.count(2, 2) {
		return operation{}
	}
	return immediate(func() (int64, Errno) {
		switch {
		case errno != 0:
			return -1, errno
		case s.datagram != nil:
			return -1, EOPNOTSUPP
		case s.phase != phaseNew && s.phase != phaseListening:
			return -1, EINVAL
		}
		return status(s.listen(backlog))
	})
}

// acceptCall is accept(fd, address, length) and accept4(fd, address, length, flags).
func (m *machine) acceptCall(a *arguments) operation {
	s, errno := a.socket(0)
	var flags int64
	if len(a.list) == 4 {
		flags = a.int(3)
	}
	if !a.count(3, 4) {
		return operation{}
	}
	if errno == 0 && flags&^(sockNonblock|sockCloexec) != 0 {
		errno = EINVAL
	}
	if errno == 0 && s.datagram != nil {
		errno = EOPNOTSUPP
	}
	if errno != 0 {
		return done(-1, errno)
	}
	var child *socket
	op := operation{try: func() (int64, Errno, bool) {
		if s.phase != phaseListening {
			return -1, EINVAL, true
		}
		var e Errno
		if child, e = s.accept(); e == EAGAIN && !s.nonblock {
			return 0, 0, false
		} else if e != 0 {
			return -1, e, true
		}
		child.nonblock = flags&sockNonblock != 0
		return 0, 0, true
	}}
	op.opened = func(fd int) { m.install(child)(fd) }
	op.expires(s, s.opts.rcvtimeo, func() (int64, Errno) { return -1, EAGAIN })
	return op
}

// connectCall is connect(fd, address, length).
func (m *machine) connectCall(a *arguments) operation {
	s, errno := a.socket(0)
	addr, unspec := a.sockaddr(1, m.h.dial)
	short := a.shortAddress(2)
	if !a.count(3, 3) {
		return operation{}
	}
	if errno == 0 && short && !unspec {
		errno = EINVAL
	}
	if errno != 0 {
		return done(-1, errno)
	}
	if s.datagram != nil {
		return immediate(func() (int64, Errno) { return status(s.datagram.connect(addr, unspec)) })
	}
	if unspec {
		return immediate(func() (int64, Errno) {
			s.disconnect()
			return 0, 0
		})
	}
	begun := false
	op := operation{try: func() (int64, Errno, bool) {
		if !begun {
			begun = true
			if e := s.beginConnect(addr); e != 0 {
				if e == EINPROGRESS && s.deferred() {
					return 0, 0, true
				}
				if e != EINPROGRESS && e != EALREADY || s.nonblock {
					return -1, e, true
				}
			}
		}
		return s.connected()
	}}
	op.expires(s, s.opts.sndtimeo, func() (int64, Errno) { return -1, EINPROGRESS })
	return op
}

// shutdownCall is shutdown(fd, how).
func (m *machine) shutdownCall(a *arguments) operation {
	s, errno := a.socket(0)
	how := a.int(1)
	if !a.count(2, 2) {
		return operation{}
	}
	return immediate(func() (int64, Errno) {
		switch {
		case errno != 0:
			return -1, errno
		case how < 0 || how > 2:
			return -1, EINVAL
		}
		return status(s.shutdown(uint8(how) + 1))
	})
}

// Arguments of cap_set.
const (
	capEffective = 0
	capClear     = 0
	capNetAdmin  = 12
)

// capSetCall is cap_set(set, capability, value): of the capabilities CAP_NET_ADMIN counts, which some options ask for.
func (m *machine) capSetCall(a *arguments) operation {
	set, capability, value := a.int(0), a.int(1), a.int(2)
	if !a.count(3, 3) {
		return operation{}
	}
	return immediate(func() (int64, Errno) {
		if set == capEffective && capability == capNetAdmin {
			m.unprivileged = value == capClear
		}
		return 0, 0
	})
}

// closeCall is close(fd).
func (m *machine) closeCall(a *arguments) operation {
	fd := int(a.int(0))
	if !a.count(1, 1) {
		return operation{}
	}
	f := m.descriptor(fd)
	if f == nil {
		return done(-1, EBADF)
	}
	m.remove(fd)
	s, isSocket := f.(*socket)
	if m.numberOf(f) >= 0 { // a duplicate is open still
		return done(0, 0)
	}
	switch f := f.(type) {
	case *epoll:
		f.close()
	case *pipeEnd:
		f.close()
	}
	if !isSocket {
		return done(0, 0)
	}
	begun := false
	op := operation{try: func() (int64, Errno, bool) {
		if !begun {
			begun = true
			s.close()
		}
		if s.lingering() {
			return 0, 0, false
		}
		s.orphan()
		return 0, 0, true
	}}
	if s.opts.lingers && s.opts.linger > 0 {
		op.until, op.late = s.lingerUntil(), func() (int64, Errno) {
			s.orphan()
			return 0, 0
		}
	}
	return op
}

// shutdown shuts halves of a connection, as inet_shutdown does.
func (s *socket) shutdown(how uint8) Errno {
	if s.datagram != nil {
		if !s.datagram.remote.IsValid() {
			return ENOTCONN
		}
		s.shut |= how
		s.change(readableBits | writableBits | epollHup | epollRdhup)
		return 0
	}
	switch s.state() {
	case tcpstack.StateClosed:
		s.change(readableBits | writableBits | epollHup)
		return ENOTCONN
	case tcpstack.StateListen:
		if how&shutRead != 0 {
			s.stopListening()
			s.phase = phaseNew
		}
	case tcpstack.StateSynSent:
		s.disconnect()
	default:
		s.shut |= how
		if how&shutRead != 0 {
			s.conn.CloseRead()
		}
		if how&shutWrite != 0 {
			s.conn.CloseWrite()
		}
	}
	s.change(readableBits | writableBits | epollHup | epollRdhup)
	return 0
}
