package tcpstack

import (
	"encoding/binary"
	"math"
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/congestion"
	"labd.dev/tcpstack/wire"
)

// Event is a trace event made from records: one of the pointer types of record_events.go.
type Event interface {
	// EventName is the canonical name, as "tcp:segment_sent".
	EventName() string
}

// Head is what every event has.
type Head struct {
	T         sim.Time
	Node      uint32
	ESeq      uint32
	Cause     uint32     // ESeq of the event of the same node that led to this one; 0: none
	Conn      sim.ConnID // 0: none
	Responder bool       // the recording end is the responder's
}

// Decoder turns tcp:* records into events. It remembers of each connection end its initial sequence numbers, from which
// stream offsets follow, so it must see a connection's records from its SYN on, in the order (T, Node, ESeq) of each node.
// The zero Decoder is usable.
type Decoder struct {
	ends map[endKey]*endISNs
}

type endKey struct {
	conn sim.ConnID
	node uint32
	side bool
}

type endISNs struct{ iss, irs uint32 }

// Decode makes an event of the first record and its continuation, and says how many records it took. It returns nil for
// a record that is not TCP's.
func (d *Decoder) Decode(recs []sim.Record) (Event, int) {
	r := &recs[0]
	used := 1
	var more moreWords
	if len(recs) > 1 && recs[1].Kind == sim.KindMore {
		more, used = words(&recs[1]), 2
	}
	h := Head{r.T, r.Node, r.ESeq, r.Cause, r.Conn, r.Reason&sideBit != 0}
	why := r.Reason &^ sideBit
	switch r.Kind {
	case KindTCPConnectionStarted:
		return decodeStarted(h, r, &more), used
	case KindTCPStateUpdated:
		return &StateUpdated{h, State(r.Flags), State(r.Aux), StateTrigger(why)}, used
	case KindTCPSegmentSent:
		return &SegmentSent{d.segment(h, r, &more, true), uint8(r.W[5] >> 8), SendReason(why)}, used
	case KindTCPSegmentReceived:
		return &SegmentReceived{d.segment(h, r, &more, false), Verdict(why)}, used
	case KindTCPSegmentDropped:
		return &SegmentDropped{h, r.Pkt, r.W[0], r.W[1], wire.TCPFlags(r.Flags), r.W[2], DropReason(why)}, used
	case KindTCPAckProcessed:
		rtt := int64(r.W[4])
		if r.W[4] == ^uint32(0) {
			rtt = -1
		}
		return &AckProcessed{h, long(r.W[0], r.W[1]), r.W[2], r.W[3], r.Aux, rtt, r.W[5]}, used
	case KindTCPSegmentLost:
		return &SegmentLost{h, long(r.W[0], r.W[1]), r.W[2], LossTrigger(why)}, used
	case KindTCPRecoveryEntered:
		return &RecoveryEntered{h, Recovery{RecoveryKind(why), r.W[0], r.W[1], r.W[2]}, RecoveryTrigger(r.Aux)}, used
	case KindTCPRecoveryExited:
		return &RecoveryExited{h, Recovery{RecoveryKind(why), r.W[0], r.W[1], r.W[2]}, r.Aux != 0}, used
	case KindTCPRecoveryUndone:
		return &RecoveryUndone{h, UndoReason(why), r.W[0], r.W[1], r.W[2]}, used
	case KindTCPUrgentUpdated:
		return &UrgentUpdated{h, UrgentChange(why), long(r.W[0], r.W[1])}, used
	case KindTCPPathMTUUpdated:
		return &PathMTUUpdated{h, MTUChange(why), r.W[0], r.W[1]}, used
	case KindTCPCCStateUpdated:
		return &CCStateUpdated{h, CCState(r.Flags), CCState(r.Aux), CCTrigger(why)}, used
	case KindTCPMetricsUpdated:
		return decodeMetrics(h, r, &more), used
	case KindTCPTimerSet:
		return &TimerSet{h, TimerKind(why), r.W[0], r.W[1]}, used
	case KindTCPTimerFired:
		return &TimerFired{h, TimerKind(why), r.W[1]}, used
	case KindTCPTimerCancelled:
		return &TimerCancelled{h, TimerKind(why)}, used
	case KindTCPReassemblyUpdated:
		return &ReassemblyUpdated{h, long(r.W[0], r.W[1]), r.W[2], r.W[3]}, used
	case KindTCPConnectionClosed:
		return decodeClosed(h, r, &more), used
	case KindTCPConnAlias:
		return &ConnAlias{h, sim.ConnID(r.Pkt)}, used
	}
	return nil, used
}

// segment decodes what segments sent and received share.
func (d *Decoder) segment(h Head, r *sim.Record, more *moreWords, sent bool) Segment {
	s := Segment{Head: h, Pkt: r.Pkt, State: State(r.Aux), Seq: r.W[0], Ack: r.W[1], Len: r.W[2] >> 16,
		Flags: wire.TCPFlags(r.Flags), Win: uint16(r.W[2])}
	s.WinScaled = uint32(s.Win) << (r.W[5] >> 4 & 15)
	s.ECN = ECN(r.W[5] >> segECNShift & 3)
	if r.W[5]&segTS != 0 {
		s.Opts.HasTimestamps, s.Opts.TSVal, s.Opts.TSEcr = true, r.W[3], r.W[4]
	}
	if r.W[5]&segMore != 0 {
		w := more[0]
		s.Opts.MSS, s.Opts.WindowScale = uint16(w>>16), uint8(w>>8)
		s.Opts.HasWindowScale, s.Opts.SACKPermitted = w&optWscale != 0, w&optSACKPermitted != 0
		s.Opts.NSACK = min(uint8(w>>4&15), wire.MaxSACKBlocks)
		for i := range s.Opts.NSACK {
			s.Opts.SACK[i] = wire.SACKBlock{Left: more[1+2*i], Right: more[2+2*i]}
		}
		if w&optFastOpen != 0 {
			s.Opts.FastOpen = fastOpenOf(more)
		}
	}
	e := d.end(h, &s, sent)
	mine, theirs := e.iss, e.irs
	if !sent {
		mine, theirs = theirs, mine
	}
	s.Off = offsetFrom(s.Seq, mine, r.W[5]>>24)
	s.AckOff = offsetFrom(s.Ack, theirs, r.W[5]>>16&0xff)
	if s.Flags&wire.FlagSYN != 0 {
		s.Off = 0
	}
	if s.Flags&wire.FlagACK == 0 {
		s.AckOff = 0
	}
	return s
}

// fastOpenOf is the Fast Open option of optionWords.
func fastOpenOf(w *moreWords) (o wire.FastOpen) {
	for i := range 4 {
		binary.BigEndian.PutUint32(o.Cookie[4*i:], w[1+i])
	}
	o.Present, o.Exp, o.Len = true, w[0]&optFastOpenExp != 0, uint8(min(w[len(w)-1], wire.MaxFastOpenCookie))
	return o
}

// offsetFrom is the offset that a sequence number stands for, given the offset's bits 39..32.
func offsetFrom(seq, isn, high uint32) uint64 {
	off := uint64(high)<<32 | uint64(seq-isn-1)
	if off >= 1<<40-1<<31 {
		return 0 // before the first byte
	}
	return off
}

// end finds the connection end and learns its initial sequence numbers from SYNs.
func (d *Decoder) end(h Head, s *Segment, sent bool) *endISNs {
	if d.ends == nil {
		d.ends = make(map[endKey]*endISNs)
	}
	k := endKey{h.Conn, h.Node, h.Responder}
	e := d.ends[k]
	if e == nil {
		e = new(endISNs)
		d.ends[k] = e
	}
	if s.Flags&wire.FlagSYN != 0 {
		if sent {
			e.iss = s.Seq
		} else {
			e.irs = s.Seq
		}
	}
	return e
}

func long(high, low uint32) uint64 { return uint64(high)<<32 | uint64(low) }

func decodeStarted(h Head, r *sim.Record, m *moreWords) *ConnectionStarted {
	return &ConnectionStarted{
		Head:   h,
		Local:  netip.AddrPortFrom(ipAddr{long(m[0], m[1]), long(m[2], m[3])}.netip(), uint16(r.W[2]>>16)),
		Remote: netip.AddrPortFrom(ipAddr{long(m[4], m[5]), long(m[6], m[7])}.netip(), uint16(r.W[2])),
		ISS:    r.W[0], IRS: r.W[1], CC: congestion.ID(r.Reason &^ sideBit).String(),
		MSS: uint16(r.W[3] >> 16), WscaleSnd: uint8(r.W[3] >> 8), WscaleRcv: uint8(r.W[3]),
		SACK: r.Flags&startedSACK != 0, TS: r.Flags&startedTS != 0, ECN: r.Flags&startedECN != 0,
		Initiator: r.Flags&startedInitiator != 0,
	}
}

func decodeMetrics(h Head, r *sim.Record, m *moreWords) *MetricsUpdated {
	return &MetricsUpdated{
		Head: h, Limited: Limit(r.Reason &^ sideBit),
		Cwnd: r.W[0], SSThresh: r.W[1], InFlight: r.W[2], SRTTUs: r.W[3], RTOUs: r.W[4], SndWnd: r.W[5],
		RTTVarUs: m[0], MinRTTUs: m[1], RcvWnd: m[2], Notsent: m[3],
		PacingBps: long(m[7], m[8]), DeliveryBps: long(m[9], m[10]),
		CCVariable: congestion.ID(m[6]).VariableName(), CCValue: math.Float64frombits(long(m[4], m[5])),
	}
}

func decodeClosed(h Head, r *sim.Record, m *moreWords) *ConnectionClosed {
	return &ConnectionClosed{
		Head: h, Reason: CloseReason(r.Reason &^ sideBit),
		TotalRetrans: r.W[0], SegsOut: r.W[1], SegsIn: r.W[2], RTTUs: r.W[3], MinRTTUs: r.W[4], SndCwnd: r.W[5],
		BytesSent: long(m[0], m[1]), BytesAcked: long(m[2], m[3]), BytesReceived: long(m[4], m[5]),
		BytesRetrans: long(m[6], m[7]), SndSSThresh: m[8], RTOUs: m[9],
	}
}
