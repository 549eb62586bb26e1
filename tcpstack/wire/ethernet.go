// Package wire holds the header formats of the stack: parsing, building and checksums of Ethernet II, ARP, IPv4, ICMPv4,
// IPv6 with its extension headers, ICMPv6 with neighbour discovery, UDP and TCP. It is pure: bytes in, values out.
// Nothing here keeps a slice it was given, and no input panics.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrTruncated says that a header ends before its fixed or announced length.
var ErrTruncated = errors.New("wire: truncated header")

// MAC is an Ethernet address.
type MAC [6]byte

// Broadcast is the address of every station.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// String prints "02:00:00:00:00:01".
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// IsGroup reports a multicast or broadcast address (IEEE 802.3: the I/G bit).
func (m MAC) IsGroup() bool { return m[0]&1 != 0 }

// EtherType says what an Ethernet frame carries.
type EtherType uint16

// The EtherTypes the stack knows.
const (
	EtherTypeIPv4 EtherType = 0x0800
	EtherTypeARP  EtherType = 0x0806
	EtherTypeIPv6 EtherType = 0x86dd
)

// EthernetLen is the length of an Ethernet II header without a tag.
const EthernetLen = 14

// Ethernet is an Ethernet II header.
type Ethernet struct {
	Dst, Src MAC
	Type     EtherType
}

// ParseEthernet reads the header at the start of b.
func ParseEthernet(b []byte) (Ethernet, error) {
	var e Ethernet
	if len(b) < EthernetLen {
		return e, ErrTruncated
	}
	copy(e.Dst[:], b[0:6])
	copy(e.Src[:], b[6:12])
	e.Type = EtherType(binary.BigEndian.Uint16(b[12:14]))
	return e, nil
}

// Put writes the header into the first EthernetLen bytes of b.
func (e Ethernet) Put(b []byte) {
	_ = b[EthernetLen-1]
	copy(b[0:6], e.Dst[:])
	copy(b[6:12], e.Src[:])
	binary.BigEndian.PutUint16(b[12:14], uint16(e.Type))
}
