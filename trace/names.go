package trace

import (
	"fmt"
	"strconv"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// Names gives the ids in records their names. Nodes and link directions share one id space; index 0 is empty.
type Names struct {
	Nodes      []string // by id: "client"
	Directions []string // by id: "client->r1"
	Links      []string // by the id of a direction, the link it belongs to: "client--r1"; may be left out

	// Inputs are the journal's by index, of which records hold only that; without it events say no more of them.
	Inputs map[uint32]*labv1.Input
}

// Node is the name of the node with an id: "#7" where the table has none, empty for id 0, the lab itself.
func (n *Names) Node(id uint32) string {
	if id == 0 {
		return ""
	}
	return nameOf(n.Nodes, id)
}

// Direction is the name of the link direction with an id; "#7" where the table has none.
func (n *Names) Direction(id uint32) string { return nameOf(n.Directions, id) }

// Link is the name of the link that a direction belongs to; without a table it is made of the direction's two ends, in
// the order of their names.
func (n *Names) Link(dir uint32) string {
	if uint64(dir) < uint64(len(n.Links)) && n.Links[dir] != "" {
		return n.Links[dir]
	}
	a, b, ok := strings.Cut(n.Direction(dir), "->")
	if !ok {
		return n.Direction(dir)
	}
	return min(a, b) + "--" + max(a, b)
}

func nameOf(table []string, id uint32) string {
	if uint64(id) < uint64(len(table)) && table[id] != "" {
		return table[id]
	}
	return "#" + strconv.FormatUint(uint64(id), 10)
}

// Conn prints a connection: "client/3"; empty for none.
func (n *Names) Conn(c sim.ConnID) string {
	if c == 0 {
		return ""
	}
	return n.Node(c.Node()) + "/" + strconv.FormatUint(c.Counter(), 10)
}

// Packet prints a packet: "client:1042"; empty for none.
func (n *Names) Packet(p sim.PacketID) string {
	if p == 0 {
		return ""
	}
	return n.Node(p.Node()) + ":" + strconv.FormatUint(p.Counter(), 10)
}

// nodeID finds a node by name.
func (n *Names) nodeID(name string) (uint32, bool) {
	for id, s := range n.Nodes {
		if id > 0 && s == name {
			return uint32(id), true
		}
	}
	return 0, false
}

// ParseConn reads "client/3".
func (n *Names) ParseConn(s string) (sim.ConnID, error) {
	node, num, err := n.split(s, "/")
	if err != nil {
		return 0, fmt.Errorf("connection %q: %w (a connection is written like client/3)", s, err)
	}
	return sim.MakeConnID(node, num), nil
}

// ParsePacket reads "client:1042".
func (n *Names) ParsePacket(s string) (sim.PacketID, error) {
	node, num, err := n.split(s, ":")
	if err != nil {
		return 0, fmt.Errorf("packet %q: %w (a packet is written like client:1042)", s, err)
	}
	return sim.MakePacketID(node, num), nil
}

// maxCounter is the largest counter that fits beside a node id.
const maxCounter = 1<<40 - 1

func (n *Names) split(s, sep string) (node uint32, num uint64, err error) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return 0, 0, fmt.Errorf("no %q in it", sep)
	}
	node, ok := n.nodeID(s[:i])
	if !ok {
		return 0, 0, fmt.Errorf("no node %q", s[:i])
	}
	num, err = strconv.ParseUint(s[i+1:], 10, 64)
	if err != nil || num == 0 || num > maxCounter {
		return 0, 0, fmt.Errorf("%q is not a number from 1", s[i+1:])
	}
	return node, num, nil
}
