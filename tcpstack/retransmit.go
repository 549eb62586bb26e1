package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// retransmitQueue sends again what is taken for lost, as far as the window lets it (Linux: tcp_xmit_retransmit_queue).
//
// RFC 6675 5 (C): "If cwnd - pipe >= 1 SMSS, the sender SHOULD transmit one or more segments", those of NextSeg's rule (1)
// first. Linux has no rules (3) and (4): a loss probe does what the rescue retransmission did.
func (c *Conn) retransmitQueue() {
	q := c.rtx
	if q == nil || q.n == 0 {
		return
	}
	why, counted := SendFastRtx, &c.stack.tcp.count.fastRetrans
	if c.caState == caLoss {
		why, counted = SendRTORtx, &c.stack.tcp.count.slowStartRetrans
	}
	first := false
	for ; q.rtxHint < q.n && q.retransOut < q.lostOut && !c.pacedOut(); q.rtxHint++ {
		x := q.at(q.rtxHint)
		if x.flags&(txLost|txRetrans|txSacked) != txLost {
			continue
		}
		if q.inFlight() >= int(c.win.Cwnd) {
			break
		}
		if !c.resend(x, why) {
			break
		}
		*counted++
		c.countPRR(1)
		first = first || q.rtxHint == 0 && (c.timerAt == sim.Never || c.pendingTimer != TimerReorder)
	}
	if first {
		c.setRetransTimer(TimerRTO, c.backedOff())
	}
}

// xmitRecovery sends what the recovery wants sent after an ACK (Linux: tcp_xmit_recovery).
func (c *Conn) xmitRecovery(r *ackResult) {
	switch r.resend {
	case resendNone:
		return
	case resendNew:
		c.sendNew(c.nagleMode() | naglePush)
		if c.rec.highSeq.less(c.sndNxt) {
			return
		}
		c.rec.frto = false
	}
	c.retransmitQueue()
}

// resend sends a lost segment once more, and keeps account of it (Linux: tcp_retransmit_skb). False: the peer's window
// does not hold it.
func (c *Conn) resend(x *txSeg, why SendReason) bool {
	if !c.sendAgain(x, why) {
		return false
	}
	if x.flags&txRetrans == 0 {
		x.flags |= txRetrans
		c.rtx.retransOut++
	}
	u := &c.rec.undo
	if u.retransAt == sim.Never {
		u.retransAt = x.sentAt
	}
	u.retrans = max(u.retrans, 0) + 1
	return true
}

// sendAgain puts a segment in flight onto the wire once more. Its first segment goes even if the peer has shrunk its window
// below it (Linux: __tcp_retransmit_skb).
func (c *Conn) sendAgain(x *txSeg, why SendReason) bool {
	n := int(x.length)
	if room := int(int32(c.sndUna + seqNum(c.sndWnd) - x.seq)); room <= 0 && x.seq != c.sndUna {
		return false
	}
	flags := wire.FlagACK
	if x.flags&txFIN != 0 {
		flags |= wire.FlagFIN
	}
	if x.flags&txPSH != 0 {
		flags |= wire.FlagPSH
	}
	if c.mtup() != nil {
		c.mtup().size = 0 // Linux (__tcp_retransmit_skb): the probe tells nothing any more
	}
	f := c.start(flags, x.seq)
	if n > 0 {
		c.snd.payload(c.stack.loop, f, x.seq, n)
	}
	x.flags |= txRexmit
	if x.tx < 255 {
		x.tx++
	}
	x.sentAt = c.stack.loop.Now()
	c.lastDataSent = x.sentAt
	c.cc.Now = x.sentAt
	c.cc.Sent(&x.stamp, false, uint32(c.rtx.inFlight()))
	c.rackSentAgain(x)
	c.totalRetrans++
	c.bytesRetrans += uint64(n)
	c.stack.tcp.count.retransSegs++
	c.finish(f, flags, x.seq, n, why, int(x.tx))
	c.pace(c.cc, n)
	return true
}
