package tcpstack

import (
	"strconv"
	"testing"

	"labd.dev/sim"
)

// probing is a connection opened by the stack whose window has room for a probe.
func probing(t *testing.T, mode string) *tcpTrace {
	t.Helper()
	x := newTCPTrace(t, TCPConfig{MTUProbing: mode, InitialWindow: 20, RACK: ptr(false), TLP: ptr(false)})
	x.dial()
	x.want("S seq=1000")
	x.send("SA seq=100 ack=1001 mss=1460 sackok")
	x.want("A seq=1001 ack=101")
	return x
}

// RFC 4821 7.2 to 7.6: the search begins at the base MSS, probes the middle of the range with a larger segment amid others,
// and takes its size once it was delivered, the window's bytes unchanged. Without probing all goes in full segments.
func TestMTUProbe(t *testing.T) {
	x := probing(t, "always")
	x.write(19674)
	x.want("A seq=1001 ack=101 len=1242")
	x.want("A seq=2243 ack=101 len=1024")
	if i := x.c.Info(); i.SndMSS != 1024 || i.SndCwnd != 19 {
		t.Errorf("%+v", i)
	}
	x.out = nil
	x.send("A seq=101 ack=20675")
	if i := x.c.Info(); i.SndMSS != 1242 {
		t.Errorf("MSS %d after the probe", i.SndMSS)
	}
	x.write(19674)
	x.want("A seq=20675 ack=101 len=1351")
	x.out = nil
	x.send("A seq=101 ack=" + strconv.Itoa(int(x.c.sndNxt)))
	x.out = nil
	x.send("A seq=101 ack=" + strconv.Itoa(int(x.c.sndNxt)))

	y := probing(t, "off")
	y.write(14600)
	y.want("A seq=1001 ack=101 len=1460")
	y.out = nil
	y.send("A seq=101 ack=15601")
}

// RFC 4821 7.6.2: the loss of the probe alone is the path's answer, not congestion: what it carried goes again in segments
// that pass, the window as it was.
func TestMTUProbeLost(t *testing.T) {
	x := probing(t, "always")
	x.write(19674)
	x.want("A seq=1001 ack=101 len=1242")
	x.out = nil
	for _, right := range []string{"3267", "4291", "5315"} {
		x.send("A seq=101 ack=1001 sack=2243-" + right)
	}
	x.want("A seq=1001 ack=101 len=1024")
	x.want("A seq=2025 ack=101 len=218")
	if i := x.c.Info(); i.SndMSS != 1024 || i.SndCwnd != 20 || x.c.mtup().high != 1281 {
		t.Errorf("%+v", i)
	}
	x.out = nil
	x.send("A seq=101 ack=20675")
	x.out = nil
}

// RFC 4821 7.7 and tcp_retries1: timeouts in a row may mean that the path swallows large segments: they become the base
// MSS, then half of it each time, down to tcp_mtu_probe_floor.
func TestMTUBlackHole(t *testing.T) {
	for mode, mss := range map[string][2]uint32{"off": {1460, 1460}, "blackhole": {1024, 512}} {
		x := probing(t, mode)
		x.write(1460)
		x.want("PA seq=1001 ack=101 len=1460")
		for i := 0; x.c.Info().SndMSS == 1460 && i < 10; i++ {
			x.out = nil
			x.advance(sim.Second)
		}
		if got := x.c.Info().SndMSS; got != mss[0] {
			t.Errorf("%s: MSS %d, want %d", mode, got, mss[0])
		}
		if mode != "off" {
			x.want("A seq=1001 ack=101 len=1024")
		}
		for i := 0; x.c.Info().SndMSS == mss[0] && i < 20; i++ {
			x.out = nil
			x.advance(sim.Second)
		}
		if got := x.c.Info().SndMSS; got != mss[1] {
			t.Errorf("%s: MSS %d then, want %d", mode, got, mss[1])
		}
		x.out = nil
		x.send("A seq=101 ack=2461")
		x.out = nil
	}
	x := newTCPTrace(t, TCPConfig{MTUProbing: "blackhole", MTUProbeFloor: ptr(uint32(900)), BaseMSS: ptr(uint32(1200)), BlackholeRetries: ptr(uint32(1))})
	x.accept("mss=1460")
	x.write(1460)
	x.advance(30 * sim.Second)
	if got := x.c.Info().SndMSS; got != 900 {
		t.Errorf("MSS %d, want the floor", got)
	}
	x.out = nil
	x.send("A seq=101 ack=2461")
	x.out = nil
}

// tcp_probe_interval: ten minutes after the search has ended the whole range is searched again.
func TestMTUSearchAgain(t *testing.T) {
	x := probing(t, "always")
	x.c.mtup().low, x.c.mtup().high = 1064, 1070
	for _, wait := range []sim.Time{mtuProbeInterval - sim.Second, 2 * sim.Second} {
		x.advance(wait)
		x.write(1024)
		x.out = nil
		x.send("A seq=101 ack=" + strconv.Itoa(int(x.c.sndNxt)))
	}
	if x.c.mtup().high != 1500 || x.c.mtup().low != 1064 {
		t.Errorf("%+v", x.c.mtup())
	}
}
