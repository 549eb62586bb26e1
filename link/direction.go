package link

import "labd.dev/sim"

// Direction carries frames one way. It belongs to its sender's loop, and what it decides it decides there.
type Direction struct {
	// What each frame needs comes first, to lie in few cache lines.

	loop *sim.Loop
	from *sim.Identity // records are numbered with the sending node's
	src  sim.Source    // ID: the direction's; Seq: the frames offered so far

	// When the wire is free: freePs picoseconds after free.
	free   sim.Time
	freePs int64
	// From cfg.
	psPerByte int64
	overhead  int64
	maxFrame  int
	delay     sim.Time
	impaired  bool // loss, jitter, corruption or duplication
	mute      bool // it records nothing

	bad         bool     // state of the Gilbert-Elliott chain
	lastArrival sim.Time // of all frames so far
	queue       waiting
	device      *device // behind the queue; nil: none
	ringEnd     int     // without a device: what waits before this index was in the ring of one
	passing     frame   // the last that did not have to wait
	flight      flight
	stats       Stats

	name     string
	cfg      Config // in force, effective
	dice     dice
	receiver *Receiver // where the direction is cut; else nil
	abroad   *abroad   // where it is cut and the receiver is in another process; else nil
}

// Stats counts a direction's frames. A frame still in the queue is counted under the outcome it will have if nothing
// changes.
type Stats struct {
	Sent, SentBytes           uint64 // offered by the node
	Delivered, DeliveredBytes uint64 // handed to the receiver, copies included
	QueueFull, Lost           uint64 // dropped by the queue; by the loss model
	Fault, TooBig             uint64 // dropped because the direction was down; because of the MTU
	Corrupted, Duplicated     uint64
	Marked                    uint64 // left the queue with the CE codepoint
	Reordered                 uint64 // arrived before a frame that was sent earlier
	QueuePackets, QueueBytes  int    // waiting now
	Device                    DeviceStats
}

// Dropped counts the frames that were dropped for any cause.
func (s Stats) Dropped() uint64 { return s.QueueFull + s.Lost + s.Fault + s.TooBig }

// NewDirection makes a direction from a node to wherever Connect or Cut says. src names its events and counts its
// frames; name names its streams and must not change with the split of the lab.
func NewDirection(loop *sim.Loop, from *sim.Identity, src sim.Source, name string, seed uint64, cfg Config) *Direction {
	d := &Direction{name: name, loop: loop, from: from, src: src, dice: newDice(seed, name)}
	d.flight = flight{loop: loop, origin: src.ID, dice: &d.dice}
	d.flight.timer.H = &d.flight
	d.setConfig(cfg)
	d.resetDevice(loop.Now())
	return d
}

func (d *Direction) setConfig(cfg Config) {
	d.cfg = cfg.Effective()
	c := &d.cfg
	d.psPerByte, d.overhead = c.psPerByte(), int64(c.Overhead)
	d.maxFrame, d.delay = c.MTU+EthernetHeader, c.Delay
	d.impaired = c.Loss.Model != NoLoss || c.Jitter.Amount > 0 || c.Corrupt > 0 || c.Duplicate.Chance > 0
}

// Name is the direction's name, "r1->r2".
func (d *Direction) Name() string { return d.name }

// Offered counts the frames that were sent, in any incarnation: what NewDirection's src began with is in it.
func (d *Direction) Offered() uint64 { return d.src.Seq }

// ID is the direction's origin, which records name it by.
func (d *Direction) ID() sim.Origin { return d.src.ID }

// Config is what is in force, defaults filled in.
func (d *Direction) Config() Config { return d.cfg }

// Sink is who gets a direction's frames, and owns each that it is given.
type Sink interface{ Receive(*sim.Frame) }

// SinkFunc makes a Sink of a function.
type SinkFunc func(*sim.Frame)

// Receive implements Sink.
func (fn SinkFunc) Receive(f *sim.Frame) { fn(f) }

// Connect says who gets the frames, in the sender's own loop.
func (d *Direction) Connect(to Sink) { d.flight.to = to }

// BeforeFlip says what is to be done with a frame just before one of its bits is inverted: whoever leaves checksums
// open until somebody looks fills them in then. Not at Send: corruption may be switched on while frames are queued.
func (d *Direction) BeforeFlip(prepare func(*sim.Frame)) { d.dice.beforeFlip = prepare }

// Mute keeps the direction's frames out of the trace. They fare as they would.
func (d *Direction) Mute() { d.mute = true }

// Send passes a complete Ethernet frame to the direction, which owns it from then on.
func (d *Direction) Send(f *sim.Frame) {
	now := d.loop.Now()
	i := d.src.Next()
	n := f.Len()
	d.stats.Sent++
	d.stats.SentBytes += uint64(n)
	if d.queue.head != d.queue.tail {
		d.depart(now + 1)
	}
	switch {
	case d.cfg.Down:
		d.drop(f, &d.stats.Fault, DropFault, d.cfg.DownBy)
	case n > d.maxFrame:
		d.drop(f, &d.stats.TooBig, DropMTU, 0)
	case d.cfg.LossAt == AtEnqueue:
		d.sendLossFirst(f, i, now)
	default:
		d.enqueue(f, n, i<<1, false, now)
	}
}

// sendLossFirst loses and duplicates before the queue; the copy queues as a frame of its own.
func (d *Direction) sendLossFirst(f *sim.Frame, i uint64, now sim.Time) {
	if d.dice.loses(&d.cfg.Loss, i, &d.bad) {
		d.drop(f, &d.stats.Lost, DropLoss, d.cfg.LossBy)
		return
	}
	var g *sim.Frame
	if hit(&d.dice.duplicate, i, d.cfg.Duplicate.Chance) {
		g = f.Clone()
		d.stats.Duplicated++
	}
	d.enqueue(f, f.Len(), i<<1, true, now)
	if g != nil {
		d.depart(now + 1) // the frame may have gone into the device's ring
		d.enqueue(g, g.Len(), i<<1|1, true, now)
	}
}

// enqueue gives the frame, of size bytes, its turn on the wire, if it need not wait or the queue has room. decided says that
// loss and duplication are behind it.
func (d *Direction) enqueue(f *sim.Frame, size int, seq uint64, decided bool, now sim.Time) {
	q := &d.queue
	w, waits := &d.passing, d.free > now
	if waits {
		if packets, bytes := d.backlog(); packets >= d.cfg.Queue.LimitPackets || bytes+size > d.cfg.Queue.LimitBytes {
			d.drop(f, &d.stats.QueueFull, DropQueueFull, 0)
			return
		}
		w = q.room()
	} else if d.free < now {
		d.free, d.freePs = now, 0
	}
	w.f, w.seq, w.size, w.decided, w.eseq, w.offered = f, seq, size, decided, 0, now
	w.left = now
	if d.device != nil {
		w.left = d.device.offer(q, size, waits, now)
	}
	lost := d.transmit(w, now)
	if waits {
		q.add()
	} else if lost {
		f.Release()
	}
}

// transmit gives the frame its time on the wire, from when the wire is free, and decides what becomes of it there. It
// reports whether the frame is lost: then nothing but w refers to it.
func (d *Direction) transmit(w *frame, now sim.Time) (lost bool) {
	w.start, w.startPs, w.bad, w.arrivalBefore = d.free, d.freePs, d.bad, d.lastArrival
	inRing := w.left < now // a live change met it there: it has left the queue, marked or not
	if d.device == nil && !inRing {
		w.left = w.start
	}
	if d.psPerByte > 0 {
		ps := (int64(w.size)+d.overhead)*d.psPerByte + d.freePs
		d.free += sim.Time(ps / 1000)
		d.freePs = ps % 1000
	}
	a := arrival{at: d.free + d.delay, seq: w.seq, frame: w.f, mark: inRing && w.outcome&outcomeMarked != 0}
	w.outcome = 0
	if d.impaired && d.impair(w, &a) {
		d.recordLost(w, now)
		return true
	}
	if d.cfg.Queue.Mark.Sojourn > 0 && !inRing && d.marks(w) {
		a.mark = true
		d.stats.Marked++
	}
	if a.mark {
		w.outcome |= outcomeMarked
	}
	if a.at >= d.lastArrival {
		d.lastArrival = a.at
	} else if d.cfg.Jitter.Reorder {
		w.outcome |= outcomeReordered
		d.stats.Reordered++
	} else {
		a.at = d.lastArrival
	}
	if d.loop.Rec != nil && !d.mute {
		d.record(w, now, a.at)
	}
	a.eseq = w.eseq
	d.flight.push(&a)
	if w.outcome&outcomeDuplicated != 0 {
		a.at += d.cfg.Duplicate.Delay
		a.seq |= 1
		a.frame, a.copied = w.f.Clone(), true
		a.eseq = d.recordCopy(w, now, a.at)
		d.flight.push(&a)
	}
	return false
}

// impair decides by chance what the wire does to the frame, and reports whether that loses it.
func (d *Direction) impair(w *frame, a *arrival) (lost bool) {
	i := w.draw()
	if !w.decided && d.dice.loses(&d.cfg.Loss, i, &d.bad) {
		w.outcome = outcomeLost
		d.stats.Lost++
		return true
	}
	a.at = d.free + d.dice.propagation(&d.cfg, i)
	if hit(&d.dice.corrupt, i, d.cfg.Corrupt) {
		a.flip = true
		w.outcome |= outcomeCorrupted
		d.stats.Corrupted++
	}
	if !w.decided && hit(&d.dice.duplicate, i, d.cfg.Duplicate.Chance) {
		w.outcome |= outcomeDuplicated
		d.stats.Duplicated++
	}
	return false
}

// drop ends a frame that the queue never saw.
func (d *Direction) drop(f *sim.Frame, counter *uint64, cause DropCause, fault uint32) {
	*counter++
	d.recordDrop(f, cause, fault)
	f.Release()
}

// Stats counts so far. Where the direction is cut it reads the receiver's loop too: between windows only. What a receiver
// in another process was handed is counted there (Receiver.Delivered).
func (d *Direction) Stats() Stats {
	// Not those that depart at this very instant: an input of this time may still change what becomes of them, whether
	// or not somebody looked.
	d.depart(d.loop.Now())
	s := d.stats
	s.QueuePackets, s.QueueBytes = d.backlog()
	if d.device != nil {
		s.Device = d.device.stats()
	}
	fl := &d.flight
	if d.receiver != nil {
		fl = &d.receiver.flight
	}
	s.Delivered, s.DeliveredBytes = fl.frames, fl.bytes
	return s
}

// Close releases every frame in the queue and on its way, for the end of a lab.
func (d *Direction) Close() {
	d.depart(sim.Never)
	d.flight.close()
	if d.receiver != nil {
		d.receiver.flight.close()
	}
}
