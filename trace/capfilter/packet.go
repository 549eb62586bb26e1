package capfilter

import (
	"encoding/binary"
	"net/netip"

	"labd.dev/tcpstack/wire"
)

// Numbers of the headers that filters look at.
const (
	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd
	protoICMP     = 1
	protoTCP      = 6
	protoUDP      = 17
	protoICMPv6   = 58

	etherSize   = 14
	minIPv4Size = 20
	arpSize     = 28
)

// packet is what a filter knows of a frame.
type packet struct {
	etherType        uint16
	proto            uint8
	src, dst         netip.Addr // of ARP: sender's and target's
	ports            bool
	srcPort, dstPort uint16
}

// parse reads a frame's headers, as far as they are whole.
func parse(frame []byte) (p packet) {
	if len(frame) < etherSize {
		return p
	}
	p.etherType = binary.BigEndian.Uint16(frame[12:])
	b := frame[etherSize:]
	switch {
	case p.etherType == etherTypeARP && len(b) >= arpSize:
		p.src, p.dst = netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
	case p.etherType == etherTypeIPv4 && len(b) >= minIPv4Size:
		p.proto = b[9]
		p.src, p.dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		size := int(b[0]&15) * 4
		// A later fragment holds no ports.
		first := binary.BigEndian.Uint16(b[6:])&0x1fff == 0
		if first && (p.proto == protoTCP || p.proto == protoUDP) && size >= minIPv4Size && len(b) >= size+4 {
			p.ports = true
			p.srcPort, p.dstPort = binary.BigEndian.Uint16(b[size:]), binary.BigEndian.Uint16(b[size+2:])
		}
	case p.etherType == etherTypeIPv6 && len(b) >= wire.IPv6Len:
		p.parseIPv6(b)
	}
	return p
}

// parseIPv6 reads an IPv6 packet. Unlike pcap-filter's, the protocol tests look behind extension headers (its protochain).
func (p *packet) parseIPv6(b []byte) {
	p.src, p.dst = netip.AddrFrom16([16]byte(b[wire.IPv6OffSrc:])), netip.AddrFrom16([16]byte(b[wire.IPv6OffDst:]))
	next, at, ok := wire.UpperIPv6(b)
	if !ok { // a later fragment: what its header names, without ports
		f, err := wire.ParseIPv6Fragment(b[min(at, len(b)):])
		if err == nil {
			p.proto = uint8(f.Next)
		}
		return
	}
	p.proto = uint8(next)
	if (p.proto == protoTCP || p.proto == protoUDP) && len(b) >= at+4 {
		p.ports = true
		p.srcPort, p.dstPort = binary.BigEndian.Uint16(b[at:]), binary.BigEndian.Uint16(b[at+2:])
	}
}

// ip reports a packet of either version of IP.
func (p *packet) ip() bool { return p.etherType == etherTypeIPv4 || p.etherType == etherTypeIPv6 }
