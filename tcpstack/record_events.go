package tcpstack

import (
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// The tcp:* events, decoded. Windows of congestion control count segments; offsets count bytes of the stream from its
// first byte of data.

// ConnectionStarted: the handshake is complete at this end.
type ConnectionStarted struct {
	Head
	Local, Remote        netip.AddrPort
	Initiator            bool
	ISS, IRS             uint32
	CC                   string
	MSS                  uint16 // data bytes of a full segment
	WscaleSnd, WscaleRcv uint8
	SACK, TS, ECN        bool
}

// StateUpdated: the state machine moved.
type StateUpdated struct {
	Head
	Old, New State
	Trigger  StateTrigger
}

// Segment is a segment as one end sent or received it.
type Segment struct {
	Head
	Pkt         sim.PacketID
	State       State // of the end as it sent or met the segment
	Seq, Ack    uint32
	Off, AckOff uint64 // stream offsets of Seq and Ack
	Len         uint32 // data bytes
	Flags       wire.TCPFlags
	Win         uint16 // as on the wire
	WinScaled   uint32
	Opts        wire.TCPOptions
	ECN         ECN
}

// SegmentSent: a segment left.
type SegmentSent struct {
	Segment
	TxCount uint8
	Reason  SendReason
}

// SegmentReceived: a segment came.
type SegmentReceived struct {
	Segment
	Verdict Verdict
}

// SegmentDropped: a segment was thrown away.
type SegmentDropped struct {
	Head
	Pkt      sim.PacketID
	Seq, Ack uint32
	Flags    wire.TCPFlags
	Len      uint32
	Reason   DropReason
}

// AckProcessed: an ACK was taken in.
type AckProcessed struct {
	Head
	Una     uint64 // offset of SND.UNA
	Acked   uint32 // bytes
	Sacked  uint32 // bytes, in whole segments
	DupAcks uint8
	RTTUs   int64 // -1: no sample
	SndWnd  uint32
}

// SegmentLost: a segment is taken for lost.
type SegmentLost struct {
	Head
	Off     uint64
	Len     uint32
	Trigger LossTrigger
}

// Recovery is what the events of a recovery's begin and end tell.
type Recovery struct {
	Kind                            RecoveryKind
	CwndBefore, CwndAfter, SSThresh uint32
}

// RecoveryEntered: loss recovery began.
type RecoveryEntered struct {
	Head
	Recovery
	Trigger RecoveryTrigger
}

// RecoveryExited: loss recovery ended.
type RecoveryExited struct {
	Head
	Recovery
	Spurious bool
}

// RecoveryUndone: a reduction of the window proved needless.
type RecoveryUndone struct {
	Head
	Reason                          UndoReason
	CwndBefore, CwndAfter, SSThresh uint32
}

// UrgentUpdated: a byte was written as urgent, or the peer has announced one, or it has come.
type UrgentUpdated struct {
	Head
	Change UrgentChange
	Off    uint64
}

// PathMTUUpdated: something was learned, or is asked, of the path MTU.
type PathMTUUpdated struct {
	Head
	Change   MTUChange
	MTU, MSS uint32
}

// CCStateUpdated: something else governs the congestion window now.
type CCStateUpdated struct {
	Head
	Old, New CCState
	Trigger  CCTrigger
}

// MetricsUpdated: the sender's figures after an ACK that changed them.
type MetricsUpdated struct {
	Head
	Limited                  Limit
	Cwnd, SSThresh, InFlight uint32 // segments
	SRTTUs, RTTVarUs         uint32
	MinRTTUs, RTOUs          uint32
	SndWnd, RcvWnd, Notsent  uint32 // bytes
	PacingBps, DeliveryBps   uint64 // bytes a second; 0: not yet known
	CCVariable               string // name of the algorithm's own figure; empty: none
	CCValue                  float64
}

// TimerSet: a timer that was not running was started.
type TimerSet struct {
	Head
	Timer   TimerKind
	InUs    uint32
	Backoff uint32
}

// TimerFired: a timer expired.
type TimerFired struct {
	Head
	Timer   TimerKind
	Backoff uint32
}

// TimerCancelled: a timer was stopped.
type TimerCancelled struct {
	Head
	Timer TimerKind
}

// ReassemblyUpdated: the queue beyond a gap changed.
type ReassemblyUpdated struct {
	Head
	RcvNxtOff uint64
	OOO       uint32 // bytes beyond gaps
	Buffered  uint32 // bytes in order, not yet read
}

// ConnectionClosed: the connection is over at this end.
type ConnectionClosed struct {
	Head
	Reason                 CloseReason
	TotalRetrans           uint32
	SegsOut, SegsIn        uint32
	RTTUs, MinRTTUs, RTOUs uint32
	SndCwnd, SndSSThresh   uint32
	BytesSent, BytesAcked  uint64
	BytesReceived          uint64
	BytesRetrans           uint64
}

// ConnAlias: in a simultaneous open both ends named the connection; this end learns the other's name for it.
type ConnAlias struct {
	Head
	Alias sim.ConnID
}

func (*ConnectionStarted) EventName() string { return "tcp:connection_started" }
func (*StateUpdated) EventName() string      { return "tcp:state_updated" }
func (*SegmentSent) EventName() string       { return "tcp:segment_sent" }
func (*SegmentReceived) EventName() string   { return "tcp:segment_received" }
func (*SegmentDropped) EventName() string    { return "tcp:segment_dropped" }
func (*AckProcessed) EventName() string      { return "tcp:ack_processed" }
func (*SegmentLost) EventName() string       { return "tcp:segment_lost" }
func (*RecoveryEntered) EventName() string   { return "tcp:recovery_entered" }
func (*RecoveryExited) EventName() string    { return "tcp:recovery_exited" }
func (*RecoveryUndone) EventName() string    { return "tcp:recovery_undone" }
func (*UrgentUpdated) EventName() string     { return "tcp:urgent_updated" }
func (*PathMTUUpdated) EventName() string    { return "tcp:path_mtu_updated" }
func (*CCStateUpdated) EventName() string    { return "tcp:cc_state_updated" }
func (*MetricsUpdated) EventName() string    { return "tcp:metrics_updated" }
func (*TimerSet) EventName() string          { return "tcp:timer_set" }
func (*TimerFired) EventName() string        { return "tcp:timer_fired" }
func (*TimerCancelled) EventName() string    { return "tcp:timer_cancelled" }
func (*ReassemblyUpdated) EventName() string { return "tcp:reassembly_updated" }
func (*ConnectionClosed) EventName() string  { return "tcp:connection_closed" }
func (*ConnAlias) EventName() string         { return "tcp:conn_alias" }
