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
	addr  uint32 // 0: every address of the stack
	port  uint16
	h     func(Datagram)
	onErr func(ICMPError)
	rt    *route // of the last datagram sent
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
		if !a.Is4() || !s.isLocal(num4(a)) {
			return nil, ErrBadAddress
		}
		u.addr = num4(a)
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
func (s *Stack) udpInUse(addr uint32, port uint16) bool {
	for u := s.udp[port]; u != nil; u = u.next {
		if addr == 0 || u.addr == 0 || u.addr == addr {
			return true
		}
	}
	return false
}

// OnError makes h hear the ICMP errors about what the socket sent.
func (u *UDPSocket) OnError(h func(ICMPError)) { u.onErr = h }

// LocalAddr is the socket's address and port; the address is 0.0.0.0 for all of the stack's.
func (u *UDPSocket) LocalAddr() netip.AddrPort { return netip.AddrPortFrom(addr4(u.addr), u.port) }

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
	if !to.Addr().Is4() || to.Port() == 0 {
		return ErrBadAddress
	}
	dst := num4(to.Addr())
	if u.rt == nil || u.rt.dst != dst || u.rt.gen != s.gen {
		rt, err := s.route4(u.addr, dst, s.flowOf(u.addr, dst, uint32(u.port)<<16|uint32(to.Port()), uint32(wire.ProtoUDP)))
		if err != nil {
			return err
		}
		u.rt = rt
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
	dst := be32(h[wire.IPv4OffDst:])
	u := s.udpSocket(dst, be16(t[2:]), bcast)
	if u == nil {
		// RFC 1122 4.1.3.1: "If a datagram arrives addressed to a UDP port for which there is no pending LISTEN call, UDP
		// SHOULD send an ICMP Port Unreachable message."
		s.sendICMPError(f, wire.ICMPUnreachable, wire.ICMPPortUnreachable, 0, bcast)
		s.drop(f, dropNoSocket)
		return
	}
	s.count[cUDPReceived]++
	if s.loop.Rec != nil {
		s.recordUDP(KindUDPReceived, f, h, t)
	}
	u.h(Datagram{
		From: netip.AddrPortFrom(addr4(be32(h[wire.IPv4OffSrc:])), be16(t)),
		To:   netip.AddrPortFrom(addr4(dst), u.port),
		Data: f.Payload, TTL: h[wire.IPv4OffTTL], Tag: f.Tag,
	})
	f.Release()
}

// udpSocket finds who has the port: at that very address, or else at every address. Broadcasts reach only the latter.
func (s *Stack) udpSocket(addr uint32, port uint16, bcast bool) *UDPSocket {
	for u := s.udp[port]; u != nil; u = u.next {
		if u.addr == 0 || (u.addr == addr && !bcast) {
			return u
		}
	}
	return nil
}

// udpError hands an ICMP error to the socket that sent the quoted datagram from src.
func (s *Stack) udpError(e ICMPError, src netip.AddrPort) {
	if u := s.udpSocket(num4(src.Addr()), src.Port(), false); u != nil && u.onErr != nil {
		u.onErr(e)
	}
}
