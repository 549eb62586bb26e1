package congestion

import (
	"testing"

	"labd.dev/sim"
)

// RFC 5681 3.1: slow start grows by what is acknowledged, up to ssthresh; then about one segment a round trip.
func TestSlowStartThenAvoidance(t *testing.T) {
	for _, id := range []ID{RenoID, CubicID} {
		a, w := id.New(), Window{Cwnd: 10, SSThresh: 16}
		a.Grow(&w, Ack{Now: sim.Second, Acked: 4, SRTT: 100 * sim.Millisecond})
		if w.Cwnd != 14 {
			t.Errorf("%v: cwnd %d in slow start", id, w.Cwnd)
		}
		a.Grow(&w, Ack{Now: sim.Second, Acked: 4, SRTT: 100 * sim.Millisecond})
		if w.Cwnd != 16 || w.InSlowStart() {
			t.Errorf("%v: cwnd %d at the threshold", id, w.Cwnd)
		}
	}
	r, w := Reno{}, Window{Cwnd: 20, SSThresh: 10}
	for range 10 {
		r.Grow(&w, Ack{Acked: 2})
	}
	if w.Cwnd != 21 {
		t.Errorf("cwnd %d after a window of ACKs", w.Cwnd)
	}
}

// RFC 5681 3.1 (4): half, at least two. RFC 9438 4.6: 0.7; 4.7: fast convergence.
func TestReduce(t *testing.T) {
	if n := (Reno{}).Reduce(&Window{Cwnd: 21}, 0); n != 10 {
		t.Errorf("reno %d", n)
	}
	if n := (Reno{}).Reduce(&Window{Cwnd: 1}, 0); n != MinSSThresh {
		t.Errorf("reno %d", n)
	}
	c := new(Cubic)
	if n := c.Reduce(&Window{Cwnd: 100}, 0); n != 70 || c.Variable() != 100 {
		t.Errorf("cubic %d, w_max %v", n, c.Variable())
	}
	if n := c.Reduce(&Window{Cwnd: 80}, 0); n != 56 || c.Variable() != 68 {
		t.Errorf("cubic %d, w_max %v", n, c.Variable())
	}
}

// RFC 9438 4.2: the window is back at W_max after K = cubic_root(W_max*(1-beta)/C) seconds: concave before, convex after.
func TestCubicReachesWmaxAfterK(t *testing.T) {
	c, w := new(Cubic), Window{Cwnd: 1000, SSThresh: Unset}
	w.SSThresh = c.Reduce(&w, 0)
	w.Cwnd = w.SSThresh
	// K = (300/0.4)^(1/3) = 9.0856 s.
	const rtt = 100 * sim.Millisecond
	at := map[int]uint32{}
	for i := range 200 {
		now := sim.Time(i) * rtt
		for left := w.Cwnd; left > 0; {
			n := min(left, 2)
			c.Grow(&w, Ack{Now: now, Acked: n, SRTT: rtt})
			left -= n
		}
		at[i] = w.Cwnd
	}
	if c.k != 9085 {
		t.Errorf("K %d ms", c.k)
	}
	for _, want := range []struct {
		i      int
		lo, hi uint32
	}{{0, 700, 710}, {45, 950, 970}, {91, 995, 1005}, {136, 1030, 1045}, {180, 1270, 1310}} {
		if got := at[want.i]; got < want.lo || got > want.hi {
			t.Errorf("after %d round trips cwnd %d, want %d to %d", want.i, got, want.lo, want.hi)
		}
	}
}

// RFC 9438 4.3: at a short round-trip time CUBIC is no slower than Reno with beta 0.7.
func TestCubicRenoFriendly(t *testing.T) {
	c, w := new(Cubic), Window{Cwnd: 100, SSThresh: Unset}
	w.SSThresh = c.Reduce(&w, 0)
	w.Cwnd = w.SSThresh
	const rtt = sim.Millisecond
	for i := range 100 {
		c.Grow(&w, Ack{Now: sim.Time(i) * rtt, Acked: w.Cwnd, SRTT: rtt})
	}
	// alpha = 9/17 up to W_max's 100 segments (57 round trips), then 1 a round trip.
	if w.Cwnd < 138 || w.Cwnd > 146 {
		t.Errorf("cwnd %d", w.Cwnd)
	}
}

func TestCubeRoot(t *testing.T) {
	for _, v := range []struct{ x, r uint64 }{{0, 0}, {1, 1}, {7, 1}, {8, 2}, {26, 2}, {27, 3}, {1e15, 100000}, {1e15 - 1, 99999}} {
		if got := cubeRoot(v.x); got != int64(v.r) {
			t.Errorf("cubeRoot(%d) = %d", v.x, got)
		}
	}
}

func TestFind(t *testing.T) {
	for _, n := range []string{"cubic", "reno"} {
		id, ok := Find(n)
		if !ok || id.String() != n || id.New().Name() != n {
			t.Errorf("%q: %v %v", n, id, ok)
		}
	}
	if id, ok := Find(""); !ok || id != CubicID {
		t.Error("no default")
	}
	if _, ok := Find("vegas"); ok {
		t.Error("found vegas")
	}
}
