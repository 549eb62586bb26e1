package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// What a stack remembers of the paths of connections that are over, for those to come: Linux's tcp_metrics.c, and RFC 9040's
// temporal sharing. A block is kept for a pair of addresses. Linux keeps RTTVAR and CWND as well, which no new connection
// looks at.

const (
	// maxMetrics bounds the paths that a stack remembers: many more than a lab's host talks to. The oldest makes room.
	maxMetrics = 4096
	// metricsLife is how long what a connection has measured counts (Linux: TCP_METRICS_TIMEOUT). A Fast Open cookie has no
	// such end.
	metricsLife = 3600 * sim.Second
)

// metricsTable holds the blocks of a stack.
type metricsTable struct {
	at     map[metricsPath]int32 // in blocks
	blocks []pathMetrics         // [next:] then [:next] once it is full, the oldest first
	next   int
}

// metricsPath names a path. RFC 7413 4.1.3: "the client should cache at most one (most recently received) cookie per
// client and server IP address pair".
type metricsPath struct{ local, remote ipAddr }

func (t *tuple) metricsPath() metricsPath { return metricsPath{t.local, t.remote} }

// pathMetrics is what is known of a path.
type pathMetrics struct {
	path       metricsPath
	savedAt    sim.Time // when a connection's end was last noted
	srtt8      uint32   // us, in Conn.srtt8's scale; 0: not known
	ssthresh   uint32   // segments; 0: not known
	reordering uint32   // segments; 0: as configured
	fastOpenMetrics
}

// fastOpenMetrics is what Fast Open has learned of a path. RFC 7413 4.1.3: "The client MUST cache cookies from servers
// for later Fast Open connections. ... When caching cookies, we recommend that the client also cache the Maximum Segment
// Size (MSS) advertised by the server."
type fastOpenMetrics struct {
	cookie wire.FastOpen
	mss    uint16 // of the server's last SYN,ACK; 0: not known
	tryExp uint8  // 1: the option was not understood, ask by the experimental one; 2: nor was that
}

// find is the block of a path, or nil. It is good until the next learn.
func (t *metricsTable) find(p metricsPath, now sim.Time) *pathMetrics {
	if len(t.at) == 0 {
		return nil
	}
	i, ok := t.at[p]
	if !ok {
		return nil
	}
	m := &t.blocks[i]
	if now-m.savedAt > metricsLife {
		m.savedAt, m.srtt8, m.ssthresh, m.reordering = now, 0, 0, 0
	}
	return m
}

// learn is the block of a path, made where there is none.
func (t *metricsTable) learn(p metricsPath, now sim.Time) *pathMetrics {
	if m := t.find(p, now); m != nil {
		return m
	}
	if t.at == nil {
		t.at = make(map[metricsPath]int32)
	}
	i := len(t.blocks)
	if i < maxMetrics {
		t.blocks = append(t.blocks, pathMetrics{})
	} else {
		i = t.next
		t.next = (t.next + 1) % maxMetrics
		delete(t.at, t.blocks[i].path)
	}
	t.blocks[i] = pathMetrics{path: p, savedAt: now}
	t.at[p] = int32(i)
	return &t.blocks[i]
}

// metrics is the block of the connection's path, or nil.
func (c *Conn) metrics() *pathMetrics {
	return c.stack.tcp.metrics.find(c.metricsPath(), c.stack.loop.Now())
}

// FlushMetrics forgets all that is known of paths: the cookies that servers gave as well as what connections have measured
// (ip tcp_metrics flush).
func (s *Stack) FlushMetrics() {
	t := &s.tcp.metrics
	clear(t.at)
	t.blocks, t.next = t.blocks[:0], 0
}

// saveMetrics notes what a connection that ends in good order has found out (Linux: tcp_update_metrics, called as a socket
// enters TIME-WAIT, becomes an orphan in FIN-WAIT-2, or leaves LAST-ACK).
func (c *Conn) saveMetrics() {
	if !c.set.metricsSave {
		return
	}
	if c.backoff != 0 || c.srtt8 == 0 { // nothing came back in time
		if m := c.metrics(); m != nil {
			m.srtt8 = 0
		}
		return
	}
	now := c.stack.loop.Now()
	m := c.stack.tcp.metrics.learn(c.metricsPath(), now)
	m.savedAt = now
	// Rather too long than too short: a longer time counts at once, a shorter one by an eighth.
	if m.srtt8 <= c.srtt8 {
		m.srtt8 = c.srtt8
	} else {
		m.srtt8 -= (m.srtt8 - c.srtt8) >> 3
	}
	c.saveWindow(m)
}

// saveWindow notes where slow start has ended, and how far the path reorders.
func (c *Conn) saveWindow(m *pathMetrics) {
	w := &c.win
	switch {
	case w.SSThresh == ssthreshUnset:
		if half := w.Cwnd / 2; c.set.ssthreshMetrics && m.ssthresh != 0 && half > m.ssthresh {
			m.ssthresh = half
		}
	case !w.InSlowStart() && c.caState == caOpen:
		if c.set.ssthreshMetrics {
			m.ssthresh = max(w.Cwnd/2, w.SSThresh)
		}
	default:
		if c.set.ssthreshMetrics && m.ssthresh != 0 && w.SSThresh > m.ssthresh {
			m.ssthresh = w.SSThresh
		}
		if c.rec != nil && c.rec.reordering != c.set.reordering {
			m.reordering = max(m.reordering, c.rec.reordering)
		}
	}
}

// takeMetrics starts a connection with what is known of its path, and sets its first timeout (Linux: tcp_init_metrics). It
// reports whether anything was known that counts.
//
// The handshake's round trip is that of small segments: if connections before had longer ones, the first timeout is made
// of theirs, until data has been timed. Where neither is known the timeout falls back to 3 seconds.
func (c *Conn) takeMetrics() (known bool) {
	m := c.metrics()
	if m == nil {
		if c.srtt8 == 0 {
			c.fallbackRTO()
		}
		return false
	}
	if c.set.ssthreshMetrics && m.ssthresh != 0 {
		c.win.SSThresh, known = m.ssthresh, true
	}
	if m.reordering != 0 && m.reordering != c.set.reordering {
		c.recovery().reordering, known = m.reordering, true
	}
	switch {
	case m.srtt8 > c.srtt8:
		rtt := sim.Time(m.srtt8/8) * sim.Microsecond / sim.Millisecond * sim.Millisecond // Linux counts it in ticks
		c.rto, known = rtt+max(2*rtt, c.set.minRTO), true
	case c.srtt8 == 0:
		c.fallbackRTO()
	}
	return known
}

// recordTaken records what takeMetrics has set.
func (c *Conn) recordTaken() {
	if c.stack.loop.Rec != nil {
		c.recordMetrics(c.win, 0)
	}
	if !c.win.InSlowStart() {
		c.setCCState(CongestionAvoidance, CCSSThreshReached)
	}
}
