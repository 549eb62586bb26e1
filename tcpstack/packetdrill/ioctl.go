package packetdrill

import (
	"fmt"

	"labd.dev/tcpstack"
)

// fcntlCall is fcntl(fd, command) and fcntl(fd, command, argument).
func (m *machine) fcntlCall(a *arguments) operation {
	f, command := a.file(0), a.int(1)
	var arg int64
	if len(a.list) == 3 {
		arg = a.int(2)
	}
	if !a.count(2, 3) {
		return operation{}
	}
	if f == nil {
		return done(-1, EBADF)
	}
	s, isSocket := f.(*socket)
	const (
		dupfd, getfd, setfd, getfl, setfl = 0, 1, 2, 3, 4
		dupfdCloexec                      = 1030
		readWrite                         = 2 // O_RDWR
	)
	switch command {
	case getfd, setfd:
		return done(0, 0)
	case getfl:
		flags := int64(readWrite)
		if isSocket && s.nonblock {
			flags |= sockNonblock
		}
		return done(flags, 0)
	case setfl:
		return immediate(func() (int64, Errno) {
			if isSocket {
				s.nonblock = arg&sockNonblock != 0
			}
			return 0, 0
		})
	case dupfd, dupfdCloexec:
		op := done(0, 0)
		op.opened = m.install(f)
		return op
	}
	a.fail(skipf("fcntl command %d", command))
	return operation{}
}

// Requests of ioctl.
const (
	ioctlFIONBIO    = 0x5421
	ioctlOutq       = 0x5411 // SIOCOUTQ
	ioctlInq        = 0x541b // SIOCINQ, FIONREAD
	ioctlAtMark     = 0x8905
	ioctlOutqUnsent = 0x894b // SIOCOUTQNSD
)

// ioctlCall is ioctl(fd, request, [value]).
func (m *machine) ioctlCall(a *arguments) operation {
	s, errno := a.socket(0)
	request := a.int(1)
	want, given := a.boxed(2)
	if !a.count(2, 3) {
		return operation{}
	}
	if errno != 0 {
		return done(-1, errno)
	}
	var got int64
	op := immediate(func() (int64, Errno) {
		var e Errno
		if request == ioctlFIONBIO {
			s.nonblock = want != 0
			got = want
			return 0, 0
		}
		got, e = s.ioctl(request)
		return status(e)
	})
	switch request {
	case ioctlFIONBIO, ioctlOutq, ioctlInq, ioctlAtMark, ioctlOutqUnsent:
	default:
		a.fail(skipf("ioctl request %#x", request))
	}
	if given {
		op.wrote = func() error {
			if got != want {
				return fmt.Errorf("ioctl gave %d, expected %d", got, want)
			}
			return nil
		}
	}
	return op
}

// ioctl is tcp_ioctl.
func (s *socket) ioctl(request int64) (int64, Errno) {
	if s.datagram != nil {
		if request == ioctlInq && len(s.datagram.queue) > 0 {
			return int64(s.datagram.queue[0]), 0
		}
		return 0, 0
	}
	state := s.state()
	if state == tcpstack.StateListen {
		return 0, EINVAL
	}
	if s.conn == nil {
		return 0, 0
	}
	connecting := state == tcpstack.StateSynSent || state == tcpstack.StateSynRcvd
	switch request {
	case ioctlInq:
		if connecting {
			return 0, 0
		}
		return s.inq(), 0
	case ioctlOutq:
		if connecting {
			return 0, 0
		}
		return s.conn.Outstanding(), 0
	case ioctlOutqUnsent:
		if connecting {
			return 0, 0
		}
		return int64(s.conn.Info().NotsentBytes), 0
	case ioctlAtMark:
		return s.atMark(), 0
	}
	return 0, EINVAL
}

// atMark says whether what is read next is what came with urgent data.
func (s *socket) atMark() int64 { return b2i(s.conn.AtMark()) }
