package trace

import (
	"strings"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// endKey names one end of a connection.
type endKey struct {
	node uint32
	conn sim.ConnID
}

// tcpEnd is what unwraps an end's sequence numbers.
type tcpEnd struct{ iss, irs uint32 }

// responderBit in the Reason of a tcp record: the end that recorded it is the responder.
const responderBit = 0x80

// noRTT is the word of an ACK that gave no RTT sample.
const noRTT = ^uint32(0)

// tcpEvent expands a tcp:* record and what continues it.
func (x *expander) tcpEvent(r *sim.Record, more []sim.Record, e *Event) {
	e.Side = "initiator"
	if r.Reason&responderBit != 0 {
		e.Side = "responder"
	}
	reason := r.Reason &^ responderBit
	w := &r.W
	var m [moreWords]uint32
	if len(more) > 0 {
		m = wordsOf(&more[0])
	}
	switch r.Kind {
	case tcpstack.KindTCPConnectionStarted:
		x.tcp[endKey{r.Node, r.Conn}] = &tcpEnd{iss: w[0], irs: w[1]}
		e.Name, e.Data = "tcp:connection_started", startedFields(r, reason, &m)
	case tcpstack.KindTCPStateUpdated:
		e.Name = "tcp:state_updated"
		e.Data = []Field{{"old", tcpstack.State(r.Flags).String()}, {"new", tcpstack.State(r.Aux).String()},
			{"trigger", tcpstack.StateTrigger(reason).String()}}
	case tcpstack.KindTCPSegmentSent:
		e.Name = "tcp:segment_sent"
		e.Data = append(x.segmentFields(r, more), Field{"reason", tcpstack.SendReason(reason).String()})
	case tcpstack.KindTCPSegmentReceived:
		e.Name = "tcp:segment_received"
		e.Data = append(x.segmentFields(r, more), Field{"verdict", tcpstack.Verdict(reason).String()})
	case tcpstack.KindTCPSegmentDropped:
		e.Name = "tcp:segment_dropped"
		e.Data = []Field{{"pkt", x.names.Packet(r.Pkt)}, {"seq", num(w[0])}, {"ack", num(w[1])}, {"len", num(w[2])},
			{"flags", flagLetters(r.Flags)}, {"reason", tcpstack.DropReason(reason).String()}}
	case tcpstack.KindTCPAckProcessed:
		e.Name = "tcp:ack_processed"
		e.Data = []Field{{"una", long(w[0], w[1])}, {"acked", num(w[2])}, {"sacked", num(w[3])}, {"dupacks", uint64(r.Aux)}}
		if w[4] != noRTT {
			e.Data = append(e.Data, Field{"rtt_us", num(w[4])})
		}
		e.Data = append(e.Data, Field{"snd_wnd", num(w[5])})
	case tcpstack.KindTCPSegmentLost:
		e.Name = "tcp:segment_lost"
		e.Data = []Field{{"off", long(w[0], w[1])}, {"len", num(w[2])}, {"trigger", tcpstack.LossTrigger(reason).String()}}
	default:
		x.tcpStateEvent(r, reason, &m, e)
	}
}

// tcpStateEvent expands what tells of a connection's variables.
func (x *expander) tcpStateEvent(r *sim.Record, reason uint8, m *[moreWords]uint32, e *Event) {
	w := &r.W
	switch r.Kind {
	case tcpstack.KindTCPRecoveryEntered:
		e.Name = "tcp:recovery_entered"
		e.Data = append(recoveryFieldsOf("kind", tcpstack.RecoveryKind(reason).String(), w),
			Field{"trigger", tcpstack.RecoveryTrigger(r.Aux).String()})
	case tcpstack.KindTCPRecoveryExited:
		e.Name = "tcp:recovery_exited"
		e.Data = append(recoveryFieldsOf("kind", tcpstack.RecoveryKind(reason).String(), w), Field{"spurious", r.Aux != 0})
	case tcpstack.KindTCPRecoveryUndone:
		e.Name, e.Data = "tcp:recovery_undone", recoveryFieldsOf("reason", tcpstack.UndoReason(reason).String(), w)
	case tcpstack.KindTCPCCStateUpdated:
		e.Name = "tcp:cc_state_updated"
		e.Data = []Field{{"old", tcpstack.CCState(r.Flags).String()}, {"new", tcpstack.CCState(r.Aux).String()},
			{"trigger", tcpstack.CCTrigger(reason).String()}}
	case tcpstack.KindTCPMetricsUpdated:
		e.Name, e.Data = "tcp:metrics_updated", metricsFields(w, reason, m)
	case tcpstack.KindTCPTimerSet, tcpstack.KindTCPTimerFired, tcpstack.KindTCPTimerCancelled:
		e.Data = []Field{{"timer", tcpstack.TimerKind(reason).String()}}
		switch r.Kind {
		case tcpstack.KindTCPTimerCancelled:
			e.Name = "tcp:timer_cancelled"
		case tcpstack.KindTCPTimerSet:
			e.Name = "tcp:timer_set"
			e.Data = append(e.Data, Field{"in_us", num(w[0])}, Field{"backoff", num(w[1])})
		default:
			e.Name = "tcp:timer_fired"
			e.Data = append(e.Data, Field{"backoff", num(w[1])})
		}
	case tcpstack.KindTCPUrgentUpdated:
		e.Name = "tcp:urgent_updated"
		e.Data = []Field{{"change", tcpstack.UrgentChange(reason).String()}, {"off", long(w[0], w[1])}}
	case tcpstack.KindTCPPathMTUUpdated:
		e.Name = "tcp:path_mtu_updated"
		e.Data = []Field{{"change", tcpstack.MTUChange(reason).String()}, {"mtu", num(w[0])}, {"mss", num(w[1])}}
	case tcpstack.KindTCPReassemblyUpdated:
		e.Name = "tcp:reassembly_updated"
		e.Data = []Field{{"rcv_nxt_off", long(w[0], w[1])}, {"ooo", num(w[2])}, {"buffered", num(w[3])}}
	case tcpstack.KindTCPConnectionClosed:
		e.Name = "tcp:connection_closed"
		e.Data = []Field{{"reason", tcpstack.CloseReason(reason).String()}, {"info", []Field{
			{"total_retrans", num(w[0])}, {"segs_out", num(w[1])}, {"segs_in", num(w[2])},
			{"srtt_us", num(w[3])}, {"min_rtt_us", num(w[4])}, {"snd_cwnd", num(w[5])},
			{"bytes_sent", long(m[0], m[1])}, {"bytes_acked", long(m[2], m[3])}, {"bytes_received", long(m[4], m[5])},
			{"bytes_retrans", long(m[6], m[7])}, {"snd_ssthresh", num(m[8])}, {"rto_us", num(m[9])},
		}}}
	case tcpstack.KindTCPConnAlias:
		e.Name = "tcp:conn_alias"
		e.Data = []Field{{"alias", x.names.Conn(sim.ConnID(r.Pkt))}}
	default:
		e.Side = ""
	}
}

// moreWords is how many words a sim.KindMore record holds.
const moreWords = 11

// wordsOf reads a sim.KindMore record.
func wordsOf(r *sim.Record) (m [moreWords]uint32) {
	m = [moreWords]uint32{r.Cause, uint32(r.Conn >> 32), uint32(r.Conn), uint32(r.Pkt >> 32), uint32(r.Pkt)}
	copy(m[5:], r.W[:])
	return m
}

func num(w uint32) uint64       { return uint64(w) }
func long(hi, lo uint32) uint64 { return uint64(hi)<<32 | uint64(lo) }

// flagNames are the flags of a TCP header in the order that they are named in: SYN and FIN before ACK, as people say
// "SYN+ACK".
var flagNames = []struct {
	bit  uint8
	name string
}{{0x02, "SYN"}, {0x01, "FIN"}, {0x04, "RST"}, {0x08, "PSH"}, {0x10, "ACK"}, {0x20, "URG"}, {0x40, "ECE"}, {0x80, "CWR"}}

// flagLetters is a header's flags as events hold them, a letter each: "S", "SA", "PA", "FA"; empty for none.
func flagLetters(flags uint8) string {
	var letters []byte
	for _, f := range flagNames {
		if flags&f.bit != 0 {
			letters = append(letters, f.name[0])
		}
	}
	return string(letters)
}

// spellFlags turns an event's flags into words: "SYN+ACK"; "no flags" for none.
func spellFlags(letters string) string {
	var names []string
	for _, f := range flagNames {
		if strings.IndexByte(letters, f.name[0]) >= 0 {
			names = append(names, f.name)
		}
	}
	if len(names) == 0 {
		return "no flags"
	}
	return strings.Join(names, "+")
}

// recoveryFieldsOf are the fields that the events of a recovery share.
func recoveryFieldsOf(name, value string, w *[6]uint32) []Field {
	return []Field{{name, value}, {"cwnd_before", num(w[0])}, {"cwnd_after", num(w[1])}, {"ssthresh", num(w[2])}}
}
