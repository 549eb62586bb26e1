package packetdrill

import (
	"encoding/binary"

	"labd.dev/tcpstack"
)

// tcpInfo is what struct tcp_info of a socket is made from.
type tcpInfo struct {
	tcpstack.Info
	state tcpstack.State
}

// infoField is a member of struct tcp_info: bytes long, or bits where bytes is 0; bit fields that follow one another
// share bytes.
type infoField struct {
	name        string
	bytes, bits int
	value       func(*tcpInfo) uint64
}

// tcpInfoFields are the members of Linux's struct tcp_info in their order.
var tcpInfoFields = []infoField{
	{"tcpi_state", 1, 0, func(i *tcpInfo) uint64 { return linuxState(i.state) }},
	{"tcpi_ca_state", 1, 0, func(i *tcpInfo) uint64 { return caStateNumber(i.CAState) }},
	{"tcpi_retransmits", 1, 0, func(i *tcpInfo) uint64 { return uint64(i.Retransmits) }},
	{"tcpi_probes", 1, 0, func(i *tcpInfo) uint64 { return uint64(i.Probes) }},
	{"tcpi_backoff", 1, 0, func(i *tcpInfo) uint64 { return uint64(i.Backoff) }},
	{"tcpi_options", 1, 0, (*tcpInfo).options},
	{"tcpi_snd_wscale", 0, 4, func(i *tcpInfo) uint64 { return uint64(i.SndWscale) }},
	{"tcpi_rcv_wscale", 0, 4, func(i *tcpInfo) uint64 { return uint64(i.RcvWscale) }},
	{"tcpi_delivery_rate_app_limited", 0, 1, func(i *tcpInfo) uint64 { return bitOf(i.DeliveryRateAppLimited) }},
	{"tcpi_fastopen_client_fail", 0, 7, func(i *tcpInfo) uint64 { return uint64(i.FastOpenClientFail) }},
	{"tcpi_rto", 4, 0, func(i *tcpInfo) uint64 { return i.RTOUs }},
	{"tcpi_ato", 4, 0, func(i *tcpInfo) uint64 { return i.ATOUs }},
	{"tcpi_snd_mss", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.SndMSS) }},
	{"tcpi_rcv_mss", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.RcvMSS) }},
	{"tcpi_unacked", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.Unacked) }},
	{"tcpi_sacked", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.Sacked) }},
	{"tcpi_lost", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.Lost) }},
	{"tcpi_retrans", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.Retrans) }},
	{"tcpi_fackets", 4, 0, nothing}, // Linux has not kept it since 4.15
	{"tcpi_last_data_sent", 4, 0, func(i *tcpInfo) uint64 { return i.LastDataSentMs }},
	{"tcpi_last_ack_sent", 4, 0, nothing}, // "Not remembered, sorry."
	{"tcpi_last_data_recv", 4, 0, func(i *tcpInfo) uint64 { return i.LastDataRecvMs }},
	{"tcpi_last_ack_recv", 4, 0, func(i *tcpInfo) uint64 { return i.LastAckRecvMs }},
	{"tcpi_pmtu", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.PMTU) }},
	{"tcpi_rcv_ssthresh", 4, 0, func(i *tcpInfo) uint64 { return i.RcvSSThresh }},
	{"tcpi_rtt", 4, 0, func(i *tcpInfo) uint64 { return i.RTTUs }},
	{"tcpi_rttvar", 4, 0, func(i *tcpInfo) uint64 { return i.RTTVarUs }},
	{"tcpi_snd_ssthresh", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.SndSSThresh) }},
	{"tcpi_snd_cwnd", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.SndCwnd) }},
	{"tcpi_advmss", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.AdvMSS) }},
	{"tcpi_reordering", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.Reordering) }},
	{"tcpi_rcv_rtt", 4, 0, func(i *tcpInfo) uint64 { return i.RcvRTTUs }},
	{"tcpi_rcv_space", 4, 0, func(i *tcpInfo) uint64 { return i.RcvSpace }},
	{"tcpi_total_retrans", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.TotalRetrans) }},
	{"tcpi_pacing_rate", 8, 0, func(i *tcpInfo) uint64 { return i.PacingRate }},
	{"tcpi_max_pacing_rate", 8, 0, func(i *tcpInfo) uint64 { return i.MaxPacingRate }},
	{"tcpi_bytes_acked", 8, 0, func(i *tcpInfo) uint64 { return i.BytesAcked }},
	{"tcpi_bytes_received", 8, 0, func(i *tcpInfo) uint64 { return i.BytesReceived }},
	{"tcpi_segs_out", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.SegsOut) }},
	{"tcpi_segs_in", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.SegsIn) }},
	{"tcpi_notsent_bytes", 4, 0, func(i *tcpInfo) uint64 { return i.NotsentBytes }},
	{"tcpi_min_rtt", 4, 0, func(i *tcpInfo) uint64 { return i.MinRTTUs }},
	{"tcpi_data_segs_in", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.DataSegsIn) }},
	{"tcpi_data_segs_out", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.DataSegsOut) }},
	{"tcpi_delivery_rate", 8, 0, func(i *tcpInfo) uint64 { return i.DeliveryRate }},
	{"tcpi_busy_time", 8, 0, func(i *tcpInfo) uint64 { return i.BusyTimeUs }},
	{"tcpi_rwnd_limited", 8, 0, func(i *tcpInfo) uint64 { return i.RwndLimitedUs }},
	{"tcpi_sndbuf_limited", 8, 0, func(i *tcpInfo) uint64 { return i.SndbufLimitedUs }},
	{"tcpi_delivered", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.Delivered) }},
	{"tcpi_delivered_ce", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.DeliveredCE) }},
	{"tcpi_bytes_sent", 8, 0, func(i *tcpInfo) uint64 { return i.BytesSent }},
	{"tcpi_bytes_retrans", 8, 0, func(i *tcpInfo) uint64 { return i.BytesRetrans }},
	{"tcpi_dsack_dups", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.DSACKDups) }},
	{"tcpi_reord_seen", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.ReordSeen) }},
	{"tcpi_rcv_ooopack", 4, 0, func(i *tcpInfo) uint64 { return uint64(i.RcvOOOPack) }},
	{"tcpi_snd_wnd", 4, 0, func(i *tcpInfo) uint64 { return i.SndWnd }},
	{"tcpi_rcv_wnd", 4, 0, func(i *tcpInfo) uint64 { return i.RcvWnd }},
	{"tcpi_rehash", 4, 0, nothing}, // there is one path
	{"tcpi_total_rto", 2, 0, func(i *tcpInfo) uint64 { return uint64(i.TotalRTO) }},
	{"tcpi_total_rto_recoveries", 2, 0, func(i *tcpInfo) uint64 { return uint64(i.TotalRTORecoveries) }},
	{"tcpi_total_rto_time", 4, 0, func(i *tcpInfo) uint64 { return i.TotalRTOTimeMs }},
}

func nothing(*tcpInfo) uint64 { return 0 }

// Bits of tcpi_options.
const (
	tcpiTimestamps = 1
	tcpiSACK       = 2
	tcpiWscale     = 4
	tcpiECN        = 8
	tcpiECNSeen    = 16
	tcpiSYNData    = 32
)

func (i *tcpInfo) options() uint64 {
	return bitOf(i.TSOK)*tcpiTimestamps | bitOf(i.SackOK)*tcpiSACK | bitOf(i.WscaleOK)*tcpiWscale |
		bitOf(i.ECN)*tcpiECN | bitOf(i.ECNSeen)*tcpiECNSeen | bitOf(i.SYNData)*tcpiSYNData
}

func bitOf(on bool) uint64 { return uint64(b2i(on)) }

// bytes lays the structure out.
func (i *tcpInfo) bytes() []byte {
	var b []byte
	var shared, used uint64
	for _, f := range tcpInfoFields {
		v := f.value(i)
		if f.bits > 0 {
			shared |= v & (1<<f.bits - 1) << used
			if used += uint64(f.bits); used == 8 {
				b = append(b, byte(shared))
				shared, used = 0, 0
			}
			continue
		}
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], v)
		b = append(b, word[:f.bytes]...)
	}
	return b
}

// tcpStates are the values of tcpi_state.
var tcpStates = []symbol{
	{"TCP_ESTABLISHED", 1}, {"TCP_SYN_SENT", 2}, {"TCP_SYN_RECV", 3}, {"TCP_FIN_WAIT1", 4}, {"TCP_FIN_WAIT2", 5},
	{"TCP_TIME_WAIT", 6}, {"TCP_CLOSE", 7}, {"TCP_CLOSE_WAIT", 8}, {"TCP_LAST_ACK", 9}, {"TCP_LISTEN", 10}, {"TCP_CLOSING", 11},
}

// linuxState is a state as Linux numbers it. A socket in TIME-WAIT is closed: what remains of the connection is not it.
func linuxState(s tcpstack.State) uint64 {
	switch s {
	case tcpstack.StateEstablished:
		return 1
	case tcpstack.StateSynSent:
		return 2
	case tcpstack.StateSynRcvd:
		return 3
	case tcpstack.StateFinWait1:
		return 4
	case tcpstack.StateFinWait2:
		return 5
	case tcpstack.StateCloseWait:
		return 8
	case tcpstack.StateLastAck:
		return 9
	case tcpstack.StateListen:
		return 10
	case tcpstack.StateClosing:
		return 11
	}
	return 7
}

// caStates are the values of tcpi_ca_state, by the stack's names.
var caStates = []struct {
	name   string
	symbol symbol
}{
	{"open", symbol{"TCP_CA_Open", 0}}, {"disorder", symbol{"TCP_CA_Disorder", 1}}, {"cwr", symbol{"TCP_CA_CWR", 2}},
	{"recovery", symbol{"TCP_CA_Recovery", 3}}, {"loss", symbol{"TCP_CA_Loss", 4}},
}

func caStateNumber(name string) uint64 {
	for _, c := range caStates {
		if c.name == name {
			return uint64(c.symbol.value)
		}
	}
	return 0
}

// tcpInfo gathers a socket's tcp_info.
func (s *socket) tcpInfo() *tcpInfo {
	i := &tcpInfo{Info: s.last, state: s.state()}
	if s.conn != nil {
		i.Info = s.conn.Info()
	}
	return i
}
