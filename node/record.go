package node

import "labd.dev/sim"

// The lab:* trace records. Those of the lab itself have Node 0; the others are numbered with the events of the node they
// concern, for a link direction the sending one.
const (
	// KindInput: an input takes effect. Node 0; W[0] is its index in the journal, which holds the rest.
	KindInput = sim.KindLab + iota
	// KindFaultStarted: W[0] is the journal index of the fault's input, W[1] the direction's origin, 0 for a node's fault.
	KindFaultStarted
	// KindFaultEnded: as started; Flags 1: it was cleared before its time.
	KindFaultEnded
	// KindBooted: the node is up; W[0] is its boot count.
	KindBooted
	// KindCrashed: the node has lost all its state; W[0] is its boot count.
	KindCrashed
	// KindLinkSet: settings of a direction change. W[0] is the journal index of the input, W[1] the direction's origin.
	KindLinkSet
	// KindLinkReverted: as set; the time of those settings is over.
	KindLinkReverted
)

// Event is what a record of this package says.
type Event struct {
	Name      string     // "lab:fault_started"
	Index     uint32     // of the input in the journal; 0: none
	Direction sim.Origin // of a link's fault; 0: none
	Boots     uint32
	Cleared   bool
}

// DecodeRecord reads a record of one of the kinds above; ok is false for others.
func DecodeRecord(r *sim.Record) (e Event, ok bool) {
	switch r.Kind {
	case KindInput:
		return Event{Name: "lab:input", Index: r.W[0]}, true
	case KindFaultStarted:
		return Event{Name: "lab:fault_started", Index: r.W[0], Direction: sim.Origin(r.W[1])}, true
	case KindFaultEnded:
		return Event{Name: "lab:fault_ended", Index: r.W[0], Direction: sim.Origin(r.W[1]), Cleared: r.Flags&1 != 0}, true
	case KindBooted:
		return Event{Name: "lab:node_booted", Boots: r.W[0]}, true
	case KindCrashed:
		return Event{Name: "lab:node_crashed", Boots: r.W[0]}, true
	case KindLinkSet:
		return Event{Name: "lab:link_set", Index: r.W[0], Direction: sim.Origin(r.W[1])}, true
	case KindLinkReverted:
		return Event{Name: "lab:link_reverted", Index: r.W[0], Direction: sim.Origin(r.W[1])}, true
	}
	return Event{}, false
}

// record makes a record of the node about itself.
func (n *Node) record(kind sim.Kind) {
	if r := n.id.Record(n.loop.Rec, n.loop.Now(), kind); r != nil {
		r.W[0] = uint32(n.id.Boots)
	}
}

// record makes a record of a fault that starts or ends where id's node lives.
func (f *fault) record(loop *sim.Loop, id *sim.Identity, kind sim.Kind, direction sim.Origin, cleared bool) {
	if r := id.Record(loop.Rec, loop.Now(), kind); r != nil {
		r.W[0], r.W[1] = f.index, uint32(direction)
		if cleared {
			r.Flags = 1
		}
	}
}
