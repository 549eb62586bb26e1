package trace

// The kinds of TCP event that tell of a sender's variables. Congestion windows count segments, as Linux has them.
var tcpSenderKinds = []EventKind{
	{"tcp:ack_processed", "An ACK with news was taken in: it acknowledged or sacked something, moved the window or was a duplicate.", []FieldKind{
		{"una", "integer", "bytes", "offset of the first byte not acknowledged", "", nil},
		{"acked", "integer", "bytes", "newly acknowledged", "", nil},
		{"sacked", "integer", "bytes", "newly acknowledged by SACK, in whole segments", "", nil},
		{"dupacks", "integer", "ACKs", "duplicate ACKs in a row, this one included; saturates at 255", "", nil},
		{"rtt_us", "integer", "us", "round-trip time measured by it", "it gave a sample", nil},
		{"snd_wnd", "integer", "bytes", "the peer's window", "", nil},
	}},
	{"tcp:segment_lost", "The sender takes a segment for lost.", []FieldKind{
		{"off", "integer", "bytes", "offset of its first byte", "", nil},
		{"len", "integer", "bytes", "its data", "", nil},
		{"trigger", "string", "", "what says so", "", []ValueKind{
			{"dupack", "duplicate ACKs (RFC 5681 3.2), or a partial ACK (RFC 6582)"},
			{"sack", "enough was selectively acknowledged beyond it (RFC 6675)"},
			{"rto", "the retransmission timer (RFC 6298)"},
			{"syn_data", "the SYN,ACK acknowledged the SYN, but not the data that had gone with it (RFC 7413)"},
			{"rack", "what was sent sufficiently later has arrived (RFC 8985)"},
			{"mtu", "it was too large for the path, as a router has told (RFC 1191)"},
		}},
	}},
	{"tcp:recovery_entered", "Loss recovery, or another reduction of the window, began.", append(recoveryFields[:len(recoveryFields):len(recoveryFields)],
		FieldKind{"trigger", "string", "", "what it began on", "", []ValueKind{
			{"dupack", "duplicate ACKs (RFC 5681 3.2)"},
			{"sack", "SACKed segments, by their number (RFC 6675)"},
			{"rack", "an ACK of what was sent later (RFC 8985)"},
			{"reorder_timer", "the reordering window has passed (RFC 8985)"},
			{"rto", "the retransmission timer (RFC 6298)"},
			{"ecn", "the peer echoes congestion (RFC 3168)"},
			{"tlp", "an ACK of a loss probe that has repaired a loss (RFC 8985 7.4)"},
			{"mtu", "segments were too large for the path"},
			{"synack", "a SYN,ACK that does not acknowledge the data sent with the SYN"},
		}})},
	{"tcp:recovery_exited", "It is over.", append(recoveryFields[:len(recoveryFields):len(recoveryFields)],
		FieldKind{"spurious", "bool", "", "it was undone: nothing had been lost", "", nil})},
	{"tcp:recovery_undone", "A reduction of the window proves needless, and is taken back.", append([]FieldKind{
		{"reason", "string", "", "what has shown it", "", []ValueKind{
			{"eifel", "timestamps: the original was acknowledged, not the retransmission (RFC 3522)"},
			{"dsack", "each retransmission was reported as a duplicate (RFC 2883)"},
			{"frto", "data that was never sent again arrived after the timeout (RFC 5682)"},
		}}}, recoveryFields[1:]...)},
	{"tcp:cc_state_updated", "What governs the congestion window changed.", []FieldKind{
		{"old", "string", "", "before", "", ccStateValues},
		{"new", "string", "", "after", "", ccStateValues},
		{"trigger", "string", "", "what changed it", "", []ValueKind{
			{"ssthresh_reached", "the window grew to ssthresh"},
			{"dupack", "fast recovery began"},
			{"rto", "the retransmission timer ran out"},
			{"recovered", "all that was out when the loss was met is acknowledged"},
			{"app_limited", "the application gives less than the window holds"},
			{"cwnd_limited", "the application gives more than the window holds again"},
			{"ecn", "the peer echoes congestion"},
		}},
	}},
	{"tcp:metrics_updated", "Figures of the sender, after an ACK that changed some.", []FieldKind{
		{"cwnd", "integer", "segments", "congestion window", "", nil},
		{"ssthresh", "integer", "segments", "slow-start threshold; 2147483647: not set", "", nil},
		{"inflight", "integer", "segments", "out and not taken for lost", "", nil},
		{"srtt_us", "integer", "us", "smoothed round-trip time (RFC 6298)", "", nil},
		{"rttvar_us", "integer", "us", "its variation", "", nil},
		{"min_rtt_us", "integer", "us", "the least measured", "", nil},
		{"rto_us", "integer", "us", "retransmission timeout, without backoff", "", nil},
		{"snd_wnd", "integer", "bytes", "the peer's window", "", nil},
		{"rcv_wnd", "integer", "bytes", "own window", "", nil},
		{"notsent", "integer", "bytes", "written by the application and never sent", "", nil},
		{"limited", "string", "", "what holds the sender back", "", []ValueKind{
			{"cwnd", "the congestion window"},
			{"rwnd", "the peer's window, or Nagle's algorithm"},
			{"app", "nothing: the application has no more to send"},
			{"sndbuf", "the send buffer: all in it is out, and the application waits to write"},
			{"pacing", "the pacing rate"},
		}},
		{"pacing_Bps", "integer", "bytes/s", "rate that segments are paced at, or would be; 0: not yet known", "", nil},
		{"delivery_Bps", "integer", "bytes/s", "rate of delivery, by the last good sample; 0: there was none", "", nil},
		{"cc", "object", "", "the congestion control's own figure, by its name", "the algorithm has one", nil},
	}},
	{"tcp:timer_set", "A timer that was not running was started.", append(timerFields[:1:1],
		FieldKind{"in_us", "integer", "us", "when it will fire", "", nil}, backoffField)},
	{"tcp:timer_fired", "A timer ran out.", append(timerFields[:1:1], backoffField)},
	{"tcp:timer_cancelled", "A running timer was stopped.", timerFields},
}

var recoveryFields = []FieldKind{
	{"kind", "string", "", "which", "", []ValueKind{
		{"fast", "fast recovery, after ACKs that tell of a loss"},
		{"rto", "after the retransmission timer ran out"},
		{"syn_data", "of data that had gone with the SYN: nothing was congested"},
		{"ecn", "the window is reduced because the peer echoes congestion"},
		{"tlp", "the window is reduced for a loss that a loss probe has repaired"},
	}},
	{"cwnd_before", "integer", "segments", "congestion window before", "", nil},
	{"cwnd_after", "integer", "segments", "congestion window after", "", nil},
	{"ssthresh", "integer", "segments", "slow-start threshold", "", nil},
}

var ccStateValues = []ValueKind{
	{"slow_start", "a segment more for each acknowledged"},
	{"congestion_avoidance", "about a segment more for each round trip, as the algorithm has it"},
	{"fast_recovery", "held while what ACKs call lost is sent again"},
	{"rto_recovery", "starting over after a timeout"},
	{"app_limited", "not used up, so not grown"},
	{"window_reduction", "coming down, without a loss"},
}

var timerFields = []FieldKind{
	{"timer", "string", "", "which", "", []ValueKind{
		{"rto", "retransmission"},
		{"delack", "delayed acknowledgement"},
		{"persist", "probe of a window of zero"},
		{"time_wait", "end of TIME-WAIT"},
		{"tlp", "tail loss probe"},
		{"keepalive", "the peer was idle for so long that it is probed"},
		{"reorder", "end of RACK's reordering window"},
	}},
}

var backoffField = FieldKind{"backoff", "integer", "times", "how often the timeout has been doubled", "", nil}
