package wire

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// ErrNDP says that a message of Neighbor Discovery does not hold what it must.
var ErrNDP = errors.New("wire: malformed neighbour discovery message")

// Lengths of the messages of Neighbor Discovery without their options, ICMPv6 header included.
const (
	RouterSolicitLen = 8
	RouterAdvertLen  = 16
	NeighborLen      = 24 // of solicitations and advertisements
)

// Types of options (RFC 4861 4.6).
const (
	ndpSourceLinkAddr = 1
	ndpTargetLinkAddr = 2
	ndpPrefixInfo     = 3
	ndpMTU            = 5
)

// MaxNDPPrefixes bounds the prefixes that are taken in of one router advertisement: more than a lab's link has, and few
// enough that a forged one costs little.
const MaxNDPPrefixes = 8

// PrefixInfo is a prefix information option (RFC 4861 4.6.2).
type PrefixInfo struct {
	Prefix           netip.Prefix
	OnLink, Auto     bool
	Valid, Preferred time.Duration // whole seconds; InfiniteLifetime: for ever
}

// InfiniteLifetime is what 0xffffffff in a lifetime's field stands for.
const InfiniteLifetime = 0xffffffff * time.Second

// NDPOptions are the options of a message: those that are there.
type NDPOptions struct {
	SourceMAC, TargetMAC MAC
	HasSource, HasTarget bool
	MTU                  uint32 // 0: none
	Prefixes             [MaxNDPPrefixes]PrefixInfo
	NPrefixes            int
}

// Parse reads the options in b.
//
// RFC 4861 4.6: "The value 0 is invalid. Nodes MUST silently discard an ND packet that contains an option with length
// zero." 9: "Receivers MUST silently ignore any options they do not recognize and continue processing the message."
func (o *NDPOptions) Parse(b []byte) error {
	*o = NDPOptions{}
	for len(b) > 0 {
		if len(b) < 8 || b[1] == 0 || 8*int(b[1]) > len(b) {
			return ErrNDP
		}
		n := 8 * int(b[1])
		switch {
		case b[0] == ndpSourceLinkAddr && n == 8:
			o.SourceMAC, o.HasSource = MAC(b[2:8]), true
		case b[0] == ndpTargetLinkAddr && n == 8:
			o.TargetMAC, o.HasTarget = MAC(b[2:8]), true
		case b[0] == ndpMTU && n == 8:
			o.MTU = binary.BigEndian.Uint32(b[4:])
		case b[0] == ndpPrefixInfo && n == 32 && o.NPrefixes < MaxNDPPrefixes && b[2] <= 128:
			o.Prefixes[o.NPrefixes] = PrefixInfo{
				Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte(b[16:])), int(b[2])),
				OnLink: b[3]&0x80 != 0, Auto: b[3]&0x40 != 0,
				Valid:     time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Second,
				Preferred: time.Duration(binary.BigEndian.Uint32(b[8:])) * time.Second,
			}
			o.NPrefixes++
		}
		b = b[n:]
	}
	return nil
}

// Len is how many bytes Put writes.
func (o *NDPOptions) Len() int {
	n := 32 * o.NPrefixes
	for _, there := range []bool{o.HasSource, o.HasTarget, o.MTU != 0} {
		if there {
			n += 8
		}
	}
	return n
}

// Put writes the options and returns their length.
func (o *NDPOptions) Put(b []byte) int {
	n := 0
	if o.HasSource {
		n += putLinkAddr(b[n:], ndpSourceLinkAddr, o.SourceMAC)
	}
	if o.HasTarget {
		n += putLinkAddr(b[n:], ndpTargetLinkAddr, o.TargetMAC)
	}
	if o.MTU != 0 {
		clear(b[n : n+8])
		b[n], b[n+1] = ndpMTU, 1
		binary.BigEndian.PutUint32(b[n+4:], o.MTU)
		n += 8
	}
	for _, p := range o.Prefixes[:o.NPrefixes] {
		w := b[n : n+32]
		clear(w)
		w[0], w[1], w[2] = ndpPrefixInfo, 4, uint8(p.Prefix.Bits())
		if p.OnLink {
			w[3] |= 0x80
		}
		if p.Auto {
			w[3] |= 0x40
		}
		binary.BigEndian.PutUint32(w[4:], uint32(p.Valid/time.Second))
		binary.BigEndian.PutUint32(w[8:], uint32(p.Preferred/time.Second))
		a := p.Prefix.Addr().As16()
		copy(w[16:], a[:])
		n += 32
	}
	return n
}

func putLinkAddr(b []byte, typ uint8, mac MAC) int {
	b[0], b[1] = typ, 1
	copy(b[2:8], mac[:])
	return 8
}

// Neighbor is a neighbour solicitation or advertisement (RFC 4861 4.3, 4.4); the flags are an advertisement's.
type Neighbor struct {
	Type                        uint8
	Router, Solicited, Override bool
	Target                      netip.Addr
	Options                     NDPOptions
}

// ParseNeighbor reads an ICMPv6 message of either kind.
//
// RFC 4861 7.1.1, 7.1.2: "ICMP Code is 0", "ICMP length ... is 24 or more octets", "Target Address is not a multicast
// address", "All included options have a length that is greater than zero." What depends on the IP header is the caller's.
func ParseNeighbor(b []byte) (Neighbor, error) {
	if len(b) < NeighborLen {
		return Neighbor{}, ErrTruncated
	}
	n := Neighbor{Type: b[0], Target: netip.AddrFrom16([16]byte(b[8:24]))}
	if n.Type != ICMPv6NeighSolicit && n.Type != ICMPv6NeighAdvert || b[1] != 0 || n.Target.IsMulticast() {
		return n, ErrNDP
	}
	n.Router, n.Solicited, n.Override = b[4]&0x80 != 0, b[4]&0x40 != 0, b[4]&0x20 != 0
	return n, n.Options.Parse(b[NeighborLen:])
}

// Put writes the message, its checksum zero, and returns its length.
func (n *Neighbor) Put(b []byte) int {
	clear(b[:NeighborLen])
	b[0] = n.Type
	for i, set := range []bool{n.Router, n.Solicited, n.Override} {
		if set {
			b[4] |= 0x80 >> i
		}
	}
	a := n.Target.As16()
	copy(b[8:], a[:])
	return NeighborLen + n.Options.Put(b[NeighborLen:])
}

// RouterAdvert is a router advertisement (RFC 4861 4.2). Zero fields leave the receiver's settings as they are.
type RouterAdvert struct {
	HopLimit         uint8
	Managed, Other   bool
	Lifetime         time.Duration // as a default router; whole seconds
	Reachable, Retry time.Duration // whole milliseconds
	Options          NDPOptions
}

// ParseRouterAdvert reads an ICMPv6 message of this kind, as RFC 4861 6.1.2 wants it.
func ParseRouterAdvert(b []byte) (RouterAdvert, error) {
	if len(b) < RouterAdvertLen {
		return RouterAdvert{}, ErrTruncated
	}
	if b[0] != ICMPv6RouterAdvert || b[1] != 0 {
		return RouterAdvert{}, ErrNDP
	}
	r := RouterAdvert{
		HopLimit: b[4], Managed: b[5]&0x80 != 0, Other: b[5]&0x40 != 0,
		Lifetime:  time.Duration(binary.BigEndian.Uint16(b[6:])) * time.Second,
		Reachable: time.Duration(binary.BigEndian.Uint32(b[8:])) * time.Millisecond,
		Retry:     time.Duration(binary.BigEndian.Uint32(b[12:])) * time.Millisecond,
	}
	return r, r.Options.Parse(b[RouterAdvertLen:])
}

// Put writes the message, its checksum zero, and returns its length.
func (r *RouterAdvert) Put(b []byte) int {
	clear(b[:RouterAdvertLen])
	b[0], b[4] = ICMPv6RouterAdvert, r.HopLimit
	if r.Managed {
		b[5] |= 0x80
	}
	if r.Other {
		b[5] |= 0x40
	}
	binary.BigEndian.PutUint16(b[6:], uint16(r.Lifetime/time.Second))
	binary.BigEndian.PutUint32(b[8:], uint32(r.Reachable/time.Millisecond))
	binary.BigEndian.PutUint32(b[12:], uint32(r.Retry/time.Millisecond))
	return RouterAdvertLen + r.Options.Put(b[RouterAdvertLen:])
}

// ParseRouterSolicit reads an ICMPv6 message of this kind, as RFC 4861 6.1.1 wants it.
func ParseRouterSolicit(b []byte) (NDPOptions, error) {
	var o NDPOptions
	if len(b) < RouterSolicitLen {
		return o, ErrTruncated
	}
	if b[0] != ICMPv6RouterSolicit || b[1] != 0 {
		return o, ErrNDP
	}
	return o, o.Parse(b[RouterSolicitLen:])
}

// PutRouterSolicit writes a router solicitation, its checksum zero, and returns its length.
func PutRouterSolicit(b []byte, o *NDPOptions) int {
	clear(b[:RouterSolicitLen])
	b[0] = ICMPv6RouterSolicit
	return RouterSolicitLen + o.Put(b[RouterSolicitLen:])
}
