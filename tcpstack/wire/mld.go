package wire

import (
	"encoding/binary"
	"net/netip"
)

// Types of multicast listener discovery's messages (RFC 3810 5) and of the records of a report (5.2.12).
const (
	ICMPv6MLDQuery    = 130
	ICMPv6MLDv2Report = 143

	MLDModeIsExclude   = 2 // the current state: everything that is sent to the group is heard
	MLDChangeToInclude = 3 // nothing any more: the group was left
	MLDChangeToExclude = 4 // the group was joined
)

// Lengths of multicast listener discovery's parts, ICMPv6 header included.
const (
	MLDv2QueryLen   = 28
	MLDReportLen    = 8
	MLDRecordLen    = 20
	RouterAlertLen  = 8 // of the hop-by-hop header before each message
	maxMLDPlainCode = 1 << 15
)

// RouterAlert is the hop-by-hop header that each message has: RFC 2711's option with the value 0, "Datagram contains a
// Multicast Listener Discovery message", and padding.
var RouterAlert = [RouterAlertLen]byte{uint8(ProtoICMPv6), 0, 5, 2, 0, 0, 1, 0}

// MLDQuery is a query (RFC 3810 5.1).
type MLDQuery struct {
	MaxDelayMs uint32     // the longest time until an answer
	Group      netip.Addr // unspecified: a general query
}

// ParseMLDQuery reads a query of version 2, its ICMPv6 header included. An older router's is 4 bytes shorter.
func ParseMLDQuery(b []byte) (MLDQuery, error) {
	if len(b) < MLDv2QueryLen || b[0] != ICMPv6MLDQuery {
		return MLDQuery{}, ErrNDP
	}
	delay := uint32(binary.BigEndian.Uint16(b[4:]))
	if delay >= maxMLDPlainCode {
		// RFC 3810 5.1.3: "Maximum Response Delay = (mant | 0x1000) << (exp+3)".
		delay = (delay&0xfff | 0x1000) << (delay>>12&7 + 3)
	}
	return MLDQuery{delay, netip.AddrFrom16([16]byte(b[8:]))}, nil
}

// MLDRecord says what an interface does about a group. It names no sources: nobody here listens to some of them only.
type MLDRecord struct {
	Type  uint8
	Group netip.Addr
}

// PutMLDReport writes a report with a checksum of zero into b, which has room for the records.
func PutMLDReport(b []byte, records []MLDRecord) {
	clear(b[:MLDReportLen+MLDRecordLen*len(records)])
	b[0] = ICMPv6MLDv2Report
	binary.BigEndian.PutUint16(b[6:], uint16(len(records)))
	for i, r := range records {
		w := b[MLDReportLen+MLDRecordLen*i:]
		w[0] = r.Type
		group := r.Group.As16()
		copy(w[4:], group[:])
	}
}
