package sim

import "encoding/binary"

// A frame between processes: what CopyTo copies, as bytes, little-endian. Both ends run the same version.
//
//	0  flags, flips, start and end of the headers: 1 byte each
//	4  payload sum: 2 bytes, then 2 of nothing
//	8  payload length, tag: 4 bytes each
//	16 packet, connection: 8 bytes each
//	32 headers, payload
const wireFixed = 32

const (
	wireSumKnown = 1 << iota
	wireVerified
)

// maxWirePayload is more than any frame carries: the largest IP packet.
const maxWirePayload = 1 << 16

// AppendWire appends the frame as FrameFromWire reads it. The frame stays its owner's.
func (f *Frame) AppendWire(b []byte) []byte {
	var flags byte
	if f.SumKnown {
		flags |= wireSumKnown
	}
	if f.Verified {
		flags |= wireVerified
	}
	b = append(b, flags, f.Flips, f.start, f.end)
	b = binary.LittleEndian.AppendUint32(b, uint32(f.Sum))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Payload)))
	b = binary.LittleEndian.AppendUint32(b, f.Tag)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.Pkt))
	b = binary.LittleEndian.AppendUint64(b, uint64(f.Conn))
	b = append(b, f.Header()...)
	return append(b, f.Payload...)
}

// FrameFromWire makes the frame at the front of b, payload copied, and tells how long it is there. ok is false if no frame
// is there; then nothing is made.
func (l *Loop) FrameFromWire(b []byte) (f *Frame, n int, ok bool) {
	if len(b) < wireFixed {
		return nil, 0, false
	}
	start, end := b[2], b[3]
	payload := binary.LittleEndian.Uint32(b[8:])
	if start > end || end > HeaderRoom || payload > maxWirePayload {
		return nil, 0, false
	}
	header := int(end - start)
	n = wireFixed + header + int(payload)
	if len(b) < n {
		return nil, 0, false
	}
	f = l.NewFrame()
	f.start, f.end = start, end
	copy(f.Header(), b[wireFixed:])
	if payload > 0 {
		c := l.NewChunk(int(payload))
		copy(c.Data, b[wireFixed+header:n])
		f.SetPayload(c, 0, int(payload))
		c.Release()
	}
	f.SumKnown, f.Verified, f.Flips = b[0]&wireSumKnown != 0, b[0]&wireVerified != 0, b[1]
	f.Sum = uint16(binary.LittleEndian.Uint32(b[4:]))
	f.Tag = binary.LittleEndian.Uint32(b[12:])
	f.Pkt, f.Conn = PacketID(binary.LittleEndian.Uint64(b[16:])), ConnID(binary.LittleEndian.Uint64(b[24:]))
	return f, n, true
}
