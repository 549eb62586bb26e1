package tcpstack

import (
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// MaxUDPPayload is the longest datagram's data: what an IPv4 datagram holds less both headers.
const MaxUDPPayload = MaxMTU - wire.IPv4MinLen - wire.UDPLen

// Datagram is a UDP datagram that was received.
type Datagram struct {
	From, To netip.AddrPort
	Data     []byte // valid during the call
	TTL      uint8
	Tag      uint32 // metadata: its sender's SendOptions.Tag
}

// UDPSocket is a UDP port that is in use.
type UDPSocket struct {
	stack *Stack // nil: closed
	addr  ipAddr // zero: every address of the stack, of either version
	port  uint16
	h     func(Datagram)
	onErr func(ICMPError)
	rt    *route     // of the last datagram sent
	peer  netip.Addr // whom that went to
	next  *UDPSocket
}

// OpenUDP takes a UDP port: local's, or a free ephemeral one if that is 0. A zero address means every address of the
// stack. h hears the datagrams. The error is ErrBadAddress, ErrAddrInUse, ErrNoPorts or ErrStopped.
func (s *Stack) OpenUDP(local netip.AddrPort, h func(d Datagram)) (*UDPSocket, error) {
	if s.stopped {
		return nil, ErrStopped
	}
	u := &UDPSocket{stack: s, port: local.Port(), h: h}
	if a := local.Addr(); a.IsValid() && !a.IsUnspecified() {
		u.addr = ipAddrOf(a)
		if a.Is4() && !s.isLocal(num4(a)) || !a.Is4() && !s.isLocal6(u.addr) {
			return nil, ErrBadAddress
		}
	}
	if u.port == 0 {
		if !s.freeUDPPort(u) {
			return nil, ErrNoPorts
		}
	} else if s.udpInUse(u.addr, u.port) {
		return nil, ErrAddrInUse
	}
	u.next = s.udp[u.port]
	s.udp[u.port] = u
	return u, nil
}

// freeUDPPort gives u an ephemeral port.
func (s *Stack) freeUDPPort(u *UDPSocket) bool {
	start := s.ports.start()
	for i := range uint32(ephemeralCount) {
		u.port = ephemeralPort(start + i)
		if !s.udpInUse(u.addr, u.port) {
			return true
		}
	}
	return false
}

// udpInUse reports whether a socket has the port at that address, or either is for every address.
func (s *Stack) udpInUse(addr ipAddr, port uint16) bool {
	for u := s.udp[port]; u != nil; u = u.next {
		if addr.isZero() || u.addr.isZero() || u.addr == addr {
			return true
		}
	}
	return false
}

// OnError makes h hear the ICMP errors about what the socket sent.
func (u *UDPSocket) OnError(h func(ICMPError)) { u.onErr = h }

// LocalAddr is the socket's address and port; the address is 0.0.0.0 for all of the stack's.
func (u *UDPSocket) LocalAddr() netip.AddrPort {
	if u.addr.isZero() {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), u.port)
	}
	return netip.AddrPortFrom(u.addr.netip(), u.port)
}

// Close frees the port; nothing is called back any more.
func (u *UDPSocket) Close() {
	s := u.stack
	if s == nil {
		return
	}
	u.stack = nil
	if first := s.udp[u.port]; first != u {
		for first.next != u {
			first = first.next
		}
		first.next = u.next
	} else if u.next != nil {
		s.udp[u.port] = u.next
	} else {
		delete(s.udp, u.port)
	}
}

// SendTo sends a copy of b. What is larger than the way's MTU goes in fragments. The error is ErrNoRoute, ErrBadAddress,
// ErrMessageTooLong (above MaxUDPPayload, or above the MTU with DF) or ErrStopped.
func (u *UDPSocket) SendTo(b []byte, to netip.AddrPort, o SendOptions) error {
	s := u.stack
	if s == nil || s.stopped {
		return ErrStopped
	}
	if len(b) > MaxUDPPayload {
		return ErrMessageTooLong
	}
	if to.Port() == 0 {
		return ErrBadAddress
	}
	if err := u.routeTo(to); err != nil {
		return err
	}
	if o.DF && u.rt.six != nil && wire.IPv6Len+wire.UDPLen+len(b) > u.rt.mtu() {
		return ErrMessageTooLong
	}
	f, h := s.datagram(u.rt, wire.ProtoUDP, wire.UDPLen, b, o)
	wire.UDP{SrcPort: u.port, DstPort: to.Port(), Length: wire.UDPLen + len(b)}.Put(h)
	f.Pkt = s.id.NextPacket()
	s.count[cUDPSent]++
	if s.loop.Rec != nil {
		s.recordUDP(KindUDPSent, f, f.Header(), h)
	}
	return s.output(f, u.rt)
}

// routeTo makes u.rt the route to a peer.
func (u *UDPSocket) routeTo(to netip.AddrPort) error {
	s, peer := u.stack, to.Addr()
	if rt := u.rt; rt != nil && rt.gen == s.gen && u.peer == peer {
		return nil
	}
	ports := uint32(u.port)<<16 | uint32(to.Port())
	var rt *route
	var err error
	switch {
	case peer.Is4():
		from := uint32(0)
		if u.addr.is4() {
			from = uint32(u.addr.lo)
		} else if !u.addr.isZero() {
			return ErrBadAddress // an IPv6 socket
		}
		dst := num4(peer)
		rt, err = s.route4(from, dst, s.flowOf(from, dst, ports, uint32(wire.ProtoUDP)))
	case peer.Is6() && !peer.Is4In6():
		src := netip.Addr{}
		if !u.addr.isZero() {
			src = u.addr.netip()
		}
		rt, err = s.routeTo6(src, peer, s.flowOf(u.addr.fold(), ipAddrOf(peer).fold(), ports, uint32(wire.ProtoUDP)))
	default:
		return ErrBadAddress
	}
	if err != nil {
		return err
	}
	u.rt, u.peer = rt, peer
	return nil
}

// udpInput takes a datagram for this stack and owns f.
func (s *Stack) udpInput(f *sim.Frame, ihl int, bcast bool) {
	if len(f.Header()) != ihl+wire.UDPLen && !split(s.loop, f, ihl+wire.UDPLen) {
		s.drop(f, dropTransportHeader)
		return
	}
	h := f.Header()
	t := h[ihl:]
	if n := int(be16(t[4:])); n != len(f.Payload)+wire.UDPLen {
		if n < wire.UDPLen || n > len(f.Payload)+wire.UDPLen {
			s.drop(f, dropTransportHeader)
			return
		}
		trim(f, ihl+n)
	}
	if !s.checksumOK(f) {
		s.drop(f, dropTransportChecksum)
		return
	}
	dst := destinationOf(h)
	u := s.udpSocket(dst, be16(t[2:]), bcast)
	if u == nil {
		// RFC 1122 4.1.3.1: "If a datagram arrives addressed to a UDP port for which there is no pending LISTEN call, UDP
		// SHOULD send an ICMP Port Unreachable message."
		if h[0]>>4 == 6 {
			s.sendICMPv6Error(f, wire.ICMPv6Unreachable, wire.ICMPv6PortUnreachable, 0, bcast)
		} else {
			s.sendICMPError(f, wire.ICMPUnreachable, wire.ICMPPortUnreachable, 0, bcast)
		}
		s.drop(f, dropNoSocket)
		return
	}
	s.count[cUDPReceived]++
	if s.loop.Rec != nil {
		s.recordUDP(KindUDPReceived, f, h, t)
	}
	u.h(Datagram{
		From: netip.AddrPortFrom(sourceOf(h).netip(), be16(t)),
		To:   netip.AddrPortFrom(dst.netip(), u.port),
		Data: f.Payload, TTL: hopsLeft(h), Tag: f.Tag,
	})
	f.Release()
}

// udpSocket finds who has the port: at that very address, or else at every address. Broadcasts reach only the latter.
func (s *Stack) udpSocket(addr ipAddr, port uint16, bcast bool) *UDPSocket {
	for u := s.udp[port]; u != nil; u = u.next {
		if u.addr.isZero() || (u.addr == addr && !bcast) {
			return u
		}
	}
	return nil
}

// udpError hands an ICMP error to the socket that sent the quoted datagram from src.
func (s *Stack) udpError(e ICMPError, src netip.AddrPort) {
	if u := s.udpSocket(ipAddrOf(src.Addr()), src.Port(), false); u != nil && u.onErr != nil {
		u.onErr(e)
	}
}
