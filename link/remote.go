package link

import "labd.dev/sim"

// Carrier takes what leaves over a direction whose receiver is in another process. It keeps nothing of the frame.
type Carrier interface {
	// Carry takes a frame that arrives at a time, under the key {at, the direction's id, seq}. copied: the wire made it.
	Carry(at sim.Time, seq uint64, copied bool, f *sim.Frame)
}

// abroad is the sender's half of a direction whose receiver is in another process.
type abroad struct {
	to Carrier
	// What has been carried and not yet arrived: if the direction is removed it ends there, which is the sender's to tell.
	ring       []carried // a power of two long, in the order of departure
	head, tail int
}

// carried is a frame on its way in another process.
type carried struct {
	at     sim.Time
	seq    uint64
	pkt    sim.PacketID
	conn   sim.ConnID
	eseq   uint32 // of its record; 0: it has none
	size   int32
	copied bool
}

// CutAbroad parts the direction from its receiver, which is in another process. Frames then stay with the sender until
// they have gone on the wire, and Ship hands them to the carrier. It is done before the first frame is sent.
func (d *Direction) CutAbroad(to Carrier) {
	d.flight.held = true
	d.abroad = &abroad{to: to}
}

func (b *abroad) at(i int) *carried { return &b.ring[i&(len(b.ring)-1)] }

// carry hands a frame over and ends it here.
func (b *abroad) carry(a *arrival, now sim.Time) {
	b.to.Carry(a.at, a.seq, a.copied, a.frame)
	for b.head != b.tail && b.at(b.head).at < now {
		b.head++
	}
	if b.tail-b.head == len(b.ring) {
		old := b.ring
		b.ring = make([]carried, max(2*len(old), firstRing))
		for i := b.head; i != b.tail; i++ {
			*b.at(i) = old[i&(len(old)-1)]
		}
	}
	*b.at(b.tail) = carried{at: a.at, seq: a.seq, pkt: a.frame.Pkt, conn: a.frame.Conn, eseq: a.eseq, size: int32(a.frame.Len()), copied: a.copied}
	b.tail++
	a.frame.Release()
}

// flying appends what has not arrived by a time.
func (b *abroad) flying(list []carried, now sim.Time) []carried {
	for i := b.head; i != b.tail; i++ {
		if c := b.at(i); c.at >= now {
			list = append(list, *c)
		}
	}
	b.head = b.tail
	return list
}

// NewReceiver makes the far half of a direction whose sender is in another process.
func NewReceiver(loop *sim.Loop, origin sim.Origin, to Sink) *Receiver {
	r := &Receiver{flight: flight{loop: loop, origin: origin, to: to}}
	r.flight.timer.H = &r.flight
	return r
}

// Arrive takes what the direction's carrier was given, and owns the frame. The loop must be at rest, and at not passed.
func (r *Receiver) Arrive(at sim.Time, seq uint64, copied bool, f *sim.Frame) {
	r.flight.push(&arrival{at: at, seq: seq, frame: f, copied: copied})
}

// Delivered counts the frames handed to the receiver, and their bytes.
func (r *Receiver) Delivered() (frames, bytes uint64) { return r.flight.frames, r.flight.bytes }

// Close releases every frame on its way.
func (r *Receiver) Close() { r.flight.close() }
