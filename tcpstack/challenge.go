package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// answered counts the answers that no news calls for: since when, and how many in that time.
type answered struct {
	since sim.Time // 0: never
	n     uint8
}

// throttled says whether an answer that no news calls for would be one too many for the time (Linux: __tcp_oow_rate_limited;
// FreeBSD lets more go: tcp_send_challenge_ack). Two ends that both answer would else never stop.
//
// RFC 5961 7: "An implementation SHOULD include an ACK throttling mechanism to be conservative."
func (set *settings) throttled(now sim.Time, last *answered) bool {
	if last.since == 0 || set.invalidRatelimit == 0 || now-last.since >= set.invalidRatelimit {
		*last = answered{since: max(now, 1)}
	}
	if last.n >= set.invalidBurst {
		return true
	}
	last.n++
	return false
}

// mayAnswer says whether a segment that is not acceptable is to be acknowledged. As in Linux (tcp_oow_rate_limited) those
// with data always are: no loop is made of them.
func (set *settings) mayAnswer(g *segment, now sim.Time, last *answered) bool {
	if g.length > 0 && !g.has(wire.FlagSYN) || g.has(wire.FlagFIN) {
		return true
	}
	return !set.throttled(now, last)
}

// answer acknowledges a segment that is not acceptable; skipped counts those that were not.
func (c *Conn) answer(g *segment, skipped *uint64) {
	if c.set.mayAnswer(g, c.stack.loop.Now(), &c.oddities().challenged) {
		c.ackNow = true
	} else {
		*skipped++
	}
}

// challenge sends a challenge ACK: the peer that has sent the segment will know what to make of it, a forger learns nothing
// (Linux: tcp_send_challenge_ack).
func (c *Conn) challenge() {
	s := c.stack
	now := s.loop.Now()
	if c.set.throttled(now, &c.oddities().challenged) {
		s.tcp.count.skippedChallenge++
		return
	}
	if s.tcp.challenges.allow(now, c.set.challengeACKLimit) {
		s.tcp.count.challengeACKs++
		c.ackNow, c.challengeDue = true, true
	}
}

// challengeLimit bounds the challenge ACKs of the whole stack.
//
// RFC 5961 7, by way of example: "in any 5 second window, no more than 10 challenge ACKs should be sent". A fixed
// number lets a third party count another connection's (CVE-2016-5696): it is drawn anew each second, between half and
// one and a half times the limit.
type challengeLimit struct {
	dice   sim.Stream
	second sim.Time
	left   uint32
}

// allow takes one of the current second's.
func (l *challengeLimit) allow(now sim.Time, limit uint32) bool {
	if limit == 0 {
		return true
	}
	if second := now/sim.Second + 1; second != l.second {
		l.second = second
		l.left = (limit+1)/2 + uint32(l.dice.Below(uint64(second), uint64(limit)))
	}
	if l.left == 0 {
		return false
	}
	l.left--
	return true
}

// resets says whether a RST with this sequence number, which lies in the window or just before it, resets the connection.
//
// RFC 5961 3.2: "If the RST bit is set and the sequence number exactly matches the next expected sequence number
// (RCV.NXT), then TCP MUST reset the connection". Linux takes two more: the end of the last SACK block, where a peer
// that has sent beyond a gap resets from, and after a FIN the FIN's own (tcp_reset_check), which some send.
func (c *Conn) resets(g *segment) bool {
	switch {
	case g.seq == c.rcvNxt:
		return true
	case g.seq == c.rcvNxt-1:
		return c.state == StateCloseWait || c.state == StateLastAck || c.state == StateClosing
	case !c.set.challengeACKs:
		return true // RFC 793: "all reset (RST) segments are validated by checking their SEQ-fields": anywhere in the window
	case c.sackOK && c.rcv != nil:
		var blocks [wire.MaxSACKBlocks]wire.SACKBlock
		edge := c.rcvNxt
		for _, b := range blocks[:c.rcv.sackBlocks(blocks[:c.maxSACKBlocks()])] {
			edge = maxSeq(edge, seqNum(b.Right))
		}
		return g.seq == edge
	}
	return false
}

// arrivesSYN is "Fourth, check the SYN bit". RFC 5961 4.2: "If the SYN bit is set, irrespective of the sequence number, TCP
// MUST send an ACK (also referred to as challenge ACK) to the remote peer". Before it was, RFC 793: "If the SYN is in the
// window it is an error, send a reset".
func (c *Conn) arrivesSYN(g *segment) {
	c.stack.tcp.count.synChallenges++
	if !c.set.challengeACKs && c.acceptable(g) {
		c.sendRST()
		c.terminate(ErrReset, ClosedReset, RxSYN)
		return
	}
	c.challenge()
}

// ackAcceptable checks SEG.ACK against what was sent.
//
// RFC 5961 5.2: "The ACK value is considered acceptable only if it is in the range of ((SND.UNA - MAX.SND.WND) <= SEG.ACK
// <= SND.NXT). All incoming segments whose ACK value doesn't satisfy the above condition MUST be discarded and an ACK sent
// back." Linux knows no more than what was acknowledged so far to be old.
func (c *Conn) ackAcceptable(g *segment) bool {
	if c.sndNxt.less(g.ack) {
		c.stack.tcp.count.ackUnsentData++
		c.challenge()
		return false
	}
	if !c.set.challengeACKs || !g.ack.less(c.sndUna) {
		return true // RFC 793: "If the ACK is a duplicate (SEG.ACK < SND.UNA), it can be ignored"
	}
	if old := min(uint64(c.maxSndWnd), c.numbersAcked()); g.ack.less(c.sndUna - seqNum(old)) {
		c.stack.tcp.count.tooOldAcks++
		c.challenge()
		return false
	}
	return true
}

// numbersAcked is how many sequence numbers the peer has acknowledged, as Linux counts bytes_acked: with the SYN of an
// active open and with the FIN.
func (c *Conn) numbersAcked() uint64 {
	n := c.bytesAcked
	if !c.passive && (n > 0 || c.sndUna != c.iss) {
		n++
	}
	if c.finSent && c.sndUna == c.sndNxt {
		n++
	}
	return n
}
