package tcpstack

import (
	"testing"

	"labd.dev/sim"
)

func ptr[T any](v T) *T { return &v }

// RFC 9293 3.8.4 (MUST-24 to MUST-29, SHLD-12): an idle peer is probed after keepAliveTime, by a segment without data and
// with an old sequence number, and is dead only when keepAliveProbes in a row were not answered. Without the switch nothing
// is sent (MUST-25); the time is the one set (MUST-27), counted from what the peer sent last (MUST-26).
func TestKeepAlive(t *testing.T) {
	cfg := TCPConfig{KeepAlive: ptr(true), KeepAliveTime: ptr(100 * sim.Second), KeepAliveInterval: ptr(10 * sim.Second), KeepAliveProbes: ptr(uint32(3))}
	x := newTCPTrace(t, cfg)
	x.accept("mss=1000")
	x.advance(100 * sim.Second)
	x.wantIdle()
	x.advance(1)
	x.want("A seq=1000 ack=101")
	x.send("A seq=101 ack=1001")
	x.advance(100*sim.Second - 1)
	x.wantIdle()
	for range 3 {
		x.advance(2)
		x.want("A seq=1000 ack=101")
		x.advance(10*sim.Second - 2)
		x.wantIdle()
	}
	x.advance(2)
	x.want("RA seq=1001 ack=101")
	x.wantHeard("established", "closed tcp: connection timed out")

	off := newTCPTrace(t, TCPConfig{})
	off.accept("mss=1000")
	off.advance(10000 * sim.Second)
	off.wantState(StateEstablished)

	// Switched on while the connection is idle, as setsockopt does.
	y := newTCPTrace(t, TCPConfig{})
	y.accept("mss=1000")
	y.advance(50 * sim.Second)
	cfg.KeepAliveProbes = nil
	if err := y.c.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	y.advance(50*sim.Second + 1)
	y.want("A seq=1000 ack=101")
	if err := y.c.Reconfigure(TCPConfig{KeepAlive: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	y.advance(1000 * sim.Second)
}

// tcp(7), TCP_USER_TIMEOUT: "when used with the TCP keepalive (SO_KEEPALIVE) option, TCP_USER_TIMEOUT will override
// keepalive to determine when to close a connection due to keepalive failure."
func TestKeepAliveUserTimeout(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{KeepAlive: ptr(true), KeepAliveTime: ptr(10 * sim.Second), KeepAliveInterval: ptr(5 * sim.Second),
		UserTimeout: ptr(14 * sim.Second)})
	x.accept("mss=1000")
	x.advance(10*sim.Second + 1)
	x.want("A seq=1000 ack=101")
	x.advance(5 * sim.Second)
	x.want("RA seq=1001 ack=101")
	x.wantState(StateClosed)
}

// tcp(7), TCP_USER_TIMEOUT: "the maximum amount of time in milliseconds that transmitted data may remain unacknowledged,
// or bufferred data may remain untransmitted (due to zero window size) before TCP will forcibly close the corresponding
// connection". Without it tcp_retries2 retransmissions end it.
func TestUserTimeout(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{UserTimeout: ptr(3 * sim.Second), TLP: ptr(false)})
	x.accept("mss=1000")
	x.write(10)
	x.advance(3 * sim.Second)
	x.wantState(StateEstablished)
	x.advance(sim.Second)
	x.wantState(StateClosed)
	x.out = nil

	y := newTCPTrace(t, TCPConfig{UserTimeout: ptr(3 * sim.Second)})
	y.listen()
	y.send("S seq=100 mss=1000")
	y.want("SA seq=1000 ack=101")
	y.send("A seq=101 ack=1001 win=0")
	y.write(10)
	y.advance(5 * sim.Second)
	y.wantState(StateClosed)
	y.out = nil

	z := newTCPTrace(t, TCPConfig{})
	z.accept("mss=1000")
	z.write(10)
	z.advance(900 * sim.Second)
	z.wantState(StateEstablished)
	z.advance(200 * sim.Second)
	z.wantState(StateClosed)
	z.out = nil
}

// Linux (tcp_orphan_retries): a connection that its application has closed is given up sooner.
func TestOrphanRetries(t *testing.T) {
	for retries, least := range map[uint32]sim.Time{1: 500 * sim.Millisecond, 8: 90 * sim.Second} {
		x := newTCPTrace(t, TCPConfig{OrphanRetries: &retries})
		x.accept("mss=1000")
		x.write(10)
		x.c.Close()
		x.advance(least)
		x.wantState(StateFinWait1)
		x.advance(2*least + 60*sim.Second)
		x.wantState(StateClosed)
		x.out = nil
	}
}

// tcp_max_orphans: of connections that their applications have closed no more than so many are kept; one more is reset, and
// counts no more once it is gone.
func TestOrphanLimit(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.s.tcp.orphans.limit = 1
	x.accept("mss=1000")
	first := x.c
	x.c.Close()
	x.want("FA seq=1001 ack=101")
	x.them = netipPort(x.them, 5001)
	x.app = &peer{t: t}
	x.send("S seq=100 mss=1000")
	x.want("SA seq=1000 ack=101")
	x.send("A seq=101 ack=1001")
	x.c.Close()
	x.want("FA seq=1001 ack=101")
	x.want("RA seq=1002 ack=101")
	if n := x.s.tcp.orphans.n; n != 1 || first.State() != StateFinWait1 || x.counted("tcp.abort_on_memory") != 1 {
		t.Errorf("%d orphans, the first in state %v", n, first.State())
	}
	first.Abort()
	if n := x.s.tcp.orphans.n; n != 0 {
		t.Errorf("%d orphans once all are gone", n)
	}
	x.out = nil
}

// tcp_fin_timeout: how long an orphan waits for the peer's FIN.
func TestFINTimeout(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{FINTimeout: ptr(5 * sim.Second)})
	x.accept("mss=1000")
	x.c.Close()
	x.want("FA seq=1001 ack=101")
	x.send("A seq=101 ack=1002")
	x.advance(5 * sim.Second)
	x.wantState(StateFinWait2)
	x.advance(1)
	x.wantState(StateClosed)
}

// RFC 1337 3 (F1): with the switch a reset does not end TIME-WAIT.
func TestRFC1337(t *testing.T) {
	for _, on := range []bool{false, true} {
		x := newTCPTrace(t, TCPConfig{RFC1337: &on})
		x.accept("mss=1000")
		x.c.CloseWrite()
		x.want("FA seq=1001 ack=101")
		x.send("FA seq=101 ack=1002")
		x.want("A seq=1002 ack=102")
		x.send("R seq=102")
		if left := len(x.s.TimeWaits()); left != map[bool]int{false: 0, true: 1}[on] {
			t.Errorf("%d connections in TIME-WAIT, rfc1337 %v", left, on)
		}
	}
}

// RFC 6191, as Linux's tcp_tw_reuse: a connection may take the place of one in TIME-WAIT a second later, by timestamps.
func TestTimeWaitReuse(t *testing.T) {
	on := true
	for _, mode := range []string{"on", "off", "loopback"} {
		x := newTCPTrace(t, TCPConfig{TimeWaitReuse: mode, Timestamps: &on})
		x.dial()
		sy := x.want("S seq=1000")
		ecr := "," + itoa(sy.opt.TSVal)
		x.send("SA seq=100 ack=1001 mss=1000 ts=50" + ecr)
		x.want("A seq=1001 ack=101")
		x.c.CloseWrite()
		x.want("FA seq=1001 ack=101")
		x.send("FA seq=101 ack=1002 ts=51" + ecr)
		x.want("A seq=1002 ack=102")
		open := func() error {
			c, err := x.s.Dial(x.us, x.them, TCPConfig{}, &peer{t: t})
			if err == nil {
				c.Abort()
				x.out = nil
			}
			return err
		}
		if err := open(); err == nil {
			t.Errorf("%s: reused at once", mode)
		}
		x.advance(sim.Second)
		if err := open(); (err == nil) != (mode == "on") {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// Linux (tcp_ack_probe): an answer to a probe that leaves the window closed puts the next one off by its whole interval.
func TestProbeAnswered(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.listen()
	x.send("S seq=100 mss=1000")
	x.want("SA seq=1000 ack=101")
	x.later(20*sim.Millisecond, "A seq=101 ack=1001 win=0")
	x.write(10)
	x.advance(220*sim.Millisecond + 1)
	x.want("A seq=1000 ack=101")
	x.later(100*sim.Millisecond, "A seq=101 ack=1001 win=0")
	x.advance(440*sim.Millisecond - 1)
	x.wantIdle()
	x.advance(2)
	x.want("A seq=1000 ack=101")
	x.send("A seq=101 ack=1001 win=1000")
	x.want("PA seq=1001 ack=101 len=10")
	x.send("A seq=101 ack=1011")
}
