package laws

import (
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"labd.dev/link"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

var update = flag.Bool("update", false, "write testdata/goodput.golden anew")

const golden = "testdata/goodput.golden"

// TestGoodputTable is the goodput of a flow by congestion control, buffer, loss and round-trip time, to the byte: a change
// of any figure is to be looked at, and then accepted with -update. docs/tcp.md says what the figures follow from.
func TestGoodputTable(t *testing.T) {
	losses := []float64{0, 0.01, 0.05, 0.2}
	var b strings.Builder
	fmt.Fprintf(&b, "goodput in kB/s over 60 s, no rate limit; with loss the mean of %d flows, at 20%% of %d\n\n%-6s %8s %7s", flows(0.01), flows(0.2), "", "buffer", "RTT")
	for _, p := range losses {
		fmt.Fprintf(&b, " %8s", fmt.Sprintf("%g%%", 100*p))
	}
	b.WriteByte('\n')
	for _, cc := range []string{"reno", "cubic", "bbr", "bbr3", "dctcp"} {
		for _, buffer := range []uint64{8 << 10, 32 << 10, 128 << 10} {
			for _, rtt := range []sim.Time{10 * ms, 100 * ms} {
				fmt.Fprintf(&b, "%-6s %7dK %5dms", cc, buffer>>10, rtt/ms)
				for _, p := range losses {
					t.Run(fmt.Sprintf("%s %dK %v %v", cc, buffer>>10, rtt, p), func(t *testing.T) {
						fmt.Fprintf(&b, " %8.1f", goodput(t, cc, buffer, rtt, p)/1000)
					})
				}
				b.WriteByte('\n')
			}
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != b.String() {
		t.Errorf("%v; the table is now\n%s", err, b.String())
	}
}

// smoltcp's netsim has at 100 ms and with buffers of 32 KiB 323 kB/s without loss, 220 at 1%, 77 at 5% and 6 at 20%. It has
// no congestion window there (tests/netsim.rs leaves smoltcp's default, congestion control None), so that a loss costs it the
// retransmission only; of ours BBR does not take random loss for congestion either, and beats each. Where a loss halves the
// window, or takes 30% of it and adds 0.53 a round trip, no TCP can at 1% and 5%: a flow has at most 1.22 * MSS / (RTT *
// sqrt(p)) (Mathis et al., 1997), 177 and 79 kB/s at one ACK a segment and without any timeout. They are held to that: to 90% of
// it at 1%; at 5%, where the window is four segments and a tail is lost every few seconds, to 70%.
func TestGoodputBeatsSmoltcp(t *testing.T) {
	mathis := func(p float64) float64 { return 1.22 * 1448 / 0.1 / math.Sqrt(p) }
	for _, v := range []struct {
		cc       string
		p, least float64
	}{
		{"bbr", 0, 323_000}, {"bbr", 0.01, 220_000}, {"bbr", 0.05, 77_000}, {"bbr", 0.2, 6_000},
		{"bbr3", 0, 323_000}, {"bbr3", 0.01, 220_000}, {"bbr3", 0.05, 77_000}, {"bbr3", 0.2, 6_000},
		{"cubic", 0, 323_000}, {"cubic", 0.01, 0.9 * mathis(0.01)}, {"cubic", 0.05, 0.7 * mathis(0.05)}, {"cubic", 0.2, 6_000},
		{"reno", 0, 323_000}, {"reno", 0.01, 0.9 * mathis(0.01)}, {"reno", 0.05, 0.7 * mathis(0.05)}, {"reno", 0.2, 6_000},
	} {
		if got := goodput(t, v.cc, 32<<10, 100*ms, v.p); got <= v.least {
			t.Errorf("%s at %g%%: %.0f B/s, want more than %.0f", v.cc, 100*v.p, got, v.least)
		}
	}
}

// flows is how many a figure is the mean of. At 20% of loss a single one may wait for most of its minute, as each timeout
// doubles the next.
func flows(p float64) int {
	switch {
	case p == 0:
		return 1
	case p < 0.2:
		return 3
	}
	return 10
}

// goodput is a flow's with buffers for so many bytes of data (they are twice that, as Linux's SO_SNDBUF and SO_RCVBUF double
// what is asked for, segments' overhead being counted), over a path that loses some of the frames of both directions.
func goodput(t *testing.T, cc string, buffer uint64, rtt sim.Time, p float64) float64 {
	cfg := link.Config{Delay: rtt / 2}
	if p > 0 {
		cfg.Loss = link.Loss{Model: link.RandomLoss, P: p}
	}
	sum := 0.0
	for seed := range flows(p) {
		path := newPath(t, cfg, cfg, uint64(seed+1))
		f := path.start(tcpstack.TCPConfig{Congestion: cc, SendBuffer: 2 * buffer, RecvBuffer: 2 * buffer})
		sum += f.goodput(60 * sim.Second)
	}
	return sum / float64(flows(p))
}
