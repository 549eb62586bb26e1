package tcpstack

import (
	"testing"

	"labd.dev/sim"
)

// Linux's tcp_snd_una_update and tcp_rcv_nxt_update count sequence numbers: tcpi_bytes_acked has the SYN of an active open
// (a passive open's was acknowledged before the socket was) and the FIN, tcpi_bytes_received the FIN.
func TestInfoCountsSequenceNumbers(t *testing.T) {
	p := newTCPPair(t, [2]Config{}, sim.Millisecond)
	a, b := &peer{t: t, out: pattern(3000, 1)}, &peer{t: t, out: pattern(500, 2)}
	p.connect(TCPConfig{}, a, b)
	if i := a.c.Info(); i.BytesAcked != 0 {
		t.Errorf("%d before the SYN was acknowledged", i.BytesAcked)
	}
	p.run(sim.Second)
	ai, bi := a.c.Info(), b.c.Info()
	if ai.BytesAcked != 3001 || ai.BytesReceived != 500 || bi.BytesAcked != 500 || bi.BytesReceived != 3000 {
		t.Errorf("open: %d %d, %d %d", ai.BytesAcked, ai.BytesReceived, bi.BytesAcked, bi.BytesReceived)
	}
	a.c.CloseWrite()
	p.run(2 * sim.Second)
	ai, bi = a.c.Info(), b.c.Info()
	if ai.BytesAcked != 3002 || bi.BytesReceived != 3001 {
		t.Errorf("after the FIN: %d, %d", ai.BytesAcked, bi.BytesReceived)
	}
	p.teardown()
}
