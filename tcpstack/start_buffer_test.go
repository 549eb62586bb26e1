package tcpstack

import (
	"testing"

	"labd.dev/sim"
)

// tcp_wmem and tcp_rmem, the middle value: what a connection begins with before autotuning has found more, seen in what a
// write takes and in the window of the SYN.
func TestStartBuffers(t *testing.T) {
	begin := func(cfg TCPConfig) (room int, win uint16) {
		x := newTCPTrace(t, cfg)
		x.dial()
		win, room = x.out[0].Window, x.c.Room() // the handshake makes it larger (tcp_init_buffer_space)
		x.c.Abort()
		x.out = nil
		return room, win
	}
	room, win := begin(TCPConfig{})
	size := uint64(64 << 10)
	if r, _ := begin(TCPConfig{StartSendBuffer: &size}); r <= room {
		t.Errorf("startSendBuffer %d: room for %d bytes, by default for %d", size, r, room)
	}
	size = 32 << 10
	if _, w := begin(TCPConfig{StartRecvBuffer: &size}); w >= win || int(w) > 16<<10 {
		t.Errorf("startRecvBuffer %d: window %d, by default %d", size, w, win)
	}
}

// tcp_comp_sack_nr: with zero each duplicate ACK goes by itself, with a small number fewer of them wait. And
// tcp_comp_sack_delay_ns: they wait for no longer.
func TestCompressedACKSwitches(t *testing.T) {
	acks := func(cfg TCPConfig) int {
		x := newTCPTrace(t, cfg)
		x.accept("mss=1000 sackok")
		for i := range uint32(20) {
			x.send("A ack=1001 len=100 seq=" + itoa(201+100*i))
		}
		n := len(x.out)
		x.c.Abort()
		x.out = nil
		return n
	}
	x := newTCPTrace(t, TCPConfig{CompressedDelay: new(sim.Time)})
	x.accept("mss=1000 sackok")
	for i := range uint32(20) {
		x.send("A ack=1001 len=100 seq=" + itoa(201+100*i))
	}
	sent := len(x.out)
	if x.advance(1); len(x.out) != sent+1 {
		t.Errorf("an ACK that may wait for no time was not sent at once")
	}
	x.c.Abort()
	x.out = nil

	none, few := uint32(0), uint32(4)
	if n := acks(TCPConfig{CompressedACKs: &none}); n != 20 {
		t.Errorf("%d ACKs of 20 segments, none is to wait", n)
	}
	byDefault := acks(TCPConfig{})
	if n := acks(TCPConfig{CompressedACKs: &few}); n <= byDefault || n >= 20 {
		t.Errorf("%d ACKs of 20 segments if 4 may wait, %d if 44 may", n, byDefault)
	}
}
