package tcpstack

import (
	"net/netip"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// RFC 5961 3.2, 4.2 and 5.2 against RFC 793, which had none of it: a reset anywhere in the window resets, and so does a
// SYN; an old ACK is taken.
func TestChallengeACKsOff(t *testing.T) {
	for _, on := range []bool{true, false} {
		blind := func(text string) (*tcpTrace, bool) {
			x := newTCPTrace(t, TCPConfig{ChallengeACKs: &on})
			x.accept("mss=1460")
			x.send(text)
			return x, x.c.State() == StateEstablished
		}
		x, alive := blind("R seq=500")
		if alive != on {
			t.Errorf("challengeAcks %v: reset: %v", on, x.c.State())
		}
		if on {
			x.want("A seq=1001 ack=101")
		}
		if x, alive = blind("S seq=500"); alive != on {
			t.Errorf("challengeAcks %v: SYN: %v", on, x.c.State())
		} else if on {
			x.want("A seq=1001 ack=101")
		} else {
			x.want("RA seq=1001 ack=101")
		}
		x, _ = blind("PA seq=101 ack=2000001001 len=10")
		x.want("A seq=1001 ack=101")
		x, _ = blind("PA seq=101 ack=3000001001 len=10") // 2^31 and more behind: old data by a forger
		if took := x.app.in.Len() == 10; took == on {
			t.Errorf("challengeAcks %v: old ACK: data taken: %v", on, took)
		}
		x.advance(sim.Second)
		x.out = nil
	}
}

// Linux's extension of RFC 5961 3.2: a reset at the end of the last SACK block, and after a FIN at the FIN's place.
func TestResetBeyondAGap(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1460 sackok")
	x.send("PA seq=201 ack=1001 len=100")
	x.want("A seq=1001 ack=101 sack=201-301")
	x.send("R seq=201")
	x.want("A seq=1001 ack=101 sack=201-301")
	x.send("R seq=301")
	x.wantState(StateClosed)

	y := newTCPTrace(t, TCPConfig{})
	y.accept("mss=1460")
	y.send("R seq=100") // the SYN's place is nothing's
	y.wantState(StateEstablished)
	y.send("FA seq=101 ack=1001")
	y.advance(40*sim.Millisecond + 1)
	y.want("A seq=1001 ack=102")
	y.send("R seq=101")
	y.wantState(StateClosed)
}

// A reset in the window while a duplicate is yet to be reported, and nothing lies beyond a gap, is challenged like others.
func TestResetBeforeADSACK(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1460 sackok")
	x.send("A seq=51 ack=1001 len=100")
	x.send("R seq=160")
	x.want("A seq=1001 ack=151 sack=51-101")
	x.wantState(StateEstablished)
}

// tcp_invalid_ratelimit and tcp_challenge_ack_limit.
func TestChallengeLimits(t *testing.T) {
	count := func(cfg TCPConfig) int {
		x := newTCPTrace(t, cfg)
		x.accept("mss=1460")
		for i := range 100 {
			x.send("R seq=" + itoa(uint32(500+i)))
		}
		n := len(x.out)
		x.out = nil
		return n
	}
	none, limit := sim.Time(0), uint32(10)
	if n := count(TCPConfig{}); n != 1 {
		t.Errorf("%d challenge ACKs of a connection at once", n)
	}
	if n := count(TCPConfig{InvalidRatelimit: &none}); n != 100 {
		t.Errorf("%d challenge ACKs without a limit", n)
	}
	// Between half and one and a half times the limit, drawn anew each second.
	if n := count(TCPConfig{InvalidRatelimit: &none, ChallengeACKLimit: &limit}); n < 5 || n >= 15 {
		t.Errorf("%d challenge ACKs of a limit of %d", n, limit)
	}
	var l challengeLimit
	l.dice = sim.NewStream(1, "test")
	seen := map[int]bool{}
	for s := range sim.Time(50) {
		n := 0
		for l.allow(s*sim.Second, limit) {
			n++
		}
		seen[n] = true
	}
	if len(seen) < 5 {
		t.Errorf("numbers of challenge ACKs in a second: %v: easy to guess", seen)
	}
}

// RFC 9293 3.5.1, half-open connections, Figure 9: the end that has crashed and opens anew is answered by an ACK of the old
// connection, resets it, and tries again; Linux does so at once.
func TestHalfOpenDiscovery(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.dial()
	x.want("S seq=1000")
	x.send("A seq=100 ack=300")
	x.want("R seq=300")
	x.advance(synAgain + 1)
	x.want("S seq=1000")
	x.send("SA seq=200 ack=1001 mss=1460")
	x.want("A seq=1001 ack=201")
	x.wantState(StateEstablished)
}

// RFC 9293 3.5, Figure 8: "Recovery from Old Duplicate SYN": the answer to an old SYN is reset, and the true one answered.
func TestOldDuplicateSYN(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	l := x.listen()
	x.send("S seq=90 mss=1460")
	x.want("SA seq=1000 ack=91")
	x.send("R seq=91")
	if l.HalfOpen() != 0 {
		t.Error("still half open")
	}
	x.send("S seq=100 mss=1460")
	x.want("SA seq=1000 ack=101")
	x.send("A seq=101 ack=1001")
	x.wantState(StateEstablished)
}

// Linux (PAWSActiveRejected): a SYN,ACK that echoes a timestamp never sent is reset.
func TestSynAckOfAnotherTime(t *testing.T) {
	on := true
	x := newTCPTrace(t, TCPConfig{Timestamps: &on})
	x.dial()
	syn := x.want("S seq=1000")
	x.send("SA seq=100 ack=1001 mss=1460 ts=5," + itoa(syn.opt.TSVal+10))
	x.want("R seq=1001")
	x.wantState(StateSynSent)
	x.send("SA seq=100 ack=1001 mss=1460 ts=5," + itoa(syn.opt.TSVal))
	x.want("A seq=1001 ack=101")
}

// RFC 6528 against RFC 793: the number that one connection is given tells the next one's, to whatever peer, or does not.
func TestISNGenerator(t *testing.T) {
	for _, name := range []string{"rfc6528", "rfc793"} {
		x := newTCPTrace(t, TCPConfig{ISNGenerator: name})
		x.s.cfg.TCP.ISN = nil
		x.listen()
		var isn [2]uint32
		for i := range isn {
			x.them = netipPort(x.them, uint16(5000+i))
			x.send("S seq=100 mss=1460")
			isn[i] = x.out[0].Seq
			x.out = nil
			x.advance(sim.Millisecond)
		}
		if guessed := isn[1]-isn[0] == uint32(sim.Millisecond/isnTick); guessed != (name == "rfc793") {
			t.Errorf("%s: %v", name, isn)
		}
	}
}

// RFC 6056 3.3.4: ports to one peer do not repeat soon, and those to another are no guide to them. Off: they count up.
func TestPortRandomization(t *testing.T) {
	off := false
	for _, random := range []*bool{nil, &off} {
		x := newTCPTrace(t, TCPConfig{PortRandomization: random})
		var ports [2][]int
		for i := range 200 {
			to := netip.AddrPortFrom(x.them.Addr(), uint16(1000+i%2))
			c, err := x.s.Dial(netip.AddrPort{}, to, TCPConfig{}, x.app)
			if err != nil {
				t.Fatal(err)
			}
			ports[i%2] = append(ports[i%2], int(c.LocalAddr().Port()))
			x.app = new(peer)
			x.app.t = t
		}
		x.out = nil
		up := true
		seen := map[int]bool{}
		for i := range ports[0] {
			up = up && ports[1][i] == ports[0][i]+1
			if seen[ports[0][i]] {
				t.Errorf("port %d twice", ports[0][i])
			}
			seen[ports[0][i]] = true
		}
		if up != (random != nil) {
			t.Errorf("portRandomization %v: %v %v", random == nil, ports[0][:5], ports[1][:5])
		}
	}
}

// RFC 5927 4.1 and 4.2: an error that quotes a number not in flight is nobody's; a hard one does not end a connection that
// is established, as it did by RFC 1122 4.2.3.9.
func TestICMPHardening(t *testing.T) {
	for _, on := range []bool{true, false} {
		x := newTCPTrace(t, TCPConfig{ICMPHardening: &on})
		x.accept("mss=1460")
		e := ICMPError{Type: wire.ICMPUnreachable, Code: wire.ICMPPortUnreachable, To: x.them}
		x.s.tcpControl(e, x.us, x.them, 5)
		if closed := x.c.State() == StateClosed; closed == on {
			t.Errorf("icmpHardening %v: %v", on, x.c.State())
		}
		if on {
			x.s.tcpControl(e, x.us, x.them, 1001)
			x.wantState(StateEstablished)
			if last, ok := x.c.LastICMP(); !ok || last != e || x.s.tcp.count.outOfWindowICMPs != 1 {
				t.Errorf("%v %v", last, ok)
			}
		}
	}
}

// Linux (tcp_req_err): an error about a SYN,ACK that says the peer cannot be reached ends the request.
func TestICMPInSynReceived(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	l := x.listen()
	x.send("S seq=100 mss=1460")
	x.want("SA seq=1000 ack=101")
	e := ICMPError{Type: wire.ICMPUnreachable, Code: wire.ICMPHostUnreachable, To: x.them}
	x.s.tcpControl(e, x.us, x.them, 999)
	e.Code = wire.ICMPPortUnreachable
	x.s.tcpControl(e, x.us, x.them, 1000)
	if l.HalfOpen() != 1 {
		t.Error("the request is gone")
	}
	e.Code = wire.ICMPHostUnreachable
	x.s.tcpControl(e, x.us, x.them, 1000)
	if l.HalfOpen() != 0 {
		t.Error("the request is still there")
	}
}

// RFC 5961 5.2: what was acknowledged is old, not unacceptable, and the FIN's number is part of it: a peer whose segments
// have crossed our FIN's acknowledgement is not shut out.
func TestOldACKAfterTheFIN(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	x.write(100)
	x.want("PA seq=1001 ack=101 len=100")
	x.c.CloseWrite()
	x.want("FA seq=1101 ack=101")
	x.later(20*sim.Millisecond, "A seq=101 ack=1102")
	x.wantState(StateFinWait2)
	x.send("PA seq=101 ack=1001 len=50")
	x.want("A seq=1102 ack=151")
}

// A retransmission timeout is never nothing, whatever was measured under settings that have changed since: a timer that fires
// at the instant it was set would fire for ever.
func TestLeastRTO(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{Personality: "freebsd"})
	x.accept("mss=1460")
	x.write(10)
	x.want("PA seq=1001 ack=101 len=10")
	x.send("A seq=101 ack=1011") // after no time: RTTVAR is 0
	if err := x.c.Reconfigure(TCPConfig{Personality: "linux"}); err != nil {
		t.Fatal(err)
	}
	for seq := uint32(1011); seq < 1041; seq += 10 {
		x.write(10)
		x.want("PA seq=" + itoa(seq) + " ack=101 len=10")
		x.send("A seq=101 ack=" + itoa(seq+10))
		if x.c.rto < leastRTO {
			t.Fatalf("RTO %v", x.c.rto)
		}
	}
	for _, cfg := range []TCPConfig{{MaxRTO: new(sim.Time)}, {InitialRTO: 10 * sim.Microsecond}} {
		if err := x.c.Reconfigure(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
