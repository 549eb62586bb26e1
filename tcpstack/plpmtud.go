package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Packetization layer path MTU discovery (RFC 4821), which needs no ICMP messages. RFC 4821 3: the sender tries
// ever larger packets; one that arrives raises the path MTU to its size, and one that is lost by itself tells of a limit,
// not of congestion.

const (
	// probeThreshold: a range of fewer bytes is not searched (tcp_probe_threshold).
	probeThreshold = 8
	// mtuProbeInterval: after so long the whole range is searched anew (tcp_probe_interval). RFC 4821 7.3
	// has a larger MTU looked for from time to time, as RFC 1191 6.3 does after 10 minutes.
	mtuProbeInterval = 600 * sim.Second
	// leastProbeCwnd: with a smaller window the loss of a probe might not be told apart (Linux: tcp_mtu_probe).
	leastProbeCwnd = 11
)

// mtuSearch is the search's state, of those connections that do it (Linux: icsk_mtup).
type mtuSearch struct {
	high, low  int // packets of low bytes pass, those above high do not
	size       int // of the probe in flight; 0: none is
	start, end seqNum
	since      sim.Time // when the search began
}

// mtup is the search, nil if there is none.
func (c *Conn) mtup() *mtuSearch {
	if c.odd == nil {
		return nil
	}
	return c.odd.mtup
}

// headersLen is what stands before a full segment's data.
func (c *Conn) headersLen() int {
	n := c.rt.ipLen() + c.rt.optionsLen() + wire.TCPMinLen
	if c.tsOK {
		n += timestampsLen
	}
	return n
}

// startMTUSearch begins the search (Linux: tcp_mtup_init).
//
// RFC 4821 7.2: search_high begins at the largest packet that the interface takes, and what is sent meanwhile at a size that
// nearly every path carries, 1024 bytes of data (tcp_base_mss).
func (c *Conn) startMTUSearch() {
	c.oddities().mtup = &mtuSearch{low: int(c.set.baseMSS) + c.headersLen(), since: c.stack.loop.Now()}
	c.odd.mtup.high = min(int(c.peerMSS)+c.rt.ipLen()+wire.TCPMinLen, c.pathMTU())
}

// establishedMTU begins the search where it is always done. As in Linux a passive open goes on with the MSS of its SYN,ACK
// until it is worked out anew.
func (c *Conn) establishedMTU() {
	if c.set.mtuProbing == MTUProbingAlways {
		c.startMTUSearch()
		if !c.passive {
			c.syncMSS()
		}
	}
}

// searchedMSS bounds a full segment to what is known to pass.
func (c *Conn) searchedMSS(mss uint16) uint16 {
	m := c.mtup()
	m.high = min(m.high, c.pathMTU())
	return min(mss, uint16(max(m.low-c.headersLen(), minMSS)))
}

// probeMTU sends a probe if one is in order (Linux: tcp_mtu_probe). wait: one will be, once what is in flight has gone.
//
// RFC 4821 7.4: a probe needs data to follow it, so that duplicate ACKs tell of its loss without a timeout.
func (c *Conn) probeMTU() (sent, wait bool) {
	m := c.mtup()
	if m.size != 0 || c.caState != caOpen || c.win.Cwnd < leastProbeCwnd || c.owesSACK() || c.snd == nil {
		return false, false
	}
	n := (m.high+m.low)/2 - c.headersLen()
	if m.high-m.low < probeThreshold {
		c.searchAgain()
		return false, false
	}
	needed, inFlight := n+int(c.recovery().reordering+1)*int(c.sndMSS), 0
	if c.rtx != nil {
		inFlight = c.rtx.inFlight()
	}
	switch {
	case c.unsent() < needed, int(c.sndWnd) < needed:
		return false, false
	case (c.sndUna + seqNum(c.sndWnd)).less(c.sndNxt + seqNum(needed)):
		return false, true
	case inFlight+2 > int(c.win.Cwnd):
		return false, inFlight > 0
	}
	push, whole := c.snd.queue.joins(c.sndNxt + seqNum(n))
	if !whole {
		return false, false
	}
	m.start, m.end = c.sndNxt, c.sndNxt+seqNum(n)
	c.sendData(n, false, push, SendMTUProbe)
	c.win.Cwnd-- // it stands for two segments
	m.size = n + c.headersLen()
	c.recordPathMTU(MTUProbeSent, m.size)
	return true, false
}

// joins says whether the bytes up to end may share a segment, and whether it carries PSH.
func (w *writeQueue) joins(end seqNum) (push, whole bool) {
	for _, e := range w.q[w.first:] {
		if end.less(e.end) {
			break
		}
		push = push || e.push
		if e.eor && e.end != end {
			return push, false
		}
	}
	return push, true
}

// searchAgain opens the range once more, after a long time (Linux: tcp_mtu_check_reprobe).
func (c *Conn) searchAgain() {
	if m, now := c.mtup(), c.stack.loop.Now(); now-m.since >= mtuProbeInterval {
		m.size, m.since = 0, now
		m.high = int(c.peerMSS) + c.rt.ipLen() + wire.TCPMinLen
		m.low = c.segmentRoom() + c.headersLen()
	}
}

// probeMTUAcked takes a probe that has arrived for the size that passes; the window keeps its bytes (Linux:
// tcp_mtup_probe_success).
//
// RFC 4821 7.6.1: a probe that was delivered raises the path MTU to its size.
func (c *Conn) probeMTUAcked() {
	m := c.mtup()
	if m.size == 0 || c.sndUna.less(m.end) {
		return
	}
	size := m.size
	c.win.Cwnd = max(1, c.win.Cwnd*uint32(int(c.sndMSS)+c.headersLen())/uint32(size))
	c.win.Count = 0
	c.control().use.stamp = c.stack.loop.Now()
	c.win.SSThresh = c.currentSsthresh()
	m.low, m.size = size, 0
	c.syncMSS()
	c.recordPathMTU(MTUProbeAcked, size)
}

// probeMTULost takes the loss of a probe, and of nothing before it, for the path's answer (Linux: tcp_fastretrans_alert,
// tcp_mtup_probe_failed).
//
// RFC 4821 7.6.2: a probe lost while nothing else was bounds the search below its size, and the congestion window stays.
func (c *Conn) probeMTULost() bool {
	m := c.mtup()
	if m == nil || m.size == 0 || c.caState >= caCWR || c.sndUna != m.start {
		return false
	}
	size := m.size
	m.high, m.size = size-1, 0
	c.win.Cwnd++
	c.recordPathMTU(MTUProbeLost, size)
	c.resendTooLarge()
	return true
}

// suspectBlackHole makes segments smaller when a segment was sent so often that the path may be swallowing those of its
// size: first the base MSS, then half of it each time (Linux: tcp_mtu_probing).
//
// RFC 4821 7.7: timeouts in a row with nothing delivered between may mean that the path has become narrower without a word:
// what is sent goes back to the initial size.
func (c *Conn) suspectBlackHole() {
	if c.set.mtuProbing == MTUProbingOff || c.rtx == nil || !c.retransmitsTimedOut(c.set.blackholeRetries) {
		return
	}
	if m := c.mtup(); m == nil {
		c.startMTUSearch()
	} else {
		mss := min((m.low-c.headersLen())/2, int(c.set.baseMSS))
		m.low = max(mss, int(c.set.mtuProbeFloor), minMSS) + c.headersLen()
	}
	c.syncMSS()
	c.recordPathMTU(MTUBlackHole, c.mtup().low)
	if q := c.rtx; q.cut(uint16(c.segmentRoom())) {
		for i := range q.n {
			q.at(i).flags &^= txTooLarge // the timeout takes all for lost
		}
	}
}
