package main

import (
	"context"
	"fmt"

	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

// netstat -s of a node: its counters under the names that Linux gives them in /proc/net/snmp and /proc/net/netstat, those
// that Linux has not under the stack's own. It only looks: it is no input of the lab.

// netstatNames are Linux's names of the stack's counters, by group.
var netstatNames = []struct{ group, name, counter string }{
	{"Ip", "InReceives", "ip.received"},
	{"Ip", "InDelivers", "ip.delivered"},
	{"Ip", "OutRequests", "ip.sent"},
	{"Ip", "ForwDatagrams", "ip.forwarded"},
	{"Ip", "ReasmReqds", "ip.fragments_received"},
	{"Ip", "ReasmOKs", "ip.reassembled"},
	{"Ip", "FragOKs", "ip.fragmented"},
	{"Ip", "FragCreates", "ip.fragments_created"},
	{"Ip", "InHdrErrors", "ip.dropped.checksum"},
	{"Ip", "InAddrErrors", "ip.dropped.destination"},
	{"Ip", "InUnknownProtos", "ip.dropped.protocol"},
	{"Ip", "OutNoRoutes", "ip.dropped.no_route"},
	{"Icmp", "InEchos", "icmp.echo_requests_received"},
	{"Icmp", "InEchoReps", "icmp.echo_replies_received"},
	{"Icmp", "OutEchos", "icmp.echo_requests_sent"},
	{"Icmp", "OutEchoReps", "icmp.echo_replies_sent"},
	{"Tcp", "ActiveOpens", "tcp.active_opens"},
	{"Tcp", "PassiveOpens", "tcp.passive_opens"},
	{"Tcp", "AttemptFails", "tcp.attempt_fails"},
	{"Tcp", "InSegs", "tcp.in_segs"},
	{"Tcp", "OutSegs", "tcp.out_segs"},
	{"Tcp", "RetransSegs", "tcp.retrans_segs"},
	{"Tcp", "InErrs", "tcp.in_errs"},
	{"Tcp", "OutRsts", "tcp.out_rsts"},
	{"Tcp", "InCsumErrors", "tcp.in_csum_errors"},
	{"Udp", "InDatagrams", "udp.received"},
	{"Udp", "OutDatagrams", "udp.sent"},
	{"Udp", "NoPorts", "ip.dropped.no_socket"},
	{"TcpExt", "SyncookiesSent", "tcp.syn_cookies_sent"},
	{"TcpExt", "SyncookiesRecv", "tcp.syn_cookies_recv"},
	{"TcpExt", "SyncookiesFailed", "tcp.syn_cookies_failed"},
	{"TcpExt", "EmbryonicRsts", "tcp.embryonic_rsts"},
	{"TcpExt", "OutOfWindowIcmps", "tcp.out_of_window_icmps"},
	{"TcpExt", "PAWSActive", "tcp.paws_active_rejected"},
	{"TcpExt", "PAWSEstab", "tcp.paws_drops"},
	{"TcpExt", "DelayedACKs", "tcp.delayed_acks"},
	{"TcpExt", "ListenOverflows", "tcp.listen_overflows"},
	{"TcpExt", "ListenDrops", "tcp.listen_drops"},
	{"TcpExt", "TCPSACKReneging", "tcp.sack_reneging"},
	{"TcpExt", "TCPSACKDiscard", "tcp.sack_invalid"},
	{"TcpExt", "TCPDSACKOldSent", "tcp.dsack_sent"},
	{"TcpExt", "TCPDSACKRecv", "tcp.dsack_received"},
	{"TcpExt", "TCPDSACKIgnoredOld", "tcp.dsack_ignored"},
	{"TcpExt", "TCPAbortOnTimeout", "tcp.abort_on_timeout"},
	{"TcpExt", "TCPAbortOnMemory", "tcp.abort_on_memory"},
	{"TcpExt", "OfoPruned", "tcp.ofo_pruned"},
	{"TcpExt", "TCPMD5Unexpected", "tcp.md5_unexpected"},
	{"TcpExt", "TCPDeferAcceptDrop", "tcp.defer_accept_drops"},
	{"TcpExt", "TCPReqQFullDoCookies", "tcp.req_q_full_do_cookies"},
	{"TcpExt", "TCPReqQFullDrop", "tcp.req_q_full_drop"},
	{"TcpExt", "TCPChallengeACK", "tcp.challenge_acks"},
	{"TcpExt", "TCPSYNChallenge", "tcp.syn_challenges"},
	{"TcpExt", "TCPFastOpenActive", "tcp.fast_open_active"},
	{"TcpExt", "TCPFastOpenActiveFail", "tcp.fast_open_active_fail"},
	{"TcpExt", "TCPFastOpenPassive", "tcp.fast_open_passive"},
	{"TcpExt", "TCPFastOpenPassiveFail", "tcp.fast_open_passive_fail"},
	{"TcpExt", "TCPFastOpenListenOverflow", "tcp.fast_open_listen_overflow"},
	{"TcpExt", "TCPFastOpenCookieReqd", "tcp.fast_open_cookie_reqd"},
	{"TcpExt", "TCPFastOpenBlackhole", "tcp.fast_open_blackhole"},
	{"TcpExt", "TCPFastOpenPassiveAltKey", "tcp.fast_open_passive_alt_key"},
	{"TcpExt", "TCPSynRetrans", "tcp.syn_retrans"},
	{"TcpExt", "TCPWinProbe", "tcp.win_probes"},
	{"TcpExt", "BeyondWindow", "tcp.beyond_window"},
	{"TcpExt", "TCPACKSkippedSynRecv", "tcp.ack_skipped_syn_recv"},
	{"TcpExt", "TCPACKSkippedPAWS", "tcp.ack_skipped_paws"},
	{"TcpExt", "TCPACKSkippedSeq", "tcp.ack_skipped_seq"},
	{"TcpExt", "TCPACKSkippedChallenge", "tcp.ack_skipped_challenge"},
}

// netstat prints a node's counters.
func (a *app) netstat(ctx context.Context, node string, words []string) error {
	if len(words) != 1 || words[0] != "-s" {
		return &usageError{"netstat is netstat -s here; labctl ss lists connections"}
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := c.Nodes.GetNode(ctx, &labv1.GetNodeRequest{Lab: a.labName(), Node: node})
	if err != nil {
		return err
	}
	if !a.format.ForPeople() {
		l := &output.List{Columns: []string{"counter", "value"}}
		for _, n := range r.GetNode().GetCounters() {
			l.Add(n, n.Name, fmt.Sprint(n.Value))
		}
		return a.format.Write(a.out, l)
	}
	a.printCounters(r.GetNode().GetCounters())
	return nil
}

// printCounters groups the counters as netstat -s does; those that are zero and that Linux does not name are left out.
func (a *app) printCounters(counters []*labv1.Counter) {
	value := map[string]uint64{}
	for _, n := range counters {
		value[n.Name] = n.Value
	}
	named := map[string]bool{}
	group := ""
	for _, n := range netstatNames {
		v, ok := value[n.counter]
		if !ok {
			continue
		}
		if named[n.counter] = true; n.group != group {
			group = n.group
			fmt.Fprintf(a.out, "%s:\n", group)
		}
		fmt.Fprintf(a.out, "    %s: %d\n", n.name, v)
	}
	fmt.Fprintln(a.out, "Labd:")
	for _, n := range counters {
		if !named[n.Name] && n.Value != 0 {
			fmt.Fprintf(a.out, "    %s: %d\n", n.Name, n.Value)
		}
	}
}
