package tcpstack

import (
	"net/netip"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/congestion"
)

// finished is a connection of s to 10.0.0.2 that ends with these figures.
func finished(s *Stack, rtt sim.Time, w congestion.Window, ca caState, reordering uint32) *Conn {
	c := &Conn{stack: s, set: s.tcp.defaults, srtt8: uint32(8 * us(rtt)), win: w, caState: ca}
	c.remote = ipAddrOf(netip.MustParseAddr("10.0.0.2"))
	c.recovery().reordering = reordering
	return c
}

// RFC 9040 6: temporal sharing. tcp_update_metrics: "If newly calculated rtt larger than stored one, store new one. Otherwise, use EWMA."
func TestMetricsOfRoundTrips(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	open := congestion.Window{Cwnd: 10, SSThresh: ssthreshUnset}
	for _, step := range []struct {
		rtt, want sim.Time
		backoff   uint8
	}{
		{100 * sim.Millisecond, 100 * sim.Millisecond, 0},
		{20 * sim.Millisecond, 90 * sim.Millisecond, 0},
		{200 * sim.Millisecond, 200 * sim.Millisecond, 0},
		{50 * sim.Millisecond, 0, 1}, // nothing came back in time: what was known is no good
		{30 * sim.Millisecond, 30 * sim.Millisecond, 0},
	} {
		c := finished(x.s, step.rtt, open, caOpen, 3)
		c.backoff = step.backoff
		c.saveMetrics()
		if got := sim.Time(c.metrics().srtt8/8) * sim.Microsecond; got != step.want {
			t.Errorf("after %v: %v is kept, not %v", step.rtt, got, step.want)
		}
	}
	x.advance(metricsLife + 1)
	c := finished(x.s, 0, open, caOpen, 3)
	if m := c.metrics(); m == nil || m.srtt8 != 0 {
		t.Errorf("after an hour %+v is kept", m)
	}
}

// tcp_update_metrics: where slow start has ended is known in congestion avoidance; the reordering is noted when the
// connection ends otherwise.
func TestMetricsOfWindows(t *testing.T) {
	on := true
	x := newTCPTrace(t, TCPConfig{SSThreshMetrics: &on})
	for _, step := range []struct {
		w          congestion.Window
		ca         caState
		reordering uint32
		ssthresh   uint32
		want       uint32
	}{
		{congestion.Window{Cwnd: 90, SSThresh: ssthreshUnset}, caOpen, 9, 0, 3}, // slow start has not ended
		{congestion.Window{Cwnd: 30, SSThresh: 20}, caOpen, 9, 20, 3},
		{congestion.Window{Cwnd: 60, SSThresh: 20}, caOpen, 9, 30, 3},
		{congestion.Window{Cwnd: 90, SSThresh: ssthreshUnset}, caOpen, 3, 45, 3},
		{congestion.Window{Cwnd: 9, SSThresh: 50}, caRecovery, 7, 50, 7},
		{congestion.Window{Cwnd: 9, SSThresh: 40}, caOpen, 5, 50, 7}, // slow start again
	} {
		finished(x.s, sim.Millisecond, step.w, step.ca, step.reordering).saveMetrics()
		next := finished(x.s, sim.Millisecond, congestion.Window{Cwnd: 10, SSThresh: ssthreshUnset}, caOpen, 3)
		next.takeMetrics()
		if step.ssthresh == 0 {
			step.ssthresh = ssthreshUnset
		}
		if next.win.SSThresh != step.ssthresh || next.rec.reordering != step.want {
			t.Errorf("after %+v: ssthresh %d, reordering %d; want %d, %d", step.w, next.win.SSThresh, next.rec.reordering,
				step.ssthresh, step.want)
		}
	}
}

// The table is bounded: the path that was learned first makes room.
func TestMetricsBound(t *testing.T) {
	var table metricsTable
	path := func(i int) metricsPath { return metricsPath{remote: ipAddr{lo: uint64(i)}} }
	for i := range maxMetrics + 10 {
		table.learn(path(i), 0).srtt8 = uint32(i) + 1
	}
	if len(table.at) != maxMetrics || len(table.blocks) != maxMetrics {
		t.Fatalf("%d paths in %d blocks", len(table.at), len(table.blocks))
	}
	for i := range maxMetrics + 10 {
		m := table.find(path(i), 0)
		if (m == nil) != (i < 10) || m != nil && m.srtt8 != uint32(i)+1 {
			t.Fatalf("path %d: %+v", i, m)
		}
	}
}

// RFC 4987 3.1; tcp_conn_request: "Without syncookies last quarter of backlog is filled with destinations, proven to be
// alive."
func TestLastQuarterOfBacklog(t *testing.T) {
	most := uint32(8)
	x := newTCPTrace(t, TCPConfig{SYNCookies: "off", SYNBacklog: &most})
	x.listenQueue(20, nil)
	syn := func(port uint16) {
		x.them = netipPort(x.them, port)
		x.send("S seq=100 mss=1460")
	}
	for port := range uint16(7) { // 8-7 = 1 is less than a quarter
		syn(5000 + port)
		x.want("SA seq=1000 ack=101")
	}
	syn(6000)
	x.wantIdle()
	if n := x.s.tcp.count.listenDrops; n != 1 {
		t.Errorf("%d SYNs are counted as dropped", n)
	}
	finished(x.s, 10*sim.Millisecond, congestion.Window{Cwnd: 10, SSThresh: ssthreshUnset}, caOpen, 3).saveMetrics()
	syn(6001)
	x.wantIdle() // what is known is known of a pair of addresses
	c := finished(x.s, 10*sim.Millisecond, congestion.Window{Cwnd: 10, SSThresh: ssthreshUnset}, caOpen, 3)
	c.local = ipAddrOf(x.us.Addr())
	c.saveMetrics()
	syn(6002)
	x.want("SA seq=1000 ack=101")
}
