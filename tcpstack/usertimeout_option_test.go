package tcpstack

import (
	"testing"

	"labd.dev/sim"
)

// RFC 5482 3.1: the option is told in the SYN and in the first segment without SYN, and whenever the application changes its
// user timeout; minutes where seconds do not fit. Without the switch nothing is told.
func TestUserTimeoutTold(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{UserTimeoutOption: ptr(true), UserTimeout: ptr(150 * sim.Second)})
	x.dial()
	x.want("S seq=1000 mss=1460 sackok uto=150")
	x.send("SA seq=100 ack=1001 mss=1000")
	x.want("A seq=1001 ack=101 uto=150")
	x.write(1000)
	x.want("PA seq=1001 ack=101 len=1000 noopt")
	x.send("A seq=101 ack=2001")
	if err := x.c.Reconfigure(TCPConfig{UserTimeout: ptr(40000 * sim.Second)}); err != nil {
		t.Fatal(err)
	}
	x.write(2)
	x.want("PA seq=2001 ack=101 len=2 uto=33434") // 32768 + 666 minutes
	x.send("A seq=101 ack=2003")

	y := newTCPTrace(t, TCPConfig{UserTimeoutOption: ptr(true), UserTimeout: ptr(150 * sim.Second)})
	y.listen()
	y.send("S seq=100 mss=1000")
	y.want("SA seq=1000 ack=101 mss=1460 uto=150")

	z := newTCPTrace(t, TCPConfig{UserTimeout: ptr(150 * sim.Second)})
	z.dial()
	z.want("S seq=1000 mss=1460 sackok")
}

// RFC 5482 3.1: "USER_TIMEOUT = min(U_LIMIT, max(ADV_UTO, REMOTE_UTO, L_LIMIT))", where the application has not set one; in a
// SYN or in any other segment.
func TestUserTimeoutAdopted(t *testing.T) {
	for _, c := range []struct {
		cfg       TCPConfig
		syn, data string
		want      sim.Time
	}{
		{TCPConfig{UserTimeoutOption: ptr(true)}, " uto=300", "", 300 * sim.Second},
		{TCPConfig{UserTimeoutOption: ptr(true)}, "", " uto=300", 300 * sim.Second},
		{TCPConfig{UserTimeoutOption: ptr(true)}, " uto=300", " uto=200", 200 * sim.Second},
		{TCPConfig{UserTimeoutOption: ptr(true)}, " uto=32773", "", 300 * sim.Second}, // five minutes
		{TCPConfig{UserTimeoutOption: ptr(true)}, " uto=5", "", utoLeast},
		{TCPConfig{UserTimeoutOption: ptr(true)}, " uto=65535", "", utoMost},
		{TCPConfig{UserTimeoutOption: ptr(true)}, " uto=32768", "", 0}, // reserved
		{TCPConfig{UserTimeoutOption: ptr(true), UserTimeout: ptr(150 * sim.Second)}, " uto=300", "", 150 * sim.Second},
		{TCPConfig{}, " uto=300", " uto=300", 0},
	} {
		x := newTCPTrace(t, c.cfg)
		x.accept("mss=1000" + c.syn)
		x.send("A seq=101 ack=1001" + c.data)
		if got := x.c.set.userTimeout; got != c.want {
			t.Errorf("%v%v: user timeout %v, want %v", c.syn, c.data, got, c.want)
		}
	}
	// And it is what ends the connection.
	x := newTCPTrace(t, TCPConfig{UserTimeoutOption: ptr(true)})
	x.accept("mss=1000 uto=110")
	x.write(10)
	x.advance(110 * sim.Second)
	x.wantState(StateEstablished)
	x.advance(2 * sim.Second)
	x.wantState(StateClosed)
	x.out = nil
}
