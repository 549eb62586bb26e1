package packetdrill

import (
	"fmt"

	"labd.dev/tcpstack"
)

// ready is tcp_poll and datagram_poll.
func (s *socket) ready() uint32 {
	if s.datagram != nil {
		return s.datagram.ready()
	}
	s.settle()
	state := s.state()
	if state == tcpstack.StateListen {
		if s.acceptable() {
			return readableBits
		}
		return 0
	}
	var bits uint32
	shut := s.shutdowns()
	if shut == shutRead|shutWrite || state == tcpstack.StateClosed || state == tcpstack.StateTimeWait {
		bits |= epollHup
	}
	if shut&shutRead != 0 {
		bits |= readableBits | epollRdhup
	}
	switch {
	case state == tcpstack.StateSynSent && s.deferred():
		bits |= writableBits
	case state == tcpstack.StateSynSent || state == tcpstack.StateSynRcvd && s.conn.Initiator():
	default:
		if s.buffered() >= max(1, s.opts.rcvlowat)+s.urgentByte() {
			bits |= readableBits
		}
		if shut&shutWrite != 0 || s.writable() {
			bits |= writableBits
		} else {
			s.noSpace = true
		}
		bits |= s.urgentBits()
	}
	if s.err != 0 || len(s.errors.list) > 0 {
		bits |= epollErr
	}
	return bits
}

// writable is __sk_stream_is_writeable: half as much memory as is queued must be free, and less than half the low-water
// mark unsent.
func (s *socket) writable() bool {
	if s.conn == nil {
		return true
	}
	queued := s.conn.SendMemory()
	return s.conn.SendBuffer()-queued >= queued>>1 && s.conn.SendBuffer() > queued &&
		(s.opts.notsentLowat == 0 || 2*int64(s.conn.Info().NotsentBytes) < s.opts.notsentLowat)
}

// urgentBits says whether urgent data is there to be read.
func (s *socket) urgentBits() uint32 {
	if s.conn != nil && s.conn.UrgentReady() {
		return epollPri
	}
	return 0
}

// urgentByte is 1 where what is read next is an urgent byte that no read returns.
func (s *socket) urgentByte() int64 {
	if s.conn != nil && s.conn.AtMark() && !s.opts.oobInline {
		return 1
	}
	return 0
}

// inq is tcp_inq: the bytes up to the urgent one.
func (s *socket) inq() int64 {
	if s.conn == nil {
		return s.left
	}
	return int64(s.conn.BeforeMark())
}

func (d *datagram) ready() uint32 {
	bits := uint32(writableBits)
	if len(d.queue) > 0 {
		bits |= readableBits
	}
	if d.s.shut&shutRead != 0 {
		bits |= readableBits | epollRdhup
	}
	if d.s.shut == shutRead|shutWrite {
		bits |= epollHup
	}
	if d.s.err != 0 || len(d.s.errors.list) > 0 {
		bits |= epollErr
	}
	return bits
}

// maxPolled bounds the descriptors of one poll (RLIMIT_NOFILE's usual value).
const maxPolled = 1024

// pollCall is poll([{fd = 3, events = POLLIN, revents = POLLIN}, ...], count, timeout).
func (m *machine) pollCall(a *arguments) operation {
	if !a.count(3, 3) {
		return operation{}
	}
	list := a.at(0)
	if list.Kind != ExprList || len(list.List) > maxPolled {
		a.fail(fmt.Errorf("argument 1 is no array of at most %d pollfds", maxPolled))
		return operation{}
	}
	var sets []polled
	for _, e := range list.List {
		p, err := m.polled(e)
		if err != nil {
			a.fail(err)
			return operation{}
		}
		sets = append(sets, p)
	}
	if n := a.int(1); a.err == nil && n != int64(len(sets)) {
		a.fail(fmt.Errorf("%d descriptors are announced, there are %d", n, len(sets)))
	}
	until, waits := m.timeout(a.int(2))
	look := func() (n int64) {
		for i := range sets {
			if sets[i].look(m); sets[i].got != 0 {
				n++
			}
		}
		return n
	}
	op := operation{until: until, late: func() (int64, Errno) { return look(), 0 }}
	op.try = func() (int64, Errno, bool) {
		n := look()
		return n, 0, n > 0 || !waits
	}
	op.wrote = func() error {
		for i, p := range sets {
			if p.got != p.want {
				return fmt.Errorf("revents of pollfd %d is %s, expected %s", i+1, names("POLL", p.got), names("POLL", p.want))
			}
		}
		return nil
	}
	return op
}

// polled is one struct pollfd.
type polled struct {
	fd                int
	events, want, got uint32
}

func (m *machine) polled(e *Expr) (p polled, err error) {
	for _, name := range []string{"fd", "events", "revents"} {
		if e.Kind != ExprStruct || e.Field(name) == nil {
			return p, fmt.Errorf("a pollfd has no %s", name)
		}
		n, err := m.integer(e.Field(name).Value)
		if err != nil {
			return p, err
		}
		switch name {
		case "fd":
			p.fd = int(n)
		case "events":
			p.events = uint32(uint16(n))
		case "revents":
			p.want = uint32(uint16(n))
		}
	}
	return p, nil
}

// look is do_pollfd.
func (p *polled) look(m *machine) {
	p.got = 0
	if p.fd < 0 {
		return
	}
	f := m.descriptor(p.fd)
	if f == nil {
		p.got = epollNval
		return
	}
	p.got = f.ready() & (p.events | epollErr | epollHup)
}
