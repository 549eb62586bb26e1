package sim

import (
	"container/heap"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// scheduler is what the wheel and the two references below have in common: timers by number.
type scheduler interface {
	arm(timer int, k Key)
	stop(timer int)
	runBefore(end Time)
}

// program is a random program of arming, stopping and moving timers. All its choices follow from what has fired so far,
// so that schedulers which agree on the order make the same program.
type program struct {
	s       scheduler
	dice    Stream
	draws   uint64
	sources []Source
	span    Time // how far ahead timers are armed, at most
	fires   int  // left; then nothing is armed any more
	now     Time
	hash    uint64
	count   int
}

func (p *program) draw(n uint64) uint64 {
	p.draws++
	return p.dice.Below(p.draws, n)
}

func (p *program) fired(timer int, k Key) {
	if k.At < p.now {
		panic("time went backwards")
	}
	p.now = k.At
	for _, v := range []uint64{uint64(timer), uint64(k.At), k.Seq, uint64(k.Origin)} {
		p.hash = (p.hash ^ v) * 1099511628211
	}
	p.count++
	for range 1 + p.draw(2) {
		p.act()
	}
}

// act arms (or moves) or stops a timer of some origin.
func (p *program) act() {
	if p.fires <= 0 {
		return
	}
	p.fires--
	timer := int(p.draw(uint64(len(p.sources)) * timersEach))
	src := &p.sources[timer/timersEach]
	if p.draw(8) == 0 {
		p.s.stop(timer)
		return
	}
	var ahead Time
	switch p.draw(6) {
	case 0: // now
	case 1:
		ahead = Time(p.draw(3))
	case 2:
		ahead = Time(p.draw(1500)) // the same slot or the next
	case 3:
		ahead = Time(p.draw(1 << 21)) // the turn's end
	default:
		ahead = Time(p.draw(uint64(p.span)))
	}
	p.s.arm(timer, Key{At: p.now + ahead, Origin: src.ID, Seq: src.Next()})
}

const timersEach = 3

// run plays the program in runs that stop at the given times, with inputs between them.
func (p *program) run(stops []Time) (hash uint64, count int) {
	for range 40 {
		p.act()
	}
	for _, stop := range stops {
		p.s.runBefore(stop)
		p.now = max(p.now, stop)
		p.act()
	}
	p.s.runBefore(Never)
	for p.fires > 0 { // the program died out: timers that are moved fire once only
		for range 20 {
			p.act()
		}
		p.s.runBefore(Never)
	}
	return p.hash, p.count
}

type wheelScheduler struct {
	loop   *Loop
	timers []Timer
	fire   func(timer int, k Key)
}

type wheelTimer struct {
	w *wheelScheduler
	i int
}

func (t wheelTimer) Fire(now Time) {
	tm := &t.w.timers[t.i]
	t.w.fire(t.i, Key{At: now, Origin: tm.origin, Seq: tm.seq})
}

func (w *wheelScheduler) arm(i int, k Key) { w.loop.ArmKey(&w.timers[i], k) }
func (w *wheelScheduler) stop(i int)       { w.loop.Stop(&w.timers[i]) }
func (w *wheelScheduler) runBefore(end Time) {
	next := w.loop.Next()
	before := w.loop.Events()
	if err := w.loop.RunBefore(min(end, next)); err != nil || w.loop.Events() != before {
		panic("an event ran before Next")
	}
	if err := w.loop.RunBefore(end); err != nil {
		panic(err)
	}
}

// heapScheduler is the first reference: a binary heap.
type heapScheduler struct {
	keys  []*heapEntry // by timer; nil: stopped
	queue entryHeap
	fire  func(timer int, k Key)
}

type heapEntry struct {
	Key
	timer, index int
}

func (h *heapScheduler) arm(i int, k Key) {
	h.stop(i)
	h.keys[i] = &heapEntry{Key: k, timer: i}
	heap.Push(&h.queue, h.keys[i])
}

func (h *heapScheduler) stop(i int) {
	if e := h.keys[i]; e != nil {
		heap.Remove(&h.queue, e.index)
		h.keys[i] = nil
	}
}

func (h *heapScheduler) runBefore(end Time) {
	for len(h.queue) > 0 && h.queue[0].At < end {
		e := heap.Pop(&h.queue).(*heapEntry)
		h.keys[e.timer] = nil
		h.fire(e.timer, e.Key)
	}
}

type entryHeap []*heapEntry

func (h entryHeap) Len() int           { return len(h) }
func (h entryHeap) Less(i, j int) bool { return h[i].Before(h[j].Key) }
func (h entryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i, j }
func (h *entryHeap) Push(x any)        { e := x.(*heapEntry); e.index = len(*h); *h = append(*h, e) }
func (h *entryHeap) Pop() any {
	e := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return e
}

// directScheduler is the second: the least of all armed timers, looked for each time.
type directScheduler struct {
	keys  []Key
	armed []bool
	fire  func(timer int, k Key)
}

func (d *directScheduler) arm(i int, k Key) { d.keys[i], d.armed[i] = k, true }
func (d *directScheduler) stop(i int)       { d.armed[i] = false }
func (d *directScheduler) runBefore(end Time) {
	for {
		first := -1
		for i, on := range d.armed {
			if on && d.keys[i].At < end && (first < 0 || d.keys[i].Before(d.keys[first])) {
				first = i
			}
		}
		if first < 0 {
			return
		}
		d.armed[first] = false
		d.fire(first, d.keys[first])
	}
}

// "Schedulers (wheel, heap, direct) must give one delivery-order hash."
func TestSchedulersAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		origins := rapid.IntRange(1, 60).Draw(t, "origins")
		span := rapid.SampledFrom([]Time{
			5, Microsecond, 700 * Microsecond, 5 * Millisecond, 3 * Second, 5000 * Second, 1 << 51, 1 << 55,
		}).Draw(t, "span")
		steps := rapid.SampledFrom([]int{0, 10, 100, 1000, 4000}).Draw(t, "steps")
		var stops []Time
		for range rapid.IntRange(0, 8).Draw(t, "stops") {
			stops = append(stops, Time(rapid.Uint64Range(1, uint64(span)*2).Draw(t, "stop")))
		}
		slices.Sort(stops)

		play := func(make func(n int, fire func(int, Key)) scheduler) (uint64, int) {
			p := &program{dice: NewStream(seed, "program"), span: span, fires: steps}
			for i := range origins {
				p.sources = append(p.sources, Source{ID: Origin(i + 1)})
			}
			p.s = make(origins*timersEach, p.fired)
			return p.run(stops)
		}
		hw, nw := play(newWheelScheduler)
		hh, nh := play(func(n int, fire func(int, Key)) scheduler {
			return &heapScheduler{keys: make([]*heapEntry, n), fire: fire}
		})
		hd, nd := play(func(n int, fire func(int, Key)) scheduler {
			return &directScheduler{keys: make([]Key, n), armed: make([]bool, n), fire: fire}
		})
		if hw != hh || hh != hd || nw != nh || nh != nd {
			t.Fatalf("orders differ: wheel %x (%d events), heap %x (%d), direct %x (%d)", hw, nw, hh, nh, hd, nd)
		}
	})
}

func newWheelScheduler(n int, fire func(int, Key)) scheduler {
	w := &wheelScheduler{loop: NewLoop(LoopConfig{}), timers: make([]Timer, n), fire: fire}
	for i := range w.timers {
		w.timers[i].H = wheelTimer{w, i}
	}
	return w
}
