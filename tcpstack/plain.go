package tcpstack

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// The plain packet: IPv4 without options, unfragmented, TCP with no options or timestamps alone, all headers in place. That
// is nearly every packet of a lab, so that it has ways of its own through what all packets go through, straight and with
// the same outcome: whatever is not as expected goes the general way, and finds there what is wrong with it. Linux has such
// ways too: tcp_v4_early_demux, tcp_rcv_established's header prediction.

const (
	plainLen      = wire.IPv4MinLen + wire.TCPMinLen
	plainStampLen = plainLen + timestampsLen // with timestamps
)

// Words of headers, in the byte order of their sum (wire.HeaderSum).
func sum16(b []byte) uint64 { return uint64(binary.LittleEndian.Uint16(b)) }
func sum32(b []byte) uint64 { return uint64(binary.LittleEndian.Uint32(b)) }

// plainSums makes both checksums of a plain packet whose headers were just written, and reports that it is one. It reads
// each field with the width that it was written in: what spans several stores would have to wait for them to leave the
// processor's store buffer.
func plainSums(f *sim.Frame, h []byte) bool {
	if len(h) != plainStampLen || h[0] != 0x45 || h[wire.IPv4OffProto] != uint8(wire.ProtoTCP) {
		return false
	}
	p := (*[plainStampLen]byte)(h)
	addrs := sum32(p[wire.IPv4OffSrc:]) + sum32(p[wire.IPv4OffDst:])
	ip := sum16(p[0:]) + sum16(p[wire.IPv4OffTotalLen:]) + sum16(p[wire.IPv4OffID:]) + sum16(p[wire.IPv4OffFrag:]) +
		sum16(p[wire.IPv4OffTTL:]) + addrs
	binary.LittleEndian.PutUint16(p[wire.IPv4OffChecksum:], ^wire.Fold(ip))
	if !f.SumKnown {
		f.Sum, f.SumKnown = wire.Sum(f.Payload), true
	}
	t := (*[plainStampLen - tcpAt]byte)(p[tcpAt:])
	tcp := addrs + plainPseudo(len(t)+len(f.Payload), f.Sum) +
		sum32(t[wire.TCPOffSrcPort:]) + sum32(t[wire.TCPOffSeq:]) + sum32(t[wire.TCPOffAck:]) +
		uint64(t[wire.TCPOffDataOffset]) + uint64(t[wire.TCPOffFlags])<<8 +
		sum16(t[wire.TCPOffWindow:]) + sum16(t[wire.TCPOffUrgent:]) +
		sum32(t[tsAt:]) + sum32(t[tsAt+4:]) + sum32(t[tsAt+8:])
	binary.LittleEndian.PutUint16(t[wire.TCPOffChecksum:], ^wire.Fold(tcp))
	return true
}

// plainPseudo is what a segment of n bytes adds to the sum of its header and its addresses: the rest of the pseudo-header
// and the payload, whose sum is payload.
func plainPseudo(n int, payload uint16) uint64 {
	return uint64(bits.ReverseBytes16(uint16(n))) + uint64(wire.ProtoTCP)<<8 + uint64(bits.ReverseBytes16(payload))
}

// plainInput takes a frame that arrived at ifc, if it is a plain packet without a fault and for this host, or on its way
// through this router, and owns it then. h are its headers from IP's on. They were written long ago, and are read in words as
// wide as there are.
func (s *Stack) plainInput(ifc *Interface, f *sim.Frame, h []byte) bool {
	if len(h) < plainLen || h[0] != 0x45 || h[wire.IPv4OffProto] != uint8(wire.ProtoTCP) {
		return false
	}
	p := (*[plainLen]byte)(h)
	n := len(h) + len(f.Payload)
	if be16(p[wire.IPv4OffTotalLen:]) != uint16(n) || n > MaxMTU ||
		be16(p[wire.IPv4OffFrag:])&(wire.IPv4MF|wire.IPv4OffsetMask) != 0 {
		return false
	}
	src, dst := be32(p[wire.IPv4OffSrc:]), be32(p[wire.IPv4OffDst:])
	if top := src >> 24; top == 0 || top == 127 || top >= 224 {
		return false
	}
	if s.cfg.Forwarding {
		return s.plainForward(f, p, src, dst, n)
	}
	if !slices.Contains(s.addrs, dst) || s.isLocal(src) || ifc.isBroadcast(src) {
		return false
	}
	if s.tcp.signs {
		return false // who is to see it may want a signature
	}
	g := segment{f: f, plain: true}
	switch {
	case len(h) == plainStampLen && p[tcpAt+wire.TCPOffDataOffset]>>4 == (wire.TCPMinLen+timestampsLen)/4:
		o := (*[timestampsLen]byte)(h[plainLen:])
		if be32(o[:]) != paddedTimestamps {
			return false
		}
		g.opt.HasTimestamps, g.opt.TSVal, g.opt.TSEcr = true, be32(o[4:]), be32(o[8:])
	case len(h) == plainLen && p[tcpAt+wire.TCPOffDataOffset]>>4 == wire.TCPMinLen/4:
	default:
		return false
	}
	if !s.trusted(f) && !plainVerified(f, h) {
		return false
	}
	g.length = uint32(len(f.Payload))
	g.seq, g.ack = seqNum(be32(p[tcpAt+wire.TCPOffSeq:])), seqNum(be32(p[tcpAt+wire.TCPOffAck:]))
	g.flags, g.wnd = wire.TCPFlags(p[tcpAt+wire.TCPOffFlags]), be16(p[tcpAt+wire.TCPOffWindow:])
	t := tuple{local: ipAddr4(dst), remote: ipAddr4(src),
		localPort: be16(p[tcpAt+wire.TCPOffDstPort:]), remotePort: be16(p[tcpAt+wire.TCPOffSrcPort:])}
	s.count[cIPReceived]++
	s.count[cIPDelivered]++
	s.tcp.count.inSegs++
	s.dispatch(&g, &t)
	f.Release()
	s.tcp.cause = 0
	return true
}

// plainForward sends a plain packet of n bytes on, if its next hop is known and within reach; p begins with its IP header.
func (s *Stack) plainForward(f *sim.Frame, p *[plainLen]byte, src, dst uint32, n int) bool {
	if p[wire.IPv4OffTTL] <= 1 || !s.trusted(f) {
		return false
	}
	e := s.forwards.find(dst, s.flowOf(src, dst, be32(p[tcpAt:]), uint32(wire.ProtoTCP)))
	if e == nil || e.gen != s.gen {
		return false
	}
	nb := e.nb
	if n > nb.ifc.mtu || nb.state != NeighbourReachable || s.loop.Now() >= nb.until {
		return false
	}
	s.count[cIPReceived]++
	s.count[cIPForwarded]++
	p[wire.IPv4OffTTL]--
	nb.transmit(f)
	return true
}

// plainVerified says whether both checksums of a plain packet hold, over the actual bytes.
func plainVerified(f *sim.Frame, h []byte) bool {
	p := (*[plainLen]byte)(h)
	addrs := binary.LittleEndian.Uint64(p[wire.IPv4OffSrc:])
	ip, c := bits.Add64(binary.LittleEndian.Uint64(p[0:]), addrs, 0)
	ip, c = bits.Add64(ip, sum32(p[8:]), c)
	if wire.Fold(ip+c) != 0xffff {
		return false
	}
	t := h[tcpAt:]
	tcp, c := bits.Add64(addrs, binary.LittleEndian.Uint64(p[tcpAt:]), 0)
	tcp, c = bits.Add64(tcp, binary.LittleEndian.Uint64(p[tcpAt+8:]), c)
	tcp, c = bits.Add64(tcp, sum32(p[tcpAt+16:])+plainPseudo(len(t)+len(f.Payload), wire.Sum(f.Payload)), c)
	if len(h) == plainStampLen {
		o := (*[timestampsLen]byte)(h[plainLen:])
		tcp, c = bits.Add64(tcp, binary.LittleEndian.Uint64(o[0:]), c)
		tcp, c = bits.Add64(tcp, sum32(o[8:]), c)
	}
	return wire.Fold(tcp+c) == 0xffff
}
