package tcpstack

import "math/bits"

const (
	sendBufDefault = 16384 // tcp_wmem[1]
	skbHeader      = 320   // MAX_TCP_HEADER
)

// expandSendBuffer makes room for two windows of data, with what Linux counts for each segment's buffer: one in flight,
// one to follow while the first is repaired; with BBR for three (Linux: tcp_sndbuf_expand).
func (c *Conn) expandSendBuffer() {
	if c.set.sndBuf != 0 || !c.set.sendAutotuning {
		return
	}
	perMSS := uint64(c.sndMSS)
	if c.tsOK {
		perMSS += timestampsLen
	}
	perMSS += skbHeader + 320
	perMSS = 1<<bits.Len64(perMSS-1) + 256
	segs := max(uint64(c.win.Cwnd), 10, uint64(c.set.reordering)+1)
	windows := uint64(c.set.cc.SendBufferWindows())
	c.sndBuf = max(c.sndBuf, uint32(min(windows*segs*perMSS, uint64(c.set.maxSendBuffer))))
}

// spaceFreed lets a send buffer grow that the application has filled, and the congestion window has not (Linux:
// tcp_new_space, tcp_should_expand_sndbuf).
func (c *Conn) spaceFreed() {
	if c.wantWrite && c.rtx.inFlight() < int(c.win.Cwnd) && !c.stack.tcp.mem.pressure() {
		c.expandSendBuffer()
	}
}
