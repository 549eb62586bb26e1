package randomlab

import (
	"fmt"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// arrivals: what a link delivers to the host that it is for, that host takes in or says why it does not.
type arrivals struct {
	sent    map[string]sentPacket
	flipped map[string]bool
	hosts   map[string]bool
	down    map[string]bool
	met     map[endName]bool      // the host has had an event of the connection
	balance map[arrivedPacket]int // of this instant: delivered, less taken in, in whatever order these are recorded
	order   []arrival
	missing []arrival
	at      int64
}

type sentPacket struct {
	node, conn string
	bytes      int64 // at least
}

type arrival struct {
	arrivedPacket
	event *trace.Event
}

// leastHeaders is an Ethernet, an IPv4 and a TCP header: what is shorter than that and its data is a fragment.
const leastHeaders = 14 + 20 + 20

func newArrivals(lab *Lab) *arrivals {
	r := &arrivals{sent: map[string]sentPacket{}, flipped: map[string]bool{}, hosts: map[string]bool{}, down: map[string]bool{},
		met: map[endName]bool{}, balance: map[arrivedPacket]int{}}
	for _, n := range lab.Spec.Nodes {
		r.hosts[n.Name] = n.Kind == labv1.NodeKind_NODE_KIND_HOST
	}
	return r
}

func (r *arrivals) event(c *Checker, e *trace.Event, n *end) {
	if e.TNs != r.at {
		r.settle()
		r.at = e.TNs
	}
	if n != nil {
		r.met[n.name] = true
	}
	switch e.Name {
	case "lab:node_crashed", "lab:node_booted":
		r.down[e.Node] = e.Name == "lab:node_crashed"
		r.order = nil // of what came at this instant nothing is known
	case "tcp:segment_sent":
		r.sent[text(e, "pkt")] = sentPacket{e.Node, e.Conn, num(e, "len") + leastHeaders}
	case "link:enqueued": // with its options, which its first link sees whole
		if s := r.sent[text(e, "pkt")]; s.node == e.Node {
			s.bytes = max(s.bytes, num(e, "bytes"))
			r.sent[text(e, "pkt")] = s
		}
	case "link:corrupted":
		r.flipped[text(e, "pkt")] = true
	case "link:delivered":
		r.delivered(c, e, text(e, "pkt"), farEnd(text(e, "dir")))
	case "tcp:segment_received", "tcp:segment_dropped", "ip:dropped":
		r.balance[arrivedPacket{e.Node, text(e, "pkt")}]--
	}
}

func (r *arrivals) delivered(c *Checker, e *trace.Event, pkt, to string) {
	s, known := r.sent[pkt]
	if !known || !r.hosts[to] || to == s.node || r.down[to] || r.flipped[pkt] || num(e, "bytes") < s.bytes || e.TNs >= c.lab.EndNs {
		return
	}
	key := arrivedPacket{to, pkt}
	r.balance[key]++
	r.order = append(r.order, arrival{key, e})
}

// settle closes an instant.
func (r *arrivals) settle() {
	for _, a := range r.order {
		if r.balance[a.arrivedPacket] > 0 {
			r.missing = append(r.missing, a)
		}
	}
	clear(r.balance)
	r.order = r.order[:0]
}

// finish leaves out what was never for the host that it came to.
func (r *arrivals) finish(c *Checker) {
	r.settle()
	for _, a := range r.missing {
		if r.met[endName{a.node, a.event.Conn}] {
			c.problem(a.event, "%s is delivered to %s, which has not seen it", a.pkt, a.node)
		}
	}
}

// crashes: a node that is down does nothing, and what it knew of its connections is gone for good: after its boot it
// answers their segments with resets.
type crashes struct {
	down map[string]int64 // since when
	lost map[endName]bool
	live map[string]map[string]bool // connections by node
}

func newCrashes() *crashes {
	return &crashes{down: map[string]int64{}, lost: map[endName]bool{}, live: map[string]map[string]bool{}}
}

func (r *crashes) event(c *Checker, e *trace.Event, n *end) {
	switch e.Name {
	case "lab:node_crashed":
		r.down[e.Node] = e.TNs
		for conn := range r.live[e.Node] {
			r.lost[endName{e.Node, conn}] = true
		}
		delete(r.live, e.Node)
	case "lab:node_booted":
		delete(r.down, e.Node)
	}
	area, _, _ := strings.Cut(e.Name, ":")
	// (Its listeners are closed at that very instant.)
	if since, down := r.down[e.Node]; down && (e.TNs > since || e.Name == "tcp:segment_sent") && (area == "tcp" || area == "udp" || area == "ip" || area == "app") {
		c.problem(e, "%s is down", e.Node)
	}
	if n == nil {
		return
	}
	anew := e.Name == "tcp:state_updated" && (text(e, "old") == "LISTEN" || text(e, "old") == "CLOSED")
	if anew || e.Name == "tcp:segment_received" && text(e, "state") == "LISTEN" && hasFlag(e, "S") {
		delete(r.lost, n.name) // an old SYN begins it anew; answered with a cookie, without a state
	}
	if !r.lost[n.name] {
		if r.live[e.Node] == nil {
			r.live[e.Node] = map[string]bool{}
		}
		r.live[e.Node][e.Conn] = true
		return
	}
	switch reason := text(e, "reason"); {
	case area == "app", strings.HasPrefix(e.Name, "tcp:timer_"), e.Name == "tcp:state_updated", e.Name == "tcp:segment_sent" && reason != "rst":
		c.problem(e, "%s has crashed since and cannot know the connection", e.Node)
	}
}

func (*crashes) finish(*Checker) {}

// hops: each router on the way takes one off the TTL (RFC 1812 5.3.1), so what comes back to a ping tells the distance.
func (c *Checker) hops(x *labv1.ExecStatus) {
	var from, to string
	for _, e := range c.lab.Journal {
		if p := e.Input.GetPing(); p.GetId() == x.Id {
			from, to = p.GetFrom(), p.GetTo()
		}
	}
	if from == "" {
		return
	}
	want := defaultTTL - c.lab.routersBetween(from, to)
	for _, line := range x.Lines {
		if _, rest, found := strings.Cut(line, " ttl="); found {
			if ttl, _, _ := strings.Cut(rest, " "); ttl != fmt.Sprint(want) {
				c.complain(fmt.Sprintf("ping from %s to %s: %q, want a TTL of %d", from, to, line, want))
			}
		}
	}
}

const defaultTTL = 64 // Linux's net.ipv4.ip_default_ttl

// routersBetween counts the routers between two hosts, on a path with the fewest links.
func (l *Lab) routersBetween(from, to string) int {
	away := map[string]int{from: 0}
	cost := map[string]int{to: 1}
	for _, n := range l.Spec.Nodes {
		if n.Kind == labv1.NodeKind_NODE_KIND_ROUTER {
			cost[n.Name] = 1
		}
	}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, k := range l.Spec.Links {
			for _, next := range [][2]string{{k.A.Node, k.B.Node}, {k.B.Node, k.A.Node}} {
				if _, seen := away[next[1]]; next[0] == queue[0] && !seen {
					away[next[1]] = away[queue[0]] + cost[next[1]]
					queue = append(queue, next[1])
				}
			}
		}
	}
	return away[to] - 1
}
