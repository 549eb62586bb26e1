package wire

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Protocol is the number in an IPv4 header's protocol field and in IPv6's next-header fields.
type Protocol uint8

// The protocols the stack knows.
const (
	ProtoICMP Protocol = 1
	ProtoTCP  Protocol = 6
	ProtoUDP  Protocol = 17
)

func (p Protocol) String() string {
	switch p {
	case ProtoICMP:
		return "ICMP"
	case ProtoTCP:
		return "TCP"
	case ProtoUDP:
		return "UDP"
	}
	return "unknown"
}

// Lengths of an IPv4 header, bytes.
const (
	IPv4MinLen = 20
	IPv4MaxLen = 60
)

// Flag bits and fragment offset mask of the 16-bit word at offset 6 (RFC 791 3.1).
const (
	IPv4DF         = 0x4000
	IPv4MF         = 0x2000
	IPv4OffsetMask = 0x1fff
)

// Offsets of the fields of an IPv4 header that are patched in place.
const (
	IPv4OffTOS      = 1
	IPv4OffTotalLen = 2
	IPv4OffID       = 4
	IPv4OffFrag     = 6
	IPv4OffTTL      = 8
	IPv4OffProto    = 9
	IPv4OffChecksum = 10
	IPv4OffSrc      = 12
	IPv4OffDst      = 16
)

// Why an IPv4 header is refused.
var (
	ErrIPv4Version   = errors.New("wire: IPv4 version is not 4")
	ErrIPv4HeaderLen = errors.New("wire: IPv4 header length below 20")
	ErrIPv4TotalLen  = errors.New("wire: IPv4 total length below the header length")
)

// IPv4 is an IPv4 header. Options are raw; nil when there are none.
type IPv4 struct {
	HeaderLen int // bytes, options included; set by ParseIPv4, ignored by Put
	TOS       uint8
	TotalLen  int // bytes, header included
	ID        uint16
	DF, MF    bool
	Offset    int // of the fragment, bytes
	TTL       uint8
	Protocol  Protocol
	Checksum  uint16
	Src, Dst  netip.Addr
	Options   []byte
}

// ParseIPv4 reads the header at the start of b. It checks the lengths and the version, not the checksum, and not that b
// holds the whole datagram. Options aliases b.
func ParseIPv4(b []byte) (IPv4, error) {
	var h IPv4
	if len(b) < IPv4MinLen {
		return h, ErrTruncated
	}
	if b[0]>>4 != 4 {
		return h, ErrIPv4Version
	}
	h.HeaderLen = int(b[0]&15) * 4
	if h.HeaderLen < IPv4MinLen {
		return h, ErrIPv4HeaderLen
	}
	if len(b) < h.HeaderLen {
		return h, ErrTruncated
	}
	h.TOS = b[1]
	h.TotalLen = int(binary.BigEndian.Uint16(b[IPv4OffTotalLen:]))
	if h.TotalLen < h.HeaderLen {
		return h, ErrIPv4TotalLen
	}
	h.ID = binary.BigEndian.Uint16(b[IPv4OffID:])
	frag := binary.BigEndian.Uint16(b[IPv4OffFrag:])
	h.DF, h.MF, h.Offset = frag&IPv4DF != 0, frag&IPv4MF != 0, int(frag&IPv4OffsetMask)*8
	h.TTL, h.Protocol = b[IPv4OffTTL], Protocol(b[IPv4OffProto])
	h.Checksum = binary.BigEndian.Uint16(b[IPv4OffChecksum:])
	h.Src = netip.AddrFrom4([4]byte(b[IPv4OffSrc:]))
	h.Dst = netip.AddrFrom4([4]byte(b[IPv4OffDst:]))
	if h.HeaderLen > IPv4MinLen {
		h.Options = b[IPv4MinLen:h.HeaderLen]
	}
	return h, nil
}

// Put writes a header without options into the first IPv4MinLen bytes of b, checksum included. Src and Dst must be IPv4
// addresses.
func (h IPv4) Put(b []byte) {
	_ = b[IPv4MinLen-1]
	b[0], b[1] = 0x45, h.TOS
	binary.BigEndian.PutUint16(b[IPv4OffTotalLen:], uint16(h.TotalLen))
	binary.BigEndian.PutUint16(b[IPv4OffID:], h.ID)
	frag := uint16(h.Offset / 8)
	if h.DF {
		frag |= IPv4DF
	}
	if h.MF {
		frag |= IPv4MF
	}
	binary.BigEndian.PutUint16(b[IPv4OffFrag:], frag)
	b[IPv4OffTTL], b[IPv4OffProto] = h.TTL, uint8(h.Protocol)
	src, dst := h.Src.As4(), h.Dst.As4()
	copy(b[IPv4OffSrc:], src[:])
	copy(b[IPv4OffDst:], dst[:])
	SetIPv4Checksum(b[:IPv4MinLen])
}

// SetIPv4Checksum makes the checksum of a complete header, options included, true.
func SetIPv4Checksum(hdr []byte) {
	hdr[IPv4OffChecksum], hdr[IPv4OffChecksum+1] = 0, 0
	binary.BigEndian.PutUint16(hdr[IPv4OffChecksum:], ^SwapFold(HeaderSum(hdr)))
}
