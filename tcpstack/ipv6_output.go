package tcpstack

import (
	"encoding/binary"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// output6 is output for IPv6: it fills the payload length, and the transport's checksum as the mode asks. What is larger
// than the path takes is cut here, at its source.
func (s *Stack) output6(f *sim.Frame, rt *route) error {
	p := rt.six
	if rt.gen != s.gen || s.loop.Now() >= p.until {
		if err := s.resolve6(rt); err != nil {
			s.drop(f, dropNoRoute)
			return err
		}
	}
	n := f.Len()
	if f.Pkt == 0 {
		f.Pkt = s.id.NextPacket()
	}
	if n-wire.IPv6Len > maxPayload6 {
		s.drop(f, dropTooBig)
		return ErrMessageTooLong
	}
	h := f.Header()
	binary.BigEndian.PutUint16(h[wire.IPv6OffPayloadLen:], uint16(n-wire.IPv6Len))
	f.Verified, f.Flips = true, 0
	s.count[cIP6Sent]++
	if n > p.mtu {
		s.fragment6(f, p.mtu, rt.nb.send)
		return nil
	}
	if s.cfg.Checksums == ChecksumsAlways {
		fillTransport(f, h, wire.IPv6Len)
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

// maxPayload6 is the longest payload of an IPv6 packet; there are no jumbograms (RFC 2675) here.
const maxPayload6 = 65535

// fragment6 cuts a packet into pieces of at most mtu bytes, hands each to send, and releases f. RFC 8200 4.5: "The
// Fragmentable Part of the original packet is divided into fragments. ... Each complete fragment, except possibly the
// last ('rightmost') one, is an integer multiple of 8 octets long." Its headers before the fragment header are the IPv6
// header alone: nothing else is sent here.
func (s *Stack) fragment6(f *sim.Frame, mtu int, send func(*sim.Frame)) {
	s.count[cIP6Fragmented]++
	h := f.Header()
	fillIP(f, h) // what the transport's checksum covers will not lie in one frame again
	s.six.fragID++
	inPlace := len(h) - wire.IPv6Len
	data := inPlace + len(f.Payload)
	step := (mtu - wire.IPv6Len - wire.FragmentHeaderLen) &^ 7
	next := wire.Protocol(h[wire.IPv6OffNextHeader])
	for off := 0; off < data; off += step {
		n := min(step, data-off)
		g := f.Clone()
		g.Truncate(wire.IPv6Len)
		wire.IPv6Fragment{Next: next, Offset: off, More: off+n < data, ID: s.six.fragID}.Put(g.Append(wire.FragmentHeaderLen))
		if off < inPlace {
			p := h[wire.IPv6Len+off : wire.IPv6Len+min(off+n, inPlace)]
			copy(g.Append(len(p)), p)
		}
		g.Payload = f.Payload[max(0, off-inPlace):max(0, off+n-inPlace)]
		g.Sum, g.SumKnown = 0, false
		gh := g.Header()
		gh[wire.IPv6OffNextHeader] = uint8(wire.ProtoFragment)
		binary.BigEndian.PutUint16(gh[wire.IPv6OffPayloadLen:], uint16(wire.FragmentHeaderLen+n))
		s.count[cIP6FragmentsCreated]++
		send(g)
	}
	f.Release()
}
