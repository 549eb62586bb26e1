package tcpstack

import (
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// output sends a datagram and owns f. f.Header() holds an IPv4 header without options (version, TOS, flags, TTL,
// protocol, addresses filled: putIPv4 does that) and the whole transport header; f.Payload the rest. output fills total
// length, identification, packet id if zero, and the checksums of both headers as the mode asks (the checksum fields may
// hold anything). The error is ErrNoRoute; f is gone in any case.
func (s *Stack) output(f *sim.Frame, rt *route) error {
	f.Release()
	return ErrNoRoute
}

// putIPv4 fills the first 20 bytes of b with the header that datagrams of protocol p on route rt begin with: a template
// to copy. DF is clear.
func (s *Stack) putIPv4(b []byte, rt *route, p wire.Protocol) {
	wire.IPv4{TTL: s.cfg.TTL, Protocol: p, Src: addr4(rt.src), Dst: addr4(rt.dst)}.Put(b)
}

// checksumOK verifies the transport checksum of a datagram that is being received: f.Header() holds the IPv4 header
// (without trailing bytes after the transport header) and the transport header, f.Payload the rest. In lazy mode a frame
// that nothing has touched is not summed.
func (s *Stack) checksumOK(f *sim.Frame) bool {
	return false
}

// flowHash names a flow for the choice among routes of equal cost.
func (s *Stack) flowHash(p wire.Protocol, src, dst netip.AddrPort) uint32 {
	return 0
}
