package tcpstack

import (
	"errors"
	"net/netip"
	"testing"
)

// SO_REUSEPORT: listeners share a port if all of them ask for it; each peer's connections go to one of them, by a hash
// that the seed decides (Linux: reuseport_select_sock), and when one is closed to the others.
func TestReusePort(t *testing.T) {
	on := true
	x := newTCPTrace(t, TCPConfig{})
	shared := TCPConfig{ReusePort: &on, SYNCookies: "off"}
	var list []*Listener
	for range 3 {
		l, err := x.s.ListenQueue(x.us, shared, 1000, nil)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, l)
	}
	if _, err := x.s.ListenQueue(x.us, TCPConfig{}, 1000, nil); !errors.Is(err, ErrAddrInUse) {
		t.Errorf("one that does not share: %v", err)
	}
	wild, err := x.s.ListenQueue(netip.AddrPortFrom(netip.Addr{}, x.us.Port()), shared, 1000, nil)
	if err != nil {
		t.Fatal(err)
	}
	flood := func() {
		for port := range uint16(300) {
			x.them = netipPort(x.them, 5000+port)
			x.send("S seq=100 mss=1460")
			x.want("SA seq=1000 ack=101")
		}
	}
	flood()
	for i, l := range list {
		if n := l.HalfOpen(); n < 60 || n > 140 { // 100 are expected: five standard deviations
			t.Errorf("listener %d has %d of 300", i, n)
		}
	}
	if wild.HalfOpen() != 0 {
		t.Errorf("the listener of all addresses has %d", wild.HalfOpen())
	}
	for _, l := range list[:2] {
		l.Close()
	}
	was := list[2].HalfOpen()
	x.them = netipPort(x.them, 9000)
	x.send("S seq=100 mss=1460")
	x.want("SA seq=1000 ack=101")
	if list[2].HalfOpen() != was+1 {
		t.Error("what is left does not take all")
	}
}
