package tcpstack

import (
	"net/netip"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// tooLarge lets a router's "fragmentation needed" about the segment at seq arrive.
func (x *tcpTrace) tooLarge(seq uint32, mtu int) {
	x.s.tcpControl(ICMPError{Type: wire.ICMPUnreachable, Code: wire.ICMPFragNeeded, MTU: mtu}, x.us, x.them, seq)
}

// RFC 1191 3 and 6.2: what was too large is sent again at once in smaller segments, the window unchanged; the size is
// remembered for the next connection. Without the switch the message says nothing.
func TestPathMTUDiscovery(t *testing.T) {
	for _, on := range []bool{true, false} {
		x := newTCPTrace(t, TCPConfig{PMTUDiscovery: &on})
		x.accept("mss=1460")
		x.write(2920)
		x.want("A seq=1001 ack=101 len=1460")
		x.want("PA seq=2461 ack=101 len=1460")
		cwnd := x.c.win.Cwnd
		x.tooLarge(1001, 1040)
		if !on {
			x.wantIdle()
			x.send("A seq=101 ack=3921")
			continue
		}
		x.want("A seq=1001 ack=101 len=1000")
		x.want("A seq=2001 ack=101 len=460")
		x.want("A seq=2461 ack=101 len=1000")
		x.want("PA seq=3461 ack=101 len=460")
		if i := x.c.Info(); i.PMTU != 1040 || i.SndCwnd != cwnd || i.SndMSS != 1000 {
			t.Errorf("%+v", i)
		}
		x.tooLarge(1001, 1200) // it does not grow again
		x.send("A seq=101 ack=3921")
		x.write(1100)
		x.want("A seq=3921 ack=101 len=1000")
		x.want("PA seq=4921 ack=101 len=100")
		x.send("A seq=101 ack=5021")
		x.them = netip.AddrPortFrom(x.them.Addr(), 5001)
		x.send("S seq=100 mss=1460")
		x.want("SA seq=1000 ack=101")
		x.send("A seq=101 ack=1001")
		if i := x.c.Info(); i.SndMSS != 1000 {
			t.Errorf("the next connection's MSS is %d", i.SndMSS)
		}
	}
}

// min_pmtu: a forged message makes the segments no smaller than that.
func TestMinPMTU(t *testing.T) {
	for least, mss := range map[uint32]uint32{552: 512, 1000: 960} {
		x := newTCPTrace(t, TCPConfig{MinPMTU: &least})
		x.accept("mss=1460")
		x.write(1460)
		x.want("PA seq=1001 ack=101 len=1460")
		x.tooLarge(1001, 68)
		if i := x.c.Info(); i.SndMSS != mss {
			t.Errorf("MSS %d, want %d", i.SndMSS, mss)
		}
		x.out = nil
		x.send("A seq=101 ack=2461")
		x.advance(sim.Second)
	}
}
