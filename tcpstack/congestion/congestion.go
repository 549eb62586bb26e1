// Package congestion holds TCP's congestion control algorithms, one a file, behind one interface in the shape of Linux's
// tcp_congestion_ops, and the delivery rate samples that some of them live on. An algorithm says how the window grows and
// where it is cut to, or takes the window and the pacing rate over whole: what is lost and what may be sent is the
// connection's business. Windows count segments, as Linux's do.
package congestion

import "labd.dev/sim"

// State is what the sender thinks of the path, Linux's tcp_ca_state.
type State uint8

const (
	Open     State = iota // nothing unusual
	Disorder              // duplicate ACKs or SACK blocks, too few to act on
	CWR                   // the window is being reduced for ECN's sake, RFC 3168 6.1.2
	Recovery              // fast retransmit
	Loss                  // after a retransmission timeout
)

// Event is something that an algorithm may want to know of, Linux's tcp_ca_event.
type Event uint8

const (
	EventTxStart     Event = iota // the first segment after nothing was in flight
	EventCwndRestart              // the window is restarted after an idle time (RFC 2861)
	EventCompleteCWR              // a window reduction is complete
	EventLoss                     // a retransmission timeout
)

// Algorithm is one connection's congestion control. Each call is given the sender as it stands; nothing is retained of it.
type Algorithm interface {
	// Name is the name in lab files and in tcp_info.
	Name() string
	// Init begins anew when a connection first sends data, before anything else is called: the algorithm may have been
	// another connection's before.
	Init(s *Sender)
	// SSThresh is the slow start threshold after a loss or, with s.ECN set, after a mark.
	SSThresh(s *Sender) uint32
	// CongAvoid enlarges the window for acked segments delivered, outside of recovery.
	CongAvoid(s *Sender, acked uint32)
	// SetState is called before s.State becomes next.
	SetState(s *Sender, next State)
	// Event tells of something.
	Event(s *Sender, e Event)
	// InAck is called for each ACK, before it is worked on but for SND.UNA and the counts of what was delivered.
	InAck(s *Sender)
	// UndoCwnd is the window to go back to when a reduction proves spurious.
	UndoCwnd(s *Sender) uint32
	// PktsAcked tells the round-trip time of the last segment that an ACK delivered; below 0: none.
	PktsAcked(s *Sender, rtt sim.Time)
	// CongControl sets the window and the pacing rate by itself. False: it does not, and CongAvoid and the recovery do.
	CongControl(s *Sender, rs *RateSample) bool
	// Variable is the algorithm's own figure that explains it best, for traces; what it is stands at VariableName.
	Variable() float64
}

// plain is what algorithms do where they do nothing of their own.
type plain struct{}

func (plain) Init(*Sender)                          {}
func (plain) SetState(*Sender, State)               {}
func (plain) Event(*Sender, Event)                  {}
func (plain) InAck(*Sender)                         {}
func (plain) PktsAcked(*Sender, sim.Time)           {}
func (plain) CongControl(*Sender, *RateSample) bool { return false }
func (plain) Variable() float64                     { return 0 }

// UndoCwnd is tcp_reno_undo_cwnd: the window from before the reduction, unless it has outgrown that.
func (plain) UndoCwnd(s *Sender) uint32 { return max(s.Cwnd, s.PriorCwnd) }

// ID names an algorithm in a byte.
type ID uint8

const (
	CubicID ID = iota
	RenoID
	BBRID
	BBR3ID
	DCTCPID
)

// Traits of an algorithm that the connection goes by.
const (
	paces    = 1 << iota // it needs pacing
	needsECN             // it marks all its packets ECT, and reads the marks packet by packet
	ownsCwnd             // CongControl takes the window over
	chances              // it draws from its connection's own chance
	repairs              // its send buffer has room for one window more than others'
)

var algorithms = [...]struct {
	name, variable string
	traits         uint8
	make           func() Algorithm
}{
	CubicID: {"cubic", "w_max", 0, func() Algorithm { return new(Cubic) }},
	RenoID:  {"reno", "", 0, func() Algorithm { return Reno{} }},
	BBRID:   {"bbr", "bw_Bps", paces | ownsCwnd | chances | repairs, func() Algorithm { return new(BBR) }},
	BBR3ID:  {"bbr3", "bw_Bps", paces | ownsCwnd | chances | repairs, func() Algorithm { return new(BBR3) }},
	DCTCPID: {"dctcp", "alpha", needsECN, func() Algorithm { return new(DCTCP) }},
}

// Names lists the algorithms' names.
func Names() []string {
	var list []string
	for _, a := range algorithms {
		list = append(list, a.name)
	}
	return list
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

// Paces says whether the algorithm needs its segments paced.
func (id ID) Paces() bool { return algorithms[id].traits&paces != 0 }

// NeedsECN says whether the algorithm works on ECN's marks packet by packet (Linux: TCP_CONG_NEEDS_ECN).
func (id ID) NeedsECN() bool { return algorithms[id].traits&needsECN != 0 }

// OwnsCwnd says whether CongControl takes the window over.
func (id ID) OwnsCwnd() bool { return algorithms[id].traits&ownsCwnd != 0 }

// TakesChances says whether the algorithm draws random numbers: it needs the sender's Seed.
func (id ID) TakesChances() bool { return algorithms[id].traits&chances != 0 }

// SendBufferWindows is how many windows of data the send buffer is to have room for. BBR's is one more than others', so that it
// can still send at its rate while a round trip's losses, and losses among their repairs, are waited for (Linux:
// tcp_sndbuf_expand, bbr_sndbuf_expand).
func (id ID) SendBufferWindows() int {
	if algorithms[id].traits&repairs != 0 {
		return 3
	}
	return 2
}

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
