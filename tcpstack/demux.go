package tcpstack

// named is what a demux holds: something with a tuple.
type named interface {
	comparable
	name() *tuple
}

// is compares field by field, which the compiler does in place; == would call a function for as many bytes.
func (t *tuple) is(o *tuple) bool {
	return t.remote.lo == o.remote.lo && t.localPort == o.localPort && t.remotePort == o.remotePort &&
		t.local.lo == o.local.lo && t.remote.hi == o.remote.hi && t.local.hi == o.local.hi
}

// demux is an open-addressed hash table by tuple, probed linearly, at most three quarters full. Nothing depends on the
// order of its entries.
type demux[T named] struct {
	slots []demuxSlot[T] // a power of two
	n     int
}

type demuxSlot[T named] struct {
	value T
	tuple *tuple // the value's; nil in a slot that is free
	hash  uint32
}

// demuxMin is the least number of slots: a host with a few connections needs no more.
const demuxMin = 8

// find returns the entry of a tuple, or the zero T.
func (d *demux[T]) find(t *tuple, hash uint32) T {
	var none T
	if d.n == 0 {
		return none
	}
	mask := uint32(len(d.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		p := &d.slots[i]
		if p.tuple == nil {
			return none
		}
		if p.hash == hash && p.tuple.is(t) {
			return p.value
		}
	}
}

// insert adds an entry whose tuple is not yet there.
func (d *demux[T]) insert(v T, hash uint32) {
	if 4*(d.n+1) > 3*len(d.slots) {
		old := d.slots
		d.slots = make([]demuxSlot[T], max(demuxMin, 2*len(old)))
		d.n = 0
		for _, p := range old {
			if p.tuple != nil {
				d.insert(p.value, p.hash)
			}
		}
	}
	mask := uint32(len(d.slots) - 1)
	i := hash & mask
	for d.slots[i].tuple != nil {
		i = (i + 1) & mask
	}
	d.slots[i] = demuxSlot[T]{v, v.name(), hash}
	d.n++
}

// remove takes an entry out and closes the gap, so that no tombstones gather.
func (d *demux[T]) remove(v T, hash uint32) {
	if d.n == 0 {
		return
	}
	mask := uint32(len(d.slots) - 1)
	i := hash & mask
	for d.slots[i].value != v {
		if d.slots[i].tuple == nil {
			return
		}
		i = (i + 1) & mask
	}
	d.n--
	for j := (i + 1) & mask; d.slots[j].tuple != nil; j = (j + 1) & mask {
		// An entry may move to the gap if the gap lies between its home and its place.
		if (j-d.slots[j].hash)&mask >= (j-i)&mask {
			d.slots[i] = d.slots[j]
			i = j
		}
	}
	d.slots[i] = demuxSlot[T]{}
}
