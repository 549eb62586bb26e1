package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// sendBuffer holds what was written and is not yet acknowledged, as runs of chunks. A segment never reaches over the end
// of a run, so a run is filled to a multiple of the MSS: then segments fall on its blocks, whose sums were computed as
// the bytes were copied.
type sendBuffer struct {
	runs []sendRun // [first:] are live, in sequence order
	// first is the oldest run still held; cursor the one that holds SND.NXT, an absolute index like first.
	first, cursor int
	queue         writeQueue
	next          *sendBuffer // in the free list
}

// sendRun is a part of one chunk that holds consecutive bytes.
type sendRun struct {
	chunk *sim.Chunk
	seq   seqNum // of the first byte
	off   int    // of the first byte, in the chunk
	n     int    // bytes
	limit int    // bytes it may grow to; 0: it is not ours to write to
	block int    // bytes a block, the MSS at the time
	sums  []blockSum
}

// blockSum is the sum of the first n bytes of a block.
type blockSum struct{ sum, n uint16 }

// Sizes that a run's chunk is chosen by: what sim's classes hold.
const (
	smallChunk  = 512
	mediumChunk = 4 << 10
	largeChunk  = 16 << 10
	hugeChunk   = 64 << 10
)

// buffer is the send buffer, made on first use.
func (c *Conn) buffer() *sendBuffer {
	if c.snd == nil {
		t := &c.stack.tcp
		if c.snd = t.freeSnd; c.snd != nil {
			t.freeSnd, c.snd.next = c.snd.next, nil
		} else {
			c.snd = new(sendBuffer)
		}
	}
	return c.snd
}

// releaseSnd gives an empty buffer back.
func (c *Conn) releaseSnd() {
	b := c.snd
	if b == nil || b.first < len(b.runs) {
		return
	}
	b.runs, b.first, b.cursor = b.runs[:0], 0, 0
	b.queue.q, b.queue.first = b.queue.q[:0], 0
	b.next, c.stack.tcp.freeSnd, c.snd = c.stack.tcp.freeSnd, b, nil
}

// write copies p to the end, which is SND.NXT's future c.sndEnd.
func (b *sendBuffer) write(c *Conn, p []byte) {
	seq := c.sndEnd
	for len(p) > 0 {
		r := b.tail(c, seq, len(p))
		n := min(len(p), r.limit-r.n)
		r.fill(p[:n], c.stack.cfg.Checksums == ChecksumsAlways)
		p, seq = p[n:], seq+seqNum(n)
	}
}

// tail is the run that the next bytes go to.
func (b *sendBuffer) tail(c *Conn, seq seqNum, want int) *sendRun {
	mss := int(c.blockSize())
	size := 0
	if len(b.runs) > b.first {
		r := &b.runs[len(b.runs)-1]
		// What was sent ends within a block: a full write after it starts blocks of its own, so that its segments fall on
		// them.
		realign := r.n%r.block != 0 && c.sndNxt == seq && want >= mss
		if r.n < r.limit && !realign {
			return r
		}
		if r.limit > 0 && c.sndNxt != seq {
			size = 4 * len(r.chunk.Data) // a stream of small writes: larger chunks
		}
	}
	size = max(size, want+len(b.rest(c)))
	switch {
	case size <= smallChunk:
		size = smallChunk
	case size <= mediumChunk:
		size = mediumChunk
	case size <= largeChunk:
		size = largeChunk
	default:
		size = hugeChunk
	}
	ch := c.stack.loop.NewChunk(size)
	limit := size
	if size > mss {
		limit -= size % mss
	}
	return b.begin(c, sendRun{chunk: ch, seq: seq, limit: limit, block: mss})
}

// begin appends an empty run of our own and moves to it what would be a short segment at the end of the run before: where
// a run ends must not show on the wire.
func (b *sendBuffer) begin(c *Conn, r sendRun) *sendRun {
	rest := b.rest(c)
	if len(rest) == 0 {
		return b.push(r)
	}
	r.seq -= seqNum(len(rest))
	old := &b.runs[len(b.runs)-1]
	chunk := old.chunk
	if old.n -= len(rest); old.n == 0 {
		b.runs = b.runs[:len(b.runs)-1]
	} else {
		chunk.Retain()
	}
	p := b.push(r)
	p.fill(rest, c.stack.cfg.Checksums == ChecksumsAlways)
	chunk.Release()
	return p
}

// rest is what of the last run is not yet sent and does not fill a segment.
func (b *sendBuffer) rest(c *Conn) []byte {
	if b.first == len(b.runs) {
		return nil
	}
	r := &b.runs[len(b.runs)-1]
	end := r.seq + seqNum(r.n)
	n := int(end-maxSeq(c.sndNxt, r.seq)) % int(c.blockSize())
	return r.chunk.Data[r.off+r.n-n : r.off+r.n]
}

// blockSize is how many bytes a full segment will hold; before the handshake tells, a guess.
func (c *Conn) blockSize() uint16 {
	if c.sndMSS == 0 {
		return defaultMSS
	}
	return c.sndMSS
}

// push appends a run, reusing the sums of one that is gone.
func (b *sendBuffer) push(r sendRun) *sendRun {
	if len(b.runs) == cap(b.runs) && b.first > 0 {
		b.compact()
	}
	n := len(b.runs)
	if n < cap(b.runs) {
		b.runs = b.runs[:n+1]
		r.sums = b.runs[n].sums[:0]
		b.runs[n] = r
	} else {
		b.runs = append(b.runs, r)
	}
	return &b.runs[n]
}

// compact moves the live runs to the front; those that are gone keep their sums' room behind them.
func (b *sendBuffer) compact() {
	n := 0
	for i := b.first; i < len(b.runs); i++ {
		b.runs[n], b.runs[i] = b.runs[i], b.runs[n]
		n++
	}
	b.runs = b.runs[:n]
	b.cursor -= b.first
	b.first = 0
}

// fill appends p, which fits.
//
// Copy first, then sum what is hot in the cache: two passes in this order are quicker than one that does both.
func (r *sendRun) fill(p []byte, sum bool) {
	dst := r.chunk.Data[r.off+r.n:]
	copy(dst, p)
	if !sum {
		r.n += len(p)
		return
	}
	dst = dst[:len(p)]
	for len(dst) > 0 {
		i, at := int(uint32(r.n)/uint32(r.block)), int(uint32(r.n)%uint32(r.block))
		n := min(len(dst), r.block-at)
		s := wire.SumAt(wire.Sum(dst[:n]), at)
		if at == 0 {
			r.sums = append(r.sums, blockSum{s, uint16(n)})
		} else {
			r.sums[i] = blockSum{wire.AddSums(r.sums[i].sum, s), uint16(at + n)}
		}
		r.n += n
		dst = dst[n:]
	}
}

// writeChunk appends a slice of a chunk that somebody else filled.
func (b *sendBuffer) writeChunk(c *Conn, ch *sim.Chunk, off, n int) {
	seq, mss := c.sndEnd, int(c.blockSize())
	if rest := len(b.rest(c)); rest > 0 {
		r := b.begin(c, sendRun{chunk: c.stack.loop.NewChunk(mss), seq: seq, limit: mss, block: mss})
		m := min(n, mss-rest)
		r.fill(ch.Data[off:off+m], c.stack.cfg.Checksums == ChecksumsAlways)
		seq, off, n = seq+seqNum(m), off+m, n-m
	}
	if n > 0 {
		ch.Retain()
		b.push(sendRun{chunk: ch, seq: seq, off: off, n: n, block: mss})
	}
}

// at finds the run that holds seq, from the cursor where new data is sent, else from the front.
func (b *sendBuffer) at(seq seqNum) *sendRun {
	i := b.first
	if b.cursor > i && b.cursor < len(b.runs) && b.runs[b.cursor].seq.lessEq(seq) {
		i = b.cursor
	}
	for uint32(seq-b.runs[i].seq) >= uint32(b.runs[i].n) {
		i++
	}
	return &b.runs[i]
}

// payload makes n bytes from seq on the payload of f. Where they lie in two runs, as after a change of the MSS, they are
// copied together: what of the stream goes in which segment is not the buffer's to say.
func (b *sendBuffer) payload(l *sim.Loop, f *sim.Frame, seq seqNum, n int) {
	r := b.at(seq)
	at := int(seq - r.seq)
	if at+n > r.n {
		ch := l.NewChunk(n)
		for got := 0; got < n; {
			r = b.at(seq + seqNum(got))
			at = int(seq + seqNum(got) - r.seq)
			got += copy(ch.Data[got:n], r.chunk.Data[r.off+at:r.off+r.n])
		}
		f.SetPayload(ch, 0, n)
		ch.Release()
		return
	}
	f.SetPayload(r.chunk, r.off+at, n)
	// In 32 bits, which are divided much quicker than 64.
	if i := uint32(at) / uint32(r.block); i*uint32(r.block) == uint32(at) && int(i) < len(r.sums) && int(r.sums[i].n) == n {
		f.Sum, f.SumKnown = r.sums[i].sum, true
	}
}

// sent moves the cursor to where SND.NXT now is.
func (b *sendBuffer) sent(next seqNum) {
	b.queue.sent(next)
	b.cursor = max(b.cursor, b.first)
	for b.cursor < len(b.runs)-1 && b.runs[b.cursor+1].seq.lessEq(next) {
		b.cursor++
	}
}

// acked lets go of the runs wholly below una.
func (b *sendBuffer) acked(una seqNum) {
	for b.first < len(b.runs) {
		r := &b.runs[b.first]
		if una.less(r.seq + seqNum(r.n)) {
			return
		}
		r.chunk.Release()
		r.chunk = nil
		b.first++
	}
}

// drop lets go of everything.
func (b *sendBuffer) drop() {
	for ; b.first < len(b.runs); b.first++ {
		b.runs[b.first].chunk.Release()
		b.runs[b.first].chunk = nil
	}
}
