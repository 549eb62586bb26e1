package tcpstack

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Requirements of RFC 9293 that no mechanism of its own has tests for.

// options lets a segment arrive with raw TCP options, whole words.
func (x *tcpTrace) options(text string, raw ...byte) {
	x.t.Helper()
	x.tcpOptions = raw
	x.send(text)
	x.tcpOptions = nil
}

// RFC 9293 3.8.6: "a sending TCP peer MUST be robust against window shrinking ... (MUST-34). If this happens, the
// sender SHOULD NOT send new data (SHLD-15), but SHOULD retransmit normally the old unacknowledged data between SND.UNA
// and SND.UNA+SND.WND (SHLD-16) ... but SHOULD NOT time out the connection if data beyond the right window edge is not
// acknowledged (SHLD-17)."
func TestWindowShrinks(t *testing.T) {
	off := false
	x := newTCPTrace(t, TCPConfig{TLP: &off})
	x.accept("mss=1000")
	x.send("A seq=101 ack=1001 win=10000")
	x.write(3000)
	x.want("A seq=1001 ack=101 len=1000")
	x.want("A seq=2001 ack=101 len=1000")
	x.want("PA seq=3001 ack=101 len=1000")
	x.advance(10 * sim.Millisecond)
	x.send("A seq=101 ack=2001 win=1000") // the right edge goes from 11001 back to 3001
	x.write(1000)
	x.wantIdle() // nothing new

	x.advance(sim.Second)
	x.want("A seq=2001 ack=101 len=1000") // what lies within is sent again
	x.out = nil
	for range 30 {
		x.advance(100 * sim.Second)
		x.out = nil
		x.send("A seq=101 ack=3001 win=0") // and the connection lives though 3001 to 4001 is not acknowledged
	}
	x.wantState(StateEstablished)
	x.send("A seq=101 ack=3001 win=10000")
	x.advance(121 * sim.Second)
	x.want("PA seq=3001 ack=101 len=1000")
	x.send("A seq=101 ack=4001 win=10000")
	x.want("PA seq=4001 ack=101 len=1000")
	x.send("A seq=101 ack=5001 win=10000")
}

// RFC 9293 3.8.6: "If the window shrinks to zero, the TCP implementation MUST probe it in the standard way (described below)
// (MUST-35)": after a timeout, and twice as long between the probes after each.
func TestWindowShrinksToZero(t *testing.T) {
	off := false
	x := newTCPTrace(t, TCPConfig{TLP: &off})
	x.accept("mss=1000")
	x.write(1000)
	x.want("PA seq=1001 ack=101 len=1000")
	x.advance(10 * sim.Millisecond)
	x.send("A seq=101 ack=1001 win=0")
	var last, wait sim.Time
	for range 5 {
		for len(x.out) == 0 {
			x.advance(sim.Millisecond)
		}
		g := x.want("PA seq=1001 ack=101 len=1000")
		if d := g.at - last; wait != 0 && (d < 2*wait-2*sim.Millisecond || d > 2*wait+2*sim.Millisecond) {
			t.Errorf("%v after the last, which came after %v", d, wait)
		}
		if last != 0 {
			wait = g.at - last
		}
		last = g.at
		x.send("A seq=101 ack=1001 win=0")
	}
	x.send("A seq=101 ack=2001 win=10000")
}

// RFC 9293 3.4: "A TCP receiver MUST process the RST and URG fields of all incoming segments, even when the receive
// window is zero (MUST-66)."
func TestResetIntoClosedWindow(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{RecvBuffer: minBuffer})
	x.app.paused = true
	x.accept("mss=1000")
	for at := uint32(101); x.c.rcvWnd() > 0; {
		n := min(x.c.rcvWnd(), 1000)
		x.send("PA seq=" + itoa(at) + " ack=1001 len=" + itoa(n))
		at += n
		x.advance(300 * sim.Millisecond)
	}
	x.out = nil
	x.send("R seq=" + itoa(uint32(x.c.rcvNxt)))
	x.wantState(StateClosed)
	if !errors.Is(x.app.err, ErrReset) {
		t.Errorf("ended with %v", x.app.err)
	}
}

// RFC 9293 3.1: "A TCP implementation MUST be able to receive a TCP Option in any segment (MUST-5)." Each segment here
// carries one that nobody knows, a lone NOP and the end of the list, with zeros behind it.
func TestOptionsInAnySegment(t *testing.T) {
	strange := []byte{200, 3, 7, wire.TCPOptNOP, 201, 2, wire.TCPOptEOL, 0}
	x := newTCPTrace(t, TCPConfig{})
	x.listen()
	x.options("S seq=100 mss=1000", strange...)
	x.want("SA seq=1000 ack=101")
	x.options("A seq=101 ack=1001", strange...)
	x.options("PA seq=101 ack=1001 len=100", strange...)
	x.wantState(StateEstablished)
	if x.app.in.Len() != 100 {
		t.Errorf("%d bytes came", x.app.in.Len())
	}
	x.want("A seq=1001 ack=201")
	x.write(10)
	x.want("PA seq=1001 ack=201 len=10")
	x.options("A seq=201 ack=1011", strange...)
	x.options("FA seq=201 ack=1011", strange...)
	x.wantState(StateCloseWait)
	x.advance(sim.Second)
	x.want("A seq=1011 ack=202")
	x.options("R seq=202", strange...)
	x.wantState(StateClosed)
}

// RFC 9293 3.1: "The content of the header beyond the End of Option List Option MUST be header padding of zeros
// (MUST-69)." All that follows the options is zero: nothing does, as they fill whole words.
func TestHeaderPadding(t *testing.T) {
	for i := range 32 {
		o := wire.TCPOptions{SACKPermitted: i&1 != 0, HasTimestamps: i&2 != 0, HasWindowScale: i&4 != 0, NSACK: uint8(i >> 3 & 1)}
		if i&16 != 0 {
			o.MSS = 1460
			o.FastOpen = wire.FastOpen{Present: true, Len: 6}
		}
		b := make([]byte, wire.TCPMaxOptionsLen)
		if o.Len() > len(b) {
			continue
		}
		for i := range b {
			b[i] = 0xff
		}
		n := o.Put(b)
		if n != o.Len() || n%4 != 0 {
			t.Errorf("%+v: %d bytes of %d", o, n, o.Len())
		}
		rest := b[:n]
		for len(rest) > 0 && rest[0] != wire.TCPOptEOL {
			if rest[0] == wire.TCPOptNOP {
				rest = rest[1:]
				continue
			}
			rest = rest[rest[1]:]
		}
		if slices.ContainsFunc(rest, func(b byte) bool { return b != 0 }) {
			t.Errorf("%+v: padded with %x", o, rest)
		}
	}
}

// RFC 9293 3.9.1.1: "At all other times, a previous segment has either been sent or received on this connection, and
// TCP implementations MUST use the same local address that was used in those previous segments (MUST-45)": another way
// out, over an interface with another address, changes nothing of it.
func TestLocalAddressStays(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	far := netip.MustParseAddrPort("10.9.0.1:7")
	second := x.s.AddInterface(InterfaceConfig{Name: "eth1", MAC: wire.MAC{2, 0, 0, 0, 1, 1}, Prefix: netip.MustParsePrefix("10.0.1.1/24")}, x.sent)
	second.neighbour(num4(netip.MustParseAddr("10.0.1.2"))).learn(wire.MAC{2, 0, 0, 0, 1, 2})
	way := func(via string, ifc *Interface) {
		x.s.SetRoutes([]Route{{Dst: netip.MustParsePrefix("10.9.0.0/16"), Via: netip.MustParseAddr(via), Ifc: ifc}})
	}
	way("10.0.0.2", x.ifc)
	c, err := x.s.Dial(netip.AddrPort{}, far, TCPConfig{}, x.app)
	if err != nil {
		t.Fatal(err)
	}
	x.c, x.us, x.them = c, c.LocalAddr(), far
	first := x.want("S seq=1000")
	way("10.0.1.2", second)
	x.send("SA seq=100 ack=1001 mss=1000")
	for _, g := range []traceSegment{first, x.want("A seq=1001 ack=101")} {
		if g.src != x.us.Addr() || g.src.String() != "10.0.0.1" {
			t.Errorf("sent from %v", g.src)
		}
	}
}

// RFC 9293 3.9.1.1: "A TCP implementation MUST reject as an error a local OPEN call for an invalid remote IP address (e.g., a
// broadcast or multicast address) (MUST-46)."
func TestDialToGroup(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	for _, to := range []string{"255.255.255.255:80", "10.0.0.255:80", "224.0.0.1:80", "0.0.0.0:80", "[ff02::1]:80", "[::]:80"} {
		if c, err := x.s.Dial(netip.AddrPort{}, netip.MustParseAddrPort(to), TCPConfig{}, x.app); err == nil {
			t.Errorf("dialled %v: %v", to, c.State())
		}
	}
}

// RFC 9293 3.5.3: "TCP implementations SHOULD allow a received RST segment to include data (SHLD-2)."
func TestResetWithData(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	x.send("R seq=101 len=20")
	x.wantState(StateClosed)
	x.wantHeard("established", "closed tcp: connection reset by peer")

	y := newTCPTrace(t, TCPConfig{})
	y.dial()
	y.want("S seq=1000")
	y.send("RA seq=0 ack=1001 len=20")
	y.wantHeard("closed tcp: connection refused")
}

// RFC 9293 3.10.7.4: "In general, the processing of received segments MUST be implemented to aggregate ACK segments whenever
// possible (MUST-58). For example, if the TCP endpoint is processing a series of queued segments, it MUST process them all
// before sending any ACK segments (MUST-59)." What was queued behind a gap is processed with the segment that fills it: one
// ACK for all, the FIN's included.
func TestQueuedSegmentsAreAcknowledgedTogether(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	for i := uint32(1); i < 10; i++ {
		x.send("A seq=" + itoa(101+1000*i) + " ack=1001 len=1000")
		x.want("A seq=1001 ack=101")
	}
	x.send("FA seq=10101 ack=1001")
	x.want("A seq=1001 ack=101")
	x.send("A seq=101 ack=1001 len=1000")
	x.want("A seq=1001 ack=10102")
}

// RFC 9293 3.9.2: "the TTL value used to send TCP segments MUST be configurable (MUST-49)."
func TestTTL(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	if err := x.s.Reconfigure(Config{TTL: 9, ARPTimeout: 1 << 60, TCP: x.cfg}); err != nil {
		t.Fatal(err)
	}
	x.listen()
	x.send("S seq=100 mss=1000")
	g := x.want("SA seq=1000 ack=101")
	x.send("PA seq=101 ack=1001 len=1000")
	for _, g := range []traceSegment{g, x.want("A seq=1001 ack=1101")} {
		if g.ttl != 9 {
			t.Errorf("TTL %d", g.ttl)
		}
	}
}

// RFC 9293 3.9.1.9: "The application layer MUST be able to specify the Differentiated Services field for segments that
// are sent on a connection (MUST-48)"; "the application SHOULD be able to change the Differentiated Services field
// during the connection lifetime (SHLD-21)"; "TCP implementations SHOULD pass the current Differentiated Services field
// value without change to the IP layer, when it sends segments on the connection (SHLD-22)."
func TestDifferentiatedServices(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{TOS: ptr(uint32(0xb8))})
	wantTOS := func(g traceSegment, tos uint8) {
		t.Helper()
		if g.tos != tos {
			t.Errorf("%v with %#x, want %#x", g, g.tos, tos)
		}
	}
	x.dial()
	wantTOS(x.want("S seq=1000"), 0xb8)
	x.send("SA seq=100 ack=1001 mss=1000")
	wantTOS(x.want("A seq=1001 ack=101"), 0xb8)
	x.write(10)
	wantTOS(x.want("PA seq=1001 ack=101 len=10"), 0xb8)
	if err := x.c.Reconfigure(TCPConfig{TOS: ptr(uint32(0x28))}); err != nil {
		t.Fatal(err)
	}
	x.send("A seq=101 ack=1011")
	x.write(10)
	wantTOS(x.want("PA seq=1011 ack=101 len=10"), 0x28)
	x.send("A seq=101 ack=1021")
	x.c.Abort()
	wantTOS(x.want("RA seq=1021 ack=101"), 0x28)
}

// troubled is an application that wants to hear of soft errors.
type troubled struct{ *peer }

func (a troubled) SoftError(_ *Conn, err error) { a.note("trouble: " + err.Error()) }

// RFC 9293 3.8.3: "TCP implementations SHOULD inform the application of the delivery problem (unless such information
// has been disabled by the application ...), when R1 is reached and before R2 (SHLD-9)"; "The value of R1 SHOULD
// correspond to at least 3 retransmissions, at the current RTO (SHLD-10)." 3.9.1.8: "There MUST be a mechanism for
// reporting soft TCP error conditions to the application (MUST-47) ... an application program that does not want to
// receive such ERROR_REPORT calls SHOULD be able to effectively disable these calls (SHLD-20)."
func TestSoftErrors(t *testing.T) {
	for _, wants := range []bool{true, false} {
		off := false
		x := newTCPTrace(t, TCPConfig{TLP: &off})
		x.accept("mss=1000")
		if wants {
			x.c.h = troubled{x.app}
		}
		x.wantHeard("established")
		x.write(10)
		x.want("PA seq=1001 ack=101 len=10")
		for n := 1; n <= 4; n++ {
			for len(x.out) == 0 {
				x.advance(sim.Millisecond)
			}
			x.want("PA seq=1001 ack=101 len=10")
			switch {
			case n == 3 && wants:
				x.wantHeard("trouble: tcp: the peer does not answer")
			default:
				x.wantHeard()
			}
		}
		x.c.icmpError(ICMPError{Type: wire.ICMPUnreachable, Code: wire.ICMPHostUnreachable})
		if wants {
			x.wantHeard("trouble: tcp: destination unreachable")
		}
		x.wantHeard()
		x.wantState(StateEstablished)
		x.send("A seq=101 ack=1011")
		x.wantHeard("drained")
	}
}

// RFC 9293 3.8.4: "This interval MUST be configurable (MUST-27) and MUST default to no less than two hours (MUST-28)."
func TestKeepAliveAfterTwoHours(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{KeepAlive: ptr(true)})
	x.accept("mss=1000")
	x.advance(2 * 3600 * sim.Second)
	x.wantIdle()
	x.advance(1)
	x.want("A seq=1000 ack=101")
}

// RFC 9293 3.8.3: "R2 for a SYN segment MUST be set large enough to provide retransmission of the segment for at least
// 3 minutes (MUST-23). The application can close the connection (i.e., give up on the open attempt) sooner, of course."
// Linux's default, and ours, is 131 s (tcp_syn_retries 6, tcp_syn_linear_timeouts 4); synRetries 7 makes it 251 s.
func TestSynForThreeMinutes(t *testing.T) {
	for _, c := range []struct {
		retries uint32
		ends    sim.Time
	}{{6, 131 * sim.Second}, {7, 251 * sim.Second}} {
		x := newTCPTrace(t, TCPConfig{SYNRetries: &c.retries})
		x.dial()
		x.advance(c.ends)
		x.wantState(StateSynSent)
		x.advance(sim.Second)
		x.wantHeard("closed tcp: connection timed out")
		x.out = nil
	}
}

// RFC 9293 3.9.2: "When received options are passed up to TCP from the IP layer, a TCP implementation MUST ignore options
// that it does not understand (MUST-50)": here an IP timestamp, a record of the route, and what nobody knows.
func TestIPOptionsIgnored(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.ipOptions = []byte{68, 8, 5, 0, 0, 0, 0, 0, 7, 7, 4, 0, 0, 0, 0, 222, 4, 1, 2, 1}
	x.accept("mss=1000")
	x.send("PA seq=101 ack=1001 len=100")
	if x.app.in.Len() != 100 {
		t.Errorf("%d bytes came", x.app.in.Len())
	}
	if g := x.want("A seq=1001 ack=201"); len(g.ipOptions) != 0 {
		t.Errorf("answered with options %x", g.ipOptions)
	}
}

// RFC 9293 3.9.2.2: "TCP implementations MUST silently discard any received ICMP Source Quench messages (MUST-55)."
func TestSourceQuench(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	x.write(1000)
	g := x.want("PA seq=1001 ack=101 len=1000")
	before := x.c.Info()
	quoted := make([]byte, wire.IPv4MinLen+8)
	wire.IPv4{TotalLen: 1040, TTL: 64, Protocol: wire.ProtoTCP, Src: x.us.Addr(), Dst: x.them.Addr()}.Put(quoted)
	putAddr4(quoted[wire.IPv4MinLen:], uint32(g.SrcPort)<<16|uint32(g.DstPort))
	putAddr4(quoted[wire.IPv4MinLen+wire.TCPOffSeq:], g.Seq)
	b := ethernet(x.ifc.cfg.MAC, wire.MAC{2, 0, 0, 0, 0, 2}, wire.EtherTypeIPv4,
		ipv4("10.0.0.2", "10.0.0.1", wire.ProtoICMP, icmpBytes(wire.ICMPSourceQuench, 0, 0, 0, string(quoted))))
	f := x.loop.NewFrame()
	copy(f.Append(len(b)), b)
	x.s.Receive(x.ifc, f)
	if after := x.c.Info(); after.SndCwnd != before.SndCwnd || after.SndSSThresh != before.SndSSThresh {
		t.Errorf("cwnd %d, was %d", after.SndCwnd, before.SndCwnd)
	}
	if _, ok := x.c.LastICMP(); ok {
		t.Error("the connection took notice of it")
	}
	x.send("A seq=101 ack=2001")
}
