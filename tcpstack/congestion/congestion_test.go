package congestion

import (
	"testing"

	"labd.dev/sim"
)

const ms = sim.Millisecond

// sender makes a sender with a window, limited by it.
func sender(cwnd, ssthresh uint32) *Sender {
	return &Sender{Window: &Window{Cwnd: cwnd, SSThresh: ssthresh}, CwndLimited: true, MSS: 1000, InitialCwnd: 10, Now: sim.Second}
}

func begin(id ID, s *Sender) Algorithm {
	a := id.New()
	a.Init(s)
	return a
}

// RFC 5681 3.1: slow start grows by what is acknowledged, up to ssthresh; then about one segment a round trip.
func TestSlowStartThenAvoidance(t *testing.T) {
	for _, id := range []ID{RenoID, CubicID, DCTCPID} {
		s := sender(10, 16)
		a := begin(id, s)
		a.CongAvoid(s, 4)
		if s.Cwnd != 14 {
			t.Errorf("%v: cwnd %d in slow start", id, s.Cwnd)
		}
		a.CongAvoid(s, 4)
		if s.Cwnd != 16 || s.InSlowStart() {
			t.Errorf("%v: cwnd %d at the threshold", id, s.Cwnd)
		}
		s.CwndLimited = false
		for range 100 {
			a.CongAvoid(s, 4)
		}
		if s.Cwnd != 16 {
			t.Errorf("%v: cwnd %d though it was not used (RFC 7661 4.1)", id, s.Cwnd)
		}
	}
	s := sender(20, 10)
	for range 10 {
		Reno{}.CongAvoid(s, 2)
	}
	if s.Cwnd != 21 {
		t.Errorf("cwnd %d after a window of ACKs", s.Cwnd)
	}
}

// RFC 5681 3.1 (4): half, at least two. RFC 9438 4.6: 0.7; 4.7: fast convergence. RFC 8511 3: less on a mark.
func TestSSThresh(t *testing.T) {
	for _, v := range []struct {
		id         ID
		cwnd       uint32
		ecn, abe   bool
		want       uint32
		wantSecond uint32 // from 80 segments, after a first loss at cwnd
		w          float64
	}{
		{RenoID, 21, false, false, 10, 40, 0}, {RenoID, 1, false, false, MinSSThresh, 40, 0},
		{RenoID, 100, true, false, 50, 40, 0}, {RenoID, 100, true, true, 80, 64, 0},
		{CubicID, 100, false, false, 70, 56, 68}, {CubicID, 10, false, false, 7, 56, 80},
		{CubicID, 100, true, true, 84, 67, 68}, {DCTCPID, 100, true, false, 50, 40, 1},
	} {
		s := sender(v.cwnd, Unset)
		s.ECN, s.ABE = v.ecn, v.abe
		a := begin(v.id, s)
		if got := a.SSThresh(s); got != v.want {
			t.Errorf("%+v: %d", v, got)
		}
		s.Cwnd = 80
		if got := a.SSThresh(s); got != v.wantSecond || a.Variable() != v.w {
			t.Errorf("%+v: then %d, variable %v", v, got, a.Variable())
		}
	}
}

// Linux's tcp_cong_avoid_ai: credit beyond the new divisor is worth one segment.
func TestCreditIsWorthOneSegment(t *testing.T) {
	w := Window{Cwnd: 50, Count: 30}
	w.additive(10, 1)
	if w.Cwnd != 51 || w.Count != 1 {
		t.Errorf("%+v", w)
	}
}

// RFC 9438 4.2: the window is back at W_max after K = cubic_root(W_max*(1-beta)/C) seconds: concave before, convex after.
func TestCubicReachesWmaxAfterK(t *testing.T) {
	s := sender(1000, Unset)
	c := begin(CubicID, s).(*Cubic)
	s.SSThresh = c.SSThresh(s)
	s.Cwnd = s.SSThresh
	// K = (300/0.4)^(1/3) = 9.0856 s.
	const rtt = 100 * ms
	at := map[int]uint32{}
	for i := range 200 {
		s.Now = sim.Second + sim.Time(i)*rtt
		for left := s.Cwnd; left > 0; {
			n := min(left, 2)
			c.CongAvoid(s, n)
			left -= n
		}
		at[i] = s.Cwnd
	}
	for _, want := range []struct {
		i      int
		lo, hi uint32
	}{{0, 700, 715}, {45, 950, 970}, {91, 995, 1005}, {136, 1025, 1045}, {180, 1250, 1310}} {
		if got := at[want.i]; got < want.lo || got > want.hi {
			t.Errorf("after %d round trips cwnd %d, want %d to %d", want.i, got, want.lo, want.hi)
		}
	}
}

// RFC 9438 4.3: at a short round-trip time CUBIC is no slower than Reno with beta 0.7: alpha = 9/17 a round trip.
func TestCubicRenoFriendly(t *testing.T) {
	s := sender(100, Unset)
	c := begin(CubicID, s)
	s.SSThresh = c.SSThresh(s)
	s.Cwnd = s.SSThresh
	for i := range 100 {
		s.Now = sim.Second + sim.Time(i)*10*ms
		for left := s.Cwnd; left > 0; left-- {
			c.CongAvoid(s, 1)
		}
	}
	if s.Cwnd < 118 || s.Cwnd > 126 {
		t.Errorf("cwnd %d", s.Cwnd)
	}
}

// An idle time is no time of the cubic function; a timeout makes it forget the path.
func TestCubicAfterIdleAndTimeout(t *testing.T) {
	s := sender(100, Unset)
	c := begin(CubicID, s).(*Cubic)
	s.SSThresh = c.SSThresh(s)
	s.Cwnd = s.SSThresh
	c.CongAvoid(s, 1)
	was := c.epochStart
	s.SentAt, s.Now = s.Now, s.Now+30*sim.Second
	c.Event(s, EventTxStart)
	if c.epochStart != was+30_000 {
		t.Errorf("epoch moved by %d ms", c.epochStart-was)
	}
	c.SetState(s, Loss)
	if c.Variable() != 0 {
		t.Errorf("W_max %v after a timeout", c.Variable())
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
	for _, n := range Names() {
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

// HyStart: ACKs closer than 2 ms that go on for more than half the least delay end slow start; so does a delay that grows
// by an eighth, 4 ms at least.
func TestHyStart(t *testing.T) {
	for _, v := range []struct {
		name     string
		mode     HyStart
		gap      sim.Time // between ACKs
		rtt      func(i int) sim.Time
		wantFrom uint32 // ssthresh found within these
		wantTo   uint32
	}{
		{"train", HyStartLinux, ms, func(int) sim.Time { return 30 * ms }, 31, 33},
		{"no train", HyStartLinux, 3 * ms, func(int) sim.Time { return 40 * ms }, Unset, Unset},
		{"delay", HyStartLinux, 3 * ms, func(i int) sim.Time { return 40*ms + sim.Time((i+1)/20)*6*ms }, 36, 46},
		{"off", HyStartOff, ms, func(int) sim.Time { return 40 * ms }, Unset, Unset},
	} {
		t.Run(v.name, func(t *testing.T) {
			s := sender(16, Unset)
			s.SndNxt = 1000
			s.HyStart = v.mode
			a := begin(CubicID, s)
			for i := range 60 {
				s.Now += v.gap
				if i%20 == 19 {
					s.SndUna, s.SndNxt = s.SndNxt+1, s.SndNxt+1000
				}
				a.PktsAcked(s, v.rtt(i))
				a.CongAvoid(s, 1)
			}
			if s.SSThresh < v.wantFrom || s.SSThresh > v.wantTo {
				t.Errorf("ssthresh %d, want %d to %d", s.SSThresh, v.wantFrom, v.wantTo)
			}
		})
	}
}

// RFC 9406 4.2: slow start grows by at most L = 8 segments an ACK; a round-trip time that grows begins CSS, which grows a
// quarter as fast and ends slow start after five rounds; if the delay falls back it goes on.
func TestHyStartPlus(t *testing.T) {
	run := func(rtt func(round int) sim.Time, rounds int) *Sender {
		s := sender(10, Unset)
		s.HyStart = HyStartRFC9406
		a := begin(CubicID, s)
		for round := range rounds {
			s.SndUna, s.SndNxt = s.SndNxt, s.SndNxt+1000
			for range 10 {
				a.PktsAcked(s, rtt(round))
				a.CongAvoid(s, 2)
				s.SndUna++
			}
		}
		return s
	}
	if s := run(func(int) sim.Time { return 50 * ms }, 9); s.Cwnd != 10+9*20 || s.SSThresh != Unset {
		t.Errorf("steady: cwnd %d ssthresh %d", s.Cwnd, s.SSThresh)
	}
	// Nine samples of the third round make it CSS: 40 segments before, 18 in that round, then 5 a round; the partial round
	// counts, so the fourth whole one is the last.
	grows := func(round int) sim.Time { return 50*ms + sim.Time(min(max(round-1, 0), 1))*10*ms }
	if s := run(grows, 12); s.SSThresh == Unset || s.SSThresh < 80 || s.SSThresh > 95 {
		t.Errorf("growing: cwnd %d ssthresh %d", s.Cwnd, s.SSThresh)
	}
	back := func(round int) sim.Time {
		if round == 2 {
			return 60 * ms
		}
		return 50 * ms
	}
	if s := run(back, 12); s.SSThresh != Unset {
		t.Errorf("back again: cwnd %d ssthresh %d", s.Cwnd, s.SSThresh)
	}
	s := sender(10, Unset)
	s.HyStart = HyStartRFC9406
	a := begin(CubicID, s)
	if a.CongAvoid(s, 20); s.Cwnd != 18 {
		t.Errorf("cwnd %d after one ACK of 20 segments", s.Cwnd)
	}
}

// RFC 8257 3.3: alpha follows the share of marked segments with gain 1/16, and a mark cuts by half of it.
func TestDCTCPAlpha(t *testing.T) {
	s := sender(100, 50)
	s.ECNOK, s.ECN = true, true
	d := begin(DCTCPID, s)
	if d.Variable() != 1 {
		t.Fatalf("alpha %v at the start", d.Variable())
	}
	for range 60 { // no marks: alpha decays by 1/16 a window
		s.SndUna, s.SndNxt = s.SndNxt, s.SndNxt+1000
		s.Delivered += 100
		d.InAck(s)
	}
	if d.Variable() > 0.03 {
		t.Errorf("alpha %v without marks", d.Variable())
	}
	for range 80 { // a fifth is marked
		s.SndUna, s.SndNxt = s.SndNxt, s.SndNxt+1000
		s.Delivered += 100
		s.DeliveredCE += 20
		d.InAck(s)
	}
	if v := d.Variable(); v < 0.18 || v > 0.21 {
		t.Errorf("alpha %v with a fifth marked", v)
	}
	if got := d.SSThresh(s); got < 90 || got > 91 {
		t.Errorf("ssthresh %d of 100", got)
	}
	// 3.5: a loss halves.
	if d.SetState(s, Recovery); s.SSThresh != 50 {
		t.Errorf("ssthresh %d after a loss", s.SSThresh)
	}
	if d.UndoCwnd(s) != 100 {
		t.Errorf("undo to %d", d.UndoCwnd(s))
	}
}

// A window of the largest value: it is forgotten once it is as old as the window.
func TestWindowedMax(t *testing.T) {
	var m windowedMax
	for round := range uint32(30) {
		v := uint64(10)
		if round == 5 {
			v = 100
		}
		got := m.update(10, round, v)
		want := uint64(10)
		if round >= 5 && round <= 15 {
			want = 100
		}
		if got != want {
			t.Errorf("round %d: %d, want %d", round, got, want)
		}
	}
}
