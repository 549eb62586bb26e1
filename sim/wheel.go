package sim

import "math/bits"

// The wheel's shape: 4 levels of 1,024 slots; a slot of the lowest takes 1,024 ns, one of each level above takes a whole
// turn of the level below. So the levels reach 1 ms, 1 s, 18 minutes and 13 days; what lies beyond waits in a list of
// its own.
const (
	tickBits = 10 // of a time: below the lowest slot
	slotBits = 10
	levels   = 4
	slots    = 1 << slotBits
	slotMask = slots - 1
	overflow = levels * slots // the slot beyond the last level
)

// wheel is a hierarchical timing wheel. A timer's level is the highest at which its slot differs from the present one,
// so that each level is only ever walked upwards and no slot holds two turns. Slots are circular doubly linked lists;
// the present slot's is sorted by key before it runs, the others are not sorted. A bitmap tells which of the others are
// not empty.
type wheel struct {
	tick   uint64 // the present slot of the lowest level, counted from time 0
	sorted bool   // the present slot's list is sorted
	full   [levels][slots / 64]uint64
	any    [levels]uint16 // which words of full are not zero
	slot   [overflow + 1]*Timer
}

// place is the slot for a tick.
func (w *wheel) place(tick uint64) int {
	switch far := tick ^ w.tick; {
	case far < 1<<slotBits:
		return int(tick & slotMask)
	case far < 1<<(2*slotBits):
		return slots + int(tick>>slotBits&slotMask)
	case far < 1<<(3*slotBits):
		return 2*slots + int(tick>>(2*slotBits)&slotMask)
	case far < 1<<(4*slotBits):
		return 3*slots + int(tick>>(3*slotBits)&slotMask)
	}
	return overflow
}

// present tells whether a slot is the one that is being run, whose list is sorted.
func (w *wheel) present(slot int) bool { return w.sorted && slot == int(w.tick&slotMask) }

// insert links a timer that is in no slot. One that is due in a slot already passed (the wheel may stand ahead of the
// loop's time, never ahead of an event) goes into the present one.
func (w *wheel) insert(t *Timer) {
	tick := max(uint64(t.at)>>tickBits, w.tick)
	s := w.place(tick)
	t.wake, t.slot = t.at, int32(s+1)
	head := w.slot[s]
	if head == nil {
		t.next, t.prev = t, t
		w.slot[s] = t
		if uint(s) < overflow && !w.present(s) {
			level, word := uint(s)>>slotBits, uint(s)&slotMask>>6
			w.full[level][word] |= 1 << (s & 63)
			w.any[level] |= 1 << word
		}
		return
	}
	after := head.prev
	if w.sorted && tick == w.tick && t.before(after) {
		w.sortIn(t, after, s)
		return
	}
	t.prev, t.next = after, head
	after.next, head.prev = t, t
}

// sortIn links a timer into the sorted list of slot s, before o, which it precedes, and before what else it does.
func (w *wheel) sortIn(t, o *Timer, s int) {
	for head := w.slot[s]; ; o = o.prev {
		if o == head {
			w.slot[s] = t
			break
		}
		if !t.before(o.prev) {
			break
		}
	}
	t.next, t.prev = o, o.prev
	o.prev.next = t
	o.prev = t
}

// remove unlinks a timer from its slot.
func (w *wheel) remove(t *Timer) {
	s := int(t.slot) - 1
	t.slot = 0
	if t.next == t {
		w.slot[s] = nil
		w.empty(s)
	} else {
		if w.slot[s] == t {
			w.slot[s] = t.next
		}
		t.prev.next = t.next
		t.next.prev = t.prev
	}
	t.next, t.prev = nil, nil
}

// pop unlinks the first timer of the present slot.
func (w *wheel) pop(slot **Timer) *Timer {
	t := *slot
	if next := t.next; next == t {
		*slot = nil
	} else {
		*slot = next
		next.prev, t.prev.next = t.prev, next
	}
	t.slot, t.next, t.prev = 0, nil, nil
	return t
}

// empty notes that a slot's list has become empty, or that the slot is the present one: that has no bit.
func (w *wheel) empty(s int) {
	if s >= overflow {
		return
	}
	level, word := s>>slotBits, s&slotMask>>6
	w.full[level][word] &^= 1 << (s & 63)
	if w.full[level][word] == 0 {
		w.any[level] &^= 1 << word
	}
}

// nextFull is the first slot of a level, from index from on, that is not empty; -1 if there is none.
func (w *wheel) nextFull(level, from int) int {
	word := from & slotMask >> 6
	if b := w.full[level][word] & (^uint64(0) << (from & 63)); b != 0 {
		return word<<6 + bits.TrailingZeros64(b)
	}
	a := w.any[level] & (^uint16(1) << word)
	if a == 0 {
		return -1
	}
	word = bits.TrailingZeros16(a)
	return word<<6 + bits.TrailingZeros64(w.full[level][word])
}

// nextSlot finds the first slot that is not empty, and the tick it begins at. No timer is due before that tick.
func (w *wheel) nextSlot() (slot int, tick uint64, ok bool) {
	if i := int(w.tick & slotMask); w.sorted && w.slot[i] != nil {
		return i, w.tick, true
	}
	for level := range levels {
		shift := level * slotBits
		if i := w.nextFull(level, int(w.tick>>shift&slotMask)); i >= 0 {
			turn := w.tick >> (shift + slotBits) << (shift + slotBits)
			return level<<slotBits + i, max(turn|uint64(i)<<shift, w.tick), true
		}
	}
	head := w.slot[overflow]
	if head == nil {
		return 0, 0, false
	}
	least := head.at
	for t := head.next; t != head; t = t.next {
		least = min(least, t.at)
	}
	return overflow, uint64(least) >> tickBits, least != Never
}

// advance makes the next slot that is not empty the present one and sorts it; false if it begins at end or later. The
// present slot must be empty.
func (w *wheel) advance(end Time) bool {
	for {
		i := w.nextFull(0, int(w.tick&slotMask))
		if i < 0 {
			if !w.turn(end) {
				return false
			}
			continue
		}
		tick := w.tick&^slotMask | uint64(i)
		if Time(tick<<tickBits) >= end {
			return false
		}
		w.tick = tick
		if w.sortPresent(i) {
			return true
		}
	}
}

// turn comes to the next slot of an upper level (or beyond) and spreads its timers; false if it begins at end or later.
func (w *wheel) turn(end Time) bool {
	s, tick, ok := w.nextSlot()
	if !ok || Time(tick<<tickBits) >= end {
		return false
	}
	w.tick, w.sorted = tick, false
	w.spread(s)
	return true
}

// spread moves the timers of a slot of an upper level (or beyond) to where they belong, now that the wheel has come there.
func (w *wheel) spread(s int) {
	head := w.slot[s]
	w.slot[s] = nil
	w.empty(s)
	head.prev.next = nil
	for t := head; t != nil; {
		next := t.next
		w.insert(t)
		t = next
	}
}

// sortPresent sorts the present slot's list by key. Timers that were moved later leave it for where they are due now:
// their early wake is no event. False if none is left.
func (w *wheel) sortPresent(s int) bool {
	w.sorted = true
	word := s & slotMask >> 6 // empty, for the lowest level: each event comes by here
	if w.full[0][word] &^= 1 << (s & 63); w.full[0][word] == 0 {
		w.any[0] &^= 1 << word
	}
	head := w.slot[s]
	if head.next == head && uint64(head.at)>>tickBits <= w.tick {
		return true
	}
	n, last := 0, head.prev
	for t := head; ; {
		next, end := t.next, t == last
		if n++; uint64(t.at)>>tickBits > w.tick {
			n--
			w.remove(t)
			w.insert(t)
		}
		if end {
			break
		}
		t = next
	}
	if n > insertionMax {
		w.slot[s] = ring(mergeSort(w.slot[s], n))
	} else if n > 1 {
		w.insertionSort(s)
	}
	return n > 0
}

// insertionSort sorts a slot's list; timers were mostly armed in the order in which they are due.
func (w *wheel) insertionSort(s int) {
	for t := w.slot[s].next; t != w.slot[s]; {
		next := t.next
		if o := t.prev; t.before(o) {
			o.next, next.prev = next, o
			w.sortIn(t, o, s)
		}
		t = next
	}
}

// ring closes a singly linked list to a doubly linked circle.
func ring(head *Timer) *Timer {
	last := head
	for t := head.next; t != nil; t = t.next {
		t.prev, last = last, t
	}
	last.next, head.prev = head, last
	return head
}

// insertionMax is the longest list sorted by insertion alone, whose time grows with the square of the length.
const insertionMax = 32

// mergeSort sorts the first n timers of a singly linked list by key and ends it there.
func mergeSort(t *Timer, n int) *Timer {
	if n == 1 {
		t.next = nil
		return t
	}
	mid := t
	for range n / 2 {
		mid = mid.next
	}
	b := mergeSort(mid, n-n/2)
	a := mergeSort(t, n/2)
	var head *Timer
	end := &head
	for a != nil && b != nil {
		if b.before(a) {
			*end, b = b, b.next
		} else {
			*end, a = a, a.next
		}
		end = &(*end).next
	}
	if a == nil {
		a = b
	}
	*end = a
	return head
}
