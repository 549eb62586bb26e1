package wire

import (
	"encoding/binary"
	"errors"
)

// Lengths of a TCP header, bytes.
const (
	TCPMinLen        = 20
	TCPMaxLen        = 60
	TCPMaxOptionsLen = TCPMaxLen - TCPMinLen
)

// Offsets of the fields of a TCP header that are patched in place.
const (
	TCPOffSrcPort    = 0
	TCPOffDstPort    = 2
	TCPOffSeq        = 4
	TCPOffAck        = 8
	TCPOffDataOffset = 12
	TCPOffFlags      = 13
	TCPOffWindow     = 14
	TCPOffChecksum   = 16
	TCPOffUrgent     = 18
)

// ErrTCPDataOffset says that a TCP data offset is below 20 bytes or beyond the segment.
var ErrTCPDataOffset = errors.New("wire: bad TCP data offset")

// TCPFlags are the control bits of a TCP header (RFC 9293 3.1).
type TCPFlags uint8

// The control bits, CWR to FIN.
const (
	FlagFIN TCPFlags = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
	FlagECE
	FlagCWR
)

// flagLetters are the bits' letters, highest first.
const flagLetters = "CEUAPRSF"

// String prints the letters of the bits that are set, in the order C E U A P R S F; "-" if none is.
func (f TCPFlags) String() string {
	var b [8]byte
	n := 0
	for i := range 8 {
		if f&(0x80>>i) != 0 {
			b[n] = flagLetters[i]
			n++
		}
	}
	if n == 0 {
		return "-"
	}
	return string(b[:n])
}

// TCP is a TCP header without its options, which follow it up to HeaderLen.
type TCP struct {
	SrcPort, DstPort uint16
	Seq, Ack         uint32
	HeaderLen        int // bytes, options included
	Flags            TCPFlags
	Window           uint16 // as on the wire, unscaled
	Checksum         uint16
	Urgent           uint16
}

// ParseTCP reads the header at the start of b, which must hold it whole; the options are b[TCPMinLen:HeaderLen].
func ParseTCP(b []byte) (TCP, error) {
	if len(b) < TCPMinLen {
		return TCP{}, ErrTruncated
	}
	h := TCP{
		SrcPort:   binary.BigEndian.Uint16(b[TCPOffSrcPort:]),
		DstPort:   binary.BigEndian.Uint16(b[TCPOffDstPort:]),
		Seq:       binary.BigEndian.Uint32(b[TCPOffSeq:]),
		Ack:       binary.BigEndian.Uint32(b[TCPOffAck:]),
		HeaderLen: int(b[TCPOffDataOffset]>>4) * 4,
		Flags:     TCPFlags(b[TCPOffFlags]),
		Window:    binary.BigEndian.Uint16(b[TCPOffWindow:]),
		Checksum:  binary.BigEndian.Uint16(b[TCPOffChecksum:]),
		Urgent:    binary.BigEndian.Uint16(b[TCPOffUrgent:]),
	}
	if h.HeaderLen < TCPMinLen || h.HeaderLen > len(b) {
		return h, ErrTCPDataOffset
	}
	return h, nil
}

// Put writes the header, HeaderLen and Checksum as they are, into the first TCPMinLen bytes of b.
func (h *TCP) Put(b []byte) {
	_ = b[TCPMinLen-1]
	binary.BigEndian.PutUint16(b[TCPOffSrcPort:], h.SrcPort)
	binary.BigEndian.PutUint16(b[TCPOffDstPort:], h.DstPort)
	binary.BigEndian.PutUint32(b[TCPOffSeq:], h.Seq)
	binary.BigEndian.PutUint32(b[TCPOffAck:], h.Ack)
	b[TCPOffDataOffset] = uint8(h.HeaderLen/4) << 4
	b[TCPOffFlags] = uint8(h.Flags)
	binary.BigEndian.PutUint16(b[TCPOffWindow:], h.Window)
	binary.BigEndian.PutUint16(b[TCPOffChecksum:], h.Checksum)
	binary.BigEndian.PutUint16(b[TCPOffUrgent:], h.Urgent)
}
