package wire

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// ARPLen is the length of an ARP packet for Ethernet and IPv4 (RFC 826 "Packet format").
const ARPLen = 28

// ARP operations.
const (
	ARPRequest = 1
	ARPReply   = 2
)

// ErrARPFormat says that a packet is not ARP for IPv4 over Ethernet.
var ErrARPFormat = errors.New("wire: not ARP for IPv4 over Ethernet")

// ARP is an ARP packet for IPv4 over Ethernet.
type ARP struct {
	Op        uint16
	SenderMAC MAC
	SenderIP  netip.Addr
	TargetMAC MAC
	TargetIP  netip.Addr
}

// ParseARP reads the packet at the start of b; padding after it is ignored.
func ParseARP(b []byte) (ARP, error) {
	var a ARP
	if len(b) < ARPLen {
		return a, ErrTruncated
	}
	// RFC 826 "Packet Reception": "?Do I have the hardware type in ar$hrd? ... [optionally check the hardware length ar$hln]"
	if binary.BigEndian.Uint16(b) != 1 || EtherType(binary.BigEndian.Uint16(b[2:])) != EtherTypeIPv4 || b[4] != 6 || b[5] != 4 {
		return a, ErrARPFormat
	}
	a.Op = binary.BigEndian.Uint16(b[6:])
	copy(a.SenderMAC[:], b[8:14])
	a.SenderIP = netip.AddrFrom4([4]byte(b[14:18]))
	copy(a.TargetMAC[:], b[18:24])
	a.TargetIP = netip.AddrFrom4([4]byte(b[24:28]))
	return a, nil
}

// Put writes the packet into the first ARPLen bytes of b. The addresses must be IPv4.
func (a ARP) Put(b []byte) {
	_ = b[ARPLen-1]
	binary.BigEndian.PutUint16(b, 1)
	binary.BigEndian.PutUint16(b[2:], uint16(EtherTypeIPv4))
	b[4], b[5] = 6, 4
	binary.BigEndian.PutUint16(b[6:], a.Op)
	copy(b[8:14], a.SenderMAC[:])
	sip, tip := a.SenderIP.As4(), a.TargetIP.As4()
	copy(b[14:18], sip[:])
	copy(b[18:24], a.TargetMAC[:])
	copy(b[24:28], tip[:])
}
