package tcpstack

import (
	"errors"
	"io"
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/congestion"
)

// What a connection's calls and its Closed report.
var (
	ErrWouldBlock  = errors.New("tcp: would block")
	ErrReset       = errors.New("tcp: connection reset by peer")
	ErrTimeout     = errors.New("tcp: connection timed out")
	ErrRefused     = errors.New("tcp: connection refused")
	ErrUnreachable = errors.New("tcp: destination unreachable")
	ErrAborted     = errors.New("tcp: connection aborted")
	ErrClosed      = errors.New("tcp: connection is closed for writing")
)

// ConnHandler hears what happens to a connection. It is called inside the loop, from within the stack's own work, and
// may call any method of the Conn.
type ConnHandler interface {
	// Established: the handshake is complete, or a Fast Open SYN has made a connection that may be used before it is.
	Established(c *Conn)
	// Readable: data has come, or the end of the peer's data.
	Readable(c *Conn)
	// Writable: after a short Write a third of the send buffer is free again.
	Writable(c *Conn)
	// Drained: the peer has acknowledged all that was written, and the FIN if one was sent.
	Drained(c *Conn)
	// Closed is the last call: the connection is gone, CLOSED or in TIME-WAIT. err is nil after an orderly close, and
	// then it comes only after all bytes that had come were read. After an error they can still be read in Closed, and
	// are gone after it.
	Closed(c *Conn, err error)
}

// Conn is one end of a TCP connection. It never blocks. The zero Conn is not usable: Dial and Listen make them. There may be
// many that rest: TestConnSize holds it to a size class of the allocator.
type Conn struct {
	stack    *Stack
	set      *settings
	h        ConnHandler
	rt       *route
	rtx      *txQueue          // segments in flight; nil while nothing is
	rec      *recovery         // what loss recovery keeps; nil until data was sent
	snd      *sendBuffer       // nil while empty
	rcv      *recvBuffer       // nil while empty
	rcvf     *recvFlow         // nil until data has come
	cc       *control          // congestion control; nil until data is sent
	timer    sim.Timer         // the least of the deadlines below
	template [templateLen]byte // headers of a segment, to be patched
	sndBuf   uint32            // bytes that may be written and not yet acknowledged
	lsn      *Listener         // of a passive open, until it is accepted
	clock    *limitClock       // nil until data was written
	fo       *fastOpen         // nil without Fast Open
	urg      *urgent           // nil without urgent data
	odd      *oddities         // nil without any of them

	next, prev *Conn // in order of creation; next also in the free list

	tuple
	hashed uint32 // tuple.hash
	tag    uint32
	id     sim.ConnID

	// RFC 9293 3.3.1, send sequence variables.
	iss, sndUna, sndNxt seqNum
	sndEnd              seqNum // after the last byte written; the FIN's place
	sndWl1              seqNum
	sndWnd, maxSndWnd   uint32 // bytes
	pushedSeq           seqNum // after the last byte marked to be pushed
	sndSml              seqNum // after the last small segment sent (Minshall)
	// Receive sequence variables.
	irs, rcvNxt seqNum
	rcvAdv      seqNum // right edge of the window announced; moves left only with shrinkWindow
	rcvWup      seqNum // RCV.NXT in the last ACK sent
	rttSeq      seqNum // RTTVAR may shrink once this is acknowledged
	rcvMSS      uint16 // largest segment received: what "full-sized" means for delayed ACKs
	lastSegSize uint16 // of a segment below rcvMSS, if the last was one
	sndMSS      uint16 // data bytes of a full segment, options taken off
	peerMSS     uint16 // as announced
	pmtu        uint16 // of the path, where it was found to be less than the first link's; 0: it was not

	state                  State
	sndWscale, rcvWscale   uint8
	caState                caState
	ccState                CCState
	retransmits            uint8 // of the segment at SND.UNA, in a row
	backoff                uint8
	probesOut              uint8 // zero-window probes without an answer
	dupAcks                uint8 // in a row, saturating
	quickACKs              uint8 // ACKs still to be sent at once
	pingPong               uint8 // replies with data in a row, saturating: from pingPongFrom on ACKs wait for data
	ackPushed              uint8 // bits ackPushed*
	pendingTimer           TimerKind
	sackOK, tsOK, wscaleOK bool
	passive                bool // responder
	finQueued, finSent     bool
	rcvFIN                 bool // the peer's FIN is in order
	appClosed              bool // Close was called: what still comes is refused
	wantWrite              bool // a Write was short
	undrained              bool // written since the last Drained
	ackPending             bool
	ackNow                 bool
	dupAckDue              bool  // the ACK that goes out is a duplicate
	challengeDue           bool  // it is a challenge ACK
	processing             bool  // inside segment arrival: what Read and Write cause is sent at its end
	end                    uint8 // bits end*
	ecn                    uint8
	wasRead                bool // the application has read since the last flushACK
	tellUTO                bool // the next segment with room for it carries the user timeout
	naglePush              bool // what is queued goes out, whatever Nagle and cork say
	events                 uint8

	win congestion.Window

	// RFC 7323 timestamps.
	tsOffset, tsRecent uint32
	tsRecentAge        uint32 // lab time, s, when tsRecent was taken
	// RFC 6298, us, in Linux's scales: 8*SRTT; 4*RTTVAR now, the largest of the window under way, and the one in force.
	srtt8, mdev4, mdevMax4, rttvar4 uint32
	totalRetrans                    uint32
	rto                             sim.Time // without backoff

	ato      sim.Time // how long an ACK waits (Linux: icsk_ack.ato); 0: no data has come
	timerAt  sim.Time // of pendingTimer (rto or persist); Never: not set
	delackAt sim.Time // Never: not set

	bytesAcked, bytesReceived uint64 // stream offsets of SND.UNA and RCV.NXT
	bytesSent, bytesRetrans   uint64
	segsOut, segsIn           uint32
	dataSegsOut, dataSegsIn   uint32
	lastDataSent, lastDataRcv sim.Time
	lastAckRcv                sim.Time
}

// ID is the connection's name, the same at both ends.
func (c *Conn) ID() sim.ConnID { return c.id }

// Tag is the journal index of the input that opened the connection, known to both ends; 0: none.
func (c *Conn) Tag() uint32 { return c.tag }

// State is the state of RFC 9293 3.3.2.
func (c *Conn) State() State { return c.state }

// LocalAddr is this end's address and port.
func (c *Conn) LocalAddr() netip.AddrPort { return c.localAddr() }

// RemoteAddr is the peer's address and port.
func (c *Conn) RemoteAddr() netip.AddrPort { return c.remoteAddr() }

// Initiator says whether this end opened the connection.
func (c *Conn) Initiator() bool { return !c.passive }

// Buffered is how many bytes can be read.
func (c *Conn) Buffered() int {
	if c.rcv == nil {
		return 0
	}
	return c.rcv.inOrder
}

// Unacked is how many bytes were written and are not yet acknowledged.
func (c *Conn) Unacked() int { return int(c.sndEnd - c.dataUna()) }

// dataUna is SND.UNA without the sequence numbers of SYN and FIN.
func (c *Conn) dataUna() seqNum {
	switch c.state {
	case StateListen, StateSynSent, StateSynRcvd:
		return c.iss + 1
	}
	return minSeq(c.sndUna, c.sndEnd)
}

// Outstanding is how much sequence space what was written takes and the peer has not acknowledged, the FIN included
// (SIOCOUTQ).
func (c *Conn) Outstanding() int64 {
	n := int64(c.Unacked())
	if c.finQueued && c.sndUna.lessEq(c.sndEnd) {
		n++
	}
	return n
}

// Room is how many bytes a Write takes at most.
func (c *Conn) Room() int {
	if c.Deferred() { // the first takes what goes with the SYN
		return c.synDataRoom()
	}
	if c.notsentFull(0) {
		return 0
	}
	return c.bufferRoom()
}

// bufferRoom is how much of the send buffer is free, and of the stack's memory. With nothing in flight a connection may
// write whatever the stack holds: no ACK would wake it.
func (c *Conn) bufferRoom() int {
	n := c.Unacked()
	room := max(0, int(c.sndBuf)-n)
	if n > 0 {
		room = c.stack.tcp.mem.atMost(room)
	}
	return room
}

// Read moves bytes that have come in order to p. It returns ErrWouldBlock when there is none yet, io.EOF after the
// peer's FIN, or what ended the connection.
func (c *Conn) Read(p []byte) (int, error) {
	if c.urg != nil {
		p = c.beforeMark(p)
	}
	if c.rcv == nil || c.rcv.inOrder == 0 {
		switch {
		case c.rcvFIN:
			return 0, io.EOF
		case c.closeErr() != nil:
			return 0, c.closeErr()
		case c.state == StateClosed:
			return 0, io.EOF
		}
		return 0, ErrWouldBlock
	}
	n := c.rcv.read(p)
	if c.urg != nil {
		c.markPassed()
	}
	c.stack.tcp.mem.give(n)
	c.releaseRcv()
	c.adjustRecvSpace()
	c.wasRead = true
	if !c.processing {
		c.flushRead()
	}
	c.allRead()
	return n, nil
}

// allRead calls Closed where what kept it waiting is read: in an event of its own, not from within Read.
func (c *Conn) allRead() {
	if c.gone() && c.Buffered() == 0 && !c.processing && !c.dead() {
		c.stack.loop.Arm(&c.timer, &c.stack.id.Src, c.stack.loop.Now())
	}
}

// Write queues bytes for the peer and returns how many it took. It takes fewer than offered, with ErrWouldBlock, when
// the send buffer is full; Writable is called once there is room.
func (c *Conn) Write(p []byte) (int, error) { return c.WriteFlags(p, 0) }

// WriteFlags is Write in the manner that flags say.
func (c *Conn) WriteFlags(p []byte, flags WriteFlags) (int, error) {
	if c.Deferred() { // an empty write sends the SYN, too
		if n, err := c.writeDeferred(p); n > 0 {
			return n, err
		}
	}
	n, err := len(p), c.closedForWriting()
	switch {
	case err != nil:
		n = 0
	case flags&(WriteHold|WriteFill) == 0:
		n, err = c.admit(n)
	}
	if n > 0 {
		c.buffer().write(c, p[:n])
		if n < len(p) {
			flags &^= WriteEOR | WriteUrgent | WriteMore // they are about the last byte; a full buffer is sent (Linux: tcp_sendmsg)
		}
		c.written(n, flags)
	}
	return n, err
}

// WriteChunk queues n bytes of a chunk from off on, without a copy: they must never change. The chunk is retained as
// long as it is needed. Like Write it may take fewer.
func (c *Conn) WriteChunk(ch *sim.Chunk, off, n int) (int, error) {
	if c.Deferred() && n > 0 {
		if n, err := c.writeDeferred(ch.Data[off : off+n]); n > 0 {
			return n, err
		}
	}
	if err := c.closedForWriting(); err != nil {
		return 0, err
	}
	n, err := c.admit(n)
	if n > 0 {
		c.buffer().writeChunk(c, ch, off, n)
		c.written(n, 0)
	}
	return n, err
}

// closedForWriting is why nothing can be written any more.
func (c *Conn) closedForWriting() error {
	switch {
	case c.closeErr() != nil:
		return c.closeErr()
	case c.finQueued || !c.state.sends() && c.state != StateSynSent && c.state != StateSynRcvd:
		return ErrClosed
	}
	return nil
}

// admit says how many of n bytes a write may take now.
func (c *Conn) admit(n int) (int, error) {
	room := c.bufferRoom()
	if c.Deferred() {
		room = c.Room()
	} else if c.set.notsentLowat != 0 {
		room = min(room, c.notsentRoom(n))
	}
	if n > room {
		c.wantWrite = true
		return room, ErrWouldBlock
	}
	return n, nil
}

// written accounts for n bytes just queued and sends what may be sent.
func (c *Conn) written(n int, flags WriteFlags) {
	c.stack.tcp.mem.take(n)
	c.checkAppLimited()
	c.enqueue(n, flags)
	if flags&WriteUrgent != 0 {
		c.markUrgent()
	}
	c.undrained = true
	c.restartAfterIdle()
	if flags&WriteHold != 0 {
		return
	}
	nagle := c.nagleMode()
	if flags&WriteMore != 0 {
		nagle = nagleCork
	}
	c.transmitAs(nagle)
}

// SetWriteWaits says that a write waits for the handshake: its data will carry the ACK of the SYN,ACK (Linux:
// sk_write_pending).
func (c *Conn) SetWriteWaits(on bool) {
	if on || c.odd != nil {
		c.oddities().writeWaits = on
	}
}

// CloseWrite says that nothing more will be written: the FIN follows the data queued. Reading goes on.
func (c *Conn) CloseWrite() {
	if c.finQueued {
		return
	}
	switch c.state {
	case StateSynSent:
		// RFC 9293 3.10.4, SYN-SENT: "Delete the TCB and return 'error: closing' responses to any queued SENDs".
		c.terminate(nil, ClosedOrderly, AppClose)
	case StateSynRcvd, StateEstablished, StateCloseWait:
		c.finQueued = true
		c.undrained = true
		if c.state != StateSynRcvd { // RFC 9293 3.10.4, SYN-RECEIVED: "queue for processing after entering ESTABLISHED"
			c.closeStates()
			c.transmit()
		}
	}
}

// CloseRead says that nothing more will be read (Linux: RCV_SHUTDOWN). Once this end has closed for writing, too, new data is
// answered with a reset; until then it is taken, and can be read.
func (c *Conn) CloseRead() { c.oddities().readClosed = true }

// refusesText says whether new data is answered with a reset.
func (c *Conn) refusesText() bool {
	return c.appClosed || c.odd != nil && c.odd.readClosed && (c.state == StateFinWait1 || c.state == StateFinWait2)
}

// closeStates moves on as the FIN is queued.
func (c *Conn) closeStates() {
	if c.state == StateCloseWait {
		c.setState(StateLastAck, AppClose)
	} else {
		c.setState(StateFinWait1, AppClose)
	}
}

// Close says that nothing more will be written nor read. What was written is still delivered; what the peer still sends
// is answered with a reset.
//
// RFC 9293 3.6.1: "If such a host issues a CLOSE call while received data is still pending in the TCP connection, or if
// new data is received after CLOSE is called, its TCP implementation SHOULD send a RST to show that data was lost."
func (c *Conn) Close() {
	if c.dead() || c.appClosed {
		return
	}
	c.appClosed = true
	if c.gone() {
		c.farewell()
		return
	}
	c.abandon()
	if c.Buffered() > 0 && (c.state.synchronized() || c.halfAccepted()) {
		c.Abort()
		return
	}
	c.CloseWrite()
	if c.state == StateSynRcvd {
		c.closeEarly()
	}
	if !c.tooManyOrphans() && c.state == StateFinWait2 {
		c.armFinWait2()
	}
}

// Abort ends the connection at once, with a reset to the peer. Closed is called with ErrAborted before Abort returns, or
// after the callback that it was called from.
func (c *Conn) Abort() {
	if c.gone() {
		c.appClosed = true
		c.farewell()
		return
	}
	// RFC 9293 3.10.5: "Send a reset segment: <SEQ=SND.NXT><CTL=RST>"
	if c.state.synchronized() || c.state == StateSynRcvd {
		c.sendRST()
	}
	c.terminate(ErrAborted, ClosedAborted, AppAbort)
}
