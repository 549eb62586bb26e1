package tcpstack

import (
	"math/bits"

	"labd.dev/tcpstack/wire"
)

// recvFlow is what a receiver's window is made of, once data has come: until then it stays what the SYN announced. The
// names are those of Linux's tcp_sock.
type recvFlow struct {
	rcvBuf   uint32 // sk_rcvbuf: bytes of memory
	clamp    uint32 // window_clamp: the most that is announced
	ssthresh uint32 // rcv_ssthresh: what is announced at present, where there is room
	ratio    uint32 // scaling_ratio: how much of the memory is payload, in 256ths

	rcvSpace
	rcvRTT
	next *recvFlow // in the free list
}

const (
	// recvBufDefault is tcp_rmem[1].
	recvBufDefault = 131072
	// defaultScalingRatio is Linux's TCP_DEFAULT_SCALING_RATIO: half, since 6.10.
	defaultScalingRatio = 1 << 7
	// skbHeadroom is what stands before a segment's data in its buffer: padding and headers.
	skbHeadroom = 64 + 60
)

// truesize is the memory that Linux counts for a received segment with n bytes of data: its buffer, from an allocator of
// powers of two, and its descriptor.
func truesize(n uint32) uint32 {
	need := max(n+skbHeadroom+320, 512)
	return 1<<bits.Len32(need-1) + 256
}

func winFromSpace(space, ratio uint32) uint32 { return uint32(uint64(space) * uint64(ratio) >> 8) }

func spaceFromWin(win uint64, ratio uint32) uint64 { return win << 8 / uint64(ratio) }

// recvSpace is the memory and the ratio that a connection starts with. A buffer that is fixed holds so much payload: its
// bytes are what a lab file says of the window.
func (s *settings) recvSpace() (buf, ratio uint32) {
	if s.rcvBuf != 0 {
		return s.rcvBuf, 256
	}
	buf = min(s.startRecvBuffer, s.maxRecvBuffer)
	if low := s.lowat(); low > 1 { // there is room for what must come (Linux: tcp_set_rcvlowat)
		buf = max(buf, uint32(spaceFromWin(uint64(low), defaultScalingRatio)))
	}
	return buf, defaultScalingRatio
}

// lowat is recvLowat, as far as half of the largest buffer holds it (Linux: tcp_set_rcvlowat).
func (s *settings) lowat() uint32 {
	buf := s.rcvBuf
	if buf == 0 {
		buf = s.maxRecvBuffer
	}
	return max(min(s.recvLowat, buf/2), 1)
}

// initialClamp is window_clamp as the handshake begins: what is configured, and what a fixed buffer holds.
func (s *settings) initialClamp() uint32 {
	clamp := uint32(0xffff << maxWscale)
	if s.windowClamp != 0 {
		clamp = s.windowClamp
	}
	if s.rcvBuf != 0 {
		clamp = min(clamp, s.rcvBuf)
	}
	return clamp
}

// wscale is the shift that the SYN offers: for the largest window that the buffer may grow to (Linux:
// tcp_select_initial_window).
//
// RFC 7323 2.3: "The maximum scale exponent is limited to 14".
func (s *settings) wscale() uint8 {
	buf, _ := s.recvSpace()
	space := min(max(buf, s.maxRecvBuffer), s.initialClamp())
	return uint8(min(max(bits.Len32(space)-16, 0), maxWscale))
}

// synWindow is the window that our SYN announces, whole segments where there is room for one: it is not scaled.
// ts says that timestamps are known to take their part of each.
func (s *settings) synWindow(rt *route, ts bool) uint32 {
	space := min(winFromSpace(s.recvSpace()), s.initialClamp())
	mss := uint32(s.advMSS(rt, rt.mtu()))
	if ts && mss > timestampsLen {
		mss -= timestampsLen
	}
	switch {
	case space >= 0xffff+mss && !s.signedWindows: // the division would tell nothing
		return 0xffff
	case space > mss:
		space -= space % mss
	}
	if s.signedWindows {
		space = min(space, maxSignedWindow)
	}
	return min(space, 0xffff)
}

// maxSignedWindow is the largest window of a peer that takes it for a signed number of 16 bits (Linux: MAX_TCP_WINDOW).
// RFC 9293 3.8.6 has windows be unsigned.
const maxSignedWindow = 32767

// flow is the receiver's state, made on first use (Linux: tcp_init_buffer_space).
func (c *Conn) flow() *recvFlow {
	if c.rcvf != nil {
		return c.rcvf
	}
	t := &c.stack.tcp
	r := t.freeFlow
	if r != nil {
		t.freeFlow = r.next
		*r = recvFlow{}
	} else {
		r = new(recvFlow)
	}
	c.rcvf = r
	r.rcvBuf, r.ratio = c.set.recvSpace()
	r.clamp = min(c.set.initialClamp(), 0xffff<<c.rcvWscale)
	most, advMSS := winFromSpace(r.rcvBuf, r.ratio), uint32(c.advMSS())
	if r.clamp >= most {
		r.clamp = most
	}
	if r.clamp > 2*advMSS && r.clamp+advMSS > most && c.set.rcvBuf == 0 { // room for a segment beyond the window
		r.clamp = max(2*advMSS, most-advMSS)
	}
	wnd := uint32(c.rcvAdv - c.rcvWup)
	r.ssthresh = min(wnd, r.clamp)
	r.space = min(r.ssthresh, wnd, 10*advMSS)
	r.spaceSeq, r.spaceAt = c.irs+1, c.stack.loop.Now()
	return r
}

func (c *Conn) releaseFlow() {
	if r := c.rcvf; r != nil {
		r.next, c.stack.tcp.freeFlow, c.rcvf = c.stack.tcp.freeFlow, r, nil
	}
}

// rcvFree is how much more data the receive buffer takes (Linux: tcp_space).
func (c *Conn) rcvFree() uint32 {
	r := c.rcvf
	full := winFromSpace(r.rcvBuf, r.ratio)
	if c.rcv == nil {
		return full
	}
	return full - min(full, uint32(c.rcv.inOrder+c.rcv.oooLen))
}

// selectWindow is the window that the receiver would like to announce (Linux: __tcp_select_window).
//
// RFC 9293 3.8.6.2.2, the receiver's silly window avoidance (MUST-39): "keep RCV.NXT+RCV.WND fixed until the reduction
// satisfies: RCV.BUFF - RCV.USER - RCV.WND >= min( Fr * RCV.BUFF, Eff.snd.MSS )".
func (c *Conn) selectWindow() uint32 {
	r := c.rcvf
	if r == nil {
		return c.rcvWnd()
	}
	free, allowed, mss := c.rcvFree(), winFromSpace(r.rcvBuf, r.ratio), uint32(c.rcvMSS)
	full := min(r.clamp, allowed)
	shrink := c.shrinksWindow()
	if shrink {
		free = free >> c.rcvWscale << c.rcvWscale
	}
	if mss > full {
		if mss = full; mss == 0 {
			return 0
		}
	}
	if free < full/2 {
		c.quickACKs = 0
		if c.stack.tcp.mem.pressure() {
			r.ssthresh = min(r.ssthresh, 4*uint32(c.advMSS()))
		}
		free = free >> c.rcvWscale << c.rcvWscale
		// Little is left: the window closes in time, before memory runs out.
		if free < allowed>>4 || free < mss || shrink && free == 0 {
			return 0
		}
	}
	free = min(free, r.ssthresh)
	if c.rcvWscale > 0 {
		unit := uint32(1) << c.rcvWscale
		return (free + unit - 1) &^ (unit - 1)
	}
	wnd := uint32(c.rcvAdv - c.rcvWup)
	switch {
	case wnd+mss <= free || wnd > free:
		return free - free%mss
	case mss == full && free > wnd+full/2:
		return free
	}
	return wnd
}

// shrinksWindow says whether the right edge of the window may move left: with a scale, and where that was asked for.
func (c *Conn) shrinksWindow() bool { return c.set.shrinkWindow && c.rcvWscale > 0 }

// advertise is the window field of the segment being sent; it moves RCV.ADV (Linux: tcp_select_window).
//
// RFC 9293 3.8.6 (SHLD-14): "A TCP receiver SHOULD NOT shrink the window, i.e., move the right window edge to the left".
func (c *Conn) advertise() uint16 {
	cur, shift := c.rcvWnd(), c.rcvWscale&maskWscale
	wnd := cur
	if c.rcvf != nil {
		wnd = c.selectWindow()
	}
	shrink := wnd < cur && c.shrinksWindow()
	if wnd <= cur && !shrink {
		unit := uint32(1) << shift
		wnd = (cur + unit - 1) &^ (unit - 1)
	}
	if shift == 0 && c.set.signedWindows {
		wnd = min(wnd, maxSignedWindow)
	}
	wnd = min(wnd, 0xffff<<shift)
	if edge := c.rcvNxt + seqNum(wnd); shrink || c.rcvAdv.less(edge) {
		c.rcvAdv = edge
	}
	return uint16(wnd >> shift)
}

// growWindow opens the window for what the peer sends, as far as segments like this one fit the buffer (Linux:
// tcp_grow_window).
func (c *Conn) growWindow(n uint32) {
	r := c.rcvf
	limit := min(r.clamp, c.rcvFree())
	if limit <= r.ssthresh {
		return
	}
	if c.stack.tcp.mem.pressure() {
		r.ssthresh = min(r.ssthresh, 4*uint32(c.advMSS()))
		return
	}
	size := truesize(n)
	incr := uint32(0)
	if c.set.rcvBuf != 0 || winFromSpace(size, r.ratio) <= n {
		incr = 2 * uint32(c.advMSS())
	} else {
		// Linux (__tcp_grow_window): small segments open it only while it is small.
		size = winFromSpace(size, r.ratio) >> 1
		for window := winFromSpace(c.set.maxRecvBuffer, r.ratio) >> 1; r.ssthresh <= window; size, window = size>>1, window>>1 {
			if size <= n {
				incr = 2 * uint32(c.rcvMSS)
				break
			}
		}
	}
	if incr > 0 {
		r.ssthresh += min(limit-r.ssthresh, max(incr, 2*n))
		if c.set.quickAC {
			c.quickACKs |= 1
		}
	}
}

// measureRcvMSS learns the size of full segments (Linux: tcp_measure_rcv_mss).
func (c *Conn) measureRcvMSS(g *segment) {
	n, last := g.length, c.lastSegSize
	c.lastSegSize = 0
	push := g.has(wire.FlagPSH)
	if n >= uint32(c.rcvMSS) {
		if n != uint32(c.rcvMSS) {
			c.rescale(n)
		}
		c.rcvMSS = uint16(min(n, uint32(c.advMSS())))
		if push {
			c.ackPushed |= ackPushed
		}
		return
	}
	// A smaller one that comes twice, and is no end of a write, shows a path with a smaller MSS.
	if c.looksFull(n, g) {
		if c.lastSegSize = uint16(n); c.lastSegSize == last {
			c.rcvMSS = c.lastSegSize
			return
		}
	}
	if c.ackPushed&ackPushed != 0 {
		c.ackPushed |= ackPushed2
	}
	c.ackPushed |= ackPushed
}

// minRcvMSS is the least that a full segment is taken to hold: RFC 791's 68-byte datagram's, and Linux's TCP_MIN_MSS.
const minRcvMSS = 88

// looksFull: as long as the default MSS, or at least the minimal one and not the end of a write.
func (c *Conn) looksFull(n uint32, g *segment) bool {
	return n >= defaultMSS || n >= minRcvMSS && g.flags&(wire.FlagPSH|wire.FlagFIN|wire.FlagURG|wire.FlagSYN) == 0
}

// rescale takes a segment's share of payload for that of all to come.
func (c *Conn) rescale(n uint32) {
	r := c.rcvf
	if c.set.rcvBuf != 0 {
		return
	}
	ratio := max(n<<8/truesize(n), 1)
	if ratio == r.ratio {
		return
	}
	r.ratio = ratio
	c.setClamp(winFromSpace(r.rcvBuf, ratio))
	r.space = min(r.space, r.clamp)
}

// setClamp: Linux's tcp_set_window_clamp.
func (c *Conn) setClamp(clamp uint32) {
	r := c.rcvf
	if c.set.windowClamp != 0 {
		clamp = min(clamp, c.set.windowClamp)
	}
	old := r.clamp
	r.clamp = clamp
	if clamp < old {
		r.ssthresh = min(r.ssthresh, clamp)
	} else {
		r.ssthresh = max(r.ssthresh, min(uint32(c.rcvAdv-c.rcvWup), clamp))
	}
}

// flushRead sends the ACK that reading makes due: a segment's worth that was not acknowledged yet, the end of a write
// that was read, or a window that has opened (Linux: tcp_cleanup_rbuf).
func (c *Conn) flushRead() {
	c.wasRead = false
	if !c.state.synchronized() || c.gone() {
		return
	}
	if c.ackPending {
		pushed := c.ackPushed&ackPushed2 != 0 || c.ackPushed&ackPushed != 0 && !c.inPingPong()
		pushed = pushed && !c.set.fixedDelAck // a delay that is configured holds
		empty := c.rcv == nil || c.rcv.inOrder+c.rcv.oooLen == 0
		if uint32(c.rcvNxt-c.rcvWup) > uint32(c.rcvMSS) || pushed && empty {
			c.sendACK(c.ackReason())
			return
		}
	}
	if !c.state.receives() || c.rcvf == nil {
		return
	}
	if now := c.rcvWnd(); 2*now <= c.rcvf.clamp {
		if wnd := c.selectWindow(); wnd > 0 && wnd >= 2*now {
			c.sendACK(SendWndUpdate)
		}
	}
}

// RecvBuffer is how much memory may be taken by what has come and was not read (Linux: sk_rcvbuf).
func (c *Conn) RecvBuffer() int {
	if c.rcvf != nil {
		return int(c.rcvf.rcvBuf)
	}
	buf, _ := c.set.recvSpace()
	return int(buf)
}

// rcvSSThresh is tcpi_rcv_ssthresh.
func (c *Conn) rcvSSThresh() uint32 {
	if c.rcvf != nil {
		return c.rcvf.ssthresh
	}
	return uint32(c.rcvAdv - c.rcvWup)
}

// rcvSpace is tcpi_rcv_space.
func (c *Conn) rcvSpace() uint32 {
	if c.rcvf != nil {
		return c.rcvf.space
	}
	return min(uint32(c.rcvAdv-c.rcvWup), 10*uint32(c.advMSS()))
}
