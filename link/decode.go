package link

import "labd.dev/sim"

// Hop is a decoded KindHop record.
type Hop struct {
	Node    uint32 // the sending node
	ESeq    uint32
	Dir     sim.Origin // the direction
	Conn    sim.ConnID
	Pkt     sim.PacketID
	Bytes   int      // the frame's length
	Offered sim.Time // when the node sent it
	Decided sim.Time // when the record was made: Offered, or the live change that decided anew
	Start   sim.Time // when it left the queue for the wire; valid unless dropped before
	Arrival sim.Time // when it arrives; valid unless dropped

	QueuePackets, QueueBytes int // waiting, as the frame found it

	Drop    DropCause // 0: not dropped
	OnWire  bool      // dropped: it had left the queue
	FaultID uint32    // dropped by a fault: its journal index

	Duplicated, Corrupted, Reordered bool
	Copy                             bool   // a copy made on the wire
	CopyOf                           uint32 // ESeq of the frame's record
	Supersedes                       uint32 // ESeq of the record that a live change made void; 0: none
}

// Decode reads a record of kind KindHop; ok tells whether it is one.
func Decode(r *sim.Record) (h Hop, ok bool) {
	if r.Kind != KindHop {
		return Hop{}, false
	}
	has := func(bit uint8) bool { return r.Flags&bit != 0 }
	h = Hop{
		Node: r.Node, ESeq: r.ESeq, Dir: sim.Origin(r.W[0]), Conn: r.Conn, Pkt: r.Pkt,
		Offered: r.T, Decided: r.T, QueueBytes: int(r.W[3]),
		Duplicated: has(hopDuplicated), Corrupted: has(hopCorrupted), Reordered: has(hopReordered), Copy: has(hopCopy),
	}
	wait, packets := unpack(r.W[1], r.W[4])
	flight, size := unpack(r.W[2], r.W[5])
	h.QueuePackets, h.Bytes, h.Start = packets, size, r.T+wait
	switch {
	case has(hopDropped):
		h.Drop, h.OnWire, h.FaultID = DropCause(r.Reason), has(hopWire), r.W[2]
	default:
		h.Arrival = h.Start + flight
	}
	switch {
	case has(hopSupersedes):
		h.Supersedes = r.Cause
	case h.Copy:
		h.CopyOf = r.Cause
	}
	return h, true
}

// Settle removes the hops that a later live change made void, and gives the one that replaces a hop the time that its
// frame was offered and the queue that it found. Hops must come in the order of their records; the slice is reused.
func Settle(hops []Hop) []Hop {
	type name struct{ node, eseq uint32 }
	last := make(map[name]int) // voided record -> the hop that replaces it
	for i, h := range hops {
		if h.Supersedes != 0 {
			last[name{h.Node, h.Supersedes}] = i
		}
	}
	if len(last) == 0 {
		return hops
	}
	for _, h := range hops {
		if j, void := last[name{h.Node, h.ESeq}]; void {
			n := &hops[j]
			n.Offered, n.QueuePackets, n.QueueBytes = h.Offered, h.QueuePackets, h.QueueBytes
		}
	}
	kept := hops[:0]
	for _, h := range hops {
		_, void := last[name{h.Node, h.ESeq}]
		if h.Copy {
			_, void = last[name{h.Node, h.CopyOf}]
		}
		if !void {
			kept = append(kept, h)
		}
	}
	return kept
}

// EventName is the name of a link event, in the trace's words.
type EventName string

// The link's events.
const (
	Enqueued   EventName = "link:enqueued"
	Dequeued   EventName = "link:dequeued"
	Delivered  EventName = "link:delivered"
	Dropped    EventName = "link:dropped"
	Duplicated EventName = "link:duplicated"
	Reordered  EventName = "link:reordered"
	Corrupted  EventName = "link:corrupted"
)

// Event is one event of a hop: Hop says the rest (its queue, its packet, its cause of drop).
type Event struct {
	Name    EventName
	T       sim.Time
	Sojourn sim.Time // Dequeued: the time in the queue
}

// Events is the hop's events in order of time, appended to events. What the wire does to a frame has the time that the
// frame goes on the wire; Reordered has that of the arrival.
func (h *Hop) Events(events []Event) []Event {
	add := func(name EventName, t sim.Time) { events = append(events, Event{Name: name, T: t}) }
	if h.Copy {
		add(Delivered, h.Arrival)
		return events
	}
	if h.Drop != 0 && !h.OnWire {
		if h.Supersedes != 0 { // it had been in the queue
			add(Enqueued, h.Offered)
		}
		add(Dropped, h.Decided)
		return events
	}
	add(Enqueued, h.Offered)
	events = append(events, Event{Name: Dequeued, T: h.Start, Sojourn: h.Start - h.Offered})
	if h.Drop != 0 {
		add(Dropped, h.Start)
		return events
	}
	if h.Corrupted {
		add(Corrupted, h.Start)
	}
	if h.Duplicated {
		add(Duplicated, h.Start)
	}
	if h.Reordered {
		add(Reordered, h.Arrival)
	}
	add(Delivered, h.Arrival)
	return events
}
