package congestion

import "labd.dev/sim"

// Unset is the slow start threshold before the first loss. RFC 5681 3.1: "The initial value of ssthresh SHOULD be set
// arbitrarily high". Linux prints this value as TCP_INFINITE_SSTHRESH.
const Unset = 0x7fffffff

// MinSSThresh is the least threshold. RFC 5681 3.1 (4): "ssthresh = max (FlightSize / 2, 2*SMSS)".
const MinSSThresh = 2

// MaxCwnd is the largest window: all of RFC 7323's 1 GiB in the smallest segments would not be more.
const MaxCwnd = 1 << 24

// Window is the congestion window of one connection, in segments. The zero value is not usable.
type Window struct {
	Cwnd     uint32
	SSThresh uint32
	Count    uint32 // segments acknowledged towards the next growth by one in congestion avoidance
}

// InSlowStart: RFC 5681 3.1: "The slow start algorithm is used when cwnd < ssthresh".
func (w *Window) InSlowStart() bool { return w.Cwnd < w.SSThresh }

// slowStart grows the window by what was acknowledged up to ssthresh and returns what is left of acked.
// RFC 5681 3.1: "During slow start, a TCP increments cwnd by at most SMSS bytes for each ACK received that cumulatively
// acknowledges new data"; with byte counting (RFC 3465) L is the whole ACK, as in Linux (tcp_slow_start).
func (w *Window) slowStart(acked uint32) uint32 {
	n := min(acked, w.SSThresh-w.Cwnd)
	w.Cwnd = min(w.Cwnd+n, MaxCwnd)
	return acked - n
}

// additive grows the window by one for each per segments acknowledged (Linux: tcp_cong_avoid_ai). Credit that was
// gathered at a larger per counts for one segment only.
func (w *Window) additive(per, acked uint32) {
	if w.Count >= per {
		w.Count = 0
		w.Cwnd++
	}
	w.Count += acked
	if w.Count >= per {
		n := w.Count / per
		w.Count -= n * per
		w.Cwnd += n
	}
	w.Cwnd = min(w.Cwnd, MaxCwnd)
}

// HyStart says how CUBIC leaves slow start before a loss.
type HyStart uint8

const (
	HyStartLinux   HyStart = iota // ACK train and delay, as Linux's CUBIC
	HyStartRFC9406                // HyStart++
	HyStartOff
)

// Sender is what an algorithm sees of its connection. The connection brings it up to date before each call.
type Sender struct {
	*Window

	Now            sim.Time
	SentAt         sim.Time // when data was last sent
	SRTT, MinRTT   sim.Time // 0: none yet
	SndUna, SndNxt uint32   // sequence numbers
	MSS            uint32   // bytes
	InFlight       uint32   // segments
	PriorInFlight  uint32   // before the ACK being worked on
	PriorCwnd      uint32   // window at the beginning of the last reduction
	InitialCwnd    uint32   // segments
	State          State
	HyStart        HyStart
	CwndLimited    bool // the window is what held the sender back (RFC 7661)
	Paced          bool // segments are paced
	ECN            bool // the reduction asked for answers a mark, not a loss
	ABE            bool // RFC 8511: the answer to a mark is milder
	ECNOK          bool // ECN was negotiated

	Rate

	PacingRate    uint64   // bytes/s, of an algorithm that sets it; 0: not yet known. Others read Pace
	MaxPacingRate uint64   // bytes/s; 0: none
	NextTx        sim.Time // when pacing lets the next segment go
	pace          pace     // what PacingRate is to become

	Seed  uint64 // of the connection's own chance
	draws uint64 // taken from it
}

// draw is the connection's next random number below n.
func (s *Sender) draw(n uint64) uint64 {
	s.draws++
	x := s.Seed + s.draws*0x9e3779b97f4a7c15 // SplitMix64
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return (x ^ x>>31) % n
}

// seqBefore: a precedes b modulo 2^32.
func seqBefore(a, b uint32) bool { return int32(a-b) < 0 }
