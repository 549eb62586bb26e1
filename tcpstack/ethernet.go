package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Receive takes a frame that arrived at ifc, Ethernet header first, and owns it.
func (s *Stack) Receive(ifc *Interface, f *sim.Frame) {
	if s.stopped {
		f.Release()
		return
	}
	if len(s.taps) > 0 {
		s.showTaps(f)
	}
	h := f.Header()
	if len(h) < wire.EthernetLen {
		if !gather(f, wire.EthernetLen) {
			s.drop(f, dropEthernetHeader)
			return
		}
		h = f.Header()
	}
	group := false
	if dst := (*wire.MAC)(h); !same(dst, &ifc.cfg.MAC) {
		if *dst != wire.Broadcast && !ifc.joined(*dst) {
			f.Strip(wire.EthernetLen)
			s.drop(f, dropOtherMAC)
			return
		}
		group = true
	}
	switch wire.EtherType(be16(h[12:])) {
	case wire.EtherTypeIPv4:
		f.Strip(wire.EthernetLen)
		if group || !s.plainInput(ifc, f, h[wire.EthernetLen:]) {
			s.ipv4Input(ifc, f, group)
		}
	case wire.EtherTypeIPv6:
		if ifc.six == nil {
			s.drop(f, dropEtherType)
			return
		}
		f.Strip(wire.EthernetLen)
		s.ipv6Input(ifc, f, group)
	case wire.EtherTypeARP:
		src := wire.MAC(h[6:12])
		f.Strip(wire.EthernetLen)
		s.arpInput(ifc, f, src)
	default:
		s.drop(f, dropEtherType)
	}
}

// same compares two addresses in two words.
func same(a, b *wire.MAC) bool { return be32(a[:]) == be32(b[:]) && be16(a[4:]) == be16(b[4:]) }

// transmit sends a datagram to a neighbour whose hardware address is known.
func (n *neighbour) transmit(f *sim.Frame) {
	*(*[wire.EthernetLen]byte)(f.Prepend(wire.EthernetLen)) = n.eth
	n.ifc.tx.Transmit(f)
}

// gather makes the first n bytes of the frame lie in its header region, where they may not be if the frame was put
// together by hand or is a fragment. It reports false, changing nothing, if the frame is shorter. n is at most the
// longest IP and TCP headers together, for which a frame has room.
func gather(f *sim.Frame, n int) bool {
	h := f.Header()
	k := n - len(h)
	if k <= 0 {
		return true
	}
	if k > len(f.Payload) {
		return false
	}
	if cap(h)-len(h) < k { // the header region begins too late: move it forward
		var saved [sim.HeaderRoom]byte
		m := copy(saved[:], h)
		f.Prepend(sim.HeaderRoom - cap(h) - wire.EthernetLen)
		f.Truncate(0)
		copy(f.Append(m), saved[:])
	}
	copy(f.Append(k), f.Payload[:k])
	f.Payload = f.Payload[k:]
	f.Sum, f.SumKnown = 0, false
	return true
}

// split makes the header region exactly n bytes long and everything after them payload. It reports false if the frame is
// shorter than n. n is bounded as gather's.
func split(loop *sim.Loop, f *sim.Frame, n int) bool {
	h := f.Header()
	if len(h) <= n {
		return gather(f, n)
	}
	c := loop.NewChunk(len(h) - n + len(f.Payload))
	copy(c.Data[copy(c.Data, h[n:]):], f.Payload)
	f.SetPayload(c, 0, len(c.Data))
	c.Release()
	f.Truncate(n)
	return true
}

// trim cuts bytes beyond the first n off the frame: padding of short Ethernet frames.
func trim(f *sim.Frame, n int) {
	if k := len(f.Header()); n <= k {
		f.Payload = nil
		f.Truncate(n)
	} else {
		f.Payload = f.Payload[:n-k]
	}
	f.Sum, f.SumKnown = 0, false
}
