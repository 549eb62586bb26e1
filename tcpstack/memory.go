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

func (m *memory) take(n int) { m.used += uint64(n) }
func (m *memory) give(n int) { m.used -= uint64(n) }

// recvFits says whether a segment's n bytes at seq may be kept: beyond the limit what lies beyond a gap is thrown away
// first, the farthest before the nearer, since it can come again (Linux: tcp_try_rmem_schedule, tcp_prune_ofo_queue).
//
// RFC 2018 8: "the data receiver is permitted to discard data in its queue that has not been acknowledged to the data
// sender, even if the data has already been reported in a SACK option."
func (c *Conn) recvFits(seq seqNum, n int) bool {
	m := &c.stack.tcp.mem
	if m.fits(n) {
		return true
	}
	if b := c.rcv; b != nil {
		for !m.fits(n) && len(b.ooo) > 0 {
			last := &b.ooo[len(b.ooo)-1]
			if last.seq.lessEq(seq) {
				break // what comes lies farther still
			}
			freed := len(last.b)
			last.chunk.Release()
			*last = oooPiece{}
			b.ooo = b.ooo[:len(b.ooo)-1]
			b.oooLen -= freed
			b.latest = min(b.latest, max(0, len(b.ooo)-1))
			m.give(freed)
			c.stack.tcp.count.ofoPruned++
		}
		c.recordReassembly()
	}
	return m.fits(n)
}
