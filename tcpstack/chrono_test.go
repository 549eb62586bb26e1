package tcpstack

import (
	"testing"

	"labd.dev/sim"
)

// tcp(7)'s struct tcp_info: tcpi_busy_time, "Time (usec) busy sending data", tcpi_rwnd_limited, "Time (usec) limited by
// receive window", tcpi_sndbuf_limited, "Time (usec) limited by send buffer".
func TestLimitedTimes(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.listen()
	x.send("S seq=100 mss=1000")
	x.want("SA seq=1000 ack=101")
	x.send("A seq=101 ack=1001 win=0")
	want := func(busy, rwnd, sndbuf sim.Time) {
		t.Helper()
		if i := x.c.Info(); i.BusyTimeUs != micros(busy*sim.Millisecond) || i.RwndLimitedUs != micros(rwnd*sim.Millisecond) ||
			i.SndbufLimitedUs != micros(sndbuf*sim.Millisecond) {
			t.Fatalf("busy %d us, rwnd %d, sndbuf %d; want %d, %d, %d ms", i.BusyTimeUs, i.RwndLimitedUs, i.SndbufLimitedUs, busy, rwnd, sndbuf)
		}
	}
	x.advance(50 * sim.Millisecond)
	want(0, 0, 0)
	x.write(1000)
	x.advance(100 * sim.Millisecond)
	want(100, 100, 0)
	x.send("A seq=101 ack=1001 win=5000")
	x.want("PA seq=1001 ack=101 len=1000")
	x.advance(10 * sim.Millisecond)
	want(110, 100, 0)
	x.send("A seq=101 ack=2001 win=5000")
	x.advance(50 * sim.Millisecond)
	want(110, 100, 0)

	x = newTCPTrace(t, TCPConfig{SendBuffer: 4000})
	x.accept("mss=1000")
	if n, _ := x.c.Write(make([]byte, 5000)); n != 4000 {
		t.Fatalf("wrote %d", n)
	}
	x.out = nil
	x.send("A seq=101 ack=2001") // a quarter is free: too little to be told
	x.advance(20 * sim.Millisecond)
	want(20, 0, 20)
	x.send("A seq=101 ack=5001")
	x.advance(20 * sim.Millisecond)
	want(20, 0, 20)
}
