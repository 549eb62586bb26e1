package main

import (
	"testing"

	labv1 "labd.dev/proto/lab/v1"
)

// Every word that ss -tin has, in the order and the form of iproute2's tcp_stats_print.
func TestSocketInfo(t *testing.T) {
	i := &labv1.TcpInfo{
		CaName: "cubic", CaState: "recovery", TsOk: true, SackOk: true, Ecn: true, EcnSeen: true, SynData: true, WscaleOk: true,
		SndWscale: 7, RcvWscale: 7, RtoUs: 204_000, Backoff: 1, RttUs: 3_125, RttvarUs: 500, AtoUs: 40_000, SndMss: 1448, Pmtu: 1500,
		RcvMss: 536, Advmss: 1448, SndCwnd: 10, SndSsthresh: 7, BytesSent: 30_000, BytesRetrans: 1448, BytesAcked: 28_553,
		BytesReceived: 101, SegsOut: 22, SegsIn: 12, DataSegsOut: 21, DataSegsIn: 1, LastDataSentMs: 4, LastDataRecvMs: 30, LastAckRecvMs: 2,
		PacingRate: 9_267_200, MaxPacingRate: 12_500_000, DeliveryRate: 1_250_000, Delivered: 20, DeliveredCe: 2,
		DeliveryRateAppLimited: true, BusyTimeUs: 30_000, RwndLimitedUs: 6_000, SndbufLimitedUs: 9_999, Unacked: 3, Retrans: 1,
		TotalRetrans: 2, Lost: 1, Sacked: 2, DsackDups: 1, Reordering: 5, ReordSeen: 1, RcvRttUs: 20_123, RcvSpace: 14_480,
		RcvSsthresh: 64_088, NotsentBytes: 2_000, MinRttUs: 3_001, RcvOoopack: 4, SndWnd: 65_536, RcvWnd: 64_256,
	}
	const head = "ts sack ecn ecnseen fastopen cubic wscale:7,7 rto:204 backoff:1 rtt:3.125/0.5 ato:40 mss:1448 pmtu:1500 rcvmss:536 " +
		"advmss:1448 cwnd:10 ssthresh:7 bytes_sent:30000 bytes_retrans:1448 bytes_acked:28553 bytes_received:101 segs_out:22 " +
		"segs_in:12 data_segs_out:21 data_segs_in:1 "
	const tail = " delivered:20 delivered_ce:2 app_limited busy:30ms rwnd_limited:6ms(20.0%) sndbuf_limited:9ms(33.3%) unacked:3 " +
		"retrans:1/2 lost:1 sacked:2 dsack_dups:1 reordering:5 reord_seen:1 rcv_rtt:20.123 rcv_space:14480 rcv_ssthresh:64088 " +
		"notsent:2000 minrtt:3.001 rcv_ooopack:4 snd_wnd:65536 rcv_wnd:64256"
	for _, c := range []struct {
		numeric bool
		rates   string
	}{
		{false, "send 37.1Mbps lastsnd:4 lastrcv:30 lastack:2 pacing_rate 74.1Mbps/100Mbps delivery_rate 10Mbps"},
		{true, "send 37068800bps lastsnd:4 lastrcv:30 lastack:2 pacing_rate 74137600bps/100000000bps delivery_rate 10000000bps"},
	} {
		if got, want := socketInfo(i, c.numeric), head+c.rates+tail; got != want {
			t.Errorf("numeric %v:\n%s\nwanted\n%s", c.numeric, got, want)
		}
	}
}

// What says nothing is left out; each algorithm's own figures stand before the rates.
func TestSocketInfoCongestion(t *testing.T) {
	for _, c := range []struct {
		info *labv1.TcpInfo
		want string
	}{
		{&labv1.TcpInfo{CaName: "reno", Reordering: 3, SndSsthresh: 1<<31 - 1, RtoUs: 3_000_000, MaxPacingRate: 1<<64 - 1}, "reno"},
		{&labv1.TcpInfo{CaName: "bbr", Reordering: 3, RttUs: 1_234_567, RtoUs: 1_500_000, Congestion: []*labv1.CongestionFigure{
			{Name: "bbr_bw_lo", Value: 1_250_000}, {Name: "bbr_bw", Value: 1_250_000}, {Name: "bbr_min_rtt", Value: 20_003},
			{Name: "bbr_pacing_gain", Value: 739}, {Name: "bbr_cwnd_gain", Value: 512}}},
			"bbr rto:1500 rtt:1234.57/0 bbr:(bw:10Mbps,mrtt:20.003,pacing_gain:2.88672,cwnd_gain:2)"},
		{&labv1.TcpInfo{CaName: "dctcp", Reordering: 3, Congestion: []*labv1.CongestionFigure{
			{Name: "dctcp_enabled", Value: 1}, {Name: "dctcp_alpha", Value: 70}}}, "dctcp dctcp:(ce_state:0,alpha:70,ab_ecn:0,ab_tot:0)"},
	} {
		if got := socketInfo(c.info, false); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
