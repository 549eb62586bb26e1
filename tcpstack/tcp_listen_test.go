package tcpstack

import (
	"net/netip"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// listenQueue makes the stack listen on port 80 with an accept queue.
func (x *tcpTrace) listenQueue(backlog int, ready func()) *Listener {
	x.t.Helper()
	l, err := x.s.ListenQueue(x.us, TCPConfig{}, backlog, ready)
	if err != nil {
		x.t.Fatal(err)
	}
	return l
}

// open brings a connection from another port of the peer to where the listener takes it for established, or not.
func (x *tcpTrace) openFrom(port uint16) {
	x.them = netipPort(x.them, port)
	x.send("S seq=100 mss=1460")
	x.want("SA seq=1000 ack=101")
	x.send("A seq=101 ack=1001")
}

// listen(2): "The backlog argument defines the maximum length to which the queue of pending connections for sockfd may
// grow." Linux's sk_acceptq_is_full lets one more in. What comes then: the SYN is dropped; the ACK that completes a
// handshake is dropped, the SYN,ACK repeated, and once there is room the next ACK is taken.
func TestAcceptQueue(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	heard := 0
	l := x.listenQueue(2, func() { heard++ })
	x.openFrom(5000)
	x.openFrom(5001)
	x.them = netipPort(x.them, 5003)
	x.send("S seq=100 mss=1460") // half open while there is still room
	x.want("SA seq=1000 ack=101")
	x.openFrom(5002)
	if l.Waiting() != 3 || heard != 3 {
		t.Fatalf("%d wait, told of %d", l.Waiting(), heard)
	}
	x.them = netipPort(x.them, 5004)
	x.send("S seq=100 mss=1460")
	x.wantIdle()
	x.them = netipPort(x.them, 5003)
	x.send("PA seq=101 ack=1001 len=10")
	x.wantIdle()
	if x.s.tcp.count.listenOverflows != 2 || x.s.tcp.count.listenDrops != 2 {
		t.Errorf("%+v", x.s.tcp.count)
	}
	x.advance(sim.Second + 1)
	x.want("SA seq=1000 ack=101")
	c, ok := l.Accept()
	if !ok || c.RemoteAddr().Port() != 5000 || c.State() != StateEstablished {
		t.Fatalf("accepted %v, %v", c, ok)
	}
	x.send("PA seq=101 ack=1001 len=10")
	x.advance(40*sim.Millisecond + 1)
	x.want("A seq=1001 ack=111")
	l.Accept()
	l.Accept()
	c, ok = l.Accept()
	if !ok || c.RemoteAddr().Port() != 5003 || c.Buffered() != 10 {
		t.Fatalf("accepted %v, %v", c, ok)
	}
	if _, ok := l.Accept(); ok {
		t.Error("accepted a connection too many")
	}
}

// tcp_abort_on_overflow: "If listening service is too slow to accept new connections, reset them."
func TestAbortOnOverflow(t *testing.T) {
	on := true
	x := newTCPTrace(t, TCPConfig{AbortOnOverflow: &on})
	l := x.listenQueue(2, nil)
	x.openFrom(5001)
	x.openFrom(5002)
	x.them = netipPort(x.them, 5003)
	x.send("S seq=100 mss=1460")
	x.want("SA seq=1000 ack=101")
	x.openFrom(5004)
	x.them = netipPort(x.them, 5003)
	x.send("A seq=101 ack=1001")
	x.want("R seq=1001")
	if l.Waiting() != 3 || l.HalfOpen() != 0 {
		t.Errorf("%d wait, %d half open", l.Waiting(), l.HalfOpen())
	}
}

// A connection that is reset while it waits is accepted all the same, and tells it then; a listener that closes resets
// what was not accepted (Linux: inet_csk_listen_stop).
func TestAcceptAfterReset(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	l := x.listenQueue(5, nil)
	x.openFrom(5001)
	x.send("R seq=101")
	c, ok := l.Accept()
	if !ok || c.State() != StateClosed {
		t.Fatalf("accepted %v, %v", c, ok)
	}
	if _, err := c.Read(make([]byte, 1)); err != ErrReset {
		t.Errorf("read: %v", err)
	}
	c.SetHandler(x.app)
	x.wantHeard("closed tcp: connection reset by peer")
	x.openFrom(5002)
	l.Close()
	x.want("RA seq=1001 ack=101")
	if n := len(x.s.Conns()); n != 0 {
		t.Errorf("%d connections left", n)
	}
}

// RFC 4987 3.4: a SYN takes no more than an entry of the cache. Its SYN,ACK is repeated after 1, 2, 4, 8 and 16 seconds and
// given up 32 seconds later (tcp_synack_retries: "Default value is 5, which corresponds to 31seconds till the last
// retransmission").
func TestSYNACKRetransmission(t *testing.T) {
	for _, retries := range []uint32{5, 2} {
		x := newTCPTrace(t, TCPConfig{SYNACKRetries: &retries})
		l := x.listen()
		x.send("S seq=100 mss=1460")
		x.want("SA seq=1000 ack=101")
		if len(x.s.Conns()) != 0 || len(x.s.HalfOpens()) != 1 {
			t.Errorf("a SYN made %d connections and %d entries", len(x.s.Conns()), len(x.s.HalfOpens()))
		}
		x.advance(1)
		wait := sim.Second
		for range retries {
			x.advance(wait - 2)
			x.wantIdle()
			x.advance(2)
			x.want("SA seq=1000 ack=101")
			wait *= 2
		}
		x.advance(wait)
		if l.HalfOpen() != 0 {
			t.Error("still half open")
		}
		x.send("A seq=101 ack=1001")
		x.want("R seq=1001")
	}
}

// Linux's tcp_check_req: what a segment means to a connection half open.
func TestSynReceived(t *testing.T) {
	start := func(t *testing.T) *tcpTrace {
		on := true
		x := newTCPTrace(t, TCPConfig{Timestamps: &on})
		x.listen()
		x.advance(sim.Second)
		x.send("S seq=100 mss=1460 ts=1000,0")
		x.want("SA seq=1000 ack=101")
		return x
	}
	t.Run("the SYN again", func(t *testing.T) {
		x := start(t)
		x.send("S seq=100 mss=1460 ts=1001,0")
		x.want("SA seq=1000 ack=101")
		x.send("S seq=100 mss=1460 ts=1002,0") // within tcp_invalid_ratelimit
		x.wantIdle()
		x.advance(800 * sim.Millisecond)
		x.send("S seq=100 mss=1460 ts=1003,0")
		x.want("SA seq=1000 ack=101")
		x.advance(900 * sim.Millisecond) // the timer was put off by the repetition
		x.wantIdle()
	})
	t.Run("another ACK", func(t *testing.T) {
		x := start(t)
		x.send("A seq=101 ack=1002 ts=1001,0")
		x.want("R seq=1002")
		x.send("A seq=101 ack=1001 ts=1001,0")
		x.wantHeard("established")
	})
	t.Run("another echo", func(t *testing.T) {
		x := start(t)
		x.send("A seq=101 ack=1001 ts=1001,1") // no SYN,ACK had this timestamp (TSEcrRejected)
		x.want("A seq=1001 ack=101")
		x.wantHeard()
		x.send("A seq=101 ack=1001 ts=1001," + itoa(x.s.tsNow(x.s.Listeners()[0].firstReq.tsOffset)))
		x.wantHeard("established")
	})
	t.Run("outside of the window", func(t *testing.T) {
		x := start(t)
		x.send("A seq=70000 ack=1001 ts=1001,0")
		x.want("A seq=1001 ack=101")
		x.send("R seq=70000 ts=1001,0")
		x.send("A seq=101 ack=1001 ts=999,0") // RFC 7323 5.3 R1
		x.wantIdle()
		x.advance(500 * sim.Millisecond)
		x.send("A seq=101 ack=1001 ts=999,0")
		x.want("A seq=1001 ack=101")
		x.wantHeard()
	})
	t.Run("another SYN", func(t *testing.T) {
		x := start(t)
		x.send("S seq=102 mss=1460 ts=1001,0")
		x.want("RA seq=0 ack=103")
		if len(x.s.HalfOpens()) != 0 {
			t.Error("still half open")
		}
	})
	t.Run("no ACK", func(t *testing.T) {
		x := start(t)
		x.send("P seq=101 len=10 ts=1001,0")
		x.wantIdle()
		x.send("PA seq=101 ack=1001 len=10 ts=1001,0")
		x.wantHeard("established")
		x.advance(40*sim.Millisecond + 1)
		x.want("A seq=1001 ack=111")
	})
}

// Linux (tcp_rcv_state_process, LISTEN): a SYN with FIN is dropped, one with RST is a reset.
//
// RFC 9293 MUST-63, MUST-57.
func TestMalformedSYN(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	l := x.listen()
	x.send("SF seq=100")
	x.send("SR seq=100")
	x.send("SFR seq=100")
	x.wantIdle()
	if l.HalfOpen() != 0 {
		t.Error("half open")
	}
}

// TCP_DEFER_ACCEPT: the bare ACK is dropped, the connection established by its first data, or when the time is over by the
// answer to one more SYN,ACK.
func TestDeferAccept(t *testing.T) {
	wait := 3 * sim.Second
	x := newTCPTrace(t, TCPConfig{DeferAccept: &wait})
	x.listen()
	x.send("S seq=100 mss=1460")
	x.want("SA seq=1000 ack=101")
	x.send("A seq=101 ack=1001")
	x.wantHeard()
	x.send("PA seq=101 ack=1001 len=10")
	x.wantHeard("established")
	x.advance(40*sim.Millisecond + 1)
	x.want("A seq=1001 ack=111")
	x.them = netipPort(x.them, 5001)
	x.app = &peer{t: t}
	x.send("S seq=100 mss=1460")
	x.want("SA seq=1000 ack=101")
	x.send("A seq=101 ack=1001")
	x.advance(3*sim.Second + 1) // two timeouts: 1 and 2 s; nothing is repeated before the last
	x.want("SA seq=1000 ack=101")
	x.send("A seq=101 ack=1001")
	x.wantHeard("established")
}

// A flood of a million SYNs takes no more than the backlog's room, and one more; what becomes of each is counted.
func TestSYNFloodIsBounded(t *testing.T) {
	for _, c := range []struct {
		cookies, counter string
		flood            int
	}{{"on", "tcp.syn_cookies_sent", 1_000_000}, {"off", "tcp.req_q_full_drop", 100_000}} {
		t.Run("cookies "+c.cookies, func(t *testing.T) {
			x := newTCPTrace(t, TCPConfig{Backlog: 1000, SYNCookies: c.cookies})
			l := x.listen()
			before := x.loop.Held()
			for i := range c.flood {
				if x.them = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 2 + byte(i/60_000)}), uint16(1024+i%60_000)); i%60_000 == 0 {
					x.ifc.neighbour(num4(x.them.Addr())).learn(wire.MAC{2, 0, 0, 0, 0, 2})
				}
				x.send("S seq=" + itoa(uint32(i)))
				x.out = x.out[:0]
			}
			if l.HalfOpen() > 1001 || x.loop.Held()-before > 1<<20 {
				t.Errorf("%d half open, %d bytes", l.HalfOpen(), x.loop.Held()-before)
			}
			if n := x.counted(c.counter); n != uint64(c.flood-l.HalfOpen()) {
				t.Errorf("%s is %d", c.counter, n)
			}
		})
	}
}
