package tcpstack

import (
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// HalfOpen describes a connection that the peer has begun to open.
type HalfOpen struct {
	ID            sim.ConnID
	Local, Remote netip.AddrPort
	Until         sim.Time // when the SYN,ACK is sent again
}

// HalfOpens lists the connections that are half open, by listener in the order of Listeners, and each one's in the order in
// which their SYNs came. Those that this end has begun to open are among Conns.
func (s *Stack) HalfOpens() []HalfOpen {
	var list []HalfOpen
	for _, l := range s.Listeners() {
		for r := l.firstReq; r != nil; r = r.next {
			list = append(list, HalfOpen{r.id, r.localAddr(), r.remoteAddr(), r.timer.At()})
		}
	}
	return list
}

// What a request records: what its connection would.

func (r *request) record(kind sim.Kind, reason uint8) *sim.Record {
	return r.lsn.stack.recordFor(kind, reason, r.id, true)
}

func (r *request) recordState(old, state State, why StateTrigger) {
	if rec := r.record(KindTCPStateUpdated, uint8(why)); rec != nil {
		rec.Flags, rec.Aux = uint8(old), uint8(state)
	}
}

func (r *request) recordTimer(kind sim.Kind) {
	if rec := r.record(kind, uint8(TimerRTO)); rec != nil && kind != KindTCPTimerCancelled {
		rec.W[1] = uint32(r.timeouts)
		if kind == KindTCPTimerSet {
			rec.W[0] = uint32(micros(r.timeout()))
		} else {
			r.lsn.stack.tcp.cause = rec.ESeq
		}
	}
}

func (r *request) recordReceived(g *segment, in State, v Verdict) {
	rec := r.record(KindTCPSegmentReceived, uint8(v))
	if rec == nil {
		return
	}
	s := r.lsn.stack
	rec.Pkt, rec.Aux = g.f.Pkt, uint8(in)
	s.tcp.cause = rec.ESeq
	h := g.header()
	off, ackOff := uint64(int64(int32(g.seq-r.irs-1))), uint64(int64(int32(g.ack-r.iss-1)))
	if putSegment(rec, &h, &g.opt, int(g.length), off, ackOff, 0, 0, g.ecn()) {
		w := optionWords(&g.opt)
		s.recordMore(rec, &w)
	}
}

func (r *request) recordDropped(g *segment, why DropReason) {
	if rec := r.record(KindTCPSegmentDropped, uint8(why)); rec != nil {
		g.putDropped(rec)
	}
}

// recordClosed says how a request ended that became no connection.
func (r *request) recordClosed(why StateTrigger) {
	reason := ClosedAborted
	switch why {
	case TriggerTimer:
		reason = ClosedTimeout
	case RxRST, RxSYN:
		reason = ClosedReset
	case RxICMP:
		reason = ClosedUnreachable
	}
	rec := r.record(KindTCPConnectionClosed, uint8(reason))
	if rec == nil {
		return
	}
	rec.W[0], rec.W[5] = uint32(r.retrans), r.set.iw
	w := moreWords{}
	w[8], w[9] = ssthreshUnset, uint32(micros(r.timeout()))
	r.lsn.stack.recordMore(rec, &w)
}

// sendBare sends a SYN,ACK.
func (r *request) sendBare(h *wire.TCP, opt *wire.TCPOptions) {
	s := r.lsn.stack
	f := s.bareFrame(r.rt, h, opt, r.id, r.tag)
	if r.set.tos|r.set.ttl != 0 {
		setTrafficClass(f.Header(), r.set.tos&^uint8(CE))
		r.set.markHops(f.Header())
	}
	if rec := s.recordFor(KindTCPSegmentSent, uint8(SendSYN), r.id, true); rec != nil {
		rec.Pkt, rec.Aux = f.Pkt, uint8(StateSynRcvd)
		if putSegment(rec, h, opt, 0, ^uint64(0), 0, uint8(min(int(r.retrans)+1, maxRetry)), 0, 0) {
			w := optionWords(opt)
			s.recordMore(rec, &w)
		}
	}
	r.set.sign(f)
	_ = s.output(f, r.rt) // a reply that finds no way back is lost, as any packet may be
}
