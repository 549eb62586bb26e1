package packetdrill

import "fmt"

// pipe is a pipe of zeros: how many bytes lie in it is all that counts.
type pipe struct {
	n     int64
	ends  [2]bool // whether the end to read from and the one to write to are open
	items [2][]*epollItem
}

// pipeSize is what a pipe holds (PIPE_DEF_BUFFERS pages).
const pipeSize = 16 << 12

// pipeEnd is one of its two descriptors.
type pipeEnd struct {
	*pipe
	m       *machine
	writing bool
}

func (p *pipeEnd) ready() uint32 {
	switch {
	case p.writing && !p.ends[0]:
		return writableBits | epollErr
	case p.writing && p.n < pipeSize:
		return writableBits
	case !p.writing && p.n > 0:
		return readableBits
	case !p.writing && !p.ends[1]:
		return epollHup
	}
	return 0
}

func (p *pipeEnd) watch(w *epollItem)   { i := b2i(p.writing); p.items[i] = append(p.items[i], w) }
func (p *pipeEnd) unwatch(w *epollItem) { i := b2i(p.writing); p.items[i] = without(p.items[i], w) }

// move adds n bytes, which may be negative, and tells who waits for the other end.
func (p *pipeEnd) move(n int64) {
	p.n += n
	for _, list := range p.items {
		for _, w := range list {
			w.woken(readableBits | writableBits)
		}
	}
	p.m.happened()
}

func (p *pipeEnd) close() {
	p.ends[b2i(p.writing)] = false
	p.move(0)
}

// pipeCall is pipe([5, 6]).
func (m *machine) pipeCall(a *arguments) operation {
	if !a.count(1, 1) {
		return operation{}
	}
	e := a.at(0)
	if e.Kind != ExprList || len(e.List) != 2 {
		a.fail(fmt.Errorf("argument 1 is not [fd, fd]"))
		return operation{}
	}
	p := &pipe{ends: [2]bool{true, true}}
	for i, x := range e.List {
		fd, err := m.integer(x)
		if err == nil && m.descriptor(int(fd)) != nil {
			err = fmt.Errorf("descriptor %d is in use", fd)
		}
		if err != nil {
			a.fail(err)
			return operation{}
		}
		m.install(&pipeEnd{pipe: p, m: m, writing: i == 1})(int(fd))
	}
	return done(0, 0)
}

// spliceCall is splice(in, NULL, out, NULL, n, flags): between a pipe and a socket, or from a file into a pipe.
func (m *machine) spliceCall(a *arguments) operation {
	in, out, n, flags := a.file(0), a.file(2), a.int(4), a.int(5)
	a.buffer(1)
	a.buffer(3)
	if !a.count(6, 6) {
		return operation{}
	}
	from, isFrom := in.(*pipeEnd)
	to, isTo := out.(*pipeEnd)
	switch {
	case in == nil || out == nil, isFrom && from.writing, isTo && !to.writing:
		return done(-1, EBADF)
	case isFrom == isTo, n < 0:
		return done(-1, EINVAL)
	case n == 0:
		return done(0, 0)
	case isFrom:
		return m.splicePipe(from, out, n, flags)
	}
	return m.spliceInto(in, to, n, flags)
}

// Flags of splice.
const (
	spliceNonblock = 2
	spliceMore     = 4
)

// splicePipe sends what a pipe holds (splice_to_socket).
func (m *machine) splicePipe(p *pipeEnd, out file, n, flags int64) operation {
	s, ok := out.(*socket)
	if !ok {
		return done(-1, EINVAL)
	}
	var g *sending
	var op operation
	return operation{try: func() (int64, Errno, bool) {
		switch {
		case g != nil:
		case p.n == 0 && !p.ends[1]:
			return 0, 0, true
		case p.n == 0 && flags&spliceNonblock != 0:
			return -1, EAGAIN, true
		case p.n == 0:
			return 0, 0, false
		default:
			g = &sending{want: min(n, p.n)}
			if flags&spliceMore != 0 {
				g.flags = msgMore
			}
			op = m.transmit(s, 0, g)
		}
		value, errno, done := op.try()
		if done && value > 0 {
			p.move(-value)
		}
		return value, errno, done
	}}
}

// spliceInto fills a pipe from a socket (tcp_splice_read), or from a file.
func (m *machine) spliceInto(in file, p *pipeEnd, n, flags int64) operation {
	return operation{try: func() (int64, Errno, bool) {
		room := min(n, pipeSize-p.n)
		switch s, ok := in.(*socket); {
		case room == 0 && flags&spliceNonblock != 0:
			return -1, EAGAIN, true
		case room == 0:
			return 0, 0, false
		case !ok:
			p.move(room)
			return room, 0, true
		default:
			value, errno, done := s.receive(&receiving{want: room})
			if done && value > 0 {
				p.move(value)
			}
			return value, errno, done
		}
	}}
}
