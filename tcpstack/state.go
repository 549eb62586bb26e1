package tcpstack

// State is a connection's state, in RFC 9293 3.3.2's words.
type State uint8

const (
	StateClosed State = iota
	StateListen
	StateSynSent
	StateSynRcvd
	StateEstablished
	StateFinWait1
	StateFinWait2
	StateCloseWait
	StateClosing
	StateLastAck
	StateTimeWait
)

var stateNames = [...]string{"CLOSED", "LISTEN", "SYN_SENT", "SYN_RCVD", "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2",
	"CLOSE_WAIT", "CLOSING", "LAST_ACK", "TIME_WAIT"}

func (s State) String() string { return nameOf(stateNames[:], uint8(s)) }

// synchronized: RFC 9293 3.5.2: "ESTABLISHED, FIN-WAIT-1, FIN-WAIT-2, CLOSE-WAIT, CLOSING, LAST-ACK, TIME-WAIT".
func (s State) synchronized() bool { return s >= StateEstablished }

// receives says whether the peer may still send data: it has sent no FIN.
func (s State) receives() bool {
	return s == StateEstablished || s == StateFinWait1 || s == StateFinWait2
}

// sends says whether the application may still write.
func (s State) sends() bool { return s == StateEstablished || s == StateCloseWait }

// transmits says whether queued data and FIN may be (re)sent.
func (s State) transmits() bool {
	switch s {
	case StateEstablished, StateCloseWait, StateFinWait1, StateClosing, StateLastAck:
		return true
	}
	return false
}

// seqNum is a sequence number. RFC 9293 3.4: "all arithmetic dealing with sequence numbers must be performed modulo
// 2^32".
type seqNum uint32

func (a seqNum) less(b seqNum) bool   { return int32(a-b) < 0 }
func (a seqNum) lessEq(b seqNum) bool { return int32(a-b) <= 0 }

// inWindow says whether a lies in [start, start+size).
func (a seqNum) inWindow(start seqNum, size uint32) bool { return uint32(a-start) < size }

func maxSeq(a, b seqNum) seqNum {
	if a.less(b) {
		return b
	}
	return a
}

func minSeq(a, b seqNum) seqNum {
	if a.less(b) {
		return a
	}
	return b
}
