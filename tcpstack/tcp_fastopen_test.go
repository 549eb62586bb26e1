package tcpstack

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// The reference vectors of SipHash-2-4 (appendix A of the paper, and its vectors for 0 and 8 bytes).
func TestSipHash(t *testing.T) {
	key := [2]uint64{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	for _, v := range []struct {
		last  uint64
		words []uint64
		want  uint64
	}{
		{0, nil, 0x726fdb47dd0e0e31},
		{8 << 56, []uint64{0x0706050403020100}, 0x93f5f5799a932462},
		{15<<56 | 0x0e0d0c0b0a0908, []uint64{0x0706050403020100}, 0xa129ca6149be45e5},
	} {
		if got := sipHash(key, v.last, v.words...); got != v.want {
			t.Errorf("%x of %x: %x, want %x", v.words, v.last, got, v.want)
		}
	}
}

// fo is a Fast Open option with a cookie in hex; "" asks for one.
func fo(cookie string) (o wire.FastOpen) {
	b, _ := hex.DecodeString(cookie)
	o.SetCookie(b)
	return o
}

// sendFO lets a SYN or SYN,ACK with a Fast Open option arrive.
func (x *tcpTrace) sendFO(text string, o wire.FastOpen) {
	x.t.Helper()
	g := x.parse(text)
	g.opt.FastOpen = o
	x.deliver(g.TCP, g.opt, g.len)
}

// wantFO takes the oldest segment sent, which has this option.
func (x *tcpTrace) wantFO(text string, o wire.FastOpen) traceSegment {
	x.t.Helper()
	g := x.want(text)
	if g.opt.FastOpen != o {
		x.t.Fatalf("option %+v, want %+v", g.opt.FastOpen, o)
	}
	return g
}

const testCookie = "0123456789abcdef"

// dialFO opens a connection to the peer as sendto with MSG_FASTOPEN does.
func (x *tcpTrace) dialFO(n int) int {
	x.t.Helper()
	x.app = &peer{t: x.t}
	x.us = netipPort(x.us, x.us.Port()+1)
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(1001 + i)
	}
	c, n, err := x.s.DialFastOpen(x.us, x.them, TCPConfig{}, data, x.app)
	if err != nil {
		x.t.Fatal(err)
	}
	x.c, x.app.c = c, c
	return n
}

// learnCookie has the peer give a cookie.
func (x *tcpTrace) learnCookie() {
	x.t.Helper()
	if n := x.dialFO(100); n != 0 {
		x.t.Fatalf("%d bytes went without a cookie", n)
	}
	x.wantFO("S seq=1000", wire.FastOpen{Present: true})
	if i := x.c.Info(); i.FastOpenClientFail != 1 {
		x.t.Errorf("fastopen_client_fail %d", i.FastOpenClientFail)
	}
	x.sendFO("SA seq=100 ack=1001 mss=1460", fo(testCookie))
	x.want("A seq=1001 ack=101")
	x.c.Abort()
	x.want("RA seq=1001 ack=101")
}

// RFC 7413 3.1: "Requesting a Fast Open Cookie" and "Performing TCP Fast Open", the client's side: the option with no
// cookie, then data with the SYN; RFC 7413 4.2.1: what the SYN,ACK acknowledges decides.
func TestFastOpenClient(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.learnCookie()
	if n := x.dialFO(2000); n != 1420 {
		t.Fatalf("%d bytes went with the SYN", n)
	}
	x.wantFO("S seq=1000 len=1420", fo(testCookie))
	x.sendFO("SA seq=100 ack=2421 mss=1460", wire.FastOpen{})
	x.want("A seq=2421 ack=101")
	if i := x.c.Info(); !i.SYNData || i.FastOpenClientFail != 0 || i.BytesAcked != 1421 {
		t.Errorf("%+v", i)
	}
	x.write(10)
	x.want("PA seq=2421 ack=101 len=10")
	x.send("A seq=101 ack=2431")
	x.c.Abort()
	x.want("RA seq=2431 ack=101")
}

// RFC 7413 4.2.2: data that the SYN-ACK does not acknowledge is sent again: at once, in place of the ACK, in segments
// of the peer's MSS; the window is not reduced.
func TestFastOpenDataNotAcked(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.learnCookie()
	x.dialFO(1000)
	x.wantFO("S seq=1000 len=1000", fo(testCookie))
	x.send("SA seq=100 ack=1001 mss=600 sackok")
	x.want("A seq=1001 ack=101 len=600")
	x.want("PA seq=1601 ack=101 len=400")
	if i := x.c.Info(); i.SYNData || i.FastOpenClientFail != 2 || i.SndCwnd != 10 || i.CAState != "loss" {
		t.Errorf("%+v", i)
	}
	x.send("A seq=101 ack=2001")
	if i := x.c.Info(); i.BytesAcked != 1001 || i.CAState != "open" || x.s.tcp.count.fastOpenActiveFail != 1 {
		t.Errorf("%+v", i)
	}
	x.c.Abort()
	x.want("RA seq=2001 ack=101")
}

// A SYN that times out is sent again without option and data; the data follows the SYN,ACK.
func TestFastOpenSYNRetransmitted(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.learnCookie()
	x.dialFO(100)
	x.wantFO("S seq=1000 len=100", fo(testCookie))
	x.advance(sim.Second + 1)
	x.wantFO("S seq=1000", wire.FastOpen{})
	x.send("SA seq=100 ack=1001 mss=1460")
	x.want("PA seq=1001 ack=101 len=100")
	if i := x.c.Info(); i.FastOpenClientFail != 3 {
		t.Errorf("%+v", i)
	}
	x.c.Abort()
	x.want("RA seq=1101 ack=101")
}

// A server that ignores the option is asked by the experimental one next, and by the standard one after that.
func TestFastOpenExperimental(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	for _, exp := range []bool{false, true, false} {
		x.dialFO(10)
		x.wantFO("S seq=1000", wire.FastOpen{Present: true, Exp: exp})
		x.send("SA seq=100 ack=1001 mss=1460")
		x.want("A seq=1001 ack=101")
		x.c.Abort()
		x.want("RA seq=1001 ack=101")
	}
}

// TCP_FASTOPEN_CONNECT: the SYN waits for the first write; without a cookie it does not.
func TestFastOpenDeferred(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.learnCookie()
	x.us = netipPort(x.us, 90)
	x.app = &peer{t: t}
	c, err := x.s.DialDeferred(x.us, x.them, TCPConfig{}, x.app)
	if err != nil || !c.Deferred() {
		t.Fatal(err)
	}
	x.wantIdle()
	x.c, x.app.c = c, c
	x.write(10)
	x.wantFO("S seq=1000 len=10", fo(testCookie))
	x.send("SA seq=100 ack=1011 mss=1460")
	x.want("A seq=1011 ack=101")
	x.c.Abort()
	x.want("RA seq=1011 ack=101")
	x.s.FlushMetrics()
	x.us = netipPort(x.us, 91)
	x.app = &peer{t: t}
	if c, err = x.s.DialDeferred(x.us, x.them, TCPConfig{}, x.app); err != nil || c.Deferred() {
		t.Fatal(err)
	}
	x.wantFO("S seq=1000", wire.FastOpen{Present: true})
	c.Abort()
}

// fastOpen: off and fastOpenNoCookie.
func TestFastOpenClientSwitches(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{FastOpen: "server"})
	if _, _, err := x.s.DialFastOpen(x.us, x.them, TCPConfig{}, nil, x.app); err != ErrFastOpenOff {
		t.Error(err)
	}
	on := true
	x = newTCPTrace(t, TCPConfig{FastOpenNoCookie: &on})
	x.dialFO(50)
	x.wantFO("S seq=1000 len=50", wire.FastOpen{})
	x.c.Abort()
}

// A connection with data in SYN and SYN,ACK.
func TestFastOpenDataOnSYNACK(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.learnCookie()
	x.dialFO(50)
	x.wantFO("S seq=1000 len=50", fo(testCookie))
	x.send("SPA seq=100 ack=1051 len=20 mss=1460")
	x.want("A seq=1051 ack=121")
	if x.app.in.Len() != 20 {
		t.Errorf("read %d", x.app.in.Len())
	}
	x.c.Abort()
	x.want("RA seq=1051 ack=121")
}

const testKey = "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4"

func (x *tcpTrace) cookie(key int) wire.FastOpen {
	tp := tuple{local: ipAddrOf(x.us.Addr()), remote: ipAddrOf(x.them.Addr())}
	b := tp.fastOpenCookie(x.s.fastOpenKeysOf(x.s.tcp.defaults)[key])
	return fo(hex.EncodeToString(b[:]))
}

// RFC 7413 4.2.2, the server's side: a cookie for whoever asks, data of a SYN with a good cookie taken at once, with a bad
// one not.
func TestFastOpenServer(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{FastOpen: "server", FastOpenKey: testKey})
	l := x.listenQueue(5, nil)
	x.sendFO("S seq=100 mss=1460", wire.FastOpen{Present: true})
	x.wantFO("SA seq=1000 ack=101", x.cookie(0))
	x.send("R seq=101")

	x.them = netipPort(x.them, 5001)
	x.sendFO("S seq=100 mss=1460 len=30", fo("0102030405060708"))
	x.wantFO("SA seq=1000 ack=101", x.cookie(0))
	x.send("R seq=101")

	x.them = netipPort(x.them, 5002)
	x.sendFO("S seq=100 mss=1460 len=30", x.cookie(0))
	x.wantFO("SA seq=1000 ack=131", wire.FastOpen{})
	c, ok := l.Accept()
	if !ok || c.State() != StateSynRcvd || c.Buffered() != 30 || !c.Info().SYNData {
		t.Fatalf("accepted %v %v", c, ok)
	}
	x.c, x.app.c = c, c
	c.SetHandler(x.app)
	x.write(2000) // before the handshake is complete
	x.want("A seq=1001 ack=131 len=1460")
	x.want("PA seq=2461 ack=131 len=540")
	x.advance(sim.Second + 1)
	x.wantFO("SA seq=1000 ack=131", wire.FastOpen{})
	x.send("A seq=131 ack=3001")
	x.wantState(StateEstablished)
	if x.c.Unacked() != 0 || l.fast.n != 0 {
		t.Errorf("%d unacked, %d pending", x.c.Unacked(), l.fast.n)
	}
}

// A cookie made with the old of two keys is good; the new one comes with the SYN,ACK.
func TestFastOpenBackupKey(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{FastOpen: "both", FastOpenKey: testKey + ",00010203-04050607-08090a0b-0c0d0e0f"})
	x.listen()
	x.sendFO("S seq=100 mss=1460 len=30", x.cookie(1))
	x.wantFO("SA seq=1000 ack=131", x.cookie(0))
	if x.s.tcp.count.fastOpenPassiveAltKey != 1 {
		t.Error("not counted")
	}
}

// TCP_FASTOPEN 0: a listener whose queue has no places opens nothing fast.
func TestFastOpenLimitOfNone(t *testing.T) {
	for _, limit := range []uint32{0, 1} {
		x := newTCPTrace(t, TCPConfig{FastOpen: "server", FastOpenBacklog: &limit})
		x.listenQueue(10, nil)
		x.sendFO("S seq=100 mss=1460 len=30", x.cookie(0))
		x.want("SA seq=1000 ack=" + itoa(101+30*limit))
	}
}

// TCP_FASTOPEN's limit: beyond it SYNs are answered as without Fast Open; those reset by the peer count for a minute.
func TestFastOpenLimit(t *testing.T) {
	one := uint32(1)
	x := newTCPTrace(t, TCPConfig{FastOpen: "server", FastOpenBacklog: &one})
	l := x.listenQueue(10, nil)
	open := func(port uint16, taken bool) {
		x.t.Helper()
		x.them = netipPort(x.them, port)
		x.sendFO("S seq=100 mss=1460 len=30", x.cookie(0))
		if taken {
			x.want("SA seq=1000 ack=131")
			return
		}
		x.wantFO("SA seq=1000 ack=101", wire.FastOpen{})
		x.send("R seq=101")
	}
	open(5001, true)
	open(5002, false)
	x.them = netipPort(x.them, 5001)
	c, _ := l.Accept()
	c.SetHandler(x.app)
	x.send("R seq=131")
	x.wantHeard("closed tcp: connection reset by peer")
	open(5003, false)
	x.advance(60 * sim.Second)
	open(5004, true)
	x.them = netipPort(x.them, 5004)
	x.send("R seq=131") // was not accepted: it counts no more
	open(5005, true)
	if n := x.s.tcp.count.fastOpenListenOverflow; n != 2 {
		t.Errorf("%d overflows", n)
	}
	l.Close()
	x.want("RA seq=1001 ack=131")
}

// Closing before the handshake is complete: FIN at once; shutdown waits.
func TestFastOpenCloseInSynReceived(t *testing.T) {
	for _, shut := range []bool{false, true} {
		x := newTCPTrace(t, TCPConfig{FastOpen: "server"})
		x.listen()
		x.sendFO("S seq=100 mss=1460 len=30", x.cookie(0))
		x.want("SA seq=1000 ack=131")
		if x.app.in.Len() != 30 {
			t.Errorf("read %d", x.app.in.Len())
		}
		if shut {
			x.c.CloseWrite()
			x.wantIdle()
			x.send("A seq=131 ack=1001")
			x.want("FA seq=1001 ack=131")
			continue
		}
		x.c.Close()
		x.want("FA seq=1001 ack=131")
		x.wantState(StateFinWait1)
		x.send("A seq=131 ack=1002")
		x.wantState(StateFinWait2)
	}
}

// The two ends against each other, with loss of the first SYN,ACK.
func TestFastOpenPair(t *testing.T) {
	p := newTCPPair(t, [2]Config{{}, {TCP: TCPConfig{FastOpen: "both"}}}, sim.Millisecond)
	server := &peer{t: t, closeEOF: true}
	if _, err := p.stack[1].Listen(netip.AddrPortFrom(netip.Addr{}, 80), TCPConfig{}, func(*Conn) ConnHandler { return server }); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, 500} {
		*server = peer{t: t, closeEOF: true}
		client := &peer{t: t, closeOut: true}
		data := pattern(500, 1)
		c, n, err := p.stack[0].DialFastOpen(netip.AddrPort{}, netip.AddrPortFrom(p.addr[1], 80), TCPConfig{}, data, client)
		if err != nil || n != want {
			t.Fatalf("%d: %d bytes, %v", i, n, err)
		}
		client.c, client.out = c, data[n:]
		p.run(sim.Second)
		if server.in.String() != string(data) || !client.closed || client.err != nil {
			t.Errorf("%d: %d bytes arrived; %q, %q", i, server.in.Len(), client.heard, server.heard)
		}
	}
	p.teardown()
}

// RFC 7413 7.1: a path that swallows Fast Open is not tried again for a while, after two timeouts in a row (Linux:
// tcp_fastopen_blackhole_timeout_sec).
func TestFastOpenBlackhole(t *testing.T) {
	pause := 60 * sim.Second
	for _, on := range []*sim.Time{nil, &pause} {
		x := newTCPTrace(t, TCPConfig{FastOpenBlackhole: on})
		x.learnCookie()
		x.dialFO(100)
		x.wantFO("S seq=1000 len=100", fo(testCookie))
		x.advance(3*sim.Second + 1)
		x.c.Abort()
		x.out = nil
		n := x.dialFO(100)
		if (n == 0) != (on != nil) {
			t.Errorf("pause %v: %d bytes went", on != nil, n)
		}
		x.c.Abort()
		x.advance(61 * sim.Second)
		x.out = nil
		if n = x.dialFO(100); n != 100 {
			t.Errorf("after the pause %d bytes went", n)
		}
		x.c.Abort()
		x.out = nil
	}
}

// A SYN,ACK that does not acknowledge the SYN's data has it sent again at once (RFC 7413 4.1.2), with the window that the SYN
// has offered.
func TestFastOpenDataAgainOffersWindow(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.learnCookie()
	x.dialFO(50)
	x.out = nil
	x.send("SA seq=100 ack=1001 mss=1460")
	if len(x.out) == 0 || x.out[0].len != 50 || x.out[0].Window == 0 {
		t.Errorf("sent %v", x.out)
	}
	x.out = nil
	x.c.Abort()
	x.out = nil
}
