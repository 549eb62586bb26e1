package link

import (
	"encoding/binary"

	"labd.dev/sim"
	header "labd.dev/tcpstack/wire"
)

// ECN codepoints, RFC 3168 5: "Bits 6 and 7 in the IPv4 TOS octet are designated as the ECN field".
const (
	ecnMask = 3
	ecnCE   = 3
)

// marks decides, as the time when the frame leaves the queue is known, whether it leaves the queue with a mark.
func (d *Direction) marks(w *frame) bool {
	if w.left-w.offered <= d.cfg.Queue.Mark.Sojourn {
		return false
	}
	tc, ok := trafficClass(w.f)
	return ok && tc&ecnMask != 0 && tc&ecnMask != ecnCE
}

// trafficClass is the octet with the ECN field of the packet in an Ethernet frame; false: there is none.
func trafficClass(f *sim.Frame) (tc uint8, ok bool) {
	h := f.Header()
	if len(h) < EthernetHeader+header.IPv4MinLen {
		return 0, false
	}
	switch p := h[EthernetHeader:]; header.EtherType(binary.BigEndian.Uint16(h[EthernetHeader-2:])) {
	case header.EtherTypeIPv4:
		return p[header.IPv4OffTOS], true
	case header.EtherTypeIPv6:
		return p[0]<<4 | p[1]>>4, true
	}
	return 0, false
}

// setCE marks the packet in a frame that trafficClass has found, and keeps an IPv4 header's checksum true.
func setCE(f *sim.Frame) {
	p := f.Header()[EthernetHeader:]
	if p[0]>>4 == 6 {
		p[1] |= ecnCE << 4
		return
	}
	old := binary.BigEndian.Uint16(p)
	p[header.IPv4OffTOS] |= ecnCE
	sum := header.UpdateChecksum(binary.BigEndian.Uint16(p[header.IPv4OffChecksum:]), old, binary.BigEndian.Uint16(p))
	binary.BigEndian.PutUint16(p[header.IPv4OffChecksum:], sum)
}
