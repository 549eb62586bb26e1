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

// hopRing holds an interface's newest frames.
type hopRing struct {
	hops []hop
	next int
	max  int
}

func newHopRing(ports int) hopRing {
	return hopRing{max: min(max(hopsPerLab/max(ports, 1), minHopsPerPort), maxHopsPerPort)}
}

func (r *hopRing) add(t sim.Time, out bool, f *sim.Frame, state string) {
	var h *hop
	if len(r.hops) < r.max {
		r.hops = append(r.hops, hop{})
		h = &r.hops[len(r.hops)-1]
	} else {
		h = &r.hops[r.next]
		r.next = (r.next + 1) % r.max
	}
	h.t, h.pkt, h.length, h.state, h.out = t, f.Pkt, uint32(f.Len()), state, out
	h.n = uint8(copy(h.header[:], f.Header()))
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
		return ""
	}
	return conn.State().String()
}
