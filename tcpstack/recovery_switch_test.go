package tcpstack

import (
	"testing"

	"labd.dev/sim"
)

// flight brings a connection with SACK, Reno and n segments of 1000 bytes in flight, after a handshake of 20 ms.
func flight(t *testing.T, cfg TCPConfig, options string, n int) *tcpTrace {
	t.Helper()
	cfg.Congestion = "reno"
	x := newTCPTrace(t, cfg)
	x.listen()
	x.send("S seq=100 mss=1000 " + options)
	x.want("SA seq=1000 ack=101")
	x.later(20*sim.Millisecond, "A seq=101 ack=1001")
	x.write(1000 * n)
	x.out = nil
	return x
}

// RFC 6675 5: "(1) If DupAcks >= DupThresh, go to step (4)": what RACK takes for lost by time is found by number without it:
// the first SACK of a later segment is no loss for long.
func TestRACKOff(t *testing.T) {
	off := false
	x := flight(t, TCPConfig{RACK: &off, TLP: &off}, "sackok", 10)
	x.later(20*sim.Millisecond, "A seq=101 ack=1001 sack=2001-4001")
	x.advance(100 * sim.Millisecond)
	x.wantIdle()
	x.send("A seq=101 ack=1001 sack=2001-5001")
	x.want("A seq=1001 ack=101 len=1000")
	x.send("A seq=101 ack=11001")

	y := flight(t, TCPConfig{}, "sackok", 10)
	y.later(20*sim.Millisecond, "A seq=101 ack=1001 sack=2001-4001")
	y.advance(7*sim.Millisecond - 1)
	y.wantIdle()
	y.advance(2) // min_RTT/4 and 2 ms, in whole milliseconds
	y.want("A seq=1001 ack=101 len=1000")
	y.send("A seq=101 ack=11001")
}

// Linux's tcp_enter_cwr: a reduction without a loss ends once something above what was out then is acknowledged.
func TestEnterCWR(t *testing.T) {
	x := flight(t, TCPConfig{}, "sackok", 10)
	x.c.enterCWR()
	if i := x.c.Info(); i.CAState != "cwr" || i.SndSSThresh != 5 || i.SndCwnd != 10 {
		t.Errorf("%+v", i)
	}
	x.c.enterCWR() // once a window
	x.later(20*sim.Millisecond, "A seq=101 ack=3001")
	if i := x.c.Info(); i.SndCwnd != 9 { // RFC 9937: ceil(5*2/10) - 0 on top of 8
		t.Errorf("%+v", i)
	}
	x.write(3000)
	x.want("A seq=11001 ack=101 len=1000")
	x.send("A seq=101 ack=11001")
	if i := x.c.Info(); i.CAState != "cwr" {
		t.Errorf("%+v", i)
	}
	x.want("A seq=12001 ack=101 len=1000")
	x.want("PA seq=13001 ack=101 len=1000")
	x.send("A seq=101 ack=12001")
	if i := x.c.Info(); i.CAState != "open" || i.SndCwnd != 5 {
		t.Errorf("%+v", i)
	}
	x.send("A seq=101 ack=14001")
}
