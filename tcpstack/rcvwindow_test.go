package tcpstack

import (
	"testing"

	"labd.dev/sim"
)

// Linux (__tcp_ack_snd_check): with SACK, duplicate ACKs beyond the third wait for a twentieth of the round trip, at most
// a millisecond, so that one tells of several segments; without SACK each counts.
//
// RFC 9293 MUST-58.
func TestCompressedACKs(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.listen()
	x.send("S seq=100 mss=1000 sackok")
	x.want("SA seq=1000 ack=101")
	x.later(20*sim.Millisecond, "A seq=101 ack=1001")
	x.c.flow().rtt8 = 8 * 20 * sim.Millisecond
	for i := range uint32(10) {
		x.send("A ack=1001 len=100 seq=" + itoa(201+100*i))
		if i < compressAfter {
			x.want("A seq=1001 ack=101 sack=201-" + itoa(301+100*i))
		}
	}
	x.wantIdle()
	x.advance(sim.Millisecond + 1)
	x.want("A seq=1001 ack=101 sack=201-1201")
	x.send("A seq=101 ack=1001 len=100") // no gap is left
	x.want("A seq=1001 ack=1201")

	y := newTCPTrace(t, TCPConfig{})
	y.accept("mss=1000")
	for i := range uint32(10) {
		y.send("A ack=1001 len=100 seq=" + itoa(201+100*i))
		y.want("A seq=1001 ack=101")
	}
}

// Linux (tcp_send_delayed_ack, tcp_delack_timer_handler): an ACK that waits in vain makes the next wait twice as long, up
// to a round trip; in an interactive exchange it ends that instead.
func TestATO(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.listen()
	x.send("S seq=100 mss=1000")
	x.want("SA seq=1000 ack=101")
	x.later(60*sim.Millisecond, "A seq=101 ack=1001")
	x.app.paused = true
	wait := func(d sim.Time, ack string) {
		t.Helper()
		x.advance(d)
		x.wantIdle()
		x.advance(1)
		x.want("A seq=1001 ack=" + ack)
	}
	x.send("PA seq=101 ack=1001 len=10")
	wait(40*sim.Millisecond, "111")
	x.send("PA seq=111 ack=1001 len=10") // 40 ms later, less than ato
	wait(60*sim.Millisecond, "121")
	x.write(10)
	x.want("PA seq=1001 ack=121 len=10")
	x.send("PA seq=121 ack=1011 len=10")
	x.write(10)
	x.want("PA seq=1011 ack=131 len=10")
	if !x.c.inPingPong() {
		t.Error("a reply at once is no interactive exchange")
	}
	x.send("A seq=131 ack=1021")

	hundred := 100 * sim.Millisecond // the switch delayedAck: as it is configured
	y := newTCPTrace(t, TCPConfig{DelayedACK: &hundred})
	y.accept("mss=1000")
	y.send("PA seq=101 ack=1001 len=10")
	y.advance(hundred)
	y.wantIdle()
	y.advance(1)
	y.want("A seq=1001 ack=111")
}

// Linux (tcp_cleanup_rbuf): once the application has read all, and a pushed segment was among it, the ACK does not wait
// for more, unless the exchange is interactive.
func TestACKOnRead(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	x.app.paused = true
	x.send("PA seq=101 ack=1001 len=10")
	x.wantIdle()
	x.app.pull()
	x.want("A seq=1001 ack=111")
	x.c.SetQuickACK(false)
	x.send("PA seq=111 ack=1001 len=10")
	x.app.pull()
	x.wantIdle()
	x.c.SetQuickACK(true)
	x.want("A seq=1001 ack=121")
}

// Linux (tcp_select_initial_window): the SYN announces the buffer less overhead in whole segments, with a scale for the
// largest that the buffer may grow to; a fixed buffer is what it is.
func TestInitialWindow(t *testing.T) {
	on := true
	clamp := uint64(5000)
	for _, c := range []struct {
		cfg  TCPConfig
		want string
	}{
		{TCPConfig{}, "SA seq=1000 ack=101 win=64240 mss=1460 ws=7"},
		{TCPConfig{RecvBuffer: 128 << 10}, "SA seq=1000 ack=101 win=65535 mss=1460 ws=2"},
		{TCPConfig{RecvBuffer: 20000}, "SA seq=1000 ack=101 win=18980 mss=1460 ws=0"},
		{TCPConfig{WindowClamp: &clamp}, "SA seq=1000 ack=101 win=4380 mss=1460 ws=0"},
	} {
		c.cfg.WindowScaling = &on
		x := newTCPTrace(t, c.cfg)
		x.listen()
		x.send("S seq=100 mss=1460 ws=7")
		x.want(c.want)
	}
}

// Linux (tcp_grow_window): the window opens by two segments with each that comes, up to what the buffer holds.
func TestWindowGrows(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{StartRecvBuffer: new(uint64(96 << 10))})
	x.accept("mss=1460")
	var last uint16
	for i := range uint32(8) {
		x.send("A ack=1001 len=1460 seq=" + itoa(101+1460*i))
		for len(x.out) > 0 {
			if last = x.out[0].Window; last < 48180 {
				t.Errorf("window %d", last)
			}
			x.out = x.out[1:]
		}
	}
	if last < 48180+4*2*1460 {
		t.Errorf("window %d", last)
	}
	x.advance(sim.Second)
	x.out = nil
}

// Linux (tcp_rcv_space_adjust): the receive buffer follows what the application reads in a round trip, up to maxRecvBuffer;
// recvAutotuning: off leaves it, and recvBuffer fixes it. (tcp_sndbuf_expand): so does the send buffer with the window.
func TestAutotuning(t *testing.T) {
	off := false
	run := func(cfg TCPConfig) (sim.Time, uint32, uint32) {
		p := newTCPPair(t, [2]Config{{Name: "a"}, {Name: "b"}}, 50*sim.Millisecond)
		a, b := &peer{t: t, out: pattern(20_000_000, 1), closeOut: true}, &peer{t: t}
		p.connect(cfg, a, b)
		rcv, snd := uint32(0), uint32(0)
		for !b.eof && p.loop.Now() < 300*sim.Second {
			p.run(10 * sim.Millisecond)
			if b.c != nil && b.c.rcvf != nil {
				rcv = b.c.rcvf.rcvBuf
			}
			snd = max(snd, a.c.sndBuf)
		}
		took := p.loop.Now()
		p.run(70 * sim.Second)
		p.teardown()
		return took, rcv, snd
	}
	tuned, rcv, snd := run(TCPConfig{})
	if rcv < 1<<20 || rcv > 6<<20 || snd < 1<<20 || snd > 4<<20 {
		t.Errorf("receive buffer %d, send buffer %d", rcv, snd)
	}
	if slow, rcv, _ := run(TCPConfig{RecvAutotuning: &off}); rcv != recvBufDefault || slow < 3*tuned {
		t.Errorf("not tuned: receive buffer %d, %v against %v", rcv, slow, tuned)
	}
	if slow, _, snd := run(TCPConfig{SendAutotuning: &off}); snd != sendBufDefault || slow < 3*tuned {
		t.Errorf("not tuned: send buffer %d, %v against %v", snd, slow, tuned)
	}
	if slow, rcv, snd := run(TCPConfig{SendBuffer: 64 << 10, RecvBuffer: 64 << 10}); rcv != 64<<10 || snd != 64<<10 || slow < 3*tuned {
		t.Errorf("fixed: buffers %d and %d, %v against %v", snd, rcv, slow, tuned)
	}
}

// Linux (tcp_init_buffer_space, tcp_sndbuf_expand): once established the send buffer has room for two initial windows, 87040
// bytes with their segments' overhead, and for three with BBR (bbr_sndbuf_expand).
func TestSendBufferWindows(t *testing.T) {
	for cc, want := range map[string]int{"cubic": 87040, "reno": 87040, "dctcp": 87040, "bbr": 130560, "bbr3": 130560} {
		p := newTCPPair(t, [2]Config{{Name: "a"}, {Name: "b"}}, 50*sim.Millisecond)
		a, b := &peer{t: t}, &peer{t: t}
		p.connect(TCPConfig{Congestion: cc}, a, b)
		p.run(300 * sim.Millisecond)
		if got := a.c.SendBuffer(); got != want {
			t.Errorf("%s: %d bytes, want %d", cc, got, want)
		}
		a.c.Abort()
		p.run(sim.Second)
		p.teardown()
	}
}

// Linux (tcp_mem, tcp_prune_ofo_queue): beyond the stack's limit what lies beyond a gap makes room for what is in order;
// with nothing to throw away the segment itself is.
func TestMemoryLimit(t *testing.T) {
	limit := uint64(4000)
	x := newTCPTrace(t, TCPConfig{MemoryLimit: &limit})
	x.accept("mss=1000 sackok")
	x.app.paused = true
	for i := range uint32(3) {
		x.send("A ack=1001 len=1000 seq=" + itoa(3101+1000*i))
	}
	x.out = nil
	x.send("A seq=101 ack=1001 len=1000")
	x.send("A seq=1101 ack=1001 len=1000")
	x.out = nil
	if n := x.s.tcp.count.ofoPruned; n != 1 {
		t.Errorf("%d pieces pruned", n)
	}
	x.send("A seq=2101 ack=1001 len=1000") // closes the gap: the farthest of the others goes too
	x.out = nil
	x.send("A seq=4101 ack=1001 len=1000")
	if x.c.rcvNxt != 4101 || x.s.tcp.count.memoryDrops != 1 || x.s.tcp.mem.used > limit {
		t.Errorf("RCV.NXT %d, %d drops, %d bytes", x.c.rcvNxt, x.s.tcp.count.memoryDrops, x.s.tcp.mem.used)
	}
	x.advance(sim.Second)
	x.out = nil

	y := newTCPTrace(t, TCPConfig{})
	y.accept("mss=1000 sackok")
	y.app.paused = true
	for i := range uint32(6) {
		y.send("A ack=1001 len=1000 seq=" + itoa(101+1000*i))
	}
	if y.c.rcvNxt != 6101 {
		t.Errorf("RCV.NXT %d", y.c.rcvNxt)
	}
	y.advance(sim.Second)
	y.out = nil
}
