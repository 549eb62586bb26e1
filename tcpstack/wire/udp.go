package wire

import (
	"encoding/binary"
	"errors"
)

// UDPLen is the length of a UDP header.
const UDPLen = 8

// UDPOffChecksum is where a UDP header's checksum lies.
const UDPOffChecksum = 6

// ErrUDPLength says that a UDP length is below its header's.
var ErrUDPLength = errors.New("wire: UDP length below 8")

// UDP is a UDP header.
type UDP struct {
	SrcPort, DstPort uint16
	Length           int    // bytes, header included
	Checksum         uint16 // 0: the sender made none (RFC 768)
}

// ParseUDP reads the header at the start of b. It does not check that b holds the whole datagram.
func ParseUDP(b []byte) (UDP, error) {
	if len(b) < UDPLen {
		return UDP{}, ErrTruncated
	}
	h := UDP{
		SrcPort:  binary.BigEndian.Uint16(b),
		DstPort:  binary.BigEndian.Uint16(b[2:]),
		Length:   int(binary.BigEndian.Uint16(b[4:])),
		Checksum: binary.BigEndian.Uint16(b[6:]),
	}
	if h.Length < UDPLen {
		return h, ErrUDPLength
	}
	return h, nil
}

// Put writes the header, its Checksum field as it is, into the first UDPLen bytes of b.
func (h UDP) Put(b []byte) {
	_ = b[UDPLen-1]
	binary.BigEndian.PutUint16(b, h.SrcPort)
	binary.BigEndian.PutUint16(b[2:], h.DstPort)
	binary.BigEndian.PutUint16(b[4:], uint16(h.Length))
	binary.BigEndian.PutUint16(b[6:], h.Checksum)
}
