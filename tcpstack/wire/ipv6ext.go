package wire

import (
	"encoding/binary"
	"errors"
)

const (
	// MaxExtensionHeaders bounds the extension headers before an upper-layer header. RFC 8504 5.3 lets a host limit them;
	// RFC 8200 4.1 recommends an order in which at most seven come.
	MaxExtensionHeaders = 8
	// MaxExtensionBytes bounds their length: RFC 7112 5 wants the whole chain within the first fragment, and what every
	// link carries is 1280 bytes.
	MaxExtensionBytes = IPv6MinMTU - IPv6Len
	// FragmentHeaderLen is the length of a fragment header.
	FragmentHeaderLen = 8
)

// Why a chain of extension headers is refused.
var (
	ErrExtensionChain = errors.New("wire: too many or too long IPv6 extension headers")
	ErrOption         = errors.New("wire: IPv6 option that must be understood is not")
)

// ExtensionError is a problem with an extension header that its sender is to be told of (RFC 4443 3.4): an ICMPv6
// parameter problem of this code that points at an octet of the packet.
type ExtensionError struct {
	Code    uint8
	Pointer int  // from the IPv6 header on
	Group   bool // told also when the packet went to a group (RFC 8200 4.2, action 10)
	Silent  bool // the packet is discarded and nobody is told (action 01)
	Err     error
}

func (e *ExtensionError) Error() string { return e.Err.Error() }

// IPv6Chain is where a chain of extension headers leads.
type IPv6Chain struct {
	Next Protocol // of what is at At: an upper-layer protocol, or ProtoFragment
	At   int      // from the IPv6 header on
	// NextAt is where the next-header field lies that names it.
	NextAt int
}

// IPv6Fragment is a fragment header (RFC 8200 4.5).
type IPv6Fragment struct {
	Next   Protocol
	Offset int // bytes
	More   bool
	ID     uint32
}

// ParseIPv6Fragment reads the header at the start of b.
func ParseIPv6Fragment(b []byte) (IPv6Fragment, error) {
	if len(b) < FragmentHeaderLen {
		return IPv6Fragment{}, ErrTruncated
	}
	o := binary.BigEndian.Uint16(b[2:])
	return IPv6Fragment{Protocol(b[0]), int(o &^ 7), o&1 != 0, binary.BigEndian.Uint32(b[4:])}, nil
}

// Put writes the header into the first FragmentHeaderLen bytes of b.
func (h IPv6Fragment) Put(b []byte) {
	_ = b[FragmentHeaderLen-1]
	o := uint16(h.Offset) &^ 7
	if h.More {
		o |= 1
	}
	b[0], b[1] = uint8(h.Next), 0
	binary.BigEndian.PutUint16(b[2:], o)
	binary.BigEndian.PutUint32(b[4:], h.ID)
}

// WalkIPv6 follows the extension headers of a packet that this node is the destination of, up to a fragment header or the
// upper layer. b begins with the IPv6 header and holds as much of the packet as there is, or the chain's limit. The error
// is an *ExtensionError, ErrExtensionChain or ErrTruncated.
//
// RFC 8200 4.1: "IPv6 nodes must accept and attempt to process extension headers in any order and occurring any number
// of times in the same packet, except for the Hop-by-Hop Options header, which is restricted to appear immediately
// after an IPv6 header only."
func WalkIPv6(b []byte) (IPv6Chain, error) {
	if len(b) < IPv6Len {
		return IPv6Chain{}, ErrTruncated
	}
	c := IPv6Chain{Protocol(b[IPv6OffNextHeader]), IPv6Len, IPv6OffNextHeader}
	for n := 0; ; n++ {
		switch c.Next {
		case ProtoHopByHop:
			if n > 0 {
				return c, &ExtensionError{Code: ICMPv6UnknownNextHeader, Pointer: c.NextAt, Err: ErrExtensionChain}
			}
		case ProtoRouting, ProtoDestOptions:
		default:
			return c, nil
		}
		if n == MaxExtensionHeaders {
			return c, ErrExtensionChain
		}
		size, err := extensionLen(b, c.At)
		if err != nil {
			return c, err
		}
		if c.Next == ProtoRouting {
			err = routingHeader(b, c.At)
		} else {
			err = walkOptions(b, c.At+2, c.At+size)
		}
		if err != nil {
			return c, err
		}
		c.Next, c.NextAt, c.At = Protocol(b[c.At]), c.At, c.At+size
	}
}

// UpperIPv6 finds the upper layer of a packet, or of what is quoted of one, without judging the headers before it. It is
// false for a fragment that is not the first: what it holds of the upper layer begins in the middle. A chain that is cut
// short ends at its last header.
func UpperIPv6(b []byte) (next Protocol, at int, ok bool) {
	if len(b) < IPv6Len {
		return 0, 0, false
	}
	next, at = Protocol(b[IPv6OffNextHeader]), IPv6Len
	for range MaxExtensionHeaders {
		size := FragmentHeaderLen
		switch next {
		case ProtoFragment:
			if f, err := ParseIPv6Fragment(b[at:]); err != nil || f.Offset != 0 {
				return next, at, false
			}
		case ProtoHopByHop, ProtoRouting, ProtoDestOptions:
			var err error
			if size, err = extensionLen(b, at); err != nil {
				return next, at, true
			}
		default:
			return next, at, true
		}
		next, at = Protocol(b[at]), at+size
	}
	return next, at, true
}

// HopByHopIPv6 looks at the hop-by-hop options of a packet in transit, if it has any.
func HopByHopIPv6(b []byte) error {
	if len(b) < IPv6Len {
		return ErrTruncated
	}
	if Protocol(b[IPv6OffNextHeader]) != ProtoHopByHop {
		return nil
	}
	size, err := extensionLen(b, IPv6Len)
	if err != nil {
		return err
	}
	return walkOptions(b, IPv6Len+2, IPv6Len+size)
}

// extensionLen is the length of the extension header at b[at:]. RFC 8200 4.3: "Length of the Hop-by-Hop Options header in
// 8-octet units, not including the first 8 octets."
func extensionLen(b []byte, at int) (int, error) {
	if len(b) < at+8 {
		return 0, ErrTruncated
	}
	size := 8 + 8*int(b[at+1])
	if at+size > IPv6Len+MaxExtensionBytes {
		return 0, ErrExtensionChain
	}
	if len(b) < at+size {
		return 0, ErrTruncated
	}
	return size, nil
}

// routingHeader looks at a routing header. RFC 8200 4.4: "If Segments Left is non-zero, the node must discard the packet
// and send an ICMP Parameter Problem, Code 0, message to the packet's Source Address, pointing to the unrecognized Routing
// Type." RFC 5095 3: "An IPv6 node that receives a packet with a destination address assigned to it and that contains an
// RH0 extension header MUST NOT execute the algorithm ... such packets MUST be processed according to the behavior ... for
// a datagram that includes an unrecognized Routing Type value". No type is recognised here.
func routingHeader(b []byte, at int) error {
	if b[at+3] != 0 {
		return &ExtensionError{Code: ICMPv6ErroneousField, Pointer: at + 2, Err: ErrOption}
	}
	return nil
}

// walkOptions looks at the options in b[at:end]: all but padding are unknown here, and their type says what to do.
//
// RFC 8200 4.2: "The Option Type identifiers are internally encoded such that their highest-order 2 bits specify the action
// that must be taken if the processing IPv6 node does not recognize the Option Type".
func walkOptions(b []byte, at, end int) error {
	for at < end {
		typ := b[at]
		if typ == 0 { // Pad1
			at++
			continue
		}
		if at+2 > end || at+2+int(b[at+1]) > end {
			return &ExtensionError{Code: ICMPv6ErroneousField, Pointer: at, Err: ErrTruncated}
		}
		if typ != 1 { // PadN
			switch typ >> 6 {
			case 1:
				return &ExtensionError{Silent: true, Pointer: at, Err: ErrOption}
			case 2:
				return &ExtensionError{Code: ICMPv6UnknownOption, Pointer: at, Group: true, Err: ErrOption}
			case 3:
				return &ExtensionError{Code: ICMPv6UnknownOption, Pointer: at, Err: ErrOption}
			}
		}
		at += 2 + int(b[at+1])
	}
	return nil
}
