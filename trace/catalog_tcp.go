package trace

// The kinds of TCP event that tell of segments and states. "Offsets" are places in the stream of one direction: 0 is the
// first byte of data, whatever the initial sequence number.
var tcpKinds = []EventKind{
	{"tcp:connection_started", "The handshake is complete at this end.", []FieldKind{
		{"local", "string", "", "own address and port", "", nil},
		{"remote", "string", "", "the peer's address and port", "", nil},
		{"role", "string", "", "which end it is", "", []ValueKind{{"initiator", "it opened the connection"}, {"responder", "it accepted it"}}},
		{"iss", "integer", "", "initial send sequence number", "", nil},
		{"irs", "integer", "", "initial receive sequence number", "", nil},
		{"cc", "string", "", "congestion control", "", []ValueKind{{"cubic", "CUBIC, RFC 9438"}, {"reno", "Reno, RFC 5681"},
			{"bbr", "BBR version 1"}, {"bbr3", "BBR version 3, draft-ietf-ccwg-bbr"}, {"dctcp", "DCTCP, RFC 8257"}}},
		{"mss", "integer", "bytes", "data of a full segment sent", "", nil},
		{"wscale_snd", "integer", "bits", "shift of the windows received", "", nil},
		{"wscale_rcv", "integer", "bits", "shift of the windows sent", "", nil},
		{"sack", "bool", "", "selective acknowledgements are in use (RFC 2018)", "", nil},
		{"ts", "bool", "", "timestamps are in use (RFC 7323)", "", nil},
		{"ecn", "bool", "", "explicit congestion notification is in use (RFC 3168)", "", nil},
	}},
	{"tcp:state_updated", "The state machine moved. An event without a connection is a listener's.", []FieldKind{
		{"old", "string", "", "the state before", "", stateValues},
		{"new", "string", "", "the state after", "", stateValues},
		{"trigger", "string", "", "what moved it", "", []ValueKind{
			{"app_open", "the application opened it, or listens"},
			{"app_close", "the application closed it"},
			{"rx_syn", "a SYN came"},
			{"rx_synack", "a SYN+ACK came"},
			{"rx_ack", "an ACK came"},
			{"rx_fin", "a FIN came"},
			{"rx_rst", "a RST came"},
			{"timer", "a timer ran out: TIME-WAIT is over, or the peer did not answer"},
			{"app_abort", "the application aborted it"},
			{"rx_icmp", "an ICMP error came"},
		}},
	}},
	{"tcp:segment_sent", "A segment left.", append(segmentKind("sent in"),
		FieldKind{"tx_count", "integer", "times", "how often its first byte has been sent, this time included; saturates at 255", "", nil},
		FieldKind{"reason", "string", "", "why it was sent", "", []ValueKind{
			{"syn", "to open the connection: SYN or SYN+ACK"},
			{"data", "new data that the window lets go"},
			{"ack", "to acknowledge at once"},
			{"delack", "an acknowledgement that the delayed-ACK timer let go"},
			{"dupack", "to acknowledge at once what came out of order or before"},
			{"wnd_update", "to tell that the window has opened"},
			{"zwp", "to probe a window of zero"},
			{"fast_rtx", "sent again because ACKs say that it was lost"},
			{"rto_rtx", "sent again because no ACK came in time"},
			{"fin", "to say that no more data comes"},
			{"rst", "to reset, or to refuse"},
			{"tlp", "to probe for the loss of a flight's tail"},
			{"keepalive", "to hear whether an idle peer is there (RFC 9293 3.8.4)"},
			{"challenge", "to have a peer confirm a reset, a SYN or an ACK that may be forged (RFC 5961)"},
			{"mtu_probe", "to ask whether the path takes a larger segment (RFC 4821)"},
		}})},
	{"tcp:segment_received", "A segment came.", append(segmentKind("met in"),
		FieldKind{"verdict", "string", "", "what it was to the connection", "", []ValueKind{
			{"in_order", "what was waited for"},
			{"ooo", "data beyond a gap"},
			{"dup", "only what had come before"},
			{"old", "an ACK of less than has been acknowledged"},
			{"out_of_window", "beyond the window"},
		}})},
	{"tcp:segment_dropped", "A segment was thrown away.", []FieldKind{
		pktField,
		{"seq", "integer", "", "its sequence number", "", nil},
		{"ack", "integer", "", "its acknowledgement number", "", nil},
		{"len", "integer", "bytes", "its data", "", nil},
		{"flags", "string", "", "its flags, a letter each: `SA` is SYN+ACK", "", nil},
		{"reason", "string", "", "why", "", []ValueKind{
			{"checksum", "a wrong checksum"},
			{"paws", "an old timestamp (RFC 7323 5)"},
			{"no_socket", "nobody listens, or the connection is gone"},
			{"out_of_window", "outside the receive window"},
			{"backlog", "the listener's backlog is full"},
			{"malformed", "a header that contradicts itself"},
			{"memory", "the reassembly queue holds as many pieces as it may"},
			{"accept_queue", "the listener's queue of connections to be accepted is full"},
			{"syn_fin", "a SYN that closes at once"},
			{"syn_rst", "a SYN with a reset"},
			{"md5", "a signature that is missing, wrong, or that nobody has a key for (RFC 2385)"},
		}},
	}},
	{"tcp:reassembly_updated", "The receive queue changed.", []FieldKind{
		{"rcv_nxt_off", "integer", "bytes", "offset of the next byte waited for", "", nil},
		{"ooo", "integer", "bytes", "held beyond gaps", "", nil},
		{"buffered", "integer", "bytes", "in order, and not yet read by the application", "", nil},
	}},
	{"tcp:urgent_updated", "Urgent data (RFC 9293 3.8.5).", []FieldKind{
		{"change", "string", "", "what became of it", "", []ValueKind{
			{"written", "the application has written an urgent byte"},
			{"announced", "the peer's urgent pointer has advanced"},
			{"arrived", "the urgent byte has come"},
		}},
		{"off", "integer", "bytes", "offset of the urgent byte in the stream", "", nil},
	}},
	{"tcp:path_mtu_updated", "The path MTU (RFC 1191, 8201, 4821).", []FieldKind{
		{"change", "string", "", "what was learned of it", "", []ValueKind{
			{"reduced", "an ICMP message tells of a smaller one"},
			{"probe_sent", "a larger segment asks for it"},
			{"probe_acked", "the larger segment has arrived"},
			{"probe_lost", "the larger segment alone was lost"},
			{"black_hole", "timeouts in a row: large segments may be swallowed"},
		}},
		{"mtu", "integer", "bytes", "packet length in question", "", nil},
		{"mss", "integer", "bytes", "data of a full segment from now on", "", nil},
	}},
	{"tcp:conn_alias", "In a simultaneous open, the end that learns the peer's name for the connection.", []FieldKind{
		{"alias", "string", "", "that name", "", nil},
	}},
	{"tcp:connection_closed", "The connection is gone at this end.", []FieldKind{
		{"reason", "string", "", "how it ended", "", []ValueKind{
			{"closed", "in order: both sides sent FIN"},
			{"reset", "a RST came, or one was sent because data was left unread"},
			{"timeout", "the peer did not answer any more"},
			{"refused", "nobody listens there"},
			{"unreachable", "an ICMP error said that it cannot be reached"},
			{"aborted", "the local application aborted it"},
		}},
		{"info", "object", "", "the last of `labctl ss -i`: `total_retrans`, `segs_out`, `segs_in` (segments), `srtt_us`, `min_rtt_us`, " +
			"`rto_us`, `snd_cwnd`, `snd_ssthresh` (segments), `bytes_sent`, `bytes_acked`, `bytes_received`, `bytes_retrans` (of data: without the SYN and the FIN that `ss` counts)", "", nil},
	}},
}

// segmentKind is what segments sent and received have in common.
func segmentKind(state string) []FieldKind {
	return []FieldKind{
		pktField,
		{"seq", "integer", "", "sequence number, as on the wire", "", nil},
		{"ack", "integer", "", "acknowledgement number, as on the wire", "", nil},
		{"off", "integer", "bytes", "offset of its first byte; negative: of an earlier incarnation", "the handshake is complete and it is no SYN", nil},
		{"ack_off", "integer", "bytes", "offset of the byte that its sender waits for", "as `off`, and ACK is set", nil},
		{"len", "integer", "bytes", "data", "", nil},
		{"flags", "string", "", "the flags that are set, a letter each: S F R P A U E C", "", nil},
		{"win", "integer", "", "window, as on the wire", "", nil},
		{"win_scaled", "integer", "bytes", "the window that it announces: `win`, shifted as was agreed on", "", nil},
		{"opts", "object", "", "options: `mss` (bytes), `wscale` (bits), `sack_permitted`, `sack` (blocks `first-next`), `fast_open` (the cookie in hex; empty: one is asked for; `exp:` before it: by the experimental option), `ts_val`, `ts_ecr`", "", nil},
		{"ecn", "string", "", "ECN codepoint of its IP header (RFC 3168 5)", "", []ValueKind{
			{"not_ect", "00: its transport knows no ECN"},
			{"ect1", "01: it may be marked"},
			{"ect0", "10: it may be marked"},
			{"ce", "11: it met congestion"},
		}},
		{"state", "string", "", "the state it was " + state, "", stateValues},
	}
}

var stateValues = []ValueKind{
	{"CLOSED", "no connection"},
	{"LISTEN", "waiting for any SYN"},
	{"SYN_SENT", "a SYN is out"},
	{"SYN_RCVD", "SYNs have gone both ways; an ACK is waited for"},
	{"ESTABLISHED", "data flows"},
	{"FIN_WAIT_1", "closed here; the FIN is out"},
	{"FIN_WAIT_2", "closed here, and acknowledged; the peer may still send"},
	{"CLOSE_WAIT", "closed there; this side may still send"},
	{"CLOSING", "closed at both sides at once; an ACK is waited for"},
	{"LAST_ACK", "closed there, then here; an ACK is waited for"},
	{"TIME_WAIT", "closed; staying until old segments are gone"},
}
