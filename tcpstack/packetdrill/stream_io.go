package packetdrill

import (
	"io"

	"labd.dev/tcpstack"
)

// zeros is what scripts write: the original's buffers hold nothing else. Reads go to scratch.
var zeros [64 << 10]byte

// supported says what of a call that sends has no mechanism here.
func (g *sending) supported() error {
	if g.flags&msgErrqueue != 0 {
		return skipf("MSG_ERRQUEUE among the flags of a call that sends")
	}
	return nil
}

// send is tcp_sendmsg.
func (s *socket) send(g *sending) (int64, Errno, bool) {
	wait := s.waits(g.flags)
	if !g.begun && (g.flags&msgFastopen != 0 || s.deferred()) {
		if value, errno, more := s.sendFastOpen(g, wait); !more {
			return value, errno, true
		}
	}
	if s.conn != nil {
		s.conn.SetWriteWaits(false)
	}
	switch s.state() {
	case tcpstack.StateEstablished, tcpstack.StateCloseWait:
	case tcpstack.StateSynRcvd, tcpstack.StateSynSent:
		if s.conn.Initiator() || !s.passiveFastOpen() { // sk_stream_wait_connect
			switch {
			case s.err != 0:
				return -1, s.takeError(), true
			case !wait:
				return g.result(EAGAIN)
			}
			s.conn.SetWriteWaits(!g.biased)
			return 0, 0, false
		}
	default:
		if g.begun && s.phase == phaseConnecting {
			return -1, s.connectEnded(), true
		}
		return s.sendFailed(g)
	}
	if s.err != 0 || s.shut&shutWrite != 0 {
		return s.sendFailed(g)
	}
	if g.null && g.want > 0 {
		return g.result(EFAULT)
	}
	if err := s.stamps.begin(s, g); err != 0 {
		return -1, err, true
	}
	if s.noSpace && g.waits && !s.writable() {
		return 0, 0, false // sk_stream_wait_memory: it is woken once a third is free
	}
	for g.sent < g.want {
		n, err := s.write(g)
		g.sent += n
		s.noSpace = s.noSpace || err == tcpstack.ErrWouldBlock
		switch {
		case err == tcpstack.ErrWouldBlock && wait:
			g.waits = true
			return 0, 0, false
		case err == tcpstack.ErrWouldBlock:
			s.noteSent(g)
			return g.result(EAGAIN)
		case err != nil:
			return s.sendFailed(g)
		}
	}
	s.noteSent(g)
	return g.sent, 0, true
}

// noteSent remembers a call of which something has gone into the send buffer.
func (s *socket) noteSent(g *sending) {
	s.sent.note(s, g)
	s.stamps.note(s, g)
}

// write hands over what the buffer takes that the last bytes are in, or a new one if there is memory for it: a buffer that
// has been begun is filled (tcp_sendmsg_locked).
func (s *socket) write(g *sending) (int64, error) {
	left := min(g.want-g.sent, int64(len(zeros)))
	room, goal := s.conn.Stretch()
	if g.flags&msgOOB != 0 {
		room, goal = int(left), int(left)
	}
	if room == 0 {
		if !s.memoryFree() {
			s.conn.Flush()
			return 0, tcpstack.ErrWouldBlock
		}
		room = goal
	}
	n := min(left, int64(room))
	full := false
	if g.flags&msgZerocopy != 0 && s.opts.zerocopy && len(g.parts) > maxFragments {
		n, full = g.fragments(n)
	}
	last := g.sent+n == g.want
	flags := tcpstack.WriteFill
	if g.flags&msgMore != 0 {
		flags |= tcpstack.WriteMore
	}
	if !last {
		flags = tcpstack.WriteHold
		if full {
			flags |= tcpstack.WriteEOR
		}
	}
	if g.flags&msgEOR != 0 && last {
		flags |= tcpstack.WriteEOR
	}
	if g.flags&msgOOB != 0 && last {
		flags |= tcpstack.WriteUrgent
	}
	k, err := s.conn.WriteFlags(zeros[:n], flags)
	s.sent.offset += uint64(k)
	if !last && n == int64(room) && err == nil {
		s.conn.PushStretch()
	}
	return int64(k), err
}

// maxFragments is how many pieces of memory one buffer refers to (net.core.max_skb_frags).
const maxFragments = 17

// fragments is how many of n bytes are sent from where they lie in one buffer, and whether that then is full: each of the
// call's own buffers is a piece of memory of its own (skb_zerocopy_iter_stream). What begins with the call's first byte is
// counted from there.
func (g *sending) fragments(n int64) (int64, bool) {
	at, pieces, end := int64(0), 0, g.sent
	for _, p := range g.parts {
		if at += p; at <= g.sent || p == 0 {
			continue
		}
		if pieces == maxFragments {
			return end - g.sent, true
		}
		pieces++
		if end = min(at, g.sent+n); end == g.sent+n {
			break
		}
	}
	return end - g.sent, false
}

// memoryFree is sk_stream_memory_free: less than the buffer's memory is queued, and less than the low-water mark unsent.
func (s *socket) memoryFree() bool {
	return s.conn.SendMemory() < s.conn.SendBuffer() && !s.conn.NotsentFull()
}

// result is what a call returns that cannot go on: what it has sent, else the error.
func (g *sending) result(e Errno) (int64, Errno, bool) {
	if g.sent > 0 {
		return g.sent, 0, true
	}
	return -1, e, true
}

// sendFailed is sk_stream_error: the pending error, else EPIPE.
func (s *socket) sendFailed(g *sending) (int64, Errno, bool) {
	if g.sent > g.inSYN { // what went with a SYN that failed is not counted
		return g.sent, 0, true
	}
	if e := s.takeError(); e != 0 {
		return -1, e, true
	}
	return -1, EPIPE, true
}

// passiveFastOpen says whether the handshake of an accepted connection is still under way: with Fast Open it may send
// nevertheless (tcp_passive_fastopen).
func (s *socket) passiveFastOpen() bool {
	return s.state() == tcpstack.StateSynRcvd && !s.conn.Initiator()
}

// receive is tcp_recvmsg.
func (s *socket) receive(r *receiving) (int64, Errno, bool) {
	if s.state() == tcpstack.StateListen {
		return -1, ENOTCONN, true
	}
	if r.flags&msgOOB != 0 {
		return s.receiveUrgent(r)
	}
	target := int64(1) // sock_rcvlowat
	switch {
	case r.flags&msgWaitall != 0:
		target = r.want
	case s.opts.rcvlowat > 1:
		target = min(s.opts.rcvlowat, r.want)
	}
	if r.want > 0 || s.over {
		if value, errno, end := s.consume(r); end {
			return value, errno, true
		}
	}
	switch {
	case r.got >= target && r.got > 0, r.want == 0 && r.got == 0 && s.state() != tcpstack.StateClosed:
	case r.got > 0 && s.conn != nil && s.conn.AtMark(): // tcp_recvmsg_locked: "Are we at urgent data?"
	case r.got > 0 && (!s.waits(r.flags) || s.err != 0 || s.shutdowns()&shutRead != 0):
	case r.got > 0:
		return 0, 0, false
	case s.sawFIN:
		s.readMessage(r)
		return 0, 0, true
	case s.err != 0:
		return -1, s.takeError(), true
	case s.shutdowns()&shutRead != 0 && s.phase != phaseNew:
		s.readMessage(r)
		return 0, 0, true
	case s.state() == tcpstack.StateClosed:
		return -1, ENOTCONN, true
	case !s.waits(r.flags):
		return -1, EAGAIN, true
	default:
		return 0, 0, false
	}
	s.readMessage(r)
	return r.got, 0, true
}

// consume moves what has come to the caller, or with MSG_PEEK only looks at it.
func (s *socket) consume(r *receiving) (value int64, errno Errno, end bool) {
	if r.null && r.flags&msgTrunc == 0 && s.buffered() > 0 {
		return -1, EFAULT, true
	}
	if r.flags&msgPeek != 0 {
		n := s.inq()
		if s.urgentByte() == 1 { // it is skipped
			n = max(0, s.buffered()-1)
		}
		r.got = min(r.want, n)
		return 0, 0, false
	}
	if s.conn == nil {
		n := min(r.want-r.got, s.left)
		r.got, s.left = r.got+n, s.left-n
		return 0, 0, false
	}
	for r.got < r.want {
		var scratch [16 << 10]byte
		n, err := s.conn.Read(scratch[:min(r.want-r.got, int64(len(scratch)))])
		r.got += int64(n)
		if err == io.EOF {
			s.sawFIN = true
		}
		if err != nil || n == 0 || s.conn == nil || s.conn.AtMark() {
			break
		}
	}
	return 0, 0, false
}

// receiveUrgent is tcp_recv_urg: it never waits.
func (s *socket) receiveUrgent(r *receiving) (int64, Errno, bool) {
	if s.conn == nil {
		return -1, EINVAL, true
	}
	switch _, err := s.conn.ReadUrgent(r.flags&msgPeek != 0); {
	case err == tcpstack.ErrNoUrgent:
		return -1, EINVAL, true
	case err == nil:
		r.got = min(r.want, 1)
		if r.message != nil {
			r.message.flags |= msgOOB
			if r.want == 0 {
				r.message.flags |= msgTrunc
			}
		}
		return r.got, 0, true
	case s.shutdowns()&shutRead != 0:
		return 0, 0, true
	}
	return -1, EAGAIN, true
}

// readMessage fills in what recvmsg tells beside the data.
func (s *socket) readMessage(r *receiving) {
	if r.message == nil {
		return
	}
	if s.opts.inq {
		r.message.control = append(r.message.control, control{level: solTCP, kind: tcpInq, data: controlInt(s.inqHint(r))})
	}
}

// inqHint is tcp_inq_hint: what is left to be read, the FIN counted until it has been; after it 1, so that the application
// goes on to read.
func (s *socket) inqHint(r *receiving) int64 {
	n := s.buffered()
	if s.peerShut() && (r.got > 0 || n > 0) {
		n++
	}
	if n == 0 && s.sawFIN {
		n = 1
	}
	return n
}
