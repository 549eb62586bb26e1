package wire

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// IPv6Len is the length of an IPv6 header, bytes.
const IPv6Len = 40

// IPv6MinMTU is what every link must carry. RFC 8200 5: "IPv6 requires that every link in the Internet have an MTU of
// 1280 octets or greater."
const IPv6MinMTU = 1280

// IPv6FlowLabelMask covers the flow label in an IPv6 header's first word.
const IPv6FlowLabelMask = 0xfffff

// Offsets of the fields of an IPv6 header that are patched in place.
const (
	IPv6OffPayloadLen = 4
	IPv6OffNextHeader = 6
	IPv6OffHopLimit   = 7
	IPv6OffSrc        = 8
	IPv6OffDst        = 24
)

// Extension headers (RFC 8200 4), as values of a next-header field.
const (
	ProtoHopByHop    Protocol = 0
	ProtoRouting     Protocol = 43
	ProtoFragment    Protocol = 44
	ProtoICMPv6      Protocol = 58
	ProtoNoNext      Protocol = 59 // nothing follows
	ProtoDestOptions Protocol = 60
)

// ErrIPv6Version says that a header's version is not 6.
var ErrIPv6Version = errors.New("wire: IPv6 version is not 6")

// IPv6 is an IPv6 header.
type IPv6 struct {
	TrafficClass uint8
	FlowLabel    uint32 // 20 bits
	PayloadLen   int    // bytes after this header, extension headers included
	NextHeader   Protocol
	HopLimit     uint8
	Src, Dst     netip.Addr
}

// ParseIPv6 reads the header at the start of b. It does not check that b holds the whole packet.
func ParseIPv6(b []byte) (IPv6, error) {
	if len(b) < IPv6Len {
		return IPv6{}, ErrTruncated
	}
	if b[0]>>4 != 6 {
		return IPv6{}, ErrIPv6Version
	}
	return IPv6{
		TrafficClass: b[0]<<4 | b[1]>>4,
		FlowLabel:    binary.BigEndian.Uint32(b) & IPv6FlowLabelMask,
		PayloadLen:   int(binary.BigEndian.Uint16(b[IPv6OffPayloadLen:])),
		NextHeader:   Protocol(b[IPv6OffNextHeader]),
		HopLimit:     b[IPv6OffHopLimit],
		Src:          netip.AddrFrom16([16]byte(b[IPv6OffSrc:])),
		Dst:          netip.AddrFrom16([16]byte(b[IPv6OffDst:])),
	}, nil
}

// Put writes the header into the first IPv6Len bytes of b.
func (h IPv6) Put(b []byte) {
	_ = b[IPv6Len-1]
	binary.BigEndian.PutUint32(b, 6<<28|uint32(h.TrafficClass)<<20|h.FlowLabel&IPv6FlowLabelMask)
	binary.BigEndian.PutUint16(b[IPv6OffPayloadLen:], uint16(h.PayloadLen))
	b[IPv6OffNextHeader], b[IPv6OffHopLimit] = uint8(h.NextHeader), h.HopLimit
	src, dst := h.Src.As16(), h.Dst.As16()
	copy(b[IPv6OffSrc:], src[:])
	copy(b[IPv6OffDst:], dst[:])
}

// PseudoSum6 is the sum of the pseudo-header that TCP, UDP and ICMPv6 add to their own bytes (RFC 8200 8.1): addresses,
// length of the upper-layer packet and protocol.
func PseudoSum6(src, dst [16]byte, p Protocol, length int) uint16 {
	s := uint64(Sum(src[:])) + uint64(Sum(dst[:])) + uint64(length) + uint64(p)
	return Fold(s)
}

// MulticastMAC is the Ethernet address of an IPv6 group. RFC 2464 7: "the first two octets are the value 3333
// hexadecimal and whose last four octets are the last four octets of DST".
func MulticastMAC(group netip.Addr) MAC {
	a := group.As16()
	return MAC{0x33, 0x33, a[12], a[13], a[14], a[15]}
}
