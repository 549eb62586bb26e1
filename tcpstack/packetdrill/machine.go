package packetdrill

import (
	"fmt"
	"net/netip"
	"slices"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// machineOrigin is the origin of the system layer's own events (the end of a wait). It sorts after the stack's and the
// runner's: what a system call does at an instant, it does after the packets of that instant.
const machineOrigin sim.Origin = 1 << 20

// machine is Linux's system-call layer over one stack: descriptors, sockets, sysctls. Nothing in it blocks: a call that
// has to wait is tried again whenever something has happened to a socket.
type machine struct {
	h            *host
	src          sim.Source
	files        []*openFile // in the order in which they were opened
	sockets      []*socket   // all that have not ended, those without a descriptor too
	call         *running    // the call under way; nil: none
	wake         waker
	limit        deadline
	sysctls      sysctlState
	code         interpreter
	unprivileged bool              // CAP_NET_ADMIN was given up
	counted      map[string]uint64 // the counters as nstat saw them last
	current      *socket           // the socket that code looks at: the last one made by socket or accept
}

// openFile is a descriptor: its number is the script's.
type openFile struct {
	fd   int
	file file
}

// file is what a descriptor stands for: a socket or an epoll set.
type file interface {
	// ready is the set of EPOLL bits that hold now.
	ready() uint32
	// watch makes w hear of each change; unwatch ends that.
	watch(w *epollItem)
	unwatch(w *epollItem)
}

// newSystem makes the system layer of a host.
func newSystem(h *host) system {
	m := &machine{h: h, src: sim.Source{ID: machineOrigin}}
	m.wake.m, m.wake.timer.H = m, &m.wake
	m.limit.m, m.limit.timer.H = m, &m.limit
	m.sysctls.init(m)
	h.left, h.arrived = m.left, m.arrived
	return m
}

// operation is a system call, its arguments read. try carries it out as far as it goes now; as long as done is false it
// is tried again when something has changed, at the latest at until, when late says what it returns.
type operation struct {
	try   func() (value int64, errno Errno, done bool)
	until sim.Time // 0: it waits without end
	late  func() (int64, Errno)
	// opened takes the number that the script gives to a new descriptor; nil: the result is a number to be compared.
	opened func(fd int)
	// wrote compares what the call wrote into its arguments; nil: nothing.
	wrote func() error
}

// running is the call that has begun and not returned.
type running struct {
	call   *Call
	op     operation
	finish func(error)
}

// done makes the operation of a call that never waits.
func done(value int64, errno Errno) operation {
	return operation{try: func() (int64, Errno, bool) { return value, errno, true }}
}

// at once: the same for one whose outcome is computed when it is tried.
func immediate(f func() (int64, Errno)) operation {
	return operation{try: func() (int64, Errno, bool) {
		v, e := f()
		return v, e, true
	}}
}

// status is the result of calls that return 0 or an error.
func status(e Errno) (int64, Errno) {
	if e != 0 {
		return -1, e
	}
	return 0, 0
}

// Call carries out a system call.
func (m *machine) Call(c *Call, finish func(error)) {
	begin, ok := systemCalls[c.Name]
	if !ok {
		finish(skipf("system call %s", c.Name))
		return
	}
	a := &arguments{m: m, list: c.Args}
	op := begin(m, a)
	if a.err != nil {
		finish(a.err)
		return
	}
	m.call = &running{call: c, op: op, finish: finish}
	if op.until > 0 {
		m.h.loop.Arm(&m.limit.timer, &m.src, max(op.until, m.h.loop.Now()))
	}
	m.try()
}

// try makes an attempt at the call under way.
func (m *machine) try() {
	r := m.call
	if r == nil {
		return
	}
	value, errno, done := r.op.try()
	if done {
		m.returned(value, errno)
	}
}

// returned ends the call under way with a result.
func (m *machine) returned(value int64, errno Errno) {
	r := m.call
	m.call = nil
	m.h.loop.Stop(&m.limit.timer)
	err := m.compare(r, value, errno)
	if err == nil && r.op.wrote != nil && errno == 0 {
		err = r.op.wrote()
	}
	r.finish(err)
}

// compare holds a result against the script's.
func (m *machine) compare(r *running, value int64, errno Errno) error {
	if errno != 0 {
		value = -1
	}
	c := r.call
	if c.Result == nil || c.Result.Kind == ExprEllipsis {
		if errno == 0 && r.op.opened != nil {
			return fmt.Errorf("the descriptor that %s returns has no number", c.Name)
		}
		return nil
	}
	want, err := m.integer(c.Result)
	if err != nil {
		return err
	}
	switch {
	case r.op.opened != nil && want >= 0 && errno == 0:
		if m.descriptor(int(want)) != nil {
			return fmt.Errorf("descriptor %d is in use", want)
		}
		r.op.opened(int(want))
		return nil
	case value != want || c.Errno != "" && symbolValues[c.Errno] != int64(errno):
		return fmt.Errorf("%s returned %s, expected %s", c.Name, outcome(value, errno), wanted(want, c.Errno))
	}
	return nil
}

func outcome(value int64, errno Errno) string {
	if errno != 0 {
		return fmt.Sprintf("-1 %v", errno)
	}
	return fmt.Sprint(value)
}

func wanted(value int64, errno string) string {
	if errno == "" {
		return fmt.Sprint(value)
	}
	return fmt.Sprintf("%d %v", value, Errno(symbolValues[errno]))
}

// waker tries the call under way again, in an event of its own: what the stack is in the midst of comes to its end
// before the application runs, as softirq work does.
type waker struct {
	m     *machine
	timer sim.Timer
}

func (w *waker) Fire(sim.Time) { w.m.try() }

// happened is called for every change of a file that a call may wait for.
func (m *machine) happened() {
	if m.call != nil && !m.wake.timer.Armed() {
		m.h.loop.Arm(&m.wake.timer, &m.src, m.h.loop.Now())
	}
}

// deadline ends the call under way when it has waited long enough.
type deadline struct {
	m     *machine
	timer sim.Timer
}

func (d *deadline) Fire(sim.Time) {
	if r := d.m.call; r != nil {
		if value, errno, done := r.op.try(); done {
			d.m.returned(value, errno)
			return
		}
		d.m.returned(r.op.late())
	}
}

// after is the time d from now.
func (m *machine) after(d sim.Time) sim.Time { return m.h.loop.Now() + d }

func (m *machine) descriptor(fd int) file {
	for _, o := range m.files {
		if o.fd == fd {
			return o.file
		}
	}
	return nil
}

// install gives a file its number.
func (m *machine) install(f file) func(int) {
	return func(fd int) {
		m.files = append(m.files, &openFile{fd, f})
		if s, ok := f.(*socket); ok {
			m.current = s
		}
	}
}

// remove forgets a descriptor.
func (m *machine) remove(fd int) {
	m.files = slices.DeleteFunc(m.files, func(o *openFile) bool { return o.fd == fd })
}

// numberOf is the descriptor of a file; -1 if it has none.
func (m *machine) numberOf(f file) int {
	for _, o := range m.files {
		if o.file == f {
			return o.fd
		}
	}
	return -1
}

// errnoOf is the error number for what the stack's calls return.
func errnoOf(err error) Errno {
	switch err {
	case nil:
		return 0
	case tcpstack.ErrWouldBlock:
		return EAGAIN
	case tcpstack.ErrReset, tcpstack.ErrAborted:
		return ECONNRESET
	case tcpstack.ErrTimeout:
		return ETIMEDOUT
	case tcpstack.ErrRefused:
		return ECONNREFUSED
	case tcpstack.ErrUnreachable:
		return EHOSTUNREACH
	case tcpstack.ErrNoRoute:
		return ENETUNREACH
	case tcpstack.ErrAddrInUse:
		return EADDRINUSE
	case tcpstack.ErrNoPorts:
		return EADDRNOTAVAIL
	case tcpstack.ErrBadAddress:
		return EADDRNOTAVAIL
	case tcpstack.ErrMessageTooLong:
		return EMSGSIZE
	case tcpstack.ErrFastOpenOff:
		return EOPNOTSUPP
	case tcpstack.ErrClosed:
		return EPIPE
	}
	return EINVAL
}

// unspecified says whether an address names no host.
func unspecified(a netip.AddrPort) bool { return !a.Addr().IsValid() || a.Addr().IsUnspecified() }

// arrived looks at what a packet has acknowledged: times of it are told, and that there is room again (tcp_check_space).
func (m *machine) arrived() {
	for _, s := range m.sockets {
		if s.conn == nil {
			continue
		}
		if len(s.stamps.marks) > 0 {
			s.stamps.acked(s, s.unacknowledged())
		}
		s.settle()
		if s.noSpace && s.writable() {
			s.noSpace = false
			s.change(writableBits)
		}
	}
}
