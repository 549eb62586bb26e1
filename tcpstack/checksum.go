package tcpstack

import (
	"encoding/binary"
	"math/bits"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// trusted reports that the frame's checksums need no look: in lazy mode, one that a stack made and nothing has changed.
// Its checksum fields may not even be filled.
func (s *Stack) trusted(f *sim.Frame) bool { return f.Verified && s.cfg.Checksums == ChecksumsLazy }

// FillChecksums makes the checksums of a frame true that a stack left to whoever looks at its bytes: captures, links that
// are about to flip a bit, ICMP errors that quote it. f.Header() begins with the Ethernet header. A frame whose bytes may
// be false on purpose (flipped, or made by hand) is left as it is.
func FillChecksums(f *sim.Frame) { FillChecksumsIn(f.Header(), f) }

// FillChecksumsIn does FillChecksums' work on h, a copy of the frame's header region, and leaves the frame's own as it is.
func FillChecksumsIn(h []byte, f *sim.Frame) {
	if len(h) < wire.EthernetLen {
		return
	}
	if typ := wire.EtherType(be16(h[12:])); typ != wire.EtherTypeIPv4 && typ != wire.EtherTypeIPv6 {
		return
	}
	fillIP(f, h[wire.EthernetLen:])
}

// fillIP does FillChecksums' work on h, the part of the header region from the IP header on.
func fillIP(f *sim.Frame, h []byte) {
	if !f.Verified || len(h) < wire.IPv4MinLen {
		return
	}
	if h[0]>>4 == 6 {
		if len(h) >= wire.IPv6Len { // a fragment's next header is none of the transport's
			fillTransport(f, h, wire.IPv6Len)
		}
		return
	}
	ihl := int(h[0]&15) * 4
	if ihl < wire.IPv4MinLen || ihl > len(h) {
		return
	}
	wire.SetIPv4Checksum(h[:ihl])
	// A fragment carries the checksum of the whole, which was filled before it was cut.
	if be16(h[wire.IPv4OffFrag:])&(wire.IPv4MF|wire.IPv4OffsetMask) == 0 {
		fillTransport(f, h, ihl)
	}
}

// checksumPlace is where in the transport header the protocol's checksum lies, and how long the header is at least.
func checksumPlace(p wire.Protocol) (off, min int) {
	switch p {
	case wire.ProtoTCP:
		return wire.TCPOffChecksum, wire.TCPMinLen
	case wire.ProtoUDP:
		return wire.UDPOffChecksum, wire.UDPLen
	case wire.ProtoICMP, wire.ProtoICMPv6:
		return wire.ICMPOffChecksum, wire.ICMPLen
	}
	return 0, 0
}

// fillTransport makes the transport checksum true; h begins with an IP header of ihl bytes and ends with the header
// region. The payload's sum is kept with the frame.
func fillTransport(f *sim.Frame, h []byte, ihl int) {
	p := protocolOf(h)
	t := h[ihl:]
	off, least := checksumPlace(p)
	if least == 0 || len(t) < least {
		return
	}
	t[off], t[off+1] = 0, 0
	if !f.SumKnown {
		f.Sum, f.SumKnown = wire.Sum(f.Payload), true
	}
	c := ^transportSum(h, t, p, f.Sum, len(f.Payload))
	// RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
	if p == wire.ProtoUDP && c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(t[off:], c)
}

// transportSum sums what a transport checksum covers: the pseudo-header (but for ICMP), the header region t and a
// payload of n bytes whose own sum is payload.
func transportSum(h, t []byte, p wire.Protocol, payload uint16, n int) uint16 {
	if h[0]>>4 == 6 {
		// RFC 8200 8.1: the pseudo-header has both addresses, the length and the protocol; ICMPv6 has it too.
		sum := uint64(wire.Sum(t)) + uint64(wire.SumAt(payload, len(t))) + uint64(p) + uint64(len(t)+n)
		return wire.AddSums(wire.Fold(sum), wire.SwapFold(wire.HeaderSum(h[wire.IPv6OffSrc:wire.IPv6Len])))
	}
	src, dst := be32(h[wire.IPv4OffSrc:]), be32(h[wire.IPv4OffDst:])
	if h[0] != 0x45 {
		dst = ultimateDestination(h)
	}
	if len(t)&3 != 0 { // a header region that was put together by hand, or cut
		sum := uint64(wire.Sum(t)) + uint64(wire.SumAt(payload, len(t)))
		if p != wire.ProtoICMP {
			sum += uint64(src) + uint64(dst) + uint64(p) + uint64(len(t)+n)
		}
		return wire.Fold(sum)
	}
	sum := wire.HeaderSum(t) + uint64(bits.ReverseBytes16(payload))
	if p != wire.ProtoICMP {
		sum += uint64(bits.ReverseBytes32(src)) + uint64(bits.ReverseBytes32(dst)) +
			uint64(bits.ReverseBytes32(uint32(p)<<16+uint32(len(t)+n)))
	}
	return wire.SwapFold(sum)
}

// checksumOK verifies the transport checksum of a datagram that is being received: f.Header() holds the IP header and
// what lies in place of the rest, f.Payload what follows. Where the mode does not let it trust the frame, it sums the
// actual bytes.
func (s *Stack) checksumOK(f *sim.Frame) bool {
	if s.trusted(f) {
		return true
	}
	h := f.Header()
	p, t := protocolOf(h), h[headerLen(h):]
	if p == wire.ProtoUDP && be16(t[wire.UDPOffChecksum:]) == 0 {
		// RFC 8200 8.1: "IPv6 receivers must discard UDP packets containing a zero checksum".
		return h[0]>>4 == 4 // RFC 768: "An all zero transmitted checksum value means that the transmitter generated no checksum"
	}
	return transportSum(h, t, p, wire.Sum(f.Payload), len(f.Payload)) == 0xffff
}
