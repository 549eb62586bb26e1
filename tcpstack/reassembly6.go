package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Offsets in an IPv6 packet that parameter problems about fragments point at.
const fragmentOffOffset = 2 // of the offset's field in the fragment header

// add6 takes a fragment whose fragment header h lies at offset at, and owns f. It returns the whole packet when this was the
// last one missing. RFC 5722 4's rule of overlapping fragments is insert's, and holds for both versions.
func (r *reassembly) add6(f *sim.Frame, at int, h wire.IPv6Fragment, group bool) *sim.Frame {
	s := r.stack
	b := f.Header()
	data := at + wire.FragmentHeaderLen
	end := h.Offset + f.Len() - data
	switch {
	case end == h.Offset:
		s.drop(f, dropFragment)
		return nil
	case h.More && (end-h.Offset)%8 != 0:
		// RFC 8200 4.5: "If the length of a fragment, as derived from the fragment packet's Payload Length field, is not a
		// multiple of 8 octets and the M flag of that fragment is 1, then that fragment must be discarded and an ICMP
		// Parameter Problem, Code 0, message should be sent to the source of the fragment, pointing to the Payload Length
		// field of the fragment packet."
		s.sendICMPv6Error(f, wire.ICMPv6ParamProblem, wire.ICMPv6ErroneousField, wire.IPv6OffPayloadLen, group)
		s.drop(f, dropFragment)
		return nil
	case end > maxPayload6:
		// "If the length and offset of a fragment are such that the Payload Length of the packet reassembled from that
		// fragment would exceed 65,535 octets, then that fragment must be discarded and an ICMP Parameter Problem, Code 0,
		// message should be sent ..., pointing to the Fragment Offset field of the fragment packet."
		s.sendICMPv6Error(f, wire.ICMPv6ParamProblem, wire.ICMPv6ErroneousField, uint32(at+fragmentOffOffset), group)
		s.drop(f, dropFragment)
		return nil
	}
	key := fragmentKey{src: ipAddr6(b[wire.IPv6OffSrc:]), dst: ipAddr6(b[wire.IPv6OffDst:]), id: h.ID}
	first := h.Offset == 0
	d := r.insert(key, fragmentPiece{h.Offset, end, data, f}, h.More, group)
	whole := d != nil
	if !whole {
		d = r.byKey[key]
	}
	if d != nil && first && d.pieces[0].f == f {
		// RFC 8200 4.5: "the Next Header field of the first fragment's Fragment header" is the reassembled packet's.
		d.upper = h.Next
	}
	if !whole {
		return nil
	}
	return r.join(d)
}
