package tcpstack

import (
	"net/netip"

	"labd.dev/sim"
)

// Listener takes connections on a port.
type Listener struct {
	stack  *Stack
	cfg    TCPConfig // as asked for
	set    *settings // that with the stack's as they were when it was last resolved
	of     uint32    // Stack.tcp.changes then
	local  netip.AddrPort
	addr   ipAddr                  // its address, if that is valid
	accept func(*Conn) ConnHandler // nil with a queue
	queue  *acceptQueue            // nil with accept
	closed bool

	fast     fastOpenQueue
	cookieAt sim.Time // when a SYN cookie was last sent; 0: never

	half, young       int      // requests; those whose SYN,ACK was sent once only
	firstReq, lastReq *request // in the order in which their SYNs came
}

// Listen takes connections on local's port; an unspecified or zero address means all of the stack's. accept is called
// for each connection as it becomes ESTABLISHED and says who hears of it from then on; nil refuses it with a reset. The
// queue of established connections is thus always empty, and the backlog bounds those half open; ListenQueue has a queue.
func (s *Stack) Listen(local netip.AddrPort, cfg TCPConfig, accept func(*Conn) ConnHandler) (*Listener, error) {
	l, err := s.listen(local, cfg)
	if err != nil {
		return nil, err
	}
	l.accept = accept
	return l, nil
}

// listen makes a listener to which nobody listens yet.
func (s *Stack) listen(local netip.AddrPort, cfg TCPConfig) (*Listener, error) {
	if s.stopped {
		return nil, ErrStopped
	}
	set, err := cfg.Merge(s.cfg.TCP).resolve()
	if err != nil {
		return nil, err
	}
	if local.Addr().IsValid() && local.Addr().IsUnspecified() || !local.Addr().IsValid() {
		local = netip.AddrPortFrom(netip.Addr{}, local.Port())
	}
	port := local.Port()
	if port == 0 {
		if port = s.freeListenPort(); port == 0 {
			return nil, ErrNoPorts
		}
		local = netip.AddrPortFrom(local.Addr(), port)
	}
	for _, l := range s.tcp.listeners[port] {
		if l.local == local && !(set.reusePort && l.set.reusePort) {
			return nil, ErrAddrInUse
		}
	}
	s.tcp.signs = s.tcp.signs || set.md5Key != ""
	l := &Listener{stack: s, cfg: cfg, set: set, of: s.tcp.changes, local: local}
	if local.Addr().IsValid() {
		l.addr = ipAddrOf(local.Addr())
	}
	s.tcp.listeners[port] = append(s.tcp.listeners[port], l)
	s.recordListen(StateClosed, StateListen, AppOpen)
	return l, nil
}

func (s *Stack) freeListenPort() uint16 {
	start := s.ports.start()
	for i := range uint32(ephemeralCount) {
		if p := ephemeralPort(start + i); len(s.tcp.listeners[p]) == 0 {
			return p
		}
	}
	return 0
}

// Addr is where the listener listens; its address is zero if it does on all.
func (l *Listener) Addr() netip.AddrPort { return l.local }

// HalfOpen is how many connections are in SYN-RECEIVED; Backlog bounds it.
func (l *Listener) HalfOpen() int { return l.half }

// Backlog is one less than the connections that may be half open, and one less than those that may wait to be accepted.
func (l *Listener) Backlog() int {
	if l.queue != nil {
		return l.queue.limit
	}
	l.settings()
	return l.set.backlog
}

// Listeners lists the sockets that listen, by port, and on one port in the order they were opened.
func (s *Stack) Listeners() []*Listener {
	var list []*Listener
	for port, found := 1, 0; found < len(s.tcp.listeners); port++ {
		if here := s.tcp.listeners[uint16(port)]; len(here) > 0 {
			list = append(list, here...)
			found++
		}
	}
	return list
}

// settings brings the listener's settings up to date with the stack's.
func (l *Listener) settings() {
	if l.of == l.stack.tcp.changes {
		return
	}
	l.of = l.stack.tcp.changes
	if set, err := l.cfg.Merge(l.stack.cfg.TCP).resolve(); err == nil {
		l.set = set
		l.stack.tcp.signs = l.stack.tcp.signs || set.md5Key != ""
	}
}

// Close stops listening. Connections half open are forgotten, as Linux does: the ACK that comes for one finds nobody and is
// answered with a reset. Those that wait to be accepted are reset; those that were accepted stay.
func (l *Listener) Close() {
	if l.closed {
		return
	}
	l.closed = true
	s := l.stack
	list := s.tcp.listeners[l.local.Port()]
	for i, o := range list {
		if o == l {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(s.tcp.listeners, l.local.Port())
	} else {
		s.tcp.listeners[l.local.Port()] = list
	}
	for l.firstReq != nil {
		l.firstReq.drop(AppClose)
	}
	if l.queue != nil {
		l.queue.abandon()
	}
	s.recordListen(StateListen, StateClosed, AppClose)
}

// findListener prefers listeners of the very address to those of all addresses. Which of several that share an address a
// peer's connections go to is drawn by the hash of their addresses and ports (Linux: reuseport_select_sock).
func (s *Stack) findListener(t *tuple) *Listener {
	list := s.tcp.listeners[t.localPort]
	exact, wild := 0, 0
	for _, l := range list {
		if !l.local.Addr().IsValid() {
			wild++
		} else if l.addr == t.local {
			exact++
		}
	}
	n := exact
	if n == 0 {
		n = wild
	}
	if n == 0 {
		return nil
	}
	skip := 0
	if n > 1 {
		skip = int(uint64(t.hash(s.tcp.reuseKey)) * uint64(n) >> 32)
	}
	for _, l := range list {
		if exact > 0 && l.addr != t.local || l.local.Addr().IsValid() != (exact > 0) {
			continue
		}
		if skip == 0 {
			return l
		}
		skip--
	}
	return nil
}
