package tcpstack

import (
	"fmt"
	"testing"

	"labd.dev/sim"
)

// flight has the connection send n segments of 1000 bytes from sequence number seq on, a write each, and the peer
// acknowledge each after 10 ms.
func (x *tcpTrace) flight(seq uint32, n int) uint32 {
	x.t.Helper()
	for range n {
		x.write(1000)
	}
	x.advance(10 * sim.Millisecond)
	for range n {
		seq += 1000
		x.send(fmt.Sprintf("A seq=101 ack=%d", seq))
	}
	if len(x.out) != n {
		x.t.Fatalf("%d segments were sent, want %d", len(x.out), n)
	}
	x.out = nil
	return seq
}

func (x *tcpTrace) wantCwnd(cwnd uint32) {
	x.t.Helper()
	if got := x.c.Info().SndCwnd; got != cwnd {
		x.t.Errorf("%v: cwnd %d, want %d", x.loop.Now(), got, cwnd)
	}
}

// RFC 7661 4.1: a window grows only as it is used; Linux (tcp_is_cwnd_limited) lets slow start grow it to twice what was.
func TestCwndValidation(t *testing.T) {
	for _, on := range []bool{true, false} {
		x := newTCPTrace(t, TCPConfig{CwndValidation: &on})
		x.accept("mss=1000")
		seq := x.flight(1001, 4) // 4 of 10
		want := uint32(10)
		if !on {
			want = 14
		}
		x.wantCwnd(want)
		seq = x.flight(seq, 6) // more than half: up to 12
		if on {
			x.wantCwnd(12)
		} else {
			x.wantCwnd(20)
		}
		_ = seq
	}
}

// RFC 6928 2: ten segments at first. Slow start doubles the window each round trip.
func TestSlowStartDoubles(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{Nagle: new(bool)})
	x.accept("mss=1000")
	x.wantCwnd(10)
	seq := x.flight(1001, 10)
	x.wantCwnd(20)
	x.flight(seq, 20)
	x.wantCwnd(40)
}

// RFC 3465 2.2: the window grows by "the number of previously unacknowledged bytes ACKed by each incoming acknowledgment";
// without it by a segment an ACK.
func TestByteCounting(t *testing.T) {
	for _, on := range []bool{true, false} {
		x := newTCPTrace(t, TCPConfig{ABC: &on})
		x.accept("mss=1000")
		for range 10 {
			x.write(1000)
		}
		x.out = nil
		x.advance(10 * sim.Millisecond)
		x.send("A seq=101 ack=5001")
		x.send("A seq=101 ack=11001")
		if on {
			x.wantCwnd(20)
		} else {
			x.wantCwnd(12)
		}
	}
}

// RFC 2861 3.1, RFC 5681 4.1: a window that was not used for a time beyond the RTO is halved for each RTO, to the restart
// window at the least, and ssthresh keeps three quarters of it in memory.
func TestIdleRestart(t *testing.T) {
	for _, v := range []struct {
		idle     sim.Time
		off      bool
		want     uint32
		ssthresh uint32
	}{
		{150 * sim.Millisecond, false, 80, ssthreshUnset}, {300 * sim.Millisecond, false, 40, ssthreshUnset},
		{500 * sim.Millisecond, false, 20, ssthreshUnset}, {5 * sim.Second, false, 10, ssthreshUnset},
		{5 * sim.Second, true, 80, ssthreshUnset},
	} {
		on := !v.off
		x := newTCPTrace(t, TCPConfig{SlowStartAfterIdle: &on, HyStart: "off"})
		x.accept("mss=1000")
		seq := uint32(1001)
		for n := 10; n <= 40; n *= 2 {
			seq = x.flight(seq, n)
		}
		x.wantCwnd(80)
		if rto := x.c.Info().RTOUs; rto < 200_000 || rto > 220_000 {
			t.Fatalf("rto %d us", rto)
		}
		x.advance(v.idle)
		x.write(10)
		x.out = nil
		x.wantCwnd(v.want)
		if got := x.c.Info().SndSSThresh; got != v.ssthresh {
			t.Errorf("ssthresh %d", got)
		}
		x.send(fmt.Sprintf("A seq=101 ack=%d", seq+10))
	}
}

// RFC 2861 3.2: an application that uses less than the window for an RTO loses half of what it leaves.
func TestUnusedWindowShrinks(t *testing.T) {
	for _, on := range []bool{true, false} {
		x := newTCPTrace(t, TCPConfig{SlowStartAfterIdle: &on, HyStart: "off"})
		x.accept("mss=1000")
		seq := uint32(1001)
		for n := 10; n <= 40; n *= 2 {
			seq = x.flight(seq, n)
		}
		// Each ACK that may raise the window begins the time anew: as if none had come for an RTO.
		x.c.cc.use.stamp -= x.c.rto
		x.flight(seq, 2)
		if on {
			x.wantCwnd(45) // half the way from 80 to the initial window
		} else {
			x.wantCwnd(80)
		}
	}
}

// Linux (tcp_update_pacing_rate): segments beyond the first ten are spread at 200% of cwnd/srtt in slow start, 120% in
// congestion avoidance, and never faster than SO_MAX_PACING_RATE.
func TestPacing(t *testing.T) {
	for _, v := range []struct {
		name    string
		cfg     TCPConfig
		percent uint64
		spread  bool
	}{
		{"off", TCPConfig{}, 200, false},
		{"on", TCPConfig{Pacing: yes()}, 200, true},
		{"ratio", TCPConfig{Pacing: yes(), PacingSSRatio: number(100)}, 100, true},
		{"avoidance", TCPConfig{Pacing: yes(), PacingCARatio: number(50)}, 50, true},
		{"max", TCPConfig{MaxPacingRate: rate(1_000_000)}, 0, true},
	} {
		t.Run(v.name, func(t *testing.T) {
			x := newTCPTrace(t, v.cfg)
			x.accept("mss=1000")
			seq := x.flight(1001, 10)
			x.wantCwnd(20)
			if v.cfg.PacingCARatio != nil {
				x.c.win.SSThresh = 30
				seq = x.flight(seq, 1)
			}
			i := x.c.Info()
			want := 20 * 1000 * v.percent * 10_000 / i.RTTUs
			if v.cfg.MaxPacingRate != nil {
				want = 1_000_000
			}
			if i.PacingRate < want*98/100 || i.PacingRate > want*102/100 {
				t.Errorf("pacing rate %d, want %d", i.PacingRate, want)
			}
			x.write(20_000)
			x.advance(2 * sim.Millisecond)
			x.send(fmt.Sprintf("A seq=101 ack=%d", seq+1000))
			x.advance(100 * sim.Millisecond)
			if len(x.out) != 20 {
				t.Fatalf("%d segments", len(x.out))
			}
			took := x.out[19].at - x.out[0].at
			if !v.spread {
				if took != 0 {
					t.Errorf("20 segments took %v", took)
				}
			} else if need := 20_000 * sim.Second / sim.Time(want); took < need*7/10 || took > need {
				t.Errorf("20 segments took %v at a rate that needs %v", took, need)
			}
			x.out = nil
			x.send(fmt.Sprintf("A seq=101 ack=%d", seq+20_000))
		})
	}
}

func yes() *bool              { b := true; return &b }
func number(n uint32) *uint32 { return &n }
func rate(n uint64) *uint64   { return &n }
