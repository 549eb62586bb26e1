package laws

import (
	"fmt"
	"testing"

	"labd.dev/link"
	"labd.dev/sim"
)

// BBR keeps the rate under random loss: its goodput stays within 5% of rate * (1-p). (Version 1 at 5% and with more than a few
// hundred segments in flight does not: what it measures is what the path delivers, (1-p) of the rate and no more by
// chance, and it sends 99% of that; Linux's is the same.)
func TestBBRUnderRandomLoss(t *testing.T) {
	for _, v := range []struct {
		cc   string
		p    float64
		rate uint64
		rtt  sim.Time
	}{
		{"bbr", 0.01, 5e6, 100 * ms}, {"bbr", 0.01, 20e6, 40 * ms}, {"bbr", 0.01, 100e6, 40 * ms},
		{"bbr", 0.05, 5e6, 10 * ms}, {"bbr", 0.05, 20e6, 40 * ms}, {"bbr", 0.05, 100e6, 10 * ms},
		{"bbr3", 0.01, 5e6, 20 * ms}, {"bbr3", 0.01, 5e6, 100 * ms}, {"bbr3", 0.01, 20e6, 10 * ms}, {"bbr3", 0.01, 20e6, 40 * ms},
		{"bbr3", 0.01, 20e6, 100 * ms}, {"bbr3", 0.01, 100e6, 40 * ms},
	} {
		t.Run(fmt.Sprintf("%s %v %dM %v", v.cc, v.p, v.rate/1_000_000, v.rtt), func(t *testing.T) {
			t.Parallel()
			p := newPath(t, link.Config{Rate: v.rate, Delay: v.rtt / 2, Queue: link.Queue{LimitPackets: 4000},
				Loss: link.Loss{Model: link.RandomLoss, P: v.p}}, link.Config{Rate: v.rate, Delay: v.rtt / 2}, 1)
			f := p.start(large(v.cc))
			p.run(5 * sim.Second)
			// What TCP carries of the rate: 1448 of 1514 bytes.
			want := float64(v.rate) / 8 * 1448 / 1514 * (1 - v.p)
			got := f.goodput(30 * sim.Second)
			t.Logf("%.0f B/s, %.1f%% of rate*(1-p)", got, 100*got/want)
			if got < 0.95*want {
				t.Errorf("%.0f B/s, want within 5%% of %.0f", got, want)
			}
		})
	}
}

// ns-3's tcp-validation, case dctcp-10ms: one flow from 5 s on, 1448 bytes a segment, an ACK of every other, a window of 10,
// alpha 1 at first; a bottleneck of 50 Mbit/s with 5 ms each way, whose queue marks at 1 ms of sojourn and drops nothing.
// Alpha follows the arithmetic of Alizadeh et al., "Data Center TCP", 3.3: W* = C * (RTT + 1 ms) is 46 segments, marks last
// for the round trip that the sender needs to hear of them, and alpha is about sqrt(2/46) = 0.21, or less. The 0.06 to 0.085
// that ns-3 validates belongs to the byte queue limits of its bottleneck's device, which make the sojourns of neighbours
// differ so that few are marked at a time: ns-3 3.37 without them settles at 0.12 to 0.14, without delayed ACKs at 0.11 to
// 0.16. A link here has a queue and no device behind it.
func TestDCTCP(t *testing.T) {
	// ns-3's link adds PPP's 2 bytes to a packet, ours Ethernet's 14: at this rate both carry as many packets a second.
	const rate = 50_000_000 * 1514 / 1502
	queue := link.Queue{LimitPackets: 1000, Mark: link.Mark{Sojourn: ms}}
	p := newPath(t, link.Config{Rate: rate, Delay: 5 * ms, Queue: queue}, link.Config{Rate: rate, Delay: 5 * ms}, 1)
	p.run(5 * sim.Second)
	f := p.start(large("dctcp"))
	p.run(2 * sim.Second)
	for range 5 {
		got := f.goodput(sim.Second) * 8
		alpha := f.snd.Info().CCValue
		t.Logf("%.2f Mbit/s, alpha %.3f", got/1e6, alpha)
		if got < 47.7e6 || got > 49e6 {
			t.Errorf("%.2f Mbit/s", got/1e6)
		}
		if alpha < 0.11 || alpha > 0.21 {
			t.Errorf("alpha %.3f", alpha)
		}
	}
	if s := p.dir[0].Stats(); s.Marked == 0 || s.Dropped() > 0 {
		t.Errorf("%+v", s)
	}
}
