package packetdrill

import "fmt"

// epoll is an epoll set.
type epoll struct {
	m        *machine
	items    []*epollItem // in the order in which they became ready, those that are not after them
	watchers []*epollItem
}

// epollItem is a file in an epoll set.
type epollItem struct {
	set    *epoll
	file   file
	fd     int
	events uint32
	data   int64
	onList bool // it may have events: epoll_wait looks at it
	gone   bool // its file is closed
	off    bool // EPOLLONESHOT has fired
}

// woken is ep_poll_callback.
func (i *epollItem) woken(key uint32) {
	if i.off || key != 0 && key&(i.events|epollErr|epollHup) == 0 {
		return
	}
	i.queue()
}

// queue puts the item behind those that are ready already.
func (i *epollItem) queue() {
	if !i.onList {
		i.onList = true
		i.set.items = append(without(i.set.items, i), i)
	}
	for _, w := range i.set.watchers {
		w.woken(readableBits)
	}
	i.set.m.happened()
}

func (e *epoll) ready() uint32 {
	for _, i := range e.items {
		if i.onList && i.now() != 0 {
			return readableBits
		}
	}
	return 0
}

func (e *epoll) watch(w *epollItem)   { e.watchers = append(e.watchers, w) }
func (e *epoll) unwatch(w *epollItem) { e.watchers = without(e.watchers, w) }

// now is what the item would report.
func (i *epollItem) now() uint32 {
	if i.gone || i.off {
		return 0
	}
	return i.file.ready() & (i.events | epollErr | epollHup)
}

func (e *epoll) close() {
	for _, i := range e.items {
		i.file.unwatch(i)
	}
	e.items = nil
}

// epollCreateCall is epoll_create(size) and epoll_create1(flags).
func (m *machine) epollCreateCall(a *arguments) operation {
	n := a.int(0)
	if !a.count(1, 1) {
		return operation{}
	}
	if n < 0 {
		return done(-1, EINVAL)
	}
	op := done(0, 0)
	op.opened = m.install(&epoll{m: m})
	return op
}

// epollCtlCall is epoll_ctl(epfd, op, fd, {events = EPOLLIN, fd = 4}).
func (m *machine) epollCtlCall(a *arguments) operation {
	f, op, fd := a.file(0), a.int(1), int(a.int(2))
	target := m.descriptor(fd)
	if !a.count(4, 4) {
		return operation{}
	}
	ev := a.epollEvent(3)
	return immediate(func() (int64, Errno) {
		set, ok := f.(*epoll)
		switch {
		case f == nil || target == nil:
			return -1, EBADF
		case !ok || file(set) == target:
			return -1, EINVAL
		}
		return status(set.control(op, fd, target, ev))
	})
}

// control is do_epoll_ctl.
func (e *epoll) control(op int64, fd int, f file, ev epollEvent) Errno {
	var item *epollItem
	for _, i := range e.items {
		if i.fd == fd && i.file == f {
			item = i
		}
	}
	switch {
	case op == 1 && item != nil:
		return EEXIST
	case op != 1 && item == nil:
		return ENOENT
	}
	switch op {
	case 1: // EPOLL_CTL_ADD
		item = &epollItem{set: e, file: f, fd: fd, events: ev.events, data: ev.data}
		e.items = append(e.items, item)
		f.watch(item)
	case 2: // EPOLL_CTL_DEL
		f.unwatch(item)
		e.items = without(e.items, item)
		return 0
	case 3: // EPOLL_CTL_MOD
		item.events, item.data, item.off = ev.events, ev.data, false
	default:
		return EINVAL
	}
	if item.now() != 0 {
		item.queue()
	}
	return 0
}

// epollWaitCall is epoll_wait(epfd, {events = EPOLLIN, fd = 4}, most, timeout): the first event is compared.
func (m *machine) epollWaitCall(a *arguments) operation {
	f := a.file(0)
	if !a.count(4, 4) {
		return operation{}
	}
	want := a.epollEvents(1)
	most := a.int(2)
	until, waits := m.timeout(a.int(3))
	set, ok := f.(*epoll)
	switch {
	case f == nil:
		return done(-1, EBADF)
	case !ok || most <= 0:
		return done(-1, EINVAL)
	}
	var got []epollEvent
	op := operation{until: until, late: func() (int64, Errno) { return 0, 0 }}
	op.try = func() (int64, Errno, bool) {
		got = set.collect(most)
		return int64(len(got)), 0, len(got) > 0 || !waits
	}
	op.wrote = func() error {
		for i, w := range want {
			switch {
			case i >= len(got):
				if w.events != 0 { // no event was returned: its memory is zero
					return fmt.Errorf("no event, expected %s", names("EPOLL", w.events))
				}
			case got[i].events != w.events:
				return fmt.Errorf("epoll event %s, expected %s", names("EPOLL", got[i].events), names("EPOLL", w.events))
			case w.hasData && got[i].data != w.data:
				return fmt.Errorf("epoll data %d, expected %d", got[i].data, w.data)
			}
		}
		return nil
	}
	return op
}

// collect is ep_send_events: level-triggered items stay on the list, edge-triggered ones leave it.
func (e *epoll) collect(most int64) (got []epollEvent) {
	list := append([]*epollItem(nil), e.items...)
	for _, i := range list {
		if !i.onList || int64(len(got)) == most {
			continue
		}
		i.onList = false
		bits := i.now()
		if bits == 0 {
			continue
		}
		got = append(got, epollEvent{events: bits, data: i.data})
		switch {
		case i.events&epollOneshot != 0:
			i.off = true
		case i.events&epollEdge == 0:
			i.onList = true
			e.items = append(without(e.items, i), i)
		}
	}
	return got
}

// epollEvent is struct epoll_event; descriptors in its data are the script's.
type epollEvent struct {
	events  uint32
	data    int64
	hasData bool
}

// epollEvent reads {events = EPOLLIN, fd = 4}, with fd, ptr, u32 or u64 as the data.
func (a *arguments) epollEvent(i int) epollEvent {
	all := a.epollEvents(i)
	if len(all) == 0 {
		return epollEvent{}
	}
	return all[0]
}

// epollEvents reads one event or an array of them.
func (a *arguments) epollEvents(i int) []epollEvent {
	e := a.at(i)
	list := []*Expr{e}
	switch e.Kind {
	case ExprEllipsis:
		return nil
	case ExprList:
		list = e.List
	case ExprInt, ExprWord: // NULL, as EPOLL_CTL_DEL allows
		a.int(i)
		return nil
	}
	var all []epollEvent
	for _, x := range list {
		if x.Kind != ExprStruct {
			a.fail(fmt.Errorf("argument %d is no epoll_event", i+1))
			return nil
		}
		var ev epollEvent
		for _, f := range x.Fields {
			n, err := a.m.integer(f.Value)
			if err != nil {
				a.fail(err)
			}
			switch f.Name {
			case "events":
				ev.events = uint32(n)
			case "fd", "ptr", "u32", "u64":
				ev.data, ev.hasData = n, true
			default:
				a.fail(skipf("member %s of an epoll_event", f.Name))
			}
		}
		all = append(all, ev)
	}
	return all
}
