package wire

import "encoding/binary"

// ICMPLen is the length of an ICMPv4 header.
const ICMPLen = 8

// ICMPOffChecksum is where an ICMP message's checksum lies.
const ICMPOffChecksum = 2

// Types of ICMPv4 messages (RFC 792).
const (
	ICMPEchoReply      = 0
	ICMPUnreachable    = 3
	ICMPSourceQuench   = 4
	ICMPRedirect       = 5
	ICMPEchoRequest    = 8
	ICMPTimeExceeded   = 11
	ICMPParamProblem   = 12
	ICMPTimestamp      = 13
	ICMPTimestampReply = 14
)

// Codes of ICMPUnreachable and ICMPTimeExceeded.
const (
	ICMPNetUnreachable    = 0
	ICMPHostUnreachable   = 1
	ICMPProtoUnreachable  = 2
	ICMPPortUnreachable   = 3
	ICMPFragNeeded        = 4
	ICMPSourceRouteFailed = 5
	ICMPAdminProhibited   = 13 // communication administratively prohibited (RFC 1812 5.2.7.1)

	ICMPTTLExceeded        = 0
	ICMPReassemblyExceeded = 1
)

// ICMP is the header of an ICMPv4 message. ID and Seq are those of an echo; for fragmentation needed Seq holds the next
// hop's MTU (RFC 1191 section 4).
type ICMP struct {
	Type, Code uint8
	Checksum   uint16
	ID, Seq    uint16
}

// ParseICMP reads the header at the start of b.
func ParseICMP(b []byte) (ICMP, error) {
	if len(b) < ICMPLen {
		return ICMP{}, ErrTruncated
	}
	return ICMP{
		Type: b[0], Code: b[1],
		Checksum: binary.BigEndian.Uint16(b[2:]),
		ID:       binary.BigEndian.Uint16(b[4:]),
		Seq:      binary.BigEndian.Uint16(b[6:]),
	}, nil
}

// Put writes the header, its Checksum field as it is, into the first ICMPLen bytes of b.
func (h ICMP) Put(b []byte) {
	_ = b[ICMPLen-1]
	b[0], b[1] = h.Type, h.Code
	binary.BigEndian.PutUint16(b[2:], h.Checksum)
	binary.BigEndian.PutUint16(b[4:], h.ID)
	binary.BigEndian.PutUint16(b[6:], h.Seq)
}

// ICMPIsError reports whether a message of this type is an error message. RFC 1122 3.2.2 divides ICMP into error and
// query messages.
func ICMPIsError(typ uint8) bool {
	switch typ {
	case ICMPUnreachable, ICMPSourceQuench, ICMPRedirect, ICMPTimeExceeded, ICMPParamProblem:
		return true
	}
	return false
}
