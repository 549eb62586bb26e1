package capfilter

import (
	"encoding/binary"
	"net/netip"
)

// Numbers of the headers that filters look at.
const (
	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	protoICMP     = 1
	protoTCP      = 6
	protoUDP      = 17

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
	}
	return p
}
