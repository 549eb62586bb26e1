package laws

import (
	"fmt"
	"testing"

	"labd.dev/link"
	"labd.dev/sim"
)

// BBR keeps the rate under random loss: its goodput stays within 5% of rate * (1-p). Version 3 takes a flight that loses more
// than 2% for too large, which chance alone makes of 1% often: it holds where the least window and the room for bursts are
// a good part of what is in flight.
func TestBBRUnderRandomLoss(t *testing.T) {
	for _, v := range []struct {
		cc   string
		p    float64
		rate uint64
		rtt  sim.Time
	}{{"bbr", 0.01, 20e6, 40 * ms}, {"bbr", 0.05, 20e6, 40 * ms}, {"bbr3", 0.01, 5e6, 20 * ms}, {"bbr3", 0.01, 10e6, 10 * ms}} {
		t.Run(fmt.Sprintf("%s %v %v", v.cc, v.p, v.rtt), func(t *testing.T) {
			p := newPath(t, link.Config{Rate: v.rate, Delay: v.rtt / 2, Queue: link.Queue{LimitPackets: 1000},
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

// ns-3's tcp-validation for DCTCP: 50 Mbit/s, 10 ms, a queue that marks at 1 ms of sojourn: the flow has 48 to 49 Mbit/s.
// Its alpha settles about sqrt(2/W), W being the 45 segments that fill the path and the queue below the mark (Alizadeh et
// al., "Data Center TCP", 3.3), or less.
func TestDCTCP(t *testing.T) {
	const rate = 50_000_000
	queue := link.Queue{LimitPackets: 1000, Mark: link.Mark{Sojourn: ms}}
	p := newPath(t, link.Config{Rate: rate, Delay: 5 * ms, Queue: queue}, link.Config{Rate: rate, Delay: 5 * ms}, 1)
	p.run(5 * sim.Second)
	f := p.start(large("dctcp"))
	p.run(2 * sim.Second)
	for range 5 {
		got := f.goodput(sim.Second) * 8
		alpha := f.snd.Info().CCValue
		t.Logf("%.2f Mbit/s, alpha %.3f", got/1e6, alpha)
		// ns-3 counts the packets' bytes: 1500 of 1514 on our wire, where goodput has 1448.
		if whole := got * 1500 / 1448; whole < 48e6 || whole > 50e6 {
			t.Errorf("%.2f Mbit/s", whole/1e6)
		}
		if alpha < 0.06 || alpha > 0.21 {
			t.Errorf("alpha %.3f", alpha)
		}
	}
	if s := p.dir[0].Stats(); s.Marked == 0 || s.Dropped() > 0 {
		t.Errorf("%+v", s)
	}
}
