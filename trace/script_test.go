package trace

import (
	"labd.dev/link"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// script writes the records of a connection client/1 between client (node 1) and server (node 3) over r1 (node 2), as
// its stacks and links would.
type script struct {
	recs    []sim.Record
	eseq    [4]uint32
	packets [4]uint64
	iss     [2]uint32
}

const (
	client = 1
	router = 2
	server = 3

	toServer = 4 // client->r1
	onServer = 5 // r1->server
	toClient = 6 // server->r1
	onClient = 7 // r1->client

	ms = sim.Millisecond
)

var testNames = Names{
	Nodes:      []string{"", "client", "r1", "server"},
	Directions: []string{"", "", "", "", "client->r1", "r1->server", "server->r1", "r1->client"},
}

var conn1 = sim.MakeConnID(client, 1)

// seg is a segment in a script; numbers are relative to the initial ones.
type seg struct {
	pkt      sim.PacketID
	from     uint32
	flags    uint8
	seq, ack uint32
	len, win uint32
}

const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	psh = 0x08
	ack = 0x10
)

func newScript(clientISS, serverISS uint32) *script {
	return &script{iss: [2]uint32{clientISS, serverISS}}
}

func (s *script) add(t sim.Time, node uint32, kind sim.Kind) *sim.Record {
	s.eseq[node]++
	s.recs = append(s.recs, sim.Record{T: t, Node: node, ESeq: s.eseq[node], Kind: kind, Conn: conn1})
	return &s.recs[len(s.recs)-1]
}

func side(node uint32) uint8 {
	if node == server {
		return responderBit
	}
	return 0
}

func (s *script) state(t sim.Time, node uint32, from, to tcpstack.State, why tcpstack.StateTrigger, cause uint32) {
	r := s.add(t, node, tcpstack.KindTCPStateUpdated)
	r.Flags, r.Aux, r.Reason, r.Cause = uint8(from), uint8(to), uint8(why)|side(node), cause
}

func (s *script) fill(r *sim.Record, g seg) {
	a, b := s.iss[0], s.iss[1]
	if g.from == server {
		a, b = b, a
	}
	r.Pkt, r.Flags = g.pkt, g.flags
	r.W[0], r.W[2] = a+g.seq, g.len<<16|g.win
	if g.flags&ack != 0 {
		r.W[1] = b + g.ack
	}
}

// send records that a segment leaves its sender.
func (s *script) send(t sim.Time, from uint32, why tcpstack.SendReason, flags uint8, seq, ackn, length, win uint32) seg {
	s.packets[from]++
	g := seg{pkt: sim.MakePacketID(from, s.packets[from]), from: from, flags: flags, seq: seq, ack: ackn, len: length, win: win}
	r := s.add(t, from, tcpstack.KindTCPSegmentSent)
	s.fill(r, g)
	r.Reason = uint8(why) | side(from)
	r.W[5] = 1 << 8
	if why == tcpstack.SendFastRtx || why == tcpstack.SendRTORtx {
		r.W[5] = 2 << 8
	}
	return g
}

// arrive records that a segment reaches the other end, and returns the event's number there.
func (s *script) arrive(t sim.Time, g seg, v tcpstack.Verdict) uint32 {
	to := uint32(client + server - g.from)
	r := s.add(t, to, tcpstack.KindTCPSegmentReceived)
	s.fill(r, g)
	r.Reason = uint8(v) | side(to)
	r.W[5] = 1 << 8
	return r.ESeq
}

// lose records that a link loses a packet: flags and cause as link/record.go lays them out.
func (s *script) lose(t sim.Time, node, dir uint32, g seg, cause link.DropCause) {
	r := s.add(t, node, link.KindHop)
	r.Pkt, r.Flags, r.Reason = g.pkt, 1|2, uint8(cause)
	r.W[0] = dir
}

func (s *script) events() []Event { return Expand(sorted(s.recs), &testNames) }

// sorted puts records in the total order, as the Merger does.
func sorted(recs []sim.Record) []sim.Record {
	var out []sim.Record
	m := NewMerger(1, func(r []sim.Record) error { out = append(out, r...); return nil })
	// A script may tell of one node after the other: hand over record by record in the order of time.
	pending := append([]sim.Record{}, recs...)
	for len(pending) > 0 {
		best := 0
		for i := range pending {
			if pending[i].T < pending[best].T {
				best = i
			}
		}
		m.Source(0).Add(pending[best : best+1])
		pending = append(pending[:best], pending[best+1:]...)
	}
	if err := m.Close(); err != nil {
		panic(err)
	}
	return out
}

// handshake opens the connection with a one-way delay, and returns the time when the server's end is established.
func (s *script) handshake(delay sim.Time) sim.Time {
	const win = 64240
	s.started(0, client)
	s.state(0, client, tcpstack.StateClosed, tcpstack.StateSynSent, tcpstack.AppOpen, 0)
	g := s.send(0, client, tcpstack.SendSYN, syn, 0, 0, 0, win)
	c := s.arrive(delay, g, tcpstack.InOrder)
	s.state(delay, server, tcpstack.StateListen, tcpstack.StateSynRcvd, tcpstack.RxSYN, c)
	g = s.send(delay, server, tcpstack.SendSYN, syn|ack, 0, 1, 0, 65160)
	c = s.arrive(2*delay, g, tcpstack.InOrder)
	s.state(2*delay, client, tcpstack.StateSynSent, tcpstack.StateEstablished, tcpstack.RxSYNACK, c)
	g = s.send(2*delay, client, tcpstack.SendACK, ack, 1, 1, 0, 64256)
	c = s.arrive(3*delay, g, tcpstack.InOrder)
	s.state(3*delay, server, tcpstack.StateSynRcvd, tcpstack.StateEstablished, tcpstack.RxACK, c)
	return 3 * delay
}

// started names the two ends: 10.0.0.1:49152 and 10.0.0.2:5001.
func (s *script) started(t sim.Time, node uint32) {
	r := s.add(t, node, tcpstack.KindTCPConnectionStarted)
	r.Reason, r.Flags = side(node), startedInitiator
	r.W = [6]uint32{s.iss[0], s.iss[1], 49152<<16 | 5001, 1460 << 16}
	s.recs = append(s.recs, sim.Record{T: t, Node: node, ESeq: r.ESeq, Kind: sim.KindMore,
		Conn: 0xffff, Pkt: 0x0a000001 << 32, W: [6]uint32{0, 0xffff, 0x0a000002}})
}
