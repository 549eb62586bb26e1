package link

import "labd.dev/sim"

// What becomes of a frame on the wire, as bits.
const (
	outcomeLost = 1 << iota
	outcomeCorrupted
	outcomeDuplicated
	outcomeReordered
	outcomeMarked
)

// frame is a frame in the queue, with all that is needed to decide anew what becomes of it.
type frame struct {
	f             *sim.Frame
	seq           uint64 // see arrival.seq
	offered       sim.Time
	left          sim.Time // when it leaves the queue: start, unless there is a device behind it
	start         sim.Time // when its first bit goes on the wire
	startPs       int64    // picoseconds after start
	arrivalBefore sim.Time // the latest arrival of the frames before it
	size          int
	eseq          uint32 // of its record
	outcome       uint8
	bad           bool // state of the Gilbert-Elliott chain before it
	decided       bool // loss and duplication were decided before the queue
}

func (w *frame) draw() uint64 {
	if w.seq&1 == 1 {
		return w.seq>>1 | copyDraw
	}
	return w.seq >> 1
}

// waiting is the frames that have not yet gone on the wire, a ring in order: those in the device's ring, if there is one, and
// behind them the queue. They leave it without an event: whoever looks at the queue first lets go what has departed.
type waiting struct {
	ring       []frame // a power of two long
	head, tail int
	bytes      int
}

func (q *waiting) packets() int { return q.tail - q.head }

func (q *waiting) at(i int) *frame { return &q.ring[i&(len(q.ring)-1)] }

// depart lets go the frames that went on the wire before a time. One that is lost there ends here; the others are in
// flight.
func (q *waiting) depart(before sim.Time) {
	for q.head != q.tail {
		w := q.at(q.head)
		if w.start >= before {
			return
		}
		if w.outcome&outcomeLost != 0 {
			w.f.Release()
		}
		w.f = nil
		q.bytes -= w.size
		q.head++
	}
}

// room is where the next frame to wait is to be filled in; add then takes it up.
func (q *waiting) room() *frame {
	if q.tail-q.head == len(q.ring) {
		old := q.ring
		q.ring = make([]frame, max(2*len(old), firstRing))
		for i := q.head; i != q.tail; i++ {
			*q.at(i) = old[i&(len(old)-1)]
		}
	}
	return q.at(q.tail)
}

func (q *waiting) add() {
	q.bytes += q.at(q.tail).size
	q.tail++
}
