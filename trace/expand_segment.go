package trace

import (
	"encoding/binary"
	encodinghex "encoding/hex"
	"fmt"
	"math"
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack"
	"labd.dev/tcpstack/congestion"
)

// Bits of KindTCPConnectionStarted's flags and of a segment record's last word (see tcpstack/record.go).
const (
	startedInitiator = 1 << iota
	startedSACK
	startedTS
	startedECN

	segmentHasTS    = 1
	segmentECNShift = 2
)

const (
	flagSYN = 0x02
	flagACK = 0x10
)

func startedFields(r *sim.Record, cc uint8, m *[moreWords]uint32) []Field {
	w := &r.W
	role := "responder"
	if r.Flags&startedInitiator != 0 {
		role = "initiator"
	}
	has := func(bit uint8) bool { return r.Flags&bit != 0 }
	return []Field{
		{"local", endpoint(m[0:4], w[2]>>16)}, {"remote", endpoint(m[4:8], w[2]&0xffff)}, {"role", role},
		{"iss", num(w[0])}, {"irs", num(w[1])}, {"cc", congestion.ID(cc).String()}, {"mss", num(w[3] >> 16)},
		{"wscale_snd", num(w[3] >> 8 & 0xff)}, {"wscale_rcv", num(w[3] & 0xff)},
		{"sack", has(startedSACK)}, {"ts", has(startedTS)}, {"ecn", has(startedECN)},
	}
}

// endpoint prints an address in four words and a port.
func endpoint(w []uint32, port uint32) string {
	var a [16]byte
	for i, v := range w {
		a[4*i], a[4*i+1], a[4*i+2], a[4*i+3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a).Unmap(), uint16(port)).String()
}

// segmentFields expands what sent and received segments have in common. Stream offsets count data bytes from 0: off is
// that of the segment's first byte, ack_off that of the byte the sender of the ACK waits for.
func (x *expander) segmentFields(r *sim.Record, more []sim.Record) []Field {
	w := &r.W
	shift := w[5] >> 4 & 0xf
	if r.Flags&flagSYN != 0 {
		// RFC 7323 2.2: "The window field in a segment where the SYN bit is set [...] MUST NOT be scaled."
		shift = 0
	}
	win := w[2] & 0xffff
	f := []Field{{"pkt", x.names.Packet(r.Pkt)}, {"seq", num(w[0])}, {"ack", num(w[1])}}
	if end := x.tcp[endKey{r.Node, r.Conn}]; end != nil {
		seqBase, ackBase := end.iss+1, end.irs+1
		if r.Kind == tcpstack.KindTCPSegmentReceived {
			seqBase, ackBase = ackBase, seqBase
		}
		if r.Flags&flagSYN == 0 {
			f = append(f, Field{"off", streamOffset(w[5]>>24, w[0]-seqBase)})
			if r.Flags&flagACK != 0 {
				f = append(f, Field{"ack_off", streamOffset(w[5]>>16&0xff, w[1]-ackBase)})
			}
		}
	}
	f = append(f, Field{"len", num(w[2] >> 16)}, Field{"flags", flagLetters(r.Flags)}, Field{"win", num(win)},
		Field{"win_scaled", num(win << shift)}, Field{"opts", optionFields(r, more)},
		Field{"ecn", tcpstack.ECN(w[5] >> segmentECNShift & 3).String()})
	if r.Kind == tcpstack.KindTCPSegmentSent {
		f = append(f, Field{"tx_count", num(w[5] >> 8 & 0xff)})
	}
	return append(f, Field{"state", tcpstack.State(r.Aux).String()})
}

// streamOffset joins the 40 bits of an offset that a record keeps. A segment of an earlier incarnation may lie before the
// stream's first byte: its offset is negative.
func streamOffset(hi, lo uint32) int64 { return int64(uint64(hi)<<56|uint64(lo)<<24) >> 24 }

// Bits of the first word that continues a segment's record, below MSS<<16 | window shift<<8 | SACK blocks<<4.
const (
	optionWscale = 1 << iota
	optionSACKPermitted
	optionFastOpen
	optionFastOpenExp
)

// maxSACKBlocks is how many blocks fit into a header beside nothing else (RFC 2018 3).
const maxSACKBlocks = 4

// optionFields expands a segment's options.
func optionFields(r *sim.Record, more []sim.Record) []Field {
	f := []Field{}
	if len(more) > 0 {
		m := wordsOf(&more[0])
		if mss := m[0] >> 16; mss != 0 {
			f = append(f, Field{"mss", num(mss)})
		}
		if m[0]&optionWscale != 0 {
			f = append(f, Field{"wscale", num(m[0] >> 8 & 0xff)})
		}
		if m[0]&optionSACKPermitted != 0 {
			f = append(f, Field{"sack_permitted", true})
		}
		if n := min(m[0]>>4&0xf, maxSACKBlocks); n > 0 {
			blocks := make([]string, n)
			for i := range blocks {
				blocks[i] = fmt.Sprintf("%d-%d", m[1+2*i], m[2+2*i])
			}
			f = append(f, Field{"sack", blocks})
		}
		if m[0]&optionFastOpen != 0 {
			f = append(f, Field{"fast_open", fastOpenText(&m)})
		}
	}
	if r.W[5]&segmentHasTS != 0 {
		f = append(f, Field{"ts_val", num(r.W[3])}, Field{"ts_ecr", num(r.W[4])})
	}
	return f
}

// fastOpenText is the cookie of a Fast Open option (tcpstack's optionWords).
func fastOpenText(m *[moreWords]uint32) string {
	var b [16]byte
	for i := range 4 {
		binary.BigEndian.PutUint32(b[4*i:], m[1+i])
	}
	text := encodinghex.EncodeToString(b[:min(m[moreWords-1], 16)])
	if m[0]&optionFastOpenExp != 0 {
		text = "exp:" + text
	}
	return text
}

// metricsFields expands what a connection says of its sender.
func metricsFields(w *[6]uint32, limit uint8, m *[moreWords]uint32) []Field {
	f := []Field{
		{"cwnd", num(w[0])}, {"ssthresh", num(w[1])}, {"inflight", num(w[2])}, {"srtt_us", num(w[3])},
		{"rttvar_us", num(m[0])}, {"min_rtt_us", num(m[1])}, {"rto_us", num(w[4])}, {"snd_wnd", num(w[5])},
		{"rcv_wnd", num(m[2])}, {"notsent", num(m[3])}, {"limited", tcpstack.Limit(limit).String()},
		{"pacing_Bps", long(m[7], m[8])}, {"delivery_Bps", long(m[9], m[10])},
	}
	if name := congestion.ID(m[6]).VariableName(); name != "" {
		f = append(f, Field{"cc", []Field{{name, math.Float64frombits(long(m[4], m[5]))}}})
	}
	return f
}
