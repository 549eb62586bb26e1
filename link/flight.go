package link

import "labd.dev/sim"

// arrival is a frame on its way. Its key in the order of events is {at, the direction's id, seq}.
type arrival struct {
	at     sim.Time
	seq    uint64 // twice the frame's number in the direction, plus one for a copy
	frame  *sim.Frame
	eseq   uint32 // of its record; 0: it has none
	flip   bool   // a bit is inverted when the frame leaves the sender's loop or arrives
	mark   bool   // it gets the CE codepoint when it leaves the sender's loop or arrives
	copied bool   // a copy made on the wire: nothing else refers to the frame
}

// draw is the number of the frame's draws. A copy made on the wire shares its frame's, so that both carry the same
// flipped bit; one made before the queue has its own.
func (a *arrival) draw() uint64 {
	if a.seq&1 == 1 && !a.copied {
		return a.seq>>1 | copyDraw
	}
	return a.seq >> 1
}

func (a *arrival) before(b *arrival) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

// flight holds the frames on their way in order of arrival, with one timer for the first of them. Most arrive in the
// order they were sent: these are in a ring. A frame that jitter lets overtake, and every copy, is in a small heap.
type flight struct {
	loop   *sim.Loop
	origin sim.Origin
	dice   *dice
	to     Sink
	timer  sim.Timer
	held   bool // frames wait here to be shipped to another loop; no timer

	ring       []arrival // a power of two long
	head, tail int       // ever growing
	heap       []arrival
	popped     arrival // from the heap

	frames, bytes uint64 // delivered
}

const firstRing = 16 // arrivals; doubled as needed, up to what a queue and a delay hold

func (fl *flight) at(i int) *arrival { return &fl.ring[i&(len(fl.ring)-1)] }

// push adds a frame. (The fields are written one by one: a copy of the whole struct reads in wider pieces than have just
// been written, which costs a store-forwarding stall.)
func (fl *flight) push(a *arrival) {
	var first bool
	if a.copied || fl.head != fl.tail && a.before(fl.at(fl.tail-1)) {
		now := fl.first()
		first = now == nil || a.before(now)
		fl.heapPush(*a)
	} else {
		first = fl.head == fl.tail && (len(fl.heap) == 0 || a.before(&fl.heap[0]))
		if fl.tail-fl.head == len(fl.ring) {
			fl.grow()
		}
		e := fl.at(fl.tail)
		e.at, e.seq, e.frame, e.eseq, e.flip, e.mark, e.copied = a.at, a.seq, a.frame, a.eseq, a.flip, a.mark, a.copied
		fl.tail++
	}
	if first && !fl.held {
		fl.loop.ArmKey(&fl.timer, sim.Key{At: a.at, Origin: fl.origin, Seq: a.seq})
	}
}

func (fl *flight) grow() {
	old := fl.ring
	fl.ring = make([]arrival, max(2*len(old), firstRing))
	for i := fl.head; i != fl.tail; i++ {
		*fl.at(i) = old[i&(len(old)-1)]
	}
}

// first is the next to arrive; nil if nothing is on its way.
func (fl *flight) first() *arrival {
	if fl.head == fl.tail {
		if len(fl.heap) == 0 {
			return nil
		}
		return &fl.heap[0]
	}
	if r := fl.at(fl.head); len(fl.heap) == 0 || r.before(&fl.heap[0]) {
		return r
	}
	return &fl.heap[0]
}

// pop takes the first off; where it lay still says all but the frame, until the next push.
func (fl *flight) pop() (a *arrival, f *sim.Frame) {
	if fl.head != fl.tail {
		if a = fl.at(fl.head); len(fl.heap) == 0 || a.before(&fl.heap[0]) {
			f = a.frame
			a.frame = nil
			fl.head++
			return a, f
		}
	}
	fl.heapPop(&fl.popped)
	f = fl.popped.frame
	fl.popped.frame = nil
	return &fl.popped, f
}

// arm sets the timer to the first arrival.
func (fl *flight) arm() {
	if fl.held {
		return
	}
	if a := fl.first(); a != nil {
		fl.loop.ArmKey(&fl.timer, sim.Key{At: a.at, Origin: fl.origin, Seq: a.seq})
	} else {
		fl.loop.Stop(&fl.timer)
	}
}

// Fire delivers the first frame, and those behind it as long as nothing else comes between.
func (fl *flight) Fire(sim.Time) {
	for {
		a, f := fl.pop()
		if a.mark {
			setCE(f)
		}
		if a.flip {
			fl.dice.flip(f, a.draw())
		}
		fl.frames++
		fl.bytes += uint64(f.Len())
		fl.to.Receive(f)
		next := fl.first()
		if next == nil || fl.timer.Armed() { // what the sink did may have armed it
			return
		}
		if k := (sim.Key{At: next.at, Origin: fl.origin, Seq: next.seq}); !fl.loop.Proceed(k) {
			fl.loop.ArmKey(&fl.timer, k)
			return
		}
	}
}

// takeBack removes every frame with a sequence of at least from. Copies made on the wire are released; the other frames
// are the caller's, who has them in its queue.
func (fl *flight) takeBack(from uint64) {
	for fl.tail != fl.head && fl.at(fl.tail-1).seq >= from {
		fl.tail--
		fl.at(fl.tail).frame = nil
	}
	keep := fl.heap[:0]
	for _, a := range fl.heap {
		if a.seq < from {
			keep = append(keep, a)
		} else if a.copied {
			a.frame.Release()
		}
	}
	clear(fl.heap[len(keep):])
	fl.heap = keep
	for i := len(keep)/2 - 1; i >= 0; i-- {
		fl.sift(i)
	}
	fl.arm()
}

// drain takes every frame off and adds it to list.
func (fl *flight) drain(list []arrival) []arrival {
	fl.loop.Stop(&fl.timer)
	for fl.first() != nil {
		a, f := fl.pop()
		list = append(list, *a)
		list[len(list)-1].frame = f
	}
	return list
}

// close releases every frame.
func (fl *flight) close() {
	fl.loop.Stop(&fl.timer)
	for fl.first() != nil {
		_, f := fl.pop()
		f.Release()
	}
}

func (fl *flight) heapPush(a arrival) {
	fl.heap = append(fl.heap, a)
	i := len(fl.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !fl.heap[i].before(&fl.heap[up]) {
			break
		}
		fl.heap[i], fl.heap[up] = fl.heap[up], fl.heap[i]
		i = up
	}
}

func (fl *flight) heapPop(a *arrival) {
	h := fl.heap
	n := len(h) - 1
	*a = h[0]
	h[0], h[n] = h[n], arrival{}
	fl.heap = h[:n]
	fl.sift(0)
}

func (fl *flight) sift(i int) {
	h := fl.heap
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1].before(&h[c]) {
			c++
		}
		if !h[c].before(&h[i]) {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}
