package packetdrill

import (
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// SO_TIMESTAMPING: the error queue tells when the last byte of each call that sent was handed to the device, went, and was
// acknowledged.

// Flags of SO_TIMESTAMPING.
const (
	stampTxSoftware = 0x2
	stampSoftware   = 0x10
	stampOptID      = 0x80
	stampTxSched    = 0x100
	stampTxAck      = 0x200
	stampTSOnly     = 0x800
	stampOptStats   = 0x1000
	stampOptIDTCP   = 0x10000
	stampTxComplete = 0x40000
	stampMask       = 0x7ffff                                                             // SOF_TIMESTAMPING_MASK
	stampRecords    = stampTxSoftware | stampTxSched | stampTxAck | 0x1 | stampTxComplete // SOF_TIMESTAMPING_TX_RECORD_MASK
)

// What a time is the time of (SCM_TSTAMP_*), and the error's number in its message.
const (
	stampedSnd   = 0
	stampedSched = 1
	stampedAck   = 2
	errNoMessage = 42 // ENOMSG
)

// timestamps is a socket's account of calls whose times are asked for.
type timestamps struct {
	marks []stampMark // of bytes that are not acknowledged, oldest first
	key   uint64      // the byte of the stream that ids count from (sk_tskey)
	flags int64       // of the call at hand
	busy  bool        // it is under way
	went  []span      // what has left since it began
}

// stampMark is the last byte of a call, and what of it is to be told.
type stampMark struct {
	last  uint64
	flags int64
	eor   bool  // nothing joins its buffer
	n     int64 // bytes of its segment
}

// span is a segment of the stream as it left: n bytes from at, size bytes long with its headers.
type span struct {
	at      uint64
	n, size int64
}

// setTimestamping is sock_set_timestamping.
func (s *socket) setTimestamping(v optval) Errno {
	f := v.n
	switch {
	case f&^stampMask != 0,
		f&stampOptIDTCP != 0 && f&stampOptID == 0,
		f&stampOptStats != 0 && f&stampTSOnly == 0:
		return EINVAL
	}
	if f&stampOptID != 0 && s.opts.timestamping&stampOptID == 0 && s.datagram == nil {
		if st := s.state(); st == tcpstack.StateClosed || st == tcpstack.StateListen {
			return EINVAL
		}
		if s.stamps.key = s.sent.offset; f&stampOptIDTCP == 0 {
			s.stamps.key = s.unacknowledged()
		}
	}
	s.opts.timestamping = f
	return 0
}

// unacknowledged is SND.UNA as a byte of the stream.
func (s *socket) unacknowledged() uint64 {
	if s.conn == nil {
		return s.sent.offset
	}
	return s.sent.offset - min(s.sent.offset, uint64(s.conn.Unacked()))
}

// begin is the beginning of a call that sends. A control message of type SO_TIMESTAMPING takes the place of the socket's
// own choice for this call (__sock_cmsg_send).
func (t *timestamps) begin(s *socket, g *sending) Errno {
	t.flags = s.opts.timestamping
	for _, c := range g.control {
		if c.level != solSocket || c.kind != scmTimestamping || len(c.data) != 4 {
			continue
		}
		f := int64(c.data[0]) | int64(c.data[1])<<8 | int64(c.data[2])<<16 | int64(c.data[3])<<24
		if f&^stampRecords != 0 {
			return EINVAL
		}
		t.flags = t.flags&^stampRecords | f
	}
	t.busy = t.flags&stampRecords != 0
	t.went = t.went[:0]
	if n := len(t.marks); t.busy && n > 0 && s.conn.Room() > 0 && !t.marks[n-1].eor &&
		t.marks[n-1].last >= s.sent.offset-s.conn.Info().NotsentBytes {
		t.marks = t.marks[:n-1] // the bytes join a buffer that has not left, which holds one stamp
	}
	return 0
}

// note is the end of the call: its last byte is to be stamped (tcp_tx_timestamp).
func (t *timestamps) note(s *socket, g *sending) {
	if !t.busy || g.sent == 0 {
		return
	}
	t.busy = false
	t.marks = append(t.marks, stampMark{s.sent.offset - 1, t.flags, g.flags&msgEOR != 0, 0})
	for _, w := range t.went {
		t.segment(s, w, len(t.marks)-1)
	}
}

// left looks at what leaves: it may hold a byte to be stamped.
func (m *machine) left(l *livePacket) {
	for _, s := range m.sockets {
		if s.conn == nil || l.Proto != ProtoTCP || !s.stamps.busy && len(s.stamps.marks) == 0 ||
			s.conn.LocalAddr() != l.src || s.conn.RemoteAddr() != l.dst {
			continue
		}
		s.stamps.acked(s, s.unacknowledged())
		if l.Length == 0 || l.TCP.Flags&SYN != 0 {
			continue
		}
		w := span{at: uint64(l.TCP.Seq - s.conn.ISS() - 1), n: int64(l.Length), size: l.size}
		for i := range s.stamps.marks {
			s.stamps.segment(s, w, i)
		}
		if s.stamps.busy {
			s.stamps.went = append(s.stamps.went, w)
		}
	}
}

// segment stamps a mark whose byte is in a segment (__dev_queue_xmit, skb_tx_timestamp); it does so again when the segment
// is sent again.
func (t *timestamps) segment(s *socket, w span, i int) {
	k := t.marks[i]
	if k.last < w.at || k.last >= w.at+uint64(w.n) {
		return
	}
	t.marks[i].n = w.n
	if k.flags&stampTxSched != 0 {
		t.report(s, k, stampedSched, w.size)
	}
	if k.flags&stampTxSoftware != 0 {
		t.report(s, k, stampedSnd, w.size)
	}
}

// acked stamps the marks that the peer has acknowledged (tcp_ack_tstamp).
func (t *timestamps) acked(s *socket, upTo uint64) {
	for len(t.marks) > 0 && t.marks[0].last < upTo {
		if k := t.marks[0]; k.flags&stampTxAck != 0 {
			t.report(s, k, stampedAck, k.n)
		}
		t.marks = t.marks[1:]
	}
}

// report queues one time (__skb_tstamp_tx). Without SOF_TIMESTAMPING_OPT_TSONLY the packet comes with it.
func (t *timestamps) report(s *socket, k stampMark, what, size int64) {
	var e queuedError
	flags := s.opts.timestamping
	if flags&stampTSOnly == 0 {
		e.length = size
	}
	if flags&stampSoftware != 0 {
		now := s.m.h.loop.Now() - bootTime
		c := control{level: solSocket, kind: scmTimestamping}
		c.stamps[0] = stamp{int64(now / sim.Second), int64(now % sim.Second)}
		e.control = append(e.control, c)
	}
	if flags&stampOptStats != 0 {
		e.control = append(e.control, control{level: solSocket, kind: scmOptStats, stats: s.optStats()})
	}
	x := &extendedFail{errno: errNoMessage, origin: originTimestamping, info: what}
	if flags&stampOptID != 0 {
		x.data = int64(uint32(k.last - t.key))
	}
	c := control{level: solIP, kind: ipRecverr, failed: x}
	if s.domain == afInet6 {
		c.level, c.kind = solIPv6, ipv6Recverr
	}
	e.control = append(e.control, c)
	s.errors.push(e)
	s.change(epollErr)
}

// optStats are the attributes of SCM_TIMESTAMPING_OPT_STATS, in their order (tcp_get_timestamping_opt_stats).
func (s *socket) optStats() []statistic {
	if s.conn == nil {
		return nil
	}
	i := s.conn.Info()
	return []statistic{
		{kind: 1, value: int64(i.BusyTimeUs)}, {kind: 2, value: int64(i.RwndLimitedUs)},
		{kind: 3, value: int64(i.SndbufLimitedUs)}, {kind: 4, value: int64(i.DataSegsOut)},
		{kind: 5, value: int64(i.TotalRetrans)}, {kind: 6, value: int64(i.PacingRate)},
		{kind: 7, value: int64(i.DeliveryRate)}, {kind: 8, value: int64(i.SndCwnd)},
		{kind: 9, value: int64(i.Reordering)}, {kind: 10, value: int64(i.MinRTTUs)},
		{kind: 11, value: int64(i.Retransmits)}, {kind: 12, value: b2i(i.DeliveryRateAppLimited)},
		{kind: 15, value: int64(i.SndSSThresh)}, {kind: 16, value: int64(i.Delivered)},
		{kind: 17, value: int64(i.DeliveredCE)}, {kind: 13, value: int64(s.conn.Unacked())},
		{kind: 14, value: int64(caStateNumber(i.CAState))}, {kind: 18, value: int64(i.BytesSent)},
		{kind: 19, value: int64(i.BytesRetrans)}, {kind: 20, value: int64(i.DSACKDups)},
		{kind: 21, value: int64(i.ReordSeen)}, {kind: 22, value: int64(i.RTTUs)},
		{kind: 23}, {kind: 24, value: int64(i.NotsentBytes)},
	}
}
