package main

import (
	"fmt"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
)

// What ss does not print because it says nothing.
const (
	ssthreshShown   = 0xffff    // from here on ssthresh counts as not set
	rtoUnset        = 3_000_000 // us: the timeout of a connection without a measurement, as it once was
	reorderingUsual = 3         // tcp_reordering
	noMaxPacingRate = 1<<64 - 1 // tcpi_max_pacing_rate without a limit
	gainUnit        = 256.0     // BBR_UNIT, of BBR's gains
)

// infoLine collects the words of a line.
type infoLine struct {
	words   []string
	numeric bool // exact rates
}

func (l *infoLine) word(show bool, format string, args ...any) {
	if show {
		l.words = append(l.words, fmt.Sprintf(format, args...))
	}
}

// socketInfo prints the line that ss -i prints of a connection (iproute2's tcp_stats_print): its words in its order, and
// what is zero left out.
func socketInfo(i *labv1.TcpInfo, numeric bool) string {
	l := &infoLine{numeric: numeric}
	l.options(i)
	l.estimates(i)
	l.counts(i)
	l.congestion(i)
	l.rates(i)
	l.limits(i)
	l.repair(i)
	l.receiver(i)
	return strings.Join(l.words, " ")
}

func (l *infoLine) options(i *labv1.TcpInfo) {
	l.word(i.TsOk, "ts")
	l.word(i.SackOk, "sack")
	l.word(i.Ecn, "ecn")
	l.word(i.EcnSeen, "ecnseen")
	l.word(i.SynData, "fastopen")
	l.word(i.CaName != "", "%s", i.CaName)
	l.word(i.WscaleOk, "wscale:%d,%d", i.SndWscale, i.RcvWscale)
}

func (l *infoLine) estimates(i *labv1.TcpInfo) {
	l.word(i.RtoUs > 0 && i.RtoUs != rtoUnset, "rto:%s", ms(i.RtoUs))
	l.word(i.Backoff > 0, "backoff:%d", i.Backoff)
	l.word(i.RttUs > 0, "rtt:%s/%s", ms(i.RttUs), ms(i.RttvarUs))
	l.word(i.AtoUs > 0, "ato:%s", ms(i.AtoUs))
	l.word(i.SndMss > 0, "mss:%d", i.SndMss)
	l.word(i.Pmtu > 0, "pmtu:%d", i.Pmtu)
	l.word(i.RcvMss > 0, "rcvmss:%d", i.RcvMss)
	l.word(i.Advmss > 0, "advmss:%d", i.Advmss)
	l.word(i.SndCwnd > 0, "cwnd:%d", i.SndCwnd)
	l.word(i.SndSsthresh > 0 && i.SndSsthresh < ssthreshShown, "ssthresh:%d", i.SndSsthresh)
}

func (l *infoLine) counts(i *labv1.TcpInfo) {
	l.word(i.BytesSent > 0, "bytes_sent:%d", i.BytesSent)
	l.word(i.BytesRetrans > 0, "bytes_retrans:%d", i.BytesRetrans)
	l.word(i.BytesAcked > 0, "bytes_acked:%d", i.BytesAcked)
	l.word(i.BytesReceived > 0, "bytes_received:%d", i.BytesReceived)
	l.word(i.SegsOut > 0, "segs_out:%d", i.SegsOut)
	l.word(i.SegsIn > 0, "segs_in:%d", i.SegsIn)
	l.word(i.DataSegsOut > 0, "data_segs_out:%d", i.DataSegsOut)
	l.word(i.DataSegsIn > 0, "data_segs_in:%d", i.DataSegsIn)
}

// congestion is what the algorithm tells of itself.
func (l *infoLine) congestion(i *labv1.TcpInfo) {
	figures := make(map[string]int64, len(i.Congestion))
	for _, f := range i.Congestion {
		figures[f.Name] = f.Value
	}
	if _, ok := figures["dctcp_enabled"]; ok {
		l.word(true, "dctcp:(ce_state:%d,alpha:%d,ab_ecn:%d,ab_tot:%d)",
			figures["dctcp_ce_state"], figures["dctcp_alpha"], figures["dctcp_ab_ecn"], figures["dctcp_ab_tot"])
	}
	if bw, ok := figures["bbr_bw"]; ok {
		s := fmt.Sprintf("bbr:(bw:%sbps,mrtt:%s", l.rate(float64(bw)*8), ms(uint64(figures["bbr_min_rtt"])))
		if g := figures["bbr_pacing_gain"]; g != 0 {
			s += fmt.Sprintf(",pacing_gain:%.6g", float64(g)/gainUnit)
		}
		if g := figures["bbr_cwnd_gain"]; g != 0 {
			s += fmt.Sprintf(",cwnd_gain:%.6g", float64(g)/gainUnit)
		}
		l.word(true, "%s)", s)
	}
}

func (l *infoLine) rates(i *labv1.TcpInfo) {
	if i.RttUs > 0 && i.SndMss > 0 && i.SndCwnd > 0 {
		l.word(true, "send %sbps", l.rate(float64(i.SndCwnd)*float64(i.SndMss)*8e6/float64(i.RttUs)))
	}
	l.word(i.LastDataSentMs > 0, "lastsnd:%d", i.LastDataSentMs)
	l.word(i.LastDataRecvMs > 0, "lastrcv:%d", i.LastDataRecvMs)
	l.word(i.LastAckRecvMs > 0, "lastack:%d", i.LastAckRecvMs)
	if i.PacingRate > 0 {
		s := fmt.Sprintf("pacing_rate %sbps", l.rate(float64(i.PacingRate)*8))
		if i.MaxPacingRate > 0 && i.MaxPacingRate != noMaxPacingRate {
			s += fmt.Sprintf("/%sbps", l.rate(float64(i.MaxPacingRate)*8))
		}
		l.word(true, "%s", s)
	}
	l.word(i.DeliveryRate > 0, "delivery_rate %sbps", l.rate(float64(i.DeliveryRate)*8))
	l.word(i.Delivered > 0, "delivered:%d", i.Delivered)
	l.word(i.DeliveredCe > 0, "delivered_ce:%d", i.DeliveredCe)
	l.word(i.DeliveryRateAppLimited, "app_limited")
}

// limits is for how long the connection was busy, and what held it back then.
func (l *infoLine) limits(i *labv1.TcpInfo) {
	if i.BusyTimeUs == 0 {
		return
	}
	share := func(us uint64) float64 { return 100 * float64(us) / float64(i.BusyTimeUs) }
	l.word(true, "busy:%dms", i.BusyTimeUs/1000)
	l.word(i.RwndLimitedUs > 0, "rwnd_limited:%dms(%.1f%%)", i.RwndLimitedUs/1000, share(i.RwndLimitedUs))
	l.word(i.SndbufLimitedUs > 0, "sndbuf_limited:%dms(%.1f%%)", i.SndbufLimitedUs/1000, share(i.SndbufLimitedUs))
}

func (l *infoLine) repair(i *labv1.TcpInfo) {
	l.word(i.Unacked > 0, "unacked:%d", i.Unacked)
	l.word(i.Retrans > 0 || i.TotalRetrans > 0, "retrans:%d/%d", i.Retrans, i.TotalRetrans)
	l.word(i.Lost > 0, "lost:%d", i.Lost)
	l.word(i.Sacked > 0, "sacked:%d", i.Sacked)
	l.word(i.DsackDups > 0, "dsack_dups:%d", i.DsackDups)
	l.word(i.Reordering != reorderingUsual, "reordering:%d", i.Reordering)
	l.word(i.ReordSeen > 0, "reord_seen:%d", i.ReordSeen)
}

func (l *infoLine) receiver(i *labv1.TcpInfo) {
	l.word(i.RcvRttUs > 0, "rcv_rtt:%s", ms(i.RcvRttUs))
	l.word(i.RcvSpace > 0, "rcv_space:%d", i.RcvSpace)
	l.word(i.RcvSsthresh > 0, "rcv_ssthresh:%d", i.RcvSsthresh)
	l.word(i.NotsentBytes > 0, "notsent:%d", i.NotsentBytes)
	l.word(i.MinRttUs > 0, "minrtt:%s", ms(i.MinRttUs))
	l.word(i.RcvOoopack > 0, "rcv_ooopack:%d", i.RcvOoopack)
	l.word(i.SndWnd > 0, "snd_wnd:%d", i.SndWnd)
	l.word(i.RcvWnd > 0, "rcv_wnd:%d", i.RcvWnd)
}

// ms prints microseconds as ss prints milliseconds, in six digits: "204", "3.125", "1234.57".
func ms(us uint64) string { return fmt.Sprintf("%.6g", float64(us)/1000) }

// rate prints bits a second as ss does: exactly with -n ("14300000"), else in three digits ("14.3M").
func (l *infoLine) rate(bps float64) string {
	if l.numeric {
		return fmt.Sprintf("%.0f", bps)
	}
	for _, u := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if bps >= u.size {
			return fmt.Sprintf("%.3g", bps/u.size) + u.name
		}
	}
	return fmt.Sprintf("%.6g", bps)
}
