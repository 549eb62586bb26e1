package worker

import (
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// Bounds of what a lab remembers of the frames that crossed its interfaces, so that a packet can be shown without a
// capture. They depend on the lab alone.
const (
	hopsPerLab     = 1 << 18 // of 200 bytes: 50 MB
	maxHopsPerPort = 8192
	minHopsPerPort = 64
)

// hop is a frame on one interface.
type hop struct {
	t      sim.Time
	pkt    sim.PacketID
	length uint32
	state  string
	n      uint8
	out    bool
	header [sim.HeaderRoom]byte
}

// hopBlock is how many hops a ring grows by: 13 KB, so that a quiet interface costs little and growth copies nothing.
const hopBlock = minHopsPerPort

// hopRing holds an interface's newest frames.
type hopRing struct {
	blocks []*[hopBlock]hop
	n      int // hops held
	next   int // the oldest, once the ring is full
	max    int // a multiple of hopBlock
}

func newHopRing(ports int) hopRing {
	n := min(max(hopsPerLab/max(ports, 1), minHopsPerPort), maxHopsPerPort)
	return hopRing{max: n / hopBlock * hopBlock}
}

// at is the i-th oldest hop.
func (r *hopRing) at(i int) *hop {
	i = (r.next + i) % r.n
	return &r.blocks[i/hopBlock][i%hopBlock]
}

func (r *hopRing) add(t sim.Time, out bool, f *sim.Frame, state string) {
	if r.n < r.max {
		if r.n%hopBlock == 0 {
			r.blocks = append(r.blocks, new([hopBlock]hop))
		}
		r.n++
		r.set(r.n-1, t, out, f, state)
		return
	}
	r.set(r.next, t, out, f, state)
	r.next = (r.next + 1) % r.max
}

func (r *hopRing) set(i int, t sim.Time, out bool, f *sim.Frame, state string) {
	h := &r.blocks[i/hopBlock][i%hopBlock]
	h.t, h.pkt, h.length, h.state, h.out = t, f.Pkt, uint32(f.Len()), state, out
	h.n = uint8(copy(h.header[:], f.Header()))
	tcpstack.FillChecksumsIn(h.header[:h.n], f)
}

// connStates tells the state of the connection that a frame belongs to, at one node. It remembers which connection has
// which id, because most frames belong to few.
type connStates struct {
	boot  *tcpstack.Stack
	conns map[sim.ConnID]*tcpstack.Conn
}

func (c *connStates) state(s *tcpstack.Stack, id sim.ConnID) string {
	if id == 0 || s == nil {
		return ""
	}
	if c.boot != s {
		c.boot, c.conns = s, map[sim.ConnID]*tcpstack.Conn{}
	}
	conn := c.conns[id]
	if conn != nil && conn.ID() != id {
		delete(c.conns, id) // gone; its memory serves another connection
		conn = nil
	}
	if conn == nil {
		for _, k := range s.Conns() {
			if k.ID() == id {
				conn = k
				c.conns[id] = k
				break
			}
		}
	}
	if conn == nil {
		return waitingState(s, id)
	}
	return conn.State().String()
}

// waitingState is the state of a connection of which only TIME-WAIT may be left.
func waitingState(s *tcpstack.Stack, id sim.ConnID) string {
	for _, w := range s.TimeWaits() {
		if w.ID == id {
			return tcpstack.StateTimeWait.String()
		}
	}
	return ""
}
