package packetdrill

// errorQueue is a socket's error queue: what recvmsg with MSG_ERRQUEUE takes, one message a call.
type errorQueue struct{ list []queuedError }

// queuedError is one message of the error queue.
type queuedError struct {
	control []control
	length  int64 // bytes of data that come with it
}

// maxQueuedErrors bounds an error queue that nobody reads (Linux bounds it by the receive buffer).
const maxQueuedErrors = 1024

func (q *errorQueue) push(e queuedError) {
	if len(q.list) < maxQueuedErrors {
		q.list = append(q.list, e)
	}
}

// receiveError takes the oldest message of the error queue; it never waits (sock_recv_errqueue, ip_recv_error).
func (s *socket) receiveError(r *receiving) (int64, Errno) {
	s.settle()
	q := &s.errors
	if len(q.list) == 0 {
		return -1, EAGAIN
	}
	e := q.list[0]
	q.list = q.list[1:]
	if r.message != nil {
		r.message.flags |= msgErrqueue
		if e.length > r.want {
			r.message.flags |= msgTrunc
		}
		r.message.control = append(r.message.control, e.control...)
	}
	return min(e.length, r.want), 0
}

// sendQueue keeps account of what was sent and somebody wants to hear of: MSG_ZEROCOPY's completions.
type sendQueue struct {
	offset uint64 // bytes written so far
	marks  []sendMark
	copies int64 // MSG_ZEROCOPY calls so far
}

// sendMark is the end of one call's bytes.
type sendMark struct {
	end uint64
	id  int64
}

// note remembers a call with MSG_ZEROCOPY.
func (q *sendQueue) note(s *socket, g *sending) {
	if g.flags&msgZerocopy == 0 || !s.opts.zerocopy || g.sent == 0 {
		return
	}
	q.marks = append(q.marks, sendMark{q.offset, q.copies})
	q.copies++
}

// settle reports what has been acknowledged by now.
func (s *socket) settle() {
	if s.conn != nil && len(s.sent.marks) > 0 {
		s.sent.acked(s, s.sent.offset-uint64(s.conn.Unacked()))
	}
}

// acked reports the calls whose bytes the peer has acknowledged.
func (q *sendQueue) acked(s *socket, upTo uint64) {
	for len(q.marks) > 0 && q.marks[0].end <= upTo {
		q.complete(s, q.marks[0].id)
		q.marks = q.marks[1:]
	}
}

// abandon is the end of the connection: nothing holds the buffers any more.
func (q *sendQueue) abandon(s *socket) { q.acked(s, q.offset) }

// complete queues a notification, or extends the last one (skb_zerocopy_notify_extend).
func (q *sendQueue) complete(s *socket, id int64) {
	if n := len(s.errors.list); n > 0 {
		if c := s.errors.list[n-1].control; len(c) == 1 && c[0].failed != nil && c[0].failed.origin == originZerocopy && c[0].failed.data == id-1 {
			c[0].failed.data = id
			return
		}
	}
	c := control{level: solIP, kind: ipRecverr}
	if s.domain == afInet6 {
		c.level, c.kind = solIPv6, ipv6Recverr
	}
	// A TUN device copies what it hands to its reader (skb_orphan_frags): the code says so.
	c.failed = &extendedFail{origin: originZerocopy, code: codeZerocopyCopied, info: id, data: id}
	s.errors.push(queuedError{control: []control{c}})
	s.change(epollErr)
}
