package tcpstack

// memory is what all connections of a stack hold in their buffers, bytes (Linux: tcp_mem, net.ipv4.tcp_memory_allocated).
type memory struct {
	used, limit uint64 // limit 0: none
}

// pressure says whether three quarters of the limit are used: buffers and windows do not grow then, as between
// tcp_mem[1] and tcp_mem[2].
func (m *memory) pressure() bool { return m.limit != 0 && m.used > m.limit/4*3 }

// fits says whether n bytes more stay below the limit.
func (m *memory) fits(n int) bool { return m.limit == 0 || m.used+uint64(n) <= m.limit }

// atMost is how many of n bytes more stay below the limit.
func (m *memory) atMost(n int) int {
	if m.limit == 0 {
		return n
	}
	return int(min(uint64(n), m.limit-min(m.limit, m.used)))
}

func (m *memory) take(n int) { m.used += uint64(n) }
func (m *memory) give(n int) { m.used -= uint64(n) }

// recvMemory is what a connection's receive buffer may take: sk_rcvbuf, which is double what a program sets (Linux:
// SO_RCVBUF).
func (c *Conn) recvMemory() int {
	buf, _ := c.set.recvSpace()
	if r := c.rcvf; r != nil {
		buf = r.rcvBuf
	}
	if c.set.rcvBuf != 0 {
		return 2 * int(buf)
	}
	return int(buf)
}

// recvFits says whether a segment's n bytes at seq may be kept, in the memory of the stack and, where they lie beyond a
// gap, in the connection's, which what is held already must not have filled. Where not, what lies beyond the gap is thrown
// away first, the farthest before the nearer, since it can come again (Linux: tcp_try_rmem_schedule,
// tcp_prune_ofo_queue). It reports whether any was.
//
// RFC 2018 8: "the data receiver is permitted to discard data in its queue that has not been acknowledged to the data
// sender, even if the data has already been reported in a SACK option."
func (c *Conn) recvFits(seq seqNum, n int) (fits, pruned bool) {
	b, limit := c.rcv, c.recvMemory()
	for {
		full := b != nil && seq != c.rcvNxt && !b.fits(limit)
		if fits = c.stack.tcp.mem.fits(n) && !full; fits || b == nil || len(b.ooo) == 0 {
			return fits, pruned
		}
		if b.ooo[len(b.ooo)-1].seq.lessEq(seq) {
			return false, pruned // what comes lies farther still
		}
		c.stack.tcp.mem.give(b.prune())
		c.stack.tcp.count.ofoPruned++
		pruned = true
	}
}

// prune throws the farthest piece away. What was reported of the others is reported anew as they change (Linux:
// tcp_sack_reset).
func (b *recvBuffer) prune() (freed int) {
	k := len(b.ooo) - 1
	last := &b.ooo[k]
	freed = len(last.b)
	last.chunk.Release()
	*last = oooPiece{}
	b.ooo = b.ooo[:k]
	b.oooLen -= freed
	b.latest = min(b.latest, max(0, k-1))
	b.nblocks = 0
	return freed
}
