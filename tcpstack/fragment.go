package tcpstack

import (
	"encoding/binary"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// fragment cuts a datagram into pieces of at most mtu bytes, hands each to send, and releases f. RFC 791 3.2
// "Fragmentation": every piece but the last carries a multiple of 8 bytes. Fragments keep the packet's id and share its
// payload.
func (s *Stack) fragment(f *sim.Frame, mtu int, send func(*sim.Frame)) {
	s.count[cIPFragmented]++
	h := f.Header()
	fillIP(f, h) // what the transport's checksum covers will not lie in one frame again
	ihl := int(h[0]&15) * 4
	first := be16(h[wire.IPv4OffFrag:])
	inPlace := len(h) - ihl // bytes of the data that lie in the header region
	data := inPlace + len(f.Payload)
	step := (mtu - ihl) &^ 7
	for off := 0; off < data; off += step {
		n := min(step, data-off)
		g := f.Clone()
		g.Truncate(ihl)
		if off < inPlace {
			p := h[ihl+off : ihl+min(off+n, inPlace)]
			copy(g.Append(len(p)), p)
		}
		g.Payload = f.Payload[max(0, off-inPlace):max(0, off+n-inPlace)]
		g.Sum, g.SumKnown = 0, false
		frag := first + uint16(off/8)
		if off+n < data {
			frag |= wire.IPv4MF
		}
		gh := g.Header()[:ihl]
		binary.BigEndian.PutUint16(gh[wire.IPv4OffTotalLen:], uint16(ihl+n))
		binary.BigEndian.PutUint16(gh[wire.IPv4OffFrag:], frag)
		if off > 0 {
			dropUncopiedOptions(gh[wire.IPv4MinLen:])
		}
		wire.SetIPv4Checksum(gh)
		s.count[cIPFragmentsCreated]++
		send(g)
	}
	f.Release()
}

// dropUncopiedOptions overwrites with NOPs the options that only the first fragment carries. RFC 791 3.1: "The copied
// flag indicates that this option is copied into all fragments on fragmentation."
func dropUncopiedOptions(o []byte) {
	const copied = 0x80
	for len(o) > 0 {
		switch {
		case o[0] == 0:
			return
		case o[0] == 1:
			o = o[1:]
			continue
		case len(o) < 2 || o[1] < 2 || int(o[1]) > len(o):
			return
		}
		n := int(o[1])
		if o[0]&copied == 0 {
			for i := range o[:n] {
				o[i] = 1
			}
		}
		o = o[n:]
	}
}
