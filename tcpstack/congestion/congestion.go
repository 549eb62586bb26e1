// Package congestion holds TCP's congestion control algorithms, one a file, behind one interface. An algorithm only
// says how the window grows on what was delivered and where it is cut to on a loss: what is lost and what may be sent is
// the connection's business. Windows count segments, as Linux's do.
package congestion

import "labd.dev/sim"

// Unset is the slow start threshold before the first loss. RFC 5681 3.1: "The initial value of ssthresh SHOULD be set
// arbitrarily high". Linux prints this value as TCP_INFINITE_SSTHRESH.
const Unset = 0x7fffffff

// MinSSThresh is the least threshold. RFC 5681 3.1 (4): "ssthresh = max (FlightSize / 2, 2*SMSS)".
const MinSSThresh = 2

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
	w.Cwnd += n
	return acked - n
}

// additive grows the window by one for each per segments acknowledged.
func (w *Window) additive(per, acked uint32) {
	per = max(per, 1)
	w.Count += acked
	if w.Count >= per {
		w.Cwnd += w.Count / per
		w.Count %= per
	}
}

// Ack is what an acknowledgement tells an algorithm.
type Ack struct {
	Now   sim.Time
	Acked uint32   // segments delivered that were not known to be before
	SRTT  sim.Time // smoothed round-trip time; 0: none yet
}

// Algorithm is one connection's congestion control. It is asked to grow only when the window was what held the sender
// back, and outside of recovery.
type Algorithm interface {
	// Name is the name in lab files and in tcp_info.
	Name() string
	// Grow enlarges the window on an acknowledgement.
	Grow(w *Window, a Ack)
	// Reduce is told of a loss (once per window, or a retransmission timeout) and returns the new ssthresh.
	Reduce(w *Window, now sim.Time) uint32
	// Variable is the algorithm's own figure that explains it best, for traces; what it is stands at VariableName.
	Variable() float64
}

// ID names an algorithm in a byte.
type ID uint8

const (
	CubicID ID = iota
	RenoID
)

var algorithms = [...]struct {
	name, variable string
	make           func() Algorithm
}{
	CubicID: {"cubic", "w_max", func() Algorithm { return new(Cubic) }},
	RenoID:  {"reno", "", func() Algorithm { return Reno{} }},
}

// Find looks an algorithm up by name; the empty name is the default, cubic (net.ipv4.tcp_congestion_control).
func Find(name string) (ID, bool) {
	if name == "" {
		return CubicID, true
	}
	for id, a := range algorithms {
		if a.name == name {
			return ID(id), true
		}
	}
	return 0, false
}

// New makes an algorithm for one connection.
func (id ID) New() Algorithm { return algorithms[id].make() }

func (id ID) String() string {
	if int(id) < len(algorithms) {
		return algorithms[id].name
	}
	return "unknown"
}

// VariableName is the name of what Variable returns; empty if there is none.
func (id ID) VariableName() string {
	if int(id) < len(algorithms) {
		return algorithms[id].variable
	}
	return ""
}
