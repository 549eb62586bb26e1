package tcpstack

import (
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// SendRaw sends a packet as it is, IP header first, to whichever neighbour is next on the way to an address, or to the IPv6
// group that it is: what sendto on a raw socket with IP_HDRINCL does. Nothing in it is checked, filled in or cut: its source
// may be anybody's, its checksums, lengths and version wrong. tag is the journal index of the input that it belongs to. The
// error is ErrNoRoute, ErrMessageTooLong, or ErrBadAddress, also of what is shorter than a header.
func (s *Stack) SendRaw(b []byte, to netip.Addr, tag uint32) (sim.PacketID, error) {
	if s.stopped {
		return 0, ErrStopped
	}
	shortest := wire.IPv4MinLen
	if to.Is6() {
		shortest = wire.IPv6Len
	}
	if !to.IsValid() || len(b) < shortest {
		return 0, ErrBadAddress
	}
	src, dst := rawSource(b), ipAddrOf(to)
	if dst.isMulticast() {
		return s.sendRawGroup(b, src, dst, tag)
	}
	rt, err := s.rawRoute(src, dst)
	if err != nil {
		return 0, err
	}
	if len(b) > rt.ifc.mtu {
		return 0, ErrMessageTooLong
	}
	f := s.rawFrame(b, tag)
	pkt := f.Pkt
	s.count[rt.sentCounter()]++
	if rt.nb == nil {
		s.lo.push(f)
	} else {
		rt.nb.send(f)
	}
	return pkt, nil
}

// rawRoute is the way to dst. The source counts only where the link has to be found that a link-local destination is on.
func (s *Stack) rawRoute(src, dst ipAddr) (*route, error) {
	if dst.is4() {
		return s.route(netip.Addr{}, dst.netip(), 0)
	}
	if !dst.isLinkLocal() || !s.isLocal6(src) {
		src = ipAddr{}
	}
	return s.route6(src, dst, nil, 0)
}

// sendRawGroup sends to an IPv6 group, on the link of its source address or the only one: routers do not forward it.
func (s *Stack) sendRawGroup(b []byte, src, dst ipAddr, tag uint32) (sim.PacketID, error) {
	i := s.linkOf(&route6{src: src})
	if i == nil {
		return 0, ErrNoRoute
	}
	if len(b) > i.mtu {
		return 0, ErrMessageTooLong
	}
	f := s.rawFrame(b, tag)
	pkt := f.Pkt
	s.count[cIP6Sent]++
	wire.Ethernet{Dst: groupMAC(dst), Src: i.cfg.MAC, Type: wire.EtherTypeIPv6}.Put(f.Prepend(wire.EthernetLen))
	i.tx.Transmit(f)
	return pkt, nil
}

// sentCounter counts packets that leave by a route.
func (r *route) sentCounter() counter {
	if r.six != nil {
		return cIP6Sent
	}
	return cIPSent
}

// rawSource is what stands where the source of an IPv6 packet does.
func rawSource(b []byte) (src ipAddr) {
	if len(b) >= wire.IPv6Len {
		src = ipAddr6(b[wire.IPv6OffSrc:])
	}
	return src
}

// rawFrame copies a packet into a frame of which nothing is known to hold.
func (s *Stack) rawFrame(b []byte, tag uint32) *sim.Frame {
	f := s.loop.NewFrame()
	f.Tag, f.Pkt = tag, s.id.NextPacket()
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
	if a := ipAddrOf(dst); a.isMulticast() {
		i := s.linkOf(&route6{})
		if i == nil {
			return netip.Addr{}, false
		}
		src, ok := i.six.source6(a)
		return src.netip(), ok
	}
	rt, err := s.route(netip.Addr{}, dst, 0)
	if err != nil {
		return netip.Addr{}, false
	}
	return rt.source().netip(), true
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
