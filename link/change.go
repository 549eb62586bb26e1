package link

import (
	"cmp"
	"slices"

	"labd.dev/sim"
)

// Set changes the configuration now. What has gone on the wire before arrives as it would have. Frames still in the
// queue, or in the ring of the device behind it, get new times, and what becomes of them is decided anew, by the same draws
// against the new settings, but for when a frame in the ring has left the queue, and whether with a mark; a smaller
// queue limit bites on newcomers only. Going down purges the queue, as Linux does with a device's.
func (d *Direction) Set(cfg Config) {
	now := d.loop.Now()
	q := &d.queue
	d.depart(now)
	before := d.cfg.Queue.Device
	d.setConfig(cfg)
	d.changeDevice(before, now)
	if q.packets() == 0 {
		return
	}
	first := q.at(q.head)
	d.flight.takeBack(first.seq)
	d.free, d.freePs, d.bad, d.lastArrival = first.start, first.startPs, first.bad, first.arrivalBefore
	for i := q.head; i != q.tail; i++ {
		w := q.at(i)
		d.stats.undo(w, now)
		if d.cfg.Down {
			d.stats.Fault++
			d.purge(w, DropFault, d.cfg.DownBy)
			continue
		}
		if v := d.device; v != nil && i >= v.ahead.next {
			w.left = v.take(q, w.size, now)
		}
		d.transmit(w, now)
	}
	if d.cfg.Down {
		q.head, q.bytes = q.tail, 0
		d.resetDevice(now)
	}
}

// purge drops a queued frame.
func (d *Direction) purge(w *frame, cause DropCause, fault uint32) {
	d.recordPurge(w, cause, fault)
	w.f.Release()
	w.f = nil
}

// Remove ends the direction now, as if its cable were cut through: what is on the wire is dropped there, in the order in
// which it left, then what waits. Where the direction is cut both loops must be at rest. Nothing is sent on it any more.
func (d *Direction) Remove() {
	q := &d.queue
	d.depart(d.loop.Now())
	if q.packets() > 0 {
		d.flight.takeBack(q.at(q.head).seq)
	}
	for _, c := range d.flying() {
		d.recordRemoved(&c)
	}
	for i := q.head; i != q.tail; i++ {
		d.stats.undo(q.at(i), d.loop.Now())
		d.purge(q.at(i), DropRemoved, 0)
	}
	q.head, q.bytes = q.tail, 0
}

// flying takes every frame off that is on the wire, and tells of them in the order in which they left.
func (d *Direction) flying() []carried {
	var list []carried
	if d.abroad != nil {
		list = d.abroad.flying(list, d.loop.Now())
	}
	ours := d.flight.drain(nil)
	if d.receiver != nil {
		ours = d.receiver.flight.drain(ours)
	}
	for i := range ours {
		a := &ours[i]
		list = append(list, carried{seq: a.seq, pkt: a.frame.Pkt, conn: a.frame.Conn, eseq: a.eseq, size: int32(a.frame.Len()), copied: a.copied})
		a.frame.Release()
	}
	slices.SortFunc(list, func(a, b carried) int { return cmp.Compare(a.seq, b.seq) })
	return list
}

// undo takes a waiting frame's outcome back, but for the mark of one that has left the queue.
func (s *Stats) undo(w *frame, now sim.Time) {
	outcome := w.outcome
	if w.left < now {
		outcome &^= outcomeMarked
	}
	for _, c := range []struct {
		bit uint8
		n   *uint64
	}{{outcomeLost, &s.Lost}, {outcomeCorrupted, &s.Corrupted}, {outcomeDuplicated, &s.Duplicated},
		{outcomeReordered, &s.Reordered}, {outcomeMarked, &s.Marked}} {
		if outcome&c.bit != 0 {
			*c.n--
		}
	}
}

// Receiver is the far half of a direction whose ends are in different loops.
type Receiver struct {
	flight flight
}

// Connect says who gets the frames, in the receiver's loop.
func (r *Receiver) Connect(to Sink) { r.flight.to = to }

// Cut parts the direction from its receiver, which lives in the loop dst. Frames then stay with the sender until they
// have gone on the wire, and Ship moves them. It is done before the first frame is sent.
func (d *Direction) Cut(dst *sim.Loop) *Receiver {
	r := &Receiver{flight: flight{loop: dst, origin: d.src.ID, dice: &d.dice}}
	r.flight.timer.H = &r.flight
	d.flight.held = true
	d.receiver = r
	return r
}

// NextDeparture is when the next queued frame goes on the wire; Never if none waits. It counts as an event of the
// sender's loop: no frame that is still here arrives earlier than that plus Lookahead.
func (d *Direction) NextDeparture() sim.Time {
	if d.queue.packets() == 0 {
		return sim.Never
	}
	return d.queue.at(d.queue.head).start
}

// Lookahead is the least time between a frame's departure and its arrival, or its copy's.
func (d *Direction) Lookahead() sim.Time { return d.cfg.Lookahead() }

// Ship moves the frames that went on the wire before a time (the end of the window that all loops have run) to the
// receiver's loop, or hands them to the carrier, and tells the earliest arrival among them; Never if there is none. Both
// loops must be at rest.
func (d *Direction) Ship(before sim.Time) (earliest sim.Time) {
	d.depart(before)
	limit := ^uint64(0)
	if d.queue.packets() > 0 {
		limit = d.queue.at(d.queue.head).seq
	}
	fl := &d.flight
	earliest = sim.Never
	for fl.head != fl.tail && fl.at(fl.head).seq < limit {
		a := fl.at(fl.head)
		fl.head++
		earliest = min(earliest, d.ship(a))
		a.frame = nil
	}
	keep := fl.heap[:0]
	for i := range fl.heap {
		if a := &fl.heap[i]; a.seq < limit {
			earliest = min(earliest, d.ship(a))
		} else {
			keep = append(keep, *a)
		}
	}
	clear(fl.heap[len(keep):])
	fl.heap = keep
	for i := len(keep)/2 - 1; i >= 0; i-- {
		fl.sift(i)
	}
	return earliest
}

func (d *Direction) ship(a *arrival) sim.Time {
	if a.mark {
		setCE(a.frame)
		a.mark = false
	}
	if a.flip {
		d.dice.flip(a.frame, a.draw())
		a.flip = false
	}
	if d.abroad != nil {
		d.abroad.carry(a, d.loop.Now())
		return a.at
	}
	a.frame = a.frame.CopyTo(d.receiver.flight.loop)
	d.receiver.flight.push(a)
	return a.at
}
