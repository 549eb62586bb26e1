package link

import "labd.dev/sim"

// Hop is a decoded KindHop record.
type Hop struct {
	Node    uint32     // the sending node
	ESeq    uint32     // of the record
	First   uint32     // of the frame's first record on this hop, which names the hop's events: ESeq until Succeed says otherwise
	Dir     sim.Origin // the direction
	Conn    sim.ConnID
	Pkt     sim.PacketID
	Bytes   int      // the frame's length
	Offered sim.Time // when the node sent it
	Decided sim.Time // when the record was made: Offered, or the live change that decided anew
	Left    sim.Time // when it left the queue; before Start if it then waited in the device's ring
	Start   sim.Time // when it went on the wire; both valid unless dropped before
	Arrival sim.Time // when it arrives; valid unless dropped

	QueuePackets, QueueBytes int // waiting, as the frame found it

	Drop    DropCause // 0: not dropped
	OnWire  bool      // dropped: it had left the queue
	FaultID uint32    // dropped by a fault: its journal index

	Duplicated, Corrupted, Reordered bool
	Marked                           bool   // it left the queue with the CE codepoint
	Copy                             bool   // a copy made on the wire
	CopyOf                           uint32 // ESeq of the frame's record; once settled, First
	Supersedes                       uint32 // ESeq of the record that a live change made void; 0: none
}

// Decode reads a record of kind KindHop and those behind it, of which the first may continue it; ok tells whether it is one.
func Decode(r *sim.Record, behind []sim.Record) (h Hop, ok bool) {
	if r.Kind != KindHop {
		return Hop{}, false
	}
	has := func(bit uint8) bool { return r.Flags&bit != 0 }
	h = Hop{
		Node: r.Node, ESeq: r.ESeq, First: r.ESeq, Dir: sim.Origin(r.W[0]), Conn: r.Conn, Pkt: r.Pkt,
		Offered: r.T, Decided: r.T, QueueBytes: int(r.W[3]),
		Duplicated: has(hopDuplicated), Corrupted: has(hopCorrupted), Reordered: has(hopReordered), Copy: has(hopCopy),
		Marked: has(hopMarked),
	}
	wait, packets := unpack(r.W[1], r.W[4])
	flight, size := unpack(r.W[2], r.W[5])
	h.QueuePackets, h.Bytes, h.Left, h.Start = packets, size, r.T+wait, r.T+wait
	if len(behind) > 0 && behind[0].Kind == sim.KindMore {
		h.Left = r.T + sim.Time(uint64(behind[0].W[1])<<32|uint64(behind[0].W[0]))
	}
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

// CutShort reports whether the hop ended on the wire because its direction was removed. Its record replaces another of
// which everything until then stays true.
func (h *Hop) CutShort() bool { return h.Drop == DropRemoved && h.OnWire }

// Succeed gives h, which replaces a hop, what stays true of that: its name, the time that the frame was offered, the
// queue that it found, and what had come about already.
func (h *Hop) Succeed(old *Hop) {
	h.First, h.Offered, h.QueuePackets, h.QueueBytes = old.First, old.Offered, old.QueuePackets, old.QueueBytes
	if old.Left < h.Decided { // it was in the device's ring
		h.Left, h.Marked = old.Left, old.Marked
	}
	if h.CutShort() {
		h.Left, h.Start = old.Left, old.Start
		h.Corrupted, h.Duplicated, h.CopyOf = old.Corrupted, old.Duplicated, old.CopyOf
		h.Marked = old.Marked
	}
}

// Settle removes the hops that a later live change made void, and gives those that replace a hop what stays true of it.
// Hops must come in the order of their records; the slice is reused.
func Settle(hops []Hop) []Hop {
	type name struct{ node, eseq uint32 }
	next := make(map[name]*Hop) // record -> the hop that replaces it
	for i := range hops {
		if h := &hops[i]; h.Supersedes != 0 {
			next[name{h.Node, h.Supersedes}] = h
		}
	}
	if len(next) == 0 {
		return hops
	}
	first := make(map[name]uint32) // of records that replace others
	kept := hops[:0]
	void := make([]bool, len(hops))
	for i := range hops {
		h := &hops[i]
		n := next[name{h.Node, h.ESeq}]
		if n != nil {
			n.Succeed(h)
			first[name{h.Node, n.ESeq}] = h.First
		}
		void[i] = n != nil
		if !h.Copy {
			continue
		}
		// What is decided anew makes the copy anew as well, unless its frame has left for good.
		if n := next[name{h.Node, h.CopyOf}]; n != nil && !n.CutShort() {
			void[i] = true
		}
	}
	for i := range hops {
		if void[i] {
			continue
		}
		h := hops[i]
		if f, ok := first[name{h.Node, h.CopyOf}]; ok && h.Copy {
			h.CopyOf = f
		}
		kept = append(kept, h)
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
	Marked     EventName = "link:marked"
	// Transmitted is when a frame that waited in the device's ring goes on the wire. Of others Dequeued tells it.
	Transmitted EventName = "link:transmitted"
)

// Event is one event of a hop: Hop says the rest (its queue, its packet, its cause of drop).
type Event struct {
	Name    EventName
	T       sim.Time
	Sojourn sim.Time // Dequeued: the time in the queue; Transmitted: in the device's ring
}

// Events is the hop's events in order of time, appended to events. What the wire does to a frame has the time that the
// frame goes on the wire; Reordered has that of the arrival.
func (h *Hop) Events(events []Event) []Event {
	add := func(name EventName, t sim.Time) { events = append(events, Event{Name: name, T: t}) }
	if h.Copy {
		if h.Drop != 0 {
			add(Dropped, h.Decided)
		} else {
			add(Delivered, h.Arrival)
		}
		return events
	}
	if h.Drop != 0 && !h.OnWire {
		if h.Supersedes != 0 { // it had been in the queue
			add(Enqueued, h.Offered)
			if h.Left < h.Decided {
				events = h.leaves(events)
			}
		}
		add(Dropped, h.Decided)
		return events
	}
	add(Enqueued, h.Offered)
	events = h.leaves(events)
	if h.Left < h.Start {
		events = append(events, Event{Name: Transmitted, T: h.Start, Sojourn: h.Start - h.Left})
	}
	if h.Drop != 0 && !h.CutShort() {
		add(Dropped, h.Start)
		return events
	}
	if h.Corrupted {
		add(Corrupted, h.Start)
	}
	if h.Duplicated {
		add(Duplicated, h.Start)
	}
	if h.CutShort() {
		add(Dropped, h.Decided)
		return events
	}
	if h.Reordered {
		add(Reordered, h.Arrival)
	}
	add(Delivered, h.Arrival)
	return events
}

// leaves appends what happens as the frame leaves the queue.
func (h *Hop) leaves(events []Event) []Event {
	events = append(events, Event{Name: Dequeued, T: h.Left, Sojourn: h.Left - h.Offered})
	if h.Marked {
		events = append(events, Event{Name: Marked, T: h.Left})
	}
	return events
}
