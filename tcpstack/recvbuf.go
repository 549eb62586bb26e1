package tcpstack

import (
	"unsafe"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// recvBuffer holds what has come and was not read yet: a queue of the bytes in order and the pieces beyond a gap. Both
// refer to the sender's chunks; frames are gone at once.
type recvBuffer struct {
	q       []piece // [first:] are live
	first   int
	inOrder int // bytes in q
	ooo     []oooPiece
	oooLen  int                                // bytes in ooo
	latest  int                                // index in ooo of the piece that changed last: RFC 2018's first block
	blocks  [wire.MaxSACKBlocks]wire.SACKBlock // [:nblocks], the most recently changed first (selective_acks)
	nblocks int
	finSeq  seqNum
	hasFIN  bool // a FIN at finSeq has come, perhaps beyond a gap
	next    *recvBuffer

	compressedNxt seqNum // RCV.NXT that dupsSent counts for
	dupsSent      uint8  // duplicate ACKs that went at once
	compressed    uint8  // duplicate ACKs held back
}

// piece is a slice of a chunk.
type piece struct {
	chunk *sim.Chunk
	b     []byte
	own   bool // the chunk gathers small segments: bytes may be appended within it
}

// oooPiece is a piece beyond a gap.
type oooPiece struct {
	seq seqNum
	piece
}

func (o *oooPiece) end() seqNum { return o.seq + seqNum(len(o.b)) }

const (
	// gatherBelow is the length up to which segments are copied together, so that a peer of tiny segments cannot pin a
	// chunk and a queue entry for each.
	gatherBelow = 128
	// skbOverhead is struct sk_buff and struct skb_shared_info, as SKB_TRUESIZE adds them.
	skbOverhead = 256 + 320
)

// fits says whether all that is held takes no more than limit bytes of memory: each byte, and a descriptor for each piece
// beyond a gap; where that is too much, one for each stretch without a gap, as if they were put together (Linux:
// tcp_collapse_ofo_queue). Which chunks they lie in does not count: that depends on how a lab is split.
func (b *recvBuffer) fits(limit int) bool {
	limit -= b.inOrder + b.oooLen
	if len(b.ooo)*skbOverhead <= limit {
		return true
	}
	stretches := 0
	for i := range b.ooo {
		if i == 0 || b.ooo[i-1].end() != b.ooo[i].seq {
			stretches++
		}
	}
	return stretches*skbOverhead <= limit
}

// inbox is the receive buffer, made on first use.
func (c *Conn) inbox() *recvBuffer {
	if c.rcv == nil {
		t := &c.stack.tcp
		if c.rcv = t.freeRcv; c.rcv != nil {
			t.freeRcv, c.rcv.next = c.rcv.next, nil
		} else {
			c.rcv = new(recvBuffer)
		}
	}
	return c.rcv
}

// releaseRcv gives an empty buffer back.
func (c *Conn) releaseRcv() {
	b := c.rcv
	if b == nil || b.inOrder > 0 || len(b.ooo) > 0 || b.hasFIN && !c.rcvFIN {
		return
	}
	*b = recvBuffer{q: b.q[:0], ooo: b.ooo[:0]}
	b.next, c.stack.tcp.freeRcv, c.rcv = c.stack.tcp.freeRcv, b, nil
}

// offsetIn is where in its chunk's data a slice begins.
func offsetIn(ch *sim.Chunk, b []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(ch.Data))))
}

// push appends bytes that are next in order: merged with the piece before where they lie behind it in the same chunk,
// gathered where they are few.
func (b *recvBuffer) push(l *sim.Loop, ch *sim.Chunk, p []byte) {
	b.inOrder += len(p)
	if n := len(b.q); n > b.first && b.q[n-1].extend(ch, p) {
		return
	}
	if b.first > 0 && len(b.q) == cap(b.q) {
		n := copy(b.q, b.q[b.first:])
		clear(b.q[n:])
		b.q, b.first = b.q[:n], 0
	}
	b.q = append(b.q, keep(l, ch, p))
}

// keep makes a piece of bytes of a frame's chunk.
func keep(l *sim.Loop, ch *sim.Chunk, p []byte) piece {
	if len(p) > gatherBelow {
		ch.Retain()
		return piece{chunk: ch, b: p[:len(p):len(p)]}
	}
	own := l.NewChunk(smallChunk)
	n := copy(own.Data, p)
	return piece{chunk: own, b: own.Data[:n], own: true}
}

// extend makes a piece hold the bytes that follow it, too, where they lie behind it in the same chunk or are few.
func (o *piece) extend(ch *sim.Chunk, p []byte) bool {
	at, used := offsetIn(o.chunk, o.b), len(o.b)
	end := at + used + len(p)
	if o.chunk == ch && at+used == offsetIn(ch, p) {
		o.b = ch.Data[at:end:end]
		return true
	}
	return o.gather(p)
}

// gather copies few bytes behind others like them.
func (o *piece) gather(p []byte) bool {
	if !o.own || len(p) > gatherBelow {
		return false
	}
	at, used := offsetIn(o.chunk, o.b), len(o.b)
	end := at + used + len(p)
	if end > len(o.chunk.Data) {
		return false
	}
	copy(o.chunk.Data[at+used:], p)
	o.b = o.chunk.Data[at:end]
	return true
}

// read moves bytes to p.
func (b *recvBuffer) read(p []byte) int {
	n := 0
	for n < len(p) && b.first < len(b.q) {
		h := &b.q[b.first]
		m := copy(p[n:], h.b)
		n += m
		if m < len(h.b) {
			h.b = h.b[m:]
			break
		}
		h.chunk.Release()
		*h = piece{}
		b.first++
	}
	if b.first == len(b.q) {
		b.q, b.first = b.q[:0], 0
	}
	b.inOrder -= n
	return n
}

// after is the index of the first piece that ends beyond seq: mostly there is none.
func (b *recvBuffer) after(seq seqNum) int {
	lo, hi := 0, len(b.ooo)
	if hi > 0 && b.ooo[hi-1].end().lessEq(seq) {
		return hi
	}
	for lo < hi {
		if mid := (lo + hi) / 2; b.ooo[mid].end().lessEq(seq) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// insert keeps a piece beyond a gap, cut to what is new. It reports the first range of it that was held already.
func (b *recvBuffer) insert(l *sim.Loop, seq seqNum, ch *sim.Chunk, p []byte) (twice sackRange) {
	i := b.after(seq)
	for len(p) > 0 {
		if i < len(b.ooo) {
			o := &b.ooo[i]
			if o.seq.lessEq(seq) { // skip what o holds
				b.latest = i
				n := min(len(p), int(o.end()-seq))
				if n < 0 {
					n = 0
				}
				if n > 0 && twice.left == twice.right {
					twice = sackRange{seq, seq}
				}
				if twice.right == seq {
					twice.right += seqNum(n)
				}
				p, seq = p[n:], seq+seqNum(n)
				i++
				continue
			}
		}
		n := len(p)
		if i < len(b.ooo) {
			n = min(n, int(b.ooo[i].seq-seq))
		}
		b.oooLen += n
		if i > 0 && b.ooo[i-1].end() == seq && b.ooo[i-1].gather(p[:n]) {
			b.latest = i - 1
		} else {
			b.ooo = append(b.ooo, oooPiece{})
			copy(b.ooo[i+1:], b.ooo[i:])
			b.ooo[i] = oooPiece{seq, keep(l, ch, p[:n])}
			b.latest = i
			i++
		}
		p, seq = p[n:], seq+seqNum(n)
	}
	b.changed()
	return twice
}

// advance moves the pieces that nxt has reached to the queue in order and returns the new RCV.NXT, and the range below the
// old one that they held.
func (b *recvBuffer) advance(l *sim.Loop, nxt seqNum) (_ seqNum, twice sackRange) {
	k := 0
	if first := b.ooo[0].seq; first.less(nxt) {
		twice = sackRange{first, nxt}
	}
	for k < len(b.ooo) && b.ooo[k].seq.lessEq(nxt) {
		o := &b.ooo[k]
		b.oooLen -= len(o.b)
		if skip := int(nxt - o.seq); skip < len(o.b) {
			b.push(l, o.chunk, o.b[skip:])
			nxt = o.end()
		}
		o.chunk.Release()
		k++
	}
	if k > 0 {
		n := copy(b.ooo, b.ooo[k:])
		clear(b.ooo[n:])
		b.ooo = b.ooo[:n]
		b.latest = max(0, b.latest-k)
		b.reached(nxt)
	}
	return nxt, twice
}

// drop lets go of everything.
func (b *recvBuffer) drop() {
	for i := b.first; i < len(b.q); i++ {
		b.q[i].chunk.Release()
	}
	for i := range b.ooo {
		b.ooo[i].chunk.Release()
	}
	clear(b.q)
	clear(b.ooo)
	b.q, b.first, b.inOrder, b.ooo, b.oooLen, b.nblocks = b.q[:0], 0, 0, b.ooo[:0], 0, 0
}
