package laws

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"labd.dev/link"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

var update = flag.Bool("update", false, "write testdata/goodput.golden anew")

const golden = "testdata/goodput.golden"

// TestGoodputTable is the goodput of one flow by congestion control, buffer, loss and round-trip time, to the byte: a change
// of any figure is to be looked at, and then accepted with -update.
func TestGoodputTable(t *testing.T) {
	losses := []float64{0, 0.01, 0.05, 0.2}
	var b strings.Builder
	fmt.Fprintf(&b, "goodput in kB/s over 60 s, no rate limit\n\n%-6s %8s %7s", "", "buffer", "RTT")
	for _, p := range losses {
		fmt.Fprintf(&b, " %8s", fmt.Sprintf("%g%%", 100*p))
	}
	b.WriteByte('\n')
	for _, cc := range []string{"reno", "cubic", "bbr", "bbr3", "dctcp"} {
		for _, buffer := range []uint64{8 << 10, 32 << 10, 128 << 10} {
			for _, rtt := range []sim.Time{10 * ms, 100 * ms} {
				fmt.Fprintf(&b, "%-6s %7dK %5dms", cc, buffer>>10, rtt/ms)
				for _, p := range losses {
					fmt.Fprintf(&b, " %8.1f", goodput(t, cc, buffer, rtt, p)/1000)
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
// no congestion window there, so that a loss costs it the retransmission only; of ours BBR does not take random loss for
// congestion either, and beats each. Where a loss halves the window or takes 30% of it no TCP can at 1% and 5%: a flow has at
// most 1.22 * MSS / (RTT * sqrt(p)) (Mathis et al., 1997), 177 and 79 kB/s at one ACK a segment and without any timeout.
// CUBIC, the default, beats it where that bound does not hold it back.
func TestGoodputBeatsSmoltcp(t *testing.T) {
	for _, v := range []struct {
		cc       string
		p, least float64
	}{
		{"bbr", 0, 323_000}, {"bbr", 0.01, 220_000}, {"bbr", 0.05, 77_000}, {"bbr", 0.2, 6_000},
		{"cubic", 0, 323_000}, {"cubic", 0.2, 6_000}, {"reno", 0, 323_000}, {"bbr3", 0, 323_000}, {"bbr3", 0.01, 220_000}, {"bbr3", 0.05, 77_000}, {"bbr3", 0.2, 6_000},
	} {
		if got := goodput(t, v.cc, 32<<10, 100*ms, v.p); got <= v.least {
			t.Errorf("%s at %g%%: %.0f B/s, smoltcp has %.0f", v.cc, 100*v.p, got, v.least)
		}
	}
}

// goodput is a flow's with buffers for so many bytes of data (they are twice that, as Linux's SO_SNDBUF and SO_RCVBUF double
// what is asked for, segments' overhead being counted), over a path
// that loses some of the frames of both directions.
func goodput(t *testing.T, cc string, buffer uint64, rtt sim.Time, p float64) float64 {
	cfg := link.Config{Delay: rtt / 2}
	if p > 0 {
		cfg.Loss = link.Loss{Model: link.RandomLoss, P: p}
	}
	path := newPath(t, cfg, cfg, 1)
	f := path.start(tcpstack.TCPConfig{Congestion: cc, SendBuffer: 2 * buffer, RecvBuffer: 2 * buffer})
	return f.goodput(60 * sim.Second)
}
