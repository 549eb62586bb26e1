package tcpstack

import (
	"encoding/binary"
	"errors"

	"labd.dev/tcpstack/wire"
)

// Urgent data. RFC 9293 3.8.5: "The objective of the TCP urgent mechanism is to allow the sending user to stimulate the
// receiving user to accept some urgent data and to permit the receiving TCP endpoint to indicate to the receiving user
// when all the currently known urgent data has been received by the user." RFC 6093 3: nearly all
// implementations take the byte before the pointer for the only urgent one, and keep it out of the stream. So does Linux, and so do we.

// ErrNoUrgent is ReadUrgent's answer where no urgent byte is or was announced, or it was read, or is part of the stream.
var ErrNoUrgent = errors.New("tcp: no urgent data")

// UrgentHandler is a ConnHandler that wants to hear of urgent data.
type UrgentHandler interface {
	ConnHandler
	// Urgent: the peer's urgent pointer has advanced (SIGURG), or the byte that it names has come (EPOLLPRI).
	//
	// RFC 9293 3.8.5 (MUST-32): "A TCP implementation MUST ... inform the application layer asynchronously whenever it
	// receives an urgent pointer and there was previously no pending urgent data, or whenever the urgent pointer
	// advances in the data stream."
	Urgent(c *Conn)
}

// urgentState is what has become of the urgent byte (Linux: urg_data).
type urgentState uint8

const (
	urgentNone   urgentState = iota // none is announced, or the stream was read beyond it
	urgentNotYet                    // announced, and not yet here (TCP_URG_NOTYET)
	urgentValid                     // here, and not yet read (TCP_URG_VALID)
	urgentRead                      // read (TCP_URG_READ): the mark stays
)

// urgent is what a connection keeps of urgent data; most never have any.
type urgent struct {
	sending bool   // SND.UNA is below up: urgent mode
	up      seqNum // RFC 9293's SND.UP: behind the last urgent byte written
	state   urgentState
	inline  bool   // the byte stays in the stream (SO_OOBINLINE)
	seq     seqNum // of the urgent byte (urg_seq)
	data    byte
}

// urgentData is that state, made on first use.
func (c *Conn) urgentData() *urgent {
	if c.urg == nil {
		c.urg = new(urgent)
	}
	return c.urg
}

// markUrgent makes the byte written last the urgent one (Linux: tcp_mark_urg).
//
// RFC 9293 3.10.2: "If the URGENT flag is set, then SND.UP <- SND.NXT and set the urgent pointer in the outgoing
// segments."
func (c *Conn) markUrgent() {
	u := c.urgentData()
	u.sending, u.up = true, c.sndEnd
	c.recordUrgent(UrgentWritten, c.offsetOf(u.up-1))
}

// urgentMode says whether urgent data is unacknowledged (Linux: tcp_urg_mode).
func (c *Conn) urgentMode() bool { return c.urg != nil && c.urg.sending }

// putUrgent sets the urgent pointer of a segment that begins at seq; b is its TCP header.
//
// RFC 9293 3.8.5 (MUST-62): "the urgent pointer MUST point to the sequence number of the octet following the urgent data."
// Where it is too far ahead for 16 bits it points as far as it can, once the segment is the last that can tell.
func (c *Conn) putUrgent(b []byte, seq seqNum) {
	u := c.urg
	if !u.sending || !seq.less(u.up) {
		return
	}
	ahead := uint32(u.up - seq)
	if ahead > 0xffff {
		if (seq + 0xffff).lessEq(c.sndNxt) {
			return
		}
		ahead = 0xffff
	}
	b[wire.TCPOffFlags] |= uint8(wire.FlagURG)
	binary.BigEndian.PutUint16(b[wire.TCPOffUrgent:], uint16(ahead))
}

// urgentFlag is URG if the segment in the making carries it.
func urgentFlag(b []byte) wire.TCPFlags { return wire.TCPFlags(b[wire.TCPOffFlags]) & wire.FlagURG }

// urgentAcked ends urgent mode once all urgent data is acknowledged.
func (c *Conn) urgentAcked() {
	if u := c.urg; u.sending && u.up.lessEq(c.sndUna) {
		u.sending = false
	}
}

// probeUrgent tells a peer whose window is closed of urgent data: RFC 9293 3.8.5 lets the pointer through a zero window.
func (c *Conn) probeUrgent() {
	if c.urgentMode() && uint32(c.urg.up-c.sndUna) <= 0xffff {
		c.sendControl(wire.FlagACK, c.sndUna, SendZWP)
	}
}

// arrivesUrgent is "Sixth, check the URG bit" (Linux: tcp_urg, tcp_check_urg).
//
// RFC 9293 3.10.7.4: "If the URG bit is set, RCV.UP <- max(RCV.UP,SEG.UP), and signal the user that the remote side has
// urgent data if the urgent pointer (RCV.UP) is in advance of the data consumed."
func (c *Conn) arrivesUrgent(g *segment) {
	if g.has(wire.FlagURG) {
		c.urgentPointer(g)
	}
	u := c.urg
	if u == nil || u.state != urgentNotYet {
		return
	}
	first := g.seq
	if g.has(wire.FlagSYN) {
		first++
	}
	if at := uint32(u.seq - first); at < g.length {
		u.data, u.state = g.f.Payload[at], urgentValid
		c.events |= evUrgent
		c.recordUrgent(UrgentArrived, c.rcvOffset(u.seq))
	}
}

// urgentPointer takes in a segment's urgent pointer: what is behind the data that came before it, and not a repetition.
func (c *Conn) urgentPointer(g *segment) {
	ptr := g.seq + seqNum(binary.BigEndian.Uint16(c.tcpHeaderOf(g)[wire.TCPOffUrgent:]))
	// RFC 6093 3.1: RFC 793's two readings of the pointer; RFC 1122 4.2.2.4 (tcp_stdurg) had it point at the last urgent
	// byte, and RFC 6093 5 has it point behind it.
	if ptr != g.seq && !c.set.stdUrg {
		ptr--
	}
	if ptr.less(c.copied()) || ptr.less(c.rcvNxt) {
		return
	}
	u := c.urgentData()
	if u.state != urgentNone && ptr.lessEq(u.seq) {
		return
	}
	if u.state != urgentNone && u.seq == c.copied() && !u.inline && c.Buffered() > 0 {
		c.dropUrgentByte() // it stood at the mark; only the latest is kept out of the stream
	}
	u.state, u.seq = urgentNotYet, ptr
	c.events |= evUrgent
	c.recordUrgent(UrgentAnnounced, c.rcvOffset(ptr))
}

// tcpHeaderOf is the TCP header of a segment that has arrived.
func (c *Conn) tcpHeaderOf(g *segment) []byte { return g.f.Header()[c.rt.ipLen():] }

// copied is the sequence number of what is read next (Linux: copied_seq).
func (c *Conn) copied() seqNum {
	at := c.rcvNxt
	if c.rcvFIN {
		at--
	}
	return at - seqNum(c.Buffered())
}

// dropUrgentByte takes the urgent byte, which is next, out of the stream.
func (c *Conn) dropUrgentByte() {
	var b [1]byte
	c.stack.tcp.mem.give(c.rcv.read(b[:]))
	c.releaseRcv()
}

// beforeMark is how much of p a Read that begins now may fill: it skips an urgent byte that is next, and ends before one
// that comes later, so that the application can tell where in the stream it stood (tcp_recvmsg).
func (c *Conn) beforeMark(p []byte) []byte {
	u := c.urg
	if u.state == urgentNone || len(p) == 0 {
		return p
	}
	switch at := uint32(u.seq - c.copied()); {
	case at == 0 && !u.inline && c.Buffered() > 0:
		c.dropUrgentByte()
		c.markPassed()
		c.allRead()
	case at > 0 && at < uint32(len(p)):
		p = p[:at]
	}
	return p
}

// markPassed forgets the urgent byte once the stream was read beyond it.
func (c *Conn) markPassed() {
	if u := c.urg; u.state != urgentNone && u.seq.less(c.copied()) {
		u.state = urgentNone
	}
}

// ReadUrgent reads the urgent byte (MSG_OOB); with peek it stays to be read. It returns ErrWouldBlock when the byte is
// announced and has not come.
//
// RFC 9293 3.8.5 (MUST-31): "A TCP implementation MUST support a sequence of urgent data of any length": what precedes the
// last urgent byte is read from the stream.
func (c *Conn) ReadUrgent(peek bool) (byte, error) {
	u := c.urg
	switch {
	case u == nil || u.inline || u.state == urgentNone || u.state == urgentRead:
		return 0, ErrNoUrgent
	case u.state == urgentNotYet:
		return 0, ErrWouldBlock
	}
	if !peek {
		u.state = urgentRead
	}
	return u.data, nil
}

// AtMark says whether what is read next is the urgent byte, or what stood behind it (SIOCATMARK).
//
// RFC 9293 3.8.5 (MUST-33): "The TCP implementation MUST ... provide a way for the application to learn how much urgent
// data remains to be read from the connection, or at least to determine whether more urgent data remains to be read."
func (c *Conn) AtMark() bool {
	return c.urg != nil && c.urg.state != urgentNone && c.urg.seq == c.copied()
}

// UrgentReady says whether the urgent byte has come and the stream was not read beyond it (EPOLLPRI).
func (c *Conn) UrgentReady() bool {
	return c.urg != nil && c.urg.state == urgentValid
}

// BeforeMark is how many bytes there are to be read, up to the urgent one (SIOCINQ).
func (c *Conn) BeforeMark() int {
	u, n := c.urg, c.Buffered()
	if u == nil || u.inline || u.state == urgentNone {
		return n
	}
	if at := uint32(u.seq - c.copied()); at < uint32(n) {
		return int(at)
	}
	return n
}

// SetUrgentInline makes the urgent byte part of the stream, or takes it out of it (SO_OOBINLINE). RFC 6093 6 has applications
// that still use urgent data set it.
func (c *Conn) SetUrgentInline(on bool) {
	if on || c.urg != nil {
		c.urgentData().inline = on
	}
}
