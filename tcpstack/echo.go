package tcpstack

import (
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// EchoEvent is what came of an echo request: a reply, or an error.
type EchoEvent struct {
	Reply bool
	ICMPError
	Seq  uint16
	From netip.Addr // who replied, or whom the error is from
	TTL  uint8      // of the reply
	Len  int        // of the reply, bytes, ICMP header included
	Data []byte     // of the reply; valid during the call
}

// EchoSocket sends echo requests under an identifier of its own.
type EchoSocket struct {
	stack *Stack // nil: closed
	ident uint16
	h     func(EchoEvent)
}

// maxEchoSockets bounds the identifiers in use, well below the 65,536 there are, so that a free one is found at once.
const maxEchoSockets = 4096

// OpenEcho makes a socket for echo requests; h hears the replies and errors. The error is ErrNoPorts or ErrStopped.
func (s *Stack) OpenEcho(h func(EchoEvent)) (*EchoSocket, error) {
	if s.stopped {
		return nil, ErrStopped
	}
	if len(s.echo) >= maxEchoSockets {
		return nil, ErrNoPorts
	}
	ident := uint16(s.ports.start())
	for s.echo[ident] != nil {
		ident++
	}
	e := &EchoSocket{stack: s, ident: ident, h: h}
	s.echo[ident] = e
	return e, nil
}

// Close ends the socket; nothing is called back any more.
func (e *EchoSocket) Close() {
	if e.stack != nil {
		delete(e.stack.echo, e.ident)
		e.stack = nil
	}
}

// Send sends an echo request with a copy of payload. The error is ErrNoRoute, ErrBadAddress, ErrMessageTooLong or
// ErrStopped.
func (e *EchoSocket) Send(to netip.Addr, seq uint16, payload []byte, o SendOptions) error {
	s := e.stack
	if s == nil || s.stopped {
		return ErrStopped
	}
	if len(payload) > MaxMTU-wire.IPv4MinLen-wire.ICMPLen {
		return ErrMessageTooLong
	}
	if to.Is6() {
		return e.send6(to, seq, payload, o)
	}
	if !to.Is4() {
		return ErrBadAddress
	}
	rt, err := s.route4(0, num4(to), 0)
	if err != nil {
		return err
	}
	f, m := s.datagram(rt, wire.ProtoICMP, wire.ICMPLen, payload, o)
	wire.ICMP{Type: wire.ICMPEchoRequest, ID: e.ident, Seq: seq}.Put(m)
	s.count[cICMPEchoRequestsSent]++
	return s.sendICMP(f, rt)
}

// send6 is Send over IPv6.
func (e *EchoSocket) send6(to netip.Addr, seq uint16, payload []byte, o SendOptions) error {
	s := e.stack
	rt, err := s.routeTo6(netip.Addr{}, to, uint32(e.ident)<<4|uint32(wire.ProtoICMPv6)) // a run of requests is a flow
	if err != nil {
		return err
	}
	if o.DF && wire.IPv6Len+wire.ICMPLen+len(payload) > rt.mtu() {
		return ErrMessageTooLong
	}
	f, m := s.datagram(rt, wire.ProtoICMPv6, wire.ICMPLen, payload, o)
	wire.ICMP{Type: wire.ICMPv6EchoRequest, ID: e.ident, Seq: seq}.Put(m)
	s.count[cICMPEchoRequestsSent]++
	return s.sendICMP(f, rt)
}

// echoReceived hands a reply to its socket.
func (s *Stack) echoReceived(f *sim.Frame, h, m []byte) {
	if e := s.echo[be16(m[4:])]; e != nil {
		e.h(EchoEvent{
			Reply: true, Seq: be16(m[6:]), From: sourceOf(h).netip(), TTL: hopsLeft(h),
			Len: wire.ICMPLen + len(f.Payload), Data: f.Payload,
		})
	}
}

// echoError hands an error to the socket that sent the request.
func (s *Stack) echoError(e ICMPError, ident, seq uint16) {
	if sock := s.echo[ident]; sock != nil {
		sock.h(EchoEvent{ICMPError: e, Seq: seq, From: e.From})
	}
}
