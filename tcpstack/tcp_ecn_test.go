package tcpstack

import (
	"fmt"
	"testing"

	"labd.dev/sim"
)

// wantECN fails unless a segment left with an ECN codepoint.
func (x *tcpTrace) wantECN(g traceSegment, cp ECN) {
	x.t.Helper()
	if got := ECN(g.tos & 3); got != cp {
		x.t.Errorf("%v left as %v, want %v", g, got, cp)
	}
}

// mark makes what the peer sends next arrive with a codepoint.
func (x *tcpTrace) mark(cp ECN) { x.tos = uint8(cp) }

// RFC 3168 6.1.1: the ECN-setup SYN has ECE and CWR, the ECN-setup SYN+ACK ECE alone; only with both is ECT set.
//
// RFC 9293 3.8.2: "A TCP endpoint SHOULD implement ECN as described in RFC 3168 (SHLD-8)".
func TestECNNegotiation(t *testing.T) {
	for _, v := range []struct {
		ecn, syn, synack, answer string
		ok                       bool
	}{
		{"on", "SEC", "SAE", "", true}, {"on", "SEC", "SA", "", false}, {"on", "SEC", "SAEC", "", false},
		{"off", "S", "SAE", "", false}, {"passive", "S", "SAE", "", false},
	} {
		x := newTCPTrace(t, TCPConfig{ECN: v.ecn})
		x.dial()
		x.want(v.syn + " seq=1000")
		x.send(v.synack + " seq=100 ack=1001 mss=1000")
		x.want("A seq=1001 ack=101")
		x.write(10)
		cp := NotECT
		if v.ok {
			cp = ECT0
		}
		x.wantECN(x.want("PA seq=1001 ack=101 len=10"), cp)
		if x.c.Info().ECN != v.ok {
			t.Errorf("%+v: %v", v, x.c.Info().ECN)
		}
	}
	for _, v := range []struct {
		ecn, syn, answer string
		syncp            ECN
		cc               string
	}{
		{"passive", "SEC", "SAE", NotECT, ""}, {"on", "SEC", "SAE", NotECT, ""}, {"off", "SEC", "SA", NotECT, ""},
		{"passive", "SE", "SA", NotECT, ""}, {"passive", "S", "SA", NotECT, ""},
		{"passive", "SEC", "SA", ECT0, ""}, {"off", "SEC", "SAE", ECT0, "dctcp"},
	} {
		x := newTCPTrace(t, TCPConfig{ECN: v.ecn, Congestion: v.cc})
		x.listen()
		x.mark(v.syncp)
		x.send(v.syn + " seq=100 mss=1000")
		x.want(v.answer + " seq=1000 ack=101")
		x.mark(NotECT)
		x.send("A seq=101 ack=1001")
		if x.c.Info().ECN != (v.answer == "SAE") {
			t.Errorf("%+v: %v", v, x.c.Info().ECN)
		}
	}
}

// RFC 3168 6.1.1.1: "A host that receives no reply to an ECN-setup SYN within the normal SYN retransmission timeout interval
// MAY resend the SYN and any subsequent SYN retransmissions with CWR and ECE cleared."
func TestECNFallback(t *testing.T) {
	for _, on := range []bool{true, false} {
		x := newTCPTrace(t, TCPConfig{ECN: "on", ECNFallback: &on})
		x.dial()
		x.want("SEC seq=1000")
		x.advance(sim.Second + 1)
		if on {
			x.want("S seq=1000")
		} else {
			x.want("SEC seq=1000")
		}
	}
}

// RFC 3168 6.1.3: "the TCP data receiver sets the ECN-Echo flag in the TCP header of the subsequent ACK packet", and
// goes on until CWR comes. 6.1.4, 6.1.5: neither ACKs nor retransmissions are ECN-capable.
func TestECNEcho(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.listen()
	x.send("SEC seq=100 mss=1000")
	x.want("SAE seq=1000 ack=101")
	x.send("A seq=101 ack=1001")
	x.mark(ECT0)
	x.send("PA seq=101 ack=1001 len=1000")
	x.advance(50 * sim.Millisecond)
	x.want("A seq=1001 ack=1101")
	x.mark(CE)
	x.send("PA seq=1101 ack=1001 len=1000") // it is acknowledged at once
	x.wantECN(x.want("AE seq=1001 ack=2101"), NotECT)
	x.mark(ECT0)
	x.send("PA seq=2101 ack=1001 len=1000")
	x.want("AE seq=1001 ack=3101")
	x.write(10)
	x.wantECN(x.want("PAE seq=1001 ack=3101 len=10"), ECT0)
	x.send("PAC seq=3101 ack=1011 len=1000")
	x.want("A seq=1011 ack=4101")
	if !x.c.Info().ECNSeen {
		t.Error("no ECT was seen")
	}
	x.mark(NotECT)
	x.write(10)
	x.want("PA seq=1011 ack=4101 len=10")
	x.advance(250 * sim.Millisecond)
	for len(x.out) > 0 {
		x.wantECN(x.want("PA seq=1011 ack=4101 len=10"), NotECT)
	}
}

// IP_TOS sets DSCP; ECN's two bits are the transport's own.
func TestTypeOfService(t *testing.T) {
	tos := uint32(0xbb)
	x := newTCPTrace(t, TCPConfig{TOS: &tos})
	x.accept("mss=1000")
	x.write(10)
	if g := x.want("PA seq=1001 ack=101 len=10"); g.tos != 0xb8 {
		t.Errorf("left with %#x", g.tos)
	}
	tos = 0x20
	if err := x.c.Reconfigure(TCPConfig{TOS: &tos}); err != nil {
		t.Fatal(err)
	}
	x.send("A seq=101 ack=1011")
	x.write(10)
	if g := x.want("PA seq=1011 ack=101 len=10"); g.tos != 0x20 {
		t.Errorf("left with %#x", g.tos)
	}
}

// RFC 8257 3.2: "send an immediate ACK" when the CE codepoint changes, with what the packets before it had.
func TestDCTCPReceiver(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{Congestion: "dctcp"})
	x.listen()
	x.mark(ECT0)
	x.send("SEC seq=100 mss=1000")
	x.want("SAE seq=1000 ack=101")
	x.send("A seq=101 ack=1001")
	next := 101
	arrive := func(cp ECN) {
		x.mark(cp)
		x.send(fmt.Sprintf("PA seq=%d ack=1001 len=200", next))
		next += 200
	}
	for arrive(ECT0); len(x.out) > 0 && next < 10_000; arrive(ECT0) {
		x.out = nil // the first go at once, until one is delayed
	}
	unmarked := next
	arrive(CE)
	x.want(fmt.Sprintf("A seq=1001 ack=%d", unmarked))
	x.wantECN(x.want(fmt.Sprintf("AE seq=1001 ack=%d", next)), ECT0)
	for arrive(CE); len(x.out) > 0 && next < 10_000; arrive(CE) {
		x.want(fmt.Sprintf("AE seq=1001 ack=%d", next))
	}
	marked := next
	arrive(ECT0)
	x.want(fmt.Sprintf("AE seq=1001 ack=%d", marked))
	x.want(fmt.Sprintf("A seq=1001 ack=%d", next))
}
