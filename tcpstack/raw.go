package tcpstack

import (
	"encoding/binary"
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// SendRaw sends a packet as it is, IP header first, to whichever neighbour is next on the way to its destination: what a
// raw socket with IP_HDRINCL does. Nothing in it is checked, filled in or cut: its source may be anybody's, its checksums
// and lengths wrong. tag is the journal index of the input that it belongs to. The error is ErrNoRoute,
// ErrMessageTooLong, or ErrBadAddress for what is too short to have a destination.
func (s *Stack) SendRaw(b []byte, tag uint32) (sim.PacketID, error) {
	if s.stopped {
		return 0, ErrStopped
	}
	dst, ok := rawDestination(b)
	if !ok {
		return 0, ErrBadAddress
	}
	rt, err := s.route(netip.Addr{}, dst, 0)
	if err != nil {
		return 0, err
	}
	if len(b) > rt.ifc.mtu {
		return 0, ErrMessageTooLong
	}
	f := s.rawFrame(b)
	f.Tag, f.Pkt = tag, s.id.NextPacket()
	pkt := f.Pkt
	s.count[cIPSent]++
	if rt.nb == nil {
		s.lo.push(f)
	} else {
		rt.nb.send(f)
	}
	return pkt, nil
}

func rawDestination(b []byte) (netip.Addr, bool) {
	if len(b) < wire.IPv4MinLen {
		return netip.Addr{}, false
	}
	return addr4(binary.BigEndian.Uint32(b[wire.IPv4OffDst:])), true
}

// rawFrame copies a packet into a frame of which nothing is known to hold.
func (s *Stack) rawFrame(b []byte) *sim.Frame {
	f := s.loop.NewFrame()
	n := min(len(b), f.Room())
	copy(f.Append(n), b)
	if rest := b[n:]; len(rest) > 0 {
		c := s.loop.NewChunk(len(rest))
		copy(c.Data, rest)
		f.SetPayload(c, 0, len(rest))
		c.Release()
	}
	return f
}

// SourceTo is the address that the stack itself sends from to dst; false if there is no way.
func (s *Stack) SourceTo(dst netip.Addr) (netip.Addr, bool) {
	rt, err := s.route(netip.Addr{}, dst, 0)
	if err != nil {
		return netip.Addr{}, false
	}
	return rt.source(), true
}

// tapBytes is how much of a frame a tap is shown: Ethernet and the longest IP and TCP headers.
const tapBytes = wire.EthernetLen + 60 + wire.TCPMaxLen

// Tap is who listens to all that arrives at a stack's interfaces, for whomever it is meant, before the stack sees it.
type Tap struct {
	stack *Stack
	see   func(frame []byte, length int)
}

// OpenTap has see called for each frame that arrives: its first bytes, with all headers, valid in the call, and its whole
// length. see sends nothing and closes no tap.
func (s *Stack) OpenTap(see func(frame []byte, length int)) *Tap {
	t := &Tap{s, see}
	s.taps = append(s.taps, t)
	return t
}

// Close ends the tap.
func (t *Tap) Close() {
	s := t.stack
	for i, o := range s.taps {
		if o == t {
			s.taps = append(s.taps[:i:i], s.taps[i+1:]...)
			break
		}
	}
}

func (s *Stack) showTaps(f *sim.Frame) {
	var b [tapBytes]byte
	n := copy(b[:], f.Header())
	n += copy(b[n:], f.Payload)
	for _, t := range s.taps {
		t.see(b[:n], f.Len())
	}
}
