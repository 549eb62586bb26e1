package tcpstack

// What a caller needs that fills the send buffer as Linux's tcp_sendmsg does, by the memory that its buffers take: it looks
// for room where it begins a new one, and what it has begun it fills.

// sendOverhead is what a buffer of the write queue takes beside its data: its descriptor, and the room for headers (Linux:
// SKB_TRUESIZE of MAX_TCP_HEADER).
const sendOverhead = skbHeader + skbOverhead

// SendBuffer is how much memory may be queued (Linux: sk_sndbuf).
func (c *Conn) SendBuffer() int { return int(c.sndBuf) }

// SendMemory is what the bytes that were written and not acknowledged take (Linux: sk_wmem_queued): those in flight lie in
// buffers of as many segments as leave together.
func (c *Conn) SendMemory() int {
	n, buffers := c.Unacked(), 0
	if c.rtx != nil && c.rtx.n > 0 {
		burst := c.burst()
		buffers = (c.rtx.n + burst - 1) / burst
	}
	if c.snd != nil {
		buffers += c.snd.queue.len()
	}
	return n + buffers*sendOverhead
}

// Autosizing of what leaves together (Linux: tcp_tso_autosize).
const (
	leastBurst   = 2  // segments (tcp_min_tso_segs)
	burstRTTLog  = 9  // tcp_tso_rtt_log
	burstRTTBits = 32 // beyond, the round trip adds nothing
	maxBurst     = 65536
)

// burst is how many segments leave together: what is paced in a millisecond, and more where the round trip is short.
func (c *Conn) burst() int {
	bytes := c.control().Pace() >> 10
	if r := micros(c.minRTT()) >> burstRTTLog; r < burstRTTBits {
		bytes += maxBurst >> r
	}
	return max(int(min(bytes, maxBurst))/int(c.sndMSS), leastBurst)
}

// Stretch tells how many more bytes join what was written last, and how many one stretch of the write queue takes: a write
// of more begins new ones.
func (c *Conn) Stretch() (room, goal int) {
	goal = c.stretchGoal()
	if c.snd != nil {
		if tail := c.snd.queue.tail(); tail != nil && !tail.eor {
			room = max(goal-int(tail.end-c.snd.queue.tailStart(c.sndNxt)), 0)
		}
	}
	return room, goal
}

// NotsentFull says whether so much waits unsent that no new stretch is begun.
func (c *Conn) NotsentFull() bool { return c.notsentFull(0) }

// PushStretch sends what a write lets go that has filled a stretch and goes on: all that was written once half the largest
// window was since the last push, else a burst of the first stretch (Linux: forced_push, tcp_push_one).
func (c *Conn) PushStretch() {
	if c.snd == nil || c.snd.queue.len() == 0 || !c.state.transmits() {
		return
	}
	q := &c.snd.queue
	switch {
	case c.forcedPush():
		c.markPush(q.tail())
		c.transmitAs(c.nagleMode() | naglePush)
	case q.len() == 1:
		n, _ := c.nextStretch(naglePush)
		if n == 0 || c.pacedOut() {
			return
		}
		if quota := min(c.quota(n, false), c.burst()); quota > 0 {
			before := c.rtx.out()
			c.sendStretch(n, quota, false, naglePush)
			c.countPRR(c.rtx.n - before)
			c.armAfterSending()
			c.validateCwnd(c.rtx.inFlight() >= int(c.win.Cwnd))
		}
	}
}

// Flush sends what was written as if its last byte were pushed, and notes that the application waits for room.
func (c *Conn) Flush() {
	c.wantWrite = true
	if c.snd != nil && c.snd.queue.len() > 0 {
		c.markPush(c.snd.queue.tail())
	}
	c.transmitAs(c.nagleMode() | naglePush)
}
