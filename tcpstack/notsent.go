package tcpstack

// notsentFull says whether so much waits unsent that nothing more is taken: what the application still holds it may yet
// change its mind about (tcp_notsent_lowat, TCP_NOTSENT_LOWAT). It is told of room once half of that has left: wake is 1
// then (Linux: tcp_stream_memory_free).
func (c *Conn) notsentFull(wake int) bool {
	lowat := int(c.set.notsentLowat)
	return lowat != 0 && c.unsent()<<wake >= lowat
}

// notsentRoom is how many of n bytes a write takes before that: the mark is looked at where the write begins a new stretch
// of the queue, and a stretch that is full goes as far as the windows let it, some segments of the first one or, once half
// the largest window was written, all (Linux: tcp_sendmsg_locked, tcp_push_one, forced_push).
func (c *Conn) notsentRoom(n int) int {
	lowat, unsent, goal := int(c.set.notsentLowat), c.unsent(), c.stretchGoal()
	room := 0
	if c.snd != nil {
		if tail := c.snd.queue.tail(); tail != nil && !tail.eor {
			room = max(goal-int(tail.end-c.snd.queue.tailStart(c.sndNxt)), 0)
		}
	}
	ready, gone, pushed := c.sendable(), 0, c.pushedSeq
	for room < n {
		if end := c.sndEnd + seqNum(room); (pushed + seqNum(c.maxSndWnd/2)).less(end) {
			pushed, gone = end, min(ready, unsent+room)
		} else if room > 0 && unsent+room-gone <= goal {
			gone = min(ready, gone+leastBurst*int(c.sndMSS), unsent+room)
		}
		if unsent+room-gone >= lowat {
			break
		}
		room += goal
	}
	return min(room, n)
}

// sendable is how many bytes the windows have room for.
func (c *Conn) sendable() int {
	if !c.state.sends() {
		return 0
	}
	quota := int(c.win.Cwnd) - c.rtx.inFlight()
	window := int(int32(c.sndUna + seqNum(c.sndWnd) - c.sndNxt))
	return max(min(quota*int(c.sndMSS), window), 0)
}
