package tcpstack

import (
	"slices"
	"testing"
)

// tcp_notsent_lowat: with as much unsent nothing more is taken, and there is room again once less than half is. Without it
// only the send buffer bounds what is written.
func TestNotsentLowat(t *testing.T) {
	for lowat, taken := range map[uint64]int{0: 1000, 2000: 0} {
		x := newTCPTrace(t, TCPConfig{NotsentLowat: &lowat})
		x.listen()
		x.send("S seq=100 mss=1000")
		x.want("SA seq=1000 ack=101")
		x.send("A seq=101 ack=1001 win=2000")
		x.app.heard = nil
		x.write(4000)
		x.want("A seq=1001 ack=101 len=1000")
		x.want("PA seq=2001 ack=101 len=1000") // forced: more than half the window
		if n, _ := x.c.Write(make([]byte, 1000)); n != taken {
			t.Errorf("lowat %d: took %d", lowat, n)
		}
		x.send("A seq=101 ack=3001 win=60000")
		x.send("A seq=101 ack=" + itoa(uint32(x.c.sndNxt)) + " win=60000")
		if !slices.Contains(x.app.heard, "writable") && lowat != 0 {
			t.Errorf("lowat %d: heard %q", lowat, x.app.heard)
		}
		x.out = nil
	}
}
