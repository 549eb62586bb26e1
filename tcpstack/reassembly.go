package tcpstack

import (
	"encoding/binary"
	"slices"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

const (
	// reassemblyBytes bounds what one stack holds of incomplete datagrams (net.ipv4.ipfrag_high_thresh). Above it new
	// fragments are dropped, as Linux does, so that a flood cannot push out what is nearly complete.
	reassemblyBytes = 4 << 20
	// fragmentOverhead is what holding a fragment costs besides its data, so that tiny fragments count too.
	fragmentOverhead = 256
)

// fragmentKey names the datagram that a fragment belongs to. RFC 791 3.2: "the concatenation of the source, destination,
// protocol, and identification fields"; RFC 8200 4.5: "the same Source Address, Destination Address, and Fragment
// Identification", the protocol being that of the first fragment.
type fragmentKey struct {
	src, dst ipAddr
	id       uint32
	proto    uint8 // IPv4's
}

// fragmentPiece is a fragment, IP header included: bytes [off, end) of the datagram's data, which begin at offset at of
// the packet.
type fragmentPiece struct {
	off, end int
	at       int
	f        *sim.Frame
}

// partial is a datagram of which not all has come.
type partial struct {
	r          *reassembly
	key        fragmentKey
	pieces     []fragmentPiece // in order, not overlapping, at least one
	have       int             // bytes of data
	size       int             // bytes held, overhead included
	length     int             // of the whole data; -1: the last fragment has not come
	bcast      bool            // sent to more than this station
	six        bool
	upper      wire.Protocol // what the data begins with, as IPv6's first fragment says
	timer      sim.Timer
	prev, next *partial
}

// reassembly is the stack's incomplete datagrams.
type reassembly struct {
	stack *Stack
	byKey map[fragmentKey]*partial
	all   partial // ring of them, in order of arrival
	size  int
}

func (r *reassembly) init(s *Stack) {
	r.stack = s
	r.byKey = make(map[fragmentKey]*partial)
	r.all.prev, r.all.next = &r.all, &r.all
}

// add takes a fragment, IP header first, and owns it. It returns the whole datagram when this was the last one missing.
func (r *reassembly) add(f *sim.Frame, bcast bool) *sim.Frame {
	h := f.Header()
	ihl := int(h[0]&15) * 4
	frag := be16(h[wire.IPv4OffFrag:])
	more := frag&wire.IPv4MF != 0
	off := int(frag&wire.IPv4OffsetMask) * 8
	end := off + f.Len() - ihl
	if end == off || (more && (end-off)%8 != 0) || ihl+end > MaxMTU {
		r.stack.drop(f, dropFragment)
		return nil
	}
	key := fragmentKey{sourceOf(h), destinationOf(h), uint32(be16(h[wire.IPv4OffID:])), h[wire.IPv4OffProto]}
	d := r.insert(key, fragmentPiece{off, end, ihl, f}, more, bcast)
	if d == nil {
		return nil
	}
	return r.join(d)
}

// insert puts a fragment where it belongs, and owns its frame. It returns the datagram when this was the last one missing.
func (r *reassembly) insert(key fragmentKey, p fragmentPiece, more, bcast bool) *partial {
	off, end, f := p.off, p.end, p.f
	if r.size+end-off+fragmentOverhead > reassemblyBytes {
		r.stack.drop(f, dropReassemblyMemory)
		return nil
	}
	d := r.byKey[key]
	if d == nil {
		d = r.start(key, bcast)
	}
	at, _ := slices.BinarySearchFunc(d.pieces, off, func(p fragmentPiece, off int) int { return p.off - off })
	if at < len(d.pieces) && d.pieces[at].off == off && d.pieces[at].end == end && (d.length == end) == !more {
		r.stack.drop(f, dropFragmentDuplicate)
		return nil
	}
	// RFC 5722 section 4 with erratum 3089, which Linux follows for IPv4 too: "if one or more its constituent fragments
	// is determined to be an overlapping fragment, the entire datagram (and any constituent fragments) MUST be silently
	// discarded."
	if (at > 0 && d.pieces[at-1].end > off) || (at < len(d.pieces) && d.pieces[at].off < end) || !d.bound(end, more) {
		r.stack.drop(f, dropFragmentOverlap)
		r.discard(d, dropFragmentOverlap)
		return nil
	}
	d.pieces = slices.Insert(d.pieces, at, p)
	d.have += end - off
	d.size += end - off + fragmentOverhead
	r.size += end - off + fragmentOverhead
	if d.have != d.length {
		return nil
	}
	return d
}

// bound takes in what a fragment says of the datagram's length and reports whether it agrees with the others.
func (d *partial) bound(end int, more bool) bool {
	if more {
		return d.length < 0 || end < d.length
	}
	if d.length >= 0 || (len(d.pieces) > 0 && d.pieces[len(d.pieces)-1].end > end) {
		return d.length == end
	}
	d.length = end
	return true
}

// start begins a datagram and its timer.
func (r *reassembly) start(key fragmentKey, bcast bool) *partial {
	d := &partial{r: r, key: key, length: -1, bcast: bcast, six: !key.src.is4(), prev: r.all.prev, next: &r.all}
	d.prev.next, r.all.prev = d, d
	r.byKey[key] = d
	d.timer.H = d
	s := r.stack
	s.loop.Arm(&d.timer, &s.id.Src, s.loop.Now()+s.cfg.ReassemblyTimeout)
	return d
}

// remove takes d out of the books; its pieces are the caller's.
func (r *reassembly) remove(d *partial) {
	r.stack.loop.Stop(&d.timer)
	delete(r.byKey, d.key)
	d.prev.next, d.next.prev = d.next, d.prev
	r.size -= d.size
}

// discard drops d and all its pieces.
func (r *reassembly) discard(d *partial, why dropReason) {
	r.remove(d)
	for _, p := range d.pieces {
		r.stack.drop(p.f, why)
	}
}

// Fire is the reassembly timeout. RFC 1122 3.3.2: "If this timeout expires, the partially-reassembled datagram MUST be
// discarded and an ICMP Time Exceeded message sent to the source host (if fragment zero has been received)."
func (d *partial) Fire(sim.Time) {
	if d.six {
		// RFC 8200 4.5: "If the first fragment ... has been received, an ICMP Time Exceeded -- Fragment Reassembly Time
		// Exceeded message should be sent to the source of that fragment."
		d.r.stack.sendICMPv6Error(d.pieces[0].f, wire.ICMPv6TimeExceeded, wire.ICMPv6ReassemblyExceeded, 0, d.bcast)
		d.r.discard(d, dropReassemblyTimeout)
		return
	}
	// A first piece that is not fragment zero causes no error, as no later fragment does.
	d.r.stack.sendICMPError(d.pieces[0].f, wire.ICMPTimeExceeded, wire.ICMPReassemblyExceeded, 0, d.bcast)
	d.r.discard(d, dropReassemblyTimeout)
}

// join makes the whole datagram of its pieces, in a frame with the first one's IP header.
func (r *reassembly) join(d *partial) *sim.Frame {
	r.remove(d)
	s := r.stack
	if d.six {
		s.count[cIP6Reassembled]++
	} else {
		s.count[cIPReassembled]++
	}
	f := s.loop.NewFrame()
	first := d.pieces[0].f
	h := first.Header()
	ihl := headerLen(h)
	nh := f.Append(ihl)
	copy(nh, h)
	f.Pkt, f.Conn, f.Tag, f.Verified = first.Pkt, first.Conn, first.Tag, true
	c := s.loop.NewChunk(d.length)
	for _, p := range d.pieces {
		p.data(c.Data[p.off:p.end])
		f.Verified = f.Verified && p.f.Verified
		f.Flips = max(f.Flips, p.f.Flips)
		p.f.Release()
	}
	f.SetPayload(c, 0, d.length)
	c.Release()
	if d.six {
		nh[wire.IPv6OffNextHeader] = uint8(d.upper)
		binary.BigEndian.PutUint16(nh[wire.IPv6OffPayloadLen:], uint16(d.length))
		return f
	}
	binary.BigEndian.PutUint16(nh[wire.IPv4OffTotalLen:], uint16(ihl+d.length))
	binary.BigEndian.PutUint16(nh[wire.IPv4OffFrag:], 0)
	wire.SetIPv4Checksum(nh)
	return f
}

// data copies the fragment's own bytes.
func (p *fragmentPiece) data(to []byte) {
	h := p.f.Header()
	if k := p.at - len(h); k >= 0 {
		copy(to, p.f.Payload[k:])
		return
	}
	copy(to[copy(to, h[p.at:]):], p.f.Payload)
}

// release is the crash of the node.
func (r *reassembly) release() {
	for r.all.next != &r.all {
		d := r.all.next
		r.remove(d)
		for _, p := range d.pieces {
			p.f.Release()
		}
	}
}
