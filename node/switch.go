package node

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

const (
	// ageing is how long a switch believes where a station is without hearing from it. IEEE 802.1Q 8.8.3 recommends 300 s,
	// and Linux bridges do so (ageing_time).
	ageing = 300 * sim.Second
	// maxLearned bounds a switch's table, as the memory of a real one does (8,192 is common for small ones). A full table
	// learns nothing new until something in it has aged: frames to who is not in it are flooded.
	maxLearned = 8192
)

// learned is where a station was heard last.
type learned struct {
	mac        wire.MAC
	port       *Port
	heard      sim.Time
	prev, next *learned // in the order of heard
}

// learner is the state of a learning switch from one boot to its crash. It asks nobody and sends nothing of its own.
type learner struct {
	node           *Node
	table          map[wire.MAC]*learned
	oldest, newest *learned

	flooded, forwarded, filtered uint64 // frames
}

func newLearner(n *Node) *learner { return &learner{node: n, table: map[wire.MAC]*learned{}} }

// receive passes a frame on to where its destination was heard, or to all other ports.
func (l *learner) receive(in *Port, f *sim.Frame) {
	h := f.Header()
	if len(h) < wire.EthernetLen {
		f.Release()
		return
	}
	dst, src := wire.MAC(h[:6]), wire.MAC(h[6:12])
	// IEEE 802.1Q 8.6.3: frames to the reserved addresses 01-80-C2-00-00-00 to -0F are not forwarded. A group is nobody's
	// source.
	if src.IsGroup() || reserved(dst) {
		l.filtered++
		f.Release()
		return
	}
	l.learn(src, in)
	if !dst.IsGroup() {
		if e := l.find(dst); e != nil {
			l.unicast(in, e.port, f)
			return
		}
	}
	l.flood(in, f)
}

func reserved(m wire.MAC) bool {
	return m[0] == 0x01 && m[1] == 0x80 && m[2] == 0xc2 && m[3] == 0 && m[4] == 0 && m[5] < 0x10
}

// unicast sends to one port; a frame whose destination is where it came from is there already.
func (l *learner) unicast(in, out *Port, f *sim.Frame) {
	if in == out {
		l.filtered++
		f.Release()
		return
	}
	l.forwarded++
	out.Transmit(f)
}

// flood sends to all ports but the one the frame came from.
func (l *learner) flood(in *Port, f *sim.Frame) {
	l.flooded++
	var last *Port
	for _, p := range l.node.ports {
		if p == in {
			continue
		}
		if last != nil {
			last.Transmit(f.Clone())
		}
		last = p
	}
	if last == nil {
		f.Release()
		return
	}
	last.Transmit(f)
}

// find is where a station was heard within the ageing time.
func (l *learner) find(m wire.MAC) *learned {
	e := l.table[m]
	if e != nil && l.node.loop.Now()-e.heard >= ageing {
		l.forget(e)
		return nil
	}
	return e
}

func (l *learner) learn(m wire.MAC, at *Port) {
	now := l.node.loop.Now()
	e := l.table[m]
	if e == nil {
		if len(l.table) == maxLearned {
			if now-l.oldest.heard < ageing {
				return
			}
			l.forget(l.oldest)
		}
		e = &learned{mac: m}
		l.table[m] = e
	} else {
		l.unlink(e)
	}
	e.port, e.heard = at, now
	if e.prev = l.newest; e.prev != nil {
		e.prev.next = e
	} else {
		l.oldest = e
	}
	l.newest = e
}

func (l *learner) unlink(e *learned) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.oldest = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.newest = e.prev
	}
	e.prev, e.next = nil, nil
}

func (l *learner) forget(e *learned) {
	l.unlink(e)
	delete(l.table, e.mac)
}

// unplug forgets who was heard at a port.
func (l *learner) unplug(p *Port) {
	for e := l.oldest; e != nil; {
		next := e.next
		if e.port == p {
			l.forget(e)
		}
		e = next
	}
}
