package randomlab

import (
	"fmt"
	"strings"

	"labd.dev/trace"
)

// packets: what a node takes in, a link has delivered to it at that instant, and it is what was sent. A packet of which
// two bits were flipped may say something else and pass: "the Internet checksum cannot see every pair" is counted.
type packets struct {
	sent    map[string]string // what each packet said when it was sent
	flips   map[string]int
	left    map[string]leaving    // sent, and not seen on a link yet
	balance map[arrivedPacket]int // delivered, less taken in
	pending []pendingPacket       // taken in at this instant: who delivered it may still follow
	at      int64
}

type arrivedPacket struct{ node, pkt string }

// leaving is who sent a packet, and when.
type leaving struct {
	node string
	t    int64
}

// maxLeaving is how long a packet may wait for its neighbour's address: three requests, a second apart.
const maxLeaving = 4 * sec

type pendingPacket struct {
	arrivedPacket
	event *trace.Event
}

func newPackets() *packets {
	return &packets{sent: map[string]string{}, flips: map[string]int{}, left: map[string]leaving{}, balance: map[arrivedPacket]int{}}
}

func (r *packets) event(c *Checker, e *trace.Event, _ *end) {
	if e.TNs != r.at {
		r.settle(c)
		r.at = e.TNs
	}
	switch e.Name {
	case "tcp:segment_sent":
		r.sent[text(e, "pkt")] = segmentWords(e)
		r.left[text(e, "pkt")] = leaving{e.Node, e.TNs}
	case "link:enqueued":
		delete(r.left, text(e, "pkt"))
	case "lab:node_crashed":
		for pkt, l := range r.left {
			if l.node == e.Node {
				delete(r.left, pkt)
			}
		}
	case "udp:sent":
		r.sent[text(e, "pkt")] = datagramWords(e)
	case "link:corrupted":
		r.flips[text(e, "pkt")]++
	case "link:delivered":
		r.balance[arrivedPacket{farEnd(text(e, "dir")), text(e, "pkt")}]++
	case "link:dropped":
		delete(r.left, text(e, "pkt"))
	case "tcp:segment_dropped", "ip:dropped":
		delete(r.left, text(e, "pkt"))
		if why := text(e, "reason"); (why == "checksum" || why == "transport_checksum") && r.flips[text(e, "pkt")] == 0 {
			c.problem(e, "no bit of %s was flipped", text(e, "pkt"))
		}
	case "tcp:segment_received":
		r.received(c, e, segmentWords(e))
	case "udp:received":
		r.received(c, e, datagramWords(e))
	}
}

func (r *packets) received(c *Checker, e *trace.Event, words string) {
	pkt := text(e, "pkt")
	key := arrivedPacket{e.Node, pkt}
	r.balance[key]--
	r.pending = append(r.pending, pendingPacket{key, e})
	if r.flips[pkt] >= 2 {
		c.Excused++
		return
	}
	if was, known := r.sent[pkt]; !known {
		c.problem(e, "nobody has sent the packet %s", pkt)
	} else if was != words {
		c.problem(e, "%s says %s, it was sent as %s and %d bits of it were flipped", pkt, words, was, r.flips[pkt])
	}
}

// settle closes an instant.
func (r *packets) settle(c *Checker) {
	for _, p := range r.pending {
		if r.balance[p.arrivedPacket] < 0 {
			c.problem(p.event, "%s is taken in more often than links have delivered it here", p.pkt)
		}
	}
	r.pending = r.pending[:0]
}

func (r *packets) finish(c *Checker) {
	r.settle(c)
	for pkt, l := range r.left {
		if l.t+maxLeaving < c.lab.EndNs {
			c.complain(fmt.Sprintf("%s was sent at %d ns and never left its node, nor was it dropped", pkt, l.t))
		}
	}
}

func segmentWords(e *trace.Event) string {
	return fmt.Sprintf("seq %d ack %d len %d flags %s win %d", num(e, "seq"), num(e, "ack"), num(e, "len"), text(e, "flags"), num(e, "win"))
}

func datagramWords(e *trace.Event) string {
	return fmt.Sprintf("%s:%d > %s:%d len %d", text(e, "src"), num(e, "src_port"), text(e, "dst"), num(e, "dst_port"), num(e, "len"))
}

// farEnd is the node that a direction leads to: "r1->r2", "r1:eth1->r2:eth0".
func farEnd(dir string) string {
	_, to, _ := strings.Cut(dir, "->")
	node, _, _ := strings.Cut(to, ":")
	return node
}
