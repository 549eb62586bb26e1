package tcpstack

// WriteFlags say how a write is to be sent; they may be combined.
type WriteFlags uint8

const (
	// WriteMore: more will be written soon: what does not fill a segment waits (MSG_MORE).
	WriteMore WriteFlags = 1 << iota
	// WriteEOR: the end of a record: nothing written later shares a segment with these bytes (MSG_EOR).
	WriteEOR
	// WriteUrgent: the last byte is urgent (MSG_OOB).
	WriteUrgent
	// WriteHold only queues the bytes, all of them: the caller has looked for room, and pushes.
	WriteHold
	// WriteFill takes all bytes: the caller has looked for room.
	WriteFill
)

// queuedWrite is a stretch of bytes that were never sent, and go in segments of their own: one of the socket buffers of
// Linux's write queue. It grows by what is written later, up to sizeGoal.
type queuedWrite struct {
	end  seqNum
	push bool // its last segment carries PSH
	eor  bool // it does not grow
}

// writeQueue is what of the send buffer was never sent.
type writeQueue struct {
	q     []queuedWrite // [first:] are live, in sequence order
	first int
}

func (w *writeQueue) len() int { return len(w.q) - w.first }

// head is the stretch that SND.NXT lies in; nil if all was sent.
func (w *writeQueue) head() *queuedWrite {
	if w.first == len(w.q) {
		return nil
	}
	return &w.q[w.first]
}

// tail is the stretch written last, or nil.
func (w *writeQueue) tail() *queuedWrite {
	if w.first == len(w.q) {
		return nil
	}
	return &w.q[len(w.q)-1]
}

// tailStart is where the last stretch begins, with SND.NXT next.
func (w *writeQueue) tailStart(next seqNum) seqNum {
	if w.len() > 1 {
		return w.q[len(w.q)-2].end
	}
	return next
}

func (w *writeQueue) append(e queuedWrite) {
	if len(w.q) == cap(w.q) && w.first > 0 {
		w.q, w.first = w.q[:copy(w.q, w.q[w.first:])], 0
	}
	w.q = append(w.q, e)
}

// sent takes off what lies wholly below next.
func (w *writeQueue) sent(next seqNum) {
	for w.first < len(w.q) && w.q[w.first].end.lessEq(next) {
		w.first++
	}
	if w.first == len(w.q) {
		w.q, w.first = w.q[:0], 0
	}
}

// maxSizeGoal is what a stretch grows to at most: what Linux lets a network card cut into segments (GSO_LEGACY_MAX_SIZE
// less MAX_TCP_HEADER).
const maxSizeGoal = 65536 - 321

// sizeGoal is what a stretch of the write queue grows to: whole segments, at most half the largest window (Linux:
// tcp_xmit_size_goal).
func (c *Conn) sizeGoal() int {
	mss := c.segmentRoom()
	return max(mss, c.halfWindow(maxSizeGoal)/mss*mss)
}

// enqueue enters n bytes, which the send buffer holds, in the write queue, and marks what is to be pushed.
//
// RFC 9293 3.9.1.2 (MUST-61): "the sending TCP peer ... MUST set the PSH bit in the last buffered segment (i.e., when
// there is no more queued data to be sent)." As Linux has it, the mark stays with the bytes that were the last when
// they were written, and long queues are marked on the way (forcedPush).
func (c *Conn) enqueue(n int, flags WriteFlags) {
	w := &c.snd.queue
	if w.len() == 0 {
		c.chronoStart(chronoBusy)
	}
	goal := c.stretchGoal()
	if flags&WriteUrgent != 0 {
		goal = min(goal, int(c.blockSize())) // Linux (tcp_send_mss): urgent data is not gathered
	}
	first := flags&WriteHold == 0
	for n > 0 {
		room := 0
		if tail := w.tail(); tail != nil && !tail.eor {
			room = goal - int(tail.end-w.tailStart(c.sndNxt))
		}
		if room <= 0 {
			w.append(queuedWrite{end: c.sndEnd})
			c.naglePush = false
			room = goal
		} else if first {
			w.tail().push = false // Linux (tcp_sendmsg_locked): what is appended decides
		}
		first = false
		m := min(n, room)
		tail := w.tail()
		tail.end += seqNum(m)
		c.sndEnd = tail.end
		if n -= m; n > 0 && c.forcedPush() {
			c.markPush(tail)
		}
	}
	if flags&WriteHold != 0 {
		if flags&WriteEOR != 0 {
			c.markPush(w.tail())
			w.tail().eor = true
		}
		return
	}
	tail := w.tail()
	if flags&WriteMore == 0 || c.forcedPush() {
		c.markPush(tail)
	}
	tail.eor = tail.eor || flags&WriteEOR != 0
}

// stretchGoal is sizeGoal, but before the handshake has told the MSS there is no bound: where a stretch ends would show.
func (c *Conn) stretchGoal() int {
	if c.sndMSS == 0 {
		return maxBuffer
	}
	return c.sizeGoal()
}

// markPush: Linux's tcp_mark_push.
func (c *Conn) markPush(w *queuedWrite) {
	w.push = true
	c.pushedSeq = c.sndEnd
}

// forcedPush says whether half the largest window was written since the last PSH: the receiver is not to wait for one
// longer (Linux: forced_push).
func (c *Conn) forcedPush() bool { return (c.pushedSeq + seqNum(c.maxSndWnd/2)).less(c.sndEnd) }
