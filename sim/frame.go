package sim

// HeaderRoom is how many bytes of headers a frame holds in place: Ethernet with a tag (18), IPv6 or IPv4 with options
// (60), TCP with options (60), rounded up.
const HeaderRoom = 144

// frameFront is where a network header starts in a new frame, so that a link header fits before it.
const frameFront = 18

// Frame is one packet on its way. The headers lie in the frame itself; the payload is a slice of its sender's immutable
// chunk, shared, counted, never written. Whoever is handed a frame owns it and ends with Release or by handing it on.
// Counts are not atomic: a frame belongs to one loop and crosses to another by CopyTo only.
//
// What every hop and both ends touch lies in the first two cache lines, Ethernet, IPv4 and TCP headers with timestamps
// included; a frame's size is a multiple of lines (a test holds both), so that a thousand frames on their way cost
// no more misses than that.
type Frame struct {
	Payload []byte // what follows the headers; read-only

	chunk *Chunk
	loop  *Loop

	Pkt PacketID // who made it; kept through every hop and fragment

	// Sum is the Internet checksum's ones'-complement sum (folded, not inverted, big-endian words, as if Payload began
	// at an even offset) of Payload, valid if SumKnown: the sender made it, and no link has changed the payload since.
	Sum      uint16
	SumKnown bool

	start, end uint8 // of the headers in hdr; start is released in a free frame

	Flips uint8 // bits that links flipped, saturating
	// Verified says that the headers' checksums are known to hold: made by a stack here, unchanged since.
	Verified bool

	hdr [HeaderRoom]byte

	Tag  uint32 // metadata: the journal index of the input that opened Conn, 0: none
	Conn ConnID // metadata for tracing; not on the wire

	_ [40]byte // up to a whole line
}

// released marks a frame in the free list, so that one released twice is found at once.
const released = 0xff

// Chunk is a block of payload bytes that frames share slices of. Data is filled once, by its owner, and is immutable as
// far as frames refer to it.
type Chunk struct {
	Data []byte

	refs  int32
	class int8
	loop  *Loop
	next  *Chunk
}

// pool is a loop's LIFO free lists.
type pool struct {
	frames []*Frame // a stack: a list through the frames would miss the cache at each of them
	chunks [len(chunkSizes)]*Chunk
	// live counts, for the leak tests
	liveFrames, liveChunks int
	held                   int // bytes, see Held
}

// chunkSizes are the classes that chunks come in, bytes.
var chunkSizes = [...]int{512, 4 << 10, 16 << 10, 64 << 10}

// What a chunk's class is that is of no size class.
const (
	static int8 = -1 // its bytes are somebody else's
	large  int8 = -2 // of just its size
)

// NewFrame returns an empty frame whose next Append starts at the network header's place, with room before it for a
// link header.
func (l *Loop) NewFrame() *Frame {
	l.pool.liveFrames++
	n := len(l.pool.frames) - 1
	if n < 0 {
		l.Charge(frameBytes)
		return &Frame{loop: l, start: frameFront, end: frameFront}
	}
	f := l.pool.frames[n]
	l.pool.frames = l.pool.frames[:n]
	f.start, f.end = frameFront, frameFront
	return f
}

// LiveFrames counts the frames that have been made and not released.
func (l *Loop) LiveFrames() int { return l.pool.liveFrames }

// LiveChunks counts the chunks that somebody still refers to.
func (l *Loop) LiveChunks() int { return l.pool.liveChunks }

// Header is the bytes of the headers in place; the owner may change them.
func (f *Frame) Header() []byte { return f.hdr[f.start:f.end] }

// Append makes n more header bytes after the present ones and returns them, to be filled.
func (f *Frame) Append(n int) []byte {
	e := int(f.end) + n
	b := f.hdr[f.end:e:e]
	f.end = uint8(e)
	return b
}

// Prepend makes n more header bytes before the present ones and returns them, to be filled.
func (f *Frame) Prepend(n int) []byte {
	s := int(f.start) - n
	b := f.hdr[s:f.start:f.start]
	f.start = uint8(s)
	return b
}

// Strip takes n bytes off the front of the headers (a link header on receipt). Prepend brings their room back.
func (f *Frame) Strip(n int) { f.start += uint8(n) }

// Truncate keeps the first n bytes of the headers.
func (f *Frame) Truncate(n int) { f.end = f.start + uint8(n) }

// Room is how many bytes Append can still make. Whoever builds headers from what a peer sent asks first.
func (f *Frame) Room() int { return HeaderRoom - int(f.end) }

// Len is the whole length, headers and payload.
func (f *Frame) Len() int { return int(f.end-f.start) + len(f.Payload) }

// SetPayload makes c's bytes [off, off+n) the frame's payload, counted; the payload's sum is not known.
func (f *Frame) SetPayload(c *Chunk, off, n int) {
	c.refs++
	f.chunk.release()
	f.chunk, f.Payload = c, c.Data[off:off+n:off+n]
	f.Sum, f.SumKnown = 0, false
}

// Chunk is what the payload is a slice of; nil for an empty payload. Whoever keeps it beyond the frame calls Retain.
func (f *Frame) Chunk() *Chunk { return f.chunk }

// Release ends the frame.
func (f *Frame) Release() {
	if f.start == released {
		panic("sim: frame released twice")
	}
	l := f.loop
	f.start = released
	f.chunk.release()
	f.Payload, f.chunk = nil, nil
	f.Pkt, f.Conn, f.Tag, f.Sum, f.SumKnown, f.Verified, f.Flips = 0, 0, 0, 0, false, false, 0
	l.pool.frames = append(l.pool.frames, f)
	l.pool.liveFrames--
}

// Clone makes a second frame with the same headers, sharing the payload.
func (f *Frame) Clone() *Frame { return f.copyTo(f.loop, true) }

// CopyTo makes the frame anew in another loop, payload copied, and releases f.
func (f *Frame) CopyTo(dst *Loop) *Frame {
	g := f.copyTo(dst, false)
	f.Release()
	return g
}

func (f *Frame) copyTo(dst *Loop, share bool) *Frame {
	g := dst.NewFrame()
	g.start, g.end = f.start, f.end
	copy(g.Header(), f.Header())
	switch {
	case f.chunk == nil:
	case share:
		f.chunk.refs++
		g.chunk, g.Payload = f.chunk, f.Payload
	default:
		c := dst.NewChunk(len(f.Payload))
		copy(c.Data, f.Payload)
		g.SetPayload(c, 0, len(f.Payload))
		c.Release()
	}
	g.Pkt, g.Conn, g.Tag, g.Sum, g.SumKnown, g.Verified, g.Flips = f.Pkt, f.Conn, f.Tag, f.Sum, f.SumKnown, f.Verified, f.Flips
	return g
}

// Flip inverts one bit of the frame, counted from the first header byte, in a payload of its own: the sender's bytes
// stay as they are.
func (f *Frame) Flip(bit int) {
	if f.Flips < 255 {
		f.Flips++
	}
	f.Verified = false
	h := f.Header()
	if i := bit / 8; i < len(h) {
		h[i] ^= 0x80 >> (bit % 8)
		return
	}
	bit -= 8 * len(h)
	c := f.loop.NewChunk(len(f.Payload))
	copy(c.Data, f.Payload)
	c.Data[bit/8] ^= 0x80 >> (bit % 8)
	f.SetPayload(c, 0, len(f.Payload))
	c.Release()
}

// NewChunk returns a chunk with one reference whose Data has n bytes, of a size class that holds them (above the largest
// class: of just that size). Data is not zeroed.
func (l *Loop) NewChunk(n int) *Chunk {
	l.pool.liveChunks++
	for i, size := range chunkSizes {
		if n > size {
			continue
		}
		c := l.pool.chunks[i]
		if c == nil {
			l.Charge(size)
			return &Chunk{Data: make([]byte, size)[:n], refs: 1, class: int8(i), loop: l}
		}
		l.pool.chunks[i] = c.next
		c.next, c.refs, c.Data = nil, 1, c.Data[:n]
		return c
	}
	l.Charge(n)
	return &Chunk{Data: make([]byte, n), refs: 1, class: large, loop: l}
}

// NewStaticChunk wraps immutable bytes that something else owns (a file's contents) so that frames can share them
// without a copy.
func (l *Loop) NewStaticChunk(b []byte) *Chunk {
	l.pool.liveChunks++
	return &Chunk{Data: b, refs: 1, class: static, loop: l}
}

// Retain counts one more reference.
func (c *Chunk) Retain() { c.refs++ }

// Release counts one reference less; the last one frees the chunk for reuse.
func (c *Chunk) Release() { c.release() }

func (c *Chunk) release() {
	if c == nil {
		return
	}
	if c.refs--; c.refs > 0 {
		return
	}
	if c.refs < 0 {
		panic("sim: chunk released more often than retained")
	}
	l := c.loop
	l.pool.liveChunks--
	if c.class < 0 {
		if c.class == large {
			l.Charge(-cap(c.Data))
		}
		c.Data = nil
		return
	}
	c.next = l.pool.chunks[c.class]
	l.pool.chunks[c.class] = c
}
