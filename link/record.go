package link

import (
	"math"

	"labd.dev/sim"
)

// KindHop is the record that a direction makes of each frame, when it is offered: all that becomes of it on this hop.
//
//	T          when the frame was offered; in a superseding record, when the settings changed or the direction was removed
//	Conn, Pkt  the frame's
//	Node       the sending node
//	Cause      copy: ESeq of its frame's record; superseding: ESeq of the record that it replaces
//	Reason     DropCause, if dropped
//	Flags      hopDropped ... below
//	W[0]       the direction's origin
//	W[1]       wait: from T until it goes on the wire, ns, low 32 bits
//	W[2]       flight: from going on the wire until arrival, ns, low 32 bits; if dropped: the fault's journal index
//	W[3]       bytes waiting in the queue, as the frame found it
//	W[4]       low 20 bits: packets waiting; high 12: wait's high bits
//	W[5]       low 20 bits: the frame's length; high 12: flight's high bits
//
// A frame that waited in the ring of the device behind the queue has a sim.KindMore record after this one, whose W[0] and W[1] are
// the wait in the queue alone, from T until it left it, ns, low and high 32 bits. That does not follow one that drops a frame
// before it is on the wire.
//
// A record that drops, because its direction was removed, what had gone on the wire says only that: when it did so, and
// what befell it there, stands in the record that it replaces.
const KindHop = sim.KindLink

const (
	hopDropped = 1 << iota
	hopWire    // dropped: it had gone on the wire
	hopDuplicated
	hopCorrupted
	hopReordered
	hopCopy
	hopSupersedes
	hopMarked
)

// DropCause is why a direction dropped a frame.
type DropCause uint8

const (
	DropQueueFull DropCause = 1 + iota
	DropLoss
	DropFault // the direction is down
	DropMTU
	DropRemoved // the direction was taken out of the lab
)

var dropCauses = [...]string{DropQueueFull: "queue_full", DropLoss: "loss_model", DropFault: "fault", DropMTU: "mtu",
	DropRemoved: "removed"}

// String is the cause as exports print it; empty for none.
func (c DropCause) String() string {
	if int(c) < len(dropCauses) {
		return dropCauses[c]
	}
	return ""
}

const (
	smallBits = 20 // of W[4] and W[5]
	smallMax  = 1<<smallBits - 1
	spanMax   = 1<<(32+32-smallBits) - 1 // ns; 4.8 hours
)

// pack splits a time span over a word and the high bits of another, saturating.
func pack(span sim.Time, small int) (low, high uint32) {
	s := min(uint64(max(span, 0)), spanMax)
	return uint32(s), uint32(s>>32)<<smallBits | uint32(min(small, smallMax))
}

func unpack(low, high uint32) (span sim.Time, small int) {
	return sim.Time(uint64(high>>smallBits)<<32 | uint64(low)), int(high & smallMax)
}

// hop starts a record with what all have in common; nil where nothing is recorded.
func (d *Direction) hop(f *sim.Frame, size int) *sim.Record { return d.hopOf(f.Pkt, f.Conn, size) }

func (d *Direction) hopOf(pkt sim.PacketID, conn sim.ConnID, size int) *sim.Record {
	if d.mute {
		return nil
	}
	r := d.from.Record(d.loop.Rec, d.loop.Now(), KindHop)
	if r == nil {
		return nil
	}
	r.Conn, r.Pkt = conn, pkt
	r.W[0] = uint32(d.src.ID)
	packets, bytes := d.backlog()
	r.W[3] = uint32(min(bytes, math.MaxUint32))
	r.W[4] = uint32(min(packets, smallMax))
	r.W[5] = uint32(min(size, smallMax))
	return r
}

// supersede makes r replace the record that w already has, if it has one.
func (w *frame) supersede(r *sim.Record) {
	supersede(r, w.eseq)
	w.eseq = r.ESeq
}

func supersede(r *sim.Record, eseq uint32) {
	if eseq != 0 {
		r.Flags |= hopSupersedes
		r.Cause = eseq
	}
}

// record tells of a frame that arrives.
func (d *Direction) record(w *frame, now, at sim.Time) {
	r := d.hop(w.f, w.size)
	if r == nil {
		return
	}
	if w.outcome&outcomeCorrupted != 0 {
		r.Flags |= hopCorrupted
	}
	if w.outcome&outcomeDuplicated != 0 {
		r.Flags |= hopDuplicated
	}
	if w.outcome&outcomeMarked != 0 {
		r.Flags |= hopMarked
	}
	if w.outcome&outcomeReordered != 0 {
		r.Flags |= hopReordered
	}
	w.supersede(r)
	w.spans(r, now, at)
	d.recordRing(r, w, now)
}

// recordRing continues a record where the frame left the queue before it went on the wire.
func (d *Direction) recordRing(r *sim.Record, w *frame, now sim.Time) {
	if w.left == w.start {
		return
	}
	node, eseq := r.Node, r.ESeq // before Next, as the slot may be gone with it
	more := d.loop.Rec.Next()
	more.T, more.Node, more.ESeq, more.Kind = now, node, eseq, sim.KindMore
	wait := uint64(max(w.left-now, 0))
	more.W[0], more.W[1] = uint32(wait), uint32(wait>>32)
}

func (w *frame) spans(r *sim.Record, now, at sim.Time) {
	r.W[1], r.W[4] = pack(w.start-now, int(r.W[4]))
	r.W[2], r.W[5] = pack(at-w.start, w.size)
}

// recordCopy tells of the copy of the frame that was just recorded, and returns its record's number.
func (d *Direction) recordCopy(w *frame, now, at sim.Time) (eseq uint32) {
	r := d.hop(w.f, w.size)
	if r == nil {
		return 0
	}
	r.Flags = hopCopy
	if w.outcome&outcomeCorrupted != 0 {
		r.Flags |= hopCorrupted
	}
	r.Cause = w.eseq
	w.spans(r, now, at)
	return r.ESeq
}

// recordLost tells of a frame that the loss model takes from the wire.
func (d *Direction) recordLost(w *frame, now sim.Time) {
	r := d.hop(w.f, w.size)
	if r == nil {
		return
	}
	r.Flags, r.Reason = hopDropped|hopWire, uint8(DropLoss)
	w.supersede(r)
	r.W[1], r.W[4] = pack(w.start-now, int(r.W[4]))
	r.W[2] = d.cfg.LossBy
	d.recordRing(r, w, now)
}

// recordPurge tells of a queued frame that ends with the queue.
func (d *Direction) recordPurge(w *frame, cause DropCause, fault uint32) {
	r := d.hop(w.f, w.size)
	if r == nil {
		return
	}
	r.Flags, r.Reason = hopDropped, uint8(cause)
	w.supersede(r)
	r.W[2] = fault
}

// recordRemoved tells of a frame on the wire that ends there with the direction.
func (d *Direction) recordRemoved(c *carried) {
	r := d.hopOf(c.pkt, c.conn, int(c.size))
	if r == nil {
		return
	}
	r.Flags, r.Reason = hopDropped|hopWire, uint8(DropRemoved)
	if c.copied {
		r.Flags |= hopCopy
	}
	supersede(r, c.eseq)
}

// recordDrop tells of a frame that never got into the queue.
func (d *Direction) recordDrop(f *sim.Frame, cause DropCause, fault uint32) {
	if r := d.hop(f, f.Len()); r != nil {
		r.Flags, r.Reason = hopDropped, uint8(cause)
		r.W[2] = fault
	}
}
