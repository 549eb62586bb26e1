package tcpstack

import "labd.dev/sim"

// The tcp:* trace records. Each is one sim.Record, some continued by one sim.KindMore record; what the words hold stands
// beside the kind. In all of them Reason's top bit says that the recording end is the responder (sideBit), and Cause is
// the event of the same node that led to this one: the segment received or the timer fired.
const (
	// KindTCPConnectionStarted: Flags as the started* bits, Reason the congestion control's id, W = iss, irs,
	// local port<<16|remote port, mss<<16|wscale_snd<<8|wscale_rcv. More: local address (4 words), remote address (4).
	KindTCPConnectionStarted = sim.KindTCP + iota
	// KindTCPStateUpdated: Reason is a StateTrigger, Flags the old State, Aux the new one.
	KindTCPStateUpdated
	// KindTCPSegmentSent: Reason is a SendReason, Flags the TCP flags, Aux the State it was sent in, W = seq, ack,
	// len<<16|win, TSval, TSecr, and off's bits 39..32 <<24 | ack_off's bits 39..32 <<16 | tx_count<<8 | window shift<<4 |
	// ECN codepoint<<2 | seg* bits. With segMore: one More record, as optionWords.
	KindTCPSegmentSent
	// KindTCPSegmentReceived: Reason is a Verdict, the rest as KindTCPSegmentSent; Aux is the State it was met in.
	KindTCPSegmentReceived
	// KindTCPSegmentDropped: Reason is a DropReason, Flags the TCP flags, W = seq, ack, len.
	KindTCPSegmentDropped
	// KindTCPAckProcessed: W = una offset (2 words, high first), bytes acked, bytes newly sacked, rtt_us (^0: none),
	// snd_wnd; Aux is the duplicate ACKs in a row, saturating.
	KindTCPAckProcessed
	// KindTCPSegmentLost: Reason is a LossTrigger, W = offset (2 words), len.
	KindTCPSegmentLost
	// KindTCPRecoveryEntered: Reason is a RecoveryKind, Aux a RecoveryTrigger, W = cwnd before, cwnd after, ssthresh.
	KindTCPRecoveryEntered
	// KindTCPRecoveryExited: as entered; Aux is 1 if it was found to be spurious.
	KindTCPRecoveryExited
	// KindTCPCCStateUpdated: Reason is a CCTrigger, Flags the old CCState, Aux the new one.
	KindTCPCCStateUpdated
	// KindTCPMetricsUpdated: Reason is a Limit, W = cwnd, ssthresh, inflight, srtt_us, rto_us, snd_wnd. More: rttvar_us,
	// min_rtt_us, rcv_wnd, notsent, the algorithm's own variable as a float64 (2), its congestion.ID,
	// pacing rate in bytes/s (2), delivery rate (2).
	KindTCPMetricsUpdated
	// KindTCPTimerSet: Reason is a TimerKind, W = delay in us, backoff.
	KindTCPTimerSet
	// KindTCPTimerFired: as set, without the delay.
	KindTCPTimerFired
	// KindTCPTimerCancelled: Reason is a TimerKind.
	KindTCPTimerCancelled
	// KindTCPReassemblyUpdated: W = rcv_nxt offset (2 words), bytes out of order, bytes in order and not yet read.
	KindTCPReassemblyUpdated
	// KindTCPConnectionClosed: Reason is a CloseReason, W = total_retrans, segs_out, segs_in, srtt_us, min_rtt_us, cwnd.
	// More: bytes_sent (2), bytes_acked (2), bytes_received (2), bytes_retrans (2), ssthresh, rto_us.
	KindTCPConnectionClosed
	// KindTCPConnAlias: in a simultaneous open the end that learns the peer's name for the connection: Pkt is that name.
	KindTCPConnAlias
	// KindTCPRecoveryUndone: Reason is an UndoReason, W = cwnd before, cwnd after, ssthresh.
	KindTCPRecoveryUndone
	// KindTCPUrgentUpdated: Reason is an UrgentChange, W = the urgent byte's offset (2 words).
	KindTCPUrgentUpdated
	// KindTCPPathMTUUpdated: Reason is an MTUChange, W = MTU, MSS.
	KindTCPPathMTUUpdated

	// KindIP is the first kind of the ip:* records (see the IP side); those below it are TCP's.
	KindIP = sim.KindTCP + 48
)

// sideBit in Reason: the recording end is the responder.
const sideBit = 0x80

// Bits of KindTCPConnectionStarted's Flags.
const (
	startedInitiator = 1 << iota
	startedSACK
	startedTS
	startedECN
)

// Low bits of the last word of a segment's record.
const (
	segTS       = 1 << iota // a timestamps option
	segMore                 // a More record follows
	segECNShift = iota      // the IP header's ECN codepoint
)

// SendReason says why a segment was sent.
type SendReason uint8

const (
	SendSYN SendReason = iota
	SendData
	SendACK
	SendDelACK
	SendDupACK
	SendWndUpdate
	SendZWP
	SendFastRtx
	SendRTORtx
	SendFIN
	SendRST
	SendTLP
	SendKeepAlive
	SendChallenge
	SendMTUProbe
)

var sendReasonNames = [...]string{"syn", "data", "ack", "delack", "dupack", "wnd_update", "zwp", "fast_rtx", "rto_rtx",
	"fin", "rst", "tlp", "keepalive", "challenge", "mtu_probe"}

func (r SendReason) String() string { return nameOf(sendReasonNames[:], uint8(r)) }

// Verdict says what a received segment was to its connection.
type Verdict uint8

const (
	InOrder Verdict = iota
	OutOfOrder
	Duplicate // holds only bytes that had come before
	Old       // an ACK below SND.UNA
	OutOfWindow
)

var verdictNames = [...]string{"in_order", "ooo", "dup", "old", "out_of_window"}

func (v Verdict) String() string { return nameOf(verdictNames[:], uint8(v)) }

// DropReason says why a segment was thrown away.
type DropReason uint8

const (
	DropChecksum DropReason = iota
	DropPAWS
	DropNoSocket
	DropOutOfWindow
	DropBacklog
	DropMalformed // a header that contradicts itself
	DropMemory    // the reassembly queue holds as many pieces as it may
	DropAcceptQueue
	DropSYNWithFIN
	DropSYNWithRST
	DropMD5 // a signature that is missing, wrong, or that nobody has a key for
)

var dropReasonNames = [...]string{"checksum", "paws", "no_socket", "out_of_window", "backlog", "malformed", "memory",
	"accept_queue", "syn_fin", "syn_rst", "md5"}

func (r DropReason) String() string { return nameOf(dropReasonNames[:], uint8(r)) }

// StateTrigger says what moved the state machine.
type StateTrigger uint8

const (
	AppOpen StateTrigger = iota
	AppClose
	RxSYN
	RxSYNACK
	RxACK
	RxFIN
	RxRST
	TriggerTimer
	AppAbort
	RxICMP
)

var stateTriggerNames = [...]string{"app_open", "app_close", "rx_syn", "rx_synack", "rx_ack", "rx_fin", "rx_rst", "timer",
	"app_abort", "rx_icmp"}

func (t StateTrigger) String() string { return nameOf(stateTriggerNames[:], uint8(t)) }

// LossTrigger says what made the sender take a segment for lost.
type LossTrigger uint8

const (
	LossDupACK LossTrigger = iota
	LossSACK
	LossRTO
	LossSYNData // the SYN,ACK acknowledged the SYN only
	LossRACK
	LossMTU // it was too large for the path
)

var lossTriggerNames = [...]string{"dupack", "sack", "rto", "syn_data", "rack", "mtu"}

func (t LossTrigger) String() string { return nameOf(lossTriggerNames[:], uint8(t)) }

// RecoveryKind is a kind of loss recovery.
type RecoveryKind uint8

const (
	RecoveryFast RecoveryKind = iota
	RecoveryRTO
	RecoverySYNData // of data that had gone with the SYN: nothing was congested
	RecoveryECN
	RecoveryTLP
)

var recoveryKindNames = [...]string{"fast", "rto", "syn_data", "ecn", "tlp"}

func (k RecoveryKind) String() string { return nameOf(recoveryKindNames[:], uint8(k)) }

// RecoveryTrigger says on what a loss recovery began.
type RecoveryTrigger uint8

const (
	ByDupACK RecoveryTrigger = iota
	BySACK
	ByRACK
	ByReorderTimer
	ByRTO
	ByECN
	ByTLP
	BySYNACK
	ByMTU
)

var recoveryTriggerNames = [...]string{"dupack", "sack", "rack", "reorder_timer", "rto", "ecn", "tlp", "synack", "mtu"}

func (t RecoveryTrigger) String() string { return nameOf(recoveryTriggerNames[:], uint8(t)) }

// UndoReason says what has shown a reduction of the window to be needless.
type UndoReason uint8

const (
	UndoEifel UndoReason = iota
	UndoDSACK
	UndoFRTO
)

var undoReasonNames = [...]string{"eifel", "dsack", "frto"}

func (r UndoReason) String() string { return nameOf(undoReasonNames[:], uint8(r)) }

// UrgentChange says what became of urgent data.
type UrgentChange uint8

const (
	UrgentWritten UrgentChange = iota
	UrgentAnnounced
	UrgentArrived
)

var urgentChangeNames = [...]string{"written", "announced", "arrived"}

func (u UrgentChange) String() string { return nameOf(urgentChangeNames[:], uint8(u)) }

// MTUChange says what was learned of the path MTU.
type MTUChange uint8

const (
	MTUReduced MTUChange = iota
	MTUProbeSent
	MTUProbeAcked
	MTUProbeLost
	MTUBlackHole
)

var mtuChangeNames = [...]string{"reduced", "probe_sent", "probe_acked", "probe_lost", "black_hole"}

func (u MTUChange) String() string { return nameOf(mtuChangeNames[:], uint8(u)) }

// CCState is what governs the congestion window.
type CCState uint8

const (
	SlowStart CCState = iota
	CongestionAvoidance
	FastRecovery
	RTORecovery
	AppLimited
	WindowReduction
)

var ccStateNames = [...]string{"slow_start", "congestion_avoidance", "fast_recovery", "rto_recovery", "app_limited", "window_reduction"}

func (s CCState) String() string { return nameOf(ccStateNames[:], uint8(s)) }

// CCTrigger says what changed a CCState.
type CCTrigger uint8

const (
	CCSSThreshReached CCTrigger = iota
	CCDupACK
	CCRTO
	CCRecovered
	CCAppLimited
	CCWindowLimited
	CCECN
)

var ccTriggerNames = [...]string{"ssthresh_reached", "dupack", "rto", "recovered", "app_limited", "cwnd_limited", "ecn"}

func (t CCTrigger) String() string { return nameOf(ccTriggerNames[:], uint8(t)) }

// Limit says what holds a sender back.
type Limit uint8

const (
	LimitedCwnd Limit = iota
	LimitedRwnd
	LimitedApp
	LimitedSndbuf
	LimitedPacing
)

var limitNames = [...]string{"cwnd", "rwnd", "app", "sndbuf", "pacing"}

func (l Limit) String() string { return nameOf(limitNames[:], uint8(l)) }

// TimerKind is one of a connection's timers.
type TimerKind uint8

const (
	TimerRTO TimerKind = iota
	TimerDelACK
	TimerPersist
	TimerTimeWait
	TimerTLP
	TimerReorder
	TimerKeepAlive
)

var timerNames = [...]string{"rto", "delack", "persist", "time_wait", "tlp", "reorder", "keepalive"}

func (t TimerKind) String() string { return nameOf(timerNames[:], uint8(t)) }

// CloseReason says how a connection ended.
type CloseReason uint8

const (
	ClosedOrderly CloseReason = iota
	ClosedReset
	ClosedTimeout
	ClosedRefused
	ClosedUnreachable
	ClosedAborted // by the local application
)

var closeReasonNames = [...]string{"closed", "reset", "timeout", "refused", "unreachable", "aborted"}

func (r CloseReason) String() string { return nameOf(closeReasonNames[:], uint8(r)) }

// ECN is the ECN codepoint of a packet (RFC 3168 5).
type ECN uint8

const (
	NotECT ECN = iota
	ECT1
	ECT0
	CE
)

var ecnNames = [...]string{"not_ect", "ect1", "ect0", "ce"}

func (e ECN) String() string { return nameOf(ecnNames[:], uint8(e)) }

func nameOf(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return "unknown"
}
