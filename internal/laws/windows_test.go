package laws

import (
	"fmt"
	"testing"

	"labd.dev/link"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// large is a configuration whose buffers never limit: 64 MB.
func large(cc string) tcpstack.TCPConfig {
	off := false
	return tcpstack.TCPConfig{Congestion: cc, SendBuffer: 64 << 20, RecvBuffer: 64 << 20, SlowStartAfterIdle: &off}
}

// small is large with a segment size that makes a law's many segments cheap.
func small(cc string) tcpstack.TCPConfig {
	c := large(cc)
	c.MSS = 100
	c.HyStart = "off"
	return c
}

// RFC 5681 3.1: slow start doubles the window each round trip, as long as every segment is acknowledged by itself or ACKs
// count what they cover.
func TestSlowStartDoublesPerRoundTrip(t *testing.T) {
	for _, cc := range []string{"reno", "cubic", "dctcp"} {
		p := newPath(t, link.Config{Delay: 50 * ms}, link.Config{Delay: 50 * ms}, 1)
		cfg := large(cc)
		cfg.HyStart = "off"
		f := p.start(cfg)
		p.run(250 * ms) // ARP, the handshake, and half a round trip
		for want := uint32(10); want <= 5120; want *= 2 {
			if got := f.snd.Info().SndCwnd; got != want {
				t.Errorf("%s: window %d, want %d", cc, got, want)
			}
			p.run(100 * ms)
		}
	}
}

// RFC 9438 5.1, Tables 1 and 2: average windows under a loss in every 1/p segments. At 100 ms Reno 12, 38, 120, 379, 1200 and
// CUBIC 12, 38, 187, 1054, 5926; at 10 ms CUBIC is Reno down to 1e-5. All are within 12% of that, but for two where the
// tables' real numbers and Linux's whole segments differ by more:
//
// CUBIC at 100 ms and 1e-3 has 46. The table takes the larger of two windows, 38 as Reno would have it and 33 of the cubic
// function alone; the window is at each time the larger of the two functions, 40 on average. And Linux's target below W_max is
// rounded up to a segment: it reaches a W_max of 52 when the function is 1 below, 1.4 s of 3.4 earlier.
//
// CUBIC at 10 ms and 1e-2 has 9. While the window stays as it is Linux's looks at its functions once in 31 ms only, three round
// trips: of the 0.53 segments that W_est adds in each, some come late in an epoch of eleven round trips.
func TestAverageWindows(t *testing.T) {
	const band = 0.12
	for _, v := range []struct {
		cc   string
		rtt  sim.Time
		want []float64          // for p = 1e-2, 1e-3, ...
		by   map[int][2]float64 // least and most of want, where that is not 1 less or more the band
	}{
		{"reno", 100 * ms, []float64{12, 38, 120, 379, 1200}, nil},
		{"cubic", 100 * ms, []float64{12, 38, 187, 1054, 5926}, map[int][2]float64{1: {1, 1.25}}},
		{"cubic", 10 * ms, []float64{12, 38, 120, 379}, map[int][2]float64{0: {0.7, 1}}},
	} {
		every := uint64(100)
		for i, want := range v.want {
			p := every
			t.Run(fmt.Sprintf("%s %v 1e-%d", v.cc, v.rtt, i+2), func(t *testing.T) {
				t.Parallel()
				got := averageWindow(t, v.cc, v.rtt, p, uint32(want))
				t.Logf("average window %.0f, RFC 9438 has %.0f", got, want)
				by, odd := v.by[i]
				if !odd {
					by = [2]float64{1 - band, 1 + band}
				}
				if got < by[0]*want || got > by[1]*want {
					t.Errorf("average window %.1f, want %.1f to %.1f", got, by[0]*want, by[1]*want)
				}
			})
			every *= 10
		}
	}
}

// maxRounds bounds a measurement: a Reno of 1,200 segments has 600 round trips between two losses.
const maxRounds = 30_000

// averageWindow is a flow's mean window in segments, sampled each round trip over some losses. A first loss ends slow start
// near the window expected, and a few more are let pass, so that what is measured is the law and not its beginning.
func averageWindow(t *testing.T, cc string, rtt sim.Time, every uint64, expected uint32) float64 {
	cfg := link.Config{Delay: rtt / 2}
	p := newPath(t, cfg, cfg, 1)
	set := small(cc)
	if expected > 2000 {
		set.MSS = 0 // small segments do not open so large a window (Linux: tcp_grow_window)
	}
	f := p.start(set)
	round := func() {
		t.Helper()
		p.run(rtt)
		if p.loop.Now() > maxRounds*rtt {
			t.Fatalf("no end after %d round trips: %+v", maxRounds, f.snd.Info())
		}
	}
	for p.run(2*rtt + rtt/2); f.snd.Info().SndCwnd < expected*2/3; {
		round()
	}
	cfg.Loss = link.Loss{Model: link.FrameLoss, Frames: []uint64{p.dir[0].Stats().Sent + 1}}
	p.dir[0].Set(cfg)
	for range 5 {
		round()
	}
	cfg.Loss = link.Loss{Model: link.EveryLoss, Every: every}
	p.dir[0].Set(cfg)
	losses, warm, measured := func() uint64 { return p.dir[0].Stats().Lost }, uint64(15), uint64(15)
	switch {
	case every >= 1_000_000: // segments each
		warm, measured = 2, 3
	case every >= 100_000:
		warm, measured = 5, 5
	}
	for first := losses(); losses() < first+warm; {
		round()
	}
	sum, n := 0.0, 0
	for first := losses(); losses() < first+measured; {
		round()
		sum += float64(f.snd.Info().SndCwnd)
		n++
	}
	return sum / float64(n)
}

// A flow keeps at least half of what the rate and its window let it, at any round-trip time from 50 us to 500 ms.
func TestEveryRoundTripTime(t *testing.T) {
	for _, rtt := range []sim.Time{50 * sim.Microsecond, 200 * sim.Microsecond, ms, 10 * ms, 100 * ms, 500 * ms} {
		for _, v := range []struct {
			rate uint64
			cfg  tcpstack.TCPConfig
		}{
			{100_000_000, large("cubic")}, {100_000_000, large("reno")}, {100_000_000, large("bbr")}, {100_000_000, large("bbr3")},
			{100_000_000, tcpstack.TCPConfig{SendBuffer: 64 << 10, RecvBuffer: 64 << 10}},
			{10_000_000, tcpstack.TCPConfig{SendBuffer: 1 << 20, RecvBuffer: 1 << 20}},
		} {
			queue := link.Queue{LimitPackets: max(100, int(v.rate/8/1500*uint64(rtt)/uint64(sim.Second)))}
			p := newPath(t, link.Config{Rate: v.rate, Delay: rtt / 2, Queue: queue}, link.Config{Rate: v.rate, Delay: rtt / 2}, 1)
			f := p.start(v.cfg)
			p.run(10 * rtt)
			for range 20 { // slow start
				p.run(rtt)
			}
			p.run(2 * sim.Second)
			got := f.goodput(4 * sim.Second)
			bound := float64(v.rate) / 8
			window := float64(min(v.cfg.SendBuffer, v.cfg.RecvBuffer)) * float64(sim.Second) / float64(rtt)
			if want := min(bound, window) / 2; got < want {
				t.Errorf("rtt %v, %s, %d bit/s: %.0f B/s, want at least %.0f", rtt, v.cfg.Congestion, v.rate, got, want)
			}
		}
	}
}
