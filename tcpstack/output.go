package tcpstack

import (
	"encoding/binary"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// output sends a datagram and owns f. f.Header() holds an IPv4 header without options (version, TOS, flags, TTL,
// protocol, addresses filled: putIPv4 does that) and the whole transport header; f.Payload the rest. output fills total
// length, identification, packet id if zero, and the checksums of both headers as the mode asks (the checksum fields may
// hold anything). The error is ErrNoRoute, or ErrMessageTooLong for what fits no datagram or must not be cut; f is gone
// in any case.
func (s *Stack) output(f *sim.Frame, rt *route) error {
	if s.stopped {
		f.Release()
		return ErrStopped
	}
	if rt.six != nil {
		return s.output6(f, rt)
	}
	if rt.gen != s.gen {
		if err := s.resolve(rt); err != nil {
			s.drop(f, dropNoRoute)
			return err
		}
	}
	if rt.via != nil {
		rt.via.insert(f)
	}
	h := f.Header()
	n := f.Len()
	if f.Pkt == 0 {
		f.Pkt = s.id.NextPacket()
	}
	if n > rt.ifc.mtu && (n > MaxMTU || h[wire.IPv4OffFrag]&(wire.IPv4DF>>8) != 0) {
		s.drop(f, dropTooBig)
		return ErrMessageTooLong
	}
	binary.BigEndian.PutUint16(h[wire.IPv4OffTotalLen:], uint16(n))
	// RFC 6864 4.3: a source does not repeat the ID of datagrams that may be cut within the time they live.
	s.ipID++
	binary.BigEndian.PutUint16(h[wire.IPv4OffID:], s.ipID)
	f.Verified, f.Flips = true, 0
	s.count[cIPSent]++
	if n > rt.ifc.mtu {
		s.fragment(f, rt.ifc.mtu, rt.nb.send)
		return nil
	}
	if s.cfg.Checksums == ChecksumsAlways && !plainSums(f, h) {
		ihl := wire.IPv4MinLen
		if h[0] != 0x45 {
			ihl = int(h[0]&15) * 4
		}
		fillTransport(f, h, ihl)
		wire.SetIPv4Checksum(h[:ihl])
	}
	nb := rt.nb
	switch {
	case nb == nil:
		s.lo.push(f)
	case nb.state == NeighbourReachable && s.loop.Now() < nb.until:
		nb.transmit(f)
	default:
		nb.send(f)
	}
	return nil
}

// putIPv4 fills the first 20 bytes of b with the header that datagrams of protocol p on route rt begin with: a template
// to copy. DF is clear.
func (s *Stack) putIPv4(b []byte, rt *route, p wire.Protocol) {
	b[0], b[1] = 0x45, 0
	clear(b[wire.IPv4OffTotalLen:wire.IPv4OffTTL])
	b[wire.IPv4OffTTL], b[wire.IPv4OffProto] = s.cfg.TTL, uint8(p)
	b[wire.IPv4OffChecksum], b[wire.IPv4OffChecksum+1] = 0, 0
	binary.BigEndian.PutUint32(b[wire.IPv4OffSrc:], rt.src)
	binary.BigEndian.PutUint32(b[wire.IPv4OffDst:], rt.dst)
}

// SendOptions are what a single datagram may ask for.
type SendOptions struct {
	TTL uint8  // 0: the stack's
	DF  bool   // do not fragment
	Tag uint32 // metadata: the journal index of the input it belongs to
}

// apply patches an IP header. Nothing but its source cuts an IPv6 packet: there DF is looked at before it is made.
func (o SendOptions) apply(h []byte) {
	if h[0]>>4 == 6 {
		if o.TTL != 0 {
			h[wire.IPv6OffHopLimit] = o.TTL
		}
		return
	}
	if o.TTL != 0 {
		h[wire.IPv4OffTTL] = o.TTL
	}
	if o.DF {
		h[wire.IPv4OffFrag] |= wire.IPv4DF >> 8
	}
}

// datagram makes a frame with room for the headers of protocol p on rt, n bytes of transport header, and a copy of data.
// The transport header is the caller's to fill.
func (s *Stack) datagram(rt *route, p wire.Protocol, n int, data []byte, o SendOptions) (f *sim.Frame, transport []byte) {
	f = s.loop.NewFrame()
	f.Tag = o.Tag
	s.putIP(f, rt, p)
	o.apply(f.Header())
	transport = f.Append(n)
	if len(data) > 0 {
		c := s.loop.NewChunk(len(data))
		copy(c.Data, data)
		f.SetPayload(c, 0, len(data))
		c.Release()
	}
	return f, transport
}
